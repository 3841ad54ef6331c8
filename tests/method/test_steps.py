"""Plan and run read one list of steps: what was not planned cannot be run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import specscale as ss
from specscale.cost import Cost
from specscale.method import planner as planning
from specscale.method import prologue
from specscale.method.execution import Execution
from specscale.method.run import Run, running
from specscale.method.steps import Step, Steps
from specscale.method.update import compare_grown
from specscale.runtime.events import Event, Stage
from specscale.runtime.local import LocalExecutor

MakePair = Callable[..., Any]
SMALL: dict[str, Any] = {"size": 40, "sigma": (2.0, 2.0), "certify": 50, "n_modes": 3, "top": 10}
PARTS = {"normalised": "scores"}  # a pass of a step that is not always needed


def test_a_step_cannot_be_made_without_what_it_takes() -> None:
    with pytest.raises(TypeError):
        Step(action=lambda state: None)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Step(Cost("nothing is done", memory=1))  # type: ignore[call-arg]


def test_steps_are_taken_in_the_order_of_the_plan_each_under_its_name() -> None:
    taken: list[str] = []
    names = ["first", "second", "third"]
    steps = [Step(Cost(name, memory=i), lambda state, name=name: state.append(name)) for i, name in enumerate(names)]
    events: list[Event] = []
    with running(Execution(progress=events.append)) as run:
        run.go(steps, taken)
        run.place.leave()
    assert taken == names == list(run.seconds)
    assert [event.name for event in events if isinstance(event, Stage)] == names
    assert [cost.name for cost in Steps(tuple(steps[:1]), tuple(steps[1:])).costs] == names


def test_the_pass_of_a_steps_name_is_announced_with_it_and_others_by_themselves() -> None:
    events: list[Event] = []

    def action(run: Run) -> None:
        with run.step("scores"), run.step("scores"):
            pass
        with run.step("normalised"):
            pass

    with running(Execution(progress=events.append)) as run:
        run.go([Step(Cost("scores", memory=0), action)], run)
        run.place.leave()
    assert [event.name for event in events if isinstance(event, Stage)] == ["scores", "normalised"]
    assert sorted(run.seconds) == ["normalised", "scores"]


def check_steps(result: Any, events: list[Event], *, prepared: bool) -> None:
    """Every step that ran was planned, and every step that was planned ran, in the order of the plan."""
    planned = [step["name"] for step in result.summary["plan"]["steps"]]
    measured = result.summary["measured"]["seconds"]
    ran = {PARTS.get(name, name.partition(", sweep ")[0]) for name in measured} - {"pairing"}
    assert ran == set(planned)
    assert set(planned) <= set(measured)
    told = [event.name for event in events if isinstance(event, Stage)]
    assert [name for name in told if name in planned] == planned or not events
    assert ("bandwidth" in planned) == prepared


KINDS: list[dict[str, Any]] = [
    {},
    {"certify": 0},
    {"rounds": 0},
    {"refine": 1, "rotate": "varimax"},
    {"features": "exact", "size": None},
    {"features": "fourier", "size": 30},
    {"kernel": "cosine", "size": None, "sigma": ("auto", "auto")},
    {"kernel": "cosine", "features": "landmarks"},
]


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.slow
def test_what_runs_was_planned(make_pair: MakePair, options: dict[str, Any]) -> None:
    events: list[Event] = []
    result = ss.compare(*make_pair(400), progress=events.append, **{**SMALL, **options})
    check_steps(result, events, prepared=True)
    check_steps(result.with_eta(0.5), [], prepared=False)


@pytest.mark.slow
def test_what_runs_for_groups_under_a_constraint_was_planned(make_pair: MakePair) -> None:
    result = ss.compare(*make_pair(400), **SMALL).constrained(0.05, 2)
    check_steps(result, [], prepared=False)
    assert [step["name"] for step in result.summary["plan"]["steps"]] == ["solve", "scores", "certificate", "groups"]


@pytest.mark.slow
def test_what_runs_for_more_rows_was_planned(make_pair: MakePair, make_store: Any, tmp_path: Path) -> None:
    a, b = make_pair(400)
    before = ss.compare(make_store("a", a[:300]), make_store("b", b[:300]), out=tmp_path / "out.spec", **SMALL)
    events: list[Event] = []
    more = make_store("a", a, overwrite=True), make_store("b", b, overwrite=True)
    result = compare_grown(before, *more, out=tmp_path / "more.spec", progress=events.append)
    check_steps(result, events, prepared=False)
    assert result.summary["plan"]["steps"][0]["name"] == "duplicates"


@pytest.mark.slow
def test_what_runs_of_a_matrix_was_planned(make_pair: MakePair) -> None:
    a, b = make_pair(400)
    events: list[Event] = []
    result = ss.compare_many([a, b, a[:, ::-1]], size=40, n_modes=3, top=10, progress=events.append)
    check_steps(result, events, prepared=True)


@pytest.fixture
def beginning(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a run does until its first pass, in order."""
    done: list[str] = []

    def listen(owner: Any, attribute: str, name: str) -> None:
        original = getattr(owner, attribute)

        def listening(*arguments: Any, **options: Any) -> Any:
            if name == "pair":
                done.clear()
            done.append(name)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, attribute, listening)

    listen(prologue, "pair_inputs", "pair")
    listen(planning, "calibrate", "measure")
    listen(LocalExecutor, "ready", "ready")
    listen(prologue, "_claim", "claim")
    listen(LocalExecutor, "run", "pass")
    return done


@pytest.mark.slow
def test_all_runs_begin_alike(make_pair: MakePair, make_store: Any, tmp_path: Path, beginning: list[str]) -> None:
    a, b = make_pair(400)
    first = ss.compare(make_store("a", a[:300]), make_store("b", b[:300]), out=tmp_path / "out.spec", **SMALL)
    more = make_store("a", a, overwrite=True), make_store("b", b, overwrite=True)
    runs: list[Callable[[], Any]] = [
        lambda: ss.compare(a, b, **SMALL),
        lambda: compare_grown(first, *more),
        lambda: ss.compare_many([a, b], size=40),
        lambda: ss.compare(a, b, **SMALL).with_eta(0.5),
        lambda: ss.compare(a, b, **SMALL).constrained(0.05, 1),
    ]
    for run in runs:
        run()
        assert list(dict.fromkeys(beginning)) == ["pair", "measure", "ready", "claim", "pass"]
