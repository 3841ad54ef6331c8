from __future__ import annotations

import errno
import filecmp
import itertools
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from chunks import CHUNK, shrink_grid
from hypothesis import given, settings
from hypothesis import strategies as st

from specscale.embeddings.layout import CHUNK_ROWS, chunk_digest, features_digest, ids_digest, store_attributes
from specscale.errors import ChangedError, ExistsError, InputError, OptionError, SpecscaleError
from specscale.places import publication
from specscale.sources import base
from specscale.sources.metadata import Metadata
from specscale.stores.ingest import IngestReport, ingest


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_grid(monkeypatch)


def matrix(n: int = 40, p: int = 3, dtype: str = "f4") -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, p)).astype(dtype)


def features(store: str | Path) -> np.ndarray:
    return np.asarray(zarr.open_group(store, mode="r")["features"][:])


def norms(store: str | Path) -> np.ndarray:
    return np.asarray(zarr.open_group(store, mode="r")["norms"][:])


def attributes(store: str | Path) -> dict[str, Any]:
    found = store_attributes(Path(store))
    assert found is not None
    return found


def same_files(one: Path, two: Path) -> bool:
    def files(root: Path) -> list[str]:
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    return files(one) == files(two) and not any(filecmp.cmpfiles(one, two, files(one), shallow=False)[1:])


def refused(*needles: str, error: type[SpecscaleError] = InputError, **arguments: Any) -> None:
    with pytest.raises(error) as caught:
        ingest(**{"source": "a.npy", "store": "s.zarr", **arguments})
    message = str(caught.value)
    assert "\n" not in message
    for needle in needles:
        assert needle in message
    assert not Path("s.zarr.partial").exists()


# ---------------------------------------------------------------------------------------------------------------------
# The store


@pytest.mark.parametrize(("source", "dtype", "expected"), [
    ("f2", None, "float16"), ("f4", None, "float32"), ("f8", None, "float32"), (">f8", None, "float32"),
    ("f2", "float32", "float32"), ("f8", "float16", "float16"),
])  # fmt: skip
def test_store_layout(here: Path, source: str, dtype: str | None, expected: str) -> None:
    values = matrix(CHUNK_ROWS + 100, 2, source)
    values[7] = 0
    np.save("clip.npy", values)
    report = ingest("clip.npy", "s.zarr", dtype=dtype)
    stored = values.astype(expected)
    group = zarr.open_group("s.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    array = group["features"]
    assert array.chunks == (CHUNK_ROWS, 2)
    assert array.compressors == ()
    assert np.isnan(array.fill_value)
    assert array.dtype == np.dtype(expected)
    assert group["norms"].chunks == (CHUNK_ROWS,)
    np.testing.assert_array_equal(features("s.zarr"), stored)
    assert norms("s.zarr").dtype == np.float32
    np.testing.assert_allclose(norms("s.zarr"), np.linalg.norm(stored.astype("f8"), axis=1), rtol=1e-7)
    digests = [chunk_digest(stored[:CHUNK_ROWS]), chunk_digest(stored[CHUNK_ROWS:])]
    assert attributes("s.zarr") == {
        "format": 1, "name": "clip", "n": CHUNK_ROWS + 100, "p": 2, "dtype": expected, "source": ["clip.npy"],
        "digest": features_digest(expected, len(values), 2, digests), "chunk_digests": digests,
        "zero_norm": 1, "dropped": 0, "dropped_rows": [], "ids": None, "columns": [],
    }  # fmt: skip
    assert report == IngestReport("s.zarr", "clip", len(values), 2, expected, 0, (), 1, report.digest, (), 0)
    assert sorted(path.name for path in here.iterdir()) == ["clip.npy", "s.zarr"]


@settings(max_examples=20, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 60), max_size=6).map(sorted),
    metadata_cuts=st.lists(st.integers(0, 60), max_size=3).map(sorted),
    batch=st.integers(1, 70),
    bad=st.sets(st.integers(0, 59), max_size=30),
)
@pytest.mark.slow
def test_the_store_does_not_depend_on_how_rows_are_split(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], metadata_cuts: list[int], batch: int, bad: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("split")
    values = matrix(60)
    values[list(bad), 1] = np.nan
    table = pa.table({"id": range(100, 160), "text": [f"t{i}" for i in range(60)]})
    (folder / "shards").mkdir()
    (folder / "rows").mkdir()
    for number, (low, high) in enumerate(itertools.pairwise([0, *cuts, 60])):
        np.save(folder / "shards" / f"{number}.npy", values[low:high])
    for number, (low, high) in enumerate(itertools.pairwise([0, *metadata_cuts, 60])):
        pq.write_table(table.slice(low, high - low), folder / "rows" / f"{number}.parquet")
    kept = sorted(set(range(60)) - bad)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "BATCH_BYTES", batch * 12)
        shrink_grid(patch)
        report = ingest(folder / "shards", folder / "s.zarr", metadata=folder / "rows", id_column="id", on_bad="drop")
    np.testing.assert_array_equal(features(folder / "s.zarr"), values[kept])
    rows = pq.read_table(folder / "s.zarr" / "rows.parquet")
    assert rows.equals(table.take(kept))
    found = attributes(folder / "s.zarr")
    digests = [chunk_digest(values[kept][low : low + CHUNK]) for low in range(0, len(kept), CHUNK)]
    assert found["chunk_digests"] == digests
    assert report.digest == found["digest"] == features_digest("float32", len(kept), 3, digests)
    assert found["dropped_rows"] == sorted(bad)
    assert report.dropped == len(bad)
    assert found["ids"] == {"column": "id", "type": "int64", "digest": ids_digest([table.column("id").take(kept)])}


