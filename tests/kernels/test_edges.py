"""What every backend does with sizes, numbers and memory that are out of the ordinary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from on_host import BACKENDS, on_host

from specscale.kernels.base import Kernels, load_kernels

REFERENCE = load_kernels("reference")


@pytest.fixture(scope="module", params=BACKENDS)
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return on_host(request.param)


def normal(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


def noted(bad: int = -1) -> NDArray[np.int64]:
    return np.full(1, bad, dtype=np.int64)


# --- memory


def affine(kernels: Kernels, b: int, out: Any) -> list[Any]:
    return [normal(b, 5).astype(np.float32), normal(5, seed=1), normal(5, seed=2), out(5, kernels.real), noted()]


def affine_wide(kernels: Kernels, b: int, out: Any) -> list[Any]:
    return [normal(b, 5), normal(5, seed=1), normal(5, seed=2), out(5, np.float64), noted()]


def standardise(kernels: Kernels, b: int, out: Any) -> list[Any]:
    raw = normal(b, 9).astype(np.float16)[:, 1:6]
    return [raw, normal(5, seed=1).astype(kernels.real), True, out(5, kernels.real), noted()]


def standardise_wide(kernels: Kernels, b: int, out: Any) -> list[Any]:
    return [normal(b, 5), normal(5, seed=1), True, out(5, np.float64), noted()]


def fourier(kernels: Kernels, b: int, out: Any) -> list[Any]:
    x, frequencies = normal(b, 5).astype(kernels.real), normal(5, 9, seed=1).astype(kernels.real)
    return [x, frequencies[:, 1:8], out(14, kernels.real)]


def fourier_wide(kernels: Kernels, b: int, out: Any) -> list[Any]:
    return [normal(b, 5), normal(5, 7, seed=1), out(14, kernels.real)]


def gaussian(kernels: Kernels, b: int, out: Any) -> list[Any]:
    x, points, halves = (one.astype(kernels.real) for one in (normal(b, 5), normal(5, 9, seed=1), np.ones(9)))
    return [x, points[:, 1:8], halves[1:8], 0.3, out(7, kernels.real)]


def gaussian_wide(kernels: Kernels, b: int, out: Any) -> list[Any]:
    return [normal(b, 5), normal(5, 9, seed=1)[:, 1:8], np.ones(7), 0.3, out(7, kernels.real)]


def project(kernels: Kernels, b: int, out: Any) -> list[Any]:
    features, coefficients = normal(b, 9).astype(kernels.real), normal(5, 4, seed=1).astype(kernels.real)
    return [features[:, 2:7], coefficients, out(4, kernels.real)]


def remains(kernels: Kernels, b: int, out: Any) -> list[Any]:
    return [np.clip(normal(b, 9) / 2, -1, 1).astype(kernels.real)[:, 1:8], out(None, np.float64)]


ROW_BY_ROW = [
    affine,
    affine_wide,
    standardise,
    standardise_wide,
    fourier,
    fourier_wide,
    gaussian,
    gaussian_wide,
    project,
    remains,
]
Given = Callable[[Kernels, int, Any], list[Any]]


def called(kernels: Kernels, given: Given, b: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """An output, and the wider array that it is in the middle of."""
    held: list[NDArray[Any]] = []

    def out(width: int | None, dtype: Any) -> NDArray[Any]:
        held.append(np.full((b + 5,) if width is None else (b + 5, width + 6), 77, dtype=dtype))
        return held[0][2 : b + 2] if width is None else held[0][2 : b + 2, 3 : width + 3]

    arguments = given(kernels, b, out)
    before = [np.array(one) for one in arguments]
    getattr(kernels, given.__name__.removesuffix("_wide"))(*arguments)
    for was, now in zip(before, arguments, strict=True):
        if not np.shares_memory(now, held[0]):
            np.testing.assert_array_equal(now, was)
    middle = held[0][2 : b + 2] if held[0].ndim == 1 else held[0][2 : b + 2, 3:-3]
    return middle.copy(), held[0]


@pytest.mark.parametrize("b", [0, 1, 7, 32, 33])
@pytest.mark.parametrize("given", ROW_BY_ROW, ids=lambda one: one.__name__)
def test_nothing_is_written_but_the_output(kernels: Kernels, given: Given, b: int) -> None:
    found, whole = called(kernels, given, b)
    middle = whole[2 : b + 2] if whole.ndim == 1 else whole[2 : b + 2, 3:-3]
    assert np.isfinite(found).all()
    middle[...] = 77
    assert (whole == 77).all()


@pytest.mark.parametrize("b", [1, 7, 33, 300])
@pytest.mark.parametrize("given", ROW_BY_ROW, ids=lambda one: one.__name__)
def test_every_operation_agrees_with_the_reference(kernels: Kernels, given: Given, b: int) -> None:
    tolerance = 64 * float(np.finfo(kernels.real).eps)
    np.testing.assert_allclose(called(kernels, given, b)[0], called(REFERENCE, given, b)[0], rtol=0, atol=tolerance)


# --- rows


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_affine_map_notes_the_first_row_that_is_not_finite(
    kernels: Kernels, dtype: str, real: Any, value: float
) -> None:
    raw, ones, bad = normal(40, 35).astype(dtype), np.ones(35), noted()
    raw[[21, 38], [34, 0]] = value
    out = np.empty(raw.shape, dtype=real)
    kernels.affine(raw, 0 * ones, ones, out, bad)
    assert bad[0] == 21
    np.testing.assert_array_equal(out[22:38], raw[22:38].astype(real))
    kernels.affine(raw[30:], 0 * ones, ones, out[30:], bad)
    assert bad[0] == 21


def test_an_affine_map_beyond_the_floating_type_is_noted(kernels: Kernels) -> None:
    raw, bad = np.ones((3, 2), dtype=np.float32), noted()
    raw[1] = 3e38
    kernels.affine(raw, np.zeros(2), np.full(2, 1e300), np.empty((3, 2)), bad)
    assert bad[0] == 1


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 700])
def test_the_first_of_many_bad_rows_is_noted(kernels: Kernels, rows: int) -> None:
    raw, out, bad = np.zeros((rows, 2), dtype=np.float16), np.empty((rows, 2), dtype=kernels.real), noted()
    raw[: rows - 1] = 1
    kernels.standardise(raw, np.zeros(2, kernels.real), True, out, bad)
    assert bad[0] == rows - 1
    raw[rows // 2 :: 3] = np.nan
    for before, after in ((-1, rows // 2), (0, 0), (5, 5)):
        bad[0] = before
        kernels.standardise(raw, np.zeros(2, kernels.real), True, out, bad)
        assert bad[0] == after


def test_a_length_beyond_float64_gives_no_direction(kernels: Kernels) -> None:
    if kernels.real == np.float64:
        pytest.skip("the reference leaves that to NumPy")
    raw, out, bad = np.ones((3, 2)), np.full((3, 2), 77.0), noted()
    raw[1] = 1e200
    kernels.standardise(raw, np.zeros(2), True, out, bad)
    assert bad[0] == 1
    np.testing.assert_array_equal(out[1], 0)


# --- waves


def test_angles_that_float32_does_not_hold_are_made_anew(kernels: Kernels) -> None:
    # One coordinate, so that the angles are exact in float64, and both near and far ones in each row.
    x = np.geomspace(2.0, 1e8, 50).astype(np.float32)[:, None]
    frequencies = np.array([[1.0, -1.0, 0.5, 3.0, 1e-6]], dtype=np.float32)
    out = np.empty((50, 10), dtype=kernels.real)
    kernels.fourier(x.astype(kernels.real), frequencies.astype(kernels.real), out)
    angles = x.astype(np.float64) * frequencies.astype(np.float64)
    expected = np.hstack([np.cos(angles), np.sin(angles)]) / np.sqrt(5)
    far = np.abs(np.hstack([angles, angles])) > 1e5
    np.testing.assert_allclose(out[far], expected[far], atol=2e-7)
    rounding = 1e-7 * np.abs(np.hstack([angles, angles])) + 2e-7
    assert (np.abs(out - expected) <= rounding)[~far].all()


def test_angles_beyond_the_floating_type_are_no_nan(kernels: Kernels) -> None:
    x, frequencies = (np.full(shape, 3e38, dtype=kernels.real) for shape in ((2, 3), (3, 4)))
    frequencies[1] *= -1
    out = np.empty((2, 8), dtype=kernels.real)
    kernels.fourier(x, frequencies, out)
    np.testing.assert_allclose((out.astype(np.float64) ** 2).sum(axis=1), 1, atol=1e-6)


# --- the Gaussian kernel


@pytest.mark.parametrize("length", [1e3, 1e8, 1e154, 1e200])
def test_rows_of_any_length_in_float64(kernels: Kernels, length: float) -> None:
    x = length * normal(5, 3)
    with np.errstate(over="ignore"):
        halves = 0.5 * np.einsum("ij,ij->i", x, x)
    out = np.empty((5, 5), dtype=kernels.real)
    kernels.gaussian(x, np.ascontiguousarray(x.T), halves, 0.5, out)
    np.testing.assert_array_equal(out[~np.eye(5, dtype=bool)], 0)
    assert np.isin(np.diagonal(out), (0, 1)).all()
    assert length > 1e150 or (np.diagonal(out) == 1).all()


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_equal_rows_give_one_however_small_the_bandwidth(kernels: Kernels, real: Any) -> None:
    real = kernels.real if real == np.float32 else real
    x = (1 + normal(40, 33)).astype(real)
    rate = 1e9
    wide = x.astype(np.float64)
    points, halves = (2 * rate * wide.T).astype(real), (rate * np.einsum("ij,ij->i", wide, wide)).astype(real)
    out = np.empty((40, 40), dtype=kernels.real)
    kernels.gaussian(x, np.ascontiguousarray(points), halves, rate, out)
    np.testing.assert_array_equal(out, np.eye(40))


@pytest.mark.parametrize(("b", "r"), [(1, 1), (5, 33), (70, 300)])
def test_what_the_nearest_leaves(kernels: Kernels, b: int, r: int) -> None:
    values = np.clip(normal(b, r) / 4, -1, 1).astype(kernels.real)
    values[-1] = 0
    values[0, r // 2] = -1
    found, expected = np.full(b, 77.0), np.empty(b)
    kernels.remains(values, found)
    REFERENCE.remains(values, expected)
    np.testing.assert_array_equal(found, expected)
    assert found[0] == 0
    assert found[-1] == (1 if b > 1 else 0)
    values[:] = np.nextafter(kernels.real(1), kernels.real(2))
    kernels.remains(values, found)
    np.testing.assert_array_equal(found, 0)


# --- products


@pytest.mark.slow
@pytest.mark.parametrize("d", [1024, 1027])
def test_a_wide_tile_of_the_same_columns_is_right_below_its_diagonal(kernels: Kernels, d: int) -> None:
    room = normal(20, d + 2).astype(kernels.real)
    columns, total = room[:, 1:-1], np.ones((d, d))
    kernels.gram_tile(columns, columns, np.empty((d, d), dtype=kernels.real), total)
    exact = 1 + columns.astype(np.float64).T @ columns.astype(np.float64)
    lower = np.tri(d, dtype=bool)
    np.testing.assert_allclose(total[lower], exact[lower], atol=1e-4)


# --- scores


@pytest.mark.parametrize(("b", "k"), [(1, 1), (257, 1), (3000, 5)])
def test_moments_of_many_rows(kernels: Kernels, b: int, k: int) -> None:
    scores, acted = (normal(b, k + 2, seed=seed).astype(kernels.real)[:, 1 : k + 1] for seed in (1, 2))
    found, expected = np.full((2, 4, k), 77.0)
    kernels.moments(scores, acted, found)
    REFERENCE.moments(scores, acted, expected)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("b", [31, 33, 700])
@pytest.mark.parametrize("top", [1, 5, 32, 699, 1500])
@pytest.mark.parametrize("levels", [1, 3, 50, 10**6])
def test_tails_with_many_equals(kernels: Kernels, b: int, top: int, levels: int) -> None:
    generator = np.random.default_rng(b * top)
    k, numbers = 3, np.cumsum(generator.integers(1, 4, size=3 * b))
    scores = (generator.integers(-levels, levels + 1, size=(3 * b, k)) / levels).astype(kernels.real)
    scores *= np.array([1.0, 1e-43, 1e30])
    scores[b + 2, 2] = np.inf
    found, expected = ((np.zeros((2, k, top)), np.full((2, k, top), -1)) for _ in range(2))
    for low in range(0, 3 * b, b):
        part = slice(low, low + b)
        kernels.keep_tails(scores[part], numbers[part], *found)
        REFERENCE.keep_tails(scores[part], numbers[part], *expected)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
