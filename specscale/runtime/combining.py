"""Partial results that a device makes faster than one thread adds them up, or a disk takes them."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

from specscale.kernels.base import RunTasks
from specscale.passes.base import Accumulator, Pass

__all__ = ["combine", "held_nodes"]

_PART = 8 << 20  # bytes that a thread adds at once


def combine(work: Pass[Any], run: RunTasks, first: Accumulator, second: Accumulator) -> None:
    """Add the second accumulator of a pass to the first; sums part by part, whose bits are the same.

    Parameters
    ----------
    work : the pass
    run : runs tasks on the threads of this process
    first, second : as for ``work.combine``
    """
    rows = max(map(len, first.values()))
    parts = -(-max(array.nbytes for array in first.values()) // _PART)
    if not work.sums or parts < 2:
        work.combine(first, second)
        return
    edges = [rows * part // parts for part in range(parts + 1)]
    cuts = [slice(low, high) for low, high in pairwise(edges)]
    run([partial(work.combine, _cut(first, cut), _cut(second, cut)) for cut in cuts])


def _cut(total: Accumulator, cut: slice) -> Accumulator:
    return {name: array[cut] for name, array in total.items()}


def held_nodes(spans: int, *, apart: bool) -> int:
    """How many partial results of a pass over some spans stay in memory.

    On a host one, beside that which accumulates. A device that is `apart` accumulates in its own memory, and faster
    than a disk writes: then one of each level, so that the disk is written to for patience alone.
    """
    return spans.bit_length() if apart else 1
