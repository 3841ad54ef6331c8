"""What a card is measured by runs without one, to the last part, and what it reports is computed right."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from emulated import HostLibraries

import bench.gpu as gpu
from bench import gpu_exact, gpu_precision
from bench.gpu_card import Card, bearing
from bench.gpu_data import FALL, GROUPS, LARGEST, OWN, planted_pair, store_bytes
from bench.gpu_passes import _passes
from bench.gpu_precision import LARGEST_MOVE, LARGEST_NULL, OF_MAPS, PRECISIONS, _move, largest_sine
from bench.gpu_state import ROWS, Bench, Compared, Shape, Skipped
from specscale.embeddings.layout import chunk_digest
from specscale.embeddings.store import EmbeddingStore
from specscale.kernels.precision import MEASURED, PRODUCTS, precision_of
from specscale.runtime.threads import Threads

BLOCKED = ("dask", "distributed", "typer", "pandas", "sklearn", "matplotlib", "PIL", "rich", "cryptography", "cupy")
SIZES = {"frequencies": 12, "landmarks": 24, "exact": 300, "refined": 700, "agreed": 400, "judged": (500, 24, 250)}
SHAPE = Shape(rows=1000, dimensions=(12, 8), block=64, tile=16, order=32, solved=100, **SIZES)  # type: ignore[arg-type]

RUN = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
sys.path[:0] = [ROOT, TESTS]
from bench.gpu import main
from bench.gpu_card import Card
from bench.gpu_state import Shape
from emulated import HostLibraries, pretend

pretend()
settings = {"seconds": 1e6, "modes": 3, "peer_options": ("--device", "cpu")}
sys.exit(main(["--json", "found.json"], Card(HostLibraries(), 0.01), SHAPE, **settings))
"""


@pytest.mark.process
@pytest.mark.slow
def test_every_part_runs_with_nothing_but_what_it_needs(spawn_python: Callable[..., Any], tmp_path: Path) -> None:
    tests = Path(__file__).parent
    names = {"BLOCKED": BLOCKED, "ROOT": str(tests.parents[1]), "TESTS": str(tests), "SHAPE": SHAPE}
    code = RUN
    for name, value in names.items():
        code = code.replace(name, repr(value))
    done = spawn_python(code)
    content = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    parts = content["parts"]
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(parts) == list(gpu.PARTS)
    assert content["machine"]["card"] == "none"
    assert all("rows" in part for name, part in parts.items() if name != "peer"), parts
    assert "rows" in parts["peer"] or "torch" in parts["peer"]["skipped"]

    by_name = {name: {row["what"]: row for row in parts[name].get("rows", []) if "what" in row} for name in parts}
    d = 4 * SHAPE.frequencies
    row, operations = by_name["fourier"]["covariance"], SHAPE.rows * d * (d + 1)
    assert row["TFLOP/s"] == pytest.approx(1e-12 * operations / row["seconds"])
    assert row["of gemm"] == pytest.approx(operations / row["seconds"] / content["gemm"])
    for name in ("covariance", "scores", "certificate"):
        row = by_name["landmarks"][name]
        assert row["times the longer"] == pytest.approx(row["seconds"] / max(row["reading"], row["computing"]))
    stripes = [row for what, row in by_name["exact"].items() if what.startswith("a stripe")]
    assert [row["of float32's time"] for row in stripes] == [row["seconds"] / stripes[0]["seconds"] for row in stripes]
    (row,) = (row for what, row in by_name["exact"].items() if what.startswith("a sweep"))
    n, block = SHAPE.exact, 2 * (3 + 5)
    assert row["TFLOP/s"] * row["seconds"] == pytest.approx(2e-12 * n * n * (12 + 8 + 4 * block))

    found = {(row["product"], row["precision"]): row for row in parts["precision"]["rows"]}
    for product in (*OF_MAPS, "scores", "exact"):
        coarse, fine = (found[product, precision]["λ moves by"] for precision in PRECISIONS)
        assert 0 < fine < coarse, product
    judged = [row for row in found.values() if "bears it" in row]
    assert len(judged) == 1 + 2 * len(PRODUCTS)
    for row in judged:
        assert row["bears it"] == (row["null |λ|"] <= LARGEST_NULL and row["λ moves by"] <= LARGEST_MOVE)
    for row in parts["agreement"]["rows"]:
        assert row["λ differs by"] <= 1e-4
        assert row["sine of scores"] <= 1e-3


