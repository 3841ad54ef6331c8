"""What rounding does to a Gaussian kernel, seen on a sample of rows.

The exponent of k(x, y) comes from ‖x‖² + ‖y‖² − 2 x·y, of which rounding leaves errors of about ‖x‖² times the unit of
the floating type. That is of no account between rows that are far apart, whose kernel is zero either way, and between
equal rows. It is between different rows that are near one another and far, in bandwidths, from the middle of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.features.kernel import ExactKernel
from specscale.kernels.base import load_kernels

__all__ = ["FAR", "Precision", "precision"]

FAR = 100.0  # bandwidths from the middle: of rows nearer to it, float32 holds the exponents to 6e-4
_SINGLE, _DOUBLE = 2.0**-24, 2.0**-53
_NEAR = 2 * np.log(1e3)  # of σ², the squared distance beyond which a kernel value is next to nothing
_TOLERABLE = 1e-5  # the mean over all rows of what float32 loses on the far ones: one cluster of 2 % at 100 bandwidths
_LOST = 1e-2  # an error of an exponent that float64 must stay below
_COARSE = 0.1  # bandwidths: rounding of the stored numbers beyond it makes groups of its own
_FEW = 0.005  # of the rows
_TILE = 512


@dataclass(frozen=True)
class Precision:
    """What it takes to evaluate a kernel.

    Attributes
    ----------
    wide : whether float32 loses kernel values that count
    certain : whether float64 holds them, and the numbers as they are stored
    farthest : the largest distance from the middle of a row that is near another, in bandwidths
    """

    wide: bool
    certain: bool
    farthest: float


def precision(raw: NDArray[Any], kernel: ExactKernel) -> Precision:
    """Look at the sampled rows that are near others and far from the middle.

    Parameters
    ----------
    raw : (s, p) sampled rows, as they are stored
    kernel : the Gaussian kernel, with its centre and bandwidth
    """
    assert kernel.sigma is not None
    x, _ = kernel.standardised(load_kernels("reference"), raw)
    x /= kernel.sigma
    lengths = np.sqrt(np.einsum("ij,ij->i", x, x))
    far = np.flatnonzero(lengths > FAR)
    far = far[_near_another(x[far], raw[far])]
    if not len(far):
        return Precision(False, True, 0.0)
    squares = lengths[far] ** 2
    lost = float(np.minimum(_SINGLE * squares, 1.0).sum()) / len(raw)
    unsure = (_DOUBLE * squares > _LOST) | (_coarseness(raw[far], kernel) > _COARSE)
    return Precision(
        lost > _TOLERABLE, bool(np.count_nonzero(unsure) <= _FEW * len(raw)), float(lengths[far].max(initial=0.0))
    )


def _near_another(x: NDArray[np.float64], raw: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows x, in bandwidths, have another near them that is not equal to them."""
    known: dict[bytes, int] = {}
    same = np.array([known.setdefault(row.tobytes(), len(known)) for row in raw], dtype=np.int64)
    lengths = np.einsum("ij,ij->i", x, x)
    near = np.zeros(len(x), dtype=np.bool_)
    for low in range(0, len(x), _TILE):
        part = slice(low, low + _TILE)
        squares = -2 * (x[part] @ x.T)
        squares += lengths[part, None]
        squares += lengths
        near[part] = ((squares < _NEAR) & (same[part, None] != same)).any(axis=1)
    return near


def _coarseness(raw: NDArray[Any], kernel: ExactKernel) -> NDArray[np.float64]:
    """How far rounding to the type that the rows are stored in has moved each of them, in bandwidths."""
    assert kernel.sigma is not None
    steps = np.spacing(np.abs(raw)).astype(np.float64)
    if kernel.affine is not None:
        steps *= kernel.affine.factor
    moved = np.sqrt((steps**2).sum(axis=1) / 12)
    if kernel.unit:
        moved /= np.linalg.norm(raw.astype(np.float64), axis=1)
    return np.asarray(moved / kernel.sigma)
