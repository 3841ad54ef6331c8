"""Elementary functions in float32, written so that loops over them are vectorised."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from specscale.kernels.compiler import compiled

__all__ = ["bits_to_float32", "exponential", "sincos"]

# π/2 in three parts of 8, 10 and 24 bits: k times the first two is exact in float32 for |k| < 2¹⁴, so the reduced angle
# keeps its digits up to |x| ≈ 10⁴ (Cody and Waite 1980).
_HALF_PI_1 = np.float32(1.5703125)
_HALF_PI_2 = np.float32(4.8351287841796875e-4)
_HALF_PI_3 = np.float32(3.139164786504813e-7)
_TWO_OVER_PI = np.float32(2.0 / np.pi)
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


@intrinsic
def bits_to_float32(typing_context: Any, bits: Any = None) -> Any:
    """Read the bits of an unsigned 32-bit integer as a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


def sincos(
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
    return bits_to_float32(largest)


sincos = compiled(sincos, finite=True)


@compiled
def exponential(t: np.float32) -> np.float32:
    """exp(t) of t ≤ 0; 0 where it is no normal number."""
    k = (t * _LOG2_E + _ROUND) - _ROUND
    r = (t - k * _LN2_1) - k * _LN2_2
    e = ((((_E1 * r + _E2) * r + _E3) * r + _E4) * r + _E5) * r + _E6
    e = e * (r * r) + r + np.float32(1)
    power: np.float32 = bits_to_float32(np.uint32((np.int32(k) + np.int32(127)) << np.int32(23)))
    return e * power if t >= _VANISHING else np.float32(0)
