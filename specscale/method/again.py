"""From an earlier result: another η, groups under a constraint, or more rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from specscale.errors import ExistsError, OptionError
from specscale.method.growing import check_grown, is_as_before, take_up_parts
from specscale.method.how import How
from specscale.method.job import Job, claim
from specscale.method.option import keywords, taken
from specscale.method.options import Options
from specscale.method.planning import Planner
from specscale.method.problem import Input, looked_through, pair_inputs, pose_again, pose_alike
from specscale.method.run import Run, running
from specscale.places.files import followed
from specscale.results.comparison import ComparisonResult
from specscale.results.schema import ConstraintRecord
from specscale.results.workplace import Workplace
from specscale.results.writing import checksum_of
from specscale.runtime.events import Noted
from specscale.spectral.constrained import check_bound, solve_constrained
from specscale.spectral.difference import check_possible, modes_of
from specscale.spectral.tiles import TiledSymmetric

__all__ = ["compare_again", "compare_constrained", "compare_grown"]

R = TypeVar("R", bound=ComparisonResult)

_FROM = "digest of the result that is gone on from"


def compare_again(result: R, eta: float, out: str | Path | None = None) -> R:
    """Solve for another η from the covariance of a result, and pass over the rows for the scores alone.

    Parameters
    ----------
    result : a result whose embeddings can still be read
    eta : weight of B's kernel, from 0 to 1e30
    out : the new result directory, by default a temporary one

    Raises
    ------
    ChangedError
        When the embeddings are no longer those that were compared.
    InputError
        When they are on another server, and the result was opened without `fetch`.
    """
    options = replace(result.parsed("options", Options.from_json), eta=eta)
    with running(Workplace(out, resume=True)) as run:
        job = _again(run, result, options)
        if run.place.done:
            run.place.leave()
        else:
            job.result(_covariance(result) if job.problem.maps else None)
        return type(result).of(run.place.out, result.inputs(), temporary=run.place.temporary)


def compare_constrained(result: R, epsilon: float, n_groups: int, out: str | Path | None = None) -> R:
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
    InputError
        When they are on another server, and the result was opened without `fetch`.
    """
    try:
        epsilon, n_groups = float(epsilon), index(n_groups)
    except (TypeError, ValueError):
        raise OptionError(f"epsilon and n_groups are numbers, not {epsilon!r} and {n_groups!r}") from None
    check_bound(epsilon, n_groups)
    options = replace(result.parsed("options", Options.from_json), refine=0, rotate="none")
    if options.features == "exact":
        raise OptionError(
            f"{result.path}: a result of --features exact keeps no covariance to search: compare with landmarks"
        )
    with running(Workplace(out, resume=True)) as run:
        job = _again(run, result, options, {"epsilon": epsilon, "n_groups": n_groups})
        if run.place.done:
            run.place.leave()
            return type(result).of(run.place.out, result.inputs(), temporary=False)
        C = _covariance(result)
        with run.step("solve"):
            found = solve_constrained(C, job.problem.d_a, epsilon, n_groups)
            modes = modes_of(C, job.problem.d_a, found.eta, found.coefficients, run.pool.run)
            check_possible(modes.eigenvalues, modes.eta)
            if found.unproved:
                run.warn(
                    f"it was not proved that there are no better groups than {', '.join(map(str, found.unproved))}: "
                    "another epsilon may tell"
                )
            modes = replace(modes, spec_diff=result.spec_diff)
        constraint = ConstraintRecord(epsilon=epsilon, mixed=np.flatnonzero(found.mixed).tolist())
        job.finished(job.problem.oriented(modes, run.kernels), C, constraint)
        return type(result).of(run.place.out, result.inputs(), temporary=run.place.temporary)


