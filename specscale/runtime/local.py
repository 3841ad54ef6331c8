"""The executor of one machine: spans follow one another in this process."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from functools import partial
from typing import Generic, NamedTuple, Protocol, TypeVar

from specscale.embeddings.rows import PairedRows
from specscale.kernels.base import Kernels, load_kernels
from specscale.passes.base import Accumulator, Pass
from specscale.places.files import Location
from specscale.runtime.checkpoints import Node, Parts, Tree
from specscale.runtime.combining import combine, held_nodes
from specscale.runtime.events import Notify, PassFinished, PassStarted, RowsDone, Warned
from specscale.runtime.later import Later
from specscale.runtime.machine import Crew
from specscale.runtime.spans import Span
from specscale.runtime.sweeper import Sweeper
from specscale.runtime.threads import Threads

__all__ = ["Executor", "LocalExecutor", "Planned"]

R = TypeVar("R")


class Planned(NamedTuple, Generic[R]):
    """A pass with the spans that it passes over.

    Attributes
    ----------
    work : the pass
    spans : all spans, in order
    folder : keeps the partial results; what is there is not computed again
    """

    work: Pass[R]
    spans: list[Span]
    folder: Location


class Executor(Protocol):
    """Runs passes."""

    @property
    def crew(self) -> Crew | None:
        """The workers that share the passes; None where this process does all."""
        ...

    @property
    def device_memory(self) -> int | None:
        """The most bytes of a card's memory that a process took so far; None where no pass ran on one."""
        ...

    def ready(self, rows: PairedRows, folder: Location, *, temporary: bool) -> PairedRows:
        """Make sure, before the work begins, that the passes can be run.

        Parameters
        ----------
        rows : the paired rows
        folder : the work directory
        temporary : whether nobody asked for that place

        Returns
        -------
        PairedRows
            The same rows, where whoever runs the passes can read them.

        Raises
        ------
        ClusterError
            When it is clear that they cannot.
        """
        ...

    def run(
        self,
        work: Pass[R],
        rows: PairedRows,
        spans: list[Span],
        folder: Location,
        notify: Notify,
        parts: Parts | None = None,
    ) -> R:
        """Run a pass over the spans that have no partial result in `folder` yet, and return its result.

        Parameters
        ----------
        work : the pass
        rows : the paired rows
        spans : all spans, in order
        folder : keeps the partial results; what is there is not computed again
        notify : takes the events
        parts : keeps those partial results that outlast the run

        Raises
        ------
        ChangedError
            When an embedding changed since it was opened.
        """
        ...

    def run_all(self, passes: Iterable[Planned[R]], rows: PairedRows, notify: Notify) -> list[R]:
        """Run passes that do not need one another, as `run` does each; workers share all of them at once."""
        ...


class LocalExecutor:
    """Runs passes in this process.

    Parameters
    ----------
    threads : the pool that runs the tasks of a pass
    patience : seconds of work that a killed run may lose
    kernels : the backend, by default that of this machine's cores
    """

    def __init__(self, threads: Threads, patience: float = 10.0, kernels: Kernels | None = None) -> None:
        self._threads = threads
        self._sweeper = Sweeper(kernels or load_kernels(), threads)
        self._patience = patience

    @property
    def crew(self) -> None:
        """None: this process does all."""
        return None

    @property
    def device_memory(self) -> int | None:
        """The most bytes of a card's memory that this process took so far."""
        return self._sweeper.kernels.peak_memory()

    def ready(self, rows: PairedRows, folder: Location, *, temporary: bool) -> PairedRows:
        """Return the rows: this process reads them as it opened them."""
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
        """Run a pass, as :class:`Executor` says; a finished span is merged and written while the next is computed."""
        began = time.perf_counter()
        held = held_nodes(len(spans), apart=self._sweeper.kernels.apart)
        tree = Tree(folder, len(spans), partial(combine, work, self._threads.finish), self._patience, parts, held)
        done = sum(span.stop - span.start for span in spans if tree.has(span.index))
        notify(PassStarted(work.name, rows.n, done))
        total = tree.root()
        while total is None:
            try:
                left = [span for span in spans if not tree.has(span.index)]
                self._sweep(work, rows, left, tree, notify, parts.nodes if parts else frozenset())
            except BaseException:
                tree.flush()
                raise
            finally:
                self._sweeper.unload()
            if time.perf_counter() - began >= self._patience:
                tree.flush()  # what comes after the pass may fail
            total = tree.root()
        result = work.finalize(total)
        notify(PassFinished(work.name, time.perf_counter() - began))
        return result

    def run_all(self, passes: Iterable[Planned[R]], rows: PairedRows, notify: Notify) -> list[R]:
        """Run passes one after another."""
        return [self.run(work, rows, spans, folder, notify) for work, spans, folder in passes]

    def _sweep(
        self, work: Pass[R], rows: PairedRows, spans: list[Span], tree: Tree, notify: Notify, wanted: Collection[Node]
    ) -> None:
        """Accumulate spans, and merge and write each in a thread of its own."""

        def deliver(node: Node, total: Accumulator) -> None:
            writer.ask(partial(tree.push, node, total))

        with Later("specscale-writer") as writer:
            self._sweeper.sweep(
                work,
                rows,
                spans,
                lambda count: notify(RowsDone(work.name, count)),
                deliver,
                lambda line: notify(Warned(line)),
                wanted,
                self._patience,
            )
