"""One sweep over some spans: reading overlaps with computing, blocks are appended in row order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import chain, cycle
from typing import Any, TypeVar

from specscale.embeddings.rows import Block, PairedRows
from specscale.passes.base import BLOCK_ROWS, Accumulator, Pass
from specscale.runtime.row_arrays import RowsBeside
from specscale.runtime.spans import Span
from specscale.runtime.threads import Threads

__all__ = ["RING", "sweep"]

R = TypeVar("R")

_LAST_READ = 1.0  # seconds for a read under way; one that stands still is left behind, and what is done is kept

RING = 3  # blocks of rows in memory: one computed on, one waiting, one being read


def sweep(
    work: Pass[Any, R],
    rows: PairedRows,
    spans: list[Span],
    threads: Threads,
    advance: Callable[[int], None],
    deliver: Callable[[int, Accumulator], None],
) -> None:
    """Accumulate spans one after another; each block is prepared while the one before it is appended.

    Parameters
    ----------
    work : the pass
    rows : the paired rows
    spans : the spans, in order
    threads : run the tasks of the pass
    advance : told how many rows were added, block by block
    deliver : takes the number and the accumulator of each span as soon as it is complete

    Raises
    ------
    ChangedError
        When an embedding changed since it was opened.
    """
    rows.check_unchanged()
    rooms = cycle([work.room(), work.room()])
    verify = work.verifies and not rows.verified
    read = rows.blocks([(span.start, span.stop) for span in spans], BLOCK_ROWS, RING, verify=verify)
    beside = RowsBeside(work, spans)
    blocks = _ahead(beside.added(read, rows.kept))
    remaining = iter(spans)
    span, total = next(remaining), work.create()
    before: tuple[Block, Any] | None = None
    with closing(blocks):
        for block in chain(blocks, [None]):
            room = next(rooms)
            append = work.append(total, *before) if before else []
            prepare = work.prepare(block, room) if block else []
            threads.run([*append, *prepare])
            if before:
                advance(before[0].stop - before[0].start)
            if before and before[0].stop == span.stop:
                rows.check_unchanged()
                beside.write(span)
                deliver(span.index, total)
                if block:
                    span, total = next(remaining), work.create()
            before = (block, room) if block else None


def _ahead(blocks: Iterator[Block]) -> Generator[Block]:
    """Read one block ahead in a thread of its own."""
    ready: queue.Queue[Block | BaseException | None] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def put(item: Block | BaseException | None) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def read() -> None:
        try:
            for block in blocks:
                put(block)
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:  # handed to the thread that waits for the block
            put(error)

    reader = threading.Thread(target=read, name="specscale-reader", daemon=True)
    reader.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        reader.join(_LAST_READ)
