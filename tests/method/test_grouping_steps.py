"""Groups of whatever is compared: other η, constraints, grown results, all feature maps, rows that are left out."""

from __future__ import annotations

import signal
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cards import CardKernels, card
from clusters import forked_workers
from conftest import Run
from interruptions import Interruption, stop_at
from numpy.typing import NDArray
from planting import Planted, agreement, assert_same_groups, planted, small_clouds

import specscale as ss
import specscale.runtime.spans as spans_module
from specscale.method.result import Result
from specscale.method.update import compare_grown
from specscale.runtime.cluster.connecting import local_cluster
from specscale.runtime.events import Event, PassStarted, Stage
from specscale.runtime.local import LocalExecutor
from specscale.runtime.threads import Threads
from specscale.stores.ingest import ingest

__all__ = ["card", "small_clouds"]

pytestmark = pytest.mark.usefixtures("small_clouds")

SETTINGS: dict[str, Any] = {"size": 80, "sigma": (3.0, 3.0), "certify": 0, "n_modes": 3, "threads": 1, "top": 10}
MAPS: dict[str, dict[str, Any]] = {
    "landmarks": {},
    "pivoted": {"landmarks": "pivoted"},
    "fourier": {"features": "fourier"},
    "orthogonal": {"features": "orthogonal"},
    "linear": {"kernel": "cosine", "size": None, "sigma": ("auto", "auto")},
    "cosine landmarks": {"kernel": "cosine", "features": "landmarks", "sigma": ("auto", "auto")},
    "exact": {"features": "exact", "size": None},
    "refined": {"refine": 1},
    "varimax": {"rotate": "varimax"},
    "certificate": {"certify": 64},
    "eta": {"eta": 0.6},
}
KILLED = """
import os, signal, sys
import numpy as np, specscale as ss
from specscale.runtime.events import RowsDone, Stage
from specscale.runtime.local import LocalExecutor
from specscale.runtime.threads import Threads
import specscale.runtime.spans as spans
spans._MOST_CHUNKS = 1
def progress(event):
    before = isinstance(event, Stage) and event.name == sys.argv[4]
    if before or isinstance(event, RowsDone) and event.name + " under way" == sys.argv[4]:
        os.kill(os.getpid(), signal.SIGKILL)
executor = LocalExecutor(Threads(1), patience=0)
settings = {"size": 40, "sigma": (3.0, 3.0), "certify": 0, "n_modes": 1, "top": 10, "rounds": 2}
ss.compare(sys.argv[1], sys.argv[2], out=sys.argv[3], progress=progress, executor=executor, **settings)
"""


@pytest.fixture(scope="module")
def some() -> Planted:
    return planted(900, (200, 100), (150,))


def likeness_of(result: Result, number: int, kernels: list[NDArray[np.float64]], eta: float) -> NDArray[np.float64]:
    """The likeness of all rows to the core of a group, densely in float64."""
    group = result.groups[number]
    size = len(group.core)
    similar = [one[:, group.core].mean(axis=1) for one in kernels]
    for one in similar:
        one[group.core] = (size * one[group.core] - 1) / (size - 1)
    g = (similar[0] - eta * similar[1]) * (1 if group.grouped_by == "A" else -1)
    return np.asarray((g - group.background) / group.level)


def gaussian(x: NDArray[Any], sigma: float) -> NDArray[np.float64]:
    x = x.astype(np.float64)
    squares = (x**2).sum(axis=1)
    return np.exp(-np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0) / (2 * sigma**2))


@pytest.mark.slow
@pytest.mark.parametrize("options", MAPS.values(), ids=MAPS)
def test_groups_are_found_with_every_map(some: Planted, options: dict[str, Any]) -> None:
    found = ss.compare(*some.pair, **{**SETTINGS, **options})
    least = 0.7 if "kernel" in options else 0.9
    assert [agreement(found, rows) >= least for rows in some.truth] == [True] * 3
    assert found.looked_for_groups


@pytest.mark.parametrize("options", [{}, {"sample": 700}, {"eta": 0.5}], ids=["all", "sample", "eta"])
def test_likeness_is_that_of_the_exact_kernels(some: Planted, options: dict[str, Any]) -> None:
    found = ss.compare(*some.pair, **SETTINGS, **options)
    kernels = [gaussian(x, 3.0) for x in some.pair]
    compared = ~np.isnan(found.scores[:]).any(axis=1)
    assert compared.sum() == options.get("sample", 900)
    for number in range(len(found.groups)):
        expected = likeness_of(found, number, kernels, options.get("eta", 1.0))
        np.testing.assert_allclose(found.likeness[:, number][compared], expected[compared], atol=2e-5)
        assert np.isnan(found.likeness[:, number][~compared]).all()


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 2])
def test_another_eta_has_the_groups_of_a_fresh_comparison(some: Planted, rounds: int) -> None:
    settings = {**SETTINGS, "rounds": rounds}
    again = ss.compare(*some.pair, **settings).with_eta(0.6)
    assert_same_groups(again, ss.compare(*some.pair, **settings, eta=0.6))


