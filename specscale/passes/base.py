"""The pass: a record of functions over blocks of paired rows, which the runtime executes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from numpy.typing import NDArray

from specscale.embeddings.rows import Block
from specscale.kernels.base import Array, Kernels, Task, load_kernels

__all__ = [
    "FED_BLOCKS",
    "HELD_NODES",
    "MOST_READY",
    "Accumulator",
    "Layout",
    "LoadedPass",
    "Pass",
    "Room",
    "RowInput",
    "RowOutput",
    "Task",
    "at_once",
]

MOST_READY = 4  # blocks of rows in a device's memory that wait for their turn, against readers that are not steady
FED_BLOCKS = MOST_READY + 4  # that lie there at most: being fed, prepared, appended and looked at beside those
HELD_NODES = 3  # accumulators of several spans that a device holds, so that few of them have to come to the host

Accumulator = dict[str, Array]
Layout = dict[str, tuple[tuple[int, ...], Any]]
"""Shapes and types of arrays, by name."""
Room = dict[str, Array]
"""The arrays of a layout: scratch of one block."""
RowInput = Callable[[Block], NDArray[Any]]
"""The rows of an array at the kept rows of a block, (b, …)."""

R = TypeVar("R")
Q = TypeVar("Q")


class RowOutput(Protocol):
    """An array of rows, of which every span writes its own."""

    def empty(self, rows: int) -> NDArray[Any]:
        """Memory for so many of its rows."""
        ...

    def write(self, first: int, values: NDArray[Any]) -> None:
        """Write the rows of a span, whose first is at position `first`; however often, the same bytes."""
        ...


def _nothing() -> None:
    """Look at nothing."""


class LoadedPass(NamedTuple):
    """What is done with each block, with all that this needs of every block in the memory of a backend.

    Attributes
    ----------
    prepare : tasks that need the block and its room alone, and may run while the block before is appended; they alone
        may read the block's rows, whose memory is read into again soon after
    append : tasks that add a prepared block to an accumulator
    look : begins to fetch what the host is to see of a prepared block. What it returns is done once, in the order of
        the blocks, while the next one is computed on: it waits for what was fetched, raises InputError where rows
        cannot be used, fills the block's outputs, and adds to those arrays of the accumulator that are in host memory
    """

    prepare: Callable[[Block, Room], list[Task]]
    append: Callable[[Accumulator, Block, Room], list[Task]]
    look: Callable[[Accumulator, Block, Room], Task] = lambda total, block, room: _nothing


@dataclass(frozen=True)
class Pass(Generic[R]):
    """One sweep over the rows.

    A pass owns no memory: it says what it needs, and whoever runs it makes that in the memory of a backend. The tasks
    of one list touch disjoint memory and may run at once on any threads. Blocks are appended in row order, so an
    accumulator does not depend on how many threads there are. A pass can be sent to other processes by cloudpickle, and
    so its functions hold no large arrays but those they need.

    Attributes
    ----------
    name : what to call it in events and checkpoints
    room : the scratch of one block; two are used in turn, or one where a device has no memory for more, and passes that
        follow one another share what they have alike
    create : an empty accumulator, named arrays of the backend or of the host
    load : brings into a backend's memory what every block needs; once in a process, before any block
    combine : add the second accumulator, of later rows, to the first, in place; both in host memory
    finalize : what the pass is for, out of the accumulator of all rows in host memory
    sums : whether `combine` adds number to number, so that runs of the arrays' rows can be combined one by one
    shares : whether its functions read or write files of the result in progress
    verifies : whether it verifies rows that have not been verified before
    inputs : arrays of which each block brings its rows along, in the backend's memory
    outputs : arrays of which each block brings memory for its rows along, in the host's: it is filled when the block
        is looked at, and whoever runs the pass writes all rows of a span before its partial result
    """

    name: str
    room: Callable[[Kernels], Layout]
    create: Callable[[Kernels], Accumulator]
    load: Callable[[Kernels], LoadedPass]
    combine: Callable[[Accumulator, Accumulator], None]
    finalize: Callable[[Accumulator], R]
    sums: bool = False
    shares: bool = False
    verifies: bool = False
    inputs: Mapping[str, RowInput] = field(default_factory=dict)
    outputs: Mapping[str, RowOutput] = field(default_factory=dict)


def at_once(first: Pass[R], second: Pass[Q]) -> Pass[tuple[R, Q]]:
    """Two passes as one that reads the rows once.

    Parameters
    ----------
    first : gives its name
    second : has other names in its rooms and its accumulator
    """
    nothing = second.create(load_kernels("reference"))

    def has_second(total: Accumulator) -> bool:
        return nothing.keys() <= total.keys()  # or it is a checkpoint of a version that made the first pass alone

    def load(kernels: Kernels) -> LoadedPass:
        one, other = first.load(kernels), second.load(kernels)

        def look(total: Accumulator, block: Block, room: Room) -> Task:
            looks = one.look(total, block, room), other.look(total, block, room)

            def both() -> None:
                for each in looks:
                    each()

            return both

        return LoadedPass(
            lambda block, room: [*one.prepare(block, room), *other.prepare(block, room)],
            lambda total, block, room: [*one.append(total, block, room), *other.append(total, block, room)],
            look,
        )

    def combine(earlier: Accumulator, later: Accumulator) -> None:
        first.combine(earlier, later)
        if has_second(earlier) and has_second(later):
            second.combine(earlier, later)

    return Pass(
        first.name,
        lambda kernels: {**first.room(kernels), **second.room(kernels)},
        lambda kernels: {**first.create(kernels), **second.create(kernels)},
        load,
        combine,
        lambda total: (first.finalize(total), second.finalize(total if has_second(total) else nothing)),
        shares=first.shares or second.shares,
        verifies=first.verifies or second.verifies,
        inputs={**first.inputs, **second.inputs},
        outputs={**first.outputs, **second.outputs},
    )
