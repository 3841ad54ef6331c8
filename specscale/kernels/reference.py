"""The kernels in NumPy and float64: what the compiled backends are held against."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from specscale.kernels.base import Array
from specscale.kernels.host import HostKernels

__all__ = ["ReferenceKernels"]

_EQUAL = 2.0**-49  # of the squared lengths: what rounding leaves of the distance of equal rows


class ReferenceKernels(HostKernels):
    """What each operation means, in a few lines; :class:`specscale.kernels.base.Kernels` says it in words."""

    name: ClassVar[str] = "reference"
    real: ClassVar[type[np.floating[Any]]] = np.float64

    def warm_up(self) -> None:
        """Do nothing: NumPy is compiled."""

    def affine(self, raw: Array, shift: Array, factor: Array, out: Array, bad: Array) -> None:
        """Shift and scale."""
        with np.errstate(invalid="ignore", over="ignore"):
            np.multiply(raw.astype(np.float64) - shift, factor, out=out)
        _note(np.isfinite(out).all(axis=1), bad)

    def standardise(self, raw: Array, centre: Array, unit: bool, out: Array, bad: Array) -> None:
        """Divide by norms and subtract the centre."""
        x = raw.astype(np.float64)
        good = np.asarray(np.isfinite(x).all(axis=1))
        if unit:
            norms = np.linalg.norm(np.where(good[:, None], x, 0.0), axis=1)
            good &= norms > 0
            norms = np.where(good, norms, 1.0)
        else:
            norms = np.ones(len(x))
        with np.errstate(invalid="ignore"):  # signalling NaNs, in rows that are found bad
            np.subtract(x / norms[:, None], centre, out=out)
        out[~good] = 0
        _note(good, bad)

    def fourier(self, x: Array, frequencies: Array, out: Array) -> None:
        """Take cosines and sines."""
        angles = x @ frequencies
        m = frequencies.shape[1]
        out[:, :m] = np.cos(angles) / np.sqrt(m)
        out[:, m:] = np.sin(angles) / np.sqrt(m)

    def gaussian(self, x: Array, points: Array, halves: Array, rate: float, out: Array) -> None:
        """Take exponentials of squared distances."""
        with np.errstate(over="ignore", invalid="ignore"):
            np.matmul(x, points, out=out)
            for row, half in zip(out, rate * np.einsum("ij,ij->i", x, x), strict=True):
                row -= half
                row -= halves
                row[row > -_EQUAL * (half + halves)] = 0
        out[np.isnan(out)] = -np.inf  # of rows that are too far away for their squares
        np.exp(np.minimum(out, 0), out=out)

    def gram_tile(self, left: Array, right: Array, product: Array, total: Array) -> None:
        """Multiply and add."""
        np.matmul(left.T, right, out=product)
        total += product

    def project(self, features: Array, coefficients: Array, out: Array) -> None:
        """Multiply."""
        np.matmul(features, coefficients, out=out)

    def remains(self, values: Array, out: Array) -> None:
        """Square what the largest leaves."""
        nearest = np.abs(values).max(axis=1).astype(np.float64)
        out[...] = np.square(np.maximum(1 - nearest**2, 0))

    def moments(self, scores: Array, acted: Array, sums: Array) -> None:
        """Sum powers."""
        u, v = scores.astype(np.float64), acted.astype(np.float64)
        for row, products in zip(sums, (u**2, u**4, u**3 * v, u**2 * v**2), strict=True):
            row[:] = products.sum(axis=0)

    def keep_tails(self, scores: Array, numbers: Array, strengths: Array, rows: Array) -> None:
        """Sort what there was together with what is new."""
        top = rows.shape[2]
        for tail, sign in enumerate((1.0, -1.0)):
            for mode in range(scores.shape[1]):
                column = sign * scores[:, mode].astype(np.float64)
                all_strengths = np.concatenate([strengths[tail, mode], np.maximum(column, 0.0)])
                all_rows = np.concatenate([rows[tail, mode], np.where(column > 0, numbers, -1)])
                best = np.argsort(-all_strengths, kind="stable")[:top]
                strengths[tail, mode], rows[tail, mode] = all_strengths[best], all_rows[best]


def _note(good: NDArray[np.bool_], bad: NDArray[np.int64]) -> None:
    """Write the first bad row, unless there is none or an earlier operation wrote another."""
    if not good.all() and bad[0] < 0:
        bad[0] = np.argmin(good)
