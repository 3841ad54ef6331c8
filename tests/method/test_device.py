"""What the passes run on: what a plan and a result say of it, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cards import NAME, CardKernels, at_once, card
from conftest import command, structured
from interruptions import Interruption, stop_at
from numpy.typing import NDArray
from recording import RecordingDevice

import specscale as ss
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.errors import ChangedError, DeviceError, OptionError, PlanError
from specscale.kernels import base
from specscale.kernels.base import load_kernels
from specscale.kernels.gpu import GpuKernels
from specscale.kernels.precision import PRODUCTS, Precision
from specscale.method.plan import DEVICE_SLACK
from specscale.method.update import compare_grown
from specscale.runtime import sweeper
from specscale.runtime.events import Event, Noted, Stage
from specscale.runtime.machine import Card, Machine

__all__ = ["card"]

SMALL: dict[str, Any] = {"rounds": 0, "size": 40, "sigma": (2.0, 2.0), "certify": 50, "n_modes": 3, "top": 20}
MakeStore = Callable[..., Path]


# --- what is refused


@pytest.mark.parametrize("function", [ss.compare, ss.plan, lambda a, b, **given: ss.compare_many([a, b], **given)])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"device": "gpu"}, "^--device is cpu or cuda, not 'gpu'"),
        ({"device": None}, "^--device is cpu or cuda, not None"),
        ({"precision": "float16"}, "^--precision is float32, tf32 or 3xtf32, not 'float16'"),
        ({"precision": "tf32"}, "^--precision tf32 goes with --device cuda"),
        ({"precision": "3xtf32"}, "^--precision 3xtf32 goes with --device cuda"),
        ({"precision": "tf32", "device": "cuda"}, "^--precision tf32 is off .*python -m bench gpu"),
    ],
)
def test_what_does_not_go_is_told(function: Callable[..., Any], given: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        function(*structured(50), **given)


@pytest.mark.parametrize("function", [ss.compare, ss.plan, lambda a, b, **given: ss.compare_many([a, b], **given)])
def test_without_cupy_a_line_says_how_to_have_it(function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"^--device cuda needs CuPy .*specscale\[gpu\]"):
        function(*structured(50), device="cuda")


class Tensor(CardKernels):
    """The imaginary card, where some products would be made by tensor cores."""

    name = "cuda-tf32"


@pytest.mark.slow
def test_a_precision_that_was_measured_is_kept(
    card: type[CardKernels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("specscale.kernels.precision.MEASURED", {"tf32": frozenset({"covariance"})})
    monkeypatch.setattr("cards.Tensor", Tensor, raising=False)
    monkeypatch.setitem(base.BACKENDS, "cuda-tf32", "cards:Tensor")
    a, b = structured(400)
    given: dict[str, Any] = {"device": "cuda", **SMALL}
    with pytest.raises(Interruption):
        ss.compare(a, b, out=tmp_path / "out", progress=stop_at("scores"), precision="tf32", **given)
    with pytest.raises(ChangedError, match='begun with precision "tf32", now it is "float32"'):
        ss.compare(a, b, out=tmp_path / "out", resume=True, **given)
    result = ss.compare(a, b, out=tmp_path / "out", resume=True, precision="tf32", **given)
    assert result.summary["options"]["precision"] == "tf32"
    assert result.summary["device"]["name"] == "cuda-tf32"
    for go_on in (result.with_eta, lambda eta, **where: compare_grown(result, a, b, **where)):
        with pytest.raises(OptionError, match=r"^--precision tf32 goes with --device cuda"):
            go_on(0.5)
    assert result.with_eta(0.5, device="cuda").summary["device"]["name"] == "cuda-tf32"


# --- what a plan says


@pytest.mark.slow
def test_a_plan_asks_the_card(card: type[CardKernels], monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = (ss.plan(*structured(300), device=device, **{**SMALL, "rounds": 1}) for device in ("cpu", "cuda"))
    told = [plan.to_json(machine) for plan, machine in (here, there)]
    assert "card" not in told[0]
    assert all("device_memory" not in step for step in told[0]["steps"])
    found = told[1]["card"]
    assert found["name"] == NAME
    assert found["gemm_rate"] > 0
    assert found["copy_rate"] > 0
    assert DEVICE_SLACK < found["peak"] < found["memory"] == card.memory
    on_card = {step["name"]: step["device_memory"] for step in told[1]["steps"]}
    assert {name for name, memory in on_card.items() if memory} == {"covariance", "scores", "certificate", "groups"}
    assert found["peak"] == DEVICE_SLACK + max(on_card.values())
    assert told[0]["machine"].keys() == told[1]["machine"].keys()


@pytest.mark.slow
def test_the_seconds_of_a_pass_are_those_of_the_card(card: type[CardKernels]) -> None:
    plan, _ = ss.plan(*structured(300), device="cuda", **SMALL)

    def seconds(gemm_rate: float, copy_rate: float, read_rate: float = 1e12) -> dict[str, float]:
        return plan.seconds(Machine(1e9, read_rate, 1, Card(NAME, gemm_rate, copy_rate, 1 << 40)))

    slow, fast = seconds(1e9, 1e12), seconds(1e10, 1e12)
    assert slow["covariance"] == pytest.approx(10 * fast["covariance"])
    assert slow["solve"] == fast["solve"]
    copied, read = seconds(1e18, 1e6), seconds(1e18, 1e12, 1e6)
    (step,) = (one for one in plan.steps if one.name == "covariance")
    assert copied["covariance"] == read["covariance"] == pytest.approx(step.read / 1e6)


@pytest.mark.slow
def test_the_card_of_a_worker_is_as_fast_as_this_one(card: type[CardKernels]) -> None:
    fast = Machine(1e9, 1e15, 1, Card(NAME, 1e9, 1e15, 1 << 40))
    (alone, _), (as_here, machine), (slower, _) = (
        ss.plan(*structured(300), device="cuda", **SMALL, **more)
        for more in ({}, {"workers": 1}, {"workers": 1, "rate": 2.5e8})
    )
    assert as_here.to_json(machine)["workers"]["rate"] == machine.card.gemm_rate
    seconds = [one.seconds(fast)["covariance"] for one in (alone, as_here, slower)]
    assert seconds[0] == seconds[1] == pytest.approx(seconds[2] / 4)


@pytest.mark.slow
def test_sizes_follow_the_memory_of_the_card(card: type[CardKernels], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = structured(300)
    given: dict[str, Any] = {"features": "fourier", "sigma": (2.0, 2.0), "device": "cuda"}
    whole, _ = ss.plan(a, b, **given)
    assert whole.d == 4000
    monkeypatch.setattr(card, "memory", whole.device_peak - (32 << 20) + card.taken)
    less, _ = ss.plan(a, b, **given)
    assert 0 < less.d < 4000
    assert less.device_peak <= less.card.memory
    needs = rf"^the plan needs .* of device memory \(in the covariance step\), .* of {NAME} are free: "
    with pytest.raises(PlanError, match=rf"{needs}--size {less.d // 4} brings it under$"):
        ss.plan(a, b, size=1000, **given)
    monkeypatch.setattr(card, "memory", 1 << 20)
    with pytest.raises(PlanError, match=r"of device memory .* are free: compare with --device cpu$"):
        ss.plan(a, b, **given)
    with pytest.raises(PlanError, match=r"of device memory .* are free: compare with --device cpu$"):
        ss.compare(a, b, kernel="cosine", device="cuda")
    assert ss.plan(a, b, **{**given, "device": "cpu"})[0].d == 4000


Look = Callable[[], int]
"""Tells the most that a card held since it was asked before."""


def peaks(look: Look, found: dict[str, int]) -> Callable[[Event], None]:
    """What takes events, and notes the most that a card held in each step, which `look` tells."""
    now = ""

    def progress(event: Event) -> None:
        nonlocal now
        if isinstance(event, Stage):
            found[now] = max(found.get(now, 0), look())
            now = event.name.partition(", sweep")[0]

    return progress


def imaginary(card: type[CardKernels], monkeypatch: pytest.MonkeyPatch) -> Look:
    """Passes run on the card that does at once what it is asked for."""

    def look() -> int:
        peak, card.peak = card.peak, card.taken
        return peak

    return look


def in_small_blocks(card: type[CardKernels], monkeypatch: pytest.MonkeyPatch) -> Look:
    """Passes run on the card that does at once what it is asked for, a few rows at a time."""
    with_small_blocks(monkeypatch, 4096)
    return imaginary(card, monkeypatch)


def with_small_blocks(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Have plans and passes take blocks and stripes of so many rows, which are passed over sooner."""
    import_module("specscale.method.compare")  # with all that a comparison is made of
    for name, module in [*sys.modules.items()]:
        # Where they are from they stay, for modules that are yet to be imported.
        if name.startswith("specscale.") and name not in ("specscale.grid", "specscale.features.bandwidth"):
            for constant in vars(module).keys() & {"BLOCK_ROWS", "SAMPLE_ROWS", "STRIPE_ROWS"}:
                monkeypatch.setattr(module, constant, rows)
    for backend in (GpuKernels, CardKernels):
        monkeypatch.setattr(backend, "slice_rows", rows)


