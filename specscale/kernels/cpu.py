"""The kernels in Numba and BLAS, float32.

Meant to be called from several threads at once, each on rows or tiles of its own, with single-threaded BLAS.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from specscale.kernels.base import Array
from specscale.kernels.compiler import compiled
from specscale.kernels.elementary import bits_to_float32, exponential, sincos
from specscale.kernels.host import HostKernels

__all__ = ["CpuKernels"]

_FAR = 1e5  # angles beyond are reduced in double precision first; past 2²² the rounding there would let them grow
_EQUAL = np.float32(2.0**-20)  # of the squared lengths: what rounding leaves of the distance of equal rows
_WIDE_EQUAL = 2.0**-49  # the same in float64

_HALF_SCALE = np.float32(2.0**112)  # moves the exponent bias of float16 (15) to that of float32 (127)


@compiled
def _widen(bits: NDArray[np.uint16], out: NDArray[np.float32]) -> bool:
    """Convert one row of float16 bit patterns to float32; whether every value is finite."""
    largest = np.uint32(0)
    for j in range(bits.shape[0]):
        half = np.uint32(bits[j])
        magnitude = half & np.uint32(0x7FFF)
        largest = max(largest, magnitude)
        sign = (half & np.uint32(0x8000)) << np.uint32(16)
        out[j] = bits_to_float32(sign | (magnitude << np.uint32(13))) * _HALF_SCALE
    return bool(largest < np.uint32(0x7C00))


@compiled
def _copy(bits: NDArray[np.uint32], out: NDArray[np.float32]) -> bool:
    """Copy one row of float32 bit patterns; whether every value is finite."""
    largest = np.uint32(0)
    for j in range(bits.shape[0]):
        largest = max(largest, bits[j] & np.uint32(0x7FFFFFFF))
        out[j] = bits_to_float32(bits[j])
    return bool(largest < np.uint32(0x7F800000))


def _square_norm(row: NDArray[np.float32]) -> np.float64:
    total = np.float64(0)
    for j in range(row.shape[0]):
        total += np.float64(row[j]) * np.float64(row[j])
    return total


_square_norm = compiled(_square_norm, finite=True, reorder=True)


@compiled
def _place(row: NDArray[np.float32], centre: NDArray[np.float32], unit: bool) -> bool:
    """Normalise and centre one finite row in place; whether it has the direction that `unit` asks for."""
    scale = np.float64(1)
    if unit:
        square = _square_norm(row)
        if square == 0:
            return False
        scale = 1.0 / np.sqrt(square)  # float64, in which the norm of a subnormal row has an inverse
    for j in range(row.shape[0]):
        row[j] = np.float32(row[j] * scale) - centre[j]
    return True


def _flat(out: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """The memory from the first number of `out` to its last as one run, and the distance from row to row.

    Numba vectorises loops over a run; over some columns of a wider array, which is what `out` mostly is, it does not.
    """
    if len(out) == 0:
        return out.reshape(-1), 0
    step = out.strides[0] // out.itemsize
    return np.lib.stride_tricks.as_strided(out, ((len(out) - 1) * step + out.shape[1],), (out.itemsize,)), step


@compiled
def _standardise_halves(
    raw: NDArray[np.uint16], centre: NDArray[np.float32], unit: bool, out: NDArray[np.float32], step: int
) -> int:
    bad = -1
    for i in range(raw.shape[0]):
        row = out[i * step : i * step + raw.shape[1]]
        if not (_widen(raw[i], row) and _place(row, centre, unit)):
            bad = i if bad < 0 else bad
            row[:] = 0
    return bad


@compiled
def _standardise_singles(
    raw: NDArray[np.uint32], centre: NDArray[np.float32], unit: bool, out: NDArray[np.float32], step: int
) -> int:
    bad = -1
    for i in range(raw.shape[0]):
        row = out[i * step : i * step + raw.shape[1]]
        if not (_copy(raw[i], row) and _place(row, centre, unit)):
            bad = i if bad < 0 else bad
            row[:] = 0
    return bad


@compiled
def _standardise_wide(
    raw: NDArray[np.floating[Any]], centre: NDArray[np.float64], unit: bool, out: NDArray[np.float64]
) -> int:
    bad = -1
    for i in range(raw.shape[0]):
        square = np.float64(0)
        for j in range(raw.shape[1]):
            out[i, j] = np.float64(raw[i, j])
            square += out[i, j] * out[i, j]
        if not (square < np.inf and (square > 0 or not unit)):
            bad = i if bad < 0 else bad
            out[i] = 0
            continue
        scale = 1.0 / np.sqrt(square) if unit else 1.0
        for j in range(raw.shape[1]):
            out[i, j] = out[i, j] * scale - centre[j]
    return bad


@compiled
def _affine(
    raw: NDArray[np.floating[Any]],
    shift: NDArray[np.float64],
    factor: NDArray[np.float64],
    out: NDArray[np.floating[Any]],
) -> int:
    bad = -1
    for i in range(raw.shape[0]):
        total = np.float64(0)
        for j in range(raw.shape[1]):
            value = (np.float64(raw[i, j]) - shift[j]) * factor[j]
            out[i, j] = value
            total += np.float64(out[i, j]) - np.float64(out[i, j])  # NaN where the number is not finite
        if total != 0 and bad < 0:
            bad = i
    return bad


def _singles(raw: NDArray[Any]) -> NDArray[Any]:
    """Rows that are compiled for: float16 is widened."""
    return raw.astype(np.float32) if raw.dtype == np.float16 else raw


@compiled
def _exponentials(
    x: NDArray[np.float32],
    halves: NDArray[np.float32],
    rate: float,
    out: NDArray[np.float32],
    step: int,
) -> None:
    """Replace the Gram products in `out` by the kernel."""
    for i in range(x.shape[0]):
        half = np.float32(rate * _square_norm(x[i]))
        least = _EQUAL * half
        row = out[i * step : i * step + halves.shape[0]]
        for j in range(halves.shape[0]):
            t = (row[j] - half) - halves[j]
            # A bandwidth that is small against the rows would make much of the rounding. A NaN stays one, and is no
            # exponent above the least.
            t = t if t < -(least + _EQUAL * halves[j]) else np.float32(0) * t
            row[j] = exponential(t)


@compiled
def _wide_exponentials(
    x: NDArray[np.float64],
    halves: NDArray[np.float64],
    rate: float,
    products: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Write the kernel of Gram products in float64."""
    for i in range(x.shape[0]):
        square = np.float64(0)
        for j in range(x.shape[1]):
            square += x[i, j] * x[i, j]
        half = rate * square
        for j in range(halves.shape[0]):
            t = (products[i, j] - half) - halves[j]
            out[i, j] = exponential(np.float32(t if t < -_WIDE_EQUAL * (half + halves[j]) else 0.0 * t))


