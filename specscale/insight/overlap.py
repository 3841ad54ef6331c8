"""How much of one group's members another shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from specscale.insight.tails import Tail, opened, tails_of
from specscale.places.files import Location
from specscale.results.comparison import ComparisonResult

__all__ = ["Overlap", "Shared", "overlap"]

LEAST_SHARE = 0.1


@dataclass(frozen=True)
class Shared:
    """Two groups with members in common.

    Attributes
    ----------
    first, second : their places in ``Overlap.groups``; `first` is the one that shares more of itself
    members : members of both
    share, back : `members` as a share of the first group's and of the second group's
    """

    first: int
    second: int
    members: int
    share: float
    back: float


@dataclass(frozen=True)
class Overlap:
    """Members that the groups of a result have in common.

    Attributes
    ----------
    groups : the groups
    counts : (g, g) int64, members of both; on the diagonal the sizes
    """

    groups: list[Tail]
    counts: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """(g, g), members of both as a share of the row's group."""
        return np.asarray(self.counts / self.counts.diagonal()[:, None])

    def pairs(self, least: float = LEAST_SHARE) -> list[Shared]:
        """Return the pairs of which one shares at least `least` of its members, the largest shares first."""
        shares = self.shares
        found = []
        for i, j in zip(*np.triu_indices(len(self.groups), 1), strict=True):
            first, second = (i, j) if shares[i, j] >= shares[j, i] else (j, i)
            if shares[first, second] >= least:
                share, back = float(shares[first, second]), float(shares[second, first])
                found.append(Shared(int(first), int(second), int(self.counts[first, second]), share, back))
        return sorted(found, key=lambda pair: (-pair.share, -pair.back, pair.first, pair.second))

    def to_json(self) -> dict[str, Any]:
        """Return the pairs and the whole matrix as plain values."""
        return {
            "groups": [{**one.to_json(), "members": len(one.rows)} for one in self.groups],
            "pairs": [vars(pair) for pair in self.pairs()],
            "counts": self.counts.tolist(),
            "shares": self.shares.tolist(),
        }


def overlap(result: ComparisonResult | str | Location, top: int | None = None) -> Overlap:
    """Count the members that groups share.

    Parameters
    ----------
    result : a result, or its directory
    top : members of each group, by default all that the result keeps

    Returns
    -------
    Overlap

    Raises
    ------
    OptionError, InputError
        When `top` is less than one; when the result keeps no members.
    """
    groups = tails_of(opened(result), top)
    if not groups:
        return Overlap([], np.zeros((0, 0), dtype=np.int64))
    rows = np.concatenate([one.rows for one in groups])
    numbers = np.repeat(np.arange(len(groups)), [len(one.rows) for one in groups])
    _, places = np.unique(rows, return_inverse=True)
    belongs = csr_array((np.ones(len(rows), dtype=np.int64), (numbers, places)))
    return Overlap(groups, np.asarray((belongs @ belongs.T).toarray(), dtype=np.int64))
