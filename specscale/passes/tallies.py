"""What is counted and listed of rows that are more or less like the cores of groups.

Whole numbers are added up, and lists are ordered by a key and, of equals, by the row: neither depends on where the rows
are cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.passes.base import Accumulator

__all__ = [
    "LEAST_LIKENESS",
    "LIKENESS_EDGES",
    "NEAR",
    "SIMILARITY_EDGES",
    "Listed",
    "Memberships",
    "Seen",
    "add",
    "auc",
    "combine",
    "empty_tallies",
    "finished",
    "side_by_side",
    "tallies_size",
]

LEAST_LIKENESS, NEAR = 0.5, 0.25
"""Likenesses from which a row is a member, and from which it is near where it is none."""

# Steps are powers of two, and so these edges, and the two above, are edges of bins to the bit.
LIKENESS_EDGES = np.arange(-64, 97) / 32
"""Edges of the bins of likenesses; those beyond are counted in the outermost."""
SIMILARITY_EDGES = np.arange(-1024, 1025) / 1024
"""Edges of the bins of similarities."""

_LISTS = {"listed": ("closest", "near"), "drawn": ("first half", "second half", "near")}


@dataclass(frozen=True)
class Listed:
    """The likest rows of some kind for each of G cores, likest first; of equals the lower row.

    Attributes
    ----------
    rows : (G, top) int64, row numbers; −1 where there are fewer
    likeness : (G, top) float64; NaN there
    """

    rows: NDArray[np.int64]
    likeness: NDArray[np.float64]


@dataclass(frozen=True)
class Memberships:
    """How all rows stand to G cores.

    Attributes
    ----------
    sizes : (G, 2) int64, members in each half of the rows
    shared : (G, G) int64, members of both
    histogram : (G, bins) int64, rows by their likeness, between the `LIKENESS_EDGES`
    similarities : (G, 2, 2, bins) int64, rows by their similarity to the core in each embedding, members before all
        others, between the `SIMILARITY_EDGES`
    closest : members
    near : rows that are no members
    drawn : (G, 2, sample) int64, rows drawn from the members in each half, without replacement; −1 where there
        are fewer
    drawn_near : (G, sample) int64, rows drawn likewise from those that are near, but no members
    """

    sizes: NDArray[np.int64]
    shared: NDArray[np.int64]
    histogram: NDArray[np.int64]
    similarities: NDArray[np.int64]
    closest: Listed
    near: Listed
    drawn: NDArray[np.int64]
    drawn_near: NDArray[np.int64]


def auc(similarities: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of pairs of a member and another row in which the member is the more similar; ties count a half.

    Those within one bin are ties.

    Parameters
    ----------
    similarities : (…, 2, bins) counts, of members before others, as in :class:`Memberships`

    Returns
    -------
    (…) float64
        NaN where there are no members or no others.
    """
    members, others = (similarities[..., which, :].astype(np.float64) for which in range(2))
    below = np.cumsum(others, axis=-1) - others / 2
    pairs = members.sum(axis=-1) * others.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray((members * below).sum(axis=-1) / pairs)


@dataclass(frozen=True)
class Seen:
    """Some rows that follow one another.

    Attributes
    ----------
    rows : (b,) int64, their numbers, ascending
    second : (b,) bool, whether they are of the second half
    priorities : (b,) float64, the lower of which are drawn
    likeness : (G, b) float32
    similarities : (2, G, b) in each embedding, to each core
    """

    rows: NDArray[np.int64]
    second: NDArray[np.bool_]
    priorities: NDArray[np.float64]
    likeness: NDArray[np.float32]
    similarities: NDArray[np.float64]


def empty_tallies(cores: int, top: int, sample: int) -> Accumulator:
    """Tallies of no rows, for so many cores, members of a list and of a sample."""
    sizes = {"listed": top, "drawn": sample}
    counts = {
        "sizes": (cores, 2),
        "shared": (cores, cores),
        "histogram": (cores, len(LIKENESS_EDGES) - 1),
        "similarities": (cores, 2, 2, len(SIMILARITY_EDGES) - 1),
    }
    total: Accumulator = {name: np.zeros(shape, dtype=np.int64) for name, shape in counts.items()}
    for name, lists in _LISTS.items():
        shape = cores, len(lists), sizes[name]
        total |= {f"{name} rows": np.full(shape, -1, dtype=np.int64), f"{name} keys": np.full(shape, np.inf)}
    return total


def tallies_size(cores: int, top: int, sample: int) -> int:
    """Bytes of the tallies."""
    return cores * int(sum(one.nbytes for one in empty_tallies(1, top, sample).values())) + 8 * cores * (cores - 1)