def test_a_part_that_fails_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(state: Bench) -> Any:
        raise ZeroDivisionError("of a card")

    def leave_out(state: Bench) -> Any:
        raise Skipped("no time")

    parts = {
        "first": gpu.Part(lambda state: [{"what": "x", "seconds": 2.0}], "one"),
        "second": gpu.Part(fail, "two"),
        "third": gpu.Part(leave_out, "three"),
        "fourth": gpu.Part(lambda state: [{"what": "y", "bears it": True}], "four"),
    }
    monkeypatch.setattr(gpu, "PARTS", parts)
    path = tmp_path / "kept" / "gpu.json"
    status = gpu.main(["--json", str(path), "--rows", "5000"], Card(HostLibraries()), SHAPE)
    found = json.loads(path.read_text(encoding="utf-8"))["parts"]
    assert status == 1
    assert found["first"]["rows"] == [{"what": "x", "seconds": 2.0}]
    assert found["second"]["error"] == "ZeroDivisionError: of a card"
    assert found["third"]["skipped"] == "no time"
    assert found["fourth"]["rows"][0]["bears it"] is True
    assert "failed: ZeroDivisionError: of a card" in capsys.readouterr().out


def test_without_a_card_it_ends_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(SystemExit, match=r"^python -m bench gpu: .*CuPy.*specscale\[gpu\]"):
        gpu.main(["--json", str(tmp_path / "gpu.json")])


def test_what_is_kept_is_kept_as_soon_as_a_part_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gpu.json"

    def interrupted(state: Bench) -> Any:
        assert json.loads(path.read_text(encoding="utf-8"))["parts"]["first"]["rows"]
        raise KeyboardInterrupt

    parts = {"first": gpu.Part(lambda state: [{"what": "x"}], "one"), "second": gpu.Part(interrupted, "two")}
    monkeypatch.setattr(gpu, "PARTS", parts)
    with pytest.raises(KeyboardInterrupt):
        gpu.main(["--json", str(path)], Card(HostLibraries()), SHAPE)
    assert list(json.loads(path.read_text(encoding="utf-8"))["parts"]) == ["first"]


def test_a_pass_is_held_against_the_longer_of_reading_and_computing() -> None:
    steps = [{"name": "covariance", "operations": 7e12}, {"name": "scores", "operations": 7e10}]
    summary = {
        "rows": {"compared": 1000},
        "maps": {"dimension": 40},
        "plan": {"steps": steps},
        "measured": {"seconds": {"covariance": 3.5, "scores": 4.0, "solve": 9.0}},
    }
    passes = {"covariance": 3.0, "scores": 1.0}
    state = SimpleNamespace(rate=1e13, shape=SHAPE, reading=lambda rows: 0.5)
    covariance, scores = _passes(cast(Bench, state), Compared(cast(Any, None), summary, passes))
    assert (covariance["with writing"], scores["with writing"]) == (3.5, 4.0)
    assert covariance["computing"] == pytest.approx(1.0)  # at 0.7 of the rate
    assert covariance["times the longer"] == pytest.approx(3.0)
    assert covariance["of gemm"] == pytest.approx(1000 * 40 * 41 / 3 / 1e13)
    assert scores["times the longer"] == pytest.approx(2.0)
    assert scores["TFLOP/s"] == pytest.approx(0.07)


def test_visits_are_those_of_stripes_with_the_rows_from_their_first_on() -> None:
    assert gpu_exact.visits(5000) == 5000**2
    assert gpu_exact.visits(20_000) == 8192 * 20_000 + 8192 * 11_808 + 3616 * 3616
    assert gpu_exact.operations(5000, (7, 3), 4) == 2 * 5000**2 * (10 + 4 * 4)


@pytest.mark.parametrize("left", [60.0, 100.0, 500.0])
def test_as_many_rows_are_refined_as_fit_the_time(left: float) -> None:
    rate = 5e13
    found = {"exact": [{"what": "a sweep", "TFLOP/s": 1e-12 * rate}]}
    state = cast(Bench, SimpleNamespace(shape=Shape(), modes=10, found=found, left=left))
    n = gpu_exact.rows_that_fit(state, 1_000_000)
    assert gpu_exact._expected(state, n, rate) <= left
    assert n == 1_000_000 if left == 500 else gpu_exact._expected(state, n + 32_768, rate) > left


def test_a_refinement_for_which_no_time_is_left_is_left_out() -> None:
    state = cast(Bench, SimpleNamespace(shape=Shape(), modes=10, found={}, left=3.0, rate=5e13))
    with pytest.raises(Skipped, match="3 s are left"):
        gpu_exact.rows_that_fit(state, 1_000_000)


