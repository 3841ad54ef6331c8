"""Groups of A under a bound on b, against dense matrices over the samples and a scan of the dual."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

import specscale.spectral.constrained as module
from specscale.errors import OptionError
from specscale.spectral.constrained import ConstrainedModes, solve_constrained
from specscale.spectral.difference import LEAST_EIGENVALUE
from specscale.spectral.tiles import TiledSymmetric

Array = NDArray[np.float64]

pytestmark = pytest.mark.usefixtures("one_blas_thread")

ROUTES = ["dense", "subspace"]


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take one of the two routes whatever the size of the problem."""
    monkeypatch.setattr(module, "DENSE_ORDER", 10**6 if request.param == "dense" else 0)
    return str(request.param)


def features(n: int, d: int, seed: int) -> Array:
    """Features of unit norm with a decaying spectrum."""
    generator = np.random.default_rng(seed)
    phi = generator.normal(size=(n, d)) * generator.permutation(np.arange(1, d + 1.0) ** -0.8)
    return np.asarray(phi / np.linalg.norm(phi, axis=1, keepdims=True))


def separate(a: Sequence[float], b: Sequence[float], n: int = 0, seed: int = 0) -> tuple[Array, Array]:
    """Features of n samples whose kernels share their eigenvectors, with eigenvalues a of K_A/n and b of K_B/n."""
    n = n or len(a)
    u = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, len(a))))[0] * np.sqrt(n)
    return u * np.sqrt(a), u * np.sqrt(b)


def solve(phi_a: Array, phi_b: Array, epsilon: float, n_groups: int) -> ConstrainedModes:
    phi = np.concatenate([phi_a, phi_b], axis=1)
    return solve_constrained(TiledSymmetric.from_dense(phi.T @ phi / len(phi)), phi_a.shape[1], epsilon, n_groups)


def dual(K_a: Array, K_b: Array, P: Array, epsilon: float, largest: float) -> tuple[float, float]:
    """Minimise λ_max(η) + η ε on the range of P, by a scan of η that is refined around its least value."""

    def height(eta: float) -> float:
        M = P @ (K_a - eta * K_b) @ P
        return float(scipy.linalg.eigvalsh(M)[-1] + eta * epsilon)

    scan = np.r_[0, np.geomspace(1e-3, largest, 80)]
    heights = [height(eta) for eta in scan]
    i = int(np.argmin(heights))
    near = (scan[max(i - 1, 0)], scan[min(i + 1, len(scan) - 1)])
    fine = minimize_scalar(height, bounds=near, method="bounded", options={"xatol": 1e-10 * max(near[1], 1)})
    return min((heights[i], float(scan[i])), (float(fine.fun), float(fine.x)))


def check(phi_a: Array, phi_b: Array, epsilon: float, n_groups: int, found: ConstrainedModes) -> None:
    """Assert that each group is feasible, what it says of itself, and the best one after those before."""
    n = len(phi_a)
    phi = np.concatenate([phi_a, phi_b], axis=1)
    K_a, K_b = phi_a @ phi_a.T / n, phi_b @ phi_b.T / n
    z, k = found.coefficients, len(found.eta)
    assert z.shape == (phi.shape[1], k)
    assert all(
        len(one) == k for one in (found.eta, found.eigenvalues, found.a, found.b, found.mixed, found.coefficients.T)
    )
    np.testing.assert_allclose(z.T @ (phi.T @ phi / n) @ z, np.eye(k), atol=1e-8)
    u = phi @ z / np.sqrt(n)
    np.testing.assert_allclose(u.T @ u, np.eye(k), atol=1e-8)
    np.testing.assert_allclose(found.a, np.einsum("ik,ij,jk->k", u, K_a, u), atol=1e-10)
    np.testing.assert_allclose(found.b, np.einsum("ik,ij,jk->k", u, K_b, u), atol=1e-10)
    np.testing.assert_allclose(found.eigenvalues, found.a - found.eta * found.b, atol=1e-12)
    assert (found.b <= epsilon + 1e-8).all()
    assert (found.eta >= 0).all()
    assert (found.eigenvalues > LEAST_EIGENVALUE - 1e-9).all()
    P = np.eye(n)
    for j in range(k):
        eta = found.eta[j]
        # The conditions of optimality: an eigenvector at η, of the largest eigenvalue, the constraint tight if η > 0.
        M = P @ (K_a - eta * K_b) @ P
        assert np.linalg.norm(M @ u[:, j] - found.eigenvalues[j] * u[:, j]) < 1e-8 * (1 + 1e-3 * eta)
        assert scipy.linalg.eigvalsh(M)[-1] < found.eigenvalues[j] + 1e-8 * (1 + 1e-3 * eta)
        assert eta * abs(found.b[j] - epsilon) < 1e-8 * (1 + 1e-3 * eta)
        best, _ = dual(K_a, K_b, P, epsilon, max(1e3, 3 * eta))
        assert abs(found.a[j] - best) < 1e-7
        P = P - np.outer(u[:, j], u[:, j])
    if k < min(n_groups, np.linalg.matrix_rank(phi)) and epsilon >= 1e-6:
        best, eta = dual(K_a, K_b, P, epsilon, 1e6)
        assert best - eta * epsilon < LEAST_EIGENVALUE + 1e-8