def add(total: Accumulator, seen: Seen) -> None:
    """Add rows that come after all others."""
    members = seen.likeness >= LEAST_LIKENESS
    whole = members.astype(np.float32)  # whose products are exact for the rows of a block, and fast
    total["shared"] += (whole @ whole.T).astype(np.int64)
    halves = np.stack([~seen.second, seen.second], axis=1).astype(np.float32)
    total["sizes"] += (whole @ halves).astype(np.int64)
    for core, member in enumerate(members):
        _count(total, seen, core, np.flatnonzero(member))
        _list(total, seen, core, member)


def combine(first: Accumulator, second: Accumulator) -> None:
    """Add the tallies of later rows."""
    for name in ("sizes", "shared", "histogram", "similarities"):
        first[name] += second[name]
    for name in _LISTS:
        _merge(first, name, ..., second[f"{name} keys"], second[f"{name} rows"])


def finished(total: Accumulator) -> Memberships:
    """Name what was counted and listed."""
    rows, likeness = total["listed rows"], np.where(total["listed rows"] < 0, np.nan, -total["listed keys"])
    closest, near = (Listed(rows[:, which], likeness[:, which]) for which in range(2))
    drawn = total["drawn rows"]
    counts = total["sizes"], total["shared"], total["histogram"], total["similarities"]
    return Memberships(*counts, closest, near, drawn[:, :2], drawn[:, 2])


def side_by_side(first: Memberships, second: Memberships, shared: NDArray[np.int64]) -> Memberships:
    """What is known of the cores of two passes, of which the second follow the first.

    Parameters
    ----------
    first, second : of G and of H cores
    shared : (G, H) rows that are members of one of the first and of one of the second
    """

    def listed(name: str) -> Listed:
        pair = getattr(first, name), getattr(second, name)
        return Listed(*(np.concatenate([getattr(one, field) for one in pair]) for field in ("rows", "likeness")))

    counted = ("sizes", "histogram", "similarities", "drawn", "drawn_near")
    return Memberships(
        shared=np.block([[first.shared, shared], [shared.T, second.shared]]),
        closest=listed("closest"),
        near=listed("near"),
        **{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in counted},
    )


def _count(total: Accumulator, seen: Seen, core: int, members: NDArray[np.intp]) -> None:
    """Count rows in the bins of one core."""
    total["histogram"][core] += _binned(seen.likeness[core], LIKENESS_EDGES)[0]
    for which, values in enumerate(seen.similarities[:, core]):
        everyone, bins = _binned(values, SIMILARITY_EDGES)
        inside = np.bincount(bins[members], minlength=len(everyone))
        total["similarities"][core, which] += np.stack([inside, everyone - inside])


def _binned(values: NDArray[np.floating[Any]], edges: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How many values are in each bin between even edges, and the bin of each value."""
    last = len(edges) - 2
    places = (values - edges[0]) * (1 / (edges[1] - edges[0]))
    bins = np.clip(places, 0, last, out=places).astype(np.intp)
    return np.bincount(bins, minlength=last + 1), bins


def _list(total: Accumulator, seen: Seen, core: int, member: NDArray[np.bool_]) -> None:
    """Put rows into the lists of one core: of most there are none that are better than the worst there."""
    likeness = seen.likeness[core]
    near = (likeness >= NEAR) & ~member
    kinds = {"listed": (member, ~member), "drawn": (member & ~seen.second, member & seen.second, near)}
    keys = {"listed": -likeness.astype(np.float64), "drawn": seen.priorities}
    for name, lists in kinds.items():
        for which, of_kind in enumerate(lists):
            worst = total[f"{name} keys"][core, which, -1:]
            if len(worst):
                found = np.flatnonzero(of_kind & (keys[name] < worst))
                if len(found):
                    _merge(total, name, (core, which), keys[name][found], seen.rows[found])


def _merge(total: Accumulator, name: str, where: object, keys: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
    """Keep the lowest keys of some lists and of rows that come after theirs."""
    kept_keys, kept_rows = total[f"{name} keys"][where], total[f"{name} rows"][where]
    keys, rows = np.concatenate([kept_keys, keys], axis=-1), np.concatenate([kept_rows, rows], axis=-1)
    best = np.argsort(keys, axis=-1, kind="stable")[..., : kept_keys.shape[-1]]
    kept_keys[...] = np.take_along_axis(keys, best, axis=-1)
    kept_rows[...] = np.take_along_axis(rows, best, axis=-1)