@pytest.mark.slow
def test_groups_under_a_constraint_are_judged_by_the_eta_of_the_result(some: Planted) -> None:
    before = ss.compare(*some.pair, **SETTINGS, eta=0.8)
    found = before.constrained(0.1, 3)
    assert {one.grouped_by for one in found.groups} == {"A"}
    assert [agreement(found, rows) >= 0.9 for rows in some.truth[:2]] == [True, True]
    kernels = [gaussian(x, 3.0) for x in some.pair]
    for number in range(len(found.groups)):
        np.testing.assert_allclose(found.likeness[:, number], likeness_of(found, number, kernels, 0.8), atol=2e-5)


@pytest.mark.slow
def test_rows_left_out_on_both_sides_are_members_of_nothing(some: Planted) -> None:
    a, b = some.a.copy(), some.b.copy()
    a[::7], b[::11] = np.nan, np.inf
    lost = np.union1d(np.arange(0, 900, 7), np.arange(0, 900, 11))
    found = ss.compare(a, b, **SETTINGS, on_bad="drop")
    assert np.isnan(found.likeness[:][lost]).all()
    for rows in some.truth:
        assert agreement(found, np.setdiff1d(rows, lost)) >= 0.9
    for one in found.groups:
        assert not np.isin(lost, one.rows()).any()
        assert one.share == one.size / (900 - len(lost))
        assert not np.isin(lost, one.core).any()


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 2])
def test_a_grown_result_has_the_groups_of_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    monkeypatch.setattr(spans_module, "_MOST_CHUNKS", 1)
    grown = planted(70_000, (9000, 4000), (6000, 2500))
    settings = {**SETTINGS, "n_modes": 1, "size": 30, "rounds": rounds, "threads": 2}
    earlier = ss.compare(grown.a[:40_000], grown.b[:40_000], **settings, out=tmp_path / "earlier")
    events: list[Event] = []
    found = compare_grown(earlier, *grown.pair, out=tmp_path / "grown", progress=events.append)
    (covariance,) = (one for one in events if isinstance(one, PassStarted) and one.name == "covariance")
    assert covariance.done
    assert agreement(found, grown.truth[0]) >= 0.9
    for part in (tmp_path / "earlier" / "parts").iterdir():  # a comparison of all rows with these maps
        part.unlink()
    (tmp_path / "earlier" / "parts").rmdir()
    assert_same_groups(found, compare_grown(ss.open_result(tmp_path / "earlier"), *grown.pair))


def test_embeddings_that_are_one_have_no_groups(some: Planted) -> None:
    found = ss.compare(some.a, some.a, **SETTINGS, rounds=2)
    assert (found.modes, found.groups, found.looked_for_groups) == ([], [], True)
    assert found.summary["groups"] == []


def test_a_group_has_as_many_rows_as_are_asked_for(some: Planted) -> None:
    found = ss.compare(*some.pair, **SETTINGS, least_group=140)
    assert min(one.size for one in found.groups) >= 140
    assert agreement(found, some.truth[0]) >= 0.9
    assert agreement(found, some.truth[1]) < 0.5


@pytest.mark.parametrize("n", [3, 20, 45])
def test_few_rows_have_few_groups_or_none(n: int) -> None:
    few = np.random.default_rng(0).normal(size=(2, n, 3)).astype(np.float32)
    found = ss.compare(*few, sigma=(1.0, 1.0), certify=0, rounds=2, threads=1)
    assert [one for one in found.groups if one.certified] == []
    assert found.looked_for_groups


def test_no_round_looks_for_no_groups(some: Planted) -> None:
    found = ss.compare(*some.pair, **SETTINGS, rounds=0)
    assert not found.looked_for_groups
    assert found.summary["groups"] is None
    assert "groups" not in {step["name"] for step in found.summary["plan"]["steps"]}


@pytest.mark.slow
def test_an_interrupted_membership_pass_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, some: Planted
) -> None:
    events: list[Event] = []
    settings = {**SETTINGS, "out": tmp_path / "out"}
    executor = LocalExecutor(Threads(1), patience=0)
    with monkeypatch.context() as broken:
        broken.setattr("specscale.method.comparison.ResultWriter.groups", _interrupted)
        with pytest.raises(Interruption):
            ss.compare(*some.pair, **settings, executor=executor)
    found = ss.compare(*some.pair, **settings, resume=True, progress=events.append)
    done = {one.name: one.done for one in events if isinstance(one, PassStarted)}
    assert done == {"covariance": 900, "scores": 900, "groups": 900}
    assert_same_groups(found, ss.compare(*some.pair, **SETTINGS))


