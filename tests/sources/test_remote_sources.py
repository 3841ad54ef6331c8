"""Vectors and metadata in object stores and behind web servers; folders of folders, here and there."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from conftest import command, structured
from numpy.typing import NDArray
from upath import UPath

import specscale as ss
from specscale.errors import InputError
from specscale.places.sequential import open_binary
from specscale.sources import open_source
from specscale.stores.ingest import ingest

X = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)


def put(url: str, content: bytes) -> str:
    with fsspec.open(url, "wb") as file:
        file.write(content)
    return url


def npy(values: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def parquet(values: NDArray[Any], **columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({**columns, "embedding": values.tolist()}), file)
    return file.getvalue()


def rows_of(paths: list[str], **options: Any) -> NDArray[Any]:
    return np.concatenate([batch.vectors for batch in open_source(paths, **options).batches()])


def archive(values: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, other=values[:3], emb=np.asfortranarray(values))
    return file.getvalue()


class _Whole(SimpleHTTPRequestHandler):
    """Sends whole files, whatever part is asked for."""

    def log_message(self, *_: Any) -> None:
        pass


class _Parts(_Whole):
    """Sends the parts that are asked for."""

    def do_GET(self) -> None:
        asked, path = self.headers.get("Range"), Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            self.server.sent += path.stat().st_size if path.is_file() else 0  # type: ignore[attr-defined]
            super().do_GET()
            return
        content = path.read_bytes()
        low, _, high = asked.removeprefix("bytes=").partition("-")
        part = content[int(low) : int(high or len(content) - 1) + 1]
        self.server.sent += len(part)  # type: ignore[attr-defined]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {low}-{int(low) + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@contextmanager
def serving(folder: Path, handler: type[SimpleHTTPRequestHandler]) -> Iterator[tuple[str, Any]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *arguments: handler(*arguments, directory=str(folder)))
    server.sent = 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_every_format_is_read_from_an_object_store(s3: str) -> None:
    big = X.astype(">f8")
    assert np.array_equal(rows_of([put(f"{s3}/a.npy", npy(X))]), X)
    assert np.array_equal(rows_of([put(f"{s3}/f.npy", npy(np.asfortranarray(big)))]), big)
    assert np.array_equal(rows_of([put(f"{s3}/a.npz", archive(X))], key="emb"), X)
    source = open_source([put(f"{s3}/a.parquet", parquet(X, id=range(300)))])
    (table,) = source.tables(["id"])
    assert table.column("id").to_pylist() == list(range(300))
    assert np.array_equal(rows_of([f"{s3}/a.parquet"]), X)
    zarr.create_array(f"{s3}/a.zarr", shape=X.shape, chunks=(70, 8), dtype="f4")[:] = X
    assert np.array_equal(rows_of([f"{s3}/a.zarr"]), X)
    ingest(f"{s3}/a.parquet", f"{s3}/store.zarr", id_column="id")
    again = open_source([f"{s3}/store.zarr"])
    assert again.schema is not None
    assert again.schema.names == ["id"]


def test_a_fingerprint_follows_a_remote_file(s3: str) -> None:
    before = open_source([put(f"{s3}/a.npy", npy(X))]).fingerprint
    assert open_source([f"{s3}/a.npy"]).fingerprint == before
    put(f"{s3}/a.npy", npy(X + 1))
    assert open_source([f"{s3}/a.npy"]).fingerprint != before


def test_directories_globs_and_names_with_signs(s3: str) -> None:
    for number in (10, 9, 1):
        put(f"{s3}/clip/img_emb/part_{number}.npy", npy(X[number * 20 : number * 20 + 20]))
    put(f"{s3}/clip/img_emb/_SUCCESS", b"")
    expected = np.concatenate([X[20:40], X[180:200], X[200:220]])
    for path in ("clip/img_emb", "clip/img_emb/", "clip/img_emb/part_*.npy", "cl?p/**/*.npy", "clip"):
        source = open_source([f"{s3}/{path}"])
        assert source.paths[-1] == f"{s3}/clip/img_emb/part_10.npy"
        assert np.array_equal(rows_of([f"{s3}/{path}"]), expected)
        assert path == "cl?p/**/*.npy" or source.name == "clip"
    put(f"{s3}/odd/a[1].npy", npy(X[:5]))
    put(f"{s3}/odd/a1.npy", npy(X[5:9]))
    assert np.array_equal(rows_of([f"{s3}/odd/a[1].npy"]), X[:5])
    assert np.array_equal(rows_of([f"{s3}/odd/a[12].npy"]), X[5:9])


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet"])
def test_metadata_is_read_from_an_object_store(s3: str, tmp_path: Path, name: str) -> None:
    lines = {
        "m.csv": b"id,text\n" + b"".join(b"%d,t%d\n" % (i, i) for i in range(300)),
        "m.jsonl": b"".join(b'{"id": %d, "text": "t%d"}\n' % (i, i) for i in range(300)),
    }
    table = pa.table({"id": range(300), "text": [f"t{i}" for i in range(300)]})
    file = io.BytesIO()
    pq.write_table(table, file)
    put(f"{s3}/meta/{name}", lines.get(name, file.getvalue()))
    put(f"{s3}/a.npy", npy(X))
    ingest(f"{s3}/a.npy", tmp_path / "a.zarr", metadata=f"{s3}/meta", id_column="id")
    store = ss.EmbeddingStore(tmp_path / "a.zarr")
    assert store.rows([299, 0]) == table.take([299, 0])


def test_remote_files_are_compared_directly(s3: str, tmp_path: Path) -> None:
    a, b = structured(600)
    put(f"{s3}/minilm/emb.npy", npy(a))
    put(f"{s3}/bge/emb.npy", npy(b))
    settings: dict[str, Any] = {"sigma": (1.5, 1.5), "size": 40, "certify": 0}
    found = ss.compare(f"{s3}/minilm/emb.npy", f"{s3}/bge/*.npy", out=tmp_path / "o", **settings)
    assert found.spec_diff == ss.compare(a, b, **settings).spec_diff
    inputs = found.summary["inputs"]
    assert [(one["name"], one["source"]) for one in inputs.values()] == [
        ("minilm", f"{s3}/minilm/emb.npy"),
        ("bge", f"{s3}/bge/*.npy"),
    ]
    assert ss.open_result(tmp_path / "o", fetch=True).with_eta(0.5).summary["inputs"]["b"]["name"] == "bge"


@pytest.mark.parametrize("path", ["nothing.npy", "nothing/", "nothing*.npy", "a.npy/x.npy"])
def test_what_is_not_there_is_one_line(s3: str, tmp_path: Path, path: str) -> None:
    put(f"{s3}/a.npy", npy(X))
    with pytest.raises(InputError, match=r"no such file or folder|no file matches") as caught:
        ingest(f"{s3}/{path}", tmp_path / "x.zarr")
    assert f"{s3}/{path}" in str(caught.value)
    assert "spelling" not in str(caught.value)


def test_a_bucket_that_is_not_there(
    s3: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("a.npy", X)
    for arguments in (
        ("ingest", "s3://no-such-bucket-of-mine/a.npy", "x.zarr"),
        ("ingest", "a.npy", "x.zarr", "--metadata", "s3://no-such-bucket-of-mine/m.csv"),
        ("compare", "s3://no-such-bucket-of-mine/a.npy", "a.npy", "-o", "o"),
    ):
        assert command(monkeypatch, *arguments) == 1
        error = capsys.readouterr().err
        assert "s3://no-such-bucket-of-mine/" in error
        assert error.count("\n") == 1
        assert "spelling" not in error


@pytest.mark.parametrize("handler", [_Whole, _Parts])
@pytest.mark.slow
def test_files_behind_a_web_server(tmp_path: Path, handler: type[SimpleHTTPRequestHandler]) -> None:
    site = tmp_path / "site"
    (site / "minilm" / "img_emb").mkdir(parents=True)
    for number in (2, 10):
        np.save(site / "minilm" / "img_emb" / f"{number}.npy", X[number * 10 : number * 10 + 10])
    (site / "a.parquet").write_bytes(parquet(X, id=range(300)))
    (site / "a.npz").write_bytes(archive(X))
    (site / "f.npy").write_bytes(npy(np.asfortranarray(X)))
    (site / "m.csv").write_text("id\n" + "".join(f"{i}\n" for i in range(300)))
    with serving(site, handler) as (url, _):
        folder = open_source([f"{url}/minilm/img_emb/"])
        assert folder.name == "minilm"
        assert np.array_equal(rows_of([f"{url}/minilm/img_emb/"]), X[[*range(20, 30), *range(100, 110)]])
        assert np.array_equal(rows_of([f"{url}/a.parquet?token=1"]), X)
        assert np.array_equal(rows_of([f"{url}/a.npz"], key="emb"), X)
        ingest(f"{url}/f.npy", tmp_path / "f.zarr", metadata=f"{url}/m.csv", id_column="id")
        assert np.array_equal(ss.open_embedding(str(tmp_path / "f.zarr")).read(0, 300), X)
        with pytest.raises(InputError, match=rf"{url}/none\.npy: there is no such file"):
            open_source([f"{url}/none.npy"])
        found = ss.compare(f"{url}/a.parquet?token=1", X, sigma=(1.5, 1.5), size=20, certify=0)
        assert found.spec_diff == 0
    with pytest.raises(InputError, match="cannot be reached"):
        open_source([f"{url}/f.npy"])


@pytest.mark.slow
def test_a_remote_file_is_read_in_megabytes_and_once(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((40_000, 128)).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    with serving(tmp_path, _Parts) as (url, server):
        source = open_source([f"{url}/a.npy"])
        server.sent = 0
        assert sum(len(batch.vectors) for batch in source.batches()) == 40_000
        assert server.sent < 1.1 * values.nbytes
        with open_binary(f"{url}/a.npy") as file:
            assert type(file).__name__ == "HTTPFile"


@pytest.mark.slow
def test_a_remote_file_of_many_columns_is_read_once(tmp_path: Path) -> None:
    wide = np.random.default_rng(0).standard_normal((40_000, 64)).astype(np.float32)
    pq.write_table(pa.table({f"x{j}": wide[:, j] for j in range(64)}), tmp_path / "a.parquet", row_group_size=20_000)
    with serving(tmp_path, _Parts) as (url, server):
        source = open_source([f"{url}/a.parquet"])
        server.sent = 0
        assert np.array_equal(np.concatenate([batch.vectors for batch in source.batches()]), wide)
        assert server.sent < 1.5 * (tmp_path / "a.parquet").stat().st_size


def test_the_file_system_of_memory_and_file_urls(tmp_path: Path) -> None:
    put("memory://specscale-test/a.npy", npy(X))
    assert np.array_equal(rows_of(["memory://specscale-test/a.npy"]), X)
    assert np.array_equal(rows_of(["memory://specscale-test/*.npy"]), X)
    there = UPath("memory://specscale-test/a.npy")
    assert ingest(there, tmp_path / "x.zarr").digest == ss.open_embedding(X).digest
    assert ss.compare(there, X, sigma=(1.5, 1.5), size=20, certify=0).spec_diff == 0
    np.save(tmp_path / "a.npy", X)
    for path in (f"file://{tmp_path}/a.npy", f"file://{tmp_path}", f"file://{tmp_path}/*.npy"):
        assert np.array_equal(rows_of([path]), X)


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        def __init__(self, *_: Any, **__: Any) -> None:
            raise ImportError("Install it")

    monkeypatch.setattr("specscale.places.files.UPath", Missing)
    for url, package in (("hf://datasets/me/mine/a.npy", "huggingface_hub"), ("gs://bucket/a.npy", "gcsfs")):
        with pytest.raises(InputError, match=f"pip install {package}"):
            ingest(url, "x.zarr")


# ---------------------------------------------------------------------------------------------------------------------
# Folders of folders.


def write(path: str, content: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)


def test_one_collection_in_folders_is_read_in_natural_order(here: Path) -> None:
    for number in (10, 9, 1):
        write(f"bge/shard-{number}/data.npy", npy(X[number * 20 : number * 20 + 20]))
    write("bge/_temporary/0/data.npy", npy(X))
    write("bge/.cache/data.npy", npy(X))
    expected = np.concatenate([X[20:40], X[180:200], X[200:220]])
    for path in ("bge", "bge/**/*.npy"):
        assert np.array_equal(rows_of(["bge"]), expected)
        assert open_source([path]).paths[0].endswith("bge/shard-1/data.npy")
    write("hf/default/train/0000.parquet", parquet(X, id=range(300)))
    assert open_source(["hf"]).name == "hf"
    assert np.array_equal(rows_of(["hf"]), X)


def test_partitions_are_columns(here: Path) -> None:
    for year, lang, rows in ((2023, "de", slice(0, 3)), (2024, "a%2Fb", slice(3, 4))):
        write(f"minilm/year={year}/lang={lang}/part-0.parquet", parquet(X[rows], id=range(300)[rows]))
        write(f"minilm/year={year}/_SUCCESS", b"")
    for path in ("minilm", "minilm/*/*/*.parquet"):
        report = ingest(path, "x.zarr", overwrite=True, id_column="id")
        assert report.name == "minilm"
        table = ss.EmbeddingStore("x.zarr").rows(range(4))
        assert table is not None
        assert table.to_pydict() == {"id": [0, 1, 2, 3], "year": ["2023"] * 3 + ["2024"], "lang": ["de"] * 3 + ["a/b"]}
    write("npy/year=2024/0.npy", npy(X))
    ingest("npy", "y.zarr", id_column=None)
    assert ss.EmbeddingStore("y.zarr").columns == ["year"]


@pytest.mark.parametrize(
    ("files", "needles"),
    [
        (["train/0.npy", "test/0.npy"], ["several folders", "test, train", "'m/**/*.npy' for all"]),
        (["data/train-0.npy", "data/test-0.npy"], ["several splits", "test, train", "'m/data/test*.npy'", "m/data"]),
        (["img_emb/0.npy", "text_emb/0.npy"], ["several folders", "img_emb, text_emb", "m/img_emb"]),
        (["a1/0.npy", "a2/b/0.npy"], ["several levels", "a1/0.npy", "a2/b/0.npy", "'m/**/*.npy'"]),
        (["img_emb/0.npy", "metadata/0.parquet"], ["several kinds", "m/img_emb --metadata m/metadata"]),
        (["a/x.zarr/zarr.json"], ["holds no", ".npy"]),
    ],
)
def test_folders_that_are_no_collection_are_refused(here: Path, files: list[str], needles: list[str]) -> None:
    for file in files:
        write(f"m/{file}", parquet(X) if file.endswith(".parquet") else npy(X))
    with pytest.raises(InputError) as caught:
        open_source(["m"])
    message = str(caught.value)
    assert message.startswith("m: ")
    assert len(message) < 300
    assert all(needle in message for needle in needles)


def test_what_is_refused_is_read_as_the_message_says(here: Path) -> None:
    write("m/train/0.npy", npy(X[:5]))
    write("m/test/0.npy", npy(X[5:9]))
    assert np.array_equal(rows_of(["m/train"]), X[:5])
    assert np.array_equal(rows_of(["m/**/*.npy"]), X[[*range(5, 9), *range(5)]])
    write("clip/img_emb/0.npy", npy(X))
    write("clip/metadata/0.parquet", parquet(X[:, :1], id=range(300)))
    assert ingest("clip/img_emb", "x.zarr", metadata="clip/metadata", id_column="id").name == "clip"
