"""The kernels in Numba and BLAS, float32.

Meant to be called from several threads at once, each on rows or tiles of its own, with single-threaded BLAS. The
functions are documented in :class:`specscale.kernels.Kernels`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from specscale.kernels.compiler import compiled

__all__ = ["fourier", "gaussian", "gram_tile", "keep_tails", "moments", "project", "real", "standardise", "warm_up"]

real = np.float32

# π/2 in three parts of 8, 10 and 24 bits: k times the first two is exact in float32 for |k| < 2¹⁴, so the reduced angle
# keeps its digits up to |x| ≈ 10⁴ (Cody and Waite 1980).
_HALF_PI_1 = np.float32(1.5703125)
_HALF_PI_2 = np.float32(4.8351287841796875e-4)
_HALF_PI_3 = np.float32(3.139164786504813e-7)
_TWO_OVER_PI = np.float32(2.0 / np.pi)
_FAR = 1e5  # angles beyond are reduced in double precision first; past 2²² the rounding below would let them grow
_ROUND = np.float32(12582912.0)  # 1.5 · 2²³: adding and subtracting it rounds to the nearest integer

# Minimax polynomials on [−π/4, π/4] (Cephes sinf and cosf).
_S1, _S2, _S3 = np.float32(-1.6666654611e-1), np.float32(8.3321608736e-3), np.float32(-1.9515295891e-4)
_C1, _C2, _C3 = np.float32(4.166664568298827e-2), np.float32(-1.388731625493765e-3), np.float32(2.443315711809948e-5)

# ln 2 in two parts, the first of 9 bits, and the polynomial of exp on [−ln 2 / 2, ln 2 / 2] (Cephes expf).
_LOG2_E = np.float32(1.44269504088896341)
_LN2_1, _LN2_2 = np.float32(0.693359375), np.float32(-2.12194440e-4)
_E1, _E2, _E3 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_E4, _E5, _E6 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_VANISHING = np.float32(-87.0)  # exponents below it give zero, and the others normal numbers
_EQUAL = np.float32(2.0**-20)  # of the squared lengths: what rounding leaves of the distance of equal rows

_HALF_SCALE = np.float32(2.0**112)  # moves the exponent bias of float16 (15) to that of float32 (127)


@intrinsic
def _bits_to_float32(typing_context: Any, bits: Any = None) -> Any:
    """Read the bits of an unsigned 32-bit integer as a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@compiled
def _widen(bits: NDArray[np.uint16], out: NDArray[np.float32]) -> bool:
    """Convert one row of float16 bit patterns to float32; whether every value is finite."""
    largest = np.uint32(0)
    for j in range(bits.shape[0]):
        half = np.uint32(bits[j])
        magnitude = half & np.uint32(0x7FFF)
        largest = max(largest, magnitude)
        sign = (half & np.uint32(0x8000)) << np.uint32(16)
        out[j] = _bits_to_float32(sign | (magnitude << np.uint32(13))) * _HALF_SCALE
    return bool(largest < np.uint32(0x7C00))


@compiled
def _copy(bits: NDArray[np.uint32], out: NDArray[np.float32]) -> bool:
    """Copy one row of float32 bit patterns; whether every value is finite."""
    largest = np.uint32(0)
    for j in range(bits.shape[0]):
        largest = max(largest, bits[j] & np.uint32(0x7FFFFFFF))
        out[j] = _bits_to_float32(bits[j])
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
    for i in range(raw.shape[0]):
        row = out[i * step : i * step + raw.shape[1]]
        if not (_widen(raw[i], row) and _place(row, centre, unit)):
            return i
    return -1


@compiled
def _standardise_singles(
    raw: NDArray[np.uint32], centre: NDArray[np.float32], unit: bool, out: NDArray[np.float32], step: int
) -> int:
    for i in range(raw.shape[0]):
        row = out[i * step : i * step + raw.shape[1]]
        if not (_copy(raw[i], row) and _place(row, centre, unit)):
            return i
    return -1


def standardise(raw: NDArray[Any], centre: NDArray[Any], unit: bool, out: NDArray[Any]) -> int:
    """See :meth:`specscale.kernels.Kernels.standardise`."""
    flat, step = _flat(out)
    raw = np.ascontiguousarray(raw)
    if raw.dtype == np.float16:
        return int(_standardise_halves(raw.view(np.uint16), centre, unit, flat, step))
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes an infinity, which the kernel reports
        singles = raw.astype(np.float32, copy=False)
    return int(_standardise_singles(singles.view(np.uint32), centre, unit, flat, step))


