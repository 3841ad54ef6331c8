"""The tiled symmetric matrix and the eigensolver of the difference, against dense linear algebra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import specscale.spectral.difference as difference_module
import specscale.spectral.krylov as krylov_module
from specscale.errors import OptionError
from specscale.runtime.threads import Threads
from specscale.spectral.difference import LEAST_EIGENVALUE, Modes, difference_signs, solve_cost, solve_difference
from specscale.spectral.tiles import TILE, TiledSymmetric, tile_edges

Array = NDArray[np.float64]

pytestmark = pytest.mark.usefixtures("one_blas_thread")

ETAS = [0.0, 0.25, 1.0, 4.0, 100.0]
ROUTES = ["dense", "krylov"]


def serial(tasks: Sequence[Callable[[], None]]) -> None:
    for task in tasks:
        task()


def backwards(tasks: Sequence[Callable[[], None]]) -> None:
    for task in reversed(tasks):
        task()


def symmetric(d: int, seed: int = 0) -> Array:
    x = np.random.default_rng(seed).normal(size=(d, d))
    return x + x.T


def covariance(n: int, d: int, seed: int = 0, decay: float = 0.7) -> Array:
    """The covariance of n rows of unit norm with a decaying spectrum, as feature maps have it."""
    generator = np.random.default_rng(seed)
    phi = generator.normal(size=(n, d)) * generator.permutation(np.arange(1, d + 1.0) ** -decay)
    phi /= np.linalg.norm(phi, axis=1, keepdims=True)
    return phi.T @ phi / n


def exact(C: Array, d_a: int, eta: float) -> tuple[Array, Array, Array]:
    """Eigenvalues of C^½ D C^½, its eigenvectors, and C^½."""
    e, q = scipy.linalg.eigh(C)
    root = (q * np.sqrt(np.maximum(e, 0))) @ q.T
    D = np.r_[np.ones(d_a), np.full(len(C) - d_a, -eta)]
    values, y = scipy.linalg.eigh(root @ (D[:, None] * root))
    return values, y, root


def leading(values: Array, n_modes: int) -> Array:
    positive, negative = values[::-1][:n_modes], values[:n_modes]
    return np.r_[positive[positive > LEAST_EIGENVALUE], negative[negative < -LEAST_EIGENVALUE]]


def check(C: Array, d_a: int, eta: float, n_modes: int, modes: Modes, residual_bound: float = 1.01e-8) -> None:
    """Assert that the modes are the leading eigenpairs, and that what they say of themselves is so."""
    values, y, root = exact(C, d_a, eta)
    scale = max(np.abs(values).max(), 1e-300)
    expected = leading(values, n_modes)
    assert modes.eigenvalues.shape == expected.shape
    np.testing.assert_allclose(modes.eigenvalues, expected, rtol=1e-7, atol=1e-7 * scale)
    z, k = modes.coefficients, len(expected)
    assert z.shape == (len(C), k)
    np.testing.assert_allclose(z.T @ C @ z, np.eye(k), atol=1e-6)
    w = C @ z
    np.testing.assert_allclose(modes.a, (w[:d_a] ** 2).sum(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(modes.b, (w[d_a:] ** 2).sum(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(modes.eigenvalues, modes.a - eta * modes.b, rtol=1e-9, atol=1e-12)
    # ‖Λu − λu‖ for u = C^½ z, in coordinates where Λ is C^½ D C^½
    u = root @ z
    D = np.r_[np.ones(d_a), np.full(len(C) - d_a, -eta)]
    residuals = np.linalg.norm(root @ (D[:, None] * (root @ u)) - u * modes.eigenvalues, axis=0)
    np.testing.assert_allclose(modes.residuals, residuals, rtol=1e-3, atol=3e-9 * max(1, eta))
    assert (residuals <= residual_bound * scale + 3e-9 * max(1, eta)).all()
    for value, vector in zip(modes.eigenvalues, u.T, strict=True):
        near = np.abs(values - value) < 1e-3 * scale
        assert np.linalg.norm(y[:, near].T @ vector) > 1 - 1e-6
    assert modes.spec_diff == np.abs(modes.eigenvalues).max(initial=0)


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take one of the two routes whatever the size of the problem."""
    dense = request.param == "dense"
    monkeypatch.setattr(difference_module, "_is_small", lambda d, block: dense or d < 2)
    return str(request.param)