@pytest.mark.parametrize("epsilon", [1e-4, 0.003, 0.01, 0.02, 0.3])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.slow
def test_groups_are_the_best_under_the_bound(route: str, seed: int, epsilon: float) -> None:
    phi_a, phi_b = features(90, 30, seed), features(90, 40, seed + 10)
    found = solve(phi_a, phi_b, epsilon, 3)
    assert len(found.eta) == 3
    check(phi_a, phi_b, epsilon, 3, found)


def test_no_unit_vector_of_many_does_better() -> None:
    phi_a, phi_b = features(3, 5, 0), features(3, 4, 2)
    K_a, K_b = phi_a @ phi_a.T / 3, phi_b @ phi_b.T / 3
    polar, around = np.meshgrid(np.linspace(0, np.pi, 700), np.linspace(0, np.pi, 700))
    sphere = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=-1)
    sphere = sphere.reshape(-1, 3)
    a, b = (np.einsum("si,ij,sj->s", sphere, K, sphere) for K in (K_a, K_b))
    for epsilon in np.linspace(scipy.linalg.eigvalsh(K_b)[0] + 0.01, 0.9, 6):
        best = a[b <= epsilon].max()
        found = solve(phi_a, phi_b, float(epsilon), 1)
        assert found.a[0] > best - 1e-9
        assert found.a[0] < best + 0.01  # the spacing of the grid
        assert found.b[0] <= epsilon + 1e-8


def test_a_bound_above_all_of_b_leaves_the_kernel_of_a(route: str) -> None:
    phi_a, phi_b = features(80, 20, 3), features(80, 25, 4)
    found = solve(phi_a, phi_b, 0.9, 6)
    np.testing.assert_array_equal(found.eta, 0)
    assert not found.mixed.any()
    np.testing.assert_allclose(found.a, scipy.linalg.eigvalsh(phi_a.T @ phi_a / 80)[::-1][:6], rtol=1e-8)


@pytest.mark.parametrize(
    ("a", "b", "epsilon", "expected"),
    [
        # a, b, η and whether it is mixed: the line between (.2, .3) and (.05, .2) meets b = .1 at a = 7/30, slope 2/3.
        ([0.3, 0.2, 0.1], [0.2, 0.05, 0.0], 0.1, (7 / 30, 0.1, 2 / 3, True)),
        ([0.3, 0.2, 0.1], [0.2, 0.05, 0.01], 0.02, (0.125, 0.02, 2.5, True)),
        ([0.3, 0.2, 0.1], [0.2, 0.05, 0.0], 0.05, (0.2, 0.05, None, False)),
        ([0.3, 0.3, 0.1], [0.2, 0.05, 0.03], 0.1, (0.3, 0.05, 0.0, False)),
        ([0.3, 0.3, 0.3, 0.1], [0.2, 0.2, 0.2, 0.02], 0.1, (0.1 + 0.2 * 8 / 18, 0.1, 0.2 / 0.18, True)),
        ([0.3, 0.1], [0.2, 0.0], 0.0, (0.1, 0.0, None, False)),
    ],
)
def test_groups_that_cross_are_combined_at_the_kink(
    route: str, a: list[float], b: list[float], epsilon: float, expected: tuple[float, float, float | None, bool]
) -> None:
    phi_a, phi_b = separate(a, b, n=12)
    found = solve(phi_a, phi_b, epsilon, 1)
    value, share, eta, mixed = expected
    np.testing.assert_allclose([found.a[0], found.b[0]], [value, share], atol=1e-8)
    assert bool(found.mixed[0]) is mixed
    if eta is not None:
        assert found.eta[0] == pytest.approx(eta, abs=1e-7)
    if epsilon > 0:
        check(phi_a, phi_b, epsilon, 1, found)


