"""Further rounds of the search for groups: what few modes hide is found in the rows that are of no group so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interruptions import Interruption, stop_at
from planting import Planted, agreement, assert_same_groups, planted, small_clouds

import specscale as ss
import specscale.runtime.spans as spans_module
from specscale.method.result import Result
from specscale.runtime.events import Event, PassStarted
from specscale.runtime.local import LocalExecutor
from specscale.runtime.threads import Threads

SETTINGS: dict[str, Any] = {"size": 80, "sigma": (3.0, 3.0), "certify": 0, "n_modes": 1, "threads": 1, "top": 10}
__all__ = ["small_clouds"]

PASSES = ("covariance, round 2", "scores, round 2", "groups, round 2", "groups")


pytestmark = pytest.mark.usefixtures("small_clouds")


@pytest.fixture(scope="module")
def hidden() -> Planted:
    """Three groups of A's and two of B's, of which the smallest lie beyond the first mode."""
    return planted(1500, (300, 200, 60), (200, 60), seed=2)


@pytest.fixture(scope="module")
def twice(hidden: Planted, small_clouds: None) -> Result:
    return ss.compare(*hidden.pair, **SETTINGS, rounds=2)


def test_a_second_round_finds_what_one_mode_hides(hidden: Planted, twice: Result) -> None:
    once = ss.compare(*hidden.pair, **SETTINGS)
    assert [agreement(once, rows) >= 0.85 for rows in hidden.truth] == [True, True, False, True, False]
    assert [agreement(twice, rows) >= 0.85 for rows in hidden.truth] == [True] * 5
    later = [one for one in twice.groups if one.certified and one.found_in[0].endswith(" round 2")]
    assert [(one.grouped_by, one.verdict) for one in later] == [("A", "group"), ("B", "group")]


@pytest.mark.slow
def test_groups_of_a_hundred_in_many_rows_are_found_beyond_few_modes() -> None:
    many = planted(20_000, (2000, 1000, 500, 100, 100), (1500, 800, 400, 100), seed=2)
    settings = {**SETTINGS, "n_modes": 3, "size": 300, "threads": None}
    once, twice = (ss.compare(*many.pair, **settings, rounds=rounds) for rounds in (1, 2))
    assert min(agreement(once, rows) for rows in many.truth) < 0.1
    assert min(agreement(twice, rows) for rows in many.truth) >= 0.9
    assert len([one for one in twice.groups if one.certified]) == len(many.truth)


@pytest.mark.slow
def test_what_the_first_round_found_stays(hidden: Planted, twice: Result) -> None:
    once = ss.compare(*hidden.pair, **SETTINGS)
    certified = [one for one in once.groups if one.certified]
    assert certified
    for one in certified:
        (same,) = (other for other in twice.groups if other.core == one.core)
        np.testing.assert_array_equal(twice.likeness[:, same.group], once.likeness[:, one.group])
        changed = ("group", "merged", "_result")
        assert {k: v for k, v in vars(same).items() if k not in changed} == {
            k: v for k, v in vars(one).items() if k not in changed
        }


def test_the_members_of_all_rounds_are_those_of_their_likeness(twice: Result) -> None:
    np.testing.assert_array_equal(twice.memberships[:], twice.likeness[:] >= 0.5)
    assert [one.size for one in twice.groups] == np.count_nonzero(twice.memberships[:], axis=0).tolist()
    for one in twice.groups:
        top = one.top(10)
        np.testing.assert_array_equal(top["likeness"], twice.likeness[:, one.group][top["row"].to_numpy()])


def test_a_round_that_has_nothing_new_to_leave_out_finds_nothing() -> None:
    events: list[Event] = []
    noise = np.random.default_rng(1).normal(size=(2, 400, 16)).astype(np.float32)
    found = ss.compare(*noise, **SETTINGS, rounds=3, progress=events.append)
    assert not any(one.certified for one in found.groups)
    assert not [one.name for one in events if isinstance(one, PassStarted) and "round" in one.name]
    planned = [step["name"] for step in found.summary["plan"]["steps"]]
    assert planned[-4:] == ["covariance, round 3", "solve, round 3", "scores, round 3", "groups, round 3"]
    assert planned[:-4][-4:] == [name.replace("3", "2") for name in planned[-4:]]


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_whatever_the_threads_and_the_spans(
    hidden: Planted, twice: Result, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(spans_module, "_MOST_CHUNKS", 1)
    assert_same_groups(ss.compare(*hidden.pair, **{**SETTINGS, "threads": threads}, rounds=2), twice)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [*PASSES[:3], "solve, round 2"])
def test_an_interrupted_round_is_taken_up(hidden: Planted, twice: Result, tmp_path: Path, stage: str) -> None:
    executor, settings = LocalExecutor(Threads(1), patience=0), {**SETTINGS, "rounds": 2, "out": tmp_path / "out"}
    with pytest.raises(Interruption):
        ss.compare(*hidden.pair, **settings, executor=executor, progress=stop_at(stage))
    events: list[Event] = []
    found = ss.compare(*hidden.pair, **settings, resume=True, progress=events.append)
    done = {one.name: one.done for one in events if isinstance(one, PassStarted)}
    before = PASSES[: PASSES.index(stage)] if stage in PASSES else PASSES[:1]
    assert {name: done[name] for name in PASSES} == {name: 1500 * (name in (*before, "groups")) for name in PASSES}
    assert_same_groups(found, twice)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scores", "memberships"])
def test_what_a_power_cut_left_half_written_is_made_again(hidden: Planted, tmp_path: Path, name: str) -> None:
    executor, settings = LocalExecutor(Threads(1), patience=0), {**SETTINGS, "rounds": 3, "out": tmp_path / "out"}
    with pytest.raises(Interruption):
        ss.compare(*hidden.pair, **settings, executor=executor, progress=stop_at("scores, round 3"))
    (damaged,) = (tmp_path / "out.work").glob(f"*/groups/2/{name}/0.rows")
    damaged.write_bytes(damaged.read_bytes()[:-9])
    events: list[Event] = []
    found = ss.compare(*hidden.pair, **settings, resume=True, progress=events.append)
    began = [one.name for one in events if isinstance(one, PassStarted)]
    assert began.count("groups, round 2" if name == "memberships" else "scores, round 2") == 2
    assert_same_groups(found, ss.compare(*hidden.pair, **SETTINGS, rounds=3))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed", [{"rounds": 1}, {"rounds": 0}, {"rounds": 3}, {"least_group": 100}, {"top": 4}, {"n_modes": 3}]
)
def test_late_options_may_change_at_resume(hidden: Planted, tmp_path: Path, changed: dict[str, Any]) -> None:
    executor, settings = LocalExecutor(Threads(1), patience=0), {**SETTINGS, "rounds": 2}
    with pytest.raises(Interruption):
        ss.compare(
            *hidden.pair, **settings, out=tmp_path / "out", executor=executor, progress=stop_at("groups, round 2")
        )
    settings |= changed
    events: list[Event] = []
    found = ss.compare(*hidden.pair, **settings, out=tmp_path / "out", resume=True, progress=events.append)
    done = {one.name: one.done for one in events if isinstance(one, PassStarted)}
    assert {name: rows for name, rows in done.items() if rows} == {"covariance": 1500}
    fresh = ss.compare(*hidden.pair, **settings)
    if settings["rounds"]:
        assert_same_groups(found, fresh)
    else:
        assert found.looked_for_groups is fresh.looked_for_groups is False


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"features": "exact", "size": None},
        {"refine": 1},
        {"features": "orthogonal", "size": 60},
        {"landmarks": "pivoted", "rotate": "varimax"},
    ],
    ids=["exact", "refined", "orthogonal", "pivoted"],
)
def test_every_kind_of_modes_has_further_rounds(hidden: Planted, options: dict[str, Any]) -> None:
    a, b, truth = hidden
    found = ss.compare(a[:900], b[:900], **{**SETTINGS, **options}, rounds=3)
    for rows in truth[:3]:
        assert agreement(found, rows[rows < 900]) >= 0.85


def test_rows_that_take_no_part_are_of_no_round(hidden: Planted) -> None:
    a, b, truth = hidden[0].copy(), hidden[1].copy(), hidden[2]
    a[::7], b[::11] = np.nan, np.inf
    lost = np.union1d(np.arange(0, 1500, 7), np.arange(0, 1500, 11))
    found = ss.compare(a, b, **SETTINGS, rounds=2, on_bad="drop")
    assert np.isnan(found.likeness[:][lost]).all()
    assert not found.memberships[:][lost].any()
    for rows in truth[:3]:
        assert agreement(found, np.setdiff1d(rows, lost)) >= 0.85
