"""Groups that A holds together while B holds them together no more than a bound allows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from specscale import seeds
from specscale.errors import OptionError
from specscale.spectral.difference import LEAST_EIGENVALUE
from specscale.spectral.krylov import DROP
from specscale.spectral.tiles import TiledSymmetric

__all__ = ["ConstrainedModes", "check_bound", "solve_constrained"]

DENSE_ORDER = 300
LEAST_EPSILON = 1e-10  # of the largest eigenvalue of C: a smaller ε counts as this, below it b is mostly rounding
TOLERANCE = 1e-9  # of ε for b; of the largest eigenvalue of C for the residual and for the certificate
ROUNDING = 1e-13  # of the largest |eigenvalue|: closer ones are a tie
MAX_ROUNDS = 60
KEPT, ENRICHED, RANDOM, POWERS = 40, 6, 2, 3  # vectors of the subspace between rounds, and what one round adds

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ConstrainedModes:
    """Groups that maximise uᵀ K_A u / n subject to uᵀ K_B u / n ≤ ε, each orthogonal to those before.

    Attributes
    ----------
    eta : (k,) η, the multiplier of the constraint: how fast a grows with ε; 0 where the constraint does not bind
    eigenvalues : (k,) λ = a − η b, the largest eigenvalue of (K_A − η K_B) / n orthogonal to the groups before
    a, b : (k,) uᵀ K_A u / n and uᵀ K_B u / n
    mixed : (k,) whether λ is double at η, to rounding, and two of its eigenvectors were combined so that b = ε
    coefficients : (d, k) z with u = Φ z / √n, zᵀ C z = 1, and zᵀ C z′ = 0 for two groups
    unproved : numbers of the groups than which a better one could not be ruled out
    """

    eta: Array
    eigenvalues: Array
    a: Array
    b: Array
    mixed: NDArray[np.bool_]
    coefficients: Array
    unproved: tuple[int, ...] = ()


def check_bound(epsilon: float, n_groups: int) -> None:
    """Make sure that groups can be asked for.

    Raises
    ------
    OptionError
        When ε or n_groups is out of range.
    """
    if not 0 <= epsilon < 1:
        raise OptionError(f"epsilon is the largest uᵀ K_B u / n of a group and must lie in [0, 1), not be {epsilon:g}")
    if n_groups < 1:
        raise OptionError(f"n_groups must be at least 1, not {n_groups}")


def solve_constrained(C: TiledSymmetric, d_a: int, epsilon: float, n_groups: int) -> ConstrainedModes:
    """Find up to `n_groups` groups that A holds together subject to b ≤ ε, greedily.

    The maximum of a = uᵀ K_A u / n over unit u with b = uᵀ K_B u / n ≤ ε is the minimum over η ≥ 0 of
    λ_max(K_A/n − η K_B/n) + η ε: the pairs (a, b) that unit vectors reach are, up to their convex hull, an image
    without a gap (Brickman 1961), so the dual has no gap either. b of the top eigenvector falls with η; where it jumps
    over ε, λ_max has a kink and two of its eigenvectors are combined.

    The work is done in the range of C, in coordinates where u is a unit vector: one eigendecomposition of C, and then
    for each group a few factorisations of the order of C. Memory: 6 to 7 d² numbers.

    Parameters
    ----------
    C : d × d covariance of the concatenated features, A's d_a first
    d_a : dimension of A's features
    epsilon : largest b, in [0, 1)
    n_groups : groups wanted

    Returns
    -------
    ConstrainedModes
        Only groups with λ > 1e-5; none where no η brings b down to ε before λ is gone.

    Raises
    ------
    OptionError
        When ε or n_groups is out of range.
    """
    check_bound(epsilon, n_groups)
    e, q = scipy.linalg.eigh(C.dense(), driver="evd", overwrite_a=True)
    scale = max(float(e[-1]), 0.0)
    keep = e > DROP * scale
    e, q = e[keep], q[:, keep]
    root = q * np.sqrt(e)
    pair = _Deflated(root[:d_a].T @ root[:d_a], root[d_a:].T @ root[d_a:])
    bound = max(float(epsilon), LEAST_EPSILON * scale)
    etas: list[float] = []
    mixed: list[bool] = []
    unproved: list[int] = []
    columns: list[Array] = []
    V: Array | None = None
    while len(columns) < n_groups and pair.order:
        best, V = _best(pair, bound, scale, V)
        if best.y is None:
            break
        if not best.proved:
            unproved.append(len(etas))
        etas.append(best.eta)
        mixed.append(best.mixed)
        columns.append(pair.restore(best.y))
        V = pair.deflate(best.y, V)
    y = np.stack(columns, axis=1) if columns else np.empty((len(e), 0))
    w = root @ y
    a, b = np.einsum("dk,dk->k", w[:d_a], w[:d_a]), np.einsum("dk,dk->k", w[d_a:], w[d_a:])
    eta = np.array(etas, dtype=np.float64)
    return ConstrainedModes(
        eta, a - eta * b, a, b, np.array(mixed, dtype=np.bool_), (q / np.sqrt(e)) @ y, tuple(unproved)
    )


class _Deflated:
    """The forms of A and of B on the space orthogonal to the groups found.

    A reflection takes each group to the first axis, which is then left out: no shift is needed to keep what was found
    from being found again.
    """

    def __init__(self, A: Array, B: Array) -> None:
        self.A, self.B = A, B
        self._mirrors: list[Array] = []

    @property
    def order(self) -> int:
        """Dimension of the space that is left."""
        return len(self.A)

    def deflate(self, y: Array, V: Array | None) -> Array | None:
        """Leave the unit vector y out, and return a basis of what this leaves of the subspace V."""
        v = y.copy()
        v[0] += np.copysign(1.0, y[0])
        v /= np.linalg.norm(v)
        for form in (self.A, self.B):
            p = form @ v
            p -= (v @ p) * v
            form -= np.outer(2 * v, p)
            form -= np.outer(2 * p, v)
        self.A, self.B = self.A[1:, 1:], self.B[1:, 1:]
        self._mirrors.append(v)
        return None if V is None else _extended(np.empty((len(y) - 1, 0)), (V - np.outer(2 * v, v @ V))[1:])

    def restore(self, y: Array) -> Array:
        """Return the vector y in the coordinates of the whole range."""
        for v in reversed(self._mirrors):
            y = np.concatenate([[0.0], y])
            y -= 2 * (v @ y) * v
        return y


@dataclass(frozen=True)
class _Top:
    """The largest eigenvalue of A − η B, and what b can be in its eigenspace.

    `slope` is db/dη where the eigenvalue is simple. The smallest b is that of the vector `lean`, the largest that of
    `fat`; they are one vector, or orthogonal ones.
    """

    eta: float
    value: float
    least: float
    most: float
    lean: Array
    fat: Array
    slope: float


@dataclass(frozen=True)
class _Optimum:
    """A minimum over η: of the whole space, or of a subspace.

    `y` attains it, None where λ is no result; `vector` is then an eigenvector at η. `value` is λ. `proved` is
    whether no better one can be outside the subspace.
    """

    eta: float
    value: float
    vector: Array
    y: Array | None
    mixed: bool = False
    proved: bool = True


def _top(A: Array, B: Array, eta: float) -> _Top:
    values, vectors = scipy.linalg.eigh(A - eta * B, driver="evd")
    tie = values >= values[-1] - ROUNDING * np.abs(values).max()
    couplings = vectors.T @ (B @ vectors[:, tie])
    b, turn = scipy.linalg.eigh(couplings[tie])
    turned = vectors[:, tie] @ turn
    rest = couplings[~tie, -1] ** 2 / (values[-1] - values[~tie])
    return _Top(eta, float(values[-1]), float(b[0]), float(b[-1]), turned[:, 0], turned[:, -1], -2 * float(rest.sum()))


def _minimum(A: Array, B: Array, epsilon: float, scale: float) -> _Optimum:
    """Minimise λ_max(A − η B) + η ε over η ≥ 0 by its subdifferential, [ε − most, ε − least]."""
    enough = TOLERANCE * epsilon + 1e-15 * scale
    low = _top(A, B, 0.0)
    if low.value <= LEAST_EIGENVALUE:
        return _Optimum(0.0, low.value, low.lean, None)
    if low.least <= epsilon + enough:
        return _Optimum(0.0, low.value, low.lean, low.lean)
    last, high, eta = low, None, 1.0
    for count in range(400):
        if high is not None:
            eta = _proposal(low, high, last, epsilon, count)
            if high.eta - low.eta <= 1e-15 * (1 + high.eta):
                return _combined(A, B, low.eta, low.value, low.lean, high.fat, epsilon)
        last = _top(A, B, eta)
        if last.least - enough <= epsilon <= last.most + enough:
            if last.most - last.least <= 2 * enough:
                return _Optimum(eta, last.value, last.lean, last.lean if last.value > LEAST_EIGENVALUE else None)
            return _combined(A, B, eta, last.value, last.fat, last.lean, epsilon)
        if last.most < epsilon:
            high = last
        elif last.value <= LEAST_EIGENVALUE:  # and it falls further until b is down to ε
            return _Optimum(eta, last.value, last.lean, None)
        else:
            low = last
            eta *= 4
    if high is None:
        return _Optimum(eta, last.value, last.lean, None)
    return _combined(A, B, low.eta, low.value, low.lean, high.fat, epsilon)  # the bracket as narrow as it became


def _proposal(low: _Top, high: _Top, last: _Top, epsilon: float, count: int) -> float:
    """Return the next η to try, by turns a Newton step for b = ε, the kink the two ends foresee, and the middle."""
    if count % 3 == 0 and last.slope < 0:
        b = last.least if last is low else last.most
        eta = last.eta + (epsilon - b) / last.slope
        if low.eta < eta < high.eta:
            return eta
    if count % 3 == 1:
        # The tangents of the convex λ_max at both ends meet here; at a kink both are nearly λ_max itself.
        a_low, a_high = low.value + low.eta * low.least, high.value + high.eta * high.most
        eta = (a_low - a_high) / (low.least - high.most)
        if low.eta < eta < high.eta:
            return eta
    return float(np.sqrt(low.eta * high.eta)) if 4 * low.eta < high.eta and low.eta else (low.eta + high.eta) / 2


def _combined(A: Array, B: Array, eta: float, value: float, fat: Array, lean: Array, epsilon: float) -> _Optimum:
    """Combine a vector with b > ε and one with b < ε so that b = ε, and of the two ways take the one with more a."""
    if value <= LEAST_EIGENVALUE:
        return _Optimum(eta, value, lean, None)
    basis = np.linalg.qr(np.stack([fat, lean], axis=1))[0]
    b, turn = scipy.linalg.eigh(basis.T @ B @ basis)
    basis = basis @ turn
    share = np.clip((epsilon - b[0]) / (b[1] - b[0]), 0, 1)
    if share < TOLERANCE:
        return _Optimum(eta, value, basis[:, 0], basis[:, 0])
    ways = [np.sqrt(1 - share) * basis[:, 0] + sign * np.sqrt(share) * basis[:, 1] for sign in (1, -1)]
    y = max(ways, key=lambda way: float(way @ A @ way))
    return _Optimum(eta, value, y, y, mixed=True)


def _best(pair: _Deflated, epsilon: float, scale: float, V: Array | None) -> tuple[_Optimum, Array | None]:
    """Find the minimum on the whole space.

    Large problems are solved in a subspace that grows (Kangal, Meerbergen, Mengi and Michiels 2018): its minimum
    bounds that of the whole from below, and is it when A y = λ y + η B y there and (λ + δ) I − A + η B has a Cholesky
    factor for a tiny δ. The same factor enriches the subspace by inverse iteration.

    Returns
    -------
    best : the minimum; that of the subspace where it is not proved in MAX_ROUNDS rounds
    V : (r, m) an orthonormal basis to start the next group from, None for small problems
    """
    A, B, r = pair.A, pair.B, pair.order
    if r <= DENSE_ORDER:
        return _minimum(A, B, epsilon, scale), None
    generator = seeds.start_of_constraint(r)
    if V is None:
        # The leading directions of C come last, and what one embedding alone holds together is among them.
        V = _extended(np.eye(r, KEPT, KEPT - r), generator.standard_normal((r, RANDOM)))
    AV, BV = A @ V, B @ V
    for _ in range(MAX_ROUNDS):
        small_A, small_B = _symmetric(V.T @ AV), _symmetric(V.T @ BV)
        found = _minimum(small_A, small_B, epsilon, scale)
        eta = found.eta
        rest = (AV - eta * BV) @ found.vector - found.value * (V @ found.vector)
        residual, tolerance = float(np.linalg.norm(rest)), scale * (TOLERANCE + ROUNDING * 10 * eta)
        leading = scipy.linalg.eigh(small_A - eta * small_B, driver="evd")[1][:, ::-1]
        delta = tolerance if residual <= tolerance else residual
        factor = _factor(A, B, eta, found.value + delta)
        y = None if found.y is None else V @ found.y
        y = None if y is None else y / np.linalg.norm(y)
        best = _Optimum(eta, found.value, V @ found.vector, y, found.mixed, proved=False)
        kept = V @ leading[:, :KEPT]
        if factor is not None and residual <= tolerance:
            return replace(best, proved=True), kept
        while factor is None:
            delta *= 10
            factor = _factor(A, B, eta, found.value + delta)
        X = np.concatenate([V @ leading[:, :ENRICHED], generator.standard_normal((r, RANDOM))], axis=1)
        powers = []
        for _ in range(POWERS):
            X = np.linalg.qr(scipy.linalg.cho_solve((factor, True), X, check_finite=False))[0]
            powers.append(X)
        size = V.shape[1]
        V = _extended(V, np.concatenate(powers, axis=1))
        AV = np.concatenate([AV, A @ V[:, size:]], axis=1)
        BV = np.concatenate([BV, B @ V[:, size:]], axis=1)
    return best, kept


def _factor(A: Array, B: Array, eta: float, shift: float) -> Array | None:
    """Return the lower Cholesky factor of shift · I − A + η B, None where that is not positive definite."""
    S = eta * B
    S -= A
    S[np.diag_indices_from(S)] += shift
    try:
        # The transpose is the same matrix in the order in which it can be overwritten.
        return np.asarray(scipy.linalg.cholesky(S.T, lower=True, overwrite_a=True, check_finite=False))
    except scipy.linalg.LinAlgError:
        return None


def _extended(V: Array, X: Array) -> Array:
    """Extend the orthonormal V by what X adds to its span."""
    X = X / np.maximum(np.linalg.norm(X, axis=0), 1e-300)
    for _ in range(2):
        X = X - V @ (V.T @ X)
        Q, R, _ = scipy.linalg.qr(X, mode="economic", pivoting=True)
        X = np.asarray(Q[:, np.abs(np.diag(R)) > 1e-10], dtype=np.float64)
    return np.concatenate([V, X], axis=1)


def _symmetric(matrix: Array) -> Array:
    return (matrix + matrix.T) / 2
