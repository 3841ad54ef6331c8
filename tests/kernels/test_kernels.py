"""One conformance suite for every backend, held against the float64 reference."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from on_host import BACKENDS, on_host

from specscale.errors import OptionError
from specscale.kernels.base import Kernels, load_kernels

REFERENCE = load_kernels("reference")
FINITE_HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
FINITE_HALVES = FINITE_HALVES[np.isfinite(FINITE_HALVES)]


@pytest.fixture(scope="module", params=BACKENDS)
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return on_host(request.param)


def normal(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


def standardised(
    kernels: Kernels, raw: NDArray[Any], centre: NDArray[Any] | None = None, unit: bool = False
) -> tuple[int, NDArray[Any]]:
    out = np.full(raw.shape, 77, dtype=kernels.real)
    centre = np.zeros(raw.shape[1]) if centre is None else centre
    return standardise(kernels, raw, centre.astype(kernels.real), unit, out), out


def standardise(kernels: Kernels, *arguments: Any) -> int:
    """The first bad row."""
    bad = np.full(1, -1, dtype=np.int64)
    kernels.standardise(*arguments, bad)
    return int(bad[0])


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
    raw = np.ones((1 + 0x400, 5), dtype=np.float16)
    for row, bits in enumerate(range(0x7C00, 0x8000), start=1):
        raw.view(np.uint16)[row, bits % 5] = bits | sign
    bad, out = standardised(kernels, raw, unit=unit)
    assert bad == 1
    assert (out[0] != 0).all()
    np.testing.assert_array_equal(out[1:], 0)


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
    assert standardise(kernels, raw, np.zeros(4, dtype=kernels.real), False, room[:, 3:7]) == -1
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


# --- gaussian


def gaussian_of(kernels: Kernels, x: NDArray[Any], z: NDArray[Any], rate: float) -> NDArray[Any]:
    """The kernel of rows x (b, p) and points z (r, p), whose scaled forms are made in float64."""
    x, z = x.astype(kernels.real), z.astype(kernels.real).astype(np.float64)
    out = np.full((len(x), len(z)), 77, dtype=kernels.real)
    with np.errstate(over="ignore"):
        points = np.ascontiguousarray((2 * rate * z).T, dtype=kernels.real)
        halves = (rate * (z**2).sum(axis=1)).astype(kernels.real)
    kernels.gaussian(x, points, halves, rate, out)
    return out


def exponents(kernels: Kernels, x: NDArray[Any], z: NDArray[Any], rate: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """−rate ‖x − z‖² in float64 by differences, and what rounding of the Gram products may add to it."""
    x, z = (one.astype(kernels.real).astype(np.float64) for one in (x, z))
    exact = -rate * ((x[:, None] - z[None]) ** 2).sum(axis=2)
    sizes = rate * ((x**2).sum(axis=1)[:, None] + (z**2).sum(axis=1)[None])
    return exact, (1 + np.sqrt(x.shape[1])) * close(kernels) * sizes


def check_gaussian(kernels: Kernels, x: NDArray[Any], z: NDArray[Any], rate: float) -> None:
    out = gaussian_of(kernels, x, z, rate).astype(np.float64)
    exact, rounding = exponents(kernels, x, z, rate)
    assert (out >= 0).all()
    assert (out <= 1).all()
    # Below exp(−87) zero will do.
    lower = np.where(exact - rounding < -86.9, 0.0, np.exp(exact - rounding) * (1 - 1e-6))
    upper = np.exp(np.minimum(exact + rounding, 0.0)) * (1 + 1e-6)
    assert (out >= lower).all()
    assert (out <= upper).all()


@given(
    b=st.integers(1, 40),
    r=st.integers(1, 40),
    p=st.integers(1, 30),
    scale=st.floats(-3, 3).map(lambda power: 10.0**power),
    width=st.floats(-1, 2).map(lambda power: 10.0**power),
    far=st.floats(0, 4).map(lambda power: 10.0**power),
    seed=st.integers(0, 99),
)
def test_gaussian_is_the_kernel_to_the_rounding_of_its_exponent(
    kernels: Kernels, b: int, r: int, p: int, scale: float, width: float, far: float, seed: int
) -> None:
    x, z = scale * normal(b, p, seed=seed), scale * normal(r, p, seed=seed + 100)
    x[0] *= far
    z[-1] *= far
    z[0] = x[-1]
    check_gaussian(kernels, x, z, 1 / (2 * (width * scale) ** 2))


@pytest.mark.parametrize(("b", "p", "r"), [(0, 3, 4), (3, 4, 1), (1, 1, 9), (512, 96, 512), (1024, 5, 33)])
@pytest.mark.slow
def test_gaussian_takes_any_shape(kernels: Kernels, b: int, p: int, r: int) -> None:
    check_gaussian(kernels, normal(b, p), normal(r, p, seed=1), 0.1)


def test_every_exponent_gives_its_exponential(kernels: Kernels) -> None:
    halves = np.concatenate([[0.0], np.geomspace(1e-30, 1, 20_000), np.linspace(0, 87, 200_000)]).astype(kernels.real)
    out = np.empty((1, len(halves)), dtype=kernels.real)
    kernels.gaussian(
        np.zeros((1, 1), dtype=kernels.real), np.zeros((1, len(halves)), dtype=kernels.real), halves, 1.0, out
    )
    np.testing.assert_allclose(
        out[0], np.exp(-halves.astype(np.float64)), rtol=1e-6 if kernels.real == np.float32 else 1e-15
    )
    assert out[0, 0] == 1


def test_exponents_beyond_the_floating_type_give_zero(kernels: Kernels) -> None:
    halves = np.array([87.5, 88, 103.9, 104, 200, 1e4, 1e20, 3e38, np.inf], dtype=kernels.real)
    out = np.full((1, len(halves)), 77, dtype=kernels.real)
    kernels.gaussian(
        np.zeros((1, 1), dtype=kernels.real), np.zeros((1, len(halves)), dtype=kernels.real), halves, 1.0, out
    )
    assert (out >= 0).all()
    assert (out <= 1e-37).all()
    assert (out[0, -4:] == 0).all()


@pytest.mark.parametrize("length", [1e5, 1e10, 1e18, 1e19, 1e20, 1e30])
@pytest.mark.parametrize("p", [1, 7, 130])
def test_rows_of_any_length_give_zero_and_never_a_nan(kernels: Kernels, length: float, p: int) -> None:
    near, far = normal(6, p), length * normal(6, p, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x, z in ((near, far), (far, near), (far, -far), (far, 2 * far)):
            np.testing.assert_array_equal(gaussian_of(kernels, x, z, 0.5), 0)
        itself = gaussian_of(kernels, far, far, 0.5)
    assert not np.isnan(itself).any()
    assert (itself >= 0).all()
    assert (itself <= 1).all()
    assert (itself[~np.eye(6, dtype=bool)] == 0).all()


@given(p=st.integers(1, 50), power=st.floats(-8, 8), seed=st.integers(0, 99))
def test_equal_rows_give_one_to_the_rounding_of_their_exponents(
    kernels: Kernels, p: int, power: float, seed: int
) -> None:
    scale = 10.0**power
    x = scale * normal(9, p, seed=seed)
    out = np.diagonal(gaussian_of(kernels, x, x, 0.5 / scale**2)).astype(np.float64)
    assert (out <= 1).all()
    assert (out >= 1 - exponents(kernels, x, x, 0.5 / scale**2)[1].diagonal()).all()


def test_a_rate_of_next_to_nothing_gives_ones(kernels: Kernels) -> None:
    np.testing.assert_array_equal(gaussian_of(kernels, normal(5, 3), normal(4, 3, seed=1), 1e-60), 1)


def test_gaussian_takes_some_columns_of_the_points(kernels: Kernels) -> None:
    x, z = normal(20, 6), normal(30, 6, seed=1)
    whole = gaussian_of(kernels, x, z, 0.2)
    points = np.ascontiguousarray((2 * 0.2 * z.astype(kernels.real).astype(np.float64)).T, dtype=kernels.real)
    halves = (0.2 * (z.astype(kernels.real).astype(np.float64) ** 2).sum(axis=1)).astype(kernels.real)
    out = np.empty((20, 9), dtype=kernels.real)
    kernels.gaussian(x.astype(kernels.real), points[:, 7:16], halves[7:16], 0.2, out)
    np.testing.assert_allclose(out, whole[:, 7:16], rtol=20 * close(kernels, 6))


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
        left = block[:, rows]
        right = left if rows == columns else block[:, columns]
        kernels.gram_tile(left, right, np.empty(total.shape, dtype=kernels.real), total)
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
def test_moments_are_the_four_sums(kernels: Kernels, b: int, k: int, seed: int) -> None:
    # Halves, so that all sums are exact.
    scores, acted = ((np.round(2 * normal(b, k, seed=seed + i)) / 2).astype(kernels.real) for i in (0, 100))
    sums = np.full((4, k), 77.0)
    kernels.moments(scores, acted, sums)
    u, v = scores.astype(np.float64), acted.astype(np.float64)
    expected = [(u**2).sum(axis=0), (u**4).sum(axis=0), (u**3 * v).sum(axis=0), (u**2 * v**2).sum(axis=0)]
    np.testing.assert_array_equal(sums, expected)


def test_moments_are_double_precision(kernels: Kernels) -> None:
    scores, acted = (np.full((1000, 1), value, dtype=kernels.real) for value in (0.1, -0.3))
    u, v = float(scores[0, 0]), float(acted[0, 0])
    sums = np.empty((4, 1))
    kernels.moments(scores, acted, sums)
    np.testing.assert_allclose(sums[:, 0], [1000 * u**2, 1000 * u**4, 1000 * u**3 * v, 1000 * u**2 * v**2], rtol=1e-12)


def test_moments_of_no_rows_or_no_modes_are_zero(kernels: Kernels) -> None:
    for b, k in ((0, 3), (3, 0)):
        sums = np.full((4, k), 77.0)
        kernels.moments(*np.zeros((2, b, k), dtype=kernels.real), sums)
        np.testing.assert_array_equal(sums, 0)


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


# --- rows that float32 does not hold


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("unit", [False, True])
def test_standardise_in_float64_is_exact(kernels: Kernels, dtype: str, unit: bool) -> None:
    raw, centre = (1e3 + normal(9, 7)).astype(dtype), 1e3 + normal(7, seed=1)
    out = np.empty(raw.shape)
    assert standardise(kernels, raw, centre, unit, out) == -1
    x = raw.astype(np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True) if unit else 1.0
    np.testing.assert_allclose(out, x / norms - centre, atol=1e-12)
    for bad in (np.nan, np.inf):
        raw[4, 2] = bad
        assert standardise(kernels, raw, centre, unit, out) == 4
    raw[3:] = 0
    assert standardise(kernels, raw, centre, unit, out) == (3 if unit else -1)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_the_gaussian_kernel_of_far_rows_in_float64(kernels: Kernels, offset: float) -> None:
    x, z = (normal(9, 7, seed=seed) + offset for seed in (1, 2))
    z[:3] = x[:3]
    rate = 1 / (2 * 2.0**2)
    out = np.empty((9, 9), dtype=kernels.real)
    kernels.gaussian(x, np.ascontiguousarray(2 * rate * z.T), rate * np.einsum("ij,ij->i", z, z), rate, out)
    squares = ((x[:, None] - z) ** 2).sum(axis=2)
    np.testing.assert_allclose(out, np.exp(-rate * squares), atol=1e-6 + 1e-15 * offset**2)
    np.testing.assert_allclose(np.diagonal(out)[:3], 1, atol=1e-15 * offset**2)


def test_far_angles_in_float64(kernels: Kernels) -> None:
    x, w = 1e6 * normal(5, 7), normal(7, 9, seed=1)
    out = np.empty((5, 18), dtype=kernels.real)
    kernels.fourier(x, w, out)
    np.testing.assert_allclose(3 * out, np.hstack([np.cos(x @ w), np.sin(x @ w)]), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_affine_shifts_and_scales(kernels: Kernels, dtype: str) -> None:
    raw, shift, factor = (50 + normal(6, 5)).astype(dtype), 50 + normal(5, seed=1), np.exp(normal(5, seed=2))
    for real in (kernels.real, np.float64):
        out = np.empty((6, 9), dtype=real)[:, 2:7]
        bad = np.full(1, -1, dtype=np.int64)
        kernels.affine(raw, shift, factor, out, bad)
        assert bad[0] == -1
        np.testing.assert_allclose(out, (raw.astype(np.float64) - shift) * factor, rtol=1e-6, atol=1e-6)
        assert standardise(kernels, out, np.zeros(5, real), True, out) == -1  # in place
        np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-6)
    raw[4, 1] = np.inf
    kernels.affine(raw, shift, factor, out, bad)
    assert bad[0] == 4
    kernels.affine(raw[4:], shift, factor, out[4:], bad)
    assert bad[0] == 4  # what an earlier operation found stays