def recording(card: type[CardKernels], monkeypatch: pytest.MonkeyPatch, asked: Precision = "float32") -> Look:
    """Passes run on the recording device, with the kernels of a real card."""
    made: list[GpuKernels] = []

    monkeypatch.setattr("specscale.kernels.apart._CALIBRATED", 64)
    with_small_blocks(monkeypatch, 1024)

    def make() -> GpuKernels:
        made.append(GpuKernels(RecordingDevice(at_once), asked))
        return made[-1]

    monkeypatch.setattr("cards.recording_card", make, raising=False)
    for name in ("cuda", f"cuda-{asked}"):
        monkeypatch.setitem(base.BACKENDS, name, "cards:recording_card")

    def look() -> int:
        peak = max((one.peak_memory() for one in made), default=0)
        for one in made:
            one._peak = 0
        return peak

    return look


def splitting(card: type[CardKernels], monkeypatch: pytest.MonkeyPatch) -> Look:
    """Passes run on the recording device, and tensor cores multiply what is split in two."""
    monkeypatch.setattr("specscale.kernels.precision.MEASURED", {"3xtf32": frozenset(PRODUCTS)})
    return recording(card, monkeypatch, "3xtf32")


SPLIT: dict[str, Any] = {"precision": "3xtf32", "n_modes": 4}


