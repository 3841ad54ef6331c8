from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specscale.errors import InputError, OptionError
from specscale.sources import Source, base, open_source

# ---------------------------------------------------------------------------------------------------------------------
# One conformance suite: every source, the same rows.


class Opened(NamedTuple):
    source: Source
    vectors: np.ndarray
    columns: dict[str, list[Any]] | None
    arguments: dict[str, Any]


def _npy(folder: Path, values: np.ndarray) -> dict[str, Any]:
    np.save(folder / "a.npy", values)
    return {"paths": ["a.npy"]}


def _npy_fortran(folder: Path, values: np.ndarray) -> dict[str, Any]:
    np.save(folder / "a.npy", np.asfortranarray(values))
    return {"paths": ["a.npy"]}


def _npy_big_endian(folder: Path, values: np.ndarray) -> dict[str, Any]:
    np.save(folder / "a.npy", values.astype(values.dtype.newbyteorder(">")))
    return {"paths": ["a.npy"]}


def _npy_squeezed(folder: Path, values: np.ndarray) -> dict[str, Any]:
    np.save(folder / "a.npy", values[:, None, :])
    return {"paths": ["a.npy"]}


def _npy_shards(folder: Path, values: np.ndarray) -> dict[str, Any]:
    (folder / "shards").mkdir()
    for number, (low, high) in enumerate(itertools.pairwise([0, 1, 30, 30, 31, 60, 61, 62, 63, 64, 65, len(values)])):
        np.save(folder / "shards" / f"part{number}.npy", values[low:high])
    return {"paths": ["shards"]}


def _npy_glob(folder: Path, values: np.ndarray) -> dict[str, Any]:
    _npy_shards(folder, values)
    return {"paths": ["shards/part*.npy"]}


def _npz(folder: Path, values: np.ndarray) -> dict[str, Any]:
    np.savez(folder / "a.npz", values)
    return {"paths": ["a.npz"]}


def _npz_compressed_fortran(folder: Path, values: np.ndarray) -> dict[str, Any]:
    np.savez_compressed(folder / "a.npz", other=values[:3], emb=np.asfortranarray(values))
    return {"paths": ["a.npz"], "key": "emb"}


def _lists(values: np.ndarray, kind: str) -> pa.Array:
    flat = pa.array(values.reshape(-1))
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    offsets = np.arange(len(values) + 1) * values.shape[1]
    if kind == "large":
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), flat)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)


def _columns(n: int) -> dict[str, list[Any]]:
    return {"id": [f"s{i}" for i in range(n)], "label": [i % 3 if i % 7 else None for i in range(n)]}


def _parquet(kind: str, groups: int) -> Callable[[Path, np.ndarray], dict[str, Any]]:
    def write(folder: Path, values: np.ndarray) -> dict[str, Any]:
        table = pa.table({**_columns(len(values)), "emb": _lists(values, kind)})
        pq.write_table(table, folder / "a.parquet", row_group_size=groups)
        return {"paths": ["a.parquet"], "columns": _columns(len(values))}

    return write


def _parquet_wide(folder: Path, values: np.ndarray) -> dict[str, Any]:
    dimensions = {f"emb_{j}": values[:, j] for j in reversed(range(values.shape[1]))}
    pq.write_table(pa.table({**dimensions, **_columns(len(values))}), folder / "a.parquet", row_group_size=10)
    return {"paths": ["a.parquet"], "vector": "emb_*", "columns": _columns(len(values))}


def _parquet_shards(folder: Path, values: np.ndarray) -> dict[str, Any]:
    table = pa.table({**_columns(len(values)), "emb": _lists(values, "list")})
    table = table.set_column(0, "id", table.column("id").dictionary_encode())
    for number, (low, high) in enumerate(itertools.pairwise([0, 40, 40, 41, len(values)])):
        pq.write_table(table.slice(low, high - low), folder / f"{number + 8}.parquet")
    return {"paths": ["."], "columns": _columns(len(values))}


