"""``compare`` and ``plan``: from options to a comparison that is begun and finished, or to what it would take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specscale.errors import OptionError
from specscale.method.comparison import Comparison, comparison_steps
from specscale.method.execution import Execution
from specscale.method.fitting import largest_size
from specscale.method.inputs import Input, pair_inputs
from specscale.method.keywords import keywords, taken
from specscale.method.options import Options
from specscale.method.plan import Plan, Workers
from specscale.method.planner import Planner
from specscale.method.preparation import Preparation
from specscale.method.prologue import Asked, begun
from specscale.method.result import Result
from specscale.method.run import running
from specscale.runtime.machine import Machine
from specscale.units import parse_rows

__all__ = ["compare", "plan"]


@keywords("compare", Options, Execution)
def compare(a: Input, b: Input, **given: Any) -> Result:
    """Find the groups of samples that one embedding holds together and the other does not.

    The modes are the leading eigenvectors of Λη = (K_A − η K_B) / n (SPEC: Jalali, Dibaei Nia and Farnia, ICML
    2025), computed from the covariance of feature maps of the two kernels in two streaming passes; a third says with
    the exact kernels how far each mode can be believed.

    Parameters
    ----------
    a, b : the embeddings of the same samples: stores, arrays or memory maps (n, p), or files that ``ingest`` reads
    **given : the fields of :class:`Options` and :class:`Execution`

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
    options, execution = _of_two(given), taken(Execution, given)
    with running(execution, options.precision) as run:
        start = begun(run, Asked((a, b), options, comparison_steps, names=execution.names, memory=execution.memory))
        if start:
            Comparison(run, start).finish()
        return Result.of(run.place.out, (a, b), temporary=run.place.temporary)


@keywords("plan", Options, Execution)
def plan(
    a: Input,
    b: Input,
    *,
    rows: str | float | None = None,
    workers: int | None = None,
    rate: str | float | None = None,
    **given: Any,
) -> tuple[Plan, Machine]:
    """Plan a comparison without running it: bandwidths and the number of landmarks are chosen, no pass is made.

    Parameters
    ----------
    a, b : the embeddings, as in :func:`compare`
    rows : plan for this many rows like those of `a` and `b`, as 10**9 or "1e9"
    workers : plan for so many workers of a cluster
    rate : single-precision operations a second of one worker, as 3e13 or "30T"; by default what this machine does
    **given : the fields of :class:`Options`, and of :class:`Execution` what limits and names

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
    options, execution = _of_two(given), taken(Execution, given)
    count, cluster = None if rows is None else parse_rows(rows), Workers.of(workers, rate)
    here = Execution(threads=execution.threads, device=execution.device)
    with running(here, options.precision) as run:
        paired = pair_inputs((a, b), options, run.place.folder, execution.names)
        planner = Planner.of(paired, options, comparison_steps, execution.memory, run.pool, run.kernels)
        if count or cluster:
            planner = planner.projected(count, cluster, execution.memory)
        preparation = Preparation(run, paired, options, largest_size(planner))
        problem = preparation.choose(planner.of_size(preparation.most).sequence.choosing)
        run.place.leave()
        return planner.plan(problem.maps, problem.wide), planner.machine


def _of_two(given: Mapping[str, Any]) -> Options:
    """The options of a comparison of two embeddings."""
    options = taken(Options, given)
    if len(options.sigma) != 2:
        raise OptionError(f"sigma is a pair, of A and of B, as ('auto', 2.0), not {options.sigma!r}")
    return options
