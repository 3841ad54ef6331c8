"""The exact n × n difference operator, multiplied stripe by stripe and never stored: refined and exact modes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.passes.products import products, products_cost
from specscale.passes.scores import ScoreSource, score
from specscale.problem import Problem
from specscale.running import Run
from specscale.runtime.checkpoints import load_arrays, save_arrays
from specscale.runtime.events import Event, PassFinished, PassStarted, RowsDone
from specscale.runtime.spans import Span
from specscale.spectral.lanczos import VectorModes, exact_modes, random_start
from specscale.stores.layout import CHUNK_ROWS

__all__ = ["found_exactly", "refined", "start_vectors", "sweeps_cost"]

STRIPE_ROWS = 8192


@dataclass
class _Operator:
    """K_A / n and K_B / n, as products with blocks of vectors over the rows that take part.

    A stripe of rows is held in memory as anchors while all rows pass by; its products are kept on disk, so that an
    interrupted run goes on at the stripe it was at.
    """

    run: Run
    problem: Problem
    spans: list[Span]
    name: str

    def multiply(self, V: NDArray[np.float64], number: int) -> NDArray[np.float64]:
        """Products (2, n, b) of both operators with block `number` (n, b)."""
        rows = self.problem.rows
        folder = self.run.place.work / self.name
        folder.mkdir(exist_ok=True)
        out = np.empty((len(rows.embeddings), *V.shape))
        stripes = [slice(low, min(low + STRIPE_ROWS, len(V))) for low in range(0, len(V), STRIPE_ROWS)]
        finished = [folder / f"{number}-{i}.node" for i in range(len(stripes))]
        label = f"{self.name}, sweep {number + 1}"
        done = sum(path.exists() for path in finished)
        with self.run.step(label):
            self.run.notify(PassStarted(label, rows.n * len(stripes), rows.n * done))
            for stripe, path in zip(stripes, finished, strict=True):
                known = load_arrays(path) if path.exists() else None
                out[:, stripe] = self._stripe(V, stripe, path) if known is None else known["products"]
        self.run.notify(PassFinished(label, self.run.seconds[label]))
        return out

    def _stripe(self, V: NDArray[np.float64], stripe: slice, path: Path) -> NDArray[np.float64]:
        run, problem = self.run, self.problem
        raw = problem.rows.take(np.arange(stripe.start, stripe.stop))
        anchors = tuple(one.anchors(run.kernels, x) for one, x in zip(problem.exact, raw, strict=True))
        work = products(
            path.stem,
            problem.exact,
            anchors,
            run.kernels,
            lambda block: V[block.offset : block.offset + len(block.raw[0])],
            V.shape[1],
            len(V),
        )
        folder = path.with_suffix(".parts")
        found = run.executor.run(work, problem.rows, self.spans, folder, self._advance)
        save_arrays(path, {"products": found})
        shutil.rmtree(folder)
        return found

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
        low = first if rows.kept is None else int(np.count_nonzero(rows.kept[:first]))
        compared = scores if rows.kept is None else scores[rows.kept[part]]
        vectors[low : low + len(compared)] = compared

    shutil.rmtree(run.place.work / "start", ignore_errors=True)
    action = np.eye(source.k)
    work = score(source, run.kernels, action, n=rows.n, top=0, chunk_rows=CHUNK_ROWS, write=keep)
    run.sweep(replace(work, name="start"), rows, spans)
    return vectors


def refined(run: Run, problem: Problem, start: NDArray[np.float64], spans: list[Span]) -> VectorModes:
    """Take `options.refine` block Krylov steps of the exact operator from approximate modes, with Rayleigh–Ritz.

    Parameters
    ----------
    run : the run
    problem : what is compared
    start : (n_kept, b) approximate modes, some more than are wanted
    spans : the runs of rows that are checkpointed
    """
    options = problem.options
    operator = _Operator(run, problem, spans, "refine")
    return exact_modes(operator.multiply, start, options.eta, options.n_modes, options.refine, run.pool.run)


def found_exactly(run: Run, problem: Problem, spans: list[Span]) -> VectorModes:
    """Find the modes of the exact operator from nothing, to convergence; parameters as in `refined`."""
    options = problem.options
    operator = _Operator(run, problem, spans, "exact")
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
    one = products_cost(name, dimensions, stripe, block, n, read, threads, sweeps * n / stripe)
    blocks = 8 * n * block
    held = (sweeps + 6) * blocks  # the basis, the products, and what orthogonalising takes
    return Cost(
        name,
        memory=one.memory + held,
        operations=one.operations + 4.0 * n * (sweeps * block) ** 2,
        speed=one.speed,
        elementary=one.elementary,
        read=one.read,
        disk=2 * sweeps * blocks,
    )