def _zarr(version: int, chunks: tuple[int, int]) -> Callable[[Path, np.ndarray], dict[str, Any]]:
    def write(folder: Path, values: np.ndarray) -> dict[str, Any]:
        array = zarr.create_array(
            folder / "a.zarr", shape=values.shape, chunks=chunks, dtype=values.dtype, zarr_format=version
        )
        array[:] = values
        return {"paths": ["a.zarr"]}

    return write


def _zarr_group(folder: Path, values: np.ndarray) -> dict[str, Any]:
    group = zarr.open_group(folder / "a.zarr", mode="w")
    group.create_array("labels", data=np.zeros(len(values)))
    group.create_array("vectors", data=values)
    return {"paths": ["a.zarr"]}


def _zarr_inside(folder: Path, values: np.ndarray) -> dict[str, Any]:
    group = zarr.open_group(folder / "a.zarr", mode="w")
    group.create_array("one", data=values)
    group.create_array("two", data=values + 1)
    return {"paths": ["a.zarr/one"]}


WRITERS = {
    "npy": _npy,
    "npy fortran": _npy_fortran,
    "npy big-endian": _npy_big_endian,
    "npy squeezed": _npy_squeezed,
    "npy shards": _npy_shards,
    "npy glob": _npy_glob,
    "npz": _npz,
    "npz fortran": _npz_compressed_fortran,
    "parquet lists": _parquet("list", 7),
    "parquet large lists": _parquet("large", 200),
    "parquet fixed lists": _parquet("fixed", 33),
    "parquet wide": _parquet_wide,
    "parquet shards": _parquet_shards,
    "zarr 2": _zarr(2, (13, 3)),
    "zarr 3": _zarr(3, (50, 8)),
    "zarr group": _zarr_group,
    "zarr inside": _zarr_inside,
}


@pytest.fixture(params=[np.float16, np.float32, np.float64], ids=["f2", "f4", "f8"])
def values(request: pytest.FixtureRequest) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(101, 8)).astype(request.param)


@pytest.fixture(params=WRITERS)
def opened(
    request: pytest.FixtureRequest, values: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Opened:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base, "BATCH_BYTES", 10 * 8 * values.itemsize)  # ten rows at a time
    arguments = WRITERS[request.param](tmp_path, values)
    columns = arguments.pop("columns", None)
    return Opened(open_source(**arguments), values, columns, arguments)


class TestEverySource:
    def test_shape_and_type(self, opened: Opened) -> None:
        source = opened.source
        assert (source.n, source.p) == opened.vectors.shape
        assert source.dtype.newbyteorder("=") == opened.vectors.dtype
        assert source.name
        assert source.paths
        assert all(isinstance(path, str) for path in source.paths)

    @pytest.mark.parametrize("start", [0, 1, 30, 50, 77, 100])
    def test_rows_from_any_start(self, opened: Opened, start: int) -> None:
        row = start
        for batch in opened.source.batches(start):
            count = len(batch.vectors)
            assert batch.start == row
            assert count > 0
            assert batch.where in opened.source.paths
            np.testing.assert_array_equal(batch.vectors, opened.vectors[row : row + count])
            if opened.columns is None:
                assert batch.columns is None
            else:
                assert batch.columns is not None
                assert batch.columns.schema == opened.source.schema
                expected = {name: column[row : row + count] for name, column in opened.columns.items()}
                assert batch.columns.to_pydict() == expected
            assert batch.null is None or not batch.null.any()
            row += count
        assert row == len(opened.vectors)

    def test_batches_are_bounded(self, opened: Opened) -> None:
        sizes = [len(batch.vectors) for batch in opened.source.batches()]
        assert len(sizes) >= 10
        assert max(sizes) <= 10

    def test_columns_without_vectors(self, opened: Opened) -> None:
        if opened.columns is None:
            assert opened.source.schema is None
            return
        read = pa.concat_tables(opened.source.tables(["label", "id"]))
        assert read.column_names == ["label", "id"]
        assert {name: read.column(name).to_pylist() for name in opened.columns} == opened.columns

    def test_locate(self, opened: Opened) -> None:
        places = [opened.source.locate(row) for row in range(opened.source.n)]
        assert len(set(places)) == len(places)
        batch = next(opened.source.batches(100))
        assert places[100].startswith(f"{batch.where}, row ")
        assert opened.source.dimension(3).startswith("column ")

    def test_fingerprint_follows_the_files(self, opened: Opened) -> None:
        assert open_source(**opened.arguments).fingerprint == opened.source.fingerprint
        first = Path(opened.source.paths[0])
        file = first if first.is_file() else next(path for path in sorted(first.rglob("*")) if path.is_file())
        os.utime(file, ns=(1, 1))
        assert open_source(**opened.arguments).fingerprint != opened.source.fingerprint


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 40), max_size=8).map(sorted), start=st.integers(0, 39), rows=st.integers(1, 50))
def test_any_split_into_shards_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], start: int, rows: int
) -> None:
    values = np.arange(120, dtype=np.float32).reshape(40, 3)
    folder = tmp_path_factory.mktemp("shards")
    for number, (low, high) in enumerate(itertools.pairwise([0, *cuts, 40])):
        np.save(folder / f"{number}.npy", values[low:high])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "BATCH_BYTES", rows * 12)
        source = open_source([str(folder)])
        read = np.concatenate([batch.vectors for batch in source.batches(start)])
    np.testing.assert_array_equal(read, values[start:])