def solve(C: Array, d_a: int, eta: float, n_modes: int) -> Modes:
    return solve_difference(TiledSymmetric.from_dense(C), d_a, eta, n_modes, serial)


# --- tiles


@given(d=st.integers(1, 40_000))
def test_tiles_cover_all_columns_in_nearly_equal_widths(d: int) -> None:
    edges = tile_edges(d)
    widths = np.diff(edges)
    assert (edges[0], edges[-1]) == (0, d)
    assert widths.min() > 0
    assert widths.max() <= TILE
    assert widths.max() - widths.min() <= 1
    assert TiledSymmetric.size(d) == sum(int(widths[i] * widths[: i + 1].sum()) for i in range(len(widths)))


@given(d=st.integers(1, 400), k=st.integers(1, 5))
def test_a_tiled_matrix_multiplies_as_the_dense_one(d: int, k: int) -> None:
    matrix, x = symmetric(d), np.random.default_rng(1).normal(size=(d, k))
    tiled = TiledSymmetric.from_dense(matrix)
    np.testing.assert_array_equal(tiled.dense(), matrix)
    np.testing.assert_allclose(tiled.matmul(x, serial), matrix @ x, atol=1e-12 * d)
    np.testing.assert_array_equal(tiled.matmul(x, serial), tiled.matmul(x, backwards))


@given(d=st.integers(1, 300), data=st.data())
def test_bands_of_a_tiled_matrix(d: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, d))
    stop = data.draw(st.integers(start, d))
    matrix = symmetric(d)
    np.testing.assert_array_equal(TiledSymmetric.from_dense(matrix).band(start, stop), matrix[start:stop])


@given(d=st.integers(1, 300))
def test_mirror_completes_lower_triangles(d: int) -> None:
    matrix = symmetric(d)
    tiled = TiledSymmetric(d)
    for rows, columns, tile in tiled.tiles():
        tile[...] = np.tril(matrix[rows, columns]) if rows == columns else matrix[rows, columns]
        if rows == columns:
            tile[np.triu_indices(len(tile), 1)] = 1e300  # undefined above the diagonal
    tiled.mirror()
    np.testing.assert_array_equal(tiled.dense(), matrix)


@pytest.mark.parametrize("d", [1, TILE - 1, TILE, TILE + 1, 2 * TILE + 3])
@pytest.mark.slow
def test_tiles_around_the_largest_width(d: int) -> None:
    matrix = symmetric(d)
    tiled = TiledSymmetric.from_dense(matrix)
    np.testing.assert_array_equal(tiled.dense(), matrix)
    x = np.random.default_rng(1).normal(size=(d, 2))
    np.testing.assert_allclose(tiled.matmul(x, serial), matrix @ x, atol=1e-9)


def test_a_tiled_matrix_lives_in_the_buffer_it_is_given() -> None:
    buffer = np.zeros(TiledSymmetric.size(200))
    for _, _, tile in TiledSymmetric(200, buffer).tiles():
        tile += 1
    np.testing.assert_array_equal(buffer, 1)
    np.testing.assert_array_equal(TiledSymmetric(200, buffer).dense(), 1)


