"""The eigenpairs of the difference of two kernel matrices, from a d × d covariance.

With D = diag(I, −η I), the nonzero eigenpairs of Λη = (1/n) Φᵀ D Φ are those of D C z = λ z, normalised by zᵀ C z = 1,
with u = Φᵀz / √n (Jalali, Dibaei Nia and Farnia 2025). D C is self-adjoint in the inner product ⟨v, w⟩ = vᵀ C w,
so a rank-deficient C needs no factor and no jitter: its null space never enters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.errors import OptionError, PrecisionError
from specscale.spectral.krylov import BASIS_BLOCKS, DROP, TOLERANCE, block_krylov
from specscale.spectral.tiles import Run, TiledSymmetric

__all__ = [
    "LEAST_EIGENVALUE",
    "Modes",
    "check_possible",
    "difference_signs",
    "leading",
    "modes_of",
    "solve_cost",
    "solve_difference",
]

Array = NDArray[np.float64]

LEAST_EIGENVALUE = 1e-5  # below it no |λ| is a result
ROUNDING = 2e-7  # of the largest eigenvalue of C, the most that products in float32 leave in it
DOUBTFUL = 0.25  # of λ: a mode of which rounding may have made more is no result; of one that it made alone it is half
POSSIBLE = 1e-4  # by which rounding may carry an eigenvalue beyond those of kernels
DENSE_ORDER = 512


@dataclass(frozen=True)
class Modes:
    """The leading eigenpairs in both directions.

    The k modes are A's (λ > 0), strongest first, and then B's (λ < 0), strongest first.

    Attributes
    ----------
    eigenvalues : (k,) λ
    a, b : (k,) the parts of λ = a − η b: uᵀ K_A u / n and uᵀ K_B u / n
    coefficients : (d, k) z, with zᵀ C z = 1
    residuals : (k,) ‖Λu − λu‖ of the approximate Λ
    eta : η, of all modes or (k,) of each
    split : (2, k, k) Uᵀ K_A U / n and Uᵀ K_B U / n, of which a and b are the diagonals
    action : (k, k) Uᵀ Λ U, diagonal where the modes are eigenvectors
    spec_diff : SPEC-diff ‖Λ‖₂, max |λ| of the eigenvectors; 0 where nothing exceeds the least eigenvalue
    unsettled : numbers of the modes whose residuals the solver did not bring down to the rounding of C
    rounding : what products in float32 may have left in C, as the norm of a change of it; 0 where that is not asked
    """

    eigenvalues: Array
    a: Array
    b: Array
    coefficients: Array
    residuals: Array
    eta: float | Array
    split: Array
    spec_diff: float
    unsettled: tuple[int, ...] = ()
    rounding: float = 0.0

    @property
    def action(self) -> Array:
        """Uᵀ Λ U, (k, k)."""
        return np.asarray(self.split[0] - self.eta * self.split[1])

    @property
    def doubt(self) -> Array:
        """The share of λ that the rounding of C leaves uncertain, (k,), to first order.

        A change E of C moves λ by λ zᵀEz, and z = D C z / λ has the squared length (a + η² b) / λ².
        """
        return np.asarray(self.rounding * (self.a + np.square(self.eta) * self.b) / np.square(self.eigenvalues))

    def certain(self) -> Modes:
        """The modes that the rounding of C cannot have made, and what is certain of SPEC-diff."""
        kept = np.flatnonzero(self.doubt <= DOUBTFUL)
        if len(kept) == len(self.eigenvalues):
            return self
        values = self.eigenvalues[kept]
        return replace(
            self,
            eigenvalues=values,
            a=self.a[kept],
            b=self.b[kept],
            coefficients=self.coefficients[:, kept],
            residuals=self.residuals[kept],
            split=self.split[:, kept[:, None], kept],
            spec_diff=float(np.abs(values).max(initial=0.0)),
            unsettled=tuple(np.flatnonzero(np.isin(kept, self.unsettled)).tolist()),
        )

    def scaled(self, factors: Array) -> Modes:
        """The modes with vectors z of other lengths, for unit u: λ, a and b are those of u whatever its length."""
        return replace(self, coefficients=self.coefficients * factors)

    def turned(self, turn: Array) -> Modes:
        """The modes U · turn, for an orthogonal `turn` (k, k): their quadratic forms follow, residuals do not."""
        split = turn.T @ self.split @ turn
        a, b = (np.diagonal(one).copy() for one in split)
        return replace(self, eigenvalues=a - self.eta * b, a=a, b=b, coefficients=self.coefficients @ turn, split=split)


def difference_signs(d_a: int, d_b: int, eta: float) -> Array:
    """Return the diagonal of D, (d_a + d_b,).

    Raises
    ------
    OptionError
        When η is negative or not finite.
    """
    if not 0 <= eta < np.inf:
        raise OptionError(f"eta must be zero or positive, not {eta:g}")
    return np.concatenate([np.ones(d_a), np.full(d_b, -float(eta))])


def solve_difference(C: TiledSymmetric, d_a: int, eta: float, n_modes: int, run: Run) -> Modes:
    """Find up to `n_modes` leading eigenpairs in each direction.

    Parameters
    ----------
    C : d × d covariance of the concatenated features, A's d_a first
    d_a : dimension of A's features
    eta : weight of B's kernel, ≥ 0
    n_modes : modes in each direction
    run : executes independent tasks, in any order

    Returns
    -------
    Modes
        Only those with |λ| > 1e-5. Where the iteration does not reach its tolerance, which eigenvalues that all but
        tie, or η far from 1, can keep it from, it is enough that a residual is one that the rounding of C could have
        left; modes with a larger one are named. `certain` leaves out those that this rounding may have made.

    Raises
    ------
    OptionError
        When η < 0 or n_modes < 1.
    """
    if n_modes < 1:
        raise OptionError(f"n_modes must be at least 1, not {n_modes}")
    D = difference_signs(d_a, C.d - d_a, eta)
    block = 2 * n_modes + 10
    if _is_small(C.d, block):
        values, z, largest = _dense(C.dense(), D)
        modes = modes_of(C, d_a, float(eta), z[:, leading(values, n_modes)], run)
        return replace(modes, rounding=ROUNDING * largest)
    found = block_krylov(C, D, n_modes, block, LEAST_EIGENVALUE, run)
    modes = modes_of(C, d_a, float(eta), found.vectors[:, leading(found.values, n_modes)], run)
    modes = replace(modes, rounding=ROUNDING * found.largest)
    if found.worst <= 1:
        return modes
    # A change of C by δ moves D C z by at most ‖D‖ δ ‖z‖, of which the inner product of C makes √C ‖D‖ δ ‖z‖.
    moved = max(1.0, eta) * modes.rounding * np.linalg.norm(modes.coefficients, axis=0)
    allowed = np.maximum(np.sqrt(found.largest) * moved, TOLERANCE * np.abs(modes.eigenvalues).max(initial=0.0))
    return replace(modes, unsettled=tuple(np.flatnonzero(modes.residuals > allowed).tolist()))


def solve_cost(d: int, n_modes: int) -> Cost:
    """State what `solve_difference` takes; its products are narrow and in double precision."""
    block = 2 * n_modes + 10
    tiles = 8 * TiledSymmetric.size(d)
    if _is_small(d, block):
        return Cost("solve", memory=tiles + 8 * 8 * d * d, operations=30.0 * d**3, speed=0.2, disk=8 * d * d)
    columns = 2 * (min(BASIS_BLOCKS * block, d) + block) + 8 * block + 4 * n_modes
    return Cost("solve", memory=tiles + 8 * d * columns, operations=2.0 * 15 * block * d**2, speed=0.04, disk=8 * d * d)


def _is_small(d: int, block: int) -> bool:
    """Whether the dense route is the shorter one."""
    return d <= max(DENSE_ORDER, 6 * block)


def leading(values: Array, n_modes: int) -> NDArray[np.int64]:
    """Positions of the leading values: up to n_modes positive ones, then up to n_modes negative ones."""
    order = np.argsort(values)
    positive = [i for i in order[::-1][:n_modes] if values[i] > LEAST_EIGENVALUE]
    negative = [i for i in order[:n_modes] if values[i] < -LEAST_EIGENVALUE]
    return np.array(positive + negative, dtype=np.int64)


def check_possible(values: Array, eta: float | Array) -> None:
    """Make sure that these can be eigenvalues of (K_A − η K_B) / n, which lie between −η and 1: K / n has trace 1.

    Raises
    ------
    PrecisionError
        When they cannot.
    """
    wrong = (values > 1 + POSSIBLE) | (values < -np.multiply(eta, 1 + POSSIBLE) - POSSIBLE)
    if np.any(wrong):
        raise PrecisionError(
            f"an eigenvalue came out as {values[wrong][0]:.4g}, where kernels have none above 1 or below −η: rounding "
            "has spoilt them: take a larger sigma, or bring the rows together by normalize standardise"
        )


def modes_of(C: TiledSymmetric, d_a: int, eta: float | Array, z: Array, run: Run) -> Modes:
    """Scale vectors to zᵀ C z = 1 and work out what the modes made of them are.

    Parameters
    ----------
    C, d_a, run : as for :func:`solve_difference`
    eta : η, of all modes or of each
    z : (d, k), those with λ > 0 first, strongest first in each direction; λ is the Rayleigh quotient
    """
    z = np.ascontiguousarray(z)
    w = C.matmul(z, run)
    scale = 1 / np.sqrt(np.einsum("dk,dk->k", z, w))
    z, w = z * scale, w * scale
    split = np.stack([w[:d_a].T @ w[:d_a], w[d_a:].T @ w[d_a:]])
    a, b = (np.diagonal(one).copy() for one in split)
    values = a - eta * b
    rest = np.concatenate([w[:d_a], -eta * w[d_a:]]) - values * z
    squares = np.einsum("dk,dk->k", rest, C.matmul(rest, run))
    spec_diff = float(np.abs(values).max(initial=0.0))
    return Modes(values, a, b, z, np.sqrt(np.maximum(squares, 0)), eta, split, spec_diff)


def _dense(C: Array, D: Array) -> tuple[Array, Array, float]:
    """All eigenpairs in the range of C, by way of E^{1/2} Qᵀ D Q E^{1/2} with C = Q E Qᵀ, and the largest of E."""
    e, q = scipy.linalg.eigh(C, driver="evd")
    largest = max(float(e[-1]), 0.0)
    keep = e > DROP * largest
    e, q = e[keep], q[:, keep]
    root = q * np.sqrt(e)
    values, y = scipy.linalg.eigh(root.T @ (D[:, None] * root), driver="evd")
    return values, (q / np.sqrt(e)) @ y, largest
