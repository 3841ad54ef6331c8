"""How every run begins: pair → measure the machine → get workers ready → look → choose maps → plan → claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from specscale.embeddings.rows import PairedRows
from specscale.method.earlier import Earlier
from specscale.method.fitting import largest_size
from specscale.method.inputs import Input, pair_inputs
from specscale.method.option_field import options_of
from specscale.method.options import Options
from specscale.method.plan import Plan
from specscale.method.planner import Planner
from specscale.method.preparation import Preparation
from specscale.method.problem import Problem
from specscale.method.run import Run
from specscale.method.steps import ProblemSize, Steps
from specscale.runtime.events import Noted
from specscale.runtime.machine import Machine
from specscale.stores.stored import stored

__all__ = ["Asked", "Begun", "begun"]

_LATE = tuple(one.name for one in options_of(Options) if one.late)
_LATER = ("scores", "normalised", "certificate", "start", "refine", "groups")  # passes after it
_USUAL = {"backend": "cpu", "precision": "float32"}


@dataclass(frozen=True)
class Asked:
    """A run that is asked for.

    Attributes
    ----------
    inputs : the embeddings
    options : what is computed
    steps : the steps of such a run
    names : what to call the embeddings
    memory : what the process may hold
    remedy : what allows more, for the message where that is too little; None where nothing limits it
    check : looks at the rows as soon as they are paired, and raises what is wrong with them
    idle : whether there is nothing to do, when the rows have been looked through
    earlier : the result whose kernels and maps are taken; None where they are chosen
    beside : what else decides the answer
    afresh : whether nothing comes before that, so that an interrupted run that differs begins afresh
    """

    inputs: Sequence[Input]
    options: Options
    steps: Callable[[ProblemSize], Steps]
    names: Sequence[str | None] | None = None
    memory: str | int | None = None
    remedy: str | None = "allow more with --memory"
    check: Callable[[PairedRows], None] = lambda rows: None
    idle: Callable[[PairedRows], bool] = lambda rows: False
    earlier: Earlier | None = None
    beside: Callable[[PairedRows], Mapping[str, Any]] = lambda rows: {}
    afresh: bool = False


class Begun(NamedTuple):
    """A run of which all is known before its first pass.

    Attributes
    ----------
    problem : what is compared
    plan : what it takes, and the steps
    machine : what the calibration found
    """

    problem: Problem
    plan: Plan
    machine: Machine


def begun(run: Run, asked: Asked) -> Begun | None:
    """Begin a run; None where there is nothing to do, as a run that computed the same has ended or nothing is new.

    Raises
    ------
    SpecscaleError
        Whatever is wrong with the inputs, the options, the cluster, the memory, the disk or an interrupted run.
    """
    options, place = asked.options, run.place
    with run.step("pairing"):
        rows = pair_inputs(asked.inputs, options, place.folder, asked.names)
        asked.check(rows)
    # The machine is measured before workers begin to compile.
    planner = Planner.of(rows, options, asked.steps, asked.memory, run.pool, run.kernels, run.executor.crew)
    if planner.workers is not None:  # arrays are in the memory of this process alone
        readable = (stored(one, place.folder / f"array-{i}.zarr") for i, one in enumerate(rows.embeddings))
        rows = replace(rows, embeddings=tuple(readable))
    rows = run.executor.ready(rows, place.folder, temporary=place.temporary)
    preparation = Preparation(run, rows, options, asked.earlier.size if asked.earlier else largest_size(planner))
    first = planner.of_size(preparation.most).sequence
    preparation.look(first.looking)
    if asked.idle(preparation.rows):
        place.leave()
        return None
    if asked.earlier:
        problem = asked.earlier.problem(preparation.rows, options, preparation.duplicates)
    else:
        problem = preparation.choose(first.choosing)
    plan = planner.plan(problem.maps, problem.wide)
    if asked.remedy:
        plan.check_memory(asked.remedy)
    plan.check_disk(place.folder)
    run.notify(Noted(problem.choice))
    _claim(run, problem, asked)
    if place.done:
        place.leave()
        return None
    return Begun(problem, plan, planner.machine)


def _claim(run: Run, problem: Problem, asked: Asked) -> None:
    """Record what a run computes; one that is taken up may differ in what comes after the covariance."""
    configuration = {
        **problem.options.to_json(),
        **asked.beside(problem.rows),
        **problem.configuration(),
        "backend": run.kernels.name,
    }
    before = run.place.interrupted() or {}
    late = [*before, *configuration] if asked.afresh else _LATE if problem.maps else ()
    run.place.claim(configuration, late, _LATER, _USUAL)
