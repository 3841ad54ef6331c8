"""Numbers are the sum of two that tensor cores take as they are, but for a bit that float32 has not."""

from __future__ import annotations

import numpy as np
import pytest
from emulation.building import COMPILER
from numpy.typing import NDArray
from recording import RecordingDevice, rounded

from specscale.kernels.gpu import GpuKernels

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler here")


def parts(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Both parts of numbers, in the middle of wider arrays."""
    card = GpuKernels(RecordingDevice())
    rows, columns = values.shape
    source = card.put(np.pad(values, 1))[1:-1, 1:-1]
    found = card.put(np.full((2, rows + 2, columns + 2), 77, dtype=np.float32))
    high, low = found[0][1:-1, 1:-1], found[1][1:-1, 1:-1]
    step = np.int64(columns + 2)
    card.device.launch("split", rows, 256, (source, step, high, step, low, step, np.int64(columns)))
    whole = card.get(found)
    inner = whole[:, 1:-1, 1:-1].copy()
    whole[:, 1:-1, 1:-1] = 77
    assert (whole == 77).all()
    return inner


def test_both_parts_are_what_tensor_cores_take_as_it_is() -> None:
    values = np.random.default_rng(0).normal(size=(7, 301)).astype(np.float32)
    values *= np.float32(10.0) ** np.arange(-30, 37, 10)[:, None]
    high, low = parts(values)
    np.testing.assert_array_equal(rounded(high), high)
    np.testing.assert_array_equal(rounded(low), low)
    wide = values.astype(np.float64)
    assert (np.abs(wide - high) <= 2.0**-11 * np.abs(wide)).all()
    assert (np.abs(wide - high - low) <= 2.0**-23 * np.abs(wide)).all()


def test_of_two_that_are_as_near_the_even_one_is_taken() -> None:
    values = 1 + np.float32(2.0**-11) * np.arange(8, dtype=np.float32)[None]
    high, low = parts(values)
    np.testing.assert_array_equal(high[0], 1 + 2.0**-10 * np.array([0, 0, 1, 2, 2, 2, 3, 4]))
    np.testing.assert_array_equal(high + low, values)


def test_numbers_at_the_ends_of_the_floating_type() -> None:
    largest = np.finfo(np.float32).max
    values = np.array([[largest, -largest, 1e-45, -1e-40, 0, np.inf, -np.inf]], dtype=np.float32)
    high, low = parts(values)
    assert np.isfinite(high[:, :5]).all()
    assert np.isfinite(low).all()
    together = high.astype(np.float64) + low
    np.testing.assert_allclose(together[:, :2], values[:, :2], rtol=1e-6)
    np.testing.assert_allclose(together[:, 2:5], values[:, 2:5], atol=1e-41)
    np.testing.assert_array_equal(high[:, 5:], values[:, 5:])
    np.testing.assert_array_equal(low[:, 5:], 0)


def test_a_nan_stays_one() -> None:
    assert np.isnan(parts(np.full((1, 3), np.nan, dtype=np.float32))[0]).all()