def test_two_combinations_of_the_same_pair_follow_each_other_as_long_as_they_fit(route: str) -> None:
    a, b = [0.3] * 30 + [0.1] * 30, [0.2] * 30 + [0.02] * 30
    found = solve(*separate(a, b, n=64), 0.1, 3)
    np.testing.assert_allclose(found.a, 0.1 + 0.2 * 8 / 18, atol=1e-8)
    np.testing.assert_allclose(found.b, 0.1, atol=1e-8)
    assert found.mixed.all()


def test_kernels_that_nearly_share_their_eigenvectors_have_no_kink(route: str) -> None:
    # The crossing is avoided by a little: b falls steeply through ε, and one eigenvector has b = ε.
    phi_a, phi_b = separate([0.3, 0.2, 0.1], [0.2, 0.05, 0.01], n=12)
    for nudge in (1e-2, 1e-5):
        moved = phi_b + nudge * np.random.default_rng(0).normal(size=phi_b.shape)
        found = solve(phi_a, moved, 0.1, 1)
        assert not found.mixed[0]
        assert found.b[0] == pytest.approx(0.1, abs=1e-9)
        check(phi_a, moved, 0.1, 1, found)
        assert found.a[0] == pytest.approx(7 / 30, abs=10 * nudge)


@given(exponent=st.floats(-17, -3), seed=st.integers(0, 30), epsilon=st.floats(0.06, 0.19))
def test_crossings_avoided_by_ever_less_are_solved(exponent: float, seed: int, epsilon: float) -> None:
    phi_a, phi_b = separate([0.3, 0.2, 0.1], [0.2, 0.05, 0.01], n=12)
    moved = phi_b + phi_b @ (10**exponent * np.random.default_rng(seed).normal(size=(3, 3)))
    found = solve(phi_a, moved, epsilon, 1)
    check(phi_a, moved, epsilon, 1, found)
    assert found.b[0] == pytest.approx(epsilon, abs=1e-9)


def test_of_two_combinations_the_one_with_more_a_is_taken() -> None:
    A = np.array([[0.3, 0.1], [0.1, 0.2]])
    B = np.diag([0.2, 0.1])
    fat, lean = np.eye(2)
    best = module._combined(A, B, 1.0, 0.1, fat, lean, 0.15)
    assert best.y is not None
    assert best.y @ B @ best.y == pytest.approx(0.15)
    assert best.y @ A @ best.y == pytest.approx(0.35)
    assert best.mixed


@pytest.mark.parametrize(
    ("a", "b", "epsilon"),
    [
        ([0.3, 0.2, 0.1], [0.2, 0.05, 0.03], 0.02),
        ([0.3], [0.2], 0.1),
        ([0.3, 0.2, 0.1], [0.2, 0.05, 0.03], 0.0),
        ([1e-6, 0.0], [0.0, 0.1], 0.5),  # a is no result
        ([0.3, 1e-6], [0.2, 0.0], 0.1),  # nor is it where b is low enough
    ],
)
def test_there_is_no_group_where_b_cannot_be_brought_down_in_time(
    route: str, a: list[float], b: list[float], epsilon: float
) -> None:
    found = solve(*separate(a, b, n=8), epsilon, 2)
    assert found.eta.shape == (0,)
    assert found.coefficients.shape == (2 * len(a), 0)
    assert found.mixed.dtype == bool


