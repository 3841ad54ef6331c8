"""Stores of few rows take little more than their rows, and can be added to like all others."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from conftest import structured
from upath import UPath

import specscale as ss
from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.layout import CHUNK_ROWS, chunk_rows
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import InputError
from specscale.places import publication
from specscale.places.files import Location, located, size_of_tree
from specscale.stores.ingest import ingest
from specscale.stores.stored import stored


def matrix(n: int, p: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, p), dtype=np.float32)


def contents(store: str | Location) -> dict[str, bytes]:
    place = located(store)
    if isinstance(place, Path):
        return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert isinstance(place, UPath)
    return {path[len(place.path) + 1 :]: data for path, data in place.fs.cat(place.fs.find(place.path)).items()}


def as_it_was_written_before(patch: pytest.MonkeyPatch) -> None:
    """Chunks of as many rows as the grid has, however few there are."""
    patch.setattr("specscale.stores.writer.chunk_rows", lambda n: CHUNK_ROWS)
    patch.setattr("specscale.results.writing.chunk_rows", lambda n: CHUNK_ROWS)


@pytest.mark.parametrize(
    ("n", "rows"),
    [(1, 1), (2, 2), (3, 4), (500, 512), (512, 512), (513, 1024), (16_385, 32_768), (32_768, 32_768), (10**9, 32_768)],
)
def test_rows_of_a_chunk(n: int, rows: int) -> None:
    assert chunk_rows(n) == rows


@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_a_store_is_about_the_size_of_its_vectors(here: Path, dtype: str) -> None:
    values = matrix(500, 256).astype(dtype)
    np.save("x.npy", values)
    report = ingest("x.npy", "x.zarr")
    assert size_of_tree(Path("x.zarr")) < 1.1 * values.nbytes
    group = zarr.open_group("x.zarr", mode="r")
    assert (group["features"].chunks, group["norms"].chunks) == ((512, 256), (512,))
    np.testing.assert_array_equal(EmbeddingStore("x.zarr").read(0, 500), values)
    EmbeddingStore("x.zarr").check()
    with pytest.MonkeyPatch.context() as patch:
        as_it_was_written_before(patch)
        assert ingest("x.npy", "old.zarr").digest == report.digest == ArrayEmbedding(values).digest


def test_rows_that_are_dropped_count(here: Path) -> None:
    values = matrix(20)
    values[3:] = np.nan
    np.save("x.npy", values)
    ingest("x.npy", "x.zarr", on_bad="drop")
    assert zarr.open_group("x.zarr", mode="r")["features"].chunks == (32, 2)
    np.testing.assert_array_equal(EmbeddingStore("x.zarr").read(0, 3), values[:3])


def test_memory(spawn_python: Callable[..., Any], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", matrix(500, 4096))
    code = (
        "import specscale.stores.ingest as s; s.ingest('x.npy', 'x.zarr');"
        "from specscale.runtime.memory import peak_memory; print(peak_memory() >> 20)"
    )
    done = spawn_python(code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 400  # a full chunk is 512 MB


@pytest.mark.slow
def test_arrays_of_this_process_and_files_compared_directly(here: Path) -> None:
    a, b = structured(700)
    assert isinstance(stored(ArrayEmbedding(a), here / "a.zarr"), EmbeddingStore)
    assert size_of_tree(here / "a.zarr") < 2 * a.nbytes
    np.save("a.npy", a)
    np.save("b.npy", b)
    how: dict[str, Any] = {"sigma": (1.5, 1.5), "size": 30, "certify": 40}
    ss.compare("a.npy", "b.npy", out="new.spec", **how)
    found = ss.open_result("new.spec")
    assert found.scores.chunks == (1024, 20)
    with pytest.MonkeyPatch.context() as patch:
        as_it_was_written_before(patch)
        ss.compare("a.npy", "b.npy", out="old.spec", **how)
    before = ss.open_result("old.spec")
    assert before.scores.chunks == (CHUNK_ROWS, 20)
    np.testing.assert_array_equal(found.scores[:], before.scores[:])
    np.testing.assert_array_equal(found.eigenvalues, before.eigenvalues)


# ---------------------------------------------------------------------------------------------------------------------
# Rows that are added


APPEND = """
import sys, time
from specscale.stores.ingest import ingest
from specscale.sources import base
base.BATCH_BYTES = 8 * 5000
ingest(sys.argv[1], "s.zarr", append=True, progress=lambda done, total: time.sleep(0.01))
"""


@pytest.mark.process
def test_from_one_row_to_a_million(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In many steps, one of which is killed, to the bytes of a store that is made at once."""
    ends = [1, 2, 3, 8, 9, 513, 20_000, 20_001, 32_768, 32_769, 100_000, 131_072, 131_100, 1_000_000]
    values = matrix(ends[-1])
    monkeypatch.setenv("PYTHONPATH", str(Path(ss.__file__).parents[1]))
    names: list[str] = []
    for low, high in itertools.pairwise([0, *ends]):
        np.save(f"{high}.npy", values[low:high])
        names.append(f"{high}.npy")
        if high == 100_000:
            child = subprocess.Popen([sys.executable, "-c", APPEND, names[-1]], cwd=here)
            journal = here / "s.zarr.partial" / "journal.json"
            while child.poll() is None and not (journal.exists() and json.loads(journal.read_text())["chunk_digests"]):
                time.sleep(0.005)
            child.kill()
            assert child.wait() == -signal.SIGKILL
            assert EmbeddingStore("s.zarr").n == low
        report = ingest(names[-1], "s.zarr", name=None if low else "mine", append=bool(low))
        assert (report.n, report.appended) == (high, high - low if low else 0)
        assert (report.resumed_at > 0) == (high == 100_000)
        if high in (2, 9, 513, 20_000, 32_769, 1_000_000):
            ingest(names, "whole.zarr", name="mine", overwrite=True)
            assert contents("s.zarr") == contents("whole.zarr")
    np.testing.assert_array_equal(EmbeddingStore("s.zarr").read(0, ends[-1]), values)
    EmbeddingStore("s.zarr").check()