# ---------------------------------------------------------------------------------------------------------------------
# Traps. Each message must name the file and say what to do.


def refused(paths: list[str], *needles: str, error: type[Exception] = InputError, **options: str) -> None:
    with pytest.raises(error) as caught:
        for _ in open_source(paths, **options).batches():
            pass
    message = str(caught.value)
    assert "\n" not in message
    for needle in needles:
        assert needle in message


ROWS = np.ones((4, 3), np.float32)


def test_missing_paths(here: Path) -> None:
    refused(["nothing.npy"], "nothing.npy: no such file")
    refused(["no*.npy"], "no*.npy", "no file matches")
    (here / "empty").mkdir()
    refused(["empty"], "empty: this directory holds no", ".npy")
    (here / "notes.txt").write_text("x")
    refused(["notes.txt"], "notes.txt", "NumPy .npy", "Parquet")


@pytest.mark.parametrize(
    ("array", "needles"),
    [
        (np.ones((4, 3), np.int8), ["integers (int8)", "float32"]),
        (np.ones((4, 3), np.bool_), ["convert the array to float32"]),
        (np.ones((4, 3), np.complex64), ["complex64", "float32"]),
        (np.ones((4, 3), "V2"), ["V2", "float32"]),
        (np.ones(4, np.float32), ["(4,)", "rows × dimensions"]),
        (np.ones((4, 2, 3), np.float32), ["(4, 2, 3)", "rows × dimensions"]),
        (np.ones((4, 0), np.float32), ["(4, 0)", "no dimensions"]),
        (np.ones((0, 3), np.float32), ["no rows"]),
        (np.float32(1), ["()"]),
    ],
)
def test_unusable_arrays(here: Path, array: np.ndarray, needles: list[str]) -> None:
    np.save("a.npy", array)
    refused(["a.npy"], "a.npy", *needles)
    np.savez("a.npz", emb=array)
    refused(["a.npz"], "a.npz", *needles)


def test_pickled_objects_are_never_loaded(here: Path) -> None:
    np.save("a.npy", np.array([[1.0], "x"], dtype=object), allow_pickle=True)
    refused(["a.npy"], "a.npy", "pickled")


def test_damaged_npy(here: Path) -> None:
    np.save("a.npy", ROWS)
    whole = Path("a.npy").read_bytes()
    Path("a.npy").write_bytes(whole[:-5])
    refused(["a.npy"], "a.npy", "truncated", f"expected {len(whole)} bytes, found {len(whole) - 5}")
    Path("a.npy").write_bytes(whole + whole)
    refused(["a.npy"], "a.npy", f"expected {len(whole)} bytes, found {2 * len(whole)}")
    Path("a.npy").write_bytes(whole[:20])
    refused(["a.npy"], "a.npy", "damaged")
    Path("a.npy").write_bytes(b"")
    refused(["a.npy"], "a.npy", "0 bytes")


