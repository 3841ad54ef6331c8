"""What is no embedding is refused with the conversion that makes one of it, which here is done as it says."""

from __future__ import annotations

import gzip
import os
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import scipy.sparse
import zarr
from numpy.typing import NDArray

from specscale.errors import InputError
from specscale.sources import open_source

X = np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)
BITS = (X > 0).astype(np.float32)
LONGEST = 420


def refusal(path: str, **options: str) -> str:
    with pytest.raises(InputError) as caught:
        open_source([path], **options)
    message = str(caught.value)
    assert message.startswith(path)
    assert "\n" not in message
    assert len(message) < LONGEST
    return message


def follow(message: str) -> None:
    """Run the Python of a message: what begins at its first call and ends where its brackets close."""
    import numpy
    import pandas
    import pyarrow
    import scipy.sparse.linalg

    names: dict[str, Any] = {"numpy": numpy, "pandas": pandas, "pyarrow": pyarrow, "scipy": scipy}
    start = re.search(r"\b(x = |z = |u, s, _ = |numpy\.save\(|pandas\.\w+\(|pyarrow\.parquet\.write_table\()", message)
    assert start is not None, message
    code = message[start.start() :]
    depth = 0
    for place, sign in enumerate(code):
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0 and sign == ")" and code[place + 1 : place + 2] in ("", ","):
            exec(code[: place + 1], names)
            return
    raise AssertionError(message)


def rows(path: str, **options: str) -> NDArray[Any]:
    return np.concatenate([batch.vectors for batch in open_source([path], **options).batches()])


def objects() -> NDArray[Any]:
    out = np.empty(len(X), object)
    out[:] = list(X)
    return out


def bfloat16() -> NDArray[Any]:
    return (np.ascontiguousarray(X).view(np.uint32) >> 16).astype(np.uint16).view("V2")


def rounded() -> NDArray[Any]:
    return ((X.view(np.uint32) >> 16) << 16).view(np.float32)


