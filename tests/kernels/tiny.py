"""Two small kernels, of which one is compiled into the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.kernels.compiler import compiled
from specscale.kernels.elementary import bits_to_float32

THREE = np.float32(3)


def tripled(x: np.float32) -> np.float32:
    return THREE * x


tripled = compiled(tripled)


def total(x: NDArray[np.float32]) -> np.float32:
    result = bits_to_float32(np.uint32(0))
    for i in range(x.shape[0]):
        result += tripled(x[i])
    return result


def fresh() -> Any:
    """`total` as a process has it that did not compile it yet."""
    return compiled(total)
