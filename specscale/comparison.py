"""The method: pair → plan → covariance → solve → refine → scores → certify → result."""

from __future__ import annotations

from dataclasses import replace
from operator import index
from pathlib import Path
from typing import Any, cast

import numpy as np

from specscale.certifying import certified
from specscale.errors import OptionError
from specscale.options import Options
from specscale.passes.covariance import covariance
from specscale.passes.record import FeatureBuffers
from specscale.passes.scores import KnownScores, MappedScores, ScoreSource, score
from specscale.planning import Planner
from specscale.problem import Input, Problem, pair_inputs, pose, pose_again, pose_alike, repeated_rows
from specscale.refining import found_exactly, refined, start_vectors
from specscale.result import Result
from specscale.running import Cluster, Run, running
from specscale.runtime.checkpoints import Parts
from specscale.runtime.events import Noted, Notify
from specscale.runtime.local import Executor
from specscale.runtime.plan import Machine, Plan, Workers, parse_rows
from specscale.runtime.spans import full_spans
from specscale.runtime.workplace import Workplace
from specscale.spectral.constrained import solve_constrained
from specscale.spectral.difference import Modes, modes_of, solve_difference
from specscale.spectral.lanczos import GUARD, VectorModes
from specscale.spectral.tiles import TiledSymmetric
from specscale.stores.layout import CHUNK_ROWS
from specscale.updating import check_grown, take_up_parts
from specscale.writing import ResultWriter, standard_errors

__all__ = ["compare", "compare_again", "compare_constrained", "compare_grown", "plan"]


def compare(
    a: Input,
    b: Input,
    *,
    kernel: str = "gaussian",
    sigma: tuple[str | float, str | float] = ("auto", "auto"),
    eta: float = 1.0,
    normalize: str = "none",
    on_bad: str = "error",
    sample: int | None = None,
    features: str = "auto",
    size: int | None = None,
    n_modes: int = 10,
    top: int = 100,
    seed: int = 0,
    match: str | None = None,
    certify: int = 256,
    refine: int = 0,
    rotate: str = "none",
    landmarks: str = "uniform",
    memory: str | int | None = None,
    threads: int | None = None,
    executor: Executor | Cluster | Any = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Notify | None = None,
) -> Result:
    """Find the groups of samples that one embedding holds together and the other does not.

    The modes are the leading eigenvectors of Λη = (K_A − η K_B) / n (SPEC: Jalali, Dibaei Nia and Farnia, ICML
    2025), computed from the covariance of feature maps of the two kernels in two streaming passes; a third says with
    the exact kernels how far each mode can be believed.

    Parameters
    ----------
    a, b : the embeddings of the same samples: stores, arrays or memory maps (n, p), or files that ``ingest`` reads
    kernel : "gaussian" or "cosine"
    sigma : bandwidths of A and of B, each "auto" (top eigenvalue of K/n 0.15 on a sample), "median", "0.5*median",
        "top=0.14" or a number, in the units of the embedding after `normalize`
    eta : weight of B's kernel, ≥ 0
    normalize : "unit" to compare directions alone, or "none"
    on_bad : "error" to refuse rows with a NaN, an infinity or (where directions matter) zero norm, "drop" to leave them
        out of both embeddings
    sample : compare this many rows, drawn at random; None for all
    features : "landmarks" (auto), "orthogonal", "fourier" or "exact" for the Gaussian kernel, "linear" (auto),
        "landmarks" or "exact" for cosine; exact uses no feature map, in time that grows with the square of the rows
    size : landmarks, or frequencies of a Fourier map; by default as many landmarks as capture the leading modes of a
        sample to 0.99, at most 2000, or 1000 frequencies, or what fits in `memory`
    n_modes : modes in each direction
    top : members kept of each tail of each mode
    seed : seed of frequencies and samples
    match : "id" or "position"; by default by id when both embeddings have ids
    certify : rows of the certificate, 0 for none
    refine : block Krylov steps of the exact operator from the approximate modes; time grows with the square of the rows
    rotate : "varimax" to rotate the modes of each direction to localised groups, or "none"
    landmarks : how landmark rows are drawn, "uniform" or "pivoted" (randomly pivoted Cholesky)
    memory : what the process may hold, as "8G"; by default four fifths of what is free
    threads : threads that compute, all cores by default; the answer does not depend on it
    executor : what runs the passes: a ``distributed.Client`` of a Dask cluster, or this process by default
    out : the result directory; by default a temporary one, removed with the result object
    resume : take up an interrupted run in ``OUT.work``
    overwrite : replace an existing result
    progress : takes the events of the run

    Returns
    -------
    Result
        Up to n_modes modes for each direction, strongest |λ| first; none where no |λ| exceeds 1e-5.

    Raises
    ------
    SpecscaleError
        InputError, OptionError, PairingError, PlanError, ChangedError, ExistsError or ConvergenceError, each one line
        that names what is wrong and the remedy.
    """
    if isinstance(sigma, str | float | int) or len(sigma) != 2:
        raise OptionError(f"sigma is a pair, of A and of B, as ('auto', 2.0), not {sigma!r}")
    options = Options(
        kernel, sigma, eta, normalize, on_bad, sample, features, size, n_modes, top, seed, match, certify, refine,
        rotate, landmarks,
    )  # fmt: skip
    with running(Workplace(out, resume=resume, overwrite=overwrite), threads, executor, progress) as run:
        with run.step("pairing"):
            rows = pair_inputs((a, b), options, run.place.folder)
            rows = run.executor.ready(rows, run.place.folder, temporary=run.place.temporary)
        planner = Planner.of(rows, options, memory, run.pool)
        most = planner.largest_size()
        problem = pose(rows, options, most, run, repeated_rows(rows, run))
        plan = planner.plan(problem.maps)
        plan.check_disk(run.place.folder)
        run.notify(Noted(problem.choice))
        run.place.claim(problem.configuration())
        job = _Job(run, problem, plan, planner.machine)
        return job.result(job.covariance(), (a, b))


