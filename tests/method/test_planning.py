"""Plans for other numbers of rows and for the workers of a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import command, priced
from hypothesis import given
from hypothesis import strategies as st

import specscale as ss
from specscale.cost import Cost
from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.rows import Match, PairedRows
from specscale.errors import OptionError, PlanError
from specscale.features.base import FeatureMap
from specscale.features.linear import LinearMap
from specscale.grouping.cores import CORES
from specscale.method.comparison import comparison_steps
from specscale.method.fitting import largest_size
from specscale.method.group_records import DRAWN
from specscale.method.options import Options
from specscale.method.plan import SLACK, Plan, Workers
from specscale.method.planner import Planner
from specscale.passes.tallies import empty_tallies
from specscale.places.files import located
from specscale.runtime.machine import Machine
from specscale.runtime.spans import Span, cut_spans
from specscale.spectral.tiles import TiledSymmetric
from specscale.units import parse_rows

MakePair = Callable[..., Any]
MakeStore = Callable[..., Path]
MACHINE = Machine(200e9, 2e9, 2)
SHARED = ["covariance", "scores", "certificate", "groups"]


def planner(
    n: int | None = None, workers: Workers | None = None, dropped: int = 0, p: int = 8, **options: Any
) -> Planner:
    """A planner of 200 rows, or of another number like them."""
    a, b = (np.zeros((200, p), np.float16) for _ in range(2))
    kept = None if not dropped else np.arange(200) >= dropped
    rows = PairedRows((ArrayEmbedding(a, "a"), ArrayEmbedding(b, "b")), kept, Match("position", 200, 0, 0, dropped))
    chosen = Options(**{"kernel": "cosine", **options})
    own = Planner(rows, chosen, comparison_steps, 300 << 20, 1 << 40, MACHINE, rows.n, rows.n_kept)
    return own if n is None and workers is None else own.projected(n, workers, None)


def plan_of(n: int | None, workers: int | None, p: int = 8, rate: float | None = None, **options: Any) -> Plan:
    cluster = None if workers is None else Workers(workers, rate)
    return planner(n, cluster, p=p, **options).plan(maps_of(p))


def maps_of(p: int) -> tuple[FeatureMap, ...]:
    return LinearMap(p), LinearMap(p)


def total(plan: Plan) -> float:
    return sum(plan.seconds(MACHINE).values())


ROWS = st.integers(1_000, 5_000_000_000)
WIDTHS = st.sampled_from([4, 100, 1000])


# --- one worker, and many


@given(n=ROWS, p=WIDTHS, refine=st.integers(0, 1))
def test_one_worker_takes_what_a_process_takes(n: int, p: int, refine: int) -> None:
    alone, one = plan_of(n, None, p, refine=refine), plan_of(n, 1, p, refine=refine)
    assert one.seconds(MACHINE) == alone.seconds(MACHINE)
    assert (one.operations, one.disk, one.spans, one.d) == (alone.operations, alone.disk, alone.spans, alone.d)
    assert one.steps == alone.steps


def test_the_same_number_of_rows_is_the_same_plan() -> None:
    own, same = planner(dropped=30).plan(maps_of(8)), planner(200, dropped=30).plan(maps_of(8))
    assert (same.steps, same.spans, same.n, same.n_kept) == (own.steps, own.spans, 200, 170)
    assert same.rows_given is None
    assert own.memory == 1 << 40


@given(n=ROWS, p=WIDTHS, workers=st.integers(2, 5_000), more=st.integers(1, 5_000))
@pytest.mark.slow
def test_more_workers_are_never_slower(n: int, p: int, workers: int, more: int) -> None:
    few, many = plan_of(n, workers, p), plan_of(n, workers + more, p)
    assert total(many) <= total(few) * (1 + 1e-12)


def test_seconds_shrink_to_what_spans_and_the_client_bound() -> None:
    alone = plan_of(1_000_000_000, None, 1000)
    seconds = alone.seconds(MACHINE)
    spans = len(alone.spans)
    found = [plan_of(1_000_000_000, workers, 1000) for workers in (1, 4, 16, 64, 256, spans, 10 * spans)]
    totals = [total(plan) for plan in found]
    assert totals[:-1] == sorted(totals[:-1], reverse=True)
    assert len(set(totals[:-1])) == len(totals) - 1
    assert totals[-1] == totals[-2]
    serial = sum(seconds[step.name] for step in alone.steps if step.name not in SHARED)
    longest = max(span.stop - span.start for span in alone.spans) / alone.n
    shared = {step.name: step for step in alone.steps if step.name in SHARED}
    moving = sum(step.partial for step in shared.values()) * (2 + 3 * (spans - 1).bit_length()) / MACHINE.read_rate
    bound = serial + longest * sum(seconds[name] for name in SHARED) + moving
    assert totals[-1] == pytest.approx(bound)
    # Where each worker has many spans, the passes are as many times faster but for what moves.
    four, merges = found[1].seconds(MACHINE)["covariance"], -(-(spans - 1) // 4)
    moves = shared["covariance"].partial * (-(-spans // 4) + 3 * merges + 1) / MACHINE.read_rate
    assert four == pytest.approx(seconds["covariance"] / 4 + moves, rel=1e-3)


@given(n=ROWS, more=st.integers(0, 10_000_000), p=WIDTHS, workers=st.none() | st.integers(1, 300))
def test_more_rows_never_take_less(n: int, more: int, p: int, workers: int | None) -> None:
    few, many = plan_of(n, workers, p), plan_of(n + more, workers, p)
    # Cores of groups take the same of any number of rows, of which more are with other workers.
    assert total(many) >= total(few) * (1 - 1e-7)
    assert many.operations >= few.operations
    assert many.disk >= few.disk
    assert many.peak >= few.peak
    assert all(many.moved(b) >= few.moved(a) for a, b in zip(few.steps, many.steps, strict=True))


@given(rounds=st.integers(0, 4), rest=st.integers(0, 3), last=st.integers(1, 7), workers=st.integers(1, 5))
def test_the_slowest_worker_has_most_rows(rounds: int, rest: int, last: int, workers: int) -> None:
    lengths = max(rounds * workers + rest, 1)
    ends = [*range(7, 7 * lengths, 7), 7 * (lengths - 1) + last]
    spans = [Span(i, stop - (7 if i < lengths - 1 else last), stop) for i, stop in enumerate(ends)]
    n = ends[-1]
    hands = [0] * workers
    for span in spans:  # dealt out in turn
        hands[span.index % workers] += span.stop - span.start
    step = Cost("pass", 1, operations=1e12, speed=1.0, partial=0)
    plan = Plan(n, n, 4, 8, spans, priced(step), 0, None, workers=Workers(workers))
    assert plan._largest_share(step, workers) == pytest.approx(max(hands) / n)


def test_a_rate_that_is_given_speeds_up_the_passes_alone() -> None:
    own, given = plan_of(10**9, 1, 1000), plan_of(10**9, 1, 1000, rate=2 * MACHINE.gemm_rate)
    before, after = own.seconds(MACHINE), given.seconds(MACHINE)
    reading = next(step.read for step in own.steps if step.name == "covariance") / MACHINE.read_rate
    assert after["covariance"] == pytest.approx(max(before["covariance"] / 2, reading))
    assert all(after[name] == before[name] for name in before if name not in SHARED)
    fastest = plan_of(10**9, 1, 1000, rate=1e30).seconds(MACHINE)
    assert fastest["covariance"] == pytest.approx(reading)


# --- what moves, and what is held


def test_partial_results_are_counted() -> None:
    n, p, k, top = 10**9, 1000, 20, 50
    plan = plan_of(n, 64, p, top=top, certify=128)
    spans = len(cut_spans(n, 2 * p, 32_768))
    assert len(plan.spans) == spans
    steps = {step.name: step for step in plan.steps}
    sizes = {
        "covariance": 8 * TiledSymmetric.size(2 * p),
        "scores": 4 * k * 8 + 2 * k * top * 16,
        "certificate": 2 * 128 * k * 8,
        "groups": sum(one.nbytes for one in empty_tallies(2 * k * CORES, top, DRAWN).values()),  # two ends of each mode
    }
    assert sorted(sizes) == sorted(SHARED)
    for name, size in sizes.items():
        assert plan.moved(steps[name]) == size * (spans + 3 * (spans - 1) + 1)
    for name in steps.keys() - sizes.keys():
        assert plan.moved(steps[name]) == 0
        assert not plan.shared(steps[name])
    alone = plan_of(n, None, p, top=top)
    assert all(alone.moved(step) == 0 for step in alone.steps)


def test_partial_results_are_as_large_as_the_passes_make_them(make_pair: MakePair) -> None:
    from specscale.kernels.base import load_kernels
    from specscale.passes.covariance import covariance
    from specscale.passes.scores import MappedScores, score

    maps = maps_of(30)
    made = covariance(maps).create(load_kernels("reference"))
    steps = {step.name: step for step in plan_of(10**6, 2, 30, top=50).steps}
    assert made["gram"].nbytes == steps["covariance"].partial
    source = MappedScores(maps, np.zeros((60, 20)), 10)
    work = score(source, np.zeros((20, 20)), n=10, top=50, chunk_rows=8, write=lambda *_: None)
    assert sum(array.nbytes for array in work.create(load_kernels("reference")).values()) == steps["scores"].partial


@given(n=ROWS, p=WIDTHS, workers=st.integers(1, 500), refine=st.integers(0, 1))
def test_memory_of_workers_and_of_the_client(n: int, p: int, workers: int, refine: int) -> None:
    alone, plan = plan_of(n, None, p, refine=refine), plan_of(n, workers, p, refine=refine)
    for step in plan.steps:
        assert plan.client_memory(step) > 0
        if plan.shared(step):
            assert 0 < plan.worker_memory(step) <= step.memory
            assert plan.client_memory(step) <= step.memory
            assert plan.client_memory(step) >= step.partial
        else:
            assert (plan.client_memory(step), plan.worker_memory(step)) == (step.memory, 0)
    assert plan.peak <= alone.peak
    told = plan.to_json(MACHINE)["workers"]
    assert plan.peak == max(told["peak"], told["client_peak"])
    # Nothing that a worker holds grows with the rows.
    if n > 10**6:
        assert told["peak"] <= plan_of(10**6, workers, p, refine=refine).to_json(MACHINE)["workers"]["peak"]


def test_workers_share_all_that_passes_over_the_rows() -> None:
    refined, exact = plan_of(80_000, 8, refine=1), planner(80_000, Workers(8), features="exact").plan(())
    assert [step.name for step in refined.steps if refined.shared(step)] == [
        *("covariance", "start", "refine", "scores", "certificate", "groups")
    ]
    assert [step.name for step in exact.steps if exact.shared(step)] == [*("exact", "scores", "certificate", "groups")]


# --- other numbers of rows


def test_the_share_of_rows_that_take_part_stays() -> None:
    plan = planner(1_000_000, dropped=30).plan(maps_of(8))
    assert (plan.n, plan.n_kept, plan.rows_given) == (1_000_000, 850_000, 200)
    sampled = planner(1_000_000, dropped=30, sample=1000).plan(maps_of(8))
    assert (sampled.n, sampled.n_kept) == (1_000_000, 1000)


def test_exact_modes_of_too_many_rows_are_refused_and_of_fewer_planned() -> None:
    with pytest.raises(OptionError, match=r"--sample"):
        largest_size(planner(1_000_000, features="exact"))
    assert largest_size(planner(1_000_000, features="exact", sample=50_000)) == 0


@pytest.mark.slow
def test_what_this_machine_has_free_does_not_limit_another(make_pair: MakePair) -> None:
    a, b = make_pair(300)
    plan, machine = ss.plan(a, b, size=40, rows="1e8", threads=1)
    assert plan.memory is None
    assert plan.peak > 16 * 10**8
    assert plan.to_json(machine)["memory"]["allowed"] is None
    with pytest.raises(PlanError, match="duplicates"):
        ss.plan(a, b, size=40, rows="1e8", workers=4, memory="1500M")
    with pytest.raises(PlanError, match="here"):
        ss.plan(a, b, size=10**6, rows=10**9)


def test_a_plan_without_these_options_is_what_it_was(make_pair: MakePair) -> None:
    a, b = make_pair(300)
    plan, machine = ss.plan(a, b, size=40, threads=1)
    told = plan.to_json(machine)
    assert (told["workers"], told["rows_given"]) == (None, None)
    assert isinstance(told["memory"]["allowed"], int)
    assert all(step["moved"] == 0 for step in told["steps"])


@pytest.mark.parametrize("text", ["1e9", "1_000_000_000", "1000000000", 10**9, 1e9, np.int64(10**9), " 1e9 "])
def test_numbers_of_rows(text: str | float) -> None:
    assert parse_rows(text) == 10**9


NONSENSE = [
    {"rows": 0}, {"rows": 1}, {"rows": "-5"}, {"rows": "1.5"}, {"rows": "many"}, {"rows": "nan"}, {"rows": "inf"},
    {"rows": "1e30"}, {"rows": ""}, {"rows": [3]}, {"workers": 0}, {"workers": -3}, {"workers": 1.5},
    {"workers": "four"}, {"rate": "30T"}, {"workers": 2, "rate": "0"}, {"workers": 2, "rate": "-1e9"},
    {"workers": 2, "rate": "30X"}, {"workers": 2, "rate": "nan"}, {"workers": 2, "rate": "1e999"},
    {"workers": 2, "rate": -5.0}, {"workers": 2, "rate": ""},
]  # fmt: skip


@pytest.mark.parametrize("options", NONSENSE, ids=str)
def test_nonsense_is_one_line(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"--(rows|workers|rate)") as caught:
        ss.plan("no such file", "nor this one", **options)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("text", "rate"), [("30T", 3e13), ("30e12", 3e13), (3e13, 3e13), ("1.5 p", 1.5e15), (7, 7.0)])
def test_rates(text: str | float, rate: float) -> None:
    found = Workers.of(3, text)
    assert found == Workers(3, rate)
    assert Workers.of(3, None) == Workers(3)
    assert Workers.of(None, None) is None


# --- the disk


def test_workers_have_more_partial_results_on_the_disk() -> None:
    alone, few, many = (plan_of(10**9, workers, 1000) for workers in (None, 8, 64))
    partials = sum(step.partial for step in alone.steps)
    assert few.disk - alone.disk == 14 * partials
    assert many.disk - alone.disk == 126 * partials


def test_an_object_store_has_no_limit_known(tmp_path: Path) -> None:
    plan = Plan(10, 10, 4, 8, [Span(0, 0, 10)], priced(Cost("wide", 1, disk=1 << 60)), 0, None)
    plan.check_disk(located("memory://folder/work"))
    with pytest.raises(PlanError, match="disk"):
        plan.check_disk(tmp_path / "not" / "there")


# --- the command


@pytest.fixture
def stores(make_pair: MakePair, make_store: MakeStore) -> tuple[Path, Path]:
    a, b = make_pair(300)
    return make_store("a", a), make_store("b", b)


@pytest.mark.slow
def test_the_plan_of_a_cluster_is_printed_with_what_it_assumes(
    stores: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", *stores, "--size", "40", "--rows", "1e9", "--threads", "2"]
    assert command(monkeypatch, *words, "--workers", "64", "--rate", "30T") == 0
    out = capsys.readouterr().out
    assert "1,000,000,000 rows" in out
    assert "64 workers of 30,000 GFLOP/s" in out
    by = {line.split()[0]: line.split()[1] for line in out.splitlines() if " client " in line or " workers " in line}
    assert all(by[name] == "workers" for name in SHARED)
    assert all(by[name] == "client" for name in ("bandwidth", "landmarks", "solve"))
    assert "duplicates" not in by  # of so many rows
    assumed = out.partition("assumed:")[2]
    for words_of in ("given, not measured", "page cache", "no worker is slower", "client", "300 of A and B"):
        assert words_of in assumed
    assert command(monkeypatch, *words, "--workers", "64") == 0
    assert "worker measured" in capsys.readouterr().out
    assert command(monkeypatch, *words) == 0
    alone = capsys.readouterr().out
    assert "worker" not in alone
    assert "300 of A and B" in alone


def test_the_plan_of_a_cluster_as_json(
    stores: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", *stores, "--size", "40", "--rows", "1_000_000_000", "--workers", "64", "--rate", "30T", "--json"]
    assert command(monkeypatch, *words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["rows_compared"], told["rows_given"]) == (10**9, 10**9, 300)
    workers = told["workers"]
    assert (workers["count"], workers["rate"], workers["rate_measured"]) == (64, 3e13, False)
    assert workers["moved"] == sum(step["moved"] for step in told["steps"]) > 0
    assert told["memory"]["peak"] == max(workers["peak"], workers["client_peak"]) > told["memory"]["base"] + SLACK


def test_a_plan_without_these_options_prints_no_assumptions(
    stores: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "plan", *stores, "--size", "40", "--threads", "2") == 0
    out = capsys.readouterr().out
    assert "assumed" not in out
    assert "allowed, disk" in out
    assert command(monkeypatch, "plan", *stores, "--workers", "0") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
