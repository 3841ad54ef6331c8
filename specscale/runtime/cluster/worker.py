"""What runs on the workers of a Dask cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, cast

from distributed import Reschedule, Worker, WorkerPlugin, get_worker
from distributed.core import Status
from threadpoolctl import threadpool_limits

from specscale.errors import SpecscaleError
from specscale.kernels.base import load_kernels
from specscale.passes.base import Accumulator
from specscale.runtime.checkpoints import Node
from specscale.runtime.cluster.orders import Done, Order, OrderFile
from specscale.runtime.sweeper import Sweeper
from specscale.runtime.threads import Threads

__all__ = ["WorkerEngine", "combine_returned", "make_node", "return_span"]


class WorkerEngine(WorkerPlugin):
    """The engine of one worker process: single-threaded BLAS, a backend, a pool of threads, the last order.

    Parameters
    ----------
    backend : name of the kernels
    threads : threads that compute; by default as many as the worker has for tasks

    Attributes
    ----------
    name : what workers know it by; one that is there already stays, with what it has loaded
    """

    idempotent = True

    def __init__(self, backend: str, threads: int | None = None) -> None:
        self.name = f"specscale-{version('specscale')}-{backend}-{threads or 'all'}"
        self._backend = backend
        self._count = threads

    def setup(self, worker: Worker) -> None:
        """Set the worker up once; tasks that a worker of several threads is given run one after another."""
        self._limits = threadpool_limits(1, user_api="blas")
        kernels = load_kernels(self._backend)
        # While the client is still choosing bandwidths and maps.
        self._warming = threading.Thread(target=kernels.warm_up, name="specscale-warm-up", daemon=True)
        self._warming.start()
        self._threads = WorkerThreads(self._count or worker.state.nthreads)
        self._sweeper = Sweeper(kernels, self._threads)
        self._lock = threading.Lock()
        self._order: tuple[str, Order] | None = None

    def teardown(self, worker: Worker) -> None:
        """Give back what was set up."""
        self._threads.close()
        self._limits.restore_original_limits()

    def make(self, file: OrderFile, node: Node) -> Done:
        """Make a node of an order's tree; errors that the user can mend are told, all others raised."""
        self._warming.join()
        with self._lock:
            try:
                if self._order is None or self._order[0] != file.digest:
                    self._order = None  # both would not fit beside one another
                    self._sweeper.unload()
                    self._order = file.digest, file.load()
                done = self._order[1].make(node, self._sweeper)
                return replace(done, device_memory=self._sweeper.kernels.peak_memory())
            except SpecscaleError as error:
                return Done(node, error=error)

    def accumulate(self, order: Order, span: int) -> Accumulator:
        """Compute the accumulator of one span."""
        self._warming.join()
        with self._lock:
            return order.accumulate(span, self._sweeper)


def make_node(engine: str, file: OrderFile, node: Node, *before: Done) -> Done:
    """Make a node of an order's tree on this worker, after those it is made of."""
    failed = next((one for one in before if one.error), None)
    return failed or _engine(engine).make(file, node)


def return_span(engine: str, order: Order, span: int) -> Accumulator:
    """Compute a span on this worker and return its accumulator."""
    return _engine(engine).accumulate(order, span)


def combine_returned(order: Order, first: Accumulator, second: Accumulator) -> Accumulator:
    """Combine two accumulators that were returned; neither is changed."""
    total = {name: array.copy() for name, array in first.items()}
    order.work.combine(total, second)
    return total


class WorkerThreads(Threads):
    """The threads of a worker, which take up nothing for a task that nobody waits for any more."""

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run the tasks, as ever.

        Raises
        ------
        Reschedule
            When the task was given up, or this worker is ending and another one is to have it.
        """
        worker = cast(Any, get_worker())
        task = worker.state.tasks.get(worker.get_current_task())
        if worker.status in (Status.closing, Status.closed) or task is None or task.state == "cancelled":
            raise Reschedule
        super().run(tasks)


def _engine(name: str) -> WorkerEngine:
    return cast(WorkerEngine, cast(Any, get_worker()).plugins[name])