def test_a_file_that_shrinks_while_it_is_read(here: Path) -> None:
    np.save("a.npy", ROWS)
    source = open_source(["a.npy"])
    np.save("a.npy", ROWS[:2])
    with pytest.raises(InputError, match=r"a\.npy.*ends early"):
        list(source.batches())


def test_natural_order_and_empty_shards(here: Path) -> None:
    for number in (1, 2, 10):
        np.save(f"{number}.npy", np.full((2, 3), number, np.float32))
    np.save("3.npy", np.zeros((0, 3), np.float32))
    np.save("4.npy", np.array([], np.float64))
    Path("._2.npy").write_bytes(b"resource fork")
    for paths in (["."], ["*.npy"]):
        source = open_source(paths)
        assert source.dtype == np.float32
        np.testing.assert_array_equal(
            np.concatenate([batch.vectors[:, 0] for batch in source.batches()]), [1, 1, 2, 2, 10, 10]
        )
        assert source.locate(4).endswith("10.npy, row 0")
    # Listed one by one, the user's order stands.
    source = open_source(["10.npy", "2.npy", "1.npy"])
    assert source.paths == ("10.npy", "2.npy", "1.npy")
    assert source.locate(3) == "2.npy, row 1"


def test_shards_that_do_not_go_together(here: Path) -> None:
    np.save("1.npy", ROWS)
    np.save("2.npy", np.ones((4, 5), np.float32))
    refused(["1.npy", "2.npy"], "2.npy", "5 dimensions", "1.npy have 3")
    np.save("2.npy", np.ones((4, 3), np.int64))
    refused(["."], "2.npy", "integers")
    np.savez("2.npz", ROWS)
    refused(["1.npy", "2.npz"], "2.npz", "NumPy .npz file among NumPy .npy files (1.npy)")
    Path("2.npy").unlink()
    refused(["."], "NumPy .npz", "NumPy .npy")


def test_widths_are_promoted(here: Path) -> None:
    np.save("1.npy", ROWS.astype(np.float16))
    np.save("2.npy", ROWS)
    assert open_source(["1.npy", "2.npy"]).dtype == np.float32


def test_options_of_other_formats(here: Path) -> None:
    np.save("a.npy", ROWS)
    refused(["a.npy"], "--key", "a.npy", error=OptionError, key="emb")
    refused(["a.npy"], "--vector", "a.npy", error=OptionError, vector="emb")


def test_npz_keys(here: Path) -> None:
    np.savez("a.npz", image=ROWS, text=ROWS[:2], names=np.array(["x"]))
    refused(["a.npz"], "a.npz", "image (4, 3), text (2, 3), names (1,)", "--key")
    refused(["a.npz"], "no array named audio", "image (4, 3)", key="audio")
    assert open_source(["a.npz"], key="text").n == 2
    np.savez("empty.npz")
    refused(["empty.npz"], "holds no arrays")


