"""Arrays of Python, of whatever library, taken wherever an embedding is."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import zarr
from conftest import structured
from numpy.typing import ArrayLike, NDArray

import specscale as ss
from specscale.errors import ChangedError, InputError, OptionError
from specscale.sources import base
from specscale.stores.ingest import ingest

SETTINGS: dict[str, Any] = {"sigma": (1.5, 1.5), "size": 20, "certify": 0, "n_modes": 2, "rounds": 0}
X = np.random.default_rng(0).standard_normal((500, 6)).astype(np.float32)


class DataArray:
    """What matters here of ``xarray.DataArray``: it has ``__dask_graph__`` even where nothing is lazy."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.shape, self.dtype, self.ndim = data.shape, data.dtype, data.ndim

    def __dask_graph__(self) -> Any:
        return self.data.__dask_graph__() if hasattr(self.data, "__dask_graph__") else None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.data, dtype)


class Dataset:
    def __init__(self, **arrays: Any) -> None:
        self._arrays = arrays

    @property
    def data_vars(self) -> dict[str, Any]:
        return self._arrays

    def __dask_graph__(self) -> None:
        return None


class Tensor:
    """What matters here of a tensor that NumPy cannot read."""

    shape, dtype = (3, 2), "bfloat16"

    def detach(self) -> Tensor:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        raise TypeError("Got unsupported ScalarType BFloat16")


class OnGpu:
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {}

    def get(self) -> NDArray[Any]:
        return X


def memory_map(folder: Path, values: NDArray[Any], order: str = "C") -> NDArray[Any]:
    mapped = np.memmap(folder / "raw.bin", values.dtype, "w+", shape=values.shape, order=order)  # type: ignore[call-overload]
    mapped[:] = values
    return mapped


def on_disk(folder: Path) -> Any:
    array = zarr.create_array(folder / "x.zarr", shape=X.shape, chunks=(70, 6), dtype="f4", overwrite=True)
    array[:] = X
    return array


