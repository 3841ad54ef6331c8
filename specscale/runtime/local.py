"""The executor of one machine: reading overlaps with computing, spans follow one another."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain, cycle
from pathlib import Path
from typing import Any, Protocol, TypeVar

from specscale.passes.record import BLOCK_ROWS, Pass
from specscale.runtime.checkpoints import Tree
from specscale.runtime.events import Notify, PassFinished, PassStarted, RowsDone
from specscale.runtime.spans import Span
from specscale.runtime.threads import Threads
from specscale.stores.rows import Block, PairedRows

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
    patience : seconds of work that a killed run may lose
    """

    def __init__(self, threads: Threads, patience: float = 10.0) -> None:
        self._threads = threads
        self._patience = patience

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
        tree = Tree(folder, len(spans), work.combine, self._patience)
        done = sum(span.stop - span.start for span in spans if tree.has(span.index))
        notify(PassStarted(work.name, rows.n, done))
        total = tree.root()
        while total is None:
            try:
                self._sweep(work, rows, [span for span in spans if not tree.has(span.index)], tree, notify)
            except BaseException:
                tree.flush()
                raise
            total = tree.root()
        result = work.finalize(total)
        notify(PassFinished(work.name, time.perf_counter() - began))
        return result

    def _sweep(self, work: Pass[Any, R], rows: PairedRows, spans: list[Span], tree: Tree, notify: Notify) -> None:
        """Accumulate the spans one after another.

        Each block is prepared while the one before it is appended, and a finished span is merged and written while the
        next one is computed.
        """
        rows.check_unchanged()
        rooms = cycle([work.room(), work.room()])
        blocks = _ahead(rows.blocks([(span.start, span.stop) for span in spans], BLOCK_ROWS, RING))
        remaining = iter(spans)
        span, total = next(remaining), work.create()
        before: tuple[Block, Any] | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="specscale-writer") as writer, closing(blocks):
            written: Future[None] | None = None
            for block in chain(blocks, [None]):
                room = next(rooms)
                append = work.append(total, *before) if before else []
                prepare = work.prepare(block, room) if block else []
                self._threads.run([*append, *prepare])
                if before:
                    notify(RowsDone(work.name, before[0].stop - before[0].start))
                if before and before[0].stop == span.stop:
                    rows.check_unchanged()
                    if written:
                        written.result()
                    written = writer.submit(tree.push, span.index, total)
                    if block:
                        span, total = next(remaining), work.create()
                before = (block, room) if block else None
            if written:
                written.result()


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
        reader.join()
