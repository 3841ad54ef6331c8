"""The exact n × n difference operator, multiplied stripe by stripe and never stored: refined and exact modes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.errors import InputError
from specscale.method.problem import Problem
from specscale.method.run import Run
from specscale.method.steps import ProblemSize
from specscale.passes.base import Pass
from specscale.passes.products import products
from specscale.passes.scores import KnownScores, ScoreSource, score
from specscale.passes.stripes import STRIPE_ROWS, VISIT_ROWS, Stripe, sweeps_cost
from specscale.places.files import Location, exists, remove_tree
from specscale.runtime.checkpoints import load_arrays, save_arrays
from specscale.runtime.events import Event, Moved, PassFinished, PassStarted, RowsDone, Warned
from specscale.runtime.local import Planned
from specscale.runtime.row_arrays import RowArray
from specscale.runtime.spans import Span
from specscale.spectral.lanczos import BLOCKS, MAX_BLOCKS, VectorModes, exact_modes, random_start

__all__ = ["exact_cost", "found_exactly", "refined", "refinement_cost", "start_vectors", "stripes_at_once"]

PATIENCE = 10.0  # seconds of work that a killed run may lose, beyond the tasks it is at
_TASKS = 8  # of each worker, from one wait for all of them to the next


def stripes_at_once(n: int, workers: int | None) -> int:
    """How many stripes of n rows are multiplied at once; `workers` is None where this process does all."""
    return 1 if workers in (None, 1) else -(-_TASKS * workers // -(-n // VISIT_ROWS))


@dataclass(frozen=True)
class _Visit:
    """The rows that pass by one stripe, from its first on.

    Attributes
    ----------
    low, high : the stripe, as positions among the rows that take part
    spans : the rows that pass by
    edges : the positions at which the spans begin, and the number of rows that take part
    """

    low: int
    high: int
    spans: list[Span]
    edges: tuple[int, ...]

    @classmethod
    def all(cls, problem: Problem) -> list[_Visit]:
        """One for each stripe of the rows that take part."""
        n, n_kept, kept = problem.rows.n, problem.rows.n_kept, problem.rows.kept
        numbers = None if kept is None else np.flatnonzero(kept)
        found = []
        for low in range(0, n_kept, STRIPE_ROWS):
            start = low if numbers is None else int(numbers[low])
            bounds = [start, *range(start - start % VISIT_ROWS + VISIT_ROWS, n, VISIT_ROWS), n]
            edges = bounds if numbers is None else np.searchsorted(numbers, bounds).tolist()
            spans = [Span(i, first, last) for i, (first, last) in enumerate(pairwise(bounds))]
            found.append(cls(low, min(low + STRIPE_ROWS, n_kept), spans, tuple(edges)))
        return found

    @property
    def rows(self) -> int:
        """How many rows pass by."""
        return self.spans[-1].stop - self.spans[0].start


@dataclass
class _Operator:
    """K_A / n and K_B / n, as products with blocks of vectors over the rows that take part.

    The sums over the stripes so far are kept on disk, so that an interrupted run goes on near the stripe it was at.
    """

    run: Run
    problem: Problem
    name: str
    folder: Location

    def multiply(self, V: NDArray[np.float64], number: int) -> NDArray[np.float64]:
        """Products (2, n, b) of both operators with block `number` (n, b)."""
        path, place = self.folder / f"{number}.node", self.folder / f"{number}"
        total, done = self._taken_up(path, V.shape)
        visits = _Visit.all(self.problem)
        crew = self.run.executor.crew
        at_once = stripes_at_once(len(V), None if crew is None else crew.count)
        label = f"{self.name}, sweep {number + 1}"
        saved = time.monotonic()
        with self.run.step(label):
            rows = [one.rows for one in visits]
            self.run.notify(PassStarted(label, sum(rows), sum(rows[:done])))
            if done < len(visits):
                sweep = _Sweep(self.run, self.problem, self.name, place, V)
            for low in range(done, len(visits), at_once):
                some = visits[low : low + at_once]
                sweep.add(total, some)
                if time.monotonic() - saved >= PATIENCE:
                    save_arrays(path, {"products": total, "stripes": np.array([low + len(some)])})
                    saved = time.monotonic()
            remove_tree(place)
        self.run.notify(PassFinished(label, self.run.seconds[label]))
        return total

    def _taken_up(self, path: Location, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], int]:
        """The sums an interrupted run left, and over how many stripes."""
        known = load_arrays(path) if exists(path) else None
        if known is None:
            return np.zeros((len(self.problem.exact), *shape)), 0
        return known["products"], int(known["stripes"][0])


class _Sweep:
    """The passes of the stripes of one sweep, and what they read and write.

    Parameters
    ----------
    run, problem, name : as of the operator
    folder : where the sweep keeps all that is in progress
    V : (n, b) the vectors
    """

    def __init__(self, run: Run, problem: Problem, name: str, folder: Location, V: NDArray[np.float64]) -> None:
        self._run, self._problem, self._name, self._folder = run, problem, name, folder
        self._vectors, self._k = RowArray.written(folder / "vectors", V), V.shape[1]

    def add(self, total: NDArray[np.float64], visits: list[_Visit]) -> None:
        """Add what the kernels of some stripes with the rows from their first on are worth, stripe by stripe."""
        found = self._products(visits)
        for one, own in zip(visits, found, strict=True):
            try:
                passing = self._passing(one).read(one.high, one.edges[-1])
            except InputError:  # a power cut may have left it half written
                remove_tree(self._place(one))
                (own,) = self._products([one])
                passing = self._passing(one).read(one.high, one.edges[-1])
            total[:, one.low : one.high] += own
            total[:, one.high :] += passing.swapaxes(0, 1)
        for one in visits:
            remove_tree(self._place(one))

    def _products(self, visits: list[_Visit]) -> list[NDArray[np.float64]]:
        """The products (2, s, b) of some stripes with the vectors at the rows from their first on."""
        planned = (Planned(self._pass(one), one.spans, self._place(one)) for one in visits)
        return self._run.executor.run_all(planned, self._problem.rows, self._advance)

    def _pass(self, one: _Visit) -> Pass[NDArray[np.float64]]:
        stripe = Stripe(self._problem.rows, one.low, one.high, self._vectors.read)
        vectors, passing = self._vectors.of, self._passing(one)
        return products(self._name, self._problem.exact, stripe, vectors, self._k, one.edges[-1], passing, "exact")

    def _passing(self, one: _Visit) -> RowArray:
        """What the kernels of a stripe are worth to the rows that pass by."""
        shape = (len(self._problem.exact), self._k)
        return RowArray(self._place(one), one.edges, shape, np.dtype(self._run.kernels.real).name)

    def _place(self, one: _Visit) -> Location:
        return self._folder / f"{one.low}"

    def _advance(self, event: Event) -> None:
        """Of the events of a stripe pass on what counts: one bar is shown for the whole sweep."""
        if isinstance(event, PassStarted) and event.done:
            event = RowsDone(event.name, event.done)
        if isinstance(event, (RowsDone, Moved, Warned)):
            self._run.listen(event)


def start_vectors(run: Run, problem: Problem, source: ScoreSource, spans: list[Span]) -> NDArray[np.float64]:
    """The scores of approximate modes in memory, (n_kept, b), by a pass that starts afresh whenever it is run."""
    rows, folder = problem.rows, run.place.folder / "start"
    remove_tree(folder)
    chunks = [(start, min(start + CHUNK_ROWS, rows.n)) for start in range(0, rows.n, CHUNK_ROWS)]
    scores = RowArray(folder, (*(start for start, _ in chunks), rows.n), (source.k,), "float32")
    work = score(source, np.eye(source.k), n=rows.n, top=0, chunk_rows=CHUNK_ROWS, write=scores.write)
    run.sweep(replace(work, name="start"), rows, spans)
    vectors, low = np.empty((rows.n_kept, source.k)), 0
    for start, stop in chunks:
        compared = scores.read(start, stop) if rows.kept is None else scores.read(start, stop)[rows.kept[start:stop]]
        vectors[low : low + len(compared)] = compared
        low += len(compared)
    remove_tree(folder)
    return vectors


def known_scores(run: Run, vectors: NDArray[np.float64]) -> KnownScores:
    """Vectors over the rows that take part (n_kept, k) as scores, where a pass reads them."""
    return KnownScores(vectors.shape[1], RowArray.written(run.place.folder / "vectors", vectors).of)


def refined(run: Run, problem: Problem, start: NDArray[np.float64]) -> VectorModes:
    """Take `options.refine` block Krylov steps of the exact operator from approximate modes, with Rayleigh–Ritz.

    Parameters
    ----------
    run : the run
    problem : what is compared
    start : (n_kept, b) approximate modes, some more than are wanted
    """
    options = problem.options
    operator = _Operator(run, problem, "refine", run.place.folder / "refine")
    return exact_modes(operator.multiply, start, options.eta, options.n_modes, options.refine, run.pool.run)


def found_exactly(run: Run, problem: Problem, name: str = "exact", folder: Location | None = None) -> VectorModes:
    """Find the modes of the exact operator from nothing, to convergence.

    Parameters
    ----------
    run : the run
    problem : what is compared
    name : of the step
    folder : keeps what is in progress; by default one of the name
    """
    options = problem.options
    operator = _Operator(run, problem, name, folder or run.place.folder / name)
    start = random_start(problem.rows.n_kept, options.n_modes)
    return exact_modes(operator.multiply, start, options.eta, options.n_modes, None, run.pool.run)


def refinement_cost(extent: ProblemSize) -> Cost:
    """What refining takes."""
    cost = _sweeps("refine", extent, extent.options.refine + 1)
    return replace(cost, memory=cost.memory + extent.features + extent.tiles)


def exact_cost(extent: ProblemSize) -> Cost:
    """What finding exact modes takes."""
    cost = _sweeps("exact", extent, BLOCKS)
    # Convergence may take more blocks than it mostly does.
    return replace(cost, memory=cost.memory + 8 * extent.n_kept * extent.block * (MAX_BLOCKS - BLOCKS))


def _sweeps(name: str, extent: ProblemSize, sweeps: int) -> Cost:
    n_kept, at_once = extent.n_kept, stripes_at_once(extent.n_kept, extent.workers)
    cost = sweeps_cost(
        *(name, extent.dimensions, n_kept, extent.block, sweeps, extent.read, extent.threads),
        at_once,
        extent.precision,
    )
    return extent.slowed(cost)