@keywords("update", How)
def compare_grown(result: R, a: Input, b: Input, *, min_matched: float | None = None, **given: Any) -> R:
    """Compare embeddings to which rows were appended since an earlier result, with its bandwidths and feature maps.

    The covariance goes on from the partial sums that the result keeps: only the spans of new rows are accumulated, and
    the last one again if it was not full. What is found is, bit for bit, what a comparison of all rows with these maps
    finds.

    Parameters
    ----------
    result : the earlier result, whose options are kept
    a, b : the embeddings, with all rows
    min_matched : as in :func:`specscale.compare`; that of the result by default
    **given : the fields of :class:`How`

    Returns
    -------
    ComparisonResult
        The new result; `result` itself, and nothing is written, where no rows are new and `out` is its own place.

    Raises
    ------
    ChangedError
        When the rows are not those of the result with others behind them.
    OptionError
        When the result compared a sample, or has no covariance.
    """
    options, how = result.parsed("options", Options.from_json), taken(How, given)
    if min_matched is not None:
        options = replace(options, min_matched=min_matched)
    place = Workplace(how.out, resume=how.resume, overwrite=how.overwrite)
    with running(place, how.threads, how.executor, how.progress) as run:
        with run.step("pairing"):
            rows = pair_inputs((a, b), options, run.place.folder, _names(result, how.names))
            check_grown(rows, result)
        rows, duplicates = looked_through(rows, run)
        if how.names is None and is_as_before(rows, result) and str(run.place.out) == str(followed(result.path)):
            run.place.leave()
            return result
        planner = Planner.of(rows, options, how.memory, run.pool, run.executor.crew)
        rows = run.executor.ready(rows, run.place.folder, temporary=run.place.temporary)
        choice = f"bandwidths and maps of {result.path}, {result.record.rows.total:,} of these rows"
        problem = pose_alike(rows, options, result, choice, duplicates)
        plan = planner.plan(problem.maps, problem.wide)
        plan.check_memory("allow more with --memory")
        plan.check_disk(run.place.folder)
        run.notify(Noted(problem.choice))
        claim(run, problem)
        if run.place.done:
            run.place.leave()
        else:
            take_up_parts(result, run.place.folder / "covariance")
            job = Job(run, problem, plan, planner.machine)
            job.result(job.covariance())
        return type(result).of(run.place.out, (a, b), temporary=run.place.temporary)


def _covariance(result: ComparisonResult) -> TiledSymmetric:
    """The covariance that a result keeps."""
    try:
        C = TiledSymmetric.from_dense(cast(Any, result.covariance))
    except (OSError, ValueError):
        raise result.damaged("the covariance is") from None
    if not np.isfinite(C.buffer.sum()):  # written over
        raise result.damaged("the covariance is")
    result.verify("covariance", checksum_of(C))
    return C


def _names(result: ComparisonResult, given: Sequence[str | None] | None = None) -> Sequence[str | None] | None:
    """What to call A and B; in results of old versions both may have one name."""
    before = [one.name for one in result.record.inputs.values()]
    kept: list[str | None] = [*before] if len(set(before)) == len(before) else [None] * len(before)
    if given is None or isinstance(given, str) or len(given) != len(kept):
        return kept if given is None else given
    return [old if new is None else new for old, new in zip(kept, given, strict=True)]


def _again(run: Run, result: ComparisonResult, options: Options, asked: Mapping[str, Any] | None = None) -> Job:
    """Work on the embeddings of a result, with its kernels and maps; what a killed call that was the same did is used.

    Parameters
    ----------
    run : the run
    result : the result
    options : its options, but for what is asked for now
    asked : what is asked for beside these

    Raises
    ------
    ExistsError
        When an interrupted run of a command is in the way.
    """
    before = run.place.interrupted()
    if before is not None and _FROM not in before:
        raise ExistsError(
            f"{run.place.work} holds an interrupted run of a command: give another out, or let that command end first"
        )
    a, b = result.inputs()
    rows = pair_inputs((a, b), options, run.place.folder, _names(result))
    problem = pose_again(rows, options, result)
    planner = Planner.of(rows, options, None, run.pool)
    job = Job(run, problem, planner.plan(problem.maps, problem.wide), planner.machine)
    origin = hashlib.blake2b(json.dumps(result.summary, sort_keys=True).encode(), digest_size=16).hexdigest()
    claim(run, problem, {_FROM: origin, **(asked or {})}, afresh=True)
    return job
