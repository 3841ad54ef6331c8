"""Block Krylov iteration with Rayleigh–Ritz in the inner product of C, for both ends of the spectrum of D C."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from specscale import seeds
from specscale.kernels.base import RunTasks
from specscale.spectral.tiles import TiledSymmetric

__all__ = ["Columns", "RitzPairs", "block_krylov", "furthest"]

TOLERANCE = 1e-8  # of the largest |λ|, for the residual ‖Λu − λu‖ of every wanted mode
BASIS_BLOCKS = 16  # blocks in the basis before it is restarted from its best Ritz vectors
MAX_BLOCKS = 200
DROP = 1e-7  # of the largest eigenvalue of C: smaller variances are what float32 left, up to 5e-8
DEPENDENT = 1e-10  # of a block's largest length: directions below it are already in the basis
BAND = 1024

Array = NDArray[np.float64]


class RitzPairs(NamedTuple):
    """Approximate eigenpairs of D C.

    Attributes
    ----------
    values : (m,) Ritz values, ascending
    vectors : (d, m) Ritz vectors, C-orthonormal
    worst : the largest residual of a wanted one as a multiple of its tolerance; above 1 where MAX_BLOCKS did not do
    largest : the largest eigenvalue of C, nearly, and from below
    """

    values: Array
    vectors: Array
    worst: float
    largest: float


def block_krylov(C: TiledSymmetric, D: Array, n_modes: int, block: int, least: float, run: RunTasks) -> RitzPairs:
    """Find the leading eigenpairs of D C at both ends.

    The basis V is C-orthonormal and W = C V is kept beside it, so the projected operator is Wᵀ D W. The residual of a
    Ritz pair follows from the next block alone, as in a Lanczos recurrence; a basis that grows too long is restarted
    from its best Ritz vectors (thick restart: Wu and Simon 2000).

    Parameters
    ----------
    C : d × d covariance
    D : (d,) diagonal of D
    n_modes : eigenpairs wanted at each end
    block : vectors in one block, more than 2 · n_modes
    least : an eigenvalue below this is no result, and only needs to be known to be below it
    run : executes independent tasks

    Returns
    -------
    RitzPairs
        The wanted ones have converged, or else they are as near as MAX_BLOCKS blocks have come.
    """
    d = C.d
    capacity = min(BASIS_BLOCKS * block, d) + block
    V, W = np.empty((d, capacity)), np.empty((d, capacity))
    T = np.zeros((capacity, capacity))
    columns = Columns(d, run)

    start = seeds.start_of_krylov().standard_normal((d, block))
    # One product with D C turns the random block towards the leading directions at no extra cost.
    CX = C.matmul(start, run)
    largest = _norm(columns.inner(CX, CX)) / max(_norm(columns.inner(start, CX)), 1e-300)  # nearly, and from below
    X = D[:, None] * CX
    size, last = 0, slice(0, 0)
    worst = np.inf
    for count in range(MAX_BLOCKS):
        X, CX, gram = _orthonormalise(C, X, V[:, :size], W[:, :size], DROP * largest, columns, run)
        if size + X.shape[1] == 0:
            return RitzPairs(np.empty(0), np.empty((d, 0)), 0.0, largest)
        full = size + X.shape[1] > capacity - block
        if X.shape[1] == 0 or (count >= 3 and (count % 2 == 1 or full)):
            values, y = scipy.linalg.eigh(T[:size, :size], driver="evd")
            residuals = np.sqrt(np.maximum(np.einsum("ij,ij->j", y[last], gram @ y[last]), 0))
            worst = furthest(values, residuals, n_modes, least)
            if worst <= 1 or X.shape[1] == 0:
                break
            if full:
                best = np.r_[0 : 2 * n_modes, size - 2 * n_modes : size] if size > 4 * n_modes else np.arange(size)
                y, values = y[:, best], values[best]
                columns.rotate(V[:, :size], y, V[:, : len(best)])
                columns.rotate(W[:, :size], y, W[:, : len(best)])
                size = len(best)
                T[:size, :size] = np.diag(values)
        new = slice(size, size + X.shape[1])
        V[:, new], W[:, new] = X, CX
        X = D[:, None] * CX
        coupling = columns.inner(W[:, : new.stop], X)
        T[: new.stop, new], T[new, : new.stop] = coupling, coupling.T
        size, last = new.stop, new
    else:  # the last block is in the basis, but not in the pairs
        values, y = scipy.linalg.eigh(T[:size, :size], driver="evd")
    vectors = np.empty((d, size))
    columns.rotate(V[:, :size], y, vectors)
    return RitzPairs(values, vectors, worst, largest)


def _norm(small: Array) -> float:
    return float(np.linalg.norm(small, 2))


def furthest(
    values: Array, residuals: Array, n_modes: int, least: float, tolerance: float = TOLERANCE, noise: float = TOLERANCE
) -> float:
    """The largest residual among the wanted modes of both ends, as a multiple of what is allowed.

    Parameters
    ----------
    values, residuals : (m,) Ritz values, and how far their vectors are from eigenvectors
    n_modes : modes wanted at each end
    least : an eigenvalue below this is no result, and only needs to be known to be below it
    tolerance : share of the strongest value of an end that its residuals may have
    noise : share of the largest |value| that residuals always have
    """
    floor = max(noise * np.abs(values).max(initial=0.0), 1e-13)
    worst = 0.0
    for outward in (values, -values):
        end = np.argsort(outward)[-n_modes:]
        tight = max(tolerance * outward[end].max(initial=0.0), floor)
        # What is no result at this end, as all that lies on the other side of zero, only needs to be known for that.
        enough = np.maximum(0.1 * np.maximum(least, -outward[end]), floor)
        allowed = np.where(outward[end] > least, tight, enough)
        worst = max(worst, float((residuals[end] / allowed).max(initial=0.0)))
    return worst


def _orthonormalise(
    C: TiledSymmetric, X: Array, V: Array, W: Array, floor: float, columns: Columns, run: RunTasks
) -> tuple[Array, Array, Array]:
    """Make X C-orthonormal and C-orthogonal to the basis.

    Returns
    -------
    X : (d, b') C-orthonormal, without the directions that the basis already holds and those of variance below `floor`
    CX : (d, b')
    gram : (b, b) XᵀCX of what X spans in the block that was given
    """
    for _ in range(2):
        X = columns.subtract(X, V, columns.inner(W, X))
    given, CX = X, C.matmul(X, run)
    gram = columns.inner(X, CX)
    g, q = scipy.linalg.eigh((gram + gram.T) / 2, driver="evd")
    scale = max(float(g[-1]), 0.0) if len(g) else 0.0
    keep = g > max(DEPENDENT**2 * scale, 1e-30)
    turn = q[:, keep] / np.sqrt(g[keep])
    X, CX = columns.product(X, turn), columns.product(CX, turn)
    if X.shape[1]:
        # Small directions were blown up together with their errors: once more, now from a well-scaled block.
        P = columns.inner(W, X)
        X, CX = columns.subtract(X, V, P), columns.subtract(CX, W, P)
        inner = columns.inner(X, CX)
        g, q = scipy.linalg.eigh((inner + inner.T) / 2, driver="evd")
        good = g > 0.25  # what was mostly rounding of the basis vanishes here
        X = columns.product(X, q[:, good] / np.sqrt(g[good]))
    if X.shape[1]:
        # A C-orthonormal direction of variance v has the length 1 / √v.
        squares, q = scipy.linalg.eigh(columns.inner(X, X), driver="evd")
        X = columns.product(X, q[:, floor * squares < 1])
    CX = C.matmul(X, run)
    kept = columns.inner(CX, given)
    return X, CX, kept.T @ kept


class Columns:
    """Products of matrices of d rows, cut into the same row bands whatever the number of threads."""

    def __init__(self, d: int, run: RunTasks) -> None:
        self._bands = [slice(low, min(low + BAND, d)) for low in range(0, d, BAND)]
        self._run = run

    def _each(self, work: Callable[[int, slice], None]) -> None:
        self._run([lambda i=i, band=band: work(i, band) for i, band in enumerate(self._bands)])  # type: ignore[misc]

    def inner(self, left: Array, right: Array) -> Array:
        """leftᵀ right, the bands' parts added in order."""
        parts: list[Array] = [np.empty(0)] * len(self._bands)

        def work(i: int, band: slice) -> None:
            parts[i] = left[band].T @ right[band]

        self._each(work)
        total = parts[0].copy()
        for part in parts[1:]:
            total += part
        return total

    def product(self, left: Array, small: Array) -> Array:
        """Left times a small matrix."""
        out = np.empty((len(left), small.shape[1]))
        self.rotate(left, small, out)
        return out

    def rotate(self, left: Array, small: Array, out: Array) -> None:
        """Left times a small matrix, into `out`, which may be columns of `left`."""

        def work(_: int, band: slice) -> None:
            out[band] = left[band] @ small

        self._each(work)

    def subtract(self, X: Array, basis: Array, coefficients: Array) -> Array:
        """X − basis · coefficients."""
        out = np.empty_like(X)

        def work(_: int, band: slice) -> None:
            out[band] = X[band] - basis[band] @ coefficients

        self._each(work)
        return out
