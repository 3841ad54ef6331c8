"""The executor of a Dask cluster: one pure, unpinned task for each span, combined by tasks in the fixed tree."""

from __future__ import annotations

import pickle
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar, cast

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
from specscale.runtime.local import LocalExecutor, Planned
from specscale.runtime.machine import Crew
from specscale.runtime.spans import Span

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
        self._backend = backend
        self._engine = WorkerEngine(backend, threads)
        self._threads = threads
        self._shared: bool | None = None
        self._device_memory: int | None = None

    @property
    def crew(self) -> Crew:
        """The workers that the cluster has now."""
        return crew_of(self._client, self._threads)

    @property
    def device_memory(self) -> int | None:
        """The most bytes of a card's memory that a worker, or this process, took so far."""
        known = [one for one in (self._device_memory, self._local.device_memory) if one is not None]
        return max(known, default=None)

    def ready(self, rows: PairedRows, folder: Location, *, temporary: bool) -> PairedRows:
        """Look at every worker before the work begins.

        Parameters
        ----------
        rows : the paired rows, of embeddings that other processes can open
        folder : the work directory
        temporary : whether nobody asked for that place, so that workers need not see it

        Returns
        -------
        PairedRows
            The same rows.

        Raises
        ------
        ClusterError
            When there is no worker, or one that has not this version of the package, has no card though the passes are
            to run on cards, or does not see what it must.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._shared = seen_by_workers(self._client, rows, folder, self._backend)
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
        if not self._shared and work.shares:
            return self._local.run(work, rows, spans, folder, notify, parts)
        if self._shared:
            (result,) = self._through_folders([Order(work, rows, spans, folder, parts)], notify)
            return cast(R, result)
        began = time.perf_counter()
        result = work.finalize(self._returned(work, rows, spans, notify))
        notify(PassFinished(work.name, time.perf_counter() - began))
        return result

    def run_all(self, passes: Iterable[Planned[R]], rows: PairedRows, notify: Notify) -> list[R]:
        """Run passes, as :class:`Executor` says; the tasks of all are submitted at once."""
        if not self._shared:
            return [self.run(work, rows, spans, folder, notify) for work, spans, folder in passes]
        return self._through_folders([Order(work, rows, spans, folder, None) for work, spans, folder in passes], notify)

    def _through_folders(self, orders: list[Order], notify: Notify) -> list[Any]:
        """Run the tasks that are missing until the orders' folders hold the roots of their trees, and read these."""
        began = time.perf_counter()
        under_way = [_UnderWay.of(order, notify) for order in orders]
        while missing := [one for one in under_way if not one.ended()]:
            name = missing[0].order.work.name
            with suppress(StuckError), self._tasks(name) as tasks:
                for number, one in enumerate(missing):
                    one.submit(tasks, self._engine.name, number)
                for future in tasks.ended(_QUIET_SECONDS, lambda line: notify(Warned(line))):
                    done = cast(Done, result_of(self._client, future))
                    if done.error:
                        raise done.error
                    if done.device_memory is not None:
                        self._device_memory = max(done.device_memory, self._device_memory or 0)
                    notify(Moved(name, done.written, done.read))
                    if done.rows:
                        notify(RowsDone(name, done.rows))
        return [one.result(began, notify) for one in under_way]

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


@dataclass
class _UnderWay:
    """An order whose tasks keep their partial results in its folder.

    Attributes
    ----------
    order, file : the order, and where it is written
    nodes : its folder
    total : the root of the tree, once it is there
    """

    order: Order
    file: OrderFile
    nodes: NodeFolder
    total: Accumulator | None = None

    @classmethod
    def of(cls, order: Order, notify: Notify) -> _UnderWay:
        """Begin an order, or go on with it."""
        assert order.folder is not None
        nodes = NodeFolder(order.folder)
        if order.parts:
            order.parts.take_over(nodes)
        there = nodes.nodes()
        done = sum(span.stop - span.start for span in order.spans if is_covered((0, span.index), there))
        notify(PassStarted(order.work.name, order.rows.n, done))
        return cls(order, order.save(order.folder / "order.pickle"), nodes)

    def ended(self) -> bool:
        """Whether the root is there and undamaged; it is in memory then."""
        if self.total is None:
            self.total = self.nodes.load(root_of(len(self.order.spans)))
        return self.total is not None

    def submit(self, tasks: Tasks, engine: str, number: int) -> None:
        """Submit the tasks that are missing, whose keys begin with a number of the order's own."""
        spans, there = len(self.order.spans), self.nodes.nodes()

        def submit(node: Node) -> Future | None:
            if is_covered(node, there):
                return None
            level, index = node
            before = [submit(child) for child in children(node, spans)] if level else []
            # The higher a node, the sooner it is made, so that few nodes are on the disk at once.
            after = [one for one in before if one is not None]
            key = f"{number}-{level}-{index}"
            return tasks.submit(make_node, engine, self.file, node, *after, key=key, priority=level)

        submit(root_of(spans))

    def result(self, began: float, notify: Notify) -> Any:
        """What the pass is for, out of the root."""
        assert self.total is not None
        name = self.order.work.name
        notify(Moved(name, 0, self.nodes.read))
        found = self.order.work.finalize(self.total)
        notify(PassFinished(name, time.perf_counter() - began))
        return found


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
