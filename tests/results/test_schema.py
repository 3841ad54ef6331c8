"""The records of a result: as docs/result.md and docs/matrix.md describe them, and back from the JSON they become."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow.parquet as pq
import pytest

from specscale.method.options import Options
from specscale.places.records import Count, Lenient, Positive, Said, fault, faulty_fields, needed, read_record, to_json
from specscale.results.group_files import SAMPLES
from specscale.results.schema import (
    BandwidthRecord,
    ComparisonRecord,
    ConstraintRecord,
    DuplicatesRecord,
    GroupRecord,
    InputRecord,
    MapRecord,
    MapsRecord,
    MatrixRecord,
    MeasuredRecord,
    ModeRecord,
    OptionsRecord,
    PairRecord,
    RowsRecord,
)

DOCS = Path(__file__).parents[2] / "docs"
DATA = Path(__file__).parents[1] / "data"
RECORDS = {
    "summary.json": ComparisonRecord,
    "An embedding, in `inputs`": InputRecord,
    "`rows`": RowsRecord,
    "`maps`": MapsRecord,
    "A bandwidth, in `bandwidths`": BandwidthRecord,
    "Repeated rows, in `duplicates`": DuplicatesRecord,
    "`constraint`": ConstraintRecord,
    "`measured`": MeasuredRecord,
    "A group, in `groups`": GroupRecord,
    "A mode, in `modes`": ModeRecord,
    "maps.json": MapRecord,
}


def names(record: Any) -> list[str]:
    return [one.name for one in fields(record)]


def tables(page: str) -> dict[str, list[str]]:
    """The names in the first column of the table under each heading of a page."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^#+ ", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        cells = re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)
        found[heading] = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    return found


def kept(name: str) -> Any:
    """A file of the results that an earlier version wrote."""
    with zipfile.ZipFile(DATA / "earlier.zip") as archive:
        return json.loads(archive.read(name))


@pytest.mark.parametrize("heading", RECORDS)
def test_the_page_of_the_result_has_the_fields_of_the_schema(heading: str) -> None:
    described = tables("result.md")[heading]
    assert sorted(described) == sorted(names(RECORDS[heading]))


def test_every_table_of_the_page_is_of_the_schema(tmp_path: Path) -> None:
    with zipfile.ZipFile(DATA / "earlier.zip") as archive:
        members = pq.read_table(archive.extract("ab.spec/modes.parquet", tmp_path))
        arrays = {path.split("/")[2] for path in archive.namelist() if path.startswith("ab.spec/spec.zarr/")}
    others = {
        "`plan`": [*kept("ab.spec/summary.json")["plan"]],
        "members.parquet": SAMPLES.names,
        "modes.parquet": members.column_names,
        "spec.zarr": [*arrays - {"zarr.json"}, "members", "likeness"],
    }
    for heading, described in tables("result.md").items():
        if described and heading in RECORDS | others:
            assert sorted(described) == sorted(others.get(heading, described)), heading
        else:
            assert not described or heading == "The result directory", heading  # which lists its files


def test_the_page_of_the_matrix_has_its_own_fields() -> None:
    described = {name for name in tables("matrix.md")["The directory of a matrix"] if "." not in name}
    own = set(names(MatrixRecord)) - set(names(ComparisonRecord))
    assert own <= described <= set(names(MatrixRecord))
    text = (DOCS / "matrix.md").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("| `pairs`"))
    assert set(names(PairRecord)) == set(re.findall(r"`([^`]+)`", line)) - {"pairs"}


def test_options_are_checked_by_their_names() -> None:
    assert set(names(OptionsRecord)) <= set(names(Options))
    assert fault(OptionsRecord, {**Options().to_json(), "features": "linear"}) is None


@pytest.mark.parametrize(("name", "record"), [("ab.spec", ComparisonRecord), ("abc.spec", MatrixRecord)])
def test_a_summary_is_read_and_written_as_it_was(name: str, record: Any) -> None:
    summary = kept(f"{name}/summary.json")
    assert fault(record, summary) is None
    written = to_json(read_record(record, summary))
    if record is ComparisonRecord:
        assert written.pop("groups") is None  # it did not look for any
    else:
        assert [pair.pop("groups") for pair in written["pairs"]] == [None] * len(summary["pairs"])
    assert json.dumps(written) == json.dumps(summary)


def test_maps_are_as_they_were() -> None:
    for one in kept("ab.spec/maps.json") + kept("abc.spec/maps.json"):
        assert fault(MapRecord, one) is None
        assert set(one) <= set(names(MapRecord))


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: Positive
    kind: Literal["x", "y"] = "x"


@dataclass(frozen=True, kw_only=True)
class Outer:
    count: Count
    inner: Inner | None
    many: dict[str, list[Inner]] = field(default_factory=dict)
    later: Said[list[str]] = None
    loose: Lenient[Inner] = None
    options: Annotated[dict[str, Any], Inner] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("changed", "way"),
    [
        ({}, None),
        ({"unknown": 1}, None),
        ({"later": ["a"]}, None),
        ({"loose": 5}, None),
        ({"options": {"size": 1, "more": 2}}, None),
        ({"inner": {"size": 2.5, "kind": "y"}}, None),
        *(({"count": value}, ".count") for value in (-1, True, 1.0, "1", None, 1 << 60)),
        ({"inner": 5}, ".inner"),
        ({"inner": {}}, ".inner.size"),
        *(({"inner": {"size": value}}, ".inner.size") for value in (0, True, float("nan"), float("inf"), None)),
        ({"inner": {"size": 1, "kind": ["x"]}}, ".inner.kind"),
        ({"many": []}, ".many"),
        ({"many": {"k": [{"size": 1}, {"size": -1}]}}, ".many.k[1].size"),
        ({"later": None}, ".later"),
        ({"later": [1]}, ".later[0]"),
        ({"options": {"kind": "x"}}, ".options.size"),
        ({"options": {"size": 1, "kind": "z"}}, ".options.kind"),
    ],
)
def test_the_way_to_what_cannot_be(changed: dict[str, Any], way: str | None) -> None:
    value = {"count": 1, "inner": None, **changed}
    assert fault(Outer, value) == way
    assert faulty_fields(Outer, value) == ([] if way is None else [re.split(r"[.\[]", way)[1]])


def test_a_record_is_read_as_far_as_it_is_known() -> None:
    value = {"count": 1, "inner": {"size": 2, "more": 3}, "many": {"k": [{"size": 1}]}, "loose": {"size": -1}, "z": 0}
    read = read_record(Outer, value)
    assert read == Outer(count=1, inner=Inner(size=2), many={"k": [Inner(size=1)]})
    assert to_json(read)["many"] == {"k": [{"size": 1, "kind": "x"}]}
    assert needed(Outer) == ("count", "inner")
    assert fault(Outer, [value]) == ""
    assert fault(Outer, {"count": 1}) == ".inner"