def test_a_bound_of_zero_leaves_what_b_does_not_see_at_all(route: str) -> None:
    # B's kernel has rank 5: its null space is open to A's groups.
    phi_a, phi_b = features(40, 20, 0), features(40, 5, 1)
    found = solve(phi_a, phi_b, 0.0, 2)
    q = scipy.linalg.null_space(phi_b.T)
    expected = scipy.linalg.eigvalsh(q.T @ phi_a @ phi_a.T @ q / 40)[::-1]
    assert found.b.max() < 1e-9
    np.testing.assert_allclose(found.a[0], expected[0], atol=1e-4)
    # B sees all that A sees, at least a little.
    same = features(40, 20, 0)
    assert solve(same, same, 0.0, 2).eta.shape == (0,)


@pytest.mark.parametrize("epsilon", [0.0, 0.001, 0.5])
def test_an_embedding_under_its_own_bound(route: str, epsilon: float) -> None:
    phi = features(300, 30, 0)
    found = solve(phi, phi, epsilon, 2)
    assert len(found.eta) == (2 if epsilon == 0.5 else 0)
    np.testing.assert_allclose(found.a, found.b)


def test_a_bound_just_under_what_an_embedding_has_of_itself_is_no_group() -> None:
    phi = features(300, 30, 0)
    values = scipy.linalg.eigvalsh(phi.T @ phi / 300)
    epsilon = float(values[-1] + values[-2]) / 2
    # The constraint a = b ≤ ε binds at η = 1, where nothing is left of λ.
    assert solve(phi, phi, epsilon, 1).eta.shape == (0,)


@pytest.mark.parametrize("n", [2, 5, 30])
def test_fewer_samples_than_dimensions(route: str, n: int) -> None:
    phi_a, phi_b = features(n, 60, 5), features(n, 70, 6)
    K_b = scipy.linalg.eigvalsh(phi_b @ phi_b.T / n)
    epsilon = float((K_b[0] + K_b[-1]) / 2)
    found = solve(phi_a, phi_b, epsilon, 3)
    assert len(found.eta) >= 1
    check(phi_a, phi_b, epsilon, 3, found)


def test_more_groups_than_the_space_holds(route: str) -> None:
    found = solve(*separate([0.3, 0.2, 0.1], [0.01, 0.02, 0.03]), 0.5, 10)
    np.testing.assert_allclose(found.a, [0.3, 0.2, 0.1])


def test_what_is_weak_in_the_covariance_is_found_too(route: str) -> None:
    # The leading directions of C are B's alone, and no product with C or with either form leads from them to A's.
    a, b = np.r_[np.zeros(150), np.linspace(4e-3, 1e-3, 50)], np.r_[np.full(150, 0.01), np.zeros(50)]
    C = scipy.linalg.block_diag(np.diag(a), np.diag(b))
    found = solve_constrained(TiledSymmetric.from_dense(C), 200, 0.001, 3)
    np.testing.assert_allclose(found.a, a[150:153], rtol=1e-7)
    np.testing.assert_allclose(found.b, 0, atol=1e-12)


@pytest.mark.slow
def test_large_problems_take_the_subspace(monkeypatch: pytest.MonkeyPatch) -> None:
    phi_a, phi_b = features(900, 200, 0), features(900, 200, 1)
    fast = solve(phi_a, phi_b, 0.002, 4)
    monkeypatch.setattr(module, "DENSE_ORDER", 10**6)
    monkeypatch.setattr(module, "_factor", None)
    slow = solve(phi_a, phi_b, 0.002, 4)
    np.testing.assert_allclose(fast.a, slow.a, atol=1e-9)
    np.testing.assert_allclose(fast.eta, slow.eta, rtol=1e-5)
    phi = np.concatenate([phi_a, phi_b], axis=1)
    overlap = np.abs(fast.coefficients.T @ (phi.T @ phi / 900) @ slow.coefficients)
    np.testing.assert_allclose(np.diag(overlap), 1, atol=1e-6)


def test_the_same_call_gives_the_same_bits(route: str) -> None:
    phi_a, phi_b = features(60, 30, 0), features(60, 30, 1)
    one, other = solve(phi_a, phi_b, 0.005, 3), solve(phi_a, phi_b, 0.005, 3)
    np.testing.assert_array_equal(one.coefficients, other.coefficients)


def test_no_covariance_has_no_groups() -> None:
    C = TiledSymmetric.from_dense(np.zeros((6, 6)))
    assert solve_constrained(C, 3, 0.1, 2).coefficients.shape == (6, 0)


