"""What is left of the rows without the groups found so far, and its modes, whose ends lead to what others hid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.layout import CHUNK_ROWS, chunk_runs
from specscale.embeddings.rows import PairedRows
from specscale.grid import BLOCK_ROWS
from specscale.method.certifying import ReadScores
from specscale.method.problem import Problem
from specscale.method.refining import exact_cost, found_exactly
from specscale.method.run import Run
from specscale.method.steps import ProblemSize, Step, covariance_of_maps, held_beside
from specscale.passes.covariance import covariance
from specscale.passes.scores import MappedScores, score, score_cost
from specscale.places.files import Location
from specscale.results.group_writer import likeness_of_rows
from specscale.runtime.row_arrays import RowArray
from specscale.runtime.spans import Span
from specscale.runtime.sweeper import RING
from specscale.spectral.difference import Modes, solve_cost, solve_difference
from specscale.spectral.lanczos import VectorModes
from specscale.spectral.tiles import TiledSymmetric

__all__ = ["Rest", "masks_held", "rest_steps", "step_of_round"]


class Rest:
    """The rows that are of no group so far.

    Where there are feature maps the modes are those of the maps that there are, as they were before any refinement,
    and else those of the kernels themselves; η is that of the options.

    Parameters
    ----------
    run : the run
    problem : what is compared
    spans : the runs of rows that are checkpointed
    grouped : (n,) bool, the rows of A that are of groups
    number : of the round, from 2 on
    folder : keeps what is in progress

    Attributes
    ----------
    rows : the rows
    modes : their modes
    read : gives the scores of these, NaN where a row does not take part
    """

    modes: Modes | VectorModes
    read: ReadScores
    _C: TiledSymmetric

    def __init__(
        self, run: Run, problem: Problem, spans: list[Span], grouped: NDArray[np.bool_], number: int, folder: Location
    ) -> None:
        rows = problem.rows
        self.rows: PairedRows = replace(rows, kept=~grouped if rows.kept is None else rows.kept & ~grouped)
        self._run, self._problem, self._spans = run, replace(problem, rows=self.rows), spans
        self._number, self._folder = number, folder

    def accumulate(self) -> None:
        """Find the covariance of their features."""
        work = replace(covariance(self._problem.maps), name=self._step("covariance"), verifies=False)
        self._C = self._run.sweep(work, self.rows, self._spans, folder=self._folder / "covariance")

    def solve(self) -> None:
        """Find their modes, but for those that rounding may have made."""
        problem, options = self._problem, self._problem.options
        found = solve_difference(self._C, problem.d_a, options.eta, options.n_modes, self._run.pool.run)
        self.modes = found.certain()
        del self._C

    def score(self) -> None:
        """Find their scores."""
        modes, rows, problem = self.modes, self.rows, self._problem
        assert isinstance(modes, Modes)
        edges = (*(start for start, _ in chunk_runs(rows.n)), rows.n)
        scores = RowArray(self._folder / "scores", edges, (len(modes.eigenvalues),), "float32")
        source = MappedScores(problem.maps, modes.coefficients, rows.n_kept)
        work = score(source, modes.action, n=rows.n, top=0, chunk_rows=CHUNK_ROWS, write=scores.write)
        work = replace(work, name=self._step("scores"))
        self._run.sweep_beside(work, rows, self._spans, self._folder / "scores", scores)
        self.read = scores.read

    def find_exactly(self) -> None:
        """Find the modes of their kernels, which are their scores as well."""
        modes = found_exactly(self._run, self._problem, self._step("exact"), self._folder / "exact")
        self.modes = modes
        self.read = likeness_of_rows(lambda low, high: modes.vectors[low:high].astype(np.float32), self.rows)

    def _step(self, name: str) -> str:
        return step_of_round(name, self._number)


def step_of_round(name: str, number: int) -> str:
    """What a step of a round of the search for groups is called."""
    return name if number == 1 else f"{name}, round {number}"


def masks_held(extent: ProblemSize) -> int:
    """Bytes of what says which rows are left, and of the blocks that such rows are gathered in."""
    return 3 * extent.n + RING * min(BLOCK_ROWS, extent.n) * -(-extent.read // extent.n)


def rest_steps(extent: ProblemSize, number: int, held: int) -> list[Step[Rest]]:
    """The steps to the modes of what is left in some round, and to their scores; `held` bytes are of rounds before."""
    # The covariance of all rows, and modes that are vectors, stay in memory.
    beside = extent.vectors + extent.tiles + masks_held(extent) + held

    def of(cost: Cost, more: int = 0) -> Cost:
        return held_beside(replace(cost, name=step_of_round(cost.name, number)), beside + more)

    if not extent.maps:
        return [Step(of(exact_cost(extent)), Rest.find_exactly)]
    scoring = score_cost(
        *(extent.maps, extent.n, extent.n_kept, extent.read, 2 * extent.modes, CHUNK_ROWS, extent.threads),
        precision=extent.precision,
    )
    return [
        Step(of(covariance_of_maps(extent)), Rest.accumulate),
        Step(of(solve_cost(extent.d, extent.modes), extent.features), Rest.solve),
        Step(of(scoring), Rest.score),
    ]
