"""The pass: a record of functions over blocks of paired rows, which the runtime executes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.rows import Block
from specscale.errors import InputError
from specscale.features.fourier import FeatureMap, RowMap
from specscale.features.kernel import MEAN
from specscale.kernels import Kernels

__all__ = [
    "BLOCK_ROWS",
    "SLICE_ROWS",
    "Accumulator",
    "FeatureBuffers",
    "Pass",
    "RowInput",
    "RowOutput",
    "Task",
    "at_once",
    "bad_row",
    "feature_cost",
    "map_slice",
    "slices",
]

BLOCK_ROWS = 8192
SLICE_ROWS = 1024  # rows of a block that one task maps to features; constants, so that products have the same bits

Task = Callable[[], None]
Accumulator = dict[str, NDArray[Any]]
RowInput = Callable[[Block], NDArray[Any]]
"""The rows of an array at the kept rows of a block, (b, …)."""

S = TypeVar("S")
R = TypeVar("R")
Q = TypeVar("Q")


class RowOutput(Protocol):
    """An array of a row for each row that takes part, of which every span writes its own."""

    def empty(self, rows: int) -> NDArray[Any]:
        """Memory for so many of its rows."""
        ...

    def write(self, first: int, values: NDArray[Any]) -> None:
        """Write the rows of a span, whose first kept row is at position `first`; however often, the same bytes."""
        ...


@dataclass(frozen=True)
class Pass(Generic[S, R]):
    """One sweep over the rows.

    The tasks of one list touch disjoint memory and may run at once on any threads. Blocks are appended in row order, so
    an accumulator does not depend on how many threads there are. Unless it is `local`, a pass can be sent to other
    processes by cloudpickle, and so its functions hold no large arrays but those they need.

    Attributes
    ----------
    name : what to call it in events and checkpoints
    room : make scratch for one block; two are used in turn
    prepare : tasks that need the block and the scratch alone, and may run while the block before is appended; they
        alone may read the block's rows, whose memory is read into again soon after
    create : an empty accumulator, named arrays
    append : tasks that add a prepared block to an accumulator
    combine : add the second accumulator, of later rows, to the first, in place
    finalize : what the pass is for, out of the accumulator of all rows
    local : whether its functions use memory of this process that another process would not see
    shares : whether its functions read or write files of the result in progress
    verifies : whether it verifies rows that have not been verified before
    inputs : arrays whose rows it reads, which come with each block
    outputs : arrays whose rows it makes: tasks of `prepare` put them beside the block, and whoever runs the pass writes
        those of a span before its partial result
    """

    name: str
    room: Callable[[], S]
    prepare: Callable[[Block, S], list[Task]]
    create: Callable[[], Accumulator]
    append: Callable[[Accumulator, Block, S], list[Task]]
    combine: Callable[[Accumulator, Accumulator], None]
    finalize: Callable[[Accumulator], R]
    local: bool = False
    shares: bool = False
    verifies: bool = False
    inputs: Mapping[str, RowInput] = field(default_factory=dict)
    outputs: Mapping[str, RowOutput] = field(default_factory=dict)


def at_once(first: Pass[Any, R], second: Pass[Any, Q]) -> Pass[Any, tuple[R, Q]]:
    """Two passes as one that reads the rows once.

    Parameters
    ----------
    first : gives its name
    second : has other names in its accumulator
    """
    names = second.create().keys()

    def has_second(total: Accumulator) -> bool:
        return names <= total.keys()  # or it is a checkpoint of a version that made the first pass alone

    def combine(earlier: Accumulator, later: Accumulator) -> None:
        first.combine(earlier, later)
        if has_second(earlier) and has_second(later):
            second.combine(earlier, later)

    return Pass(
        first.name,
        lambda: (first.room(), second.room()),
        lambda block, room: [*first.prepare(block, room[0]), *second.prepare(block, room[1])],
        lambda: {**first.create(), **second.create()},
        lambda total, block, room: [*first.append(total, block, room[0]), *second.append(total, block, room[1])],
        combine,
        lambda total: (first.finalize(total), second.finalize(total if has_second(total) else second.create())),
        local=first.local or second.local,
        shares=first.shares or second.shares,
        verifies=first.verifies or second.verifies,
        inputs={**first.inputs, **second.inputs},
        outputs={**first.outputs, **second.outputs},
    )


def slices(block: Block) -> list[slice]:
    """The runs of a block's kept rows that tasks take one by one."""
    count = len(block.raw[0])
    return [slice(low, min(low + SLICE_ROWS, count)) for low in range(0, count, SLICE_ROWS)]


def map_slice(
    kernels: Kernels,
    maps: tuple[RowMap, ...],
    which: int,
    block: Block,
    part: slice,
    features: NDArray[Any],
) -> None:
    """Write one embedding's features of some rows of a block into their columns of `features` (b, d).

    Raises
    ------
    InputError
        When a row holds a NaN or an infinity, or has no direction where one is needed.
    """
    low = sum(one.dim for one in maps[:which])
    out = features[part, low : low + maps[which].dim]
    bad = maps[which].apply(kernels, block.raw[which][part], out)
    if bad >= 0:
        raise bad_row(block, which, len(maps), part.start + bad)


def bad_row(block: Block, which: int, count: int, position: int) -> InputError:
    """The error that names a row of a block, at `position` of its kept rows, that cannot be used after all."""
    row = block.start + (position if block.kept is None else int(block.kept[position]))
    given = block.raw[which][position]
    if given.any() and np.isfinite(given).all():
        return InputError(f"row {row} of embedding {'AB'[which] if count == 2 else which} {MEAN}")
    return InputError(
        f"row {row} of embedding {'AB'[which] if count == 2 else which} has a NaN, an infinity or zero norm, "
        "which it had not when it was ingested: a chunk is missing or was written over; ingest it again"
    )


class FeatureBuffers:
    """The two buffers that hold the features of blocks, kept from one pass to the next.

    Touching fresh memory costs as much as several blocks' trigonometry, so passes that follow one another share it; two
    passes at once need buffers of their own.

    Parameters
    ----------
    kernels : the backend
    maps : the feature map of each embedding
    """

    def __init__(self, kernels: Kernels, maps: tuple[FeatureMap, ...]) -> None:
        self._shape = (BLOCK_ROWS, _width(maps))
        self._real = kernels.real
        self._buffers: Iterator[NDArray[Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_buffers": None}

    def take(self) -> NDArray[Any]:
        """Return one of the buffers, (BLOCK_ROWS, d), and at the next call the other."""
        if self._buffers is None:
            self._buffers = cycle([np.empty(self._shape, dtype=self._real) for _ in range(2)])
        return next(self._buffers)


def _width(maps: tuple[FeatureMap, ...]) -> int:
    """Columns that the features take, or what is mapped for scores in their place."""
    return sum(max(one.dim, one.scoring(np.empty((one.dim, 0)))[0].dim) for one in maps)


def feature_cost(maps: tuple[FeatureMap, ...], threads: int) -> int:
    """Bytes that mapping blocks takes: two rooms, each thread's scratch, and the maps' matrices in both precisions."""
    scratch = threads * SLICE_ROWS * sum(one.scratch for one in maps) * 4
    matrices = sum(one.operations // 2 for one in maps) * 20  # half of a whitening is zero, but stored
    return 2 * BLOCK_ROWS * _width(maps) * 4 + scratch + matrices
