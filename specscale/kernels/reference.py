"""The kernels in NumPy and float64: what the compiled backends are held against.

The functions are documented in :class:`specscale.kernels.Kernels`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "affine",
    "fourier",
    "gaussian",
    "gram_tile",
    "keep_tails",
    "moments",
    "name",
    "project",
    "real",
    "standardise",
    "warm_up",
]

name = "reference"
real = np.float64

_EQUAL = 2.0**-49  # of the squared lengths: what rounding leaves of the distance of equal rows


def warm_up() -> None:
    """Do nothing: NumPy is compiled."""


def affine(raw: NDArray[Any], shift: NDArray[Any], factor: NDArray[Any], out: NDArray[Any]) -> int:
    """See :meth:`specscale.kernels.Kernels.affine`."""
    with np.errstate(invalid="ignore", over="ignore"):
        np.multiply(raw.astype(np.float64) - shift, factor, out=out)
    good = np.isfinite(out).all(axis=1)
    return -1 if good.all() else int(np.argmin(good))


def standardise(raw: NDArray[Any], centre: NDArray[Any], unit: bool, out: NDArray[Any]) -> int:
    """See :meth:`specscale.kernels.Kernels.standardise`."""
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
    return -1 if good.all() else int(np.argmin(good))


def fourier(x: NDArray[Any], frequencies: NDArray[Any], out: NDArray[Any]) -> None:
    """See :meth:`specscale.kernels.Kernels.fourier`."""
    angles = x @ frequencies
    m = frequencies.shape[1]
    out[:, :m] = np.cos(angles) / np.sqrt(m)
    out[:, m:] = np.sin(angles) / np.sqrt(m)


def gaussian(x: NDArray[Any], points: NDArray[Any], halves: NDArray[Any], rate: float, out: NDArray[Any]) -> None:
    """See :meth:`specscale.kernels.Kernels.gaussian`."""
    with np.errstate(over="ignore", invalid="ignore"):
        np.matmul(x, points, out=out)
        for row, half in zip(out, rate * np.einsum("ij,ij->i", x, x), strict=True):
            row -= half
            row -= halves
            row[row > -_EQUAL * (half + halves)] = 0
    out[np.isnan(out)] = -np.inf  # of rows that are too far away for their squares
    np.exp(np.minimum(out, 0), out=out)


def gram_tile(left: NDArray[Any], right: NDArray[Any], product: NDArray[Any], total: NDArray[np.float64]) -> None:
    """See :meth:`specscale.kernels.Kernels.gram_tile`."""
    np.matmul(left.T, right, out=product)
    total += product


def project(features: NDArray[Any], coefficients: NDArray[Any], out: NDArray[Any]) -> None:
    """See :meth:`specscale.kernels.Kernels.project`."""
    np.matmul(features, coefficients, out=out)


def moments(scores: NDArray[Any], acted: NDArray[Any], sums: NDArray[np.float64]) -> None:
    """See :meth:`specscale.kernels.Kernels.moments`."""
    u, v = scores.astype(np.float64), acted.astype(np.float64)
    for row, products in zip(sums, (u**2, u**4, u**3 * v, u**2 * v**2), strict=True):
        row[:] = products.sum(axis=0)


def keep_tails(
    scores: NDArray[Any], numbers: NDArray[np.int64], strengths: NDArray[np.float64], rows: NDArray[np.int64]
) -> None:
    """See :meth:`specscale.kernels.Kernels.keep_tails`."""
    top = rows.shape[2]
    for tail, sign in enumerate((1.0, -1.0)):
        for mode in range(scores.shape[1]):
            column = sign * scores[:, mode].astype(np.float64)
            all_strengths = np.concatenate([strengths[tail, mode], np.maximum(column, 0.0)])
            all_rows = np.concatenate([rows[tail, mode], np.where(column > 0, numbers, -1)])
            best = np.argsort(-all_strengths, kind="stable")[:top]
            strengths[tail, mode], rows[tail, mode] = all_strengths[best], all_rows[best]