def compare_grown(
    result: Result,
    a: Input,
    b: Input,
    *,
    memory: str | int | None = None,
    threads: int | None = None,
    executor: Executor | Cluster | Any = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Notify | None = None,
) -> Result:
    """Compare embeddings to which rows were appended since an earlier result, with its bandwidths and feature maps.

    The covariance goes on from the partial sums that the result keeps: only the spans of new rows are accumulated, and
    the last one again if it was not full. What is found is, bit for bit, what a comparison of all rows with these maps
    finds.

    Parameters
    ----------
    result : the earlier result, whose options are kept
    a, b : the embeddings, with all rows
    memory, threads, executor, out, resume, overwrite, progress : as in :func:`compare`

    Raises
    ------
    ChangedError
        When the rows are not those of the result with others behind them.
    OptionError
        When the result compared a sample, or has no covariance.
    """
    options = Options.from_json(result.summary["options"])
    with running(Workplace(out, resume=resume, overwrite=overwrite), threads, executor, progress) as run:
        with run.step("pairing"):
            rows = pair_inputs((a, b), options, run.place.folder)
            check_grown(rows, result)
            rows = run.executor.ready(rows, run.place.folder, temporary=run.place.temporary)
        choice = f"bandwidths and maps of {result.path}, {result.summary['rows']['total']:,} of these rows"
        problem = pose_alike(rows, options, result, choice, repeated_rows(rows, run))
        planner = Planner.of(rows, options, memory, run.pool)
        plan = planner.plan(problem.maps)
        plan.check_memory("allow more with --memory")
        plan.check_disk(run.place.folder)
        run.notify(Noted(problem.choice))
        run.place.claim(problem.configuration())
        take_up_parts(result, run.place.folder / "covariance")
        job = _Job(run, problem, plan, planner.machine)
        return job.result(job.covariance(), (a, b))


def compare_again(result: Result, eta: float, out: str | Path | None = None) -> Result:
    """Solve for another η from the covariance of a result, and pass over the rows for the scores alone.

    Parameters
    ----------
    result : a result whose embeddings can still be read
    eta : weight of B's kernel, ≥ 0
    out : the new result directory, by default a temporary one

    Raises
    ------
    ChangedError
        When the embeddings are no longer those that were compared.
    """
    options = replace(Options.from_json(result.summary["options"]), eta=eta)
    with running(Workplace(out)) as run:
        job = _again(run, result, options)
        C = _covariance(result) if job.problem.maps else None
        return job.result(C, result.inputs())


def compare_constrained(result: Result, epsilon: float, n_groups: int, out: str | Path | None = None) -> Result:
    """Find groups that A holds together and B by no more than ε, from the covariance of a result and one more pass.

    Parameters
    ----------
    result : a result whose embeddings can still be read
    epsilon : largest b = uᵀ K_B u / n, in [0, 1)
    n_groups : groups wanted
    out : the new result directory, by default a temporary one

    Raises
    ------
    OptionError
        When ε or n_groups is out of range, or the result has no covariance.
    ChangedError
        When the embeddings are no longer those that were compared.
    """
    try:
        epsilon, n_groups = float(epsilon), index(n_groups)
    except (TypeError, ValueError):
        raise OptionError(f"epsilon and n_groups are numbers, not {epsilon!r} and {n_groups!r}") from None
    options = replace(Options.from_json(result.summary["options"]), refine=0, rotate="none")
    if options.features == "exact":
        raise OptionError(
            f"{result.path}: a result of --features exact keeps no covariance to search: compare with landmarks"
        )
    with running(Workplace(out)) as run:
        job = _again(run, result, options)
        C = _covariance(result)
        with run.step("solve"):
            found = solve_constrained(C, job.problem.d_a, epsilon, n_groups)
            modes = modes_of(C, job.problem.d_a, found.eta, found.coefficients, run.pool.run)
            modes = replace(modes, spec_diff=result.spec_diff)
        constraint = {"epsilon": epsilon, "mixed": np.flatnonzero(found.mixed).tolist()}
        return job.finished(job.problem.oriented(modes, run.kernels), C, result.inputs(), constraint)


