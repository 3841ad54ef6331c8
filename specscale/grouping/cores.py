"""The core of a group: rows of a tail that are most like one another, moved to where such rows are densest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specscale.grouping.pool import Pool, weights_of
from specscale.passes.tallies import LEAST_LIKENESS

__all__ = ["CORES", "CORE_ROWS", "FoundCore", "find_cores"]

CORE_ROWS = 50  # of a core, at most
CORES = 2  # of a tail, at most
_LEAST_ROWS = 10  # of a core
_STEPS = 2  # by which a core is replaced by rows from the better half of its members
_FURTHER = 0.8  # of the first core's level that another one of the tail has: what is around the first is less alike
_LASTING = 0.9  # of a core's level that its replacement must keep: on a continuum it drifts into the mass

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class FoundCore:
    """A core.

    Attributes
    ----------
    rows : (m,) int64 ascending, rows of the pool
    background : the median likeness of rows of the sample to the core
    level : by how much the median likeness of the core's rows to one another exceeds it
    """

    rows: Rows
    background: float
    level: float


def find_cores(pool: Pool, tail: Rows, sample: Rows, direction: int) -> list[FoundCore]:
    """Find the cores of the groups at the end of a mode; none where no rows there are more alike than any.

    A core begins as the row of the tail whose nearest are most like it, with these: a tail may hold the ends of several
    groups, and their mean is like none of them. Then it is replaced by rows from the better half of its members, as
    long as they are about as much alike. Another one is looked for among the rows of the tail that are not its members.

    Parameters
    ----------
    pool : the rows
    tail : (t,) rows of the pool at the end of the mode, strongest first
    sample : (s,) rows of the pool that were drawn from all
    direction : 1 where A holds the group together, −1 where B does
    """
    found: list[FoundCore] = []
    for _ in range(CORES):
        rows = np.union1d(tail, sample)
        if len(tail) < _LEAST_ROWS:
            break
        core, likeness = _settled(pool, tail, rows, sample, direction)
        if core.level <= (_FURTHER * found[0].level if found else 0):
            break
        found.append(core)
        tail = tail[likeness[np.searchsorted(rows, tail)] < core.background + LEAST_LIKENESS * core.level]
    return found


def _settled(pool: Pool, tail: Rows, rows: Rows, sample: Rows, direction: int) -> tuple[FoundCore, NDArray[np.float64]]:
    """The core that the most alike rows of a tail lead to, and the likeness of some rows to it."""
    found = _judged(pool, _first(pool, tail, sample, direction), rows, sample, direction)
    for _ in range(_STEPS):
        core, likeness = found
        if core.level <= 0:
            break
        better = _better_half(rows, likeness, core)
        if len(better) < _LEAST_ROWS or np.array_equal(better, core.rows):
            break
        moved = _judged(pool, better, rows, sample, direction)
        if moved[0].level < _LASTING * core.level:
            break
        found = moved
    return found


def _first(pool: Pool, tail: Rows, sample: Rows, direction: int) -> Rows:
    """The row of a tail whose nearest rows are most like it, with those of these that are half as like as the best."""
    alike = pool.likeness(tail, tail, direction)
    np.fill_diagonal(alike, -np.inf)
    count = min(CORE_ROWS, len(tail)) - 1
    nearest = -np.partition(-alike, count - 1, axis=1)[:, :count]
    centre = int(nearest.mean(axis=1, dtype=np.float64).argmax())
    order = np.argsort(-alike[centre], kind="stable")[:count]
    background = float(np.median(pool.likeness(sample, tail[[centre]], direction)))
    near = alike[centre, order] - background
    least = LEAST_LIKENESS * near[: _LEAST_ROWS - 1].mean()
    kept = max(int(np.count_nonzero(near >= least)), _LEAST_ROWS - 1)
    return np.sort(tail[[centre, *order[:kept]]])


def _judged(pool: Pool, core: Rows, rows: Rows, sample: Rows, direction: int) -> tuple[FoundCore, NDArray[np.float64]]:
    """A core, and the likeness of some rows to it, of its own rows to its others."""
    likeness = pool.likeness(rows, core, direction).mean(axis=1, dtype=np.float64)
    own = np.searchsorted(rows, core)
    likeness[own] = (len(core) * likeness[own] - sum(weights_of(direction, pool.eta))) / (len(core) - 1)
    background = float(np.median(likeness[np.searchsorted(rows, sample)]))
    return FoundCore(core, background, float(np.median(likeness[own])) - background), likeness


def _better_half(rows: Rows, likeness: NDArray[np.float64], core: FoundCore) -> Rows:
    """Rows from the better half of a core's members: those of a small group may have as many others beside them."""
    members = np.flatnonzero(likeness >= core.background + LEAST_LIKENESS * core.level)
    members = members[np.argsort(-likeness[members], kind="stable")]
    better = members[: max(_LEAST_ROWS, len(members) // 2)]
    return np.sort(rows[better[np.linspace(0, len(better) - 1, min(CORE_ROWS, len(better))).astype(np.int64)]])
