"""The executor of a Dask cluster: one pure, unpinned task for each span, combined by tasks in the fixed tree."""

from __future__ import annotations

import pickle
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TypeVar, cast

from distributed import Client

from specscale.embeddings.rows import PairedRows
from specscale.errors import ClusterError
from specscale.passes.base import Accumulator, Pass
from specscale.places.files import Location
from specscale.runtime.checkpoints import Node, NodeFolder, Parts, children, is_covered, root_of
from specscale.runtime.cluster.asking import asked_of_workers, result_of
from specscale.runtime.cluster.connecting import crew_of, seen_by_workers
from specscale.runtime.cluster.orders import Done, Order, OrderFile
from specscale.runtime.cluster.tasks import Future, StuckError, Tasks
from specscale.runtime.cluster.worker import WorkerEngine, combine_returned, make_node, return_span
from specscale.runtime.events import Moved, Notify, PassFinished, PassStarted, RowsDone, Warned
from specscale.runtime.local import LocalExecutor
from specscale.runtime.machine import Crew
from specscale.runtime.spans import Span
from specscale.stores.stored import stored

__all__ = ["DaskExecutor"]

R = TypeVar("R")

_QUIET_SECONDS = 60.0  # without a finished task until the user is told what the workers are doing


class DaskExecutor:
    """Runs passes on the workers of a Dask cluster, which share the embeddings and the work directory.

    Partial results go through the work directory alone; tasks take and return a few numbers. Where the workers do not
    see the work directory, and none was asked for, partial results are returned, and passes that read or write the
    result run in this process.

    Parameters
    ----------
    client : a client of the cluster
    local : runs what only this process can
    backend : name of the kernels of the workers
    threads : threads that compute in each worker; by default those the worker has for tasks
    """

    def __init__(self, client: Client, local: LocalExecutor, backend: str, threads: int | None = None) -> None:
        self._client = client
        self._local = local
        self._engine = WorkerEngine(backend, threads)
        self._threads = threads
        self._shared: bool | None = None

    @property
    def crew(self) -> Crew:
        """The workers that the cluster has now."""
        return crew_of(self._client, self._threads)

    def ready(self, rows: PairedRows, folder: Location, *, temporary: bool) -> PairedRows:
        """Look at every worker before the work begins.

        Parameters
        ----------
        rows : the embeddings that workers will read
        folder : the work directory
        temporary : whether nobody asked for that place, so that workers need not see it

        Returns
        -------
        PairedRows
            The rows with stores in the work directory in place of arrays of this process.

        Raises
        ------
        ClusterError
            When there is no worker, or one that has not this version of the package or does not see what it must.
        """
        folder.mkdir(parents=True, exist_ok=True)
        readable = (stored(one, folder / f"array-{i}.zarr") for i, one in enumerate(rows.embeddings))
        rows = replace(rows, embeddings=tuple(readable))
        self._shared = seen_by_workers(self._client, rows, folder)
        if not self._shared and not temporary:
            raise ClusterError(
                f"{folder}: not seen by every worker: put the result with --out where all of them can read and write, "
                "as on a shared disk or s3://"
            )
        asked_of_workers(self._client, self._client.register_plugin, self._engine)
        return rows

    def run(
        self,
        work: Pass[R],
        rows: PairedRows,
        spans: list[Span],
        folder: Location,
        notify: Notify,
        parts: Parts | None = None,
    ) -> R:
        """Run a pass, as :class:`Executor` says."""
        if work.local or (not self._shared and work.shares):
            return self._local.run(work, rows, spans, folder, notify, parts)
        began = time.perf_counter()
        total = (
            self._through_folder(work, rows, spans, folder, notify, parts)
            if self._shared
            else self._returned(work, rows, spans, notify)
        )
        result = work.finalize(total)
        notify(PassFinished(work.name, time.perf_counter() - began))
        return result

    def _through_folder(
        self,
        work: Pass[R],
        rows: PairedRows,
        spans: list[Span],
        folder: Location,
        notify: Notify,
        parts: Parts | None,
    ) -> Accumulator:
        """Run the tasks that are missing until the folder holds the root of the tree, and read that."""
        files = NodeFolder(folder)
        if parts:
            parts.take_over(files)
        there = files.nodes()
        done = sum(span.stop - span.start for span in spans if is_covered((0, span.index), there))
        notify(PassStarted(work.name, rows.n, done))
        file = Order(work, rows, spans, folder, parts).save(folder / "order.pickle")
        root = root_of(len(spans))
        while (total := files.load(root)) is None:
            with suppress(StuckError), self._tasks(work.name) as tasks:
                _submit(tasks, self._engine.name, file, root, len(spans), files.nodes())
                for future in tasks.ended(_QUIET_SECONDS, lambda line: notify(Warned(line))):
                    one = cast(Done, result_of(self._client, future))
                    if one.error:
                        raise one.error
                    notify(Moved(work.name, one.written, one.read))
                    if one.node[0] == 0:
                        notify(RowsDone(work.name, spans[one.node[1]].stop - spans[one.node[1]].start))
        notify(Moved(work.name, 0, files.read))
        return total

    def _returned(self, work: Pass[R], rows: PairedRows, spans: list[Span], notify: Notify) -> Accumulator:
        """Run the tasks with their partial results in the memory of the workers, and take the last of them."""
        notify(PassStarted(work.name, rows.n, 0))
        order = Order(work, rows, spans, None, None).dump()
        told: set[int] = set()
        while True:
            with suppress(StuckError), self._tasks(work.name) as tasks:
                # A task of its own holds the order, so that it is made again where a worker was lost.
                root, leaves = _submit_returning(
                    tasks, self._engine.name, tasks.submit(pickle.loads, order, key="order"), len(spans)
                )
                for future in tasks.ended(_QUIET_SECONDS, lambda line: notify(Warned(line))):
                    span = leaves.get(str(future.key))
                    if span is not None and span not in told:
                        told.add(span)
                        notify(RowsDone(work.name, spans[span].stop - spans[span].start))
                # What was returned is shared with the cluster's own copy.
                return {name: array.copy() for name, array in cast(Accumulator, result_of(self._client, root)).items()}

    @contextmanager
    def _tasks(self, name: str) -> Iterator[Tasks]:
        tasks = Tasks(self._client, f"specscale-{name}-{secrets.token_hex(4)}")
        try:
            yield tasks
        finally:
            tasks.close()


def _submit(tasks: Tasks, engine: str, file: OrderFile, node: Node, spans: int, there: set[Node]) -> Future | None:
    """Submit the task of a node after those of its children; None where the node is there."""
    if is_covered(node, there):
        return None
    level, index = node
    before = [_submit(tasks, engine, file, child, spans, there) for child in children(node, spans)] if level else []
    # The higher a node, the sooner it is made, so that few nodes are on the disk at once.
    after = [one for one in before if one is not None]
    return tasks.submit(make_node, engine, file, node, *after, key=f"{level}-{index}", priority=level)


def _submit_returning(tasks: Tasks, engine: str, order: Future, spans: int) -> tuple[Future, dict[str, int]]:
    """Submit the tasks of a tree that return what they make: that of the root, and the span of each that has one."""
    leaves: dict[str, int] = {}

    def submit(node: Node) -> Future:
        level, index = node
        if level:
            before = [submit(child) for child in children(node, spans)]
            return tasks.submit(combine_returned, order, *before, key=f"{level}-{index}", priority=level)
        future = tasks.submit(return_span, engine, order, index, key=f"{level}-{index}")
        leaves[str(future.key)] = index
        return future

    return submit(root_of(spans)), leaves
