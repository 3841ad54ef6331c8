"""From an earlier result on the same rows: another η, or groups under a constraint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from operator import index
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from specscale.errors import ExistsError, OptionError
from specscale.method.comparison import Comparison, from_covariance, solving
from specscale.method.earlier import Earlier, check_inputs, covariance_of, names_of
from specscale.method.execution import Execution
from specscale.method.modes import oriented
from specscale.method.options import Options
from specscale.method.prologue import Asked, Begun, begun
from specscale.method.run import Run, running
from specscale.method.steps import ProblemSize, Step, Steps
from specscale.results.comparison import ComparisonResult
from specscale.results.schema import ConstraintRecord
from specscale.spectral.constrained import check_bound, solve_constrained
from specscale.spectral.difference import check_possible, modes_of

__all__ = ["compare_again", "compare_constrained"]

R = TypeVar("R", bound=ComparisonResult)

_FROM = "digest of the result that is gone on from"


def compare_again(result: R, eta: float, out: str | Path | None = None, *, device: str = "cpu") -> R:
    """Solve for another η from the covariance of a result, and pass over the rows for the scores alone.

    Parameters
    ----------
    result : a result whose embeddings can still be read
    eta : weight of B's kernel, from 0 to 1e30
    out : the new result directory, by default a temporary one
    device : what the passes run on

    Raises
    ------
    ChangedError
        When the embeddings are no longer those that were compared.
    InputError
        When they are on another server, and the result was opened without `fetch`.
    """
    options = replace(result.parsed("options", Options.from_json), eta=eta)
    with running(Execution(device=device, out=out, resume=True), options.precision) as run:
        start = _begun(run, result, options, lambda extent: Steps(computing=from_covariance(extent)))
        if start:
            job = Comparison(run, start)
            job.C = covariance_of(result) if start.problem.maps else None
            job.finish()
        return type(result).of(run.place.out, result.inputs(), temporary=run.place.temporary)


def compare_constrained(
    result: R, epsilon: float, n_groups: int, out: str | Path | None = None, *, device: str = "cpu"
) -> R:
    """Find groups that A holds together and B by no more than ε, from the covariance of a result and one more pass.

    Parameters
    ----------
    result : a result whose embeddings can still be read
    epsilon : largest b = uᵀ K_B u / n, in [0, 1)
    n_groups : groups wanted
    out : the new result directory, by default a temporary one
    device : what the passes run on

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
    with running(Execution(device=device, out=out, resume=True), options.precision) as run:
        steps = partial(_constrained_steps, epsilon=epsilon, n_groups=n_groups, spec_diff=result.spec_diff)
        start = _begun(run, result, options, steps, {"epsilon": epsilon, "n_groups": n_groups})
        if start:
            job = Comparison(run, start)
            job.C = covariance_of(result)
            job.finish()
        return type(result).of(run.place.out, result.inputs(), temporary=run.place.temporary)


def _constrained_steps(extent: ProblemSize, *, epsilon: float, n_groups: int, spec_diff: float) -> Steps:
    """The steps from a covariance to groups under a constraint, in place of those to modes."""

    def solve(job: Comparison) -> None:
        run, C, d_a = job.run, job.C, job.problem.d_a
        assert C is not None
        found = solve_constrained(C, d_a, epsilon, n_groups)
        modes = modes_of(C, d_a, found.eta, found.coefficients, run.pool.run)
        check_possible(modes.eigenvalues, modes.eta)
        if found.unproved:
            run.warn(
                f"it was not proved that there are no better groups than {', '.join(map(str, found.unproved))}: "
                "another epsilon may tell"
            )
        job.modes = oriented(job.problem, replace(modes, spec_diff=spec_diff), run.kernels)
        job.constraint = ConstraintRecord(epsilon=epsilon, mixed=np.flatnonzero(found.mixed).tolist())

    _, *rest = from_covariance(extent)
    return Steps(computing=(Step(solving(extent), solve), *rest))


def _begun(
    run: Run,
    result: ComparisonResult,
    options: Options,
    steps: Callable[[ProblemSize], Steps],
    beside: Mapping[str, Any] = MappingProxyType({}),
) -> Begun | None:
    """Begin a run on the embeddings of a result, with its kernels and maps.

    What a killed call that was the same did is used.

    Parameters
    ----------
    run : the run
    result : the result
    options : its options, but for what is asked for now
    steps : the steps of the run
    beside : what is asked for beside the options

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
    origin = hashlib.blake2b(json.dumps(result.summary, sort_keys=True).encode(), digest_size=16).hexdigest()
    asked = Asked(
        result.inputs(),
        options,
        steps,
        names=names_of(result),
        remedy=None,
        check=lambda rows: check_inputs(rows, result),
        earlier=Earlier.on_the_same_rows(result),
        beside=lambda rows: {_FROM: origin, **beside},
        afresh=True,
    )
    return begun(run, asked)
