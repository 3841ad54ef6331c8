"""Dask arrays, taken wherever an embedding is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from clusters import assert_same
from conftest import structured
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st

import specscale as ss
from specscale.errors import InputError
from specscale.runtime.cluster.connecting import local_cluster
from specscale.stores.ingest import ingest

SETTINGS: dict[str, Any] = {"sigma": (1.5, 1.5), "size": 30, "certify": 40, "rounds": 0}


@settings(max_examples=8)
@given(data=st.data())
@pytest.mark.slow
def test_chunks_do_not_matter(data: st.DataObject) -> None:
    n = data.draw(st.sampled_from([700, 40_000]))
    rows = data.draw(st.lists(st.integers(n // 9, n // 2), min_size=1, max_size=6).map(lambda cuts: _sizes(cuts, n)))
    columns = data.draw(st.sampled_from([(3,), (1, 2)]))
    x = np.random.default_rng(n).standard_normal((n, 3)).astype(data.draw(st.sampled_from(["f2", "f4", "f8"])))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "x.npy", x)
        expected = ingest(folder / "x.npy", folder / "file.zarr")
        found = ingest(da.from_array(x, chunks=(rows, columns)), folder / "dask.zarr")
        assert (found.digest, found.n, found.p, found.dtype) == (expected.digest, n, 3, expected.dtype)
        assert sorted(path.name for path in folder.iterdir()) == ["dask.zarr", "file.zarr", "x.npy"]


def _sizes(cuts: list[int], n: int) -> tuple[int, ...]:
    sizes: list[int] = []
    for size in cuts:
        sizes.append(min(size, n - sum(sizes)))
    return tuple(size for size in [*sizes, n - sum(sizes)] if size)


@pytest.mark.slow
def test_they_are_compared_like_the_arrays_they_are(tmp_path: Path) -> None:
    a, b = structured(40_000)
    expected = ss.compare(a, b, out=tmp_path / "1", **SETTINGS)
    lazy = da.from_array(a, chunks=(7000, 5)), da.from_array(b[:, None], chunks=(9999, 1, 9))
    assert_same(ss.compare(*lazy, out=tmp_path / "2", **SETTINGS), expected)
    assert_same(ss.compare(a, lazy[1], out=tmp_path / "3", **SETTINGS), expected)


def test_what_all_chunks_need_is_computed_once(tmp_path: Path) -> None:
    computed = []

    def count(block: Any) -> Any:
        computed.append(block.shape)
        return block

    a, _ = structured(50_000)
    lazy = da.from_array(a, chunks=(10_000, -1)).map_blocks(count, meta=np.empty((0, 0), a.dtype))
    ingest(lazy - lazy.mean(axis=0), tmp_path / "x.zarr")
    assert len(computed) == 5


@pytest.mark.cluster
def test_they_are_computed_by_a_cluster(tmp_path: Path) -> None:
    a, b = structured(40_000)
    expected = ss.compare(a, b, out=tmp_path / "1", **SETTINGS)
    with local_cluster(1) as client, Client(client.scheduler.address, security=client.security):
        lazy = tuple(da.from_array(one, chunks=(15_000, -1)) for one in (a, b))
        assert_same(ss.compare(*lazy, out=tmp_path / "2", executor=client, **SETTINGS), expected)


@pytest.mark.slow
def test_rows_that_are_masked_or_no_numbers_are_bad_rows(tmp_path: Path) -> None:
    a, b = structured(2000)
    masked = da.ma.masked_array(da.from_array(a, chunks=(500, -1)), mask=np.arange(2000)[:, None] == np.full(12, 7))
    with pytest.raises(InputError, match=r"row 7 has a NaN or an infinity.*--on-bad drop"):
        ss.compare(masked, b, **SETTINGS)
    assert ss.compare(masked, b, on_bad="drop", **SETTINGS).summary["rows"]["dropped"] == 1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            da.zeros((40, 3), chunks=10)[da.zeros(40, chunks=10) == 0],
            r"chunks are unknown: call \.compute_chunk_sizes\(\)",
        ),
        (da.zeros((40, 3), dtype="i4"), "holds integers"),
        (da.zeros(40), r"\(40,\)"),
        (da.zeros((0, 4)), r"\(0, 4\)"),
        (da.zeros((4, 3, 2)), r"\(4, 3, 2\)"),
        (None, None),
    ],
)
def test_what_is_no_embedding_is_refused(tmp_path: Path, array: Any, message: str | None) -> None:
    if message is None:
        import dask

        array, message = dask.delayed(sum)([1, 2]), "computed by Dask but no array"
    for take in (lambda: ingest(array, tmp_path / "x.zarr"), lambda: ss.compare(array, array)):
        with pytest.raises(InputError, match=message):
            take()
    assert not list(tmp_path.iterdir())


def test_a_chunk_that_cannot_be_computed(tmp_path: Path) -> None:
    def fail(block: Any) -> Any:
        raise RuntimeError("no such shard")

    lazy = da.zeros((40, 3), chunks=10).map_blocks(fail, meta=np.empty((0, 0)))
    with pytest.raises(InputError, match=r"array: its rows cannot be computed \(RuntimeError: no such shard\)"):
        ingest(lazy, tmp_path / "x.zarr")
    assert not list(tmp_path.iterdir())


def test_they_are_ingested_into_an_object_store(s3: str) -> None:
    a, _ = structured(600)
    assert ingest(da.from_array(a, chunks=(200, -1)), f"{s3}/x.zarr", name="mine").n == 600
    np.testing.assert_array_equal(ss.open_embedding(f"{s3}/x.zarr").read(0, 600), a)
