"""Whether a group has an edge: a valley in the density of rows between the background and its core."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["HAS_EDGE", "valley"]

HAS_EDGE = 0.7  # of the density at the core, at most that in the valley
_SEARCHED = (0.2, 0.8)  # between background (0) and core (1)
_CERTAIN = 4.0  # standard errors by which the core must exceed the valley
_SMOOTHED = 5  # bins


def valley(counts: NDArray[np.int64], edges: NDArray[np.float64]) -> float:
    """How deep the density falls between background and core: 0 where it vanishes, 1 where it falls towards the core.

    A row at random has likeness 0 and the core 1. A set with an edge leaves few rows between those of the background
    and its own; on a continuum there are fewer rows the more like the core they are. What counts cannot tell, as so few
    rows are there, is no valley.

    Parameters
    ----------
    counts : (bins,) rows by likeness; the outermost hold what lies beyond as well, and are no density
    edges : (bins + 1,) of the bins, all equally wide
    """
    within = np.concatenate([[0], counts[1:-1], [0]])
    smooth = np.convolve(within, np.ones(_SMOOTHED), mode="same")
    centres = (edges[1:] + edges[:-1]) / 2
    deepest = 1.0
    for place in np.flatnonzero((centres > _SEARCHED[0]) & (centres < _SEARCHED[1])):
        beyond = smooth[place + _SMOOTHED :]
        peak, low = float(beyond.max(initial=0)), float(smooth[place])
        if peak - low > _CERTAIN * np.sqrt(peak + low):
            deepest = min(deepest, low / peak)
    return deepest
