"""Varimax rotations of modes, against planted groups and dense matrices over the samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import specscale.spectral.varimax as module
from specscale.spectral.difference import Modes, modes_of, solve_difference
from specscale.spectral.tiles import TiledSymmetric
from specscale.spectral.varimax import rotation_of, varimax

Array = NDArray[np.float64]

pytestmark = pytest.mark.usefixtures("one_blas_thread")


def serial(tasks: Sequence[Callable[[], None]]) -> None:
    for task in tasks:
        task()


def criterion(x: Array, w: Array | None = None) -> float:
    """The sum over columns of the variance of squared entries, as it is written."""
    w = np.ones(len(x)) if w is None else w
    return float(sum(np.cov(column**2, aweights=w, ddof=0) for column in x.T))


def orthogonal(k: int, seed: int) -> Array:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(k, k)))[0]


def localised(s: int, k: int, seed: int = 0) -> Array:
    """Columns of unit norm, each on rows of its own."""
    generator = np.random.default_rng(seed)
    x = np.zeros((s, k))
    x[np.arange(s), np.sort(generator.integers(0, k, s))] = generator.uniform(0.5, 1.5, s)
    return np.asarray(x / np.linalg.norm(x, axis=0))


def assert_same_up_to_sign_and_order(found: Array, expected: Array, atol: float) -> None:
    match = np.abs(found.T @ expected).argmax(axis=0)
    assert sorted(match) == list(range(expected.shape[1]))
    np.testing.assert_allclose(np.abs(found[:, match]), np.abs(expected), atol=atol)


@pytest.mark.parametrize("k", [2, 3, 8, 16])
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_mixture_is_taken_apart(k: int, seed: int) -> None:
    x = localised(900, k, seed)
    mixed = x @ orthogonal(k, seed + 100)
    assert_same_up_to_sign_and_order(mixed @ varimax(mixed), x, 1e-9)


def test_a_planted_mixture_in_noise_is_taken_apart_nearly() -> None:
    x = localised(2000, 6) + 0.002 * np.random.default_rng(1).normal(size=(2000, 6))
    mixed = x @ orthogonal(6, 2)
    assert_same_up_to_sign_and_order(mixed @ varimax(mixed), x, 0.01)


@given(s=st.integers(1, 60), k=st.integers(1, 7), seed=st.integers(0, 1000), scale=st.sampled_from([1e-120, 1.0, 1e60]))
def test_the_rotation_is_orthogonal_and_gains(s: int, k: int, seed: int, scale: float) -> None:
    x = np.random.default_rng(seed).standard_t(3, size=(s, k))
    rotation = varimax(scale * x)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(k), atol=1e-10)
    assert criterion(x @ rotation) >= criterion(x) * (1 - 1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_criterion_never_decreases_from_one_sweep_to_the_next(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(40, 9))
    values = [criterion(x)]
    for sweeps in range(1, 12):
        monkeypatch.setattr(module, "MAX_SWEEPS", sweeps)
        values.append(criterion(x @ varimax(x)))
    assert (np.diff(values) >= -1e-12 * values[-1]).all()
    assert values[1] > values[0]


@pytest.mark.parametrize("weighted", [False, True])
def test_no_plane_rotation_of_the_answer_is_better(weighted: bool) -> None:
    generator = np.random.default_rng(3)
    x = generator.standard_t(3, size=(200, 5))
    w = generator.uniform(0.1, 3, 200) if weighted else None
    rotated = x @ varimax(x, w)
    best = criterion(rotated, w)
    for i in range(5):
        for j in range(i):
            for angle in np.r_[np.linspace(-np.pi / 4, np.pi / 4, 60), 1e-3, -1e-3]:
                turned = rotated.copy()
                turned[:, i] = np.cos(angle) * rotated[:, i] + np.sin(angle) * rotated[:, j]
                turned[:, j] = np.cos(angle) * rotated[:, j] - np.sin(angle) * rotated[:, i]
                assert criterion(turned, w) <= best * (1 + 1e-9)


def test_two_columns_are_turned_to_the_best_of_all_angles() -> None:
    x = np.random.default_rng(5).standard_t(3, size=(50, 2))
    angles = np.linspace(0, np.pi / 2, 20_001)
    turned = np.cos(angles)[:, None] * x[:, 0] + np.sin(angles)[:, None] * x[:, 1]
    other = np.cos(angles)[:, None] * x[:, 1] - np.sin(angles)[:, None] * x[:, 0]
    best = ((turned**2).var(axis=1) + (other**2).var(axis=1)).max()
    assert criterion(x @ varimax(x)) == pytest.approx(best, rel=1e-7)


def test_a_weight_of_two_is_a_row_that_is_there_twice() -> None:
    x = np.random.default_rng(0).standard_t(3, size=(60, 4))
    w = np.random.default_rng(1).integers(1, 4, 60)
    np.testing.assert_allclose(varimax(x, w.astype(float)), varimax(np.repeat(x, w, axis=0)), atol=1e-6)


def test_scores_are_left_as_they_are() -> None:
    x = np.asfortranarray(np.random.default_rng(0).normal(size=(30, 3)))
    before = x.copy()
    varimax(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("shape", [(0, 0), (5, 0), (5, 1), (0, 3)])
def test_nothing_to_rotate(shape: tuple[int, int]) -> None:
    np.testing.assert_array_equal(varimax(np.ones(shape)), np.eye(shape[1]))


def test_columns_without_any_preference_stay() -> None:
    np.testing.assert_array_equal(varimax(np.zeros((7, 3))), np.eye(3))
    circle = np.linspace(0, 2 * np.pi, 16, endpoint=False) + 0.1
    x = np.stack([np.cos(circle), np.sin(circle)], axis=1)
    rotation = varimax(x)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(2), atol=1e-12)


# --- modes


def problem(n: int = 300, d_a: int = 30, d_b: int = 25, seed: int = 0) -> tuple[Array, TiledSymmetric]:
    """Features (n, d) of two embeddings that each hold groups together, and their covariance."""
    generator = np.random.default_rng(seed)
    group = generator.integers(0, 8, n)
    parts = []
    for d, seen in ((d_a, group < 5), (d_b, group >= 5)):
        x = generator.normal(size=(n, d)) * np.where(seen, 0.3, 1)[:, None]
        x += 2 * generator.normal(size=(8, d))[group] * seen[:, None]
        parts.append(x / np.linalg.norm(x, axis=1, keepdims=True))
    phi = np.concatenate(parts, axis=1)
    return phi, TiledSymmetric.from_dense(phi.T @ phi / n)


def rotate_modes(modes: Modes, C: TiledSymmetric, d_a: int, scores: Array) -> Modes:
    return modes_of(C, d_a, modes.eta, modes.coefficients @ rotation_of(modes, scores), serial)


def rotated(
    phi: Array, C: TiledSymmetric, d_a: int, eta: float = 1.0, n_modes: int = 4, rows: int | None = None
) -> tuple[Modes, Modes]:
    modes = solve_difference(C, d_a, eta, n_modes, serial)
    return modes, rotate_modes(modes, C, d_a, phi[:rows] @ modes.coefficients)


@pytest.mark.parametrize("eta", [0.5, 1.0, 3.0])
def test_rotated_modes_say_of_themselves_what_dense_matrices_do(eta: float) -> None:
    phi, C = problem()
    n = len(phi)
    before, after = rotated(phi, C, 30, eta)
    K_a, K_b = phi[:, :30] @ phi[:, :30].T / n, phi[:, 30:] @ phi[:, 30:].T / n
    u = phi @ after.coefficients / np.sqrt(n)
    k = len(after.eigenvalues)
    assert k == len(before.eigenvalues) == 8
    np.testing.assert_allclose(u.T @ u, np.eye(k), atol=1e-9)
    difference = K_a - eta * K_b
    action = u.T @ difference @ u
    np.testing.assert_allclose(after.eigenvalues, np.diag(action), atol=1e-12)
    np.testing.assert_allclose(after.action, action, atol=1e-12)
    np.testing.assert_allclose(after.a, np.diag(u.T @ K_a @ u), atol=1e-12)
    np.testing.assert_allclose(after.b, np.diag(u.T @ K_b @ u), atol=1e-12)
    residuals = np.linalg.norm(difference @ u - u * after.eigenvalues, axis=0)
    np.testing.assert_allclose(after.residuals, residuals, atol=1e-9)
    assert after.eta == eta
    assert np.abs(action - np.diag(np.diag(action))).max() > 1e-4  # it did turn
    np.testing.assert_allclose(before.action, np.diag(before.eigenvalues), atol=1e-10)


def test_each_direction_keeps_its_space_its_trace_and_its_order() -> None:
    phi, C = problem()
    before, after = rotated(phi, C, 30)
    for sign in (1, -1):
        was, now = before.eigenvalues * sign > 0, after.eigenvalues * sign > 0
        np.testing.assert_array_equal(was, now)
        assert after.eigenvalues[now].sum() == pytest.approx(before.eigenvalues[was].sum(), rel=1e-10)
        assert (np.diff(np.abs(after.eigenvalues[now])) <= 0).all()
        inner = before.coefficients[:, was].T @ C.dense() @ after.coefficients[:, now]
        np.testing.assert_allclose(inner.T @ inner, np.eye(int(now.sum())), atol=1e-9)
    assert criterion(phi @ after.coefficients) > criterion(phi @ before.coefficients)


def test_groups_that_eigenvectors_mix_come_apart() -> None:
    # Two equal groups of A's, a little alike: its eigenvectors are their sum and their difference.
    n = 400
    group = np.repeat([0, 1, 2, 2], n // 4)
    generator = np.random.default_rng(0)
    alike = np.array([[1, 0.1], [0.1, 1], [0, 0]])[group]
    spread = generator.normal(size=(n, 60)) * np.where(group == 2, 1, 1e-3)[:, None]
    parts = [np.concatenate([alike, spread], axis=1), generator.normal(size=(n, 60))]
    phi = np.concatenate([x / np.linalg.norm(x, axis=1, keepdims=True) for x in parts], axis=1)
    C = TiledSymmetric.from_dense(phi.T @ phi / n)
    before, after = rotated(phi, C, 62, n_modes=2)
    masses = []
    for modes in (before, after):
        squares = (phi @ modes.coefficients[:, :2]) ** 2 / n
        masses.append(np.stack([squares[group == g].sum(axis=0) for g in (0, 1)]))
    assert masses[0].max() < 0.7
    assert masses[1].max(axis=0).min() > 0.95
    assert sorted(masses[1].argmax(axis=0)) == [0, 1]


def test_a_sample_of_the_rows_decides_the_rotation() -> None:
    phi, C = problem()
    _, after = rotated(phi, C, 30, rows=150)
    _, whole = rotated(phi, C, 30)
    assert not np.array_equal(after.coefficients, whole.coefficients)
    np.testing.assert_allclose(after.coefficients.T @ C.dense() @ after.coefficients, np.eye(8), atol=1e-9)


def test_directions_of_one_mode_or_none_stay() -> None:
    phi, C = problem()
    before, after = rotated(phi, C, 30, n_modes=1)
    np.testing.assert_allclose(after.eigenvalues, before.eigenvalues, rtol=1e-12)
    np.testing.assert_allclose(after.coefficients, before.coefficients, rtol=1e-9, atol=1e-12)
    before, after = rotated(phi, C, 30, eta=0.0)
    assert (after.eigenvalues > 0).all()
    assert after.eigenvalues.sum() == pytest.approx(before.eigenvalues.sum())
    half = np.concatenate([phi[:, :30], phi[:, :30]], axis=1)
    before, after = rotated(half, TiledSymmetric.from_dense(half.T @ half / len(half)), 30)
    assert after.coefficients.shape == before.coefficients.shape == (60, 0)
    assert after.spec_diff == 0


def test_the_rotation_of_modes_is_that_of_their_scores() -> None:
    phi, C = problem()
    modes = solve_difference(C, 30, 1.0, 4, serial)
    scores = phi @ modes.coefficients
    rotation = rotation_of(modes, scores)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(8), atol=1e-10)
    np.testing.assert_array_equal(rotation[:4, 4:], 0)
    np.testing.assert_array_equal(rotation[4:, :4], 0)
    turned, after = modes.turned(rotation), rotate_modes(modes, C, 30, scores)
    np.testing.assert_allclose(turned.eigenvalues, after.eigenvalues, rtol=1e-10)
    np.testing.assert_allclose(turned.coefficients, after.coefficients, atol=1e-9)
