"""Stores written to an object store: the bytes of a local one, whole or not there, continued after any death."""

from __future__ import annotations

import functools
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
from hypothesis import given, settings
from hypothesis import strategies as st

import specscale.stores.publishing as publishing
import specscale.stores.writer as writer_module
from specscale.embeddings.layout import CHUNK_ROWS, store_attributes
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import ChangedError, ExistsError, InputError, OptionError
from specscale.places import publication
from specscale.places.claim import claim_folder
from specscale.places.files import Location, exists, located, read_whole, remove_tree, write_whole
from specscale.stores.ingest import ingest

Files = dict[str, bytes]


class Stop(Exception):
    pass


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    hurry(monkeypatch)
    return tmp_path


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Do not wait long for dead owners."""
    quick = functools.partial(claim_folder, renewal=0.2, patience=1.0)
    patch.setattr(writer_module, "claim_folder", quick)
    patch.setattr(publishing, "claim_folder", quick)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_chunks(monkeypatch)


def matrix(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)


def write(name: str, values: np.ndarray, start: int = 0) -> dict[str, Any]:
    np.save(f"{name}.npy", values)
    ids = [f"x{i}" for i in range(start, start + len(values))]
    pq.write_table(pa.table({"id": ids, "label": range(len(values))}), f"{name}.parquet")
    return {"source": f"{name}.npy", "metadata": f"{name}.parquet", "name": "mine"}


def contents(store: str | Path) -> Files:
    place = located(store)
    if isinstance(place, Path):
        return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    return {path.removeprefix(f"{place.path}/"): place.fs.cat_file(path) for path in place.fs.find(place.path)}


def left(url: str) -> list[str]:
    """What is left of the work in progress."""
    place = located(f"{url}.partial")
    return [str(path) for path in place.fs.find(place.path)]


# ---------------------------------------------------------------------------------------------------------------------
# The store


def test_the_bytes_are_those_of_a_local_store(s3: str) -> None:
    values = matrix(CHUNK_ROWS + 100)
    values[[5, CHUNK_ROWS]] = np.nan
    how = {**write("a", values), "id_column": "id", "on_bad": "drop"}
    remote, local = ingest(store=f"{s3}/a.zarr", **how), ingest(store="a.zarr", **how)
    assert remote.store == f"{s3}/a.zarr"
    assert (remote.digest, remote.n, remote.dropped_places) == (local.digest, CHUNK_ROWS + 98, local.dropped_places)
    assert contents(f"{s3}/a.zarr") == contents("a.zarr")
    assert left(f"{s3}/a.zarr") == []
    store = EmbeddingStore(f"{s3}/a.zarr")
    store.check()
    np.testing.assert_array_equal(store.read(0, store.n), values[np.isfinite(values[:, 0])])


def test_nothing_is_seen_until_all_is_there(s3: str, small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{s3}/a.zarr"
    target = located(url)
    seen: list[bool] = []
    order: list[str] = []
    original = target.fs.cp_file

    def copy(source: str, copied: str) -> None:
        seen.append(store_attributes(target) is not None)
        original(source, copied)
        order.append(copied.removeprefix(f"{target.path}/"))

    monkeypatch.setattr(target.fs, "cp_file", copy)
    ingest(store=url, **write("a", matrix(20)), progress=lambda *_: seen.append(exists(target)))
    assert len(seen) > 5
    assert not any(seen)
    assert order[-4:] == ["rows.parquet", "features/zarr.json", "norms/zarr.json", "zarr.json"]
    assert store_attributes(target) is not None


def test_overwrite(s3: str, small_chunks: None) -> None:
    url = f"{s3}/a.zarr"
    ingest(store=url, **write("a", matrix(60)))
    before = contents(url)
    how = write("b", matrix(20, 1))
    with pytest.raises(ExistsError, match=rf"{url}: exists; .*--overwrite"):
        ingest(store=url, **how)
    bad = matrix(20)
    bad[3] = np.inf
    with pytest.raises(InputError, match=r"c\.npy, row 3"):
        ingest(store=url, overwrite=True, **write("c", bad))
    assert contents(url) == before
    ingest(store=url, overwrite=True, **how)
    ingest(store="b.zarr", **how)
    assert contents(url) == contents("b.zarr")
    assert left(url) == []


def test_new_columns_for_the_same_vectors(s3: str, small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest of the features does not tell the new store from the old one."""
    url = f"{s3}/a.zarr"
    how = write("a", matrix(20))
    ingest(store=url, **how)
    pq.write_table(pa.table({"id": ["y"] * 20, "label": [7] * 20}), "a.parquet")
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "finish_publishing", stop)
        with pytest.raises(Stop):
            ingest(store=url, overwrite=True, **how)
    ingest(store=url, overwrite=True, **how)
    assert EmbeddingStore(url).rows([3]).to_pylist() == [{"id": "y", "label": 7}]  # type: ignore[union-attr]


