"""One conformance suite for every backend, held against the float64 reference."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from specscale.errors import OptionError
from specscale.kernels import BACKENDS, Kernels, load_kernels

REFERENCE = load_kernels("reference")
FINITE_HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
FINITE_HALVES = FINITE_HALVES[np.isfinite(FINITE_HALVES)]


@pytest.fixture(scope="module", params=sorted(BACKENDS))
def kernels(request: pytest.FixtureRequest) -> Kernels:
    try:
        loaded = load_kernels(request.param)
        loaded.warm_up()
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{request.param} cannot be loaded here: {error}")
    return loaded


def normal(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


def standardised(
    kernels: Kernels, raw: NDArray[Any], centre: NDArray[Any] | None = None, unit: bool = False
) -> tuple[int, NDArray[Any]]:
    out = np.full(raw.shape, 77, dtype=kernels.real)
    centre = np.zeros(raw.shape[1]) if centre is None else centre
    return kernels.standardise(raw, centre.astype(kernels.real), unit, out), out


def close(kernels: Kernels, rows: int = 1) -> float:
    """What sums of `rows` terms of order one may be off by."""
    return float(np.finfo(kernels.real).eps) * 4 * max(1.0, np.sqrt(rows))


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(OptionError, match="abacus"):
        load_kernels("abacus")


# --- standardise


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("unit", [False, True])
def test_standardise_agrees_with_the_reference(kernels: Kernels, dtype: str, unit: bool) -> None:
    raw, centre = (3 * normal(37, 19)).astype(dtype), normal(19, seed=1)
    bad, out = standardised(kernels, raw, centre, unit)
    assert bad == -1
    np.testing.assert_allclose(out, standardised(REFERENCE, raw, centre, unit)[1], atol=10 * close(kernels))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 8), (2, 33), (0, 4)])
def test_standardise_takes_any_shape(kernels: Kernels, shape: tuple[int, int]) -> None:
    raw = normal(*shape).astype(np.float32)
    bad, out = standardised(kernels, raw)
    assert bad == -1
    np.testing.assert_array_equal(out, raw)


def test_every_finite_half_keeps_its_value_and_sign(kernels: Kernels) -> None:
    raw = FINITE_HALVES.reshape(-1, 8)
    bad, out = standardised(kernels, raw)
    assert bad == -1
    np.testing.assert_array_equal(out, raw.astype(np.float64))
    zeros = raw == 0
    np.testing.assert_array_equal(np.signbit(out[~zeros]), np.signbit(raw[~zeros]))


def test_negative_zero_minus_zero_is_zero(kernels: Kernels) -> None:
    bad, out = standardised(kernels, np.array([[-0.0, 0.0, 1.0]], dtype=np.float16))
    assert bad == -1
    np.testing.assert_array_equal(out, [[0, 0, 1]])


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("sign", [0, 0x8000])
def test_every_half_that_is_not_finite_is_found(kernels: Kernels, unit: bool, sign: int) -> None:
    for bits in range(0x7C00, 0x8000):
        raw = np.ones((3, 5), dtype=np.float16)
        raw.view(np.uint16)[1, bits % 5] = bits | sign
        assert standardised(kernels, raw, unit=unit)[0] == 1, hex(bits | sign)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 16), (4, 3), (9, 16)])
def test_the_first_row_that_is_not_finite_is_named(
    kernels: Kernels, dtype: str, value: float, row: int, column: int
) -> None:
    raw = normal(10, 17).astype(dtype)
    raw[row, column] = value
    raw[9, 2] = np.nan
    for unit in (False, True):
        assert standardised(kernels, raw, unit=unit)[0] == row


def test_a_float64_beyond_float32_is_bad_in_single_precision(kernels: Kernels) -> None:
    raw = normal(4, 3)
    raw[2, 1] = 1e300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert standardised(kernels, raw)[0] == (2 if kernels.real == np.float32 else -1)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_zero_row_is_bad_only_where_directions_are_asked_for(kernels: Kernels, dtype: str) -> None:
    raw = normal(6, 5).astype(dtype)
    raw[3] = 0
    raw[3, 2] = -0.0
    assert standardised(kernels, raw)[0] == -1
    assert standardised(kernels, raw, unit=True)[0] == 3


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        ("float16", 6e-8),
        ("float16", 6e4),
        ("float32", 1e-44),
        ("float32", 1e-40),
        ("float32", 1e-30),
        ("float32", 3e38),
    ],
)
def test_unit_rows_have_unit_norm_whatever_their_length(kernels: Kernels, dtype: str, size: float) -> None:
    raw = np.array([[size, -size, 0, size]]).astype(dtype)
    bad, out = standardised(kernels, raw, unit=True)
    assert bad == -1
    np.testing.assert_allclose(np.abs(out), np.array([[1, 1, 0, 1]]) / np.sqrt(3), atol=4 * close(kernels))


def test_standardise_writes_into_rows_of_a_larger_array(kernels: Kernels) -> None:
    room = np.full((6, 10), 77, dtype=kernels.real)
    raw = normal(6, 4).astype(np.float32)
    assert kernels.standardise(raw, np.zeros(4, dtype=kernels.real), False, room[:, 3:7]) == -1
    np.testing.assert_array_equal(room[:, 3:7], raw)
    assert (room[:, :3] == 77).all()
    assert (room[:, 7:] == 77).all()


# --- fourier


@pytest.mark.parametrize("reach", [1e-3, 1.0, 30.0, 300.0, 1e4])
def test_sines_and_cosines_are_exact_to_single_precision(kernels: Kernels, reach: float) -> None:
    # One coordinate and frequency 1, so that the angles are the inputs and only the functions are on trial.
    angles = np.linspace(-reach, reach, 40_001, dtype=np.float32).astype(kernels.real)
    out = np.empty((len(angles), 2), dtype=kernels.real)
    kernels.fourier(angles[:, None].copy(), np.ones((1, 1), dtype=kernels.real), out)
    exact = angles.astype(np.float64)
    bound = 2e-7 if kernels.real == np.float32 else 1e-12
    np.testing.assert_allclose(out[:, 0], np.cos(exact), atol=bound)
    np.testing.assert_allclose(out[:, 1], np.sin(exact), atol=bound)


@pytest.mark.parametrize("quarter", range(-9, 10))
def test_angles_around_the_quadrants(kernels: Kernels, quarter: int) -> None:
    near = np.float32(quarter * np.pi / 4) * (1 + np.arange(-8, 9, dtype=np.float32) * np.float32(1e-7))
    angles = near.astype(kernels.real)[:, None]
    out = np.empty((len(angles), 2), dtype=kernels.real)
    kernels.fourier(angles.copy(), np.ones((1, 1), dtype=kernels.real), out)
    exact = angles.astype(np.float64)
    np.testing.assert_allclose(out, np.hstack([np.cos(exact), np.sin(exact)]), atol=2e-7)


@pytest.mark.parametrize(("b", "p", "m"), [(1, 1, 1), (3, 5, 1), (1, 4, 9), (17, 3, 8), (64, 20, 33), (1024, 7, 100)])
def test_fourier_agrees_with_the_reference(kernels: Kernels, b: int, p: int, m: int) -> None:
    x, w = normal(b, p), normal(p, m, seed=1)
    out, expected = np.empty((b, 2 * m), dtype=kernels.real), np.empty((b, 2 * m))
    kernels.fourier(x.astype(kernels.real), w.astype(kernels.real), out)
    REFERENCE.fourier(x, w, expected)
    np.testing.assert_allclose(out, expected, atol=20 * close(kernels, p))


def test_fourier_rows_have_unit_norm(kernels: Kernels) -> None:
    out = np.empty((50, 60), dtype=kernels.real)
    kernels.fourier(normal(50, 8).astype(kernels.real), normal(8, 30, seed=1).astype(kernels.real), out)
    np.testing.assert_allclose((out.astype(np.float64) ** 2).sum(axis=1), 1, atol=close(kernels, 60))


def test_fourier_writes_into_columns_of_a_larger_array(kernels: Kernels) -> None:
    x, w = normal(9, 4).astype(kernels.real), normal(4, 6, seed=1).astype(kernels.real)
    alone, room = np.empty((9, 12), dtype=kernels.real), np.full((9, 20), 77, dtype=kernels.real)
    kernels.fourier(x, w, alone)
    kernels.fourier(x, w, room[:, 5:17])
    np.testing.assert_allclose(room[:, 5:17], alone, atol=close(kernels, 4))
    assert (room[:, :5] == 77).all()
    assert (room[:, 17:] == 77).all()


# --- gram_tile


@pytest.mark.parametrize(("b", "w", "v"), [(1, 1, 1), (5, 3, 2), (100, 17, 17), (1000, 40, 64), (8192, 12, 31)])
def test_gram_tile_is_the_product(kernels: Kernels, b: int, w: int, v: int) -> None:
    left, right = normal(b, w).astype(kernels.real), normal(b, v, seed=1).astype(kernels.real)
    total = np.zeros((w, v))
    kernels.gram_tile(left, right, np.empty((w, v), dtype=kernels.real), total)
    assert total.dtype == np.float64
    exact = left.astype(np.float64).T @ right.astype(np.float64)
    np.testing.assert_allclose(total, exact, atol=10 * close(kernels, b) * np.sqrt(b))


@pytest.mark.parametrize(("b", "d", "cut"), [(7, 6, 2), (300, 50, 20), (8192, 33, 16)])
def test_tiles_of_one_block_make_up_its_gram_matrix(kernels: Kernels, b: int, d: int, cut: int) -> None:
    block = normal(b, d).astype(kernels.real)
    exact = block.astype(np.float64).T @ block.astype(np.float64)
    for rows, columns in (
        (slice(0, cut), slice(0, cut)),
        (slice(cut, d), slice(0, cut)),
        (slice(cut, d), slice(cut, d)),
    ):
        expected = exact[rows, columns]
        total = np.zeros(expected.shape)
        kernels.gram_tile(block[:, rows], block[:, columns], np.empty(total.shape, dtype=kernels.real), total)
        defined = np.tri(*total.shape, dtype=bool) if rows == columns else np.ones(total.shape, dtype=bool)
        np.testing.assert_allclose(total[defined], expected[defined], atol=10 * close(kernels, b) * np.sqrt(b))


def test_gram_tile_adds_to_what_is_there(kernels: Kernels) -> None:
    left = normal(20, 4).astype(kernels.real)
    product = np.empty((4, 4), dtype=kernels.real)
    once, twice = np.zeros((4, 4)), np.full((4, 4), 5.0)
    kernels.gram_tile(left, left, product, once)
    kernels.gram_tile(left, left, product, twice)
    kernels.gram_tile(left, left, product, twice)
    np.testing.assert_allclose(np.tril(twice), np.tril(5 + 2 * once), rtol=1e-14)


def test_small_blocks_are_not_lost_in_a_large_total(kernels: Kernels) -> None:
    ones = np.ones((1, 1), dtype=kernels.real)
    total = np.full((1, 1), 2.0**30)
    for _ in range(10):
        kernels.gram_tile(ones, ones, np.empty((1, 1), dtype=kernels.real), total)
    assert total[0, 0] == 2.0**30 + 10


# --- project


@pytest.mark.parametrize(("b", "d", "k"), [(1, 1, 1), (3, 40, 0), (33, 50, 7), (1024, 300, 20)])
def test_project_is_the_product(kernels: Kernels, b: int, d: int, k: int) -> None:
    features, coefficients = normal(b, d).astype(kernels.real), normal(d, k, seed=1).astype(kernels.real)
    out = np.empty((b, k), dtype=kernels.real)
    kernels.project(features, coefficients, out)
    exact = features.astype(np.float64) @ coefficients.astype(np.float64)
    np.testing.assert_allclose(out, exact, atol=10 * close(kernels, d) * np.sqrt(d))


# --- moments


@given(b=st.integers(1, 60), k=st.integers(1, 6), seed=st.integers(0, 99))
def test_moments_are_the_sums_of_squares_and_fourth_powers(kernels: Kernels, b: int, k: int, seed: int) -> None:
    scores = (np.round(2 * normal(b, k, seed=seed)) / 2).astype(kernels.real)  # halves, so that all sums are exact
    sums = np.full((2, k), 77.0)
    kernels.moments(scores, sums)
    exact = scores.astype(np.float64)
    np.testing.assert_array_equal(sums, [(exact**2).sum(axis=0), (exact**4).sum(axis=0)])


def test_moments_are_double_precision(kernels: Kernels) -> None:
    scores = np.full((1000, 1), 0.1, dtype=kernels.real)
    value = float(scores[0, 0])
    sums = np.empty((2, 1))
    kernels.moments(scores, sums)
    np.testing.assert_allclose(sums[:, 0], [1000 * value**2, 1000 * value**4], rtol=1e-12)


# --- tails


def empty_tails(k: int, top: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return np.zeros((2, k, top)), np.full((2, k, top), -1, dtype=np.int64)


@given(
    b=st.integers(1, 60),
    k=st.integers(1, 4),
    top=st.integers(0, 12),
    cut=st.integers(0, 60),
    seed=st.integers(0, 99),
)
def test_tails_are_the_ends_of_a_full_sort(kernels: Kernels, b: int, k: int, top: int, cut: int, seed: int) -> None:
    scores = (np.round(2 * normal(b, k, seed=seed)) / 2).astype(kernels.real)  # halves, so that there are ties
    numbers = 5 + 3 * np.arange(b)
    strengths, rows = empty_tails(k, top)
    for part in (slice(0, cut), slice(cut, None)):
        kernels.keep_tails(np.ascontiguousarray(scores[part]), numbers[part], strengths, rows)
    for tail, sign in enumerate((1, -1)):
        for mode in range(k):
            column = sign * scores[:, mode].astype(np.float64)
            expected = [i for i in np.lexsort((numbers, -column)) if column[i] > 0][:top]
            filled = len(expected)
            np.testing.assert_array_equal(rows[tail, mode, :filled], numbers[expected])
            np.testing.assert_array_equal(strengths[tail, mode, :filled], column[expected])
            assert (rows[tail, mode, filled:] == -1).all()
            assert (strengths[tail, mode, filled:] == 0).all()


def test_zero_scores_are_in_no_tail(kernels: Kernels) -> None:
    smallest = np.finfo(kernels.real).smallest_subnormal
    scores = np.array([[0.0], [-0.0], [smallest], [-smallest]], dtype=kernels.real)
    strengths, rows = empty_tails(1, 3)
    kernels.keep_tails(scores, np.arange(4), strengths, rows)
    np.testing.assert_array_equal(rows[:, 0], [[2, -1, -1], [3, -1, -1]])