def test_fewer_rows_than_a_million_are_extrapolated_by_visits(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = {"rows": {"compared": 300_000}, "measured": {"seconds": {"refine, sweep 1": 4.0, "refine": 8.5}}}
    made = Compared(cast(Any, None), summary, {})
    state = SimpleNamespace(shape=Shape(), modes=10, rate=5e13, compared=lambda n, **options: made)
    monkeypatch.setattr(gpu_exact, "rows_that_fit", lambda state, wanted: 300_000)
    *_, measured, projected = gpu_exact.refine(cast(Bench, state))
    assert (measured["rows"], measured["seconds"]) == (300_000, 8.5)
    assert "EXTRAPOLATED" in projected["what"]
    assert projected["seconds"] == pytest.approx(8.5 * (1_000_000 / 300_000) ** 2, rel=0.03)


def test_fewer_rows_scale_all_sizes() -> None:
    whole = Shape()
    assert whole.scaled(None) == whole.scaled(2 * ROWS) == whole
    tenth = whole.scaled(ROWS // 10)
    assert (tenth.rows, tenth.frequencies, tenth.landmarks, tenth.exact) == (ROWS // 10, 300, 200, 10_000)
    assert tenth.refined == ROWS // 10
    least = whole.scaled(3000)
    assert max(least.exact, least.agreed, least.refined, *least.judged) <= 3000
    assert min(least.frequencies, least.landmarks, least.tile) >= 64


def test_a_measurement_lasts_and_is_the_mean_of_its_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = 0.0, 0

    def work() -> None:
        nonlocal asked
        asked += 1

    def wait(event: object) -> None:  # the card comes to it when it is waited for
        nonlocal now, asked
        now, asked = now + 0.002 * asked, 0

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    device = SimpleNamespace(record=lambda queue: queue, wait=wait)
    assert Card(cast(Any, None), 0.1).seconds(SimpleNamespace(device=device), work) == pytest.approx(0.002)
    assert now >= 0.1


def test_one_product_is_judged_at_a_time() -> None:
    before = {name: set(products) for name, products in MEASURED.items()}
    with bearing("tf32", "covariance"):
        assert precision_of("covariance", "tf32") == "tf32"
        assert precision_of("scores", "tf32") == precision_of("covariance", "3xtf32") == "float32"
    with bearing("float32", "covariance"):
        assert precision_of("covariance", "tf32") == "float32"
    assert {name: set(products) for name, products in MEASURED.items()} == before


def test_products_that_were_not_judged_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = [("none", "float32", 1e-8, 0.0), ("map", "tf32", 2e-5, 1e-6), ("map", "3xtf32", 1e-8, 2e-4)]
    monkeypatch.setattr(gpu_precision, "_judged", lambda state: judged)
    *rows, coarse, fine, rest = gpu_precision.precision(cast(Bench, SimpleNamespace(needs=lambda seconds: None)))
    assert (coarse["precision"], coarse["product"]) == ("tf32 is borne by", "none")
    assert (fine["precision"], fine["product"]) == ("3xtf32 is borne by", "none")
    assert [row["bears it"] for row in rows] == [True, False, False]
    assert rest["product"] == "landmarks, covariance, scores, exact"


def test_moves_and_angles() -> None:
    assert _move(np.array([1.0, -2.002]), np.array([1.0, -2.0])) == pytest.approx(1e-3)
    assert _move(np.array([1.0]), np.array([1.0, 2.0])) == 1.0  # a mode is gone
    plane = np.eye(4)[:, :2]
    turned = np.column_stack([plane[:, 0], 2 * plane[:, 1] + 0.02 * np.eye(4)[:, 2]])
    assert largest_sine(plane, plane @ [[1.0, 2.0], [3.0, 4.0]]) < 1e-15
    assert largest_sine(plane, turned) == pytest.approx(0.01, rel=0.01)


def test_planted_stores_are_whole_and_each_holds_groups_of_its_own(tmp_path: Path) -> None:
    pool = Threads(2)
    a, b = map(EmbeddingStore, planted_pair(tmp_path, 3000, (64, 48), pool))
    pool.close()
    near = []
    for one in (a, b):
        one.check()
        rows = one.read(0, one.n)
        assert one.chunk_digests == (chunk_digest(rows),)
        centres = np.random.default_rng([one.p, 0]).standard_normal((GROUPS, one.p), dtype=np.float32)
        distances = np.linalg.norm(rows.astype(np.float32)[:, None] - centres, axis=2).min(axis=1)
        near.append(distances < 0.6 * one.p**0.5 + 2)
    alone = LARGEST * (1 - FALL**OWN) / (1 - FALL)
    assert [part.mean() for part in near] == pytest.approx([1 - alone] * 2, abs=0.03)
    assert (near[0] & near[1]).mean() == pytest.approx(1 - 2 * alone, abs=0.03)
    on_disk = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file() and "c" in file.parts)
    assert store_bytes(3000, (64, 48)) == pytest.approx(on_disk, rel=0.01)