# --- the solver


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize(("d", "d_a"), [(90, 40), (300, 150), (301, 7)])
@pytest.mark.slow
def test_leading_modes_on_both_routes(route: str, d: int, d_a: int, eta: float) -> None:
    C = covariance(900, d)
    check(C, d_a, eta, 4, solve(C, d_a, eta, 4))


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize(("d", "d_a"), [(1, 1), (2, 1), (3, 1), (3, 2), (4, 2), (5, 4), (9, 3), (33, 16)])
def test_the_smallest_problems(route: str, d: int, d_a: int, eta: float) -> None:
    C = covariance(200, d)
    for n_modes in (1, 10):
        check(C, d_a, eta, n_modes, solve(C, d_a, eta, n_modes))


def test_embeddings_of_one_dimension_each_with_nothing_in_common() -> None:
    modes = solve(np.diag([0.5, 0.25]), 1, 1.0, 3)
    np.testing.assert_allclose(modes.eigenvalues, [0.5, -0.25])
    np.testing.assert_allclose(modes.a, [0.5, 0], atol=1e-15)
    np.testing.assert_allclose(modes.b, [0, 0.25], atol=1e-15)


@pytest.mark.parametrize("n", [2, 3, 25, 60])
@pytest.mark.parametrize("eta", [0.25, 1.0, 4.0])
def test_fewer_samples_than_dimensions(route: str, n: int, eta: float) -> None:
    C = covariance(n, 240)
    check(C, 100, eta, 5, solve(C, 100, eta, 5))