@compiled
def _fold(product: NDArray[np.float32], total: NDArray[np.float64]) -> None:
    for i in range(product.shape[0]):
        for j in range(product.shape[1]):
            total[i, j] += np.float64(product[i, j])


@compiled
def _moments(scores: NDArray[np.float32], acted: NDArray[np.float32], sums: NDArray[np.float64]) -> None:
    sums[:] = 0.0
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            u, v = np.float64(scores[i, j]), np.float64(acted[i, j])
            square = u * u
            sums[0, j] += square
            sums[1, j] += square * square
            sums[2, j] += square * u * v
            sums[3, j] += square * v * v


@compiled
def _keep_tails(
    scores: NDArray[np.float32], numbers: NDArray[np.int64], strengths: NDArray[np.float64], rows: NDArray[np.int64]
) -> None:
    top = rows.shape[2]
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            tail = 0 if scores[i, j] > 0 else 1
            strength = abs(np.float64(scores[i, j]))
            if strength > strengths[tail, j, top - 1]:
                place = top - 1
                while place > 0 and strength > strengths[tail, j, place - 1]:
                    strengths[tail, j, place] = strengths[tail, j, place - 1]
                    rows[tail, j, place] = rows[tail, j, place - 1]
                    place -= 1
                strengths[tail, j, place] = strength
                rows[tail, j, place] = numbers[i]


