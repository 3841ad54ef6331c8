"""What a run works with: its place, threads, kernels and executor."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from specscale.kernels import Kernels, load_kernels
from specscale.passes.record import Pass
from specscale.runtime.events import Notify, Stage, Warned, silent
from specscale.runtime.local import Executor, LocalExecutor
from specscale.runtime.plan import return_memory
from specscale.runtime.spans import Span
from specscale.runtime.threads import Threads, single_threaded_blas
from specscale.runtime.workplace import Workplace
from specscale.stores.rows import PairedRows

__all__ = ["Run", "running"]

R = TypeVar("R")


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
    """

    place: Workplace
    pool: Threads
    kernels: Kernels
    executor: Executor
    notify: Notify
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step and keep its time."""
        self.notify(Stage(name))
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began
        return_memory()

    def sweep(self, work: Pass[Any, R], rows: PairedRows, spans: list[Span]) -> R:
        """Run a pass over the rows."""
        with self.step(work.name):
            return self.executor.run(work, rows, spans, self.place.folder / work.name, self.notify)

    def warn(self, message: str) -> None:
        """Tell the user something, now and in the result."""
        self.warnings.append(message)
        self.notify(Warned(message))


@contextmanager
def running(
    place: Workplace, threads: int | None = None, executor: Executor | None = None, notify: Notify | None = None
) -> Iterator[Run]:
    """Set up a run; one that fails before there is anything to resume leaves nothing behind."""
    try:
        with single_threaded_blas(), closing(Threads(threads)) as pool:
            kernels = load_kernels("cpu")
            kernels.warm_up()
            yield Run(place, pool, kernels, executor or LocalExecutor(pool), notify or silent)
    except BaseException:
        place.leave()
        raise
