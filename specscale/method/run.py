"""What a run works with: its place, threads, kernels and executor."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar, cast

from specscale.embeddings.rows import PairedRows
from specscale.errors import ClusterError, InputError, OptionError
from specscale.kernels.base import Kernels, load_kernels
from specscale.kernels.precision import Precision, check_precision
from specscale.method.execution import Execution
from specscale.method.steps import Step
from specscale.passes.base import Pass
from specscale.places.files import Location, remove_tree
from specscale.results.workplace import Workplace
from specscale.runtime.checkpoints import Parts
from specscale.runtime.events import Event, Moved, Notify, Stage, Warned, silent
from specscale.runtime.local import Executor, LocalExecutor
from specscale.runtime.memory import return_memory
from specscale.runtime.row_arrays import RowArray
from specscale.runtime.spans import Span
from specscale.runtime.threads import Threads, single_threaded_blas
from specscale.stopping import check_signals, stoppable

__all__ = ["Cluster", "Run", "running"]

R = TypeVar("R")
S = TypeVar("S")


@dataclass(frozen=True)
class Cluster:
    """A Dask cluster that runs the passes.

    Attributes
    ----------
    client : a client of it
    threads : threads that compute in each worker; by default those the worker has for tasks
    """

    client: Any
    threads: int | None = None


@dataclass
class Run:
    """A run in progress.

    Attributes
    ----------
    place : OUT and OUT.work
    pool : the threads that compute
    kernels : the backend
    executor : what runs the passes
    notify : takes the events
    warnings : what the user was told
    seconds : how long the steps took
    moved : bytes of partial results that the passes moved between workers and the work directory
    """

    place: Workplace
    pool: Threads
    kernels: Kernels
    executor: Executor
    notify: Notify
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    _under_way: str = ""

    def go(self, steps: Iterable[Step[S]], state: S) -> None:
        """Take steps one after another, each of which adds to the state of the run."""
        for step in steps:
            with self.step(step.name):
                step.action(state)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step and keep its time; the pass that gives a step its name is not announced again."""
        if name == self._under_way:
            yield
            return
        around, self._under_way = self._under_way, name
        self.notify(Stage(name))
        began = time.perf_counter()
        yield
        check_signals()
        self.seconds[name] = time.perf_counter() - began
        self._under_way = around
        return_memory()

    def sweep(
        self,
        work: Pass[R],
        rows: PairedRows,
        spans: list[Span],
        parts: Parts | None = None,
        folder: Location | None = None,
    ) -> R:
        """Run a pass over the rows.

        `parts` keeps those partial results that outlast the run, `folder` all others: by default one of its name.
        """
        with self.step(work.name):
            return self.executor.run(work, rows, spans, folder or self.place.folder / work.name, self.listen, parts)

    def sweep_beside(
        self, work: Pass[R], rows: PairedRows, spans: list[Span], folder: Location, written: RowArray
    ) -> R:
        """Run a pass that writes an array into its folder, and anew where that cannot be read back."""
        found = self.sweep(work, rows, spans, folder=folder)
        try:
            for low, high in pairwise(written.edges):
                written.read(low, high)
        except InputError:  # a power cut may have left it half written
            remove_tree(folder)
            found = self.sweep(work, rows, spans, folder=folder)
        return found

    def listen(self, event: Event) -> None:
        """Take an event of a pass."""
        if isinstance(event, Moved):
            self.moved[event.name] = self.moved.get(event.name, 0) + event.written + event.read
        self.notify(event)

    def warn(self, message: str) -> None:
        """Tell the user something, now and in the result."""
        self.warnings.append(message)
        self.notify(Warned(message))


@contextmanager
def running(execution: Execution, precision: str = "float32") -> Iterator[Run]:
    """Set up a run; one that fails before there is anything to resume leaves nothing behind.

    Parameters
    ----------
    execution : how and where it runs
    precision : what products are made in, where they bear it

    Raises
    ------
    OptionError
        When the device has not that precision, or is not there.
    """
    backend = _backend(execution.device, precision)
    place = Workplace(execution.out, resume=execution.resume, overwrite=execution.overwrite)
    try:
        with stoppable(), single_threaded_blas(), closing(Threads(execution.threads)) as pool:
            kernels = load_kernels(backend)
            kernels.warm_up()
            yield Run(place, pool, kernels, _executor(execution.executor, pool, kernels), execution.progress or silent)
    except BaseException:
        place.leave()
        raise


def _backend(device: str, precision: str) -> str:
    """The backend of a device that makes products in some precision."""
    if precision == "float32":
        return device
    if device == "cpu":
        raise OptionError(f"--precision {precision} goes with --device cuda: the cores multiply in float32")
    check_precision(cast(Precision, precision))
    return f"{device}-{precision}"


def _executor(given: Any, pool: Threads, kernels: Kernels) -> Executor:
    """What runs the passes: an executor, or that of a cluster, or this process."""
    local = LocalExecutor(pool, kernels=kernels)
    if given is None:
        return local
    # A client is known by what it can do, so as not to load its library.
    if hasattr(given, "scheduler_info") and hasattr(given, "submit"):
        given = Cluster(given)
    if not isinstance(given, Cluster):
        if not hasattr(given, "run") or not hasattr(given, "ready"):
            raise OptionError(f"executor is a distributed.Client, as distributed.Client({given!r}), not {given!r}")
        return cast(Executor, given)
    if given.client.status != "running":
        raise ClusterError("the client given as executor is not connected to its cluster any more: make a new one")
    from specscale.runtime.cluster.executor import DaskExecutor

    return DaskExecutor(given.client, local, kernels.name, given.threads)
