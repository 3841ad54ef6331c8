"""The exact n × n difference operator, multiplied stripe by stripe and never stored: refined and exact modes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.method.problem import Problem
from specscale.method.run import Run
from specscale.passes.products import Mirror, products, products_cost
from specscale.passes.scores import ScoreSource, score
from specscale.places.files import Location, exists, remove_tree
from specscale.runtime.checkpoints import load_arrays, save_arrays
from specscale.runtime.events import Event, PassFinished, PassStarted, RowsDone
from specscale.runtime.spans import Span
from specscale.spectral.lanczos import VectorModes, exact_modes, random_start

__all__ = ["found_exactly", "refined", "start_vectors", "sweeps_cost"]

STRIPE_ROWS = 8192
SPAN_ROWS = 8 * CHUNK_ROWS
PATIENCE = 10.0  # seconds of work that a killed run may lose, beyond the stripe it is at


@dataclass
class _Operator:
    """K_A / n and K_B / n, as products with blocks of vectors over the rows that take part.

    A stripe of rows is held in memory as anchors while the rows from its first on pass by. The kernels are symmetric:
    each value that is computed serves the stripe's products and those of the later rows. The sums over the stripes so
    far are kept on disk, so that an interrupted run goes on near the stripe it was at.
    """

    run: Run
    problem: Problem
    name: str

    def multiply(self, V: NDArray[np.float64], number: int) -> NDArray[np.float64]:
        """Products (2, n, b) of both operators with block `number` (n, b)."""
        rows, notify = self.problem.rows, self.run.notify
        folder = self.run.place.folder / self.name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number}.node"
        total, done = self._taken_up(path, V.shape)
        stripes = [slice(low, min(low + STRIPE_ROWS, len(V))) for low in range(0, len(V), STRIPE_ROWS)]
        numbers = None if rows.kept is None else np.flatnonzero(rows.kept)
        starts = [stripe.start if numbers is None else int(numbers[stripe.start]) for stripe in stripes]
        label = f"{self.name}, sweep {number + 1}"
        saved = time.monotonic()
        with self.run.step(label):
            visits = [rows.n - start for start in starts]
            notify(PassStarted(label, sum(visits), sum(visits[:done])))
            for i in range(done, len(stripes)):
                self._add(total, V, stripes[i], starts[i])
                if time.monotonic() - saved >= PATIENCE:
                    save_arrays(path, {"products": total, "stripes": np.array([i + 1])})
                    saved = time.monotonic()
        notify(PassFinished(label, self.run.seconds[label]))
        return total

    def _taken_up(self, path: Location, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], int]:
        """The sums an interrupted run left, and over how many stripes."""
        known = load_arrays(path) if exists(path) else None
        if known is None:
            return np.zeros((len(self.problem.exact), *shape)), 0
        return known["products"], int(known["stripes"][0])

    def _add(self, total: NDArray[np.float64], V: NDArray[np.float64], stripe: slice, start: int) -> None:
        """Add what the stripe's kernels with the rows from its first on are worth."""
        run, problem = self.run, self.problem
        raw = problem.rows.take(np.arange(stripe.start, stripe.stop))
        mirror = Mirror(V[stripe], np.empty(total.shape, dtype=run.kernels.real))
        work = products(
            "stripe",
            problem.exact,
            raw,
            lambda block: V[block.offset : block.offset + len(block.raw[0])],
            V.shape[1],
            len(V),
            mirror,
        )
        ends = [*range(start - start % SPAN_ROWS + SPAN_ROWS, problem.rows.n, SPAN_ROWS), problem.rows.n]
        spans = [Span(i, low, high) for i, (low, high) in enumerate(pairwise([start, *ends]))]
        folder = run.place.folder / self.name / "stripe"
        remove_tree(folder)  # what an interrupted run left there lacks its mirror
        total[:, stripe] += run.executor.run(work, problem.rows, spans, folder, self._advance)
        total[:, stripe.stop :] += mirror.products[:, stripe.stop :]

    def _advance(self, event: Event) -> None:
        """Of the events of a stripe, pass on the rows alone: one bar is shown for the whole sweep."""
        if isinstance(event, RowsDone):
            self.run.notify(event)


def start_vectors(run: Run, problem: Problem, source: ScoreSource, spans: list[Span]) -> NDArray[np.float64]:
    """The scores of approximate modes in memory, (n_kept, b), by a pass that starts afresh whenever it is run."""
    rows = problem.rows
    vectors = np.empty((rows.n_kept, source.k))

    def keep(first: int, scores: NDArray[np.float32]) -> None:
        part = slice(first, first + len(scores))
        low = rows.kept_before(first)
        compared = scores if rows.kept is None else scores[rows.kept[part]]
        vectors[low : low + len(compared)] = compared

    remove_tree(run.place.folder / "start")
    action = np.eye(source.k)
    work = score(source, action, n=rows.n, top=0, chunk_rows=CHUNK_ROWS, write=keep, local=True)
    run.sweep(replace(work, name="start"), rows, spans)
    return vectors


def refined(run: Run, problem: Problem, start: NDArray[np.float64]) -> VectorModes:
    """Take `options.refine` block Krylov steps of the exact operator from approximate modes, with Rayleigh–Ritz.

    Parameters
    ----------
    run : the run
    problem : what is compared
    start : (n_kept, b) approximate modes, some more than are wanted
    """
    options = problem.options
    operator = _Operator(run, problem, "refine")
    return exact_modes(operator.multiply, start, options.eta, options.n_modes, options.refine, run.pool.run)


def found_exactly(run: Run, problem: Problem) -> VectorModes:
    """Find the modes of the exact operator from nothing, to convergence; parameters as in `refined`."""
    options = problem.options
    operator = _Operator(run, problem, "exact")
    start = random_start(problem.rows.n_kept, options.n_modes)
    return exact_modes(operator.multiply, start, options.eta, options.n_modes, None, run.pool.run)


def sweeps_cost(name: str, dimensions: list[int], n: int, block: int, sweeps: int, read: int, threads: int) -> Cost:
    """State what some sweeps of the operator take.

    Parameters
    ----------
    name : what to call them
    dimensions : p of each embedding
    n : rows that take part
    block : vectors in one block
    sweeps : how many blocks are multiplied
    read : bytes of the embeddings
    threads : threads that compute
    """
    stripe = min(STRIPE_ROWS, n)
    one = products_cost(name, dimensions, stripe, block, n, read, threads)
    p, m = sum(dimensions), len(dimensions)
    visits = sweeps * n * (n + stripe) / 2
    blocks = 8 * n * block
    # The basis and the products, their mirror in float32, and what making a remainder orthogonal takes.
    held = (sweeps + m + m / 2 + 4) * blocks
    return Cost(
        name,
        memory=one.memory + int(held),
        operations=2.0 * visits * (p + 2 * m * block) + 4.0 * n * (sweeps * block) ** 2,
        speed=one.speed,
        elementary=0.7 * visits * m,
        read=int(read * visits / n / stripe),
        disk=sweeps * m * blocks,
    )
