"""In which precision a card multiplies: float32, or by tensor cores, which take 10 of its 23 bits.

``tf32`` is one product by tensor cores, ``3xtf32`` three of them, of numbers that are split in two. Which products of a
comparison bear either has to be measured on a card: a precision is none where a comparison of an embedding with its own
rotation then shows a mode beyond 1e-5, or where an eigenvalue moves by 1e-4 of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args

import numpy as np

from specscale.errors import OptionError
from specscale.kernels.base import Array, Product
from specscale.kernels.device import Device

__all__ = [
    "MEASURED",
    "PRECISIONS",
    "PRODUCTS",
    "RUN",
    "Multiplied",
    "Precision",
    "check_precision",
    "multiply",
    "precision_of",
    "split_memory",
]

Precision = Literal["float32", "tf32", "3xtf32"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
PRODUCTS: tuple[Product, ...] = get_args(Product)

MEASURED: Mapping[Precision, frozenset[Product]] = {"tf32": frozenset(), "3xtf32": frozenset()}
"""The products that have been measured to bear a precision, on a card, by ``python -m bench gpu``: none so far."""

RUN = 1024
"""Terms that tensor cores add up before the sum is folded in float32: their own sums are cut off, not rounded."""

_THREADS = 256

Multiplied = tuple[Product, int, int, int]
"""What a product is for, its rows, the terms of each sum, and its columns."""


def check_precision(precision: Precision) -> None:
    """Refuse a precision that nothing bears.

    Raises
    ------
    OptionError
        When no product has been measured to bear it.
    """
    if precision != "float32" and not MEASURED[precision]:
        raise OptionError(
            f"--precision {precision} is off until some product has been measured to bear it on a card: "
            "leave it at float32, and measure with python -m bench gpu"
        )


def precision_of(product: Product, asked: Precision) -> Precision:
    """The precision of a product where another one is asked for: float32 unless it is known to bear that."""
    return asked if product in MEASURED.get(asked, frozenset()) else "float32"


def split_memory(products: Iterable[Multiplied], asked: Precision) -> int:
    """Bytes of a card that hold the parts of numbers meanwhile; 0 where none of the products splits any.

    Parameters
    ----------
    products : those of one step, which have the memory in turn
    asked : the precision that is asked for
    """
    split = [shape for product, *shape in products if precision_of(product, asked) == "3xtf32"]
    left, right, out = (max((one[i] * one[j] for one in split), default=0) for i, j in ((0, 1), (1, 2), (0, 2)))
    return (2 * left + 2 * right + out) * np.dtype(np.float32).itemsize


def multiply(
    device: Device,
    left: Array,
    right: Array,
    out: Array,
    precision: Precision,
    scratch: Callable[[str, tuple[int, ...], Any], Array],
) -> None:
    """Ask for ``out = left @ right``; what is in float64 is multiplied in float64 whatever the precision.

    Parameters
    ----------
    device : the card
    left, right, out : as :meth:`specscale.kernels.device.Device.multiply` takes them
    precision : of numbers in float32
    scratch : gives memory of some name, shape and type
    """
    if precision == "3xtf32" and out.dtype == np.float32:
        _multiply_parts(device, left, right, out, scratch)
    else:
        device.multiply(left, right, out, tensor=precision == "tf32" and out.dtype == np.float32)


def _multiply_parts(device: Device, left: Array, right: Array, out: Array, scratch: Any) -> None:
    """High and low parts; the product of both low parts is below the last bit of float32."""
    left_high, left_low = _parts(device, left, "left", scratch)
    right_high, right_low = _parts(device, right, "right", scratch)
    product = scratch("product of parts", out.shape, np.float32)
    device.multiply(left_high, right_low, out, tensor=True)
    device.multiply(left_low, right_high, product, tensor=True)
    out += product
    for start in range(0, left.shape[1], RUN):
        run = slice(start, start + RUN)
        device.multiply(left_high[:, run], right_high[run], product, tensor=True)
        out += product


def _parts(device: Device, array: Array, name: str, scratch: Any) -> tuple[Array, Array]:
    """What tensor cores take of a matrix as it is, and what they take of the rest."""
    item = np.dtype(np.float32).itemsize
    if array.shape[1] > 1 and array.strides[1] != item:  # the transpose of rows
        high, low = _parts(device, array.T, name, scratch)
        return high.T, low.T
    rows, columns = array.shape
    high, low = (scratch(f"{name}, {part}", (rows, columns), np.float32) for part in ("high", "low"))
    step, packed = np.int64(array.strides[0] // item), np.int64(columns)
    device.launch("split", rows, _THREADS, (array, step, high, packed, low, packed, packed))
    return high, low
