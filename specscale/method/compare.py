"""The method: pair → plan → covariance → solve → refine → scores → certify → result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from specscale.errors import OptionError
from specscale.method.job import Job, claim
from specscale.method.options import Options
from specscale.method.planning import Planner
from specscale.method.problem import Input, looked_through, pair_inputs, pose
from specscale.method.result import Result
from specscale.method.run import Cluster, running
from specscale.results.workplace import Workplace
from specscale.runtime.events import Noted, Notify
from specscale.runtime.local import Executor
from specscale.runtime.machine import Machine, Plan, Workers
from specscale.units import parse_rows

__all__ = ["compare", "plan"]


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
    min_matched: float = 0.5,
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
    names: tuple[str | None, str | None] | None = None,
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
    eta : weight of B's kernel, from 0 to 1e30
    normalize : "none"; "unit" to compare directions alone; "centre" (with the cosine kernel) to take the mean of a
        seeded sample off first; "standardise" to divide each dimension by its standard deviation there too
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
    match : "id" or "position"; by default by id when both embeddings have ids, and else by position, unless a column of
        both tells the rows apart and stands in another order: then by that column
    min_matched : the share of the smaller embedding's rows that must match by id
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
    names : what to call A and B; by default, and where one is None, as their stores

    Returns
    -------
    Result
        Up to n_modes modes for each direction, strongest |λ| first; none where no |λ| exceeds 1e-5.

    Raises
    ------
    SpecscaleError
        InputError, OptionError, PairingError, PlanError, ChangedError, ExistsError or PrecisionError, each one line
        that names what is wrong and the remedy.
    """
    if isinstance(sigma, str | float | int) or len(sigma) != 2:
        raise OptionError(f"sigma is a pair, of A and of B, as ('auto', 2.0), not {sigma!r}")
    options = Options(
        kernel, sigma, eta, normalize, on_bad, sample, features, size, n_modes, top, seed, match, certify, refine,
        rotate, landmarks, min_matched,
    )  # fmt: skip
    with running(Workplace(out, resume=resume, overwrite=overwrite), threads, executor, progress) as run:
        with run.step("pairing"):
            rows = pair_inputs((a, b), options, run.place.folder, names)
        # The machine is measured before workers begin to compile.
        planner = Planner.of(rows, options, memory, run.pool, run.executor.crew)
        rows = run.executor.ready(rows, run.place.folder, temporary=run.place.temporary)
        most = planner.largest_size()
        rows, duplicates = looked_through(rows, run)
        problem = pose(rows, options, most, run, duplicates)
        plan = planner.plan(problem.maps, problem.wide)
        plan.check_disk(run.place.folder)
        run.notify(Noted(problem.choice))
        claim(run, problem)
        if run.place.done:
            run.place.leave()
        else:
            job = Job(run, problem, plan, planner.machine)
            job.result(job.covariance())
        return Result.of(run.place.out, (a, b), temporary=run.place.temporary)


def plan(
    a: Input,
    b: Input,
    *,
    memory: str | int | None = None,
    threads: int | None = None,
    rows: str | float | None = None,
    workers: int | None = None,
    rate: str | float | None = None,
    names: tuple[str | None, str | None] | None = None,
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
    names : as in :func:`compare`
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
        paired = pair_inputs((a, b), chosen, run.place.folder, names)
        planner = Planner.of(paired, chosen, memory, run.pool)
        if count or cluster:
            planner = planner.projected(count, cluster, memory)
        problem = pose(paired, chosen, planner.largest_size(), run)
        run.place.leave()
        return planner.plan(problem.maps, problem.wide), planner.machine