@pytest.mark.parametrize("more", [5, 40_000])
def test_a_store_as_it_was_written_before(here: Path, more: int) -> None:
    values = matrix(20 + more)
    values[[3, 4]] = np.nan
    np.save("a.npy", values[:20])
    np.save("b.npy", values[20:])
    with pytest.MonkeyPatch.context() as patch:
        as_it_was_written_before(patch)
        ingest("a.npy", "s.zarr", on_bad="drop", name="mine")
    assert zarr.open_group("s.zarr", mode="r")["features"].chunks == (CHUNK_ROWS, 2)
    before = EmbeddingStore("s.zarr")
    before.check()
    ingest("b.npy", "s.zarr", append=True)
    ingest(["a.npy", "b.npy"], "whole.zarr", on_bad="drop", name="mine")
    found, whole = contents("s.zarr"), contents("whole.zarr")
    assert found.keys() == whole.keys()
    assert [name for name in found if found[name] != whole[name]] == []
    kept = values[np.isfinite(values).all(axis=1)]
    np.testing.assert_array_equal(EmbeddingStore("s.zarr").read(0, 18 + more), kept)
    np.testing.assert_array_equal(before.read(0, 18), kept[:18])  # who has opened it reads on


def test_work_begun_in_other_chunks_begins_afresh(here: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == total:
            raise Stop

    np.save("a.npy", matrix(20))
    with pytest.MonkeyPatch.context() as patch:
        as_it_was_written_before(patch)
        with pytest.raises(Stop):
            ingest("a.npy", "s.zarr", progress=stop)
    ingest("a.npy", "s.zarr")
    assert zarr.open_group("s.zarr", mode="r")["features"].chunks == (32, 2)


@pytest.mark.parametrize("written_before", [False, True])
@pytest.mark.parametrize("more", [3, 50, 40_000])
def test_who_has_opened_a_store_in_an_object_store_reads_its_rows(
    s3: str, here: Path, monkeypatch: pytest.MonkeyPatch, written_before: bool, more: int
) -> None:
    """Whatever has been published of the new store, in which its one chunk is another: at every request."""
    url = f"{s3}/s.zarr"
    values = matrix(30 + more)
    np.save("a.npy", values[:30])
    np.save("b.npy", values[30:])
    with pytest.MonkeyPatch.context() as patch:
        if written_before:
            as_it_was_written_before(patch)
        ingest("a.npy", url, name="mine")
    old = EmbeddingStore(url)
    norms = old.norms(0, 30)
    fs = located(url).fs
    original = fs.cp_file
    one_at_a_time = threading.Lock()
    seen: list[int] = []

    def look() -> None:
        np.testing.assert_array_equal(old.read(0, 30), values[:30])
        np.testing.assert_array_equal(old.norms(0, 30), norms)
        now = EmbeddingStore(url)
        np.testing.assert_array_equal(now.read(0, now.n), values[: now.n])
        np.testing.assert_array_equal(now.norms(0, now.n)[:30], norms)
        assert np.isfinite(now.norms(0, now.n)).all()
        seen.append(now.n)

    def copy(source: str, target: str) -> None:
        with one_at_a_time:
            original(source, target)
            look()

    monkeypatch.setattr(fs, "cp_file", copy)
    ingest("b.npy", url, append=True)
    assert seen == [30] * (len(seen) - 1) + [30 + more]
    assert len(seen) == len(contents(url))
    ingest(["a.npy", "b.npy"], "whole.zarr", name="mine")
    assert contents(url) == contents("whole.zarr")


def test_what_a_killed_replacement_left_is_cleared(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = matrix(60)
    for name, part in (("1", rows[:20]), ("2", rows[20:40]), ("3", rows[40:])):
        np.save(f"{name}.npy", part)
    ingest("1.npy", "s.zarr")
    rename, count = publication.move, itertools.count()

    def killed(*places: Any, **options: Any) -> None:
        if next(count) == 1:
            raise KeyboardInterrupt
        rename(*places, **options)

    with monkeypatch.context() as patch:
        patch.setattr(publication, "move", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest("2.npy", "s.zarr", append=True)
    with pytest.raises(InputError, match=r"s\.zarr: an ingest of it was interrupted: give the same command again"):
        EmbeddingStore("s.zarr")
    ingest("3.npy", "s.zarr", append=True)  # another command finishes the first, and goes on from there
    np.testing.assert_array_equal(EmbeddingStore("s.zarr").read(0, 60), rows)
    assert not Path("s.zarr.partial").exists()