def stop(*_: Any, **__: Any) -> None:
    raise Stop


def test_what_is_in_the_way_stays(s3: str) -> None:
    how = write("a", matrix(20))
    write_whole(located(f"{s3}/notes/thesis.txt"), b"x")
    with pytest.raises(ExistsError, match="never replaced"):
        ingest(store=f"{s3}/notes", overwrite=True, **how)
    write_whole(located(f"{s3}/a.zarr.partial/mine"), b"x")
    with pytest.raises(ExistsError, match=r"a\.zarr\.partial: is in the way"):
        ingest(store=f"{s3}/a.zarr", **how)
    with pytest.raises(OptionError, match="no name for a store"):
        ingest(store="s3://specscale-test", **how)
    assert exists(located(f"{s3}/notes/thesis.txt"))
    assert left(f"{s3}/a.zarr") != []


def test_a_store_that_cannot_be_reached(s3: str, run_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    write("a", matrix(20))
    for url, address in ((f"{s3}/a.zarr", "http://127.0.0.1:9"), ("s3://no-such-bucket-of-ours/a.zarr", None)):
        with monkeypatch.context() as patch:
            if address is not None:
                patch.setenv("AWS_ENDPOINT_URL", address)
            done = run_cli("ingest", "a.npy", url)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
        assert url in done.stderr


def test_the_command(s3: str, run_cli: Callable[..., Any]) -> None:
    url = f"{s3}/a.zarr"
    write("a", matrix(20))
    write("b", matrix(3, 1), 20)
    done = run_cli("ingest", "a.npy", url, "--metadata", "a.parquet", "--id", "id")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{url}: 20 rows × 3 dimensions")
    done = run_cli("ingest", "b.npy", url, "--metadata", "b.parquet", "--append")
    assert done.returncode == 0, done.stderr
    info = run_cli("info", url, "--json")
    assert info.returncode == 0, info.stderr
    described = json.loads(info.stdout)
    assert (described["n"], described["source"]) == (23, ["a.npy", "b.npy"])


# ---------------------------------------------------------------------------------------------------------------------
# Append


@settings(max_examples=6)
@given(st.integers(1, 2 * CHUNK + 1), st.integers(1, 2 * CHUNK + 1), st.integers(1, CHUNK + 1))
def test_appended_rows_make_the_store_of_all_rows(
    s3_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory, one: int, two: int, three: int
) -> None:
    folder = tmp_path_factory.mktemp("append")
    url = f"s3://specscale-test/{folder.parent.name}-{folder.name}/a.zarr"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_environment.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        hurry(patch)
        shrink_chunks(patch)
        start = 0
        for number, size in enumerate([one, two, three]):
            how = write(str(number), matrix(size, number), start)
            for place in (url, "a.zarr"):
                ingest(store=place, **how, **({"append": True} if number else {"id_column": "id"}))
            start += size
        assert contents(url) == contents("a.zarr")
        assert left(url) == []


def test_full_chunks_stay_where_they_are(s3: str, small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{s3}/a.zarr"
    ingest(store=url, **write("a", matrix(20)))
    before = located(url).fs.find(located(url).path, detail=True)
    old = EmbeddingStore(url)
    copied: list[str] = []
    original = located(url).fs.cp_file

    def copy(source: str, target: str) -> None:
        copied.append(target)
        original(source, target)

    monkeypatch.setattr(located(url).fs, "cp_file", copy)
    ingest(store=url, append=True, **write("b", matrix(20, 1), 20))
    assert sorted(path for path in copied if path in before and "/c/" in path) == [
        f"{located(url).path}/features/c/2/0",
        f"{located(url).path}/norms/c/2",
    ]
    np.testing.assert_array_equal(old.read(0, 20), matrix(20))
    np.testing.assert_array_equal(EmbeddingStore(url).read(0, 40), np.concatenate([matrix(20), matrix(20, 1)]))


# ---------------------------------------------------------------------------------------------------------------------
# Interruptions


def stop_after(rows: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done >= rows:
            raise Stop

    return progress


@pytest.mark.parametrize("append", [False, True])
def test_resume(s3: str, small_chunks: None, append: bool) -> None:
    url = f"{s3}/a.zarr"
    for place in (url, "a.zarr") if append else ():
        ingest(store=place, id_column="id", **write("a", matrix(21)))
    before = contents(url)
    how = {**write("b", matrix(60, 1), 21), "append": append}
    ingest(store="a.zarr", **how)
    for rows in (4, 30, 60):
        with pytest.raises(Stop):
            ingest(store=url, progress=stop_after(rows), **how)
        assert contents(url) == before
    report = ingest(store=url, **how)
    assert report.resumed_at > 45
    assert contents(url) == contents("a.zarr")
    assert left(url) == []


@pytest.mark.parametrize(
    "lost", ["store/features/c/1/0", "store/norms/c/0", "columns/000002.parquet", "store/zarr.json"]
)
def test_work_that_was_damaged_begins_afresh(s3: str, small_chunks: None, lost: str) -> None:
    url = f"{s3}/a.zarr"
    how = write("a", matrix(60))
    with pytest.raises(Stop):
        ingest(store=url, progress=stop_after(40), **how)
    remove_tree(located(f"{url}.partial/{lost}"))
    assert ingest(store=url, **how).resumed_at == 0
    ingest(store="a.zarr", **how)
    assert contents(url) == contents("a.zarr")


@pytest.mark.parametrize("kind", ["new", "overwrite", "append"])
def test_stopped_anywhere_at_the_end(s3: str, small_chunks: None, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Stop before one of the requests that change something, one run after the other, until one comes through."""
    url = f"{s3}/a.zarr"
    if kind != "new":
        for place in (url, "a.zarr"):
            ingest(store=place, id_column="id", **write("a", matrix(21)))
    how: dict[str, Any] = {**write("b", matrix(20, 1), 21), **({kind: True} if kind != "new" else {})}
    ingest(store="a.zarr", **how)
    old = store_attributes(located(url))
    fs = located(url).fs
    originals = {name: getattr(fs, name) for name in ("cp_file", "rm_file")}
    allowed = calls = 0

    def limited(name: str) -> Callable[..., Any]:
        def call(*paths: str) -> None:
            nonlocal calls
            calls += 1
            if calls > allowed:
                raise Stop
            originals[name](*paths)

        return call

    with monkeypatch.context() as patch:
        for name in originals:
            patch.setattr(fs, name, limited(name))
        for number in range(0, 200, 4):
            allowed, calls = number, 0
            try:
                ingest(store=url, **how)
                break
            except Stop:
                found = store_attributes(located(url))
                assert found in (old, None, store_attributes(located("a.zarr")))
                assert found is not None or kind != "append"
    assert 5 < allowed < 196
    assert contents(url) == contents("a.zarr")
    assert left(url) == []


def test_another_command_finishes_what_was_being_replaced(
    s3: str, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{s3}/a.zarr"
    ingest(store=url, **write("a", matrix(60)))
    how = write("b", matrix(20, 1))
    with monkeypatch.context() as patch:
        patch.setattr(publication, "copy_tree", stop)
        with pytest.raises(Stop):
            ingest(store=url, overwrite=True, **how)
    assert store_attributes(located(url)) is None
    with pytest.raises(ExistsError, match="--overwrite"):
        ingest(store=url, **write("c", matrix(10, 2)))
    ingest(store="b.zarr", **how)
    assert contents(url) == contents("b.zarr")
    assert left(url) == []


def test_two_writers(s3: str, small_chunks: None) -> None:
    url = f"{s3}/a.zarr"
    how = write("a", matrix(20))
    refusals = 0

    def meddle(done: int, total: int) -> None:
        nonlocal refusals
        if done in (0, total):
            with pytest.raises(
                ExistsError, match=r"a\.zarr\.partial: another process is at work here \(process \d+ on"
            ):
                ingest(store=url, **how)
            refusals += 1

    ingest(store=url, progress=meddle, **how)
    assert refusals == 2
    assert EmbeddingStore(url).n == 20


def test_a_writer_that_lost_its_work_stops(s3: str, small_chunks: None) -> None:
    url = f"{s3}/a.zarr"
    how = write("a", matrix(60))
    lock: Location = located(f"{url}.partial/lock")

    def take_over(done: int, total: int) -> None:
        if done == 30:
            write_whole(lock, json.dumps({"owner": "x", "host": "other", "pid": 7, "count": 1}).encode())

    with pytest.raises(ChangedError, match="process 7 on other took the work over"):
        ingest(store=url, progress=take_over, **how)
    assert json.loads(lock.read_bytes())["owner"] == "x"  # and it leaves the other's work alone
    assert not exists(located(url))
    report = ingest(store=url, **how)  # the other one died
    assert report.resumed_at > 20
    assert left(url) == []


def test_the_network_goes_away(s3: str, small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{s3}/a.zarr"
    how = write("a", matrix(60))

    def away(place: Any, *parts: Any, **how: Any) -> None:
        raise InputError(f"{place}: cannot be reached")

    def progress(done: int, total: int) -> None:
        if done == 40:
            patch.setattr("specscale.stores.journal.write_whole", away)

    with monkeypatch.context() as patch, pytest.raises(InputError, match="cannot be reached"):
        ingest(store=url, progress=progress, **how)
    assert left(url) != []
    assert ingest(store=url, **how).resumed_at >= 32


SLOW = """
import functools, sys, time
import specscale.stores.writer as writer
from specscale.places.claim import claim_folder
from specscale.stores.ingest import ingest
from specscale.sources import base
base.BATCH_BYTES = 12 * 5000
writer.claim_folder = functools.partial(claim_folder, renewal=0.2, patience=1.0)
options = {"append": True} if sys.argv[2] == "append" else {"id_column": "id"}
ingest("b.npy", sys.argv[1], metadata="b.parquet", name="mine", progress=lambda *_: time.sleep(0.01), **options)
"""


@pytest.mark.process
@pytest.mark.parametrize("kind", ["new", "append"])
def test_a_killed_ingest_continues(s3: str, here: Path, kind: str) -> None:
    """Kill the process with no chance to clean up, twice, and run the same command again."""
    url = f"{s3}/a.zarr"
    start = 0
    if kind == "append":
        start = CHUNK_ROWS + 77
        for place in (url, "a.zarr"):
            ingest(store=place, id_column="id", **write("a", matrix(start)))
    before = contents(url)
    how = write("b", matrix(6 * CHUNK_ROWS, 1), start)
    how |= {"append": True} if kind == "append" else {"id_column": "id"}
    journal = located(f"{url}.partial/journal.json")
    for chunks in (1, 3):
        child = subprocess.Popen(
            [sys.executable, "-c", SLOW, url, kind],
            cwd=here,
            env={**os.environ, "PYTHONPATH": str(Path(writer_module.__file__).parents[2])},
        )
        while child.poll() is None and done_chunks(journal) < chunks:
            time.sleep(0.01)
        child.kill()
        assert child.wait() == -signal.SIGKILL
        assert contents(url) == before
    report = ingest(store=url, **how)
    assert report.resumed_at >= 3 * CHUNK_ROWS - 77
    ingest(store="a.zarr", **how)
    assert contents(url) == contents("a.zarr")
    assert left(url) == []


def done_chunks(journal: Location) -> int:
    try:
        return len(json.loads(read_whole(journal))["chunk_digests"])
    except FileNotFoundError:
        return 0
