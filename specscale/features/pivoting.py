"""Landmark rows by randomly pivoted Cholesky (Chen, Epperly, Tropp and Webber 2022)."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from specscale import seeds
from specscale.features.kernel import ExactKernel
from specscale.kernels.base import Kernels

__all__ = ["CANDIDATES", "pivoted_rows"]

CANDIDATES = 16_384  # rows among which pivots are drawn
_BLOCK = 64  # pivots drawn at once
_SLICE = 1024
_DEPENDENT = 1e-6  # of the diagonal, 1: what the pivots so far explain to this share adds nothing


def pivoted_rows(
    exact: tuple[ExactKernel, ...], raw: tuple[NDArray[Any], ...], size: int, seed: int, kernels: Kernels
) -> NDArray[np.int64]:
    """Draw pivots with probability proportional to what the pivots so far leave unexplained.

    The kernel is the mean of those of all embeddings, so that one set of rows serves them all.

    Parameters
    ----------
    exact : the kernel of each embedding
    raw : (s, p) candidate rows of each embedding
    size : pivots
    seed : seed of the draw
    kernels : a backend of host memory

    Returns
    -------
    (size,) int64
        Ascending numbers of candidates; where everything is explained before, uniform ones complete them.
    """
    s = len(raw[0])
    generator = seeds.pivots(seed)
    standardised = [one.standardised(kernels, x)[0] for one, x in zip(exact, raw, strict=True)]
    factor = np.empty((s, size), dtype=kernels.real)
    left = np.ones(s)
    pivots = np.empty(0, dtype=np.int64)
    while len(pivots) < min(size, s) and left.sum() > _DEPENDENT * s:
        done = len(pivots)
        # Pivots drawn at once do not see one another: few at first, while nothing is known.
        count = min(_BLOCK, done // 4 + 1, size - done, int(np.count_nonzero(left)))
        new = generator.choice(s, size=count, replace=False, p=left / left.sum())
        columns = np.zeros((s, count), dtype=kernels.real)
        for one, x, rows in zip(exact, raw, standardised, strict=True):
            anchors = one.anchors(kernels, x[new])
            for low in range(0, s, _SLICE):
                part = rows[low : low + _SLICE]
                values = np.empty((len(part), count), dtype=kernels.real)
                anchors.evaluate(kernels, part, slice(None), values)
                columns[low : low + _SLICE] += values / len(exact)
        columns -= factor[:, :done] @ factor[new, :done].T
        # Of pivots drawn together some explain one another: those are dropped by a pivoted factor of their own block.
        block = columns[new].astype(np.float64)
        upper, order, rank, _ = scipy.linalg.lapack.dpstrf(block, tol=_DEPENDENT)
        kept = order[:rank] - 1
        triangle = np.triu(upper[:rank, :rank])
        added = scipy.linalg.solve_triangular(triangle, columns[:, kept].astype(np.float64).T, trans="T").T
        factor[:, done : done + rank] = added
        pivots = np.concatenate([pivots, new[kept]])
        left = np.maximum(left - np.einsum("ij,ij->i", added, added), 0.0)
        left[new] = 0.0
    others = np.setdiff1d(np.arange(s), pivots)
    missing = generator.choice(others, size=min(size, s) - len(pivots), replace=False)
    return np.sort(np.concatenate([pivots, missing])).astype(np.int64)
