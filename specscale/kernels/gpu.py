"""The kernels on a card: products by the library of its maker, what surrounds them in CUDA C, float32."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from specscale.kernels.apart import ApartKernels
from specscale.kernels.base import Array, Kernels, Product
from specscale.kernels.device import Device
from specscale.kernels.precision import Precision, multiply, precision_of

__all__ = ["GpuKernels"]

_THREADS = 256  # of a block, but for `find_tails`
_WARP = 32
_WARPS = 8  # of a block, where each takes a row


class GpuKernels(ApartKernels):
    """The backend of a card; :class:`specscale.kernels.base.Kernels` says what each operation does.

    Parameters
    ----------
    device : the card
    asked : the precision of those products that bear it; all others are in float32
    """

    name: ClassVar[str] = "cuda"
    real: ClassVar[type[np.floating[Any]]] = np.float32

    def __init__(self, device: Device, asked: Precision = "float32") -> None:
        super().__init__(device)
        self._asked = asked
        self._precision: Precision = "float32"

    def bearing(self, product: Product) -> Kernels:
        """The backend, on the same memory, with products in the precision that this one bears of what was asked for."""
        precision = precision_of(product, self._asked)
        return self if precision == self._precision else self._with(_precision=precision)

    @property
    def unrounded(self) -> Kernels:
        """The backend, on the same memory, as if float32 had been asked for."""
        return self._with(_asked="float32", _precision="float32")

    def _with(self, **others: Precision) -> Kernels:
        same = object.__new__(type(self))
        vars(same).update(vars(self), **others)
        return same

    def warm_up(self) -> None:
        """Compile every kernel, which a card does for the first of them, and load the library of products."""
        x = self.device.zeros((1, 1), self.real)
        self.project(x, x, self.device.empty((1, 1), self.real))
        self.remains(x, self.device.empty((1,), np.float64))
        self.device.wait(self.device.record("compute"))

    def affine(self, raw: Array, shift: Array, factor: Array, out: Array, bad: Array) -> None:
        """Shift and scale rows in float64."""
        self._standardise("affine", raw, (shift, factor), out, bad)

    def standardise(self, raw: Array, centre: Array, unit: bool, out: Array, bad: Array) -> None:
        """Normalise and centre rows; the norms are in float64."""
        self._standardise("standardise", raw, (centre, int(unit)), out, bad)

    def _standardise(self, kernel: str, raw: Array, numbers: tuple[Any, Any], out: Array, bad: Array) -> None:
        rows, p = raw.shape
        found = self.scratch("bad rows", (rows,), np.int32)
        name = f"{kernel}_{np.dtype(raw.dtype).name}_{np.dtype(out.dtype).name}"
        self._launch(name, -(-rows // _WARPS), raw, _step(raw), *numbers, out, _step(out), rows, p, found)
        self._launch("note_first", min(rows, 1), found, rows, bad)

    def fourier(self, x: Array, frequencies: Array, out: Array) -> None:
        """Angles by a product, sines and cosines of them where they lie."""
        (b, p), m = x.shape, frequencies.shape[1]
        written = out, _step(out), m, np.float32(1 / np.sqrt(m))
        if x.dtype == np.float64:
            angles = self.scratch("angles", (b, m), np.float64)
            self._multiply(x, frequencies, angles)
            self._launch("waves_wide", b, angles, m, *written)
        else:
            self._multiply(x, frequencies, out[:, :m])
            self._launch("waves", b, x, _step(x), frequencies, _step(frequencies), p, *written)

    def gaussian(self, x: Array, points: Array, halves: Array, rate: float, out: Array) -> None:
        """Gram products, exponentials of them where they lie."""
        (b, p), r = x.shape, points.shape[1]
        own = self.scratch("row halves", (b,), np.float64)
        kernel = f"row_halves_{np.dtype(x.dtype).name}"
        self._launch(kernel, -(-b // _WARPS), x, _step(x), b, p, np.float64(rate), own)
        if x.dtype == np.float64:
            products = self.scratch("products", (b, r), np.float64)
            self._multiply(x, points, products)
            self._launch("gaussian_wide", b, own, halves, products, r, out, _step(out), r)
        else:
            self._multiply(x, points, out)
            self._launch("gaussian", b, own, halves, out, _step(out), r)

    def gram_tile(self, left: Array, right: Array, product: Array, total: Array) -> None:
        """Multiply and fold; of the same columns, the lower triangle."""
        w, v = total.shape
        if left is right and w and self._precision == "float32":
            self.device.square(left, product)
        else:
            self._multiply(left.T, right, product)
        self._launch("fold", w, product, _step(product), total, _step(total), v, int(left is right))

    def project(self, features: Array, coefficients: Array, out: Array) -> None:
        """Multiply."""
        self._multiply(features, coefficients, out)

    def remains(self, values: Array, out: Array) -> None:
        """Take the largest of each row."""
        b, r = values.shape
        self._launch("remains", -(-b // _WARPS), values, _step(values), b, r, out)

    def moments(self, scores: Array, acted: Array, sums: Array) -> None:
        """Sum in float64, in an order that is a matter of the rows."""
        b, k = scores.shape
        self._launch("moments", k, scores, _step(scores), acted, _step(acted), b, sums, _step(sums))

    def keep_tails(self, scores: Array, numbers: Array, strengths: Array, rows: Array) -> None:
        """Find the rows that enter, at most as many as there are places, and merge them with those that are there."""
        (b, k), top = scores.shape, rows.shape[2]
        if not b * k * top:
            return
        strongest = (self.scratch(name, rows.shape, np.float64) for name in ("found strengths", "sorted strengths"))
        members = (self.scratch(name, rows.shape, np.int64) for name in ("found rows", "sorted rows"))
        found, spare = zip(strongest, members, strict=True)
        counts = self.scratch("found", (2, k), np.int64)
        given = scores, _step(scores), numbers, b, k, top, strengths
        self._launch("find_tails", 2 * k, *given, *found, counts, threads=_WARP)
        self._launch("merge_tails", 2 * k, top, counts, strengths, rows, *found, *spare)

    def _multiply(self, left: Array, right: Array, out: Array) -> None:
        if out.shape[0] and out.shape[1]:
            multiply(self.device, left, right, out, self._precision, self.scratch)

    def _launch(self, kernel: str, blocks: int, *arguments: Any, threads: int = _THREADS) -> None:
        """Launch a kernel, whose whole numbers are all of one type."""
        if blocks:
            given = [np.int64(one) if isinstance(one, int) else one for one in arguments]
            self.device.launch(kernel, blocks, threads, given)


def _step(array: Array) -> int:
    """Numbers from one row of an array to the next."""
    return int(array.strides[0]) // int(np.dtype(array.dtype).itemsize)
