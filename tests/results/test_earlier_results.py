"""Stores and results that an earlier version wrote open as they did, and give what they gave."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import command

import specscale as ss
from specscale.method.update import compare_grown
from specscale.stores.ingest import ingest

DATA = Path(__file__).parents[1] / "data"
PLACE = "/data/"  # where they were when they were written

Said = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def kept() -> Any:
    """What the version that wrote them said of them."""
    return json.loads((DATA / "earlier.json").read_text(encoding="utf-8"))


@pytest.fixture
def earlier(here: Path) -> Path:
    """The folder with three stores, a comparison of two and a matrix of all, which is the working directory."""
    with zipfile.ZipFile(DATA / "earlier.zip") as archive:
        archive.extractall(here)
    for name in ("ab.spec", "abc.spec"):
        summary = here / name / "summary.json"
        summary.write_text(summary.read_text(encoding="utf-8").replace(PLACE, f"{here}/"), encoding="utf-8")
    return here


@pytest.fixture
def said(earlier: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """What a command says as JSON, with the addresses that it had then."""
    assert earlier.is_dir()

    def run(*arguments: str) -> Any:
        assert command(monkeypatch, *arguments, "--json") == 0
        return json.loads(capsys.readouterr().out.replace(f"{earlier}/", PLACE))

    return run


def alike(value: Any, before: Any) -> bool:
    """Whether values are equal, numbers to the rounding of another machine."""
    if isinstance(before, dict):
        return value.keys() == before.keys() and all(alike(value[key], before[key]) for key in before)
    if isinstance(before, list):
        return len(value) == len(before) and all(map(alike, value, before))
    if isinstance(before, float):
        return bool(value == pytest.approx(before, rel=1e-4, abs=1e-6))
    return bool(value == before)


def fields(result: ss.Result) -> list[dict[str, Any]]:
    return [{name: value for name, value in vars(mode).items() if name != "_result"} for mode in result.modes]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("info", ["info", "a.zarr", "--rows", "2"]),
        ("modes", ["modes", "ab.spec", "--top", "3"]),
        ("overlap", ["modes", "ab.spec", "--overlap"]),
        ("measures", ["modes", "ab.spec", "--measures"]),
        ("explain", ["explain", "ab.spec", "--labels", "label"]),
    ],
)
def test_commands_say_what_they_said(said: Said, kept: Any, name: str, arguments: list[str]) -> None:
    now = said(*arguments)
    assert alike(now, kept[name]), now


@pytest.mark.slow
def test_a_comparison_is_gone_on_from(earlier: Path, kept: Any) -> None:
    result = ss.open_result(earlier / "ab.spec")
    assert isinstance(result, ss.Result)
    later = {"precision": "float32", "rounds": 1, "least_group": 30}  # which options had been added since
    before = {**result.summary, "options": {**result.summary["options"], **later}}
    assert result.options().to_json() == before["options"]
    assert alike(fields(result.with_eta(0.5)), kept["with_eta"])
    assert alike(fields(result.constrained(0.03, 2)), kept["constrained"])
    again = ss.compare("a.zarr", "b.zarr", size=8, n_modes=2, top=5, certify=40)
    measured = ("plan", "measured", "versions", "checksums")
    assert [one for one in again.summary if one != "groups"] == [*result.summary]
    for key in again.summary.keys() - {*measured, "schema_version", "groups"}:
        assert alike(again.summary[key], before[key]), key


@pytest.mark.slow
def test_a_comparison_is_updated(earlier: Path) -> None:
    before = ss.open_result(earlier / "ab.spec")
    for name, width in (("a", 6), ("b", 4)):
        more = {"id": [f"t{row}" for row in range(4)], "text": ["more"] * 4, "label": ["red"] * 4}
        pq.write_table(pa.table(more), earlier / f"{name}.parquet")
        vectors = np.random.default_rng(width).normal(size=(4, width)).astype(np.float32)
        ingest(vectors, earlier / f"{name}.zarr", append=True, metadata=earlier / f"{name}.parquet", id_column="id")
    result = compare_grown(before, earlier / "a.zarr", earlier / "b.zarr", out=earlier / "new.spec")
    assert (before.record.schema_version, result.record.schema_version) == (2, 3)
    assert result.record.rows.compared == before.record.rows.compared + 4


def test_a_matrix_opens(earlier: Path, kept: Any) -> None:
    matrix = ss.open_matrix(earlier / "abc.spec")
    assert matrix.pairs == kept["pairs"]
    assert matrix.spec_diff.loc["c", "a"] == kept["pairs"][1]["spec_diff"]
    assert alike(json.loads(matrix.top("a", "c", 0, 2).to_json(orient="records")), kept["matrix_top"])
