"""A comparison under way: covariance → modes → scores → certificate → result, each a step of the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.errors import InputError
from specscale.features.landmarks import LandmarkMap
from specscale.method.certifying import certified, far_rows
from specscale.method.grouping import GroupSearch, further_rounds, groups_cost
from specscale.method.job import Job
from specscale.method.judging import certain_modes, warn_unsettled
from specscale.method.modes import localised, oriented
from specscale.method.preparation import choosing, looking
from specscale.method.refining import (
    exact_cost,
    found_exactly,
    known_scores,
    refined,
    refinement_cost,
    start_vectors,
)
from specscale.method.rounding import rounding_cost
from specscale.method.steps import ProblemSize, Step, Steps, covariance_of_maps, held_beside, tails_held
from specscale.method.summary import how_it_went, mode_records, standard_errors, what_was_compared
from specscale.passes.base import Pass, at_once
from specscale.passes.covariance import covariance
from specscale.passes.products import products_cost
from specscale.passes.remainders import Drawn, far_draws, remainders_cost
from specscale.passes.scores import MappedScores, ScoreSource, ScoreSummary, score, score_cost
from specscale.passes.stripes import stripe_rooms
from specscale.places.files import remove_tree
from specscale.results.schema import ComparisonRecord, ConstraintRecord
from specscale.results.writing import ResultWriter
from specscale.runtime.checkpoints import Parts
from specscale.runtime.events import Noted
from specscale.runtime.spans import full_spans
from specscale.spectral.certificate import Certificate
from specscale.spectral.difference import Modes, check_possible, solve_cost, solve_difference
from specscale.spectral.lanczos import GUARD, VectorModes
from specscale.spectral.tiles import TiledSymmetric

__all__ = ["Comparison", "comparison_steps", "computing", "from_covariance", "solving"]

_SCORES = ("scores", "normalised")  # the pass that makes them, and the one that makes them of unit length


class Comparison(Job):
    """A comparison of two embeddings that is under way.

    Attributes
    ----------
    C : the covariance of the concatenated features; None where there are none
    found : the modes as they were solved for, some more than are wanted, to be refined
    start : their scores, (n_kept, b)
    constraint : what the modes were held to, or None
    tails, se : what the scores pass tells of each mode, and the standard error of its λ
    drawn : rows that landmarks are far from, or None
    checks : the certificate, or None
    groups : the search for groups, or None where they are not looked for
    """

    C: TiledSymmetric | None = None
    found: Modes
    start: NDArray[np.float64]
    constraint: ConstraintRecord | None = None
    tails: ScoreSummary
    se: NDArray[np.float64]
    drawn: Drawn | None
    checks: Certificate | None = None
    groups: GroupSearch | None = None

    def accumulate(self) -> None:
        """Find C of the concatenated features."""
        run, problem = self.run, self.problem
        full = full_spans(problem.rows.n, self.plan.d, CHUNK_ROWS)
        parts = Parts(run.place.result / "parts", full)
        self.C = run.sweep(covariance(problem.maps), problem.rows, self.plan.spans, parts)
        if lost := parts.lost():
            run.warn(
                f"partial sums of {lost} of {full} full spans are gone from the work directory: the result is as it "
                "should be, but an update of it passes over these rows again"
            )

    def solve(self) -> None:
        """Find the modes from C."""
        self.settle(certain_modes(self.run, self._solved(self.problem.options.n_modes)))

    def solve_roughly(self) -> None:
        """Find modes from C that are to be refined, some more than are wanted."""
        self.found = self._solved(self.problem.options.n_modes + GUARD)

    def _solved(self, wanted: int) -> Modes:
        assert self.C is not None
        return solve_difference(self.C, self.problem.d_a, self.problem.options.eta, wanted, self.run.pool.run)

    def begin_refining(self) -> None:
        """Bring the scores of the modes that are to be refined into memory."""
        self.start = start_vectors(self.run, self.problem, self._mapped(self.found), self.plan.spans)
        del self.found

    def refine(self) -> None:
        """Refine the modes by the exact operator."""
        start = self.start
        del self.start
        self.settle(refined(self.run, self.problem, start))

    def find_exactly(self) -> None:
        """Find the modes of the exact operator from nothing."""
        self.settle(found_exactly(self.run, self.problem))

    def settle(self, modes: Modes | VectorModes) -> None:
        """Take modes for those of the result, when they are possible; rotated where asked for."""
        run, problem = self.run, self.problem
        check_possible(modes.eigenvalues, modes.eta)
        warn_unsettled(run, modes)
        if problem.options.rotate == "varimax":
            modes = localised(problem, modes, run.kernels)
        self.modes = oriented(problem, modes, run.kernels)

    def score(self) -> None:
        """Write the scores, and make them anew where they cannot be read back."""
        run, rows, modes = self.run, self.problem.rows, self.modes
        self.writer = writer = ResultWriter(run.place.result, rows.n, modes)
        if self.C is not None:
            writer.covariance(self.C)
        self.tails, self.drawn = self._scored(modes, writer)
        if not writer.holds(self.tails):
            run.notify(Noted("scores that an interrupted run had written are gone or damaged: they are made anew"))
            for name in (*_SCORES, "certificate"):
                remove_tree(run.place.folder / name)
            writer.clear_scores()
            self.tails, self.drawn = self._scored(modes, writer)
            if not writer.holds(self.tails):
                raise InputError(
                    f"{writer.folder}: the scores cannot be read back as they were written: check the disk, or put "
                    "the result elsewhere"
                )
        self.se = standard_errors(modes, self.tails, rows.n_kept)

    def certify(self) -> None:
        """Hold the modes against the exact kernels."""
        read = self.writer.read_scores
        self.checks = certified(self.run, self.problem, self.plan.spans, self.modes, self.se, read, self.drawn)

    def group(self) -> None:
        """Find the groups around the ends of the modes."""
        self.groups = GroupSearch(self.run, self.problem, self.plan.spans)
        self.groups.find(self.modes, self.writer.read_scores)

    def finish(self) -> None:
        """Take all steps, write what they have found and give the result its name."""
        self.compute()
        run, problem, writer = self.run, self.problem, self.writer
        if self.groups:
            self.groups.write(writer)
        writer.members(self.tails, problem.rows)
        writer.maps(problem.parameters(), [one.arrays() for one in problem.maps], "ab")
        writer.summary(
            ComparisonRecord(
                **vars(what_was_compared(problem, "ab")),
                spec_diff=self.modes.spec_diff,
                constraint=self.constraint,
                modes=mode_records(self.modes, self.tails, self.se, self.checks),
                groups=None if self.groups is None else self.groups.records,
                **vars(how_it_went(run, self.plan, self.machine, self.rounding)),
            )
        )
        run.place.publish(writer.folder)

    def _scored(self, modes: Modes | VectorModes, writer: ResultWriter) -> tuple[ScoreSummary, Drawn | None]:
        """Write the scores, of unit length; meanwhile rows are drawn that landmarks are far from."""
        run, rows, spans = self.run, self.problem.rows, self.plan.spans
        first, again = _SCORES
        if isinstance(modes, VectorModes):
            known = known_scores(run, modes.vectors)
            return run.sweep(self._scores(modes, known, writer, first), rows, spans), None
        work, far, drawn = self._scores(modes, self._mapped(modes), writer, first), far_rows(run, self.problem), None
        if far is None:
            tails = run.sweep(work, rows, spans)
        else:
            tails, drawn = run.sweep(at_once(work, far), rows, spans)
        if not tails.normed:
            lengths = np.sqrt(tails.squares)
            writer.coefficients(modes.scaled(1 / lengths))
            tails = run.sweep(self._scores(modes, self._mapped(modes, lengths), writer, again), rows, spans)
        return tails, drawn

    def _scores(
        self, modes: Modes | VectorModes, source: ScoreSource, writer: ResultWriter, name: str
    ) -> Pass[ScoreSummary]:
        """The scores pass, under a name of its own."""
        rows = self.problem.rows
        work = score(
            source,
            modes.action,
            n=rows.n,
            top=min(self.problem.options.top, rows.n_kept),
            chunk_rows=CHUNK_ROWS,
            write=writer.scores,
        )
        return replace(work, name=name)

    def _mapped(self, modes: Modes, lengths: NDArray[np.float64] | None = None) -> MappedScores:
        problem = self.problem
        return MappedScores(problem.maps, modes.coefficients, problem.rows.n_kept, lengths)


def comparison_steps(extent: ProblemSize) -> Steps:
    """The steps of a comparison."""
    return Steps(looking(extent), choosing(extent), computing(extent))


def computing(extent: ProblemSize) -> tuple[Step[Comparison], ...]:
    """The steps from the feature maps on, or from the kernels where there are none."""
    if not extent.maps:
        return from_covariance(extent)
    return (Step(covariance_of_maps(extent), Comparison.accumulate), *from_covariance(extent))


def from_covariance(extent: ProblemSize) -> tuple[Step[Comparison], ...]:
    """The steps from the covariance on, or from the kernels where there are no feature maps."""
    options = extent.options
    steps: list[Step[Comparison]] = []
    if not extent.maps:
        steps.append(Step(exact_cost(extent), Comparison.find_exactly))
    elif options.refine:
        steps.append(Step(solving(extent, GUARD), Comparison.solve_roughly))
        steps.append(Step(_start(extent), Comparison.begin_refining))
        steps.append(Step(refinement_cost(extent), Comparison.refine))
    else:
        steps.append(Step(solving(extent), Comparison.solve))
    found = len(steps)
    steps.append(Step(_scoring(extent), Comparison.score))
    if options.certify:
        steps.append(Step(_certificate(extent), Comparison.certify))
    if options.rounds:
        steps.append(Step(groups_cost(extent), Comparison.group))
        steps += [Step(one.cost, _of_groups(one.action)) for one in further_rounds(extent)]
    if extent.precision != "float32":
        mapped = bool(extent.maps) and not options.refine
        cost = rounding_cost(extent, 2 * extent.modes, mapped, [step.cost for step in steps[found:]])
        steps.append(Step(cost, Comparison.measure_rounding))
    return tuple(steps)


def _of_groups(action: Callable[[GroupSearch], None]) -> Callable[[Comparison], None]:
    """What is done to a comparison where something is done to its search for groups."""

    def act(job: Comparison) -> None:
        assert job.groups is not None
        action(job.groups)

    return act


def solving(extent: ProblemSize, more: int = 0) -> Cost:
    """What finding the modes from the covariance takes, and some more than are wanted."""
    cost = solve_cost(extent.d, extent.modes + more)
    return replace(cost, memory=cost.memory + extent.features)


def _start(extent: ProblemSize) -> Cost:
    n_kept, block = extent.n_kept, extent.block
    cost = score_cost(
        extent.maps, extent.n, n_kept, extent.read, block, CHUNK_ROWS, extent.threads, precision=extent.precision
    )
    return held_beside(replace(cost, name="start"), extent.tiles + 8 * n_kept * block)


def _scoring(extent: ProblemSize) -> Cost:
    n_kept, k, vectors = extent.n_kept, 2 * extent.modes, extent.vectors
    maps = () if vectors else extent.maps
    cost = score_cost(maps, extent.n, n_kept, extent.read, k, CHUNK_ROWS, extent.threads, extent.top, extent.precision)
    asked = min(extent.options.certify, n_kept)
    if asked and extent.options.features == "landmarks" and not vectors and n_kept > asked:
        draws = far_draws(asked, len(extent.dimensions))
        size = max(len(one.rows) for one in maps if isinstance(one, LandmarkMap))
        cost = _at_once(cost, remainders_cost(extent.dimensions, size, n_kept, draws, extent.threads))
    cost = replace(cost, memory=cost.memory + tails_held(k, extent.top))
    if vectors:
        rooms = stripe_rooms(len(extent.dimensions), n_kept, extent.block)
        cost = replace(cost, memory=max(cost.memory, rooms))
    return held_beside(cost, extent.tiles + (vectors + extent.features if vectors else 0))


def _certificate(extent: ProblemSize) -> Cost:
    k, asked = 2 * extent.modes, min(extent.options.certify, extent.n_kept)
    read = extent.read + extent.n * k * 4
    cost = products_cost("certificate", extent.dimensions, asked, k, extent.n_kept, read, extent.threads)
    return held_beside(extent.slowed(cost), extent.vectors + extent.features + extent.tiles)


def _at_once(first: Cost, second: Cost) -> Cost:
    """The cost of two passes as one, under the name of the first; the rows are read once."""
    return replace(
        first,
        memory=first.memory + second.memory,
        operations=first.operations + second.operations,
        elementary=first.elementary + second.elementary,
        partial=first.partial + second.partial,
    )
