"""One sweep over some spans: reading, feeding and computing overlap, and blocks are appended in row order."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from itertools import chain, cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.rows import Block, PairedRows
from specscale.errors import OutOfMemory
from specscale.grid import BLOCK_ROWS
from specscale.kernels.base import Kernels
from specscale.passes.base import HELD_NODES, MOST_READY, Accumulator, Layout, LoadedPass, Pass, Room
from specscale.runtime.checkpoints import Node, spans_of
from specscale.runtime.later import Later
from specscale.runtime.merging import Merging
from specscale.runtime.row_arrays import RowsBeside
from specscale.runtime.spans import Span
from specscale.runtime.stages import Stages
from specscale.runtime.threads import Threads

__all__ = ["RING", "Sweeper", "reading_threads"]

RING = 3  # blocks of rows in host memory: one computed on or fed, one waiting, one being read
_SHARE = 4  # of a device's free memory that they may take: a quarter
_READERS = 8  # threads at most, each of which copies rows and makes digests, and takes a core for that

Deliver = Callable[[Node, Accumulator], None]
Fetched = dict[str, Callable[[], NDArray[Any]]]


def reading_threads(kernels: Kernels, threads: int) -> int:
    """How many threads read for a sweep: of those that a process may have, several where the host does not compute."""
    return min(_READERS, threads) if kernels.apart else 1


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
        self._rooms: tuple[Room, ...] = {}, {}
        self._loaded: tuple[Pass[Any], LoadedPass] | None = None

    def sweep(
        self,
        work: Pass[Any],
        rows: PairedRows,
        spans: list[Span],
        advance: Callable[[int], None],
        deliver: Deliver,
        warn: Callable[[str], None] = lambda line: None,
        wanted: Collection[Node] = (),
        patience: float = math.inf,
    ) -> None:
        """Accumulate spans one after another; each block is prepared while the one before it is appended.

        Where a device has too little memory, what it was at is begun again with fewer blocks there at once.

        Parameters
        ----------
        work : the pass
        rows : the paired rows
        spans : the spans, in order
        advance : told how many rows were added, block by block; below zero where they are to be added again
        deliver : takes nodes of the tree over the spans in host memory, each the accumulator of a span or of several
            that a device has added up, in another thread, while the next span is under way
        warn : told what the user should know
        wanted : nodes that `deliver` is to have as they are
        patience : seconds of work that a device may add up before `deliver` has it

        Raises
        ------
        ChangedError
            When an embedding changed since it was opened.
        InputError
            When a row cannot be used after all.
        OutOfMemory
            When a device has too little memory for a single block.
        """
        left, added = {span.index: span for span in spans}, 0

        def count(more: int) -> None:
            nonlocal added
            added += more
            advance(more)

        def delivered(node: Node, total: Accumulator) -> None:
            deliver(node, total)
            for number in spans_of(node):
                del left[number]

        while left:
            most = HELD_NODES if self.kernels.apart and len(self._rooms) > 1 else 0
            try:
                merging = Merging(work, left, wanted, most, patience)
                self._accumulate(work, rows, list(left.values()), count, delivered, merging)
            except OutOfMemory:
                if len(self._rooms) == 1:
                    raise
            else:
                return
            finally:
                del merging
            self._take_less()
            warn(f"{work.name}: the device has little memory left: its blocks are computed one by one from here on")
            count(sum(span.stop - span.start for span in spans if span.index not in left) - added)

    def unload(self) -> None:
        """Give up what the last pass has loaded, and the scratch of the threads."""
        self._loaded = None
        self.kernels.release()

    def _accumulate(
        self,
        work: Pass[Any],
        rows: PairedRows,
        spans: list[Span],
        advance: Callable[[int], None],
        deliver: Deliver,
        merging: Merging,
    ) -> None:
        """Accumulate spans in the rooms that there are.

        What is asked of a device is a block ahead of what is looked at, and an accumulator ahead of what is delivered.
        """
        rows.check_unchanged()
        kernels, loaded = self.kernels, self._load(work)
        rooms = cycle(self._rooms)
        remaining = iter(spans)
        span, total = next(remaining), work.create(kernels)
        before: tuple[Block, Room] | None = None
        beside = RowsBeside(work, rows, spans)

        def finish(span: Span, nodes: list[tuple[Node, Accumulator, Fetched]], seen: Future[None]) -> None:
            seen.result()
            rows.check_unchanged()
            beside.write(span)
            while nodes:
                node, total, fetched = nodes.pop(0)
                while fetched:
                    name, array = fetched.popitem()
                    total[name] = array()
                deliver(node, total)

        with (
            Later("specscale-looker") as looks,
            Later("specscale-deliverer") as deliveries,
            self._blocks(beside, rows, spans, verify=work.verifies and not rows.verified) as blocks,
        ):
            for block in chain(blocks, [None]):
                room = next(rooms)
                # Before the block's room is another's, where there is one for all.
                seen = looks.ask(loaded.look(total, *before)) if before else None
                append = loaded.append(total, *before) if before else []
                prepare = loaded.prepare(block, room) if block else []
                kernels.run([*append, *prepare], self._threads.run)
                for fed in block.raw if block else ():
                    kernels.spent(fed)
                if before and seen:
                    advance(before[0].stop - before[0].start)
                    if before[0].stop == span.stop:
                        ready = [*merging.add(span.index, total), *(merging.rest() if block is None else ())]
                        nodes = [(node, one, self._fetched(one)) for node, one in ready]
                        deliveries.ask(partial(finish, span, nodes, seen))
                        del total, ready, nodes  # what is added up or delivered is nobody's here
                        if not kernels.apart:
                            deliveries.settle()  # or there would be three accumulators in host memory
                        if block:
                            span, total = next(remaining), work.create(kernels)
                before = (block, room) if block else None

    def _fetched(self, total: Accumulator) -> Fetched:
        """The arrays of an accumulator on their way to host memory, but those that are there."""
        there = total.items()
        return {name: self.kernels.fetch(one, last=True) for name, one in there if not isinstance(one, np.ndarray)}

    def _take_less(self) -> None:
        """Have one room from now on, and give back what there is."""
        self._rooms = ({},)
        gc.collect()  # what a task raised may hold the frames it has passed, and these their arrays
        self.unload()

    def _load(self, work: Pass[Any]) -> LoadedPass:
        """The pass in the backend's memory, with its rooms."""
        if self._loaded is None or self._loaded[0] is not work:
            self.unload()  # both would not fit beside one another
            self._make_rooms(work.room(self.kernels))
            self._loaded = work, work.load(self.kernels)
        return self._loaded[1]

    def _make_rooms(self, layout: Layout) -> None:
        """Give the rooms the arrays of a layout and no others; those that are there already stay."""
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
        """The blocks of some spans in the backend's memory; each stage works ahead of the next."""
        kernels = self.kernels
        runs = [(span.start, span.stop) for span in spans]
        readers = reading_threads(kernels, self._threads.count)
        read = rows.blocks(runs, BLOCK_ROWS, RING, verify=verify, empty=kernels.pinned, readers=readers)
        with Stages() as stages:
            blocks = stages.ahead("specscale-reader", beside.added(read))
            if kernels.apart:
                blocks = stages.ahead("specscale-feeder", map(partial(_fed, kernels), blocks), self._ready(rows))
            yield blocks

    def _ready(self, rows: PairedRows) -> int:
        """How many blocks of rows wait for their turn in a device's memory, by what is free of it."""
        free = self.kernels.free_memory() or 0
        size = BLOCK_ROWS * sum(one.p * one.dtype.itemsize for one in rows.embeddings)
        return 1 if len(self._rooms) == 1 else min(max(free // (_SHARE * size), 1), MOST_READY)


def _fed(kernels: Kernels, block: Block) -> Block:
    """The block with the rows that are read in the backend's memory."""
    inputs = {name: kernels.put(rows) for name, rows in block.inputs.items()}
    return block._replace(raw=tuple(map(kernels.feed, block.raw)), inputs=inputs)
