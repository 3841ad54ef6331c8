"""Rows added to a store: the same store as all rows at once, in one piece at any moment."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chunks import CHUNK, shrink_chunks
from hypothesis import example, given, settings
from hypothesis import strategies as st

import specscale.stores.writer as writer_module
from specscale.embeddings.layout import CHUNK_ROWS, store_attributes
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import ChangedError, ExistsError, InputError, OptionError, SpecscaleError
from specscale.places import publication
from specscale.places.files import located
from specscale.stores.ingest import IngestReport, ingest


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_chunks(monkeypatch)


def matrix(n: int, seed: int = 0, dtype: str = "f4") -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(dtype)


def table(start: int, n: int) -> pa.Table:
    rows = range(start, start + n)
    return pa.table(
        {"id": [f"x{i}" for i in rows], "label": pa.array([None if i % 5 == 0 else i for i in rows], pa.int64())}
    )


def write(name: str, values: np.ndarray, start: int | None = None) -> dict[str, Any]:
    """Write vectors, with ids from `start` on, and say how they are ingested."""
    np.save(f"{name}.npy", values)
    if start is None:
        return {"source": f"{name}.npy"}
    pq.write_table(table(start, len(values)), f"{name}.parquet")
    return {"source": f"{name}.npy", "metadata": f"{name}.parquet"}


def contents(store: str | Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in Path(store).rglob("*") if path.is_file()}


def at_once(*names: str, store: str = "whole.zarr", with_columns: bool = False, **options: Any) -> None:
    """Ingest all at once what was ingested bit by bit."""
    if with_columns:
        pq.write_table(pa.concat_tables([pq.read_table(f"{name}.parquet") for name in names]), "all.parquet")
        options |= {"metadata": "all.parquet", "id_column": "id"}
    ingest([f"{name}.npy" for name in names], store, **options)


SIZES = st.integers(1, 3 * CHUNK + 1)


@pytest.mark.slow
@settings(max_examples=40)
@example([CHUNK, 1], set(), True)
@example([CHUNK - 1, 1, CHUNK], {0}, False)
@example([2 * CHUNK, CHUNK, 1], {2 * CHUNK, 2 * CHUNK - 1}, True)
@given(st.lists(SIZES, min_size=2, max_size=4), st.sets(st.integers(0, 60), max_size=8), st.booleans())
def test_the_store_is_that_of_all_rows_at_once(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], odd: set[int], with_columns: bool
) -> None:
    values = matrix(sum(sizes))
    values[[row for row in odd if row < len(values) and row % 2]] = np.nan
    values[[row for row in odd if row < len(values) and not row % 2]] = 0
    starts = np.cumsum([0, *sizes]).tolist()
    usable = [np.isfinite(values[low:high]).all(axis=1).any() for low, high in itertools.pairwise(starts)]
    names = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("append"))
        shrink_chunks(patch)
        for number, (low, high) in enumerate(itertools.pairwise(starts)):
            if not usable[number]:
                continue
            how = write(str(number), values[low:high], low if with_columns else None)
            options = {"append": True} if names else {"id_column": "id"} if with_columns else {}
            name = {} if names else {"name": "mine"}
            report = ingest(store="s.zarr", on_bad="drop", **how, **options, **name)
            bad = int(np.isnan(values[low:high, 0]).sum())
            assert report.dropped == bad
            assert report.appended == (high - low - bad if names else 0)
            names.append(str(number))
            assert not Path("s.zarr.partial").exists()
        if not names:
            return
        at_once(*names, with_columns=with_columns, on_bad="drop", name="mine")
        assert contents("s.zarr") == contents("whole.zarr")


@pytest.mark.parametrize("first", [CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 5])
@pytest.mark.slow
def test_full_chunks_are_not_written_again(here: Path, first: int) -> None:
    ingest(store="s.zarr", **write("a", matrix(first), 0), id_column="id", name="mine")
    chunks = [Path("s.zarr/features/c", str(index), "0") for index in range(first // CHUNK_ROWS)]
    before = [path.stat() for path in chunks]
    report = ingest(store="s.zarr", append=True, **write("b", matrix(CHUNK_ROWS, 1), first))
    assert [os.path.samestat(old, path.stat()) for old, path in zip(before, chunks, strict=True)] == [True] * len(
        chunks
    )
    assert (report.n, report.appended) == (first + CHUNK_ROWS, CHUNK_ROWS)
    at_once("a", "b", with_columns=True, name="mine")
    assert contents("s.zarr") == contents("whole.zarr")
    groups = pq.read_metadata("s.zarr/rows.parquet")
    assert [groups.row_group(index).num_rows for index in range(groups.num_row_groups - 1)] == [
        CHUNK_ROWS for _ in range(groups.num_row_groups - 1)
    ]
    EmbeddingStore("s.zarr").check()


def test_chunks_are_copied_where_there_are_no_links(
    here: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.link

    def refuse(source: Any, target: Any, **options: Any) -> None:
        if "c" in Path(target).parts:
            raise OSError(errno.EMLINK, "Too many links")
        original(source, target, **options)

    monkeypatch.setattr(os, "link", refuse)
    ingest(store="s.zarr", **write("a", matrix(20)), name="mine")
    ingest(store="s.zarr", append=True, **write("b", matrix(20, 1)))
    at_once("a", "b", name="mine")
    assert contents("s.zarr") == contents("whole.zarr")


@pytest.mark.parametrize("kind", [".csv", ".jsonl"])
def test_text_columns_take_the_types_of_the_store(here: Path, small_chunks: None, kind: str) -> None:
    def metadata(name: str, rows: list[dict[str, Any]]) -> str:
        path = Path(name + kind)
        if kind == ".csv":
            lines = [",".join("" if value is None else str(value) for value in row.values()) for row in rows]
            path.write_text("\n".join([",".join(rows[0]), *lines]) + "\n")
        else:
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return str(path)

    word = "12" if kind == ".jsonl" else 12
    old = metadata("a", [{"word": "x", "share": 0.5, "count": 1}] * 10)
    new = metadata("b", [{"count": None, "word": word, "share": 3}] * 3)
    np.save("a.npy", matrix(10))
    np.save("b.npy", matrix(3, 1))
    ingest("a.npy", "s.zarr", metadata=old)
    ingest("b.npy", "s.zarr", metadata=new, append=True)
    assert (
        pq.read_table("s.zarr/rows.parquet").slice(10).to_pylist() == [{"word": "12", "share": 3.0, "count": None}] * 3
    )


def test_who_opened_the_store_goes_on_reading_it(here: Path) -> None:
    values = matrix(CHUNK_ROWS + 100)
    ingest(store="s.zarr", **write("a", values, 0), id_column="id")
    before = EmbeddingStore("s.zarr")
    norms = before.norms(0, before.n)
    ingest(store="s.zarr", append=True, **write("b", matrix(50, 1), len(values)))
    np.testing.assert_array_equal(before.read(0, before.n), values)
    np.testing.assert_array_equal(before.norms(0, before.n), norms)
    rows = before.rows([0, before.n - 1])
    assert rows is not None
    assert rows.column("id").to_pylist() == ["x0", f"x{before.n - 1}"]
    assert EmbeddingStore("s.zarr").n == before.n + 50


# ---------------------------------------------------------------------------------------------------------------------
# What does not go with the store


@pytest.fixture
def store(here: Path) -> dict[str, bytes]:
    ingest(store="s.zarr", **write("a", matrix(20, dtype="f2"), 0), id_column="id", name="mine")
    return contents("s.zarr")


def refused(*needles: str, error: type[SpecscaleError] = InputError, **arguments: Any) -> None:
    before = contents("s.zarr")
    with pytest.raises(error) as caught:
        ingest(**{"store": "s.zarr", "append": True, **arguments})
    message = str(caught.value)
    assert "\n" not in message
    for needle in needles:
        assert needle in message
    assert contents("s.zarr") == before
    assert not Path("s.zarr.partial").exists()


def test_vectors_that_do_not_fit(here: Path, store: dict[str, bytes]) -> None:
    how = write("b", np.ones((5, 4), np.float32), 20)
    refused("b.npy, row 0", "4 dimensions", "s.zarr have 3", **how)
    np.save("b.npy", np.ones((0, 3), np.float32))
    refused("b.npy", "no rows", source="b.npy")
    values = matrix(5)
    values[2, 1] = 1e6
    refused("b.npy, row 2, column 1: 1e+06 does not fit in float16", "float32 store", **write("b", values, 20))
    values[:] = np.nan
    refused("all 5 rows are unusable", on_bad="drop", **write("b", values, 20))
    ingest(store="s.zarr", append=True, **write("b", matrix(5), 20))
    assert EmbeddingStore("s.zarr").dtype == np.float16
    np.testing.assert_array_equal(EmbeddingStore("s.zarr").read(20, 25), matrix(5).astype(np.float16))


def test_ids_that_are_there_already(here: Path, store: dict[str, bytes]) -> None:
    refused("the id 'x7' is in two rows: s.zarr, row 7 and b.parquet, row 0", **write("b", matrix(5), 7))
    how = write("b", matrix(5), 20)
    pq.write_table(pa.table({"id": ["y", "z", "y", "u", "v"], "label": range(5)}), "b.parquet")
    refused("the id 'y' is in two rows: b.parquet, row 0 and b.parquet, row 2", **how)
    pq.write_table(pa.table({"id": ["y", None, "z", "u", "v"], "label": range(5)}), "b.parquet")
    refused("b.parquet, row 1, column id: the id is missing", **how)


def test_columns_that_are_others(here: Path, store: dict[str, bytes]) -> None:
    refused("b.npy: has no column id, label", "--metadata", **write("b", matrix(5)))
    how = write("b", matrix(5), 20)
    ids = [f"y{i}" for i in range(5)]
    for columns, needles in [
        ({"id": ids}, ["has no column label"]),
        ({"id": ids, "label": range(5), "text": ids}, ["have no column text", "remove it"]),
        ({"id": ids, "label": ids}, ["b.parquet", "column"]),
        ({"id": ids, "label": np.arange(5) / 2}, ["column label holds double", "holds int64", "convert it"]),
        ({"id": range(5), "label": range(5)}, ["b.parquet", "column"]),
    ]:
        pq.write_table(pa.table(columns), "b.parquet")
        refused(*needles, **how)
    np.save("c.npy", matrix(4))
    ingest("c.npy", "plain.zarr")
    with pytest.raises(InputError, match=r"plain\.zarr have no column id, label"):
        ingest(store="plain.zarr", append=True, **write("b", matrix(5), 20))
    pq.write_table(
        pa.table({"id": pa.array(ids, pa.large_string()), "label": pa.array(range(5), pa.int8())}), "b.parquet"
    )
    ingest(store="s.zarr", append=True, **how)
    assert str(pq.read_schema("s.zarr/rows.parquet").field("id").type) == "string"


def test_options_that_do_not_go_together(here: Path, store: dict[str, bytes]) -> None:
    how = write("b", matrix(5), 20)
    refused("--append", "--overwrite", error=OptionError, overwrite=True, **how)
    refused("--name other", "has mine", error=OptionError, name="other", **how)
    refused("--dtype float32", "has float16", error=OptionError, dtype="float32", **how)
    refused("--id label", "has its ids in id", error=OptionError, id_column="label", **how)
    ingest(store="s.zarr", append=True, name="mine", dtype="float16", id_column="id", **how)


def test_what_is_not_a_store(here: Path, store: dict[str, bytes]) -> None:
    how = write("b", matrix(5), 20)
    refused("none.zarr: no such embedding store", **{**how, "store": "none.zarr"})
    refused("a.npy", "not an embedding store", **{**how, "store": "a.npy"})
    Path("s.zarr/features/c/0/0").write_bytes(bytes(32 * 6))
    refused("rows 0 to 19 are damaged", "--overwrite", **how)


def test_rows_without_ids_are_not_appended_twice(here: Path, small_chunks: None) -> None:
    ingest(store="s.zarr", **write("a", matrix(20)))
    more = write("b", matrix(13, seed=1))
    ingest(store="s.zarr", append=True, **more)
    refused("s.zarr ends with these 13 rows", **more)
    more = write("b", np.concatenate([matrix(13, seed=1)[:12], matrix(1, seed=2)]))
    assert ingest(store="s.zarr", append=True, **more).n == 46


def test_a_full_chunk_that_is_missing(here: Path, small_chunks: None) -> None:
    ingest(store="s.zarr", **write("a", matrix(20)))
    Path("s.zarr/features/c/1/0").unlink()
    refused("features/c/1/0: the chunk is missing", **write("b", matrix(5)))


def test_a_store_in_another_layout(here: Path, store: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        shrink_chunks(patch)
        ingest("a.npy", "small.zarr")
    with pytest.raises(InputError, match=r"small\.zarr: was not written as ingest writes stores"):
        ingest("a.npy", "small.zarr", append=True)


# ---------------------------------------------------------------------------------------------------------------------
# Interruptions


class Stop(Exception):
    pass


@pytest.fixture
def job(here: Path, small_chunks: None) -> dict[str, Any]:
    values = matrix(90)
    values[[3, 40, 70]] = np.nan
    values[[2, 21, 60]] = 0
    ingest(store="s.zarr", on_bad="drop", name="mine", id_column="id", **write("a", values[:21], 0))
    how = write("b", values[21:], 21)
    at_once("a", "b", with_columns=True, on_bad="drop", name="mine")
    return {"store": "s.zarr", "append": True, "on_bad": "drop", **how}


@pytest.mark.parametrize("rows", [1, 4, 6, 30, 68, 69])
@pytest.mark.slow
def test_resume(here: Path, job: dict[str, Any], rows: int) -> None:
    before = contents("s.zarr")

    def stop(done: int, total: int) -> None:
        if done >= rows:
            raise Stop

    with pytest.raises(Stop):
        ingest(progress=stop, **job)
    assert contents("s.zarr") == before
    report = ingest(**job)
    assert rows - CHUNK - 5 <= report.resumed_at <= rows + 5
    assert (report.n, report.appended, report.dropped, report.zero_norm) == (87, 67, 2, 3)
    assert report.dropped_places == ("b.npy, row 19", "b.npy, row 49")
    assert contents("s.zarr") == contents("whole.zarr")
    assert not Path("s.zarr.partial").exists()


@pytest.mark.parametrize("last", ["replaced", "s.zarr", "journal.json"])
@pytest.mark.slow
def test_stopped_at_the_very_end(here: Path, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    def stopping(original: Callable[..., None], place: int) -> Callable[..., None]:
        def call(*places: Path, **how: Any) -> None:
            if places[place].name == last:
                raise Stop
            original(*places, **how)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(publication, "move", stopping(publication.move, 1))
        patch.setattr(publication, "remove_tree", stopping(publication.remove_tree, 0))
        with pytest.raises(Stop):
            ingest(**job)
    report = ingest(**job)  # the rows are not added twice
    assert (report.n, report.appended, report.dropped) == (87, 67, 2)
    assert contents("s.zarr") == contents("whole.zarr")
    assert not Path("s.zarr.partial").exists()
    with pytest.raises(InputError, match=r"the id 'x21' is in two rows: s\.zarr, row 20"):
        ingest(**job)


def test_the_store_changes_on_the_way(here: Path, job: dict[str, Any]) -> None:
    ingest("b.npy", "other.zarr", on_bad="drop")

    def swap(done: int, total: int) -> None:
        if done == total:
            Path("s.zarr").rename("old.zarr")
            Path("other.zarr").rename("s.zarr")

    other = contents("other.zarr")
    with pytest.raises(ChangedError, match=r"s\.zarr: the store changed during the work"):
        ingest(progress=swap, **job)
    assert contents("s.zarr") == other


def test_an_interrupted_append_to_a_store_that_was_replaced_begins_afresh(here: Path, job: dict[str, Any]) -> None:
    def stop(done: int, total: int) -> None:
        if done > 40:
            raise Stop

    with pytest.raises(Stop):
        ingest(progress=stop, **job)
    Path("s.zarr").rename("old.zarr")
    Path("whole.zarr").rename("s.zarr")
    np.save("b.npy", matrix(69, 5))
    job = {**job, **write("b", matrix(69, 5), 1000)}
    assert ingest(**job).n == 87 + 69


def test_two_writers(here: Path, job: dict[str, Any]) -> None:
    def meddle(done: int, total: int) -> None:
        with pytest.raises(ExistsError, match=r"s\.zarr\.partial.*another process"):
            ingest(**job)

    ingest(progress=meddle, **job)
    assert contents("s.zarr") == contents("whole.zarr")


APPEND = """
import sys, time
from specscale.stores.ingest import ingest
ingest("b.npy", "s.zarr", metadata="b.parquet", append=True, progress=lambda done, total: time.sleep(0.01))
"""


@pytest.mark.process
@pytest.mark.parametrize("chunks", [0, 1, 3])
def test_a_killed_append_continues(here: Path, monkeypatch: pytest.MonkeyPatch, chunks: int) -> None:
    """Kill the process with no chance to clean up, and run the same command again."""
    values = matrix(7 * CHUNK_ROWS)
    cut = CHUNK_ROWS + 77
    ingest(store="s.zarr", name="mine", id_column="id", **write("a", values[:cut], 0))
    how = write("b", values[cut:], cut)
    before = contents("s.zarr")
    monkeypatch.setenv("PYTHONPATH", str(Path(writer_module.__file__).parents[2]))
    code = f"from specscale.sources import base\nbase.BATCH_BYTES = {12 * 5000}\n{APPEND}"
    child = subprocess.Popen([sys.executable, "-c", code], cwd=here)
    journal = here / "s.zarr.partial" / "journal.json"
    while child.poll() is None and (
        not journal.exists() or len(json.loads(journal.read_text())["chunk_digests"]) < chunks
    ):
        time.sleep(0.005)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert contents("s.zarr") == before
    report: IngestReport = ingest(store="s.zarr", append=True, **how)
    assert report.resumed_at >= chunks * CHUNK_ROWS - 77
    at_once("a", "b", with_columns=True, name="mine")
    assert contents("s.zarr") == contents("whole.zarr")
    assert not journal.parent.exists()


def test_the_command(here: Path, store: dict[str, bytes], run_cli: Callable[..., Any]) -> None:
    values = matrix(6)
    values[4] = np.inf
    write("b", values, 20)
    command = ["ingest", "b.npy", "s.zarr", "--metadata", "b.parquet", "--append", "--on-bad", "drop"]
    done = run_cli(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("s.zarr: 25 rows × 3 dimensions, float16, digest ")
    assert done.stdout.splitlines()[1:] == ["5 rows were added", "dropped 1 of 6 rows: b.npy, row 4"]
    again = run_cli(*command)
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert "s.zarr, row 20 and b.parquet, row 0" in again.stderr
    write("c", matrix(2), 100)
    report = json.loads(run_cli("ingest", "c.npy", "s.zarr", "--metadata", "c.parquet", "--append", "--json").stdout)
    assert (report["n"], report["appended"]) == (27, 2)
    found = store_attributes(located("s.zarr"))
    assert found is not None
    assert found["source"] == ["a.npy", "b.npy", "c.npy"]
