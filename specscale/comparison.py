"""The method: pair → plan → covariance → solve → scores → result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from specscale.options import Options
from specscale.passes.covariance import covariance
from specscale.passes.record import FeatureBuffers
from specscale.passes.scores import score
from specscale.planning import Sized, sized_plan
from specscale.problem import Input, Problem, pair_inputs, pose, pose_again
from specscale.result import Result
from specscale.running import Run, running
from specscale.runtime.events import Notify
from specscale.runtime.local import Executor
from specscale.runtime.plan import Machine, Plan
from specscale.runtime.workplace import Workplace
from specscale.spectral.difference import solve_difference
from specscale.spectral.tiles import TiledSymmetric
from specscale.stores.layout import CHUNK_ROWS
from specscale.writing import ResultWriter

__all__ = ["compare", "compare_again", "plan"]


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
    certify: int = 0,
    memory: str | int | None = None,
    threads: int | None = None,
    executor: Executor | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Notify | None = None,
) -> Result:
    """Find the groups of samples that one embedding holds together and the other does not.

    The modes are the leading eigenvectors of Λη = (K_A − η K_B) / n (SPEC: Jalali, Bahar Dibaei Nia and Farnia, ICML
    2025), computed from the covariance of feature maps of the two kernels in two streaming passes.

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
    features : "auto", "orthogonal" or "fourier" for the Gaussian kernel, "linear" for cosine
    size : frequencies of a Fourier map; by default 1000, or what fits in `memory`
    n_modes : modes in each direction
    top : members kept of each tail of each mode
    seed : seed of frequencies and samples
    match : "id" or "position"; by default by id when both embeddings have ids
    certify : rows of the certificate, 0 for none
    memory : what the process may hold, as "8G"; by default four fifths of what is free
    threads : threads that compute, all cores by default; the answer does not depend on it
    executor : what runs the passes, this process by default
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
    options = Options(kernel, sigma, eta, normalize, on_bad, sample, features, size, n_modes, top, seed, match, certify)
    with running(Workplace(out, resume=resume, overwrite=overwrite), threads, executor, progress) as run:
        with run.step("pairing"):
            rows = pair_inputs(a, b, options, run.place.work)
        sized = sized_plan(rows, options, memory, run.pool)
        sized.plan.check_disk(run.place.work)
        with run.step("bandwidth"):
            problem = pose(rows, options, sized.size, run.kernels, run.warn)
        run.place.claim(problem.configuration())
        buffers = FeatureBuffers(run.kernels, problem.maps)
        C = run.sweep(covariance(problem.maps, run.kernels, buffers), rows, sized.plan.spans)
        return _solved(run, problem, C, sized, buffers, (a, b))


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
        a, b = result.inputs()
        rows = pair_inputs(a, b, options, run.place.work)
        problem = pose_again(rows, options, result)
        sized = sized_plan(rows, replace(options, size=result.summary["maps"]["size"]), None, run.pool)
        C = TiledSymmetric.from_dense(cast(Any, result.covariance))
        return _solved(run, problem, C, sized, FeatureBuffers(run.kernels, problem.maps), (a, b))


def _solved(
    run: Run, problem: Problem, C: TiledSymmetric, sized: Sized, buffers: FeatureBuffers, inputs: tuple[Input, Input]
) -> Result:
    """From the covariance to the result on disk."""
    options, rows = problem.options, problem.rows
    with run.step("solve"):
        modes = solve_difference(C, problem.d_a, options.eta, options.n_modes, run.pool.run)
        modes = problem.oriented(modes, run.kernels)
    writer = ResultWriter(run.place.work / "result", rows.n, modes)
    writer.covariance(C)
    scores = score(
        problem.maps,
        run.kernels,
        modes.coefficients,
        n=rows.n,
        n_kept=rows.n_kept,
        top=min(options.top, rows.n_kept),
        chunk_rows=CHUNK_ROWS,
        write=writer.scores,
        buffers=buffers,
    )
    tails = run.sweep(scores, rows, sized.plan.spans)
    writer.members(tails, rows)
    writer.summary(run, problem, tails, sized)
    run.place.publish(writer.folder)
    return Result.of(run.place.out, inputs, temporary=run.place.temporary)


def plan(
    a: Input, b: Input, *, memory: str | int | None = None, threads: int | None = None, **options: Any
) -> tuple[Plan, Machine]:
    """Plan a comparison without running it.

    Parameters
    ----------
    a, b : the embeddings, as in :func:`compare`
    memory, threads : as in :func:`compare`
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
    with running(Workplace(None), threads) as run:
        rows = pair_inputs(a, b, chosen, run.place.work)
        sized = sized_plan(rows, chosen, memory, run.pool)
        run.place.leave()
        return sized.plan, sized.machine
