"""The leading eigenpairs of Λη from products with vectors over all samples: block Lanczos with Rayleigh–Ritz.

The n × n operator is given by a function that multiplies by K_A / n and K_B / n, and is never stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from specscale import seeds
from specscale.kernels.base import RunTasks
from specscale.spectral.difference import LEAST_EIGENVALUE, leading
from specscale.spectral.krylov import Columns, furthest

__all__ = ["BLOCKS", "GUARD", "MAX_BLOCKS", "VectorModes", "exact_modes", "random_start"]

TOLERANCE = 1e-5  # of the strongest |λ| of a direction, for its residuals
NOISE = 1e-6  # of the largest |λ|: what the residuals of products in float32 always have
BLOCKS = 12  # blocks of the basis that convergence from a random start mostly takes
MAX_BLOCKS = 60
GUARD = 5  # vectors beyond the wanted ones in each direction, since the last wanted may tie with the next
_EXHAUSTED = 1e-6  # of the largest |λ|: a block of remainders below it is rounding

Array = NDArray[np.float64]
Multiply = Callable[[Array, int], Array]
"""Products (2, n, b) of K_A / n and K_B / n with a block (n, b), and the number of the block."""


@dataclass(frozen=True)
class VectorModes:
    """The leading eigenpairs in both directions, as vectors over the samples.

    Attributes are those of :class:`specscale.spectral.difference.Modes`, but for

    vectors : (n, k) unit vectors u
    """

    eigenvalues: Array
    a: Array
    b: Array
    vectors: Array
    residuals: Array
    eta: float
    split: Array
    spec_diff: float
    unsettled: tuple[int, ...] = ()

    @property
    def action(self) -> Array:
        """Uᵀ Λ U, (k, k)."""
        return np.asarray(self.split[0] - self.eta * self.split[1])

    def turned(self, turn: Array) -> VectorModes:
        """The modes U · turn, for an orthogonal `turn` (k, k): their quadratic forms follow, residuals do not."""
        split = turn.T @ self.split @ turn
        a, b = (np.diagonal(one).copy() for one in split)
        return replace(self, eigenvalues=a - self.eta * b, a=a, b=b, vectors=self.vectors @ turn, split=split)


def random_start(n: int, n_modes: int) -> Array:
    """A block to start from when nothing is known, (n, b)."""
    block = min(n, 2 * (n_modes + GUARD))
    return seeds.start_of_lanczos().standard_normal((n, block))


def exact_modes(
    multiply: Multiply, start: Array, eta: float, n_modes: int, steps: int | None, run: RunTasks
) -> VectorModes:
    """Find up to `n_modes` leading eigenpairs of Λη in each direction.

    Parameters
    ----------
    multiply : multiplies a block by K_A / n and K_B / n
    start : (n, b) block to start from: approximate modes, or random vectors
    eta : weight of B's kernel, ≥ 0
    n_modes : modes in each direction
    steps : Krylov steps to take, one more than which products are made; None to go on until every residual is below
        1e-5 of the strongest |λ| of its direction
    run : executes independent tasks, in any order

    Returns
    -------
    VectorModes
        Only those with |λ| > 1e-5; those whose residuals do not reach the tolerance in MAX_BLOCKS blocks are named.
    """
    columns = Columns(len(start), run)
    basis: list[Array] = []
    split = np.zeros((2, 0, 0))
    X = _orthonormal(start, basis, columns, 0.0)
    values, y, rest = np.empty(0), np.empty((0, 0)), np.empty((0, 0))
    converged = steps is not None
    for count in range(MAX_BLOCKS):
        if X.shape[1] == 0:
            break
        products = multiply(X, count)
        basis.append(X)
        split = _extended(split, basis, products, columns)
        T = split[0] - eta * split[1]
        values, y = scipy.linalg.eigh(T, driver="evd")
        R = products[0] - eta * products[1]
        for _ in range(2):
            R = _outside(R, basis, columns)
        rest = columns.inner(R, R)
        residuals = _residuals(rest, y)
        if steps is None and count and furthest(values, residuals, n_modes, LEAST_EIGENVALUE, TOLERANCE, NOISE) <= 1:
            converged = True
            break
        if count == steps:
            break
        X = _orthonormal(R, basis, columns, _EXHAUSTED * float(np.abs(values).max()))
    chosen = leading(values, n_modes)
    y = y[:, chosen]
    small = np.stack([y.T @ one @ y for one in split])
    vectors = np.zeros((len(start), len(chosen)))
    low = 0
    for block in basis:
        vectors += columns.product(block, np.ascontiguousarray(y[low : low + block.shape[1]]))
        low += block.shape[1]
    a, b = (np.diagonal(one).copy() for one in small)
    spec_diff = float(np.abs(a - eta * b).max(initial=0.0))
    modes = VectorModes(a - eta * b, a, b, vectors, _residuals(rest, y), float(eta), small, spec_diff)
    return modes if converged else replace(modes, unsettled=_unsettled(modes))


def _unsettled(modes: VectorModes) -> tuple[int, ...]:
    """The modes whose residuals are above the tolerance of their direction."""
    values = modes.eigenvalues
    strongest = np.array([np.abs(values[values * one > 0]).max() for one in values])
    allowed = np.maximum(TOLERANCE * strongest, NOISE * np.abs(values).max(initial=0.0))
    return tuple(np.flatnonzero(modes.residuals > allowed).tolist())


def _residuals(rest: Array, y: Array) -> Array:
    """‖Λu − λu‖ of Ritz vectors: what Λ leads out of the basis comes from its last block alone."""
    last = y[len(y) - len(rest) :]
    return np.asarray(np.sqrt(np.maximum(np.einsum("ij,ij->j", last, rest @ last), 0)))


def _outside(X: Array, basis: list[Array], columns: Columns) -> Array:
    for block in basis:
        X = columns.subtract(X, block, columns.inner(block, X))
    return X


def _orthonormal(X: Array, basis: list[Array], columns: Columns, floor: float) -> Array:
    """An orthonormal basis of what X adds to the basis, without the directions shorter than `floor`."""
    for _ in range(2):  # the second time for what rounding left of the basis
        X = _outside(X, basis, columns)
        gram = columns.inner(X, X)
        g, q = scipy.linalg.eigh((gram + gram.T) / 2, driver="evd")
        keep = g > max(floor**2, 1e-12 * max(float(g[-1]), 1e-300)) if len(g) else g > 0
        X = columns.product(X, q[:, keep] / np.sqrt(g[keep]))
        floor = 0.5
    return X


def _extended(split: Array, basis: list[Array], products: Array, columns: Columns) -> Array:
    """Add a block's rows and columns to the operators K_A / n and K_B / n in the basis."""
    size = split.shape[1]
    full = size + basis[-1].shape[1]
    out = np.zeros((2, full, full))
    out[:, :size, :size] = split
    for which in range(2):
        coupling = np.concatenate([columns.inner(block, products[which]) for block in basis])
        out[which, :, size:] = coupling
        out[which, size:, :] = coupling.T
        corner = coupling[size:]
        out[which, size:, size:] = (corner + corner.T) / 2
    return out
