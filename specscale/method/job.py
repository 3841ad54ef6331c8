"""A comparison under way: covariance → modes → scores → certificate → result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.layout import CHUNK_ROWS
from specscale.errors import InputError
from specscale.method.certifying import certified, far_rows
from specscale.method.problem import Problem
from specscale.method.refining import found_exactly, refined, start_vectors
from specscale.method.run import Run
from specscale.method.summary import how_it_went, mode_records, standard_errors, what_was_compared
from specscale.passes.base import Pass, at_once
from specscale.passes.covariance import covariance
from specscale.passes.remainders import Drawn
from specscale.passes.scores import KnownScores, MappedScores, ScoreSource, ScoreSummary, score
from specscale.places.files import remove_tree
from specscale.results.comparison import LEFT_OUT
from specscale.results.schema import ComparisonRecord, ConstraintRecord
from specscale.results.writing import ResultWriter
from specscale.runtime.checkpoints import Parts
from specscale.runtime.events import Noted
from specscale.runtime.machine import Machine, Plan
from specscale.runtime.spans import full_spans
from specscale.spectral.difference import DOUBTFUL, Modes, check_possible, solve_difference
from specscale.spectral.lanczos import GUARD, VectorModes
from specscale.spectral.tiles import TiledSymmetric

__all__ = ["Job", "certain_modes", "claim", "warn_unsettled"]

_NAMED = 5  # modes in a warning
_LATE = ("n_modes", "eta", "top", "certify", "refine", "rotate")  # options that the covariance does not know
_USUAL = {"backend": "cpu"}
_SCORES = ("scores", "normalised")  # the pass that makes them, and the one that makes them of unit length
_LATER = (*_SCORES, "certificate", "start", "refine")  # passes after it


def claim(run: Run, problem: Problem, beside: dict[str, Any] | None = None, *, afresh: bool = False) -> None:
    """Record what a run computes; one that is taken up may differ in what comes after the covariance.

    Parameters
    ----------
    run : the run
    problem : what is compared
    beside : what else decides the answer
    afresh : whether nothing comes before that, so that a run that differs begins afresh

    Raises
    ------
    ChangedError
        When the interrupted run had other options or inputs.
    """
    backend = {"backend": run.kernels.name}
    configuration = {**problem.options.to_json(), **(beside or {}), **problem.configuration(), **backend}
    before = run.place.interrupted() or {}
    late = [*before, *configuration] if afresh else _LATE if problem.maps else ()
    run.place.claim(configuration, late, _LATER, _USUAL)


def certain_modes(run: Run, modes: Modes, pair: str = "") -> Modes:
    """The modes that are results: those that the rounding of the covariance cannot have made.

    Parameters
    ----------
    run : the run, whose user is told of the others
    modes : the modes, as they were solved for
    pair : what to name before them, where there are several pairs
    """
    kept = modes.certain()
    lost = len(modes.eigenvalues) - len(kept.eigenvalues)
    if lost:
        strongest = np.abs(modes.eigenvalues[~(modes.doubt <= DOUBTFUL)]).max()
        run.warn(
            f"{pair}{lost} mode{'s' * (lost > 1)} with |λ| of up to {strongest:.2g} {LEFT_OUT} of the "
            "covariance may have made as much: what is there shows with --refine 1 or --features exact, or where the "
            "kernels are less alike all over (a smaller --sigma, --normalize centre) and --eta is nearer to 1"
        )
    return kept


def warn_unsettled(run: Run, modes: Modes | VectorModes, pair: str = "") -> None:
    """Say which modes the eigensolver left further from an eigenvector than it should.

    Parameters
    ----------
    run : the run
    modes : the modes, as they were solved for
    pair : what to name before them, where there are several pairs
    """
    if modes.unsettled:
        which = list(modes.unsettled)
        named = ", ".join(
            f"{i} (λ = {modes.eigenvalues[i]:+.5f}, residual {modes.residuals[i]:.1e})" for i in which[:_NAMED]
        )
        more = f" and {len(which) - _NAMED} more" if len(which) > _NAMED else ""
        run.warn(
            f"{pair}the eigensolver stopped before these modes had converged: {named}{more}: their λ may be off by the "
            "residual; where eigenvalues all but tie, another --modes that cuts no cluster of them converges"
        )


class Job:
    """A comparison that has been planned.

    Parameters
    ----------
    run : the run
    problem : what is compared
    plan : what it takes
    machine : what the calibration found
    """

    def __init__(self, run: Run, problem: Problem, plan: Plan, machine: Machine) -> None:
        self.run, self.problem, self.plan, self.machine = run, problem, plan, machine

    def covariance(self) -> TiledSymmetric | None:
        """C of the concatenated features; None where there are none."""
        maps = self.problem.maps
        if not maps:
            return None
        full = full_spans(self.problem.rows.n, self.plan.d, CHUNK_ROWS)
        parts = Parts(self.run.place.result / "parts", full)
        C = self.run.sweep(covariance(maps), self.problem.rows, self.plan.spans, parts)
        if lost := parts.lost():
            self.run.warn(
                f"partial sums of {lost} of {full} full spans are gone from the work directory: the result is as it "
                "should be, but an update of it passes over these rows again"
            )
        return C

    def result(self, C: TiledSymmetric | None) -> None:
        """From the covariance to the result on disk."""
        self.finished(self.modes(C), C)

    def modes(self, C: TiledSymmetric | None) -> Modes | VectorModes:
        """The modes: from C, refined where that is asked for, or from the exact kernels; rotated where asked for."""
        run, problem, options = self.run, self.problem, self.problem.options
        modes: Modes | VectorModes
        if C is None:
            modes = found_exactly(run, problem)
        else:
            with run.step("solve"):
                wanted = options.n_modes + (GUARD if options.refine else 0)
                modes = solve_difference(C, problem.d_a, options.eta, wanted, run.pool.run)
            if options.refine:
                start = start_vectors(run, problem, self._mapped(modes), self.plan.spans)
                modes = refined(run, problem, start)
            else:
                modes = certain_modes(run, modes)
        check_possible(modes.eigenvalues, modes.eta)
        warn_unsettled(run, modes)
        if options.rotate == "varimax":
            modes = problem.localised(modes, run.kernels)
        return problem.oriented(modes, run.kernels)

    def finished(
        self,
        modes: Modes | VectorModes,
        C: TiledSymmetric | None,
        constraint: ConstraintRecord | None = None,
    ) -> None:
        """From the modes to the result on disk: scores, certificate, summary."""
        run, problem, rows = self.run, self.problem, self.problem.rows
        writer = ResultWriter(run.place.result, rows.n, modes)
        if C is not None:
            writer.covariance(C)
        tails, far = self._scored(modes, writer)
        if not writer.holds(tails):
            run.notify(Noted("scores that an interrupted run had written are gone or damaged: they are made anew"))
            for name in (*_SCORES, "certificate"):
                remove_tree(run.place.folder / name)
            writer.clear_scores()
            tails, far = self._scored(modes, writer)
            if not writer.holds(tails):
                raise InputError(
                    f"{writer.folder}: the scores cannot be read back as they were written: check the disk, or put "
                    "the result elsewhere"
                )
        se = standard_errors(modes, tails, rows.n_kept)
        checks = certified(run, problem, self.plan.spans, modes, se, writer.read_scores, far)
        writer.members(tails, rows)
        writer.maps(problem.parameters(), [one.arrays() for one in problem.maps], "ab")
        writer.summary(
            ComparisonRecord(
                **vars(what_was_compared(problem, "ab")),
                spec_diff=modes.spec_diff,
                constraint=constraint,
                modes=mode_records(modes, tails, se, checks),
                **vars(how_it_went(run, self.plan, self.machine)),
            )
        )
        run.place.publish(writer.folder)

    def _scored(self, modes: Modes | VectorModes, writer: ResultWriter) -> tuple[ScoreSummary, Drawn | None]:
        """Write the scores, of unit length; meanwhile rows are drawn that landmarks are far from."""
        run, rows, spans = self.run, self.problem.rows, self.plan.spans
        first, again = _SCORES
        if isinstance(modes, VectorModes):
            return run.sweep(self._scores(modes, KnownScores(modes.vectors), writer, first), rows, spans), None
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
            local=isinstance(modes, VectorModes),
        )
        return replace(work, name=name)

    def _mapped(self, modes: Modes, lengths: NDArray[np.float64] | None = None) -> MappedScores:
        problem = self.problem
        return MappedScores(problem.maps, modes.coefficients, problem.rows.n_kept, lengths)
