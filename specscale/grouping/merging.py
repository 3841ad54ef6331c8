"""Which of the candidates are one group: several ends of modes lead to the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from specscale.grouping.cores import FoundCore
from specscale.grouping.pool import Pool, weights_of

__all__ = ["MERGED", "TILE_ROWS", "distinct_cores", "merged_into"]

TILE_ROWS = 512  # whose kernel with the rows of all cores is in memory
MERGED = 0.5  # of their members that candidates share when they are one
_ONE_CORE = 0.9  # of the way from any row to a core that another one is, and it to that, when they are one


def distinct_cores(pool: Pool, cores: Sequence[FoundCore], directions: Sequence[int]) -> list[int]:
    """Say of each core which one it is the same as, itself where none before it is; the one of the highest level stays.

    Parameters
    ----------
    pool : the rows
    cores : the cores
    directions : 1 or −1 of each
    """
    rows, places = np.unique(np.concatenate([one.rows for one in cores]), return_inverse=True)
    lengths = [len(one.rows) for one in cores]
    weights = np.zeros((len(rows), len(cores)))
    weights[places, np.repeat(np.arange(len(cores)), lengths)] = np.repeat(1 / np.array(lengths), lengths)
    similar = np.zeros((2, len(cores), len(cores)))
    for low in range(0, len(rows), TILE_ROWS):
        tile = slice(low, low + TILE_ROWS)
        for which in range(2):
            similar[which] += weights[tile].T @ (pool.kernel(which, rows[tile], rows).astype(np.float64) @ weights)
    same = list(range(len(cores)))
    kept: list[int] = []
    for one in sorted(same, key=lambda core: -cores[core].level):
        for other in kept:
            if directions[one] == directions[other] and all(
                _share(cores[core], weights_of(directions[one], pool.eta), [float(s[one, other]) for s in similar])
                >= _ONE_CORE
                for core in (one, other)
            ):
                same[one] = other
                break
        else:
            kept.append(one)
    return same


def _share(core: FoundCore, weights: tuple[float, float], similar: Sequence[float]) -> float:
    """How far from any row to a core what has these mean similarities to it is."""
    return (sum(w * s for w, s in zip(weights, similar, strict=True)) - core.background) / core.level


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
