"""How alike the members of a group are to one another, measured on all or on some that were drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PairMean", "pair_mean"]


@dataclass(frozen=True)
class PairMean:
    """The mean of a kernel over pairs of different rows.

    Attributes
    ----------
    mean : of the pairs that were measured
    influence : (m,) by how much each measured row's mean with the others exceeds that; twice the sum over rows and
        over m is what the mean moves when rows are drawn anew
    """

    mean: float
    influence: NDArray[np.float64]

    @property
    def se(self) -> float:
        """Standard error over samples of as many rows."""
        m = len(self.influence)
        return float(2 * np.sqrt(np.sum(self.influence**2) / (m * (m - 1)))) if m > 1 else 0.0


def pair_mean(kernel: NDArray[np.floating[Any]]) -> PairMean:
    """The mean over pairs of different rows of a kernel matrix (m, m), or of what is made of several.

    Its standard error is that of a U-statistic to first order (Hoeffding 1948).
    """
    m = len(kernel)
    if m < 2:
        return PairMean(0.0, np.zeros(m))
    rows = (kernel.sum(axis=1, dtype=np.float64) - np.diagonal(kernel)) / (m - 1)
    mean = float(rows.mean())
    return PairMean(mean, (rows - mean) * ((m - 1) / max(m - 2, 1)))