class CpuKernels(HostKernels):
    """The backend of this machine's cores; :class:`specscale.kernels.base.Kernels` says what each operation does."""

    name: ClassVar[str] = "cpu"
    real: ClassVar[type[np.floating[Any]]] = np.float32

    def warm_up(self) -> None:
        """Compile every kernel on a few numbers."""
        x = np.zeros((2, 2), dtype=np.float32)
        out = np.zeros((2, 4), dtype=np.float32)
        bad = np.zeros(1, dtype=np.int64)
        for raw in (x, x.astype(np.float16)):
            self.standardise(raw, x[0], False, x, bad)
        self.fourier(x, x, out)
        self.gaussian(x, x, x[0], 1.0, np.empty_like(x))
        wide = x.astype(np.float64)
        self.standardise(x, wide[0], False, wide, bad)
        self.gaussian(wide, wide, wide[0], 1.0, np.empty_like(x))
        for real_out in (x, wide):
            self.affine(x, wide[0], wide[0], real_out, bad)
        self.gram_tile(out, out, np.empty((4, 4), dtype=np.float32), np.zeros((4, 4)))
        self.moments(x, x, np.empty((4, 2)))
        rows = np.full((2, 2, 1), -1, dtype=np.int64)
        self.keep_tails(x, rows[0, :, 0], np.zeros((2, 2, 1)), rows)

    def affine(self, raw: Array, shift: Array, factor: Array, out: Array, bad: Array) -> None:
        """Shift and scale rows in float64."""
        _note(_affine(_singles(raw), shift, factor, out), bad)

    def standardise(self, raw: Array, centre: Array, unit: bool, out: Array, bad: Array) -> None:
        """Normalise and centre rows; the norms are in float64."""
        if out.dtype == np.float64:
            _note(_standardise_wide(_singles(raw), centre, unit, out), bad)
            return
        flat, step = _flat(out)
        raw = np.ascontiguousarray(raw)
        if raw.dtype == np.float16:
            _note(_standardise_halves(raw.view(np.uint16), centre, unit, flat, step), bad)
            return
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes an infinity, which the kernel reports
            singles = raw.astype(np.float32, copy=False)
        _note(_standardise_singles(singles.view(np.uint32), centre, unit, flat, step), bad)

    def fourier(self, x: Array, frequencies: Array, out: Array) -> None:
        """Angles by BLAS, sines and cosines of them where they lie."""
        m = frequencies.shape[1]
        scale = np.float32(1.0 / np.sqrt(m))
        flat, step = _flat(out)
        if x.dtype == np.float64:
            out[:, :m] = np.fmod(x @ frequencies, 2 * np.pi)
            sincos(flat, flat.view(np.uint32), step, len(out), m, scale)
            return
        with np.errstate(over="ignore", invalid="ignore"):
            np.matmul(x, frequencies, out=out[:, :m])
            if len(out) == 0 or sincos(flat, flat.view(np.uint32), step, len(out), m, scale) <= _FAR:
                return
            angles = x @ frequencies
            far = np.flatnonzero(~(np.abs(angles).max(axis=1) <= _FAR))
        angles[far] = np.fmod(x[far].astype(np.float64) @ frequencies.astype(np.float64), 2 * np.pi)
        out[:, :m] = angles
        sincos(flat, flat.view(np.uint32), step, len(out), m, scale)

    def gaussian(self, x: Array, points: Array, halves: Array, rate: float, out: Array) -> None:
        """Gram products by BLAS, exponentials of them where they lie."""
        if x.dtype == np.float64:
            products = self.scratch("products", out.shape, np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                np.matmul(x, points, out=products)
            _wide_exponentials(x, halves, rate, products, out)
            return
        flat, step = _flat(out)
        with np.errstate(over="ignore", invalid="ignore"):
            np.matmul(x, points, out=out)
        _exponentials(x, halves, rate, flat, step)

    def gram_tile(self, left: Array, right: Array, product: Array, total: Array) -> None:
        """Multiply by BLAS and fold."""
        np.matmul(left.T, right, out=product)  # NumPy calls syrk where both are the same columns, gemm elsewhere
        _fold(product, total)

    def project(self, features: Array, coefficients: Array, out: Array) -> None:
        """Multiply by BLAS."""
        np.matmul(features, coefficients, out=out)

    def remains(self, values: Array, out: Array) -> None:
        """In NumPy: next to the kernel values it takes no time."""
        nearest = np.abs(values).max(axis=1).astype(np.float64)
        out[...] = np.square(np.maximum(1 - nearest**2, 0))

    def moments(self, scores: Array, acted: Array, sums: Array) -> None:
        """Sum in float64, row by row."""
        _moments(scores, acted, sums)

    def keep_tails(self, scores: Array, numbers: Array, strengths: Array, rows: Array) -> None:
        """Insert row by row."""
        if rows.shape[2]:
            _keep_tails(scores, numbers, strengths, rows)


def _note(first: int, bad: NDArray[np.int64]) -> None:
    """Write the first bad row, unless there is one or an earlier operation wrote another."""
    if first >= 0 and bad[0] < 0:
        bad[0] = first