KINDS: dict[str, Callable[[Path], Any]] = {
    "array": lambda _: X,
    "Fortran order": lambda _: np.asfortranarray(X),
    "float64": lambda _: X.astype(np.float64),
    "big-endian": lambda _: X.astype(">f4"),
    "long double": lambda _: X.astype(np.longdouble),
    "strided": lambda _: np.repeat(X, 2, axis=0)[::2],
    "(n, 1, p)": lambda _: X[:, None],
    "memory map": lambda folder: memory_map(folder, X),
    "memory map in Fortran order": lambda folder: memory_map(folder, X, "F"),
    "list of lists": lambda _: X.tolist(),
    "tuple of arrays": lambda _: tuple(X),
    "DataArray": lambda _: DataArray(X),
    "DataArray on Dask": lambda _: DataArray(da.from_array(X, chunks=(70, 3))),
    "DataFrame": lambda _: pd.DataFrame(X),
    "DataFrame that allows nulls": lambda _: pd.DataFrame(X).astype("Float32"),
    "Arrow table": lambda _: pa.table({f"x{j}": X[:, j] for j in range(6)}),
    "Zarr array": on_disk,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_every_kind_of_array_is_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(base, "BATCH_BYTES", 1000)
    np.save(tmp_path / "x.npy", X)
    expected = ingest(tmp_path / "x.npy", tmp_path / "file.zarr")
    found = ingest(KINDS[kind](tmp_path), tmp_path / "array.zarr", name="mine")
    assert (found.digest, found.n, found.p, found.name) == (expected.digest, 500, 6, "mine")
    assert ss.open_embedding(KINDS[kind](tmp_path)).digest == expected.digest


@pytest.mark.parametrize("kind", ["DataArray", "DataArray on Dask", "DataFrame", "list of lists", "memory map"])
@pytest.mark.slow
def test_they_are_compared(tmp_path: Path, kind: str) -> None:
    _, b = structured(500)
    expected = ss.compare(X, b, **SETTINGS)
    found = ss.compare(KINDS[kind](tmp_path), b, **SETTINGS)
    assert np.array_equal(found.eigenvalues, expected.eigenvalues)
    assert ss.compare(b, KINDS[kind](tmp_path), **SETTINGS).spec_diff == pytest.approx(expected.spec_diff)


def test_half_precision_stays(tmp_path: Path) -> None:
    report = ingest(memory_map(tmp_path, X.astype(np.float16)), tmp_path / "x.zarr")
    assert report.dtype == "float16"
    assert np.array_equal(ss.open_embedding(str(tmp_path / "x.zarr")).read(0, 500), X.astype(np.float16))


def test_options_go_with_arrays(tmp_path: Path) -> None:
    pd.DataFrame({"id": range(500), "text": "t"}).to_parquet(tmp_path / "m.parquet")
    ingest(X[:300], tmp_path / "x.zarr", name="x", dtype="float16")
    ingest(X, tmp_path / "y.zarr", metadata=tmp_path / "m.parquet", id_column="id")
    assert ss.EmbeddingStore(tmp_path / "y.zarr").columns == ["id", "text"]
    assert ingest(X[300:], tmp_path / "x.zarr", append=True).appended == 200
    assert ss.EmbeddingStore(tmp_path / "x.zarr").n == 500
    for option in ("key", "vector"):
        with pytest.raises(OptionError, match=f"{option} does not apply to an array"):
            ingest(X, tmp_path / "z.zarr", **{option: "emb"})  # type: ignore[arg-type]


def test_bad_rows_are_found_and_dropped(tmp_path: Path) -> None:
    bad = np.ma.masked_array(X.copy(), mask=np.arange(500)[:, None] == np.full(6, 7))
    bad.data[9, 2] = np.inf
    with pytest.raises(InputError, match="array, row 7, column 0: NaN; drop such rows"):
        ingest(bad, tmp_path / "x.zarr")
    report = ingest(bad, tmp_path / "x.zarr", on_bad="drop")
    assert (report.n, report.dropped_places) == (498, ("array, row 7", "array, row 9"))


@pytest.mark.slow
def test_a_large_memory_map_is_not_copied(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "raw.bin", np.float32, "w+", shape=(400_000, 64))
    mapped[:] = 1
    tracemalloc.start()
    ingest(mapped, tmp_path / "x.zarr")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.8 * mapped.nbytes


def test_an_interrupted_ingest_of_an_array_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).standard_normal((90_000, 4)).astype(np.float32)

    def interrupt(done: int, total: int) -> None:
        if done > 70_000:
            raise KeyboardInterrupt

    monkeypatch.setattr(base, "BATCH_BYTES", 80_000)
    with pytest.raises(KeyboardInterrupt):
        ingest(rows, tmp_path / "x.zarr", progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        ingest(rows, tmp_path / "x.zarr", progress=interrupt)
    report = ingest(rows, tmp_path / "x.zarr")
    assert report.resumed_at == 65_536
    assert report.digest == ss.open_embedding(rows).digest


def test_other_rows_do_not_continue_the_work_of_an_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 40_000:
            raise KeyboardInterrupt

    monkeypatch.setattr(base, "BATCH_BYTES", 80_000)
    rows = np.zeros((60_000, 4), np.float32)
    with pytest.raises(KeyboardInterrupt):
        ingest(rows, tmp_path / "x.zarr", progress=interrupt)
    assert ingest(rows + 1, tmp_path / "x.zarr").resumed_at == 0


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "Dataset": (
        lambda: Dataset(emb=X, label=X),
        r"a Dataset of the arrays emb, label: give one of them, as x\['emb'\]",
    ),
    "bfloat16 tensor": (Tensor, r"not an array of numbers.*give x\.detach\(\)\.cpu\(\)\.float\(\)\.numpy\(\)"),
    "CuPy": (OnGpu, r"memory of a GPU: give x\.get\(\)"),
    "sparse": (lambda: scipy.sparse.csr_matrix(X), r"a sparse matrix.*x\.toarray\(\)"),
    "a table with ids": (lambda: pd.DataFrame({"id": [1], "x": [1.0]}), "columns id are no floating-point numbers"),
    "an Arrow table with ids": (lambda: pa.table({"id": [1], "x": [1.0]}), "columns id are no floating-point numbers"),
    "integers": (lambda: [[1, 2], [3, 4]], r"holds integers \(int64\).*astype"),
    "packed bits": (lambda: np.packbits(X > 0, axis=1), r"numpy\.unpackbits\(x, axis=1\)"),
    "objects": (lambda: np.array([{}, {}]), r"holds objects: numpy\.stack\(x\)"),
    "ragged": (lambda: [[1.0], [1.0, 2.0]], "not an array of numbers"),
    "a vector": (lambda: X[0], r"\(6,\)"),
    "tokens": (lambda: np.zeros((2, 3, 4)), r"\(2, 3, 4\)"),
    "nothing": (lambda: np.zeros((0, 4)), "no rows|shape"),
    "text": (lambda: [["a", "b"]], "text"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_embedding_is_refused_in_a_line(tmp_path: Path, kind: str) -> None:
    make, message = REFUSED[kind]
    for take in (lambda: ingest(make(), tmp_path / "x.zarr"), lambda: ss.compare(make(), X, **SETTINGS)):
        with pytest.raises(InputError, match=message) as caught:
            take()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
    assert not list(tmp_path.iterdir())


def test_paths_are_no_arrays(here: Path) -> None:
    np.save("a.npy", X)
    np.save("b.npy", X)
    for given in (["a.npy", "b.npy"], ("a.npy", Path("b.npy")), np.array(["a.npy", "b.npy"])):
        assert ingest(given, "x.zarr", overwrite=True).n == 1000
    with pytest.raises(InputError, match="already an embedding"):
        ingest(ss.open_embedding("x.zarr"), "y.zarr")


def test_what_needs_a_store_says_how_an_array_becomes_one(tmp_path: Path) -> None:
    result = ss.compare(X, structured(500)[1], out=tmp_path / "o", **SETTINGS)
    with pytest.raises(InputError, match=r'specscale\.ingest\(array, "NAME\.zarr"\)'):
        ss.explain(result, labels="label")
    with pytest.raises((InputError, ChangedError), match=r'specscale\.ingest\(array, "NAME\.zarr"\)'):
        ss.open_result(tmp_path / "o").with_eta(0.5)


def test_of_xarray(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    named = xarray.DataArray(X, dims=("row", "dim"), coords={"row": np.arange(500)})
    expected = ss.open_embedding(X).digest
    assert ss.open_embedding(named).digest == ingest(named, tmp_path / "a.zarr").digest == expected
    assert ingest(named.chunk({"row": 70}), tmp_path / "b.zarr").digest == expected
    for dataset in (named.to_dataset(name="emb"), named.chunk({"row": 70}).to_dataset(name="emb")):
        with pytest.raises(InputError, match=r"a Dataset of the arrays emb: give one of them, as x\['emb'\]"):
            ingest(dataset, tmp_path / "c.zarr")
        assert ingest(dataset["emb"], tmp_path / "d.zarr", overwrite=True).digest == expected


@pytest.mark.slow
def test_of_polars(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(X)
    assert ingest(frame, tmp_path / "a.zarr").digest == ss.open_embedding(X).digest
    with pytest.raises(InputError, match="columns id are no floating-point numbers"):
        ingest(frame.with_columns(id=polars.lit(1)), tmp_path / "b.zarr")


def test_of_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["emb"] = X
        assert ingest(file["emb"], tmp_path / "a.zarr").digest == ss.open_embedding(X).digest


def test_of_ml_dtypes(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for kind in (ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.int4):
        narrow: ArrayLike = X.astype(kind)
        for take in (lambda x: ingest(x, tmp_path / "a.zarr"), ss.open_embedding):
            with pytest.raises(InputError, match=r'not NumPy\'s own: x\.astype\("float32"\)'):
                take(narrow)