def test_several_sources_and_names(here: Path) -> None:
    np.save("b.npy", matrix())
    np.save("a.npy", matrix() + 1)
    report = ingest(["b.npy", "a.npy"], "s.zarr", name="mine")
    assert report.name == "mine"
    np.testing.assert_array_equal(features("s.zarr"), np.concatenate([matrix(), matrix() + 1]))


def test_a_store_is_a_source_and_keeps_its_columns(here: Path) -> None:
    pq.write_table(pa.table({"emb": matrix().tolist(), "label": range(40)}), "a.parquet")
    ingest("a.parquet", "one.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ingest("one.zarr", "two.zarr", dtype="float16")
    np.testing.assert_array_equal(features("two.zarr"), matrix().astype("f2"))
    assert pq.read_table("two.zarr/rows.parquet").equals(pa.table({"label": range(40)}))


def test_progress(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "BATCH_BYTES", 30 * 12)
    np.save("a.npy", matrix())
    calls: list[tuple[int, int]] = []
    ingest("a.npy", "s.zarr", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 40), (30, 40), (40, 40)]


# ---------------------------------------------------------------------------------------------------------------------
# Rows that cannot be used


@pytest.mark.parametrize(
    ("value", "dtype", "what", "remedy"),
    [
        (np.nan, None, "NaN", "--on-bad drop"),
        (-np.inf, None, "infinity", "--on-bad drop"),
        (70_000, "float16", "70000 does not fit in float16", "--dtype float32"),
        (1e300, None, "1e+300 does not fit in float32", "--on-bad drop"),
    ],
)
def test_bad_values(here: Path, small_chunks: None, value: float, dtype: str | None, what: str, remedy: str) -> None:
    values = matrix(dtype="f8")
    values[20, 1] = value
    np.save("1.npy", values[:15])
    np.save("2.npy", values[15:])
    refused("2.npy, row 5, column 1", what, remedy, source=["1.npy", "2.npy"], dtype=dtype)
    report = ingest(["1.npy", "2.npy"], "s.zarr", dtype=dtype, on_bad="drop")
    assert (report.n, report.dropped, report.dropped_places) == (39, 1, ("2.npy, row 5",))
    assert attributes("s.zarr")["dropped_rows"] == [20]
    np.testing.assert_array_equal(features("s.zarr"), np.delete(values, 20, 0).astype(dtype or "f4"))


def test_null_vectors(here: Path) -> None:
    pq.write_table(pa.table({"emb": [[1.0, 2.0], None, [3.0, None]], "id": ["a", "b", "c"]}), "a.parquet")
    refused("a.parquet, row 1, column emb[0]: null", "--on-bad drop", source="a.parquet")
    assert ingest("a.parquet", "s.zarr", on_bad="drop").dropped == 2
    assert pq.read_table("s.zarr/rows.parquet").to_pydict() == {"id": ["a"]}


def test_nothing_left(here: Path) -> None:
    np.save("a.npy", np.full((5, 2), np.nan))
    refused("a.npy", "all 5 rows", on_bad="drop")
    assert not Path("s.zarr").exists()


