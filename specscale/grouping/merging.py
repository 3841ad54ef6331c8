"""Which of the candidates are one group: several ends of modes lead to the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["MERGED", "merged_into"]

MERGED = 0.5  # of their members that candidates share when they are one


def merged_into(
    order: Sequence[int],
    shared: NDArray[np.int64],
    directions: Sequence[int],
    edged: Sequence[bool],
    least: int,
) -> list[int | None]:
    """Say of each candidate which one it is merged into: itself where it is kept, None where it has too few members.

    Two that share more than half of the members of the larger are one group; one group may lie within another. Where
    one of them has no edge, its size is a convention, and half of the members of the smaller suffice.

    Parameters
    ----------
    order : the candidates, best first: the first of those that are one is kept
    shared : (G, G) members in both; of each alone on the diagonal
    directions : 1 or −1 of each; groups of different directions are not one
    edged : whether each has an edge
    least : members of a group, at least
    """
    kept: list[int] = []
    into: list[int | None] = [None] * len(shared)
    sizes = np.diagonal(shared)
    for one in order:
        if sizes[one] < least:
            continue
        for other in kept:
            size = (max if edged[one] and edged[other] else min)(sizes[one], sizes[other])
            if directions[one] == directions[other] and shared[one, other] > MERGED * size:
                into[one] = other
                break
        else:
            kept.append(one)
            into[one] = one
    return into