@pytest.mark.parametrize(
    ("on", "apart", "options"),
    [
        (imaginary, 0, {"features": "fourier", "size": 100}),
        (imaginary, 0, {"features": "landmarks", "size": 200}),
        (imaginary, 0, {"kernel": "cosine", "certify": 1000}),
        (imaginary, 0, {"features": "landmarks", "size": 600, "certify": 5000, "n_modes": 40, "top": 1000}),
        (in_small_blocks, 0, {"features": "landmarks", "size": 200, "refine": 1, "n_modes": 4}),
        (in_small_blocks, 3e4, {"features": "landmarks", "size": 200, "refine": 1, "n_modes": 4}),
        (recording, 0, {"features": "landmarks", "size": 100, "n_modes": 4}),
        (recording, 3e4, {"features": "fourier", "size": 40}),
        (splitting, 0, {"features": "fourier", "size": 100, **SPLIT}),
        (splitting, 0, {"features": "landmarks", "size": 100, "refine": 1, **SPLIT}),
    ],
    ids=[
        *("fourier", "landmarks", "linear", "many", "refined", "wide", "recorded", "recorded wide"),
        *("split", "split and refined"),
    ],
)
@pytest.mark.slow
def test_no_step_takes_more_of_the_card_than_was_planned(
    card: type[CardKernels],
    monkeypatch: pytest.MonkeyPatch,
    on: Callable[..., Look],
    apart: float,
    options: dict[str, Any],
) -> None:
    measured: dict[str, int] = {}
    progress = peaks(on(card, monkeypatch), measured)
    a, b = structured(sweeper.BLOCK_ROWS + 108, 60, 40)
    for one in (a, b):
        one[::2] += apart  # rows that are near one another and far from their centre
    result = ss.compare(a, b, device="cuda", progress=progress, rounds=0, **{"sigma": (2.0, 2.0), **options})
    progress(Stage("end"))
    assert apart == 0 or all(one["wide"] for one in result.maps)
    planned = {step["name"]: step["device_memory"] for step in result.summary["plan"]["steps"]}
    for name, memory in planned.items():
        if memory:
            assert measured[name] <= memory, name
            if name != "groups":  # which is planned with as many cores as there can be
                assert measured[name] > 0.15 * memory, name  # more would refuse what fits