def _sincos(
    out: NDArray[np.float32], bits: NDArray[np.uint32], step: int, rows: int, m: int, scale: np.float32
) -> np.float32:
    """Replace the angles in the first m columns by their scaled cosines and write the sines into the next m.

    `bits` is the same memory as unsigned integers. Returns the largest angle.
    """
    largest = np.uint32(0)
    for i in range(rows):
        for j in range(m):  # as bits, whose order is that of the magnitudes: such a loop is vectorised
            largest = max(largest, bits[i * step + j] & np.uint32(0x7FFFFFFF))
        cosines = out[i * step : i * step + m]
        sines = out[i * step + m : i * step + 2 * m]
        for j in range(m):
            x = cosines[j]
            k = (x * _TWO_OVER_PI + _ROUND) - _ROUND
            r = ((x - k * _HALF_PI_1) - k * _HALF_PI_2) - k * _HALF_PI_3
            quadrant = np.int32(k)
            z = r * r
            s = r + r * z * (_S1 + z * (_S2 + z * _S3))
            c = np.float32(1) - np.float32(0.5) * z + z * z * (_C1 + z * (_C2 + z * _C3))
            swap = (quadrant & np.int32(1)) != 0
            sine = c if swap else s
            cosine = s if swap else c
            sines[j] = (-sine if (quadrant & np.int32(2)) != 0 else sine) * scale
            cosines[j] = (-cosine if ((quadrant + np.int32(1)) & np.int32(2)) != 0 else cosine) * scale
    return _bits_to_float32(largest)


_sincos = compiled(_sincos, finite=True)


def fourier(x: NDArray[Any], frequencies: NDArray[Any], out: NDArray[Any]) -> None:
    """See :meth:`specscale.kernels.Kernels.fourier`."""
    m = frequencies.shape[1]
    scale = np.float32(1.0 / np.sqrt(m))
    flat, step = _flat(out)
    with np.errstate(over="ignore", invalid="ignore"):
        np.matmul(x, frequencies, out=out[:, :m])
        if len(out) == 0 or _sincos(flat, flat.view(np.uint32), step, len(out), m, scale) <= _FAR:
            return
        angles = x @ frequencies
        far = np.flatnonzero(~(np.abs(angles).max(axis=1) <= _FAR))
    angles[far] = np.fmod(x[far].astype(np.float64) @ frequencies.astype(np.float64), 2 * np.pi)
    out[:, :m] = angles
    _sincos(flat, flat.view(np.uint32), step, len(out), m, scale)


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
            k = (t * _LOG2_E + _ROUND) - _ROUND
            r = (t - k * _LN2_1) - k * _LN2_2
            e = ((((_E1 * r + _E2) * r + _E3) * r + _E4) * r + _E5) * r + _E6
            e = e * (r * r) + r + np.float32(1)
            power: np.float32 = _bits_to_float32(np.uint32((np.int32(k) + np.int32(127)) << np.int32(23)))
            row[j] = e * power if t >= _VANISHING else np.float32(0)


def gaussian(x: NDArray[Any], points: NDArray[Any], halves: NDArray[Any], rate: float, out: NDArray[Any]) -> None:
    """See :meth:`specscale.kernels.Kernels.gaussian`."""
    flat, step = _flat(out)
    with np.errstate(over="ignore", invalid="ignore"):
        np.matmul(x, points, out=out)
    _exponentials(x, halves, rate, flat, step)


@compiled
def _fold(product: NDArray[np.float32], total: NDArray[np.float64]) -> None:
    for i in range(product.shape[0]):
        for j in range(product.shape[1]):
            total[i, j] += np.float64(product[i, j])


def gram_tile(left: NDArray[Any], right: NDArray[Any], product: NDArray[Any], total: NDArray[np.float64]) -> None:
    """See :meth:`specscale.kernels.Kernels.gram_tile`."""
    np.matmul(left.T, right, out=product)  # NumPy calls syrk where both are the same columns, gemm elsewhere
    _fold(product, total)


def project(features: NDArray[Any], coefficients: NDArray[Any], out: NDArray[Any]) -> None:
    """See :meth:`specscale.kernels.Kernels.project`."""
    np.matmul(features, coefficients, out=out)


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


def moments(scores: NDArray[Any], acted: NDArray[Any], sums: NDArray[np.float64]) -> None:
    """See :meth:`specscale.kernels.Kernels.moments`."""
    _moments(scores, acted, sums)


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


def keep_tails(
    scores: NDArray[Any], numbers: NDArray[np.int64], strengths: NDArray[np.float64], rows: NDArray[np.int64]
) -> None:
    """See :meth:`specscale.kernels.Kernels.keep_tails`."""
    if rows.shape[2]:
        _keep_tails(scores, numbers, strengths, rows)


def warm_up() -> None:
    """Compile every kernel on a few numbers."""
    x = np.zeros((2, 2), dtype=np.float32)
    out = np.zeros((2, 4), dtype=np.float32)
    for raw in (x, x.astype(np.float16)):
        standardise(raw, x[0], False, x)
    fourier(x, x, out)
    gaussian(x, x, x[0], 1.0, np.empty_like(x))
    gram_tile(out, out, np.empty((4, 4), dtype=np.float32), np.zeros((4, 4)))
    moments(x, x, np.empty((4, 2)))
    rows = np.full((2, 2, 1), -1, dtype=np.int64)
    keep_tails(x, rows[0, :, 0], np.zeros((2, 2, 1)), rows)