@pytest.mark.slow
@pytest.mark.parametrize(("d", "eta"), [(600, 0.0), (600, 0.25), (1500, 1.0), (600, 4.0), (600, 100.0)])
def test_large_problems_take_the_krylov_route(monkeypatch: pytest.MonkeyPatch, d: int, eta: float) -> None:
    monkeypatch.setattr(difference_module, "_dense", None)
    C = covariance(2 * d, d, decay=1.1)
    check(C, d // 2, eta, 10, solve(C, d // 2, eta, 10))


@pytest.mark.parametrize("eta", [1e-4, 1e-3, 1e-2, 0.1, 10.0, 1e3, 1e4])
@pytest.mark.slow
def test_ends_of_very_different_strength(route: str, eta: float) -> None:
    C = covariance(900, 300)
    check(C, 150, eta, 5, solve(C, 150, eta, 5))


@pytest.mark.parametrize("decay", [0.0, 0.15])
@pytest.mark.slow
def test_spectra_that_hardly_decay(route: str, decay: float) -> None:
    C = covariance(4000, 500, decay=decay)
    check(C, 250, 1.0, 5, solve(C, 250, 1.0, 5))


@pytest.mark.parametrize("multiplicity", [2, 7, 16, 40, 120])
@pytest.mark.slow
def test_tied_eigenvalues(route: str, multiplicity: int) -> None:
    # More equal eigenvalues than one block has vectors, at both ends.
    d = 400
    e = np.full(d, 1e-4)
    e[:multiplicity] = 0.004
    e[200 : 200 + multiplicity] = 0.003
    q = scipy.linalg.block_diag(*(np.linalg.qr(np.random.default_rng(i).normal(size=(200, 200)))[0] for i in (0, 1)))
    C = (q * e) @ q.T
    modes = solve(C, 200, 1.0, 3)
    check(C, 200, 1.0, 3, modes)
    np.testing.assert_allclose(modes.eigenvalues[: min(3, multiplicity)], 0.004, rtol=1e-7)


def test_clusters_of_close_eigenvalues(route: str) -> None:
    d = 360
    e = np.r_[0.01 * (1 + 1e-7 * np.arange(30)), np.linspace(5e-3, 1e-4, 150)]
    q = scipy.linalg.block_diag(*(np.linalg.qr(np.random.default_rng(i).normal(size=(180, 180)))[0] for i in (0, 1)))
    C = (q * np.r_[e, e]) @ q.T
    assert C.shape == (d, d)
    check(C, 180, 1.0, 5, solve(C, 180, 1.0, 5))


@pytest.mark.parametrize("d", [8, 200, 700, 1100])
@pytest.mark.slow
def test_an_embedding_against_itself_has_no_modes(d: int) -> None:
    half = covariance(500, d) / 2
    for C in (np.block([[half, half], [half, half]]), np.block([[np.eye(d), np.eye(d)], [np.eye(d), np.eye(d)]]) / d):
        modes = solve(C, d, 1.0, 10)
        assert modes.eigenvalues.shape == (0,)
        assert modes.coefficients.shape == (2 * d, 0)
        assert modes.residuals.shape == (0,)
        assert modes.spec_diff == 0


def test_rounding_of_the_covariance_is_no_difference(route: str) -> None:
    # Tiles summed in single precision differ a little where they should be equal. Directions that live on this alone
    # meet the strongest ones with the square root of their variance, which would be seen.
    d = 300
    half = covariance(900, d, decay=1.5) / 2
    noise = symmetric(2 * d)
    C = np.block([[half, half], [half, half]])
    C += noise * (4e-9 * np.linalg.norm(C, 2) / np.linalg.norm(noise, 2))
    assert np.abs(exact(C, d, 1.0)[0]).max() > 1e-5
    assert solve(C, d, 1.0, 5).eigenvalues.shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("d", [20, 600])
def test_an_embedding_against_itself_under_another_weight(d: int) -> None:
    half = covariance(2 * d, d) / 2
    C = np.block([[half, half], [half, half]])
    check(C, d, 0.5, 4, solve(C, d, 0.5, 4))
    assert (solve(C, d, 0.5, 4).eigenvalues > 0).all()
    assert (solve(C, d, 3.0, 4).eigenvalues < 0).all()


def test_no_covariance_at_all_has_no_modes(route: str) -> None:
    assert solve(np.zeros((80, 80)), 40, 1.0, 3).eigenvalues.shape == (0,)


def test_one_direction(route: str) -> None:
    v = np.random.default_rng(0).normal(size=90)
    v /= np.linalg.norm(v)
    check(np.outer(v, v), 60, 1.0, 3, solve(np.outer(v, v), 60, 1.0, 3))


@pytest.mark.parametrize("smallest", [1e-6, 1e-9, 1e-12, 1e-16])
def test_directions_of_tiny_variance(route: str, smallest: float) -> None:
    generator = np.random.default_rng(0)
    q = np.linalg.qr(generator.normal(size=(200, 200)))[0]
    e = np.geomspace(0.3, smallest, 200)
    C = (q * e) @ q.T
    # Directions below 1e-7 of the largest are dropped by the dense route.
    check((C + C.T) / 2, 90, 1.0, 5, solve((C + C.T) / 2, 90, 1.0, 5), residual_bound=2e-4)


def test_one_embedding_far_weaker_than_the_other(route: str) -> None:
    C = covariance(800, 300)
    weak = np.r_[np.ones(150), np.full(150, 1e-4)]
    C = weak[:, None] * C * weak
    check(C, 150, 1.0, 4, solve(C, 150, 1.0, 4))


@given(d=st.integers(2, 60), seed=st.integers(0, 50), eta=st.sampled_from(ETAS), n_modes=st.integers(1, 8))
def test_any_problem_on_the_krylov_route(d: int, seed: int, eta: float, n_modes: int) -> None:
    generator = np.random.default_rng(seed)
    n, d_a = int(generator.integers(2, 3 * d + 2)), int(generator.integers(1, d))
    C = covariance(n, d, seed, decay=float(generator.uniform(0, 2)))
    block = 2 * n_modes + 10
    values, z, worst, _ = krylov_module.block_krylov(
        TiledSymmetric.from_dense(C), difference_signs(d_a, d - d_a, eta), n_modes, block, LEAST_EIGENVALUE, serial
    )
    assert worst <= 1
    exact_values = exact(C, d_a, eta)[0]
    scale = np.abs(exact_values).max()
    np.testing.assert_allclose(leading(values, n_modes), leading(exact_values, n_modes), rtol=1e-6, atol=1e-9 * scale)
    np.testing.assert_allclose(z.T @ C @ z, np.eye(len(values)), atol=1e-5)


@pytest.mark.parametrize("basis_blocks", [3, 4, 6])
@pytest.mark.parametrize("decay", [0.1, 0.7])
@pytest.mark.slow
def test_restarts_from_a_short_basis(monkeypatch: pytest.MonkeyPatch, basis_blocks: int, decay: float) -> None:
    monkeypatch.setattr(krylov_module, "BASIS_BLOCKS", basis_blocks)
    C = covariance(1200, 520, decay=decay)
    check(C, 260, 1.0, 6, solve(C, 260, 1.0, 6))


def test_a_solve_that_does_not_converge_names_its_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(krylov_module, "MAX_BLOCKS", 4)
    C = covariance(2000, 600, decay=0.0)
    modes = solve(C, 300, 1.0, 5)
    assert len(modes.eigenvalues) == 10
    assert modes.unsettled
    # An eigenvalue lies within the residual of each, and the others are as they should be.
    every = exact(C, 300, 1.0)[0]
    assert (np.abs(every[:, None] - modes.eigenvalues).min(axis=0) <= modes.residuals + 1e-12).all()
    settled = np.setdiff1d(np.arange(10), modes.unsettled)
    assert modes.residuals[list(modes.unsettled)].min() > modes.residuals[settled].max(initial=0.0)


def test_residuals_within_the_rounding_of_the_covariance_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(krylov_module, "TOLERANCE", 1e-30)  # which nothing reaches
    monkeypatch.setattr(krylov_module, "MAX_BLOCKS", 25)
    C = covariance(2000, 600)
    modes = solve(C, 300, 1.0, 5)
    assert modes.unsettled == ()
    check(C, 300, 1.0, 5, modes)


def test_the_solve_has_the_same_bits_on_any_number_of_threads() -> None:
    C = TiledSymmetric.from_dense(covariance(1500, 1200))
    answers = []
    for count in (1, 3):
        with closing(Threads(count)) as threads:
            answers.append(solve_difference(C, 600, 1.0, 5, threads.run))
    np.testing.assert_array_equal(answers[0].eigenvalues, answers[1].eigenvalues)
    np.testing.assert_array_equal(answers[0].coefficients, answers[1].coefficients)


def test_swapping_the_embeddings_turns_the_spectrum_round(route: str) -> None:
    C = covariance(900, 200)
    swap = np.r_[80:200, 0:80]
    modes, turned = solve(C, 80, 1.0, 5), solve(C[np.ix_(swap, swap)], 120, 1.0, 5)
    np.testing.assert_allclose(turned.eigenvalues, -np.r_[modes.eigenvalues[5:], modes.eigenvalues[:5]], rtol=1e-7)
    np.testing.assert_allclose(turned.a, np.r_[modes.b[5:], modes.b[:5]], rtol=1e-5, atol=1e-9)


def test_without_weight_b_has_no_modes(route: str) -> None:
    C = covariance(900, 200)
    modes = solve(C, 80, 0.0, 5)
    np.testing.assert_allclose(modes.eigenvalues, scipy.linalg.eigvalsh(C[:80, :80])[::-1][:5], rtol=1e-8)


@pytest.mark.parametrize(("eta", "n_modes"), [(-1.0, 3), (np.nan, 3), (1.0, 0)])
def test_illegal_weights_and_counts_are_refused(eta: float, n_modes: int) -> None:
    with pytest.raises(OptionError):
        solve(np.eye(6) / 6, 3, eta, n_modes)


@pytest.mark.parametrize("d", [10, 512, 513, 4000])
def test_the_solve_states_its_cost(d: int) -> None:
    cost = solve_cost(d, 10)
    assert cost.memory >= 8 * TiledSymmetric.size(d)
    assert cost.operations > 0