# --- what a result says


@pytest.mark.slow
def test_a_result_says_what_its_passes_ran_on(
    card: type[CardKernels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = structured(400)
    here, there = (ss.compare(a, b, out=tmp_path / name, device=name, **SMALL) for name in ("cpu", "cuda"))
    assert "device" not in here.summary
    assert there.summary["device"] == {"name": "cuda", "card": NAME}
    assert "peak_device_memory" not in here.summary["measured"]
    assert there.summary["measured"]["peak_device_memory"] == card.peak > 0
    assert there.summary["options"]["precision"] == "float32"
    np.testing.assert_allclose(here.eigenvalues, there.eigenvalues, rtol=1e-4)
    # One that was written before there were devices.
    summary = json.loads((tmp_path / "cpu" / "summary.json").read_text())
    del summary["options"]["precision"]
    (tmp_path / "cpu" / "summary.json").write_text(json.dumps(summary))
    assert ss.open_result(tmp_path / "cpu").options() == here.options()


@pytest.mark.slow
def test_a_run_is_not_taken_up_on_another_device(card: type[CardKernels], tmp_path: Path) -> None:
    a, b = structured(400)
    with pytest.raises(Interruption):
        ss.compare(a, b, out=tmp_path / "out", progress=stop_at("scores"), **SMALL)
    with pytest.raises(ChangedError, match=r'begun with backend "cpu", now it is "cuda".*--overwrite alone'):
        ss.compare(a, b, out=tmp_path / "out", resume=True, device="cuda", **SMALL)
    ss.compare(a, b, out=tmp_path / "out", resume=True, **SMALL)


def bits(result: ss.Result) -> list[Any]:
    return [result.eigenvalues.tobytes(), result.scores[:].tobytes(), (result.path / "modes.parquet").read_bytes()]


@pytest.mark.parametrize(("before", "now"), [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")])
@pytest.mark.slow
def test_an_update_takes_the_partial_sums_of_its_own_device(
    card: type[CardKernels],
    make_store: MakeStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    now: str,
) -> None:
    monkeypatch.setattr("specscale.runtime.spans._MOST_CHUNKS", 1)
    n = 2 * CHUNK_ROWS + 1000
    generator = np.random.default_rng(0)
    a, b = (generator.normal(size=(n, 2)).astype(np.float16) for _ in range(2))
    given: dict[str, Any] = {"kernel": "cosine", "certify": 0, "n_modes": 1, "top": 5}
    stores = [make_store(name, x) for name, x in (("a", a[: n - 500]), ("b", b[: n - 500]))]
    first = ss.compare(*stores, out=tmp_path / "first", device=before, **given)
    grown = [make_store(f"{name} grown", x) for name, x in (("a", a), ("b", b))]
    events: list[Event] = []
    updated = compare_grown(first, *grown, out=tmp_path / "second", device=now, progress=events.append)
    whole = ss.compare(*grown, out=tmp_path / "whole", device=now, **given)
    assert bits(updated) == bits(whole)
    assert (updated.record.device is None) == (now == "cpu")
    told = [event.message for event in events if isinstance(event, Noted) and "made on" in str(event.message)]
    assert len(told) == (before != now)


@pytest.mark.slow
def test_what_follows_from_a_result_runs_on_a_card_too(card: type[CardKernels], tmp_path: Path) -> None:
    a, b = structured(600)
    before = ss.compare(a, b, out=tmp_path / "before", device="cuda", **SMALL)
    fresh = ss.compare(a, b, out=tmp_path / "fresh", device="cuda", eta=0.5, **SMALL)
    again = before.with_eta(0.5, device="cuda")
    assert bits(again) == bits(fresh)
    assert again.record.device.card == NAME
    here = before.with_eta(0.5)
    assert here.record.device is None
    np.testing.assert_allclose(here.eigenvalues, fresh.eigenvalues, rtol=1e-5)
    groups = before.constrained(0.1, 2, device="cuda")
    assert groups.record.device.card == NAME
    np.testing.assert_allclose(groups.eigenvalues, before.constrained(0.1, 2).eigenvalues, rtol=1e-5)


# --- what stays on the host


@pytest.fixture
def nasty(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have the runs that follow use a backend, of which blocks are small."""
    monkeypatch.setitem(base.BACKENDS, "nasty", "_nasty:NastyKernels")
    monkeypatch.setattr("specscale.runtime.sweeper.BLOCK_ROWS", 600)
    return lambda name: monkeypatch.setattr("specscale.method.run.load_kernels", lambda _: load_kernels(name))


def pair(n: int = 1500) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    a, b = structured(n)
    b[::7] = np.nan
    return a, b


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.parametrize(
    "options",
    [
        {"features": "landmarks", "size": 30, "landmarks": "pivoted", "certify": 64},
        {"features": "landmarks", "sigma": ("auto", "median"), "certify": 64},
        {"features": "landmarks", "size": 30, "refine": 1, "certify": 64, "rotate": "varimax"},
        {"features": "orthogonal", "size": 30, "normalize": "standardise", "rotate": "varimax"},
        {"features": "exact", "sample": 700, "normalize": "unit", "certify": 64},
    ],
    ids=["pivoted", "sized", "refined", "rotated", "exact"],
)
@pytest.mark.slow
def test_what_is_chosen_and_solved_never_touches_the_memory_of_a_card(
    nasty: Callable[[str], None], options: dict[str, Any]
) -> None:
    found = []
    for name in ("reference", "nasty"):
        nasty(name)
        taken = {"sigma": (2.0, 2.0), "n_modes": 3, "top": 20, "on_bad": "drop", "threads": 2, **options}
        found.append(bits(ss.compare(*pair(), **taken)))
    assert found[0] == found[1]


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.slow
def test_nor_does_what_follows_from_a_result(
    nasty: Callable[[str], None], make_store: MakeStore, tmp_path: Path
) -> None:
    a, b = pair()
    short = [make_store(name, x[:1200], on_bad="keep") for name, x in (("a", a), ("b", b))]
    grown = [make_store(f"{name} grown", x, on_bad="keep") for name, x in (("a", a), ("b", b))]
    found = []
    for name in ("reference", "nasty"):
        nasty(name)
        before = ss.compare(*short, on_bad="drop", **SMALL)
        after = [before.with_eta(0.5), before.constrained(0.1, 2), compare_grown(before, *grown, out=tmp_path / name)]
        found.append([bits(one) for one in after])
    assert found[0] == found[1]


# --- what commands say


@pytest.mark.slow
def test_a_command_prints_what_a_plan_takes_of_the_card(
    card: type[CardKernels], make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = [make_store(name, x) for name, x in zip("ab", structured(300), strict=True)]
    words = ("plan", *stores, "--size", 40, "--sigma-a", 2, "--sigma-b", 2)
    assert command(monkeypatch, *words, "--device", "cuda") == 0
    told = capsys.readouterr().out
    assert f"{NAME}: " in told
    assert "1,024 GB of its memory free" in told
    assert "on the card" in told
    assert "of the card's 1,024 GB" in told
    assert command(monkeypatch, *words, "--device", "cuda", "--workers", 4, "--rows", "1e9") == 0
    told = capsys.readouterr().out
    assert f"passes on {NAME} at the rates measured here" in told
    assert "every worker has a card like this one, its rate measured on the card" in told
    assert command(monkeypatch, *words) == 0
    assert "card" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_command_prints_what_a_comparison_took_of_the_card(
    card: type[CardKernels],
    make_store: MakeStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stores = [make_store(name, x) for name, x in zip("ab", structured(300), strict=True)]
    for words in (("compare", *stores), ("matrix", *stores, stores[0])):
        assert command(monkeypatch, *words, "-o", tmp_path / words[0], "--size", 20, "--device", "cuda") == 0
        assert f"passes on {NAME} in float32, of whose memory they took " in capsys.readouterr().out
    wider = ("compare", *stores, "--update", tmp_path / "compare", "--precision", "tf32", "--device", "cuda")
    assert command(monkeypatch, *wider) == 1
    told = capsys.readouterr().err
    assert "keeps the options of that result, whose --precision is float32: leave --precision out" in told
    assert len(told.splitlines()) == 1
