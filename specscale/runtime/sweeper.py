"""One sweep over some spans: reading, putting and computing overlap, and blocks are appended in row order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, cycle
from typing import Any

from specscale.embeddings.rows import Block, PairedRows
from specscale.grid import BLOCK_ROWS
from specscale.kernels.base import Kernels
from specscale.passes.base import Accumulator, Layout, LoadedPass, Pass, Room
from specscale.runtime.row_arrays import RowsBeside
from specscale.runtime.spans import Span
from specscale.runtime.stages import Stages
from specscale.runtime.threads import Threads

__all__ = ["RING", "Sweeper", "reading_threads"]

RING = 3  # blocks of rows in host memory: one computed on or put, one waiting, one being read

_READERS = 8  # more threads read hardly faster from a disk, nor from memory


def reading_threads(apart: bool, threads: int) -> int:
    """How many threads read for a sweep.

    Parameters
    ----------
    apart : whether the memory of its backend is not the host's: then the host computes nothing beside it
    threads : threads that this process may have
    """
    return min(_READERS, threads) if apart else 1


class Sweeper:
    """Runs the sweeps of one process, one after another, and owns the memory that passes work in.

    Two rooms are kept from one pass to the next as far as these have arrays alike: touching fresh memory costs as much
    as several blocks' trigonometry. What a pass has loaded is kept until another is swept.

    Parameters
    ----------
    kernels : the backend
    threads : run the tasks of the passes
    """

    def __init__(self, kernels: Kernels, threads: Threads) -> None:
        self.kernels = kernels
        self._threads = threads
        self._rooms: tuple[Room, Room] = ({}, {})
        self._loaded: tuple[Pass[Any], LoadedPass] | None = None

    def sweep(
        self,
        work: Pass[Any],
        rows: PairedRows,
        spans: list[Span],
        advance: Callable[[int], None],
        deliver: Callable[[int, Accumulator], None],
    ) -> None:
        """Accumulate spans one after another; each block is prepared while the one before it is appended.

        Parameters
        ----------
        work : the pass
        rows : the paired rows
        spans : the spans, in order
        advance : told how many rows were added, block by block
        deliver : takes the number of each span and its accumulator in host memory as soon as it is complete

        Raises
        ------
        ChangedError
            When an embedding changed since it was opened.
        InputError
            When a row cannot be used after all.
        """
        rows.check_unchanged()
        kernels, loaded = self.kernels, self._load(work)
        rooms = cycle(self._rooms)
        remaining = iter(spans)
        span, total = next(remaining), work.create(kernels)
        before: tuple[Block, Room] | None = None
        beside = RowsBeside(work, rows, spans)
        with self._blocks(beside, rows, spans, verify=work.verifies and not rows.verified) as blocks:
            for block in chain(blocks, [None]):
                room = next(rooms)
                append = loaded.append(total, *before) if before else []
                prepare = loaded.prepare(block, room) if block else []
                kernels.run([*append, *prepare], self._threads.run)
                if block:
                    loaded.check(block, room)
                if before:
                    advance(before[0].stop - before[0].start)
                if before and before[0].stop == span.stop:
                    rows.check_unchanged()
                    beside.write(span)
                    deliver(span.index, {name: kernels.get(array) for name, array in total.items()})
                    if block:
                        span, total = next(remaining), work.create(kernels)
                before = (block, room) if block else None

    def unload(self) -> None:
        """Give up what the last pass has loaded, and the scratch of the threads."""
        self._loaded = None
        self.kernels.release()

    def _load(self, work: Pass[Any]) -> LoadedPass:
        """The pass in the backend's memory, with its rooms."""
        if self._loaded is None or self._loaded[0] is not work:
            self.unload()  # both would not fit beside one another
            self._make_rooms(work.room(self.kernels))
            self._loaded = work, work.load(self.kernels)
        return self._loaded[1]

    def _make_rooms(self, layout: Layout) -> None:
        """Give both rooms the arrays of a layout and no others; those that are there already stay."""
        for room in self._rooms:
            for name in list(room):
                shape, dtype = layout.get(name, ((), None))
                if room[name].shape != shape or room[name].dtype != dtype:
                    del room[name]
        for room in self._rooms:
            for name, (shape, dtype) in layout.items():
                if name not in room:
                    room[name] = self.kernels.empty(shape, dtype)

    @contextmanager
    def _blocks(
        self, beside: RowsBeside, rows: PairedRows, spans: list[Span], *, verify: bool
    ) -> Iterator[Iterator[Block]]:
        """The blocks of some spans in the backend's memory; each stage works a block ahead of the next."""
        kernels = self.kernels
        runs = [(span.start, span.stop) for span in spans]
        readers = reading_threads(kernels.apart, self._threads.count)
        read = rows.blocks(runs, BLOCK_ROWS, RING, verify=verify, empty=kernels.pinned, readers=readers)
        with Stages() as stages:
            blocks = stages.ahead("specscale-reader", beside.added(read))
            if kernels.apart:
                blocks = stages.ahead("specscale-putter", map(partial(_put, kernels), blocks))
            yield blocks


def _put(kernels: Kernels, block: Block) -> Block:
    """The block with the rows that are read in the backend's memory."""
    inputs = {name: kernels.put(rows) for name, rows in block.inputs.items()}
    return block._replace(raw=tuple(map(kernels.put, block.raw)), inputs=inputs)
