"""Chunks that are not there are named, and never compared as rows of zeros."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from conftest import command, structured

import specscale as ss
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import InputError, OptionError
from specscale.places.files import located, remove_tree
from specscale.runtime.events import PassStarted
from specscale.stores.ingest import ingest

N, P = 53, 6
VALUES = np.random.default_rng(0).normal(size=(N, P)).astype("f4")

LAYOUTS: dict[str, dict[str, Any]] = {
    "v3": {"chunks": (10, P)},
    "v3, dots": {"chunks": (10, P), "chunk_key_encoding": {"name": "default", "separator": "."}},
    "v3, keys of v2": {"chunks": (10, P), "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "v3, columns": {"chunks": (10, 4)},
    "v3, uncompressed": {"chunks": (10, P), "compressors": None},
    "v2": {"chunks": (10, P), "zarr_format": 2},
    "v2, slashes": {"chunks": (10, 4), "zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "shards": {"chunks": (5, P), "shards": (10, P)},
    "slots": {"chunks": (10, P), "shards": (30, P)},
    "slots of columns": {"chunks": (10, 3), "shards": (30, P)},
}
FILLS = [0, np.nan, -9999, None]


def make(path: str, values: np.ndarray, hole: slice = slice(20, 30), **how: Any) -> zarr.Array[Any]:
    """Write an array but for the rows of a hole."""
    how = {"chunks": (10, P), "fill_value": 0, "dtype": values.dtype, **how}
    array = zarr.create_array(path, shape=values.shape, overwrite=True, **how)
    array[: hole.start] = values[: hole.start]
    array[hole.stop :] = values[hole.stop :]
    return array


def features(store: str) -> np.ndarray:
    opened = EmbeddingStore(store)
    return opened.read(0, opened.n)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.slow
def test_a_hole_is_named_dropped_or_filled(here: Path, layout: str, fill: float | None) -> None:
    make("x.zarr", VALUES, fill_value=fill, **LAYOUTS[layout])
    with pytest.raises(InputError, match=r"^x\.zarr: rows 20 to 29 are in missing or unfinished chunks.*--on-bad drop"):
        ingest("x.zarr", "s.zarr")
    assert not Path("s.zarr").exists()
    report = ingest("x.zarr", "s.zarr", on_bad="drop")
    assert (report.n, report.dropped, report.dropped_places[0]) == (N - 10, 10, "x.zarr, row 20")
    assert report.absent == ("x.zarr: rows 20 to 29 are in missing or unfinished chunks",)
    np.testing.assert_array_equal(features("s.zarr"), np.delete(VALUES, slice(20, 30), axis=0))
    if fill is not None and np.isnan(fill):
        with pytest.raises(InputError, match=r"row 20, column 0: its chunk is not there, and the fill value .* is NaN"):
            ingest("x.zarr", "s.zarr", on_bad="zero", overwrite=True)
    else:
        ingest("x.zarr", "s.zarr", on_bad="zero", overwrite=True)
        expected = VALUES.copy()
        expected[20:30] = fill or 0
        np.testing.assert_array_equal(features("s.zarr"), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
@pytest.mark.slow
def test_what_is_there_is_read_as_it_is(here: Path, layout: str, dtype: str) -> None:
    """The last chunk is not full, rows of zeros are legal where they were written, and so is any NaN."""
    values = VALUES.astype(dtype)
    values[10:20] = 0
    array = make("x.zarr", values, slice(0, 0), **LAYOUTS[layout], config={"write_empty_chunks": True})
    report = ingest("x.zarr", "s.zarr")
    assert (report.n, report.zero_norm, report.absent) == (N, 10, ())
    np.testing.assert_array_equal(features("s.zarr"), values.astype("f2" if dtype == "f2" else "f4"))
    marks = {2: 0x7F5A, 4: 0x7FE5CA1E, 8: 0x7FF9E5CA1E5CA1E5}
    odd = np.array(marks[values.itemsize], f"u{values.itemsize}").view(values.dtype.newbyteorder("="))
    array[4, 2] = odd
    with pytest.raises(InputError, match=r"^x\.zarr, row 4, column 2: NaN; drop"):
        ingest("x.zarr", "s.zarr", overwrite=True)


def test_columns_that_are_absent(here: Path) -> None:
    make("x.zarr", VALUES, slice(0, 0), chunks=(10, 4))
    Path("x.zarr/c/3/1").unlink()
    with pytest.raises(InputError, match=r"x\.zarr: rows 30 to 39 are in missing or unfinished chunks"):
        ingest("x.zarr", "s.zarr")
    ingest("x.zarr", "s.zarr", on_bad="zero")
    expected = VALUES.copy()
    expected[30:40, 4:] = 0
    np.testing.assert_array_equal(features("s.zarr"), expected)


def test_a_shard_that_is_absent_and_slots_that_are_empty(here: Path) -> None:
    array = zarr.create_array("x.zarr", shape=(N, P), chunks=(5, P), shards=(20, P), dtype="f4", fill_value=0)
    for low, high in ((0, 5), (15, 20), (40, 45), (50, 53)):
        array[low:high] = VALUES[low:high]
    line = r"rows 5 to 14, 20 to 39 and 45 to 49 \(35 rows in all\) are in missing or unfinished chunks"
    with pytest.raises(InputError, match=line):
        ingest("x.zarr", "s.zarr")
    assert ingest("x.zarr", "s.zarr", on_bad="drop").n == N - 35


def test_what_a_writer_left_that_died_within_a_chunk(here: Path) -> None:
    """The rest of a chunk that was begun reads as zeros too; a chunk of zeros was written."""
    array = make("x.zarr", VALUES, slice(0, N), config={"write_empty_chunks": True})
    array[:24] = VALUES[:24]
    array[40:50] = 0
    array[52] = VALUES[52]
    with pytest.raises(InputError, match="rows 24 to 39 are in missing or unfinished chunks"):
        ingest("x.zarr", "s.zarr")
    report = ingest("x.zarr", "s.zarr", on_bad="drop")
    assert (report.n, report.zero_norm) == (N - 16, 12)
    assert ingest("x.zarr", "s.zarr", on_bad="zero", overwrite=True).zero_norm == 28
    array[:24] = 0
    array[17:20] = VALUES[17:20]
    Path("x.zarr/c/0/0").unlink()
    with pytest.raises(InputError, match=r"rows 0 to 16 and 30 to 39 \(27 rows in all\) are"):
        ingest("x.zarr", "s.zarr", overwrite=True)


def test_the_index_of_shards_may_come_first(here: Path) -> None:
    codec = zarr.codecs.ShardingCodec(chunk_shape=(5, P), index_location="start")
    array = zarr.create(
        store="x.zarr", shape=(N, P), chunks=(20, P), dtype="f4", fill_value=0, codecs=[codec], zarr_format=3
    )
    array[:30] = VALUES[:30]
    array[35:] = VALUES[35:]
    with pytest.raises(InputError, match="rows 30 to 34 are"):
        ingest("x.zarr", "s.zarr")


def test_many_holes_are_few_words(here: Path) -> None:
    array = zarr.create_array("x.zarr", shape=(N, P), chunks=(1, P), dtype="f4", fill_value=0)
    for row in range(0, N, 2):
        array[row] = VALUES[row]
    with pytest.raises(
        InputError, match=r"rows 1, 3, 5 and 23 more runs \(26 rows in all\) are in missing or unfinished chunks"
    ):
        ingest("x.zarr", "s.zarr")


def test_several_arrays_and_arrays_of_three_dimensions(here: Path) -> None:
    make("1.zarr", VALUES, slice(0, 0))
    make("2.zarr", VALUES[:, None], chunks=(10, 1, P))
    with pytest.raises(InputError, match=r"^2\.zarr: rows 20 to 29 are in missing or unfinished chunks"):
        ingest(["1.zarr", "2.zarr"], "s.zarr")
    report = ingest(["1.zarr", "2.zarr"], "s.zarr", on_bad="drop")
    assert (report.n, report.dropped_places[0]) == (2 * N - 10, "2.zarr, row 20")
    ingest("1.zarr", "t.zarr")
    with pytest.raises(InputError, match=r"^2\.zarr: rows 20 to 29 are"):
        ingest("2.zarr", "t.zarr", append=True)
    assert ingest("2.zarr", "t.zarr", append=True, on_bad="drop").n == 2 * N - 10


def test_where_there_are_no_chunks_to_fill(here: Path) -> None:
    np.save("x.npy", VALUES)
    for source, words in (("x.npy", r"x\.npy is none"), (da.from_array(VALUES), "a Dask array lacks no chunks")):
        with pytest.raises(OptionError, match=f"--on-bad zero.*{words}"):
            ingest(source, "s.zarr", on_bad="zero")


def test_the_command(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make("x.zarr", VALUES)
    assert command(monkeypatch, "ingest", "x.zarr", "s.zarr") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "or read them as the fill value 0 with --on-bad zero" in error
    assert command(monkeypatch, "ingest", "x.zarr", "s.zarr", "--on-bad", "drop") == 0
    assert "x.zarr: rows 20 to 29 are in missing or unfinished chunks and were dropped" in capsys.readouterr().out
    assert command(monkeypatch, "ingest", "x.zarr", "t.zarr", "--on-bad", "zero", "--json") == 0
    assert json.loads(capsys.readouterr().out)["absent"] == [
        "x.zarr: rows 20 to 29 are in missing or unfinished chunks"
    ]


def test_a_damaged_chunk_is_one_line(here: Path) -> None:
    make("x.zarr", VALUES, slice(0, 0))
    Path("x.zarr/c/2/0").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"^x\.zarr, rows 0 to 52: damaged \(.*"):
        ingest("x.zarr", "s.zarr", on_bad="drop")


# ---------------------------------------------------------------------------------------------------------------------
# Compared directly

HOW: dict[str, Any] = {"sigma": (1.5, 1.5), "size": 30, "certify": 0, "rounds": 0}


@pytest.mark.slow
def test_a_hole_in_b_alone(here: Path) -> None:
    a, b = structured(700)
    np.save("a.npy", a)
    make("b.zarr", b, slice(200, 300), chunks=(100, 9))
    with pytest.raises(
        InputError, match=r"^b\.zarr: rows 200 to 299 are in missing or unfinished chunks.*--on-bad drop"
    ):
        ss.compare("a.npy", "b.zarr", **HOW)
    with pytest.raises(InputError, match=r"^b\.zarr: rows 200 to 299 are"):
        ss.compare_many(["a.npy", "b.zarr"], sigma=1.5, size=30)
    found = ss.compare("a.npy", "b.zarr", on_bad="drop", **HOW)
    assert (found.summary["rows"]["compared"], found.summary["rows"]["dropped"]) == (600, 100)
    assert np.flatnonzero(np.isnan(found.scores[:, 0])).tolist() == list(range(200, 300))
    whole = [np.delete(one, slice(200, 300), axis=0) for one in (a, b)]
    np.testing.assert_allclose(found.eigenvalues, ss.compare(*whole, **HOW).eigenvalues, rtol=1e-4)


def test_bandwidths_of_an_array_with_a_hole(here: Path) -> None:
    make("b.zarr", structured(700)[1], slice(200, 300), chunks=(100, 9))
    with pytest.raises(InputError, match=r"^b\.zarr: rows 200 to 299 are"):
        ss.bandwidth("b.zarr")
    assert len(ss.bandwidth("b.zarr", on_bad="drop").stores) == 1


# ---------------------------------------------------------------------------------------------------------------------
# Stores and results


@pytest.fixture
def pair_of_stores(make_store: Callable[..., Path]) -> tuple[Path, Path]:
    a, b = structured(40_000, 4, 3)
    return make_store("a", a, columns={"label": np.arange(40_000) % 5}), make_store("b", b)


@pytest.mark.parametrize("lost", ["norms/c/1", "norms/c/0", "features/c/1/0"])
def test_a_chunk_of_a_store(pair_of_stores: tuple[Path, Path], lost: str) -> None:
    (pair_of_stores[1] / lost).unlink()
    for on_bad in ("error", "drop"):
        with pytest.raises(InputError, match=rf"b\.zarr/{lost}: the chunk is missing: ingest the embedding again"):
            ss.compare(*pair_of_stores, on_bad=on_bad, **HOW)
    with pytest.raises(InputError, match=f"{lost}: the chunk is missing"):
        EmbeddingStore(pair_of_stores[1]).check()


@pytest.mark.parametrize("how", [{"compressors": "auto"}, {"shards": (16_384, 4), "chunks": (4096, 4)}])
def test_a_chunk_of_a_store_in_another_layout(pair_of_stores: tuple[Path, Path], how: dict[str, Any]) -> None:
    """As people make it who compress a store, or put it into shards: no longer a store, but what one is made of."""
    store = pair_of_stores[0]
    rows = EmbeddingStore(store).read(0, 40_000)
    group = zarr.open_group(store, mode="r+")
    group.create_array("features", shape=rows.shape, dtype="f4", overwrite=True, **{"chunks": (8192, 4), **how})
    group["features"][:8192] = rows[:8192]
    group["features"][16_384:] = rows[16_384:]
    with pytest.raises(InputError, match=r"features/zarr\.json: its chunks are not plain ones"):
        EmbeddingStore(store)
    with pytest.raises(InputError, match=r"a\.zarr: rows 8,192 to 16,383 are in missing or unfinished chunks"):
        ingest(store, store.with_name("again.zarr"))


def test_a_store_that_is_ingested_again(pair_of_stores: tuple[Path, Path]) -> None:
    (pair_of_stores[0] / "features/c/1/0").unlink()
    with pytest.raises(InputError, match=r"a\.zarr: rows 32,768 to 39,999 are in missing or unfinished chunks"):
        ingest(pair_of_stores[0], pair_of_stores[0].with_name("again.zarr"))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", ["features/c/1/0", "norms/c/1"])
@pytest.mark.parametrize("remote", [False, pytest.param(True, marks=pytest.mark.s3)])
def test_a_chunk_that_goes_missing_between_passes(
    pair_of_stores: tuple[Path, Path], tmp_path: Path, request: pytest.FixtureRequest, chunk: str, remote: bool
) -> None:
    places = [str(one) for one in pair_of_stores]
    if remote:
        places = [f"{request.getfixturevalue('s3')}/{name}.zarr" for name in "ab"]
        for one, place in zip(pair_of_stores, places, strict=True):
            ingest(one, place)
    opened = [ss.open_embedding(place) for place in places]
    gone = located(places[1]) / chunk

    def lose(event: Any) -> None:
        if isinstance(event, PassStarted) and event.name == "scores":
            remove_tree(gone)

    if chunk.startswith("norms"):  # which only the start of a comparison reads
        remove_tree(gone)
    with pytest.raises(InputError, match=f"{chunk}: the chunk is missing"):
        ss.compare(*opened, out=tmp_path / "r.spec", on_bad="drop", progress=lose, **HOW)
    assert not (tmp_path / "r.spec").exists()


@pytest.mark.slow
@pytest.mark.parametrize("remote", [False, pytest.param(True, marks=pytest.mark.s3)])
def test_a_chunk_of_a_result(
    pair_of_stores: tuple[Path, Path], tmp_path: Path, request: pytest.FixtureRequest, remote: bool
) -> None:
    out = f"{request.getfixturevalue('s3')}/r.spec" if remote else str(tmp_path / "r.spec")
    b = EmbeddingStore(pair_of_stores[1]).read(0, 40_000)
    b[5] = np.nan
    ss.compare(pair_of_stores[0], b, out=out, on_bad="drop", **HOW)
    result = ss.open_result(out)
    assert np.flatnonzero(np.isnan(result.scores[:, 0])).tolist() == [5]
    remove_tree(located(out) / "spec.zarr/scores/c/1/0")
    assert np.isnan(result.scores[:32_768, 0]).sum() == 1
    with pytest.raises(InputError, match=r"r\.spec/spec\.zarr/scores/c/1/0: the chunk is missing: run the comparison"):
        result.scores[:]
    with pytest.raises(InputError, match="scores/c/1/0: the chunk is missing"):
        ss.explain(out, labels="label")
    remove_tree(located(out) / "spec.zarr/covariance/c/0/0")
    with pytest.raises(InputError, match="covariance/c/0/0: the chunk is missing"):
        result.covariance[:]


@pytest.mark.slow
def test_rows_that_were_not_compared_are_no_hole(pair_of_stores: tuple[Path, Path], tmp_path: Path) -> None:
    values = EmbeddingStore(pair_of_stores[0]).read(0, 40_000)
    values[:32_768] = np.nan
    found = ss.compare(values, pair_of_stores[1], out=tmp_path / "r.spec", on_bad="drop", **HOW)
    assert np.isnan(found.scores[:32_768]).all()
    assert np.isfinite(found.scores[32_768:]).all()


# ---------------------------------------------------------------------------------------------------------------------
# Dask arrays


def test_blocks_of_zeros_are_written(here: Path) -> None:
    array = da.concatenate([da.zeros((40_000, 3), chunks=(10_000, 3)), da.ones((10, 3))]).astype("f4")
    report = ingest(array, "s.zarr")
    assert (report.n, report.zero_norm, report.absent) == (40_010, 40_000, ())


def test_a_block_that_nobody_wrote(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = da.Array.to_zarr

    def lossy(self: Any, url: str, **options: Any) -> Any:
        done = original(self, url, **options)
        shutil.rmtree(Path(url) / "c" / "1")
        return done

    monkeypatch.setattr(da.Array, "to_zarr", lossy)
    with pytest.raises(InputError, match="mine: 1 of the 2 chunks that were computed are not in"):
        ingest(da.ones((40_000, 3)), "s.zarr", name="mine")
    assert not Path("s.zarr").exists()


def test_a_few_floats_beside_a_wide_matrix_of_integers(here: Path) -> None:
    group = zarr.create_group("g.zarr")
    group.create_array("codes", shape=(20, 16), dtype="i1")[:] = 1
    group.create_array("box", shape=(20, 4), dtype="f4")[:] = np.ones((20, 4))
    with pytest.raises(InputError, match=r"the group holds box \(20, 4\) float32, codes \(20, 16\) int8; name"):
        ingest("g.zarr", "s.zarr")
    assert ingest("g.zarr/box", "s.zarr").p == 4