def test_damaged_npz(here: Path) -> None:
    np.savez_compressed("a.npz", np.random.default_rng(0).normal(size=(2000, 8)))
    whole = bytearray(Path("a.npz").read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    Path("a.npz").write_bytes(whole)
    refused(["a.npz"], "a.npz", "copy or write it again")
    Path("a.npz").write_bytes(whole[:5000])
    refused(["a.npz"], "a.npz", "copy or write it again")


def write(path: str, **columns: Any) -> None:
    pq.write_table(pa.table(columns), path)


LISTS = [[1.0, 2.0], [3.0, 4.0]]


def test_parquet_choices(here: Path) -> None:
    write("a.parquet", text=["x", "y"], emb=LISTS, other=LISTS)
    refused(["a.parquet"], "a.parquet", "several columns", "emb, other", "--vector")
    refused(["a.parquet"], "no column embedding", "emb, other", vector="embedding")
    refused(["a.parquet"], "column text holds string", "emb, other", vector="text")
    assert open_source(["a.parquet"], vector="other").schema.names == ["text"]
    write("b.parquet", text=["x", "y"], count=[1, 2])
    refused(["b.parquet"], "b.parquet", "no column holds vectors", "count (int64)")
    write("c.parquet", x=[1.0, 2.0], y=[3.0, 4.0], z=[5.0, 6.0], label=["a", "b"])
    refused(["c.parquet"], "no column holds vectors", "x, y, z", "--vector x,y,z")
    source = open_source(["c.parquet"], vector="z,x")
    np.testing.assert_array_equal(next(source.batches()).vectors, [[5, 1], [6, 2]])
    assert source.schema.names == ["y", "label"]
    assert source.dimension(1) == "column x"
    write("d.parquet", emb=[[1, 2], [3, 4]])
    refused(["d.parquet"], "no column holds vectors", "emb (list")


def test_parquet_ragged_rows(here: Path) -> None:
    write("a.parquet", emb=[[1.0, 2.0], [3.0, 4.0], [5.0]])
    refused(["a.parquet"], "a.parquet, row 2, column emb", "1 dimensions among vectors of 2")
    write("a.parquet", emb=[[1.0, 2.0], [3.0, 4.0, 5.0], [5.0, 6.0]])
    refused(["a.parquet"], "a.parquet, row 1", "3 dimensions")
    write("a.parquet", emb=pa.array([None, None], pa.list_(pa.float32())))
    refused(["a.parquet"], "a.parquet", "every vector is null")


@pytest.mark.parametrize("kind", ["list", "large", "fixed", "wide"])
@pytest.mark.parametrize("dtype", [pa.float16(), pa.float32(), pa.float64()])
def test_parquet_nulls_are_flagged(here: Path, kind: str, dtype: pa.DataType) -> None:
    rows = [None, [1.0, 2.0], [3.0, None], None, [5.0, 6.0]]
    if kind == "wide":
        columns = {f"x{j}": pa.array([row and row[j] for row in rows], dtype) for j in range(2)}
    else:
        types = {"list": pa.list_(dtype), "large": pa.large_list(dtype), "fixed": pa.list_(dtype, 2)}
        columns = {"emb": pa.array(rows, types[kind])}
    write("a.parquet", **columns, id=range(5))
    (batch,) = open_source(["a.parquet"]).batches()
    assert batch.null is not None
    np.testing.assert_array_equal(batch.null, [True, False, True, True, False])
    expected = [[np.nan, np.nan], [1, 2], [3, np.nan], [np.nan, np.nan], [5, 6]]
    np.testing.assert_array_equal(batch.vectors, np.array(expected, batch.vectors.dtype))


def test_parquet_shards_with_other_columns(here: Path) -> None:
    write("1.parquet", emb=LISTS, label=[1, 2])
    write("2.parquet", emb=LISTS, label=[0.5, None])
    assert open_source(["."]).schema.field("label").type == pa.float64()
    write("2.parquet", emb=LISTS, label=["a", "b"])
    refused(["."], "2.parquet", "another type")
    write("2.parquet", emb=LISTS, tag=["a", "b"])
    refused(["."], "2.parquet", "label, tag", "same columns")


def test_damaged_parquet(here: Path) -> None:
    Path("a.parquet").write_bytes(b"PAR1 nothing")
    refused(["a.parquet"], "a.parquet", "Parquet")


def test_zarr_groups(here: Path) -> None:
    group = zarr.open_group("g.zarr", mode="w")
    refused(["g.zarr"], "g.zarr", "no arrays")
    group.create_array("image", data=ROWS)
    group.create_array("text", data=ROWS)
    refused(["g.zarr"], "g.zarr", "image (4, 3)", "text (4, 3)", "g.zarr/NAME")
    group.create_array("counts", data=np.ones((4, 3), np.int32))
    refused(["g.zarr/counts"], "g.zarr/counts", "integers")
    refused(["g.zarr/audio"], "g.zarr/audio: no such file")