def _covariance(result: Result) -> TiledSymmetric:
    """The covariance that a result keeps."""
    try:
        C = TiledSymmetric.from_dense(cast(Any, result.covariance))
    except (OSError, ValueError):
        raise result.damaged("the covariance is") from None
    if not np.isfinite(C.buffer.sum()):  # a chunk that is gone reads as NaN
        raise result.damaged("the covariance is")
    return C


def _again(run: Run, result: Result, options: Options) -> _Job:
    """Work on the embeddings of a result, with its kernels and maps."""
    a, b = result.inputs()
    rows = pair_inputs((a, b), options, run.place.folder)
    problem = pose_again(rows, options, result)
    planner = Planner.of(rows, options, None, run.pool)
    return _Job(run, problem, planner.plan(problem.maps), planner.machine)


class _Job:
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
        self._buffers = FeatureBuffers(run.kernels, problem.maps)

    def covariance(self) -> TiledSymmetric | None:
        """C of the concatenated features; None where there are none."""
        maps, kernels = self.problem.maps, self.run.kernels
        if not maps:
            return None
        full = full_spans(self.problem.rows.n, self.plan.d, CHUNK_ROWS)
        parts = Parts(self.run.place.folder / "result" / "parts", full)
        return self.run.sweep(covariance(maps, kernels, self._buffers), self.problem.rows, self.plan.spans, parts)

    def result(self, C: TiledSymmetric | None, inputs: tuple[Input, Input]) -> Result:
        """From the covariance to the result on disk."""
        return self.finished(self.modes(C), C, inputs)

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
        if options.rotate == "varimax":
            modes = problem.localised(modes, run.kernels)
        return problem.oriented(modes, run.kernels)

    def finished(
        self,
        modes: Modes | VectorModes,
        C: TiledSymmetric | None,
        inputs: tuple[Input, Input],
        constraint: dict[str, Any] | None = None,
    ) -> Result:
        """From the modes to the result on disk: scores, certificate, summary."""
        run, problem, rows = self.run, self.problem, self.problem.rows
        writer = ResultWriter(run.place.folder / "result", rows.n, modes)
        if C is not None:
            writer.covariance(C)
        source: ScoreSource = KnownScores(modes.vectors) if isinstance(modes, VectorModes) else self._mapped(modes)
        top = min(problem.options.top, rows.n_kept)
        scores = score(source, run.kernels, modes.action, n=rows.n, top=top, chunk_rows=CHUNK_ROWS, write=writer.scores)
        tails = run.sweep(scores, rows, self.plan.spans)
        se = standard_errors(modes, tails, rows.n_kept)
        checks = certified(run, problem, self.plan.spans, modes, se, writer.read_scores)
        writer.members(tails, rows)
        writer.summary(run, problem, tails, se, checks, self.plan, self.machine, constraint)
        run.place.publish(writer.folder)
        return Result.of(run.place.out, inputs, temporary=run.place.temporary)

    def _mapped(self, modes: Modes) -> MappedScores:
        problem = self.problem
        return MappedScores(problem.maps, self.run.kernels, modes.coefficients, problem.rows.n_kept, self._buffers)


def plan(
    a: Input,
    b: Input,
    *,
    memory: str | int | None = None,
    threads: int | None = None,
    rows: str | float | None = None,
    workers: int | None = None,
    rate: str | float | None = None,
    **options: Any,
) -> tuple[Plan, Machine]:
    """Plan a comparison without running it: bandwidths and the number of landmarks are chosen, no pass is made.

    Parameters
    ----------
    a, b : the embeddings, as in :func:`compare`
    memory, threads : as in :func:`compare`; those of each worker of a cluster
    rows : plan for this many rows like those of `a` and `b`, as 10**9 or "1e9"
    workers : plan for so many workers of a cluster
    rate : single-precision operations a second of one worker, as 3e13 or "30T"; by default what this machine does
    **options : the options of :func:`compare` that decide its answer

    Returns
    -------
    plan : Plan
        Spans, memory, disk and operations.
    machine : Machine
        Rates from a short calibration; ``plan.seconds(machine)`` is the expected time of each step.

    Raises
    ------
    SpecscaleError
        As :func:`compare`, for what can be known before the passes.
    """
    chosen = Options(**options)
    count, cluster = None if rows is None else parse_rows(rows), Workers.of(workers, rate)
    with running(Workplace(None), threads) as run:
        paired = pair_inputs((a, b), chosen, run.place.folder)
        planner = Planner.of(paired, chosen, memory, run.pool)
        if count or cluster:
            planner = planner.projected(count, cluster, memory)
        problem = pose(paired, chosen, planner.largest_size(), run)
        run.place.leave()
        return planner.plan(problem.maps), planner.machine