@pytest.mark.parametrize(("d_a", "groups"), [(0, 0), (6, 2)])
def test_one_embedding_without_features(d_a: int, groups: int) -> None:
    C = TiledSymmetric.from_dense(np.diag(np.arange(1, 7) / 21))
    assert len(solve_constrained(C, d_a, 0.1, 2).eta) == groups


@pytest.mark.parametrize("epsilon", [-1e-9, 1.0, np.nan, np.inf, -np.inf])
def test_a_bound_out_of_range_is_refused(epsilon: float) -> None:
    with pytest.raises(OptionError, match=r"^epsilon .*\[0, 1\)") as caught:
        solve(features(9, 3, 0), features(9, 3, 1), epsilon, 1)
    assert "\n" not in str(caught.value)


def test_no_groups_at_all_is_refused() -> None:
    with pytest.raises(OptionError, match="n_groups"):
        solve(features(9, 3, 0), features(9, 3, 1), 0.1, 0)


def test_a_group_that_is_not_proved_to_be_the_best_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = features(60, 30, 0), features(60, 30, 1)
    best = solve(*pair, 0.005, 1)
    assert best.unproved == ()
    for name, value in (("DENSE_ORDER", 0), ("MAX_ROUNDS", 1), ("KEPT", 10)):
        monkeypatch.setattr(module, name, value)
    found = solve(*pair, 0.005, 1)
    assert found.unproved == (0,)
    assert found.b[0] <= 0.005 * (1 + 1e-6)
    assert 0 < found.a[0] < best.a[0]


# --- properties

problems = st.tuples(st.integers(2, 40), st.integers(1, 12), st.integers(1, 12), st.integers(0, 100))
bounds = st.floats(1e-4, 0.5)


def pair_of(problem: tuple[int, int, int, int]) -> tuple[Array, Array]:
    n, d_a, d_b, seed = problem
    return features(n, d_a, seed), features(n, d_b, seed + 1000)


@given(problem=problems, epsilon=bounds)
def test_any_problem_meets_the_conditions(problem: tuple[int, int, int, int], epsilon: float) -> None:
    phi_a, phi_b = pair_of(problem)
    check(phi_a, phi_b, epsilon, 2, solve(phi_a, phi_b, epsilon, 2))


@given(problem=problems, epsilon=bounds, factor=st.floats(0.2, 1.0))
def test_a_and_b_scale_with_the_kernels(problem: tuple[int, int, int, int], epsilon: float, factor: float) -> None:
    phi_a, phi_b = pair_of(problem)
    one = solve(phi_a, phi_b, epsilon, 1)
    other = solve(phi_a * np.sqrt(factor), phi_b * np.sqrt(factor), epsilon * factor, 1)
    if len(one.eta) and one.eigenvalues[0] * factor > 2 * LEAST_EIGENVALUE:
        np.testing.assert_allclose(other.a, one.a * factor, atol=1e-8)
        np.testing.assert_allclose(other.eta * other.b, one.eta * one.b * factor, atol=1e-6)


@given(problem=problems, epsilon=bounds)
def test_the_order_of_the_features_does_not_matter(problem: tuple[int, int, int, int], epsilon: float) -> None:
    phi_a, phi_b = pair_of(problem)
    one, other = solve(phi_a, phi_b, epsilon, 1), solve(phi_a[:, ::-1], phi_b[:, ::-1], epsilon, 1)
    np.testing.assert_allclose(other.a, one.a, atol=1e-8)


@given(problem=problems, epsilons=st.lists(bounds, min_size=2, max_size=5))
def test_the_first_group_grows_with_the_bound(problem: tuple[int, int, int, int], epsilons: list[float]) -> None:
    phi_a, phi_b = pair_of(problem)
    found = [solve(phi_a, phi_b, epsilon, 1) for epsilon in sorted(epsilons)]
    a = [float(one.a[0]) if len(one.a) else 0.0 for one in found]
    eta = [float(one.eta[0]) if len(one.a) else np.inf for one in found]
    assert (np.diff(a) >= -1e-8).all()
    assert all(later <= earlier * (1 + 1e-6) + 1e-6 for earlier, later in pairwise(eta))