def test_only_the_first_dropped_rows_are_named(here: Path, small_chunks: None) -> None:
    values = matrix(300)
    values[::2] = np.inf
    np.save("a.npy", values)
    report = ingest("a.npy", "s.zarr", on_bad="drop")
    assert report.dropped == 150
    assert attributes("s.zarr")["dropped_rows"] == list(range(0, 200, 2))


# ---------------------------------------------------------------------------------------------------------------------
# Metadata and ids

RECORDS: dict[str, list[Any]] = {
    "id": [f"{i:03d}" for i in range(40)],
    "label": [None, *range(1, 40)],
    "text": [f"Zeile, {i} ü\n" for i in range(40)],
}


def write_metadata(path: Path, columns: dict[str, list[Any]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".csv":
        pa.csv.write_csv(pa.table(columns), path)
    else:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


@pytest.fixture(params=[".parquet", ".csv", ".jsonl", ".ndjson"])
def extension(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_metadata(here: Path, small_chunks: None, extension: str) -> None:
    values = matrix()
    values[[3, 4]] = np.nan
    np.save("a.npy", values)
    write_metadata(here / f"m{extension}", RECORDS)
    report = ingest("a.npy", "s.zarr", metadata=f"m{extension}", id_column="id", on_bad="drop")
    assert report.columns == ("id", "label", "text")
    kept = [row for row in range(40) if row not in (3, 4)]
    assert pq.read_table("s.zarr/rows.parquet").to_pydict() == {
        name: [column[row] for row in kept] for name, column in RECORDS.items()
    }
    assert attributes("s.zarr")["ids"]["column"] == "id"
    assert pq.ParquetFile("s.zarr/rows.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


def test_metadata_in_several_files(here: Path, extension: str) -> None:
    np.save("a.npy", matrix())
    (here / "rows").mkdir()
    for number, (low, high) in enumerate([(0, 7), (7, 39), (39, 40)]):
        part = {name: column[low:high] for name, column in RECORDS.items()}
        write_metadata(here / "rows" / f"{number + 9}{extension}", part)
    ingest("a.npy", "s.zarr", metadata="rows")
    assert pq.read_table("s.zarr/rows.parquet").to_pydict() == RECORDS


@pytest.mark.parametrize("start", [0, 5, 20, 39])
def test_metadata_from_any_row(here: Path, monkeypatch: pytest.MonkeyPatch, extension: str, start: int) -> None:
    monkeypatch.setattr("specscale.sources.text_tables._BLOCK_BYTES", 200)
    write_metadata(here / f"m{extension}", RECORDS)
    metadata = Metadata(f"m{extension}")
    assert metadata.n == 40
    read = pa.concat_tables(metadata.tables(start=start))
    assert read.to_pydict() == {name: column[start:] for name, column in RECORDS.items()}


def test_types_hold_for_the_whole_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specscale.sources.text_tables._BLOCK_BYTES", 64)
    lines = [f"{i},{i if i < 30 else 'x'},{i},00{i},{10**19 + i},{'' if i < 30 else 1.5}" for i in range(40)]
    Path("m.csv").write_text("\n".join(["int,late,whole,zeros,long,float", *lines]))
    types = {field.name: str(field.type) for field in Metadata("m.csv").schema}
    assert types == {
        "int": "int64", "late": "string", "whole": "int64", "zeros": "string", "long": "string", "float": "double",
    }  # fmt: skip
    assert pa.concat_tables(Metadata("m.csv").tables()).column("long")[39].as_py() == str(10**19 + 39)
    when = ['{"when": "2024-01-01", "n": 1}'] * 5 + ['{"when": "soon", "n": 1.5, "more": "x"}'] * 5
    Path("m.jsonl").write_text("\n".join(when))
    table = pa.concat_tables(Metadata("m.jsonl").tables())
    assert table.column("when").to_pylist() == ["2024-01-01"] * 5 + ["soon"] * 5
    assert table.column("n").to_pylist() == [1.0] * 5 + [1.5] * 5
    assert table.column("more").to_pylist() == [None] * 5 + ["x"] * 5


def test_metadata_that_cannot_be_used(here: Path) -> None:
    np.save("a.npy", matrix())
    refused("m.csv: no such file", metadata="m.csv")
    Path("m.txt").write_text("x")
    refused("m.txt", ".csv", ".parquet", metadata="m.txt")
    Path("m.csv").write_text("a,b\n" + "1,2\n" * 38)
    refused("m.csv: 38 rows of metadata for 40 rows", "a.npy", metadata="m.csv")
    Path("m.csv").write_text("a,b\n1,2\n1,2,3\n")
    refused("m.csv", "Expected 2 columns, got 3", metadata="m.csv")
    Path("m.csv").write_text("a,a\n1,2\n")
    refused("m.csv", "several columns are named a", metadata="m.csv")
    Path("m.csv").write_bytes(b"")
    refused("m.csv", "not a readable CSV", metadata="m.csv")
    Path("m.csv").write_bytes(b"a,b\n\xff\xfe,2\n")
    refused("m.csv", "not a readable CSV", metadata="m.csv")
    Path("m.jsonl").write_text('{"a": 1}\n[1]\n')
    refused("m.jsonl", "one JSON object a line", metadata="m.jsonl")
    Path("m.jsonl").write_text('{"a": 1}\n{"a": "x"}\n')
    refused("m.jsonl", metadata="m.jsonl")
    pq.write_table(pa.Table.from_arrays([pa.array(range(40))] * 2, names=["a", "a"]), "m.parquet")
    refused("m.parquet", "several columns are named a", metadata="m.parquet")
    Path("m.parquet").write_bytes(b"x")
    refused("m.parquet", "Parquet", metadata="m.parquet")
    refused("several kinds", "CSV (m.csv)", "JSON lines (m.jsonl)", metadata="m.[cj]*")


def test_columns_of_the_same_name(here: Path) -> None:
    pq.write_table(pa.table({"emb": matrix().tolist(), "label": range(40)}), "a.parquet")
    write_metadata(here / "m.csv", {"label": list(range(40)), "text": ["x"] * 40})
    refused("m.csv", "a.parquet", "label", "rename", source="a.parquet", metadata="m.csv")
    write_metadata(here / "m.csv", {"text": ["x"] * 40})
    assert ingest("a.parquet", "s.zarr", metadata="m.csv").columns == ("label", "text")


@pytest.mark.parametrize("from_source", [True, False])
def test_ids(here: Path, from_source: bool) -> None:
    def attempt(ids: list[Any], *needles: str) -> None:
        if from_source:
            pq.write_table(pa.table({"emb": matrix(4).tolist(), "id": ids}), "a.parquet")
            refused(*needles, source="a.parquet", id_column="id")
        else:
            np.save("a.npy", matrix(4))
            pq.write_table(pa.table({"id": ids}), "m.parquet")
            refused(*needles, metadata="m.parquet", id_column="id")

    place = "a.parquet" if from_source else "m.parquet"
    attempt(["a", "b", "c", "b"], "column id: the id 'b' is in two rows", f"{place}, row 1 and {place}, row 3")
    attempt([5, -1, 7, -1], "the id -1 is in two rows", f"{place}, row 1 and {place}, row 3")
    attempt(["a", "b", None, "d"], f"{place}, row 2, column id: the id is missing")
    attempt([1.5, 2.0, 3.0, 4.0], place, "text or integers, not double")


def test_ids_with_equal_hashes_are_told_apart(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specscale.embeddings.ids._hash", lambda array: np.zeros(len(array), np.uint64))
    np.save("a.npy", matrix())
    write_metadata(here / "m.parquet", RECORDS)
    ingest("a.npy", "s.zarr", metadata="m.parquet", id_column="id")


def test_unknown_id_column(here: Path) -> None:
    np.save("a.npy", matrix())
    refused("--id key", "there are none", id_column="key")
    write_metadata(here / "m.parquet", RECORDS)
    refused("--id key", "id, label, text", id_column="key", metadata="m.parquet")


# ---------------------------------------------------------------------------------------------------------------------
# What is there already


def test_existing_targets(here: Path) -> None:
    np.save("a.npy", matrix())
    first = ingest("a.npy", "s.zarr")
    refused("s.zarr: exists", "--overwrite", error=ExistsError, source="missing.npy")
    np.save("a.npy", np.full((3, 2), np.nan))
    refused("NaN", overwrite=True)
    assert attributes("s.zarr")["digest"] == first.digest  # the old store stays until the new one is complete
    np.save("a.npy", matrix() + 1)
    second = ingest("a.npy", "s.zarr", overwrite=True)
    assert second.digest != first.digest
    assert attributes("s.zarr")["digest"] == second.digest
    assert sorted(path.name for path in here.iterdir()) == ["a.npy", "s.zarr"]
    (here / "notes").mkdir()
    (here / "notes" / "thesis.txt").write_text("x")
    refused("notes", "never replaced", error=ExistsError, store="notes", overwrite=True)
    refused("a.npy", "never replaced", error=ExistsError, store="a.npy", overwrite=True)
    assert (here / "notes" / "thesis.txt").exists()


def test_something_else_in_the_way(here: Path) -> None:
    np.save("a.npy", matrix())
    (here / "s.zarr.partial").mkdir()
    (here / "s.zarr.partial" / "mine").write_text("x")
    with pytest.raises(ExistsError, match=r"s\.zarr\.partial.*in the way"):
        ingest("a.npy", "s.zarr")
    assert (here / "s.zarr.partial" / "mine").exists()


def test_options(here: Path) -> None:
    np.save("a.npy", matrix())
    refused("--dtype float64", "float32", error=OptionError, dtype="float64")
    refused("--on-bad skip", "drop", error=OptionError, on_bad="skip")


# ---------------------------------------------------------------------------------------------------------------------
# Interruptions


class Stop(Exception):
    pass


def stop_after(rows: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done >= rows:
            raise Stop

    return progress


@pytest.fixture
def job(here: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(base, "BATCH_BYTES", 5 * 12)
    values = matrix(103)
    values[[2, 30, 31, 60, 102]] = np.nan
    values[50] = 0
    np.save("a.npy", values)
    write_metadata(here / "m.csv", {"id": [f"x{i}" for i in range(103)]})
    arguments = {"source": "a.npy", "metadata": "m.csv", "id_column": "id", "on_bad": "drop"}
    ingest(store="whole.zarr", **arguments)
    return arguments


@pytest.mark.parametrize("stops", [[1], [45], [103], [20, 50, 90], [45, 45]])
@pytest.mark.slow
def test_resume(here: Path, job: dict[str, Any], stops: list[int]) -> None:
    for rows in stops:
        with pytest.raises(Stop):
            ingest(store="s.zarr", progress=stop_after(rows), **job)
        assert not Path("s.zarr").exists()
    report = ingest(store="s.zarr", **job)
    assert max(stops) - 20 <= report.resumed_at <= max(stops)
    assert (report.dropped, report.zero_norm) == (5, 1)
    assert same_files(Path("s.zarr"), Path("whole.zarr"))
    assert not Path("s.zarr.partial").exists()


@pytest.mark.parametrize("change", ["option", "source", "metadata", "damage", "norms", "journal"])
@pytest.mark.slow
def test_starts_afresh_after_a_change(here: Path, job: dict[str, Any], change: str) -> None:
    with pytest.raises(Stop):
        ingest(store="s.zarr", progress=stop_after(60), **job)
    draft = Path("s.zarr.partial/store")
    if change == "option":
        job = {**job, "dtype": "float16"}
    elif change == "source":
        os.utime("a.npy")
    elif change == "metadata":
        os.utime("m.csv")
    elif change == "damage":
        zarr.open_group(draft)["features"][3, 1] = 9
    elif change == "norms":
        zarr.open_group(draft)["norms"][3] = 9
    else:
        Path("s.zarr.partial/journal.json").write_text("{")
        (draft / "zarr.json").unlink()
    assert ingest(store="s.zarr", **job).resumed_at == 0
    if change != "option":
        assert same_files(Path("s.zarr"), Path("whole.zarr"))


@pytest.mark.slow
@pytest.mark.parametrize("last", ["replaced", "s.zarr", "journal.json"])
@pytest.mark.parametrize("other", [False, True])
def test_stopped_at_the_very_end(
    here: Path, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch, last: str, other: bool
) -> None:
    ingest("a.npy", "s.zarr", on_bad="drop")

    def stopping(original: Any, place: int) -> Any:
        def call(*places: Path, **options: Any) -> None:
            if places[place].name == last:
                raise Stop
            original(*places, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(publication, "move", stopping(publication.move, 1))
        patch.setattr(publication, "remove_tree", stopping(publication.remove_tree, 0))
        with pytest.raises(Stop):
            ingest(store="s.zarr", overwrite=True, **job)
    # Nothing is lost, whatever is run next: the new store was complete.
    if other:
        with pytest.raises(ExistsError, match="--overwrite"):
            ingest("a.npy", "s.zarr", on_bad="drop")
    else:
        report = ingest(store="s.zarr", overwrite=True, **job)
        assert (report.resumed_at, report.n, report.dropped) == (103, 98, 5)
    assert same_files(Path("s.zarr"), Path("whole.zarr"))
    assert not Path("s.zarr.partial").exists()


def test_what_appears_during_the_work_stays(here: Path, job: dict[str, Any]) -> None:
    def appear(done: int, total: int) -> None:
        if done == total:
            Path("s.zarr").mkdir()
            Path("s.zarr/thesis.txt").write_text("x")

    with pytest.raises(ExistsError, match=r"not an embedding store.*the work is kept"):
        ingest(store="s.zarr", progress=appear, **job)
    assert Path("s.zarr/thesis.txt").exists()
    Path("s.zarr").rename("elsewhere")
    assert ingest(store="s.zarr", **job).resumed_at > 90
    assert same_files(Path("s.zarr"), Path("whole.zarr"))


def test_two_writers(here: Path, job: dict[str, Any]) -> None:
    def meddle(done: int, total: int) -> None:
        with pytest.raises(ExistsError, match=r"s\.zarr\.partial.*another process"):
            ingest(store="s.zarr", **job)

    ingest(store="s.zarr", progress=meddle, **job)
    assert same_files(Path("s.zarr"), Path("whole.zarr"))


def test_a_source_that_changes_on_the_way(here: Path) -> None:
    np.save("a.npy", matrix())
    with pytest.raises(ChangedError, match=r"a\.npy.*changed"):
        ingest("a.npy", "s.zarr", progress=lambda done, total: os.utime("a.npy", ns=(done, done)))
    assert not Path("s.zarr").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    except OSError as error:
        pytest.skip(f"cannot mount a small disk: {error}")
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.process
def test_full_disk(here: Path, small_disk: Path) -> None:
    np.save("a.npy", matrix(3 * CHUNK_ROWS, 4))  # half a MiB a chunk
    write_metadata(here / "m.parquet", {"text": [str(i) * 3 for i in range(3 * CHUNK_ROWS)]})
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1_000_000))
    with pytest.raises(OSError, match="No space left") as caught:
        ingest("a.npy", small_disk / "s.zarr", metadata="m.parquet")
    assert caught.value.errno == errno.ENOSPC
    assert not (small_disk / "s.zarr").exists()
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    report = ingest("a.npy", small_disk / "s.zarr", metadata="m.parquet")
    assert report.resumed_at == CHUNK_ROWS
    ingest("a.npy", "s.zarr", metadata="m.parquet")
    assert same_files(small_disk / "s.zarr", here / "s.zarr")


def test_full_disk_at_the_very_end(here: Path, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("specscale.stores.draft.ids_digest", full)
        with pytest.raises(OSError, match="No space left"):
            ingest(store="s.zarr", **job)
    assert not Path("s.zarr").exists()
    assert Path("s.zarr.partial").exists()
    ingest(store="s.zarr", **job)
    assert same_files(Path("s.zarr"), Path("whole.zarr"))


# ---------------------------------------------------------------------------------------------------------------------
# Memory

PEAK = """
import resource, sys
import numpy as np
from specscale.stores.ingest import ingest
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
np.save("warm.npy", np.ones((40_000, 256), np.float32))
ingest("warm.npy", "warm.zarr")
before = peak()
ingest(sys.argv[1], "s.zarr")
print(peak() - before)
"""


@pytest.mark.process
@pytest.mark.parametrize("kind", ["npy", "fortran", "parquet"])
def test_memory_does_not_grow_with_the_file(here: Path, kind: str) -> None:
    values = np.ones((200_000, 256), np.float32)
    source = here / ("a.parquet" if kind == "parquet" else "a.npy")
    if kind == "parquet":
        # One row group, as many programs write it, and nothing that would make the file of ones small.
        lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 256)
        pq.write_table(pa.table({"emb": lists}), source, row_group_size=len(values), use_dictionary=False)
    else:
        np.save(source, np.asfortranarray(values) if kind == "fortran" else values)
    del values
    done = subprocess.run([sys.executable, "-c", PEAK, source.name], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60  # MiB, for 195 MiB of vectors