def _interrupted(*_: Any) -> None:
    raise Interruption


@pytest.mark.slow
def test_groups_without_a_covariance_to_go_on_from_are_taken_up(tmp_path: Path, some: Planted) -> None:
    settings = {**SETTINGS, "features": "exact", "size": None, "rounds": 2, "n_modes": 1}
    with pytest.raises(Interruption):
        ss.compare(*some.pair, **settings, out=tmp_path / "out", progress=stop_at("groups, round 2"))
    found = ss.compare(*some.pair, **settings, out=tmp_path / "out", resume=True)
    assert_same_groups(found, ss.compare(*some.pair, **settings))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["groups under way", "covariance, round 2", "groups, round 2 under way"])
def test_a_killed_search_goes_on(tmp_path: Path, run_python: Run, stage: str) -> None:
    sides = planted(70_000, (9000, 4000), (6000, 2500))
    names = [str(tmp_path / f"{name}.zarr") for name in "ab"]
    for name, x in zip(names, sides.pair, strict=True):
        ingest(x, name)
    settings = {"size": 40, "sigma": (3.0, 3.0), "certify": 0, "n_modes": 1, "top": 10, "rounds": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans_module, "_MOST_CHUNKS", 1)
        done = run_python(KILLED, *names, str(tmp_path / "out"), stage)
        assert done.returncode == -signal.SIGKILL, done.stderr
        found = ss.compare(*names, out=tmp_path / "out", resume=True, **settings)
        assert_same_groups(found, ss.compare(*names, **settings))


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("options", [{"rounds": 2}, {"features": "exact", "size": None, "sample": 1200, "rounds": 2}])
def test_workers_find_the_groups_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(spans_module, "_MOST_CHUNKS", 1)
    sides = planted(70_000, (9000, 4000), (6000, 2500))
    a, b = sides.a.copy(), sides.b
    a[::9] = np.nan
    settings: dict[str, Any] = {**SETTINGS, "size": 30, "n_modes": 1, "on_bad": "drop", **options}
    here = ss.compare(a, b, **settings)
    with forked_workers(), local_cluster(2) as client:
        there = ss.compare(a, b, out=tmp_path / "there", **{**settings, "threads": None}, executor=client)
    assert_same_groups(there, here)


@pytest.mark.slow
def test_a_card_finds_the_groups_of_the_cores(card: type[CardKernels], some: Planted) -> None:
    here, there = (ss.compare(*some.pair, **SETTINGS, rounds=2, device=device) for device in ("cpu", "cuda"))
    assert there.summary["device"]["name"] == "cuda"
    assert [one.core for one in there.groups] == [one.core for one in here.groups]
    np.testing.assert_array_equal(there.memberships[:], here.memberships[:])
    np.testing.assert_allclose(there.likeness[:], here.likeness[:], atol=1e-4)


@pytest.fixture
def peaks() -> Iterator[tuple[dict[str, int], Any]]:
    """The most bytes that each step held, and what takes its events."""
    found: dict[str, int] = {}
    under_way = ["before"]

    def note(event: Event) -> None:
        if isinstance(event, Stage):
            found[under_way[0]] = max(found.get(under_way[0], 0), tracemalloc.get_traced_memory()[1])
            tracemalloc.reset_peak()
            under_way[0] = event.name.split(", sweep")[0]

    tracemalloc.start()
    yield found, note
    tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "options"),
    [
        (4000, {"n_modes": 100, "size": 150}),
        (4000, {"features": "exact", "size": None}),
        (4000, {"refine": 1}),
        (12_000, {"n_modes": 16, "top": 2000}),
    ],
    ids=["many modes", "exact", "refined", "long lists"],
)
def test_no_round_takes_more_memory_than_the_plan_says(
    n: int, options: dict[str, Any], peaks: tuple[dict[str, int], Any]
) -> None:
    sides = planted(n, (n // 4, n // 10), (n // 8,))
    ss.compare(*planted(300, (60,)).pair, **{**SETTINGS, "size": 20})  # what is loaded and compiled once is of no step
    found, note = peaks
    result = ss.compare(*sides.pair, **{**SETTINGS, "threads": 2, **options}, rounds=2, progress=note)
    note(Stage("end"))
    planned = {step["name"]: step["memory"] for step in result.summary["plan"]["steps"]}
    of_groups = [name for name in planned if "round" in name or name == "groups"]
    assert {"groups", "groups, round 2"} < set(of_groups)
    over = {name: found[name] - planned[name] for name in of_groups if name in found}
    assert over
    assert max(over.values()) < 4 << 20, {name: f"{value:,}" for name, value in over.items()}
