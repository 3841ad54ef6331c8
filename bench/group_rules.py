"""Two simpler rules for the groups at the ends of modes, to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.features.base import mapped
from specscale.features.registry import restored_map
from specscale.kernels.base import load_kernels
from specscale.method.result import Result
from specscale.spectral.varimax import varimax

__all__ = ["cut_by_likeness", "cut_by_the_mean"]

CORE = 50
BEST = (50, 200)  # rows among which the best mean similarity is looked for

Array = NDArray[np.float64]
Found = list[tuple[str, NDArray[np.int64]]]


def cut_by_the_mean(result: Result, *raw: NDArray[Any]) -> Found:
    """The first rows of each tail, as many as have half of the best contrast."""
    features = _features(result, raw)
    found: Found = []
    for which, order in _tails(result):
        a, b = (_mean_within(one[order]) for one in features)
        contrast = a - b if which == "A" else b - a
        half = contrast[slice(*BEST)].max() / 2
        if half > 0:
            found.append((which, np.sort(order[: np.flatnonzero(contrast >= half)[-1] + 1])))
    return found


def cut_by_likeness(result: Result, *raw: NDArray[Any]) -> Found:
    """The rows half as like the core of each tail as it is, cores being replaced twice by the better half of these."""
    features = _features(result, raw)
    found: Found = []
    for which, order in _tails(result):
        core = order[:CORE]
        members = core
        for _ in range(3):
            a, b = (one @ one[core].mean(axis=0) for one in features)
            likeness = a - b if which == "A" else b - a
            level = np.median(likeness[core])
            if level <= 0:
                break
            members = np.flatnonzero(likeness >= level / 2)
            core = members[np.argsort(-likeness[members], kind="stable")][: max(len(members) // 2, 2)]
        found.append((which, np.sort(members)))
    return found


def _features(result: Result, raw: tuple[NDArray[Any], ...]) -> list[Array]:
    kernels = load_kernels("cpu")
    maps = [restored_map(parameters, result.map_arrays(which)) for which, parameters in enumerate(result.maps)]
    return [mapped(one, kernels, x)[0].astype(np.float64) for one, x in zip(maps, raw, strict=True)]


def _tails(result: Result) -> list[tuple[str, NDArray[np.int64]]]:
    """Both ends of the rotated modes of each direction: all rows, strongest first."""
    scores, values = np.asarray(result.scores[:], dtype=np.float64), result.eigenvalues
    tails = []
    for which, sign in (("A", 1), ("B", -1)):
        own = scores[:, np.sign(values) == sign]
        for column in (own @ varimax(own)).T if own.shape[1] else ():
            tails += [(which, np.argsort(-end * column, kind="stable")) for end in (1, -1)]
    return tails


def _mean_within(features: Array) -> Array:
    """The mean similarity of two of the first m rows, for every m; 0 for the first."""
    m = np.arange(1, len(features) + 1)
    sums = np.cumsum(features, axis=0)
    squares = np.einsum("ij,ij->i", sums, sums) - np.cumsum(np.einsum("ij,ij->i", features, features))
    return squares / np.maximum(m * (m - 1), 1)