ARRAYS: dict[str, tuple[Callable[[], NDArray[Any]], Callable[[], NDArray[Any]]]] = {
    "objects": (objects, lambda: X),
    "matrix of objects": (lambda: X.astype(object), lambda: X),
    "bfloat16": (bfloat16, rounded),
    "uint8": (lambda: np.packbits(X > 0, axis=1), lambda: BITS),
    "int8": (lambda: (X * 30).astype(np.int8), lambda: (X * 30).astype(np.int8).astype(np.float32)),
    "int64": (lambda: (X * 30).astype(np.int64), lambda: (X * 30).astype(np.int64).astype(np.float32)),
    "bool": (lambda: X > 0, lambda: BITS),
    "complex": (lambda: X + 1j * X, lambda: np.concatenate([X, X], axis=1)),
    "text": (lambda: X.astype(str), lambda: X.astype(str).astype(np.float32)),
    "bytes": (lambda: X.astype("S20"), lambda: X.astype("S20").astype(np.float32)),
    "records": (lambda: X.view([(f"f{j}", np.float32) for j in range(8)])[:, 0], lambda: X),
    "a field of vectors": (
        lambda: np.array(list(zip(range(12), X, strict=True)), [("id", np.int64), ("vector", np.float32, 8)]),
        lambda: X,
    ),
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("container", ["npy", "npz"])
def test_arrays_of_other_types(here: Path, kind: str, container: str) -> None:
    saved, expected = ARRAYS[kind]
    if container == "npy":
        np.save("a.npy", saved(), allow_pickle=True)
    else:
        np.savez("a.npz", allow_pickle=True, emb=saved())
    message = refusal(f"a.{container}") if container == "npy" else refusal("a.npz", key="emb")
    follow(message)
    made = "a-float32.npy" if container == "npy" else "a.npy"
    np.testing.assert_array_equal(rows(made), expected())


def test_the_dimensions_of_packed_bits_are_named(here: Path) -> None:
    bits = np.packbits(X > 0, axis=1)
    np.save("a.npy", bits)
    zarr.create_array("a.zarr", data=bits, chunks=bits.shape)
    for path in ("a.npy", "a.zarr"):
        assert "packed bits (8 dimensions)" in refusal(path)


def test_packed_bits_of_int8_are_unpacked(here: Path) -> None:
    np.save("a.npy", (np.packbits(X > 0, axis=1).astype(np.int16) - 128).astype(np.int8))
    message = refusal("a.npy")
    code = message[message.index("packed bits: ") + len("packed bits: ") :]
    np.testing.assert_array_equal(eval(code, {"numpy": np}), BITS)


def test_names_of_any_length_make_no_long_message(here: Path) -> None:
    fields = [(f"field_{j}_{'x' * 60}", np.float32) for j in range(500)]
    np.save("a.npy", np.zeros(3, fields))
    assert "and 494 more" in refusal("a.npy")
    np.savez("b.npz", **{f"{'k' * 200}{j}": X[:j] for j in range(300)})
    assert "and 294 more" in refusal("b.npz")
    refusal("b.npz", key="z" * 5000)


def test_float8(here: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    np.save("a.npy", X.astype(ml_dtypes.float8_e4m3fn))
    message = refusal("a.npy")
    exec(message[message.index("numpy.save(") : message.index(", or with")], {"numpy": np, "ml_dtypes": ml_dtypes})
    np.testing.assert_array_equal(rows("a-float32.npy"), X.astype(ml_dtypes.float8_e4m3fn).astype(np.float32))
    np.save("b.npy", X.astype(ml_dtypes.bfloat16))
    follow(refusal("b.npy"))
    np.testing.assert_array_equal(rows("b-float32.npy"), X.astype(ml_dtypes.bfloat16).astype(np.float32))


def test_float8_and_unknown_bytes_without_their_library(here: Path) -> None:
    np.save("a.npy", np.zeros((4, 3), "V1"))
    assert 'numpy.load("a.npy").view(ml_dtypes.float8_e4m3fn)' in refusal("a.npy")
    np.save("b.npy", np.zeros((4, 3), "V7"))
    assert "V7" in refusal("b.npy")


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia"])
def test_sparse_matrices(here: Path, kind: str) -> None:
    matrix = scipy.sparse.csr_matrix(np.where(X > 1, X, 0)).asformat(kind)
    scipy.sparse.save_npz("tfidf.npz", matrix)
    for options in ({}, {"key": "data"}):
        message = refusal("tfidf.npz", **options)
        assert "a sparse matrix of 12 × 8" in message
    follow(message)
    np.testing.assert_array_equal(rows("tfidf.npy"), matrix.toarray())


@pytest.mark.slow
def test_wide_sparse_matrices_are_reduced(here: Path) -> None:
    wide = scipy.sparse.random(400, 9000, density=0.01, random_state=np.random.default_rng(0), format="csr")
    scipy.sparse.save_npz("tfidf.npz", wide)
    follow(refusal("tfidf.npz"))
    reduced = rows("tfidf.npy")
    assert reduced.shape == (400, 256)
    kept = np.linalg.norm(reduced @ reduced.T) / np.linalg.norm((wide @ wide.T).toarray())
    assert 0.9 < kept < 1.0001


def test_a_vector_for_each_name(here: Path) -> None:
    vectors = {f"img/{i:05}.jpg": X[i % 12] for i in range(2000)}
    np.savez("a.npz", **vectors)
    message = refusal("a.npz")
    assert "2,000 of 8 numbers each" in message
    follow(message)
    np.testing.assert_array_equal(rows("a.npy"), np.stack(list(vectors.values())))
    code = message[message.index("pandas.DataFrame") : message.index(", for --metadata")]
    exec(code, {"pandas": pd, "z": np.load("a.npz")})
    assert pd.read_csv("a.csv")["id"].tolist() == list(vectors)


@pytest.mark.parametrize("ids", [np.arange(12), np.array(list("abcdefghijkl")), np.array(list("abcdefghijkl"), object)])
def test_ids_beside_the_vectors_of_an_archive(here: Path, ids: NDArray[Any]) -> None:
    np.savez("a.npz", allow_pickle=True, emb=X, ids=ids)
    message = refusal("a.npz")
    assert "emb (12, 8), ids (12,)" in message
    assert "--key" in message
    follow(message)
    assert pq.read_table("a.parquet").column("ids").to_pylist() == ids.tolist()


def test_one_row_for_each_name(here: Path) -> None:
    np.savez("a.npz", **{f"k{i}": X[i : i + 1] for i in range(12)})
    follow(refusal("a.npz"))
    np.testing.assert_array_equal(rows("a.npy"), X)


def test_folders_of_datasets(here: Path) -> None:
    os.makedirs("set/train")
    Path("set/state.json").write_text("{}")
    Path("set/data-00000-of-00001.arrow").write_bytes(b"x")
    assert 'datasets.load_from_disk("set").to_parquet("set.parquet")' in refusal("set")
    os.remove("set/state.json")
    Path("set/dataset_dict.json").write_text("{}")
    assert 'datasets.load_from_disk("set")["train"].to_parquet("set.parquet")' in refusal("set")


def save_text(path: str, sign: str, **options: Any) -> None:
    np.savetxt(path, X, delimiter=sign, **options)


def save_words(path: str) -> None:
    Path(path).write_text("".join(f"w{i} {' '.join(map(str, row))}\n" for i, row in enumerate(X)))


def save_table(path: str, sign: str) -> None:
    pd.DataFrame(X, columns=[f"x{j}" for j in range(8)]).to_csv(path, sep=sign, index=False)


def save_stream(path: str) -> None:
    table = pa.table({"emb": X.tolist()})
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def save_fvecs(path: str) -> None:
    lengths = np.full((12, 1), 8, np.int32)
    np.concatenate([lengths, X.view(np.int32)], axis=1).tofile(path)


def save_fbin(path: str) -> None:
    Path(path).write_bytes(np.array([12, 8], np.int32).tobytes() + X.tobytes())


TABLE = pd.DataFrame({"emb": X.tolist()})
FILES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "csv": ("a.csv", lambda path: save_table(path, ",")),
    "tsv": ("a.tsv", lambda path: save_table(path, "\t")),
    "csv without a header": ("a.csv", lambda path: save_text(path, ",")),
    "tsv without a header": ("a.tsv", lambda path: save_text(path, "\t")),
    "txt": ("a.txt", lambda path: save_text(path, " ")),
    "words": ("a.txt", save_words),
    "feather": ("a.feather", lambda path: pa.feather.write_feather(pa.table({"emb": X.tolist()}), path)),
    "arrow": ("a.arrow", save_stream),
    "fvecs": ("a.fvecs", save_fvecs),
    "fbin": ("a.fbin", save_fbin),
    "json lines": (
        "a.jsonl",
        lambda path: pd.DataFrame({"emb": X.tolist()}).to_json(path, orient="records", lines=True),
    ),
    "pickle": ("a.pkl", lambda path: pd.to_pickle(X, path)),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_of_other_kinds(here: Path, kind: str) -> None:
    path, save = FILES[kind]
    save(path)
    message = refusal(path)
    follow(message)
    (made,) = [one.name for one in here.iterdir() if one.name != path]
    assert f'"{made}"' in message
    np.testing.assert_allclose(rows(made), X, rtol=1e-6)


def test_torch_safetensors_and_hdf5(here: Path) -> None:
    with zipfile.ZipFile("pytorch_model.bin", "w") as archive:
        archive.writestr("data.pkl", b"")
    assert 'torch.load("pytorch_model.bin", map_location="cpu").float().numpy()' in refusal("pytorch_model.bin")
    for path, how in (("a.pt", "torch.load("), ("a.safetensors", "safetensors.numpy"), ("a.h5", 'h5py.File("a.h5")')):
        Path(path).write_bytes(b"something")
        assert how in refusal(path)
        assert 'numpy.save("a.npy"' in refusal(path)
    h5py = pytest.importorskip("h5py")
    with h5py.File("b.h5", "w") as file:
        file["NAME"] = X
    exec(refusal("b.h5").partition("convert it: ")[2], {"numpy": np, "h5py": h5py})
    np.testing.assert_array_equal(rows("b.npy"), X)


def test_packed_files(here: Path) -> None:
    np.save("a.npy", X)
    with open("a.npy", "rb") as file, gzip.open("a.npy.gz", "wb") as packed:
        packed.write(file.read())
    with zipfile.ZipFile("b.zip", "w") as archive:
        archive.write("a.npy")
    with tarfile.open("c.tar.gz", "w:gz") as tar:
        tar.add("a.npy")
    for path, remedy in (
        ("a.npy.gz", "gunzip -k a.npy.gz"),
        ("b.zip", "unzip b.zip"),
        ("c.tar.gz", "tar -xf c.tar.gz"),
    ):
        message = refusal(path)
        assert message.endswith(remedy)
        if path != "b.zip":
            os.remove("a.npy")
            assert os.system(remedy) == 0
            np.testing.assert_array_equal(rows("a.npy"), X)


def test_files_that_only_have_another_name(here: Path) -> None:
    np.save("a.npy", X)
    os.rename("a.npy", "vectors")
    assert refusal("vectors").endswith("call it vectors.npy")
    pq.write_table(pa.table({"emb": X.tolist()}), "b.bin")
    assert refusal("b.bin").endswith("call it b.bin.parquet")
    os.rename("b.bin", "b.bin.parquet")
    np.testing.assert_array_equal(rows("b.bin.parquet"), X)


def test_a_folder_of_other_files_says_what_they_are(here: Path) -> None:
    os.makedirs("emb")
    Path("emb/a.safetensors").write_bytes(b"something")
    with pytest.raises(InputError, match=r"emb/a\.safetensors: \.safetensors files are not read.*safetensors\.numpy"):
        open_source(["emb"])


def test_vectors_of_tokens_and_raw_numbers(here: Path) -> None:
    np.save("a.npy", np.zeros((4, 5, 3), np.float32))
    assert "x.mean(axis=1)" in refusal("a.npy")
    X.tofile("raw.npy")
    assert "numpy.fromfile" in refusal("raw.npy")


def test_remote_files_are_copied_first(s3: str) -> None:
    import fsspec

    for name in ("a.csv", "tfidf.npz"):
        with fsspec.open(f"{s3}/{name}", "wb") as file:
            if name == "a.csv":
                file.write(b"x,y\n1,2\n")
            else:
                scipy.sparse.save_npz(file, scipy.sparse.csr_matrix(X))
        with pytest.raises(InputError, match=rf'{name} \(copy it here first\).*\("{name}"\)'):
            open_source([f"{s3}/{name}"])
