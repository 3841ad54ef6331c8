"""The executor of one machine: reading overlaps with computing, spans follow one another."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from specscale.passes.record import BLOCK_ROWS, Accumulator, Pass
from specscale.runtime.checkpoints import Tree
from specscale.runtime.events import Notify, PassFinished, PassStarted, RowsDone
from specscale.runtime.spans import Span
from specscale.runtime.threads import Threads
from specscale.stores.pairing import Block, PairedRows

__all__ = ["RING", "Executor", "LocalExecutor"]

R = TypeVar("R")

RING = 3  # blocks of rows in memory: one computed on, one waiting, one being read


class Executor(Protocol):
    """Runs passes."""

    def run(self, work: Pass[Any, R], rows: PairedRows, spans: list[Span], folder: Path, notify: Notify) -> R:
        """Run a pass over the spans, keeping partial results in `folder`, and return its result."""
        ...


class LocalExecutor:
    """Runs passes in this process.

    Parameters
    ----------
    threads : the pool that runs the tasks of a pass
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    def run(self, work: Pass[Any, R], rows: PairedRows, spans: list[Span], folder: Path, notify: Notify) -> R:
        """Run a pass over the spans that have no partial result in `folder` yet, and return its result.

        Parameters
        ----------
        work : the pass
        rows : the paired rows
        spans : all spans, in order
        folder : keeps the partial results; what is there is not computed again
        notify : takes the events

        Raises
        ------
        ChangedError
            When an embedding changed since it was opened.
        """
        began = time.perf_counter()
        tree = Tree(folder, len(spans), work.combine)
        done = sum(span.stop - span.start for span in spans if tree.has(span.index))
        notify(PassStarted(work.name, rows.n, done))
        rooms = [work.room(), work.room()]
        total = tree.root()
        while total is None:
            for span in spans:
                if not tree.has(span.index):
                    tree.push(span.index, self._span(work, rows, span, rooms, notify))
            total = tree.root()
        rooms.clear()
        result = work.finalize(total)
        notify(PassFinished(work.name, time.perf_counter() - began))
        return result

    def _span(self, work: Pass[Any, R], rows: PairedRows, span: Span, rooms: list[Any], notify: Notify) -> Accumulator:
        """Accumulate one span; each block is prepared while the one before it is appended."""
        rows.check_unchanged()
        total = work.create()
        before: tuple[Block, Any] | None = None
        for turn, block in enumerate(_ahead(rows.blocks(span.start, span.stop, BLOCK_ROWS, RING))):
            room = rooms[turn % 2]
            tasks = work.append(total, *before) if before else []
            self._threads.run([*tasks, *work.prepare(block, room)])
            if before:
                notify(RowsDone(work.name, before[0].stop - before[0].start))
            before = block, room
        if before:
            self._threads.run(work.append(total, *before))
            notify(RowsDone(work.name, before[0].stop - before[0].start))
        rows.check_unchanged()
        return total


def _ahead(blocks: Iterator[Block]) -> Iterator[Block]:
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
        reader.join()
