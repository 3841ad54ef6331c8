"""Embedding stores in an object store: whatever the network does, what is read is what a local store gives."""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from specscale.embeddings import duplicates as duplicates_module
from specscale.embeddings import rows as rows_module
from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.chunks import RowChunks
from specscale.embeddings.duplicates import find_duplicates
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.embeddings.opening import open_embedding
from specscale.embeddings.pairing import pair
from specscale.embeddings.reordered import ReorderedEmbedding
from specscale.embeddings.rows import Match, PairedRows
from specscale.embeddings.screening import screen
from specscale.embeddings.store import EmbeddingStore, is_store
from specscale.errors import ChangedError, InputError
from specscale.places import files
from specscale.places.ahead import read_ahead
from specscale.places.files import located

pytest.importorskip("s3fs")

MakeStore = Callable[..., Path]
DELAY = 0.05
N, P = CHUNK_ROWS + 700, 6

NO_MORE = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
NOT_YOU = b"<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code><Message>Not your key.</Message></Error>"


def forget() -> None:
    """Make the next request open its connections anew, to where the environment says."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()


class SlowLine:
    """A TCP proxy that lets every request wait, and spoils some.

    Attributes
    ----------
    faults : what happens to requests in turn: "", "503", "403", "closed" before or "cut" within the answer
    requests : first lines of the requests, in order
    """

    def __init__(self, target: str, delay: float = 0.0) -> None:
        self.host, port = target.removeprefix("http://").split(":")
        self.port = int(port)
        self.delay = delay
        self.faults = [""]
        self.requests: list[str] = []
        self._number = count()
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._answer, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started.set()
        self._loop.run_forever()
        server.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            if b"expect" in fields:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
            self.requests.append(head.split(b"\r\n")[0].decode())
            fault = self.faults[next(self._number) % len(self.faults)]
            await asyncio.sleep(self.delay)
            if fault in ("503", "403"):
                text = NO_MORE if fault == "503" else NOT_YOU
                writer.write(b"HTTP/1.1 %s No\r\nContent-Length: %d\r\n" % (fault.encode(), len(text)))
                writer.write(b"Content-Type: application/xml\r\nConnection: close\r\n\r\n")
                writer.write(text if not head.startswith(b"HEAD") else b"")
            elif fault != "closed":
                answer = await self._forward(head, body)
                whole = len(answer) - (answer.index(b"\r\n\r\n") + 4)
                writer.write(answer[: len(answer) - whole // 2] if fault == "cut" and whole > 1 else answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _forward(self, head: bytes, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"expect:"))]
        writer.write(b"\r\n".join([*lines[:-2], b"Connection: close", b"", b""]) + body)
        answer = await reader.read(-1)
        writer.close()
        first, rest = answer.split(b"\r\n", 1)
        return first + b"\r\nConnection: close\r\n" + rest


@pytest.fixture
def line(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowLine]:
    proxy = SlowLine(os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    forget()
    yield proxy
    forget()
    proxy.stop()


def values(n: int = N, p: int = P, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, p)).astype(np.float32)


def upload(store: Path, url: str) -> str:
    there = f"{url}/{store.name}"
    located(url).fs.put(str(store), there, recursive=True)
    return there


@pytest.fixture
def local(make_store: MakeStore) -> EmbeddingStore:
    ids = [f"id{i}" for i in range(N)]
    return EmbeddingStore(make_store("a", values(), ids=ids, columns={"text": [f"text {i}" for i in range(N)]}))


@pytest.fixture
def remote(local: EmbeddingStore, s3: str) -> EmbeddingStore:
    return EmbeddingStore(upload(Path(local.path), s3))


def paired(*embeddings: Any, kept: Any = None) -> PairedRows:
    return PairedRows(embeddings, kept, Match("position", embeddings[0].n, 0, 0))


def test_a_remote_store_is_what_the_local_one_is(local: EmbeddingStore, remote: EmbeddingStore, s3: str) -> None:
    assert remote.remote
    assert not local.remote
    assert remote.source == f"{s3}/a.zarr"
    assert (remote.n, remote.p, remote.dtype, remote.digest, remote.ids, remote.columns) == (
        local.n,
        local.p,
        local.dtype,
        local.digest,
        local.ids,
        local.columns,
    )
    for low, high in ((0, 5), (CHUNK_ROWS - 3, CHUNK_ROWS + 4), (0, N), (N - 1, N), (7, 7)):
        np.testing.assert_array_equal(remote.read(low, high), local.read(low, high))
        np.testing.assert_array_equal(remote.norms(low, high), local.norms(low, high))
    wanted = [N - 1, 3, CHUNK_ROWS, 3]
    for columns in (None, ["text"]):
        assert remote.rows(wanted, columns) == local.rows(wanted, columns)
    assert pa.concat_arrays([part for array in remote.id_arrays() for part in array.chunks]).to_pylist() == [
        f"id{i}" for i in range(N)
    ]
    remote.check()
    remote.check_unchanged()
    assert is_store(remote.path)
    assert not is_store(f"{s3}/none.zarr")
    assert open_embedding(located(remote.path)).digest == local.digest


def test_some_rows_are_read_by_ranges(remote: EmbeddingStore, line: SlowLine) -> None:
    EmbeddingStore(remote.path).read(100, 140)
    chunk = [request for request in line.requests if "/features/c/" in request]
    assert chunk == [chunk[0]]
    big = EmbeddingStore(remote.path)
    before = len(line.requests)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "PIECE", CHUNK_ROWS * P)
        np.testing.assert_array_equal(big.read(0, CHUNK_ROWS), values()[:CHUNK_ROWS])
    assert len(line.requests) - before == 4


SPOILT: dict[str, tuple[str, Callable[[Any, str], object]]] = {
    "features/c/0/0": ("missing", lambda fs, path: fs.rm(path)),
    "features/c/1/0": ("truncated", lambda fs, path: fs.pipe_file(path, b"1234")),
    "norms/c/1": ("norms/c/1: the chunk is truncated", lambda fs, path: fs.pipe_file(path, b"1234")),
    "norms/c/0": ("norms/c/0: the chunk is missing", lambda fs, path: fs.rm(path)),
    "features/zarr.json": ("features", lambda fs, path: fs.pipe_file(path, b"{")),
    "zarr.json": ("cannot be opened|no such|no metadata of Zarr", lambda fs, path: fs.pipe_file(path, b"[]")),
    "rows.parquet": ("rows.parquet", lambda fs, path: fs.pipe_file(path, b"PAR1PAR1")),
}


@pytest.mark.parametrize("file", SPOILT)
def test_a_damaged_store_is_named(remote: EmbeddingStore, file: str) -> None:
    words, spoil = SPOILT[file]
    fs = located(remote.path).fs
    spoil(fs, f"{remote.path}/{file}")
    with pytest.raises(InputError, match=words) as caught:
        EmbeddingStore(remote.path).check()
    assert str(caught.value).startswith(remote.path)
    assert "\n" not in str(caught.value)
    if file == "rows.parquet":
        for read in (lambda: remote.rows([1]), lambda: list(remote.id_arrays())):
            with pytest.raises(InputError, match=r"rows\.parquet"):
                read()


def test_what_is_not_there_or_not_to_be_had_is_one_line(remote: EmbeddingStore, line: SlowLine) -> None:
    url = remote.path
    with pytest.raises(InputError, match=r"none\.zarr: no such embedding store"):
        EmbeddingStore(f"{url}/none.zarr")
    with pytest.raises(InputError, match="no such embedding store"):
        EmbeddingStore("s3://no-such-bucket-here/a.zarr")
    with pytest.raises(InputError, match="not an embedding store"):
        EmbeddingStore(url.rpartition("/")[0])
    opened = EmbeddingStore(url)
    line.faults = ["403"]
    for reach in (
        lambda: EmbeddingStore(url),
        lambda: is_store(url),
        lambda: opened.read(0, 3),
        lambda: opened.norms(0, 3),
        lambda: opened.rows([0]),
        lambda: list(opened.id_arrays()),
        lambda: list(paired(opened).blocks([(0, N)], 1000, 3)),
        lambda: paired(opened).take(np.array([0, 30_000])),
    ):
        with pytest.raises(InputError, match=r"cannot be reached \((Not your key|Forbidden).*credentials") as caught:
            reach()
        assert str(caught.value).startswith(url)
        assert "\n" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up(s3: str, monkeypatch: pytest.MonkeyPatch, run_python: Any) -> None:
    code = (
        "import sys\nfrom specscale.places import files\nfiles._PATIENCE = 1\n"
        "from specscale.errors import InputError\nfrom specscale.embeddings.store import EmbeddingStore\n"
        "try:\n    EmbeddingStore(sys.argv[1])\nexcept InputError as error:\n    print(error)"
    )
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(20)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        done = run_python(code, f"{s3}/a.zarr")
        assert "a.zarr/zarr.json: cannot be reached (no answer)" in done.stdout
        assert "Traceback" not in done.stderr
    done = run_python(code.replace("_PATIENCE = 1", "_PATIENCE = 30"), f"{s3}/a.zarr")
    assert "a.zarr/zarr.json: cannot be reached (Could not connect" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("faults", [["503", "", "closed", "", "cut", ""], ["", "", "cut"]], ids=["many", "cut"])
def test_what_the_network_spoils_is_asked_for_again(remote: EmbeddingStore, line: SlowLine, faults: list[str]) -> None:
    line.faults = faults
    x = values()
    store = EmbeddingStore(remote.path)
    store.check()
    kept = np.random.default_rng(1).random(N) < 0.7
    for block in paired(store, store, kept=kept).blocks([(0, 9000), (9000, N)], 2500, 3):
        for raw in block.raw:
            np.testing.assert_array_equal(raw, x[block.start : block.stop][kept[block.start : block.stop]])
    positions, (sample,) = paired(store).sample(50, seed=3)
    np.testing.assert_array_equal(sample, x[positions])
    assert store.rows([5])["text"].to_pylist() == ["text 5"]  # type: ignore[index]


def test_compressed_chunks_go_through_zarr(s3: str, line: SlowLine) -> None:
    x = values(2500, 3)
    group = zarr.open_group(files.zarr_store(located(f"{s3}/packed.zarr")), mode="w")
    group.create_array("x", data=x, chunks=(600, 3))
    opened = zarr.open_group(files.zarr_store(located(f"{s3}/packed.zarr")), mode="r")["x"]
    assert isinstance(opened, zarr.Array)
    chunks = RowChunks(opened)
    before = len(line.requests)
    starts = range(0, 2500, 100)
    for start, block in zip(starts, read_ahead(lambda low: chunks.read(low, low + 100), starts, 8), strict=True):
        np.testing.assert_array_equal(block, x[start : start + 100])
    fetched = [request for request in line.requests[before:] if "/x/c/" in request and request.startswith("GET")]
    assert len(fetched) == 5
    located(s3).fs.pipe_file(f"{s3}/packed.zarr/x/c/0/0", b"abc")
    with pytest.raises(InputError, match=r"packed\.zarr/x: rows 0 to 599 are damaged"):
        chunks.read(0, 10)
    line.faults = ["403"]
    for _ in range(2):
        with pytest.raises(InputError, match="cannot be reached"):
            chunks.read(1300, 1310)
    line.faults = [""]
    np.testing.assert_array_equal(chunks.read(1300, 1310), x[1300:1310])


class Remote(ArrayEmbedding):
    """An array whose rows come from far away, in any order."""

    def __init__(self, array: np.ndarray) -> None:
        super().__init__(array)
        self.remote = True
        self.reads: list[tuple[int, int]] = []

    def read(self, start: int, stop: int, out: Any = None) -> Any:
        if self.__dict__.get("remote"):
            self.reads.append((start, stop))
            if out is not None:
                out[...] = np.nan  # what is read into is lost at once
            time.sleep(0.001 * (hash((start, stop)) % 4))
        return super().read(start, stop, out)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 120),
    rows=st.integers(1, 30),
    ring=st.integers(1, 4),
    cuts=st.lists(st.integers(1, 119), max_size=4, unique=True),
    share=st.sampled_from([1.0, 0.5, 0.0]),
    under_way=st.integers(1, 4000),
    many=st.integers(1, 3),
)
@pytest.mark.slow
def test_blocks_read_ahead_are_the_blocks(
    n: int, rows: int, ring: int, cuts: list[int], share: float, under_way: int, many: int
) -> None:
    ends = [0, *sorted(cut for cut in cuts if cut < n), n]
    runs = list(pairwise(ends))
    arrays = [values(n, 2 + i, seed=i) for i in range(many)]
    kept = np.random.default_rng(0).random(n) <= share
    here = paired(*(ArrayEmbedding(x) for x in arrays), kept=kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "_UNDER_WAY", under_way)
        there = paired(Remote(arrays[0]), *(ArrayEmbedding(x) for x in arrays[1:]), kept=kept)
        assert 3 < there.held_blocks(rows, 3) <= 2 + 2 * 8
        found = there.blocks(runs, rows, ring)
        held: list[Any] = []
        for expected in here.blocks(runs, rows, 1000):
            held = [*held, (expected, next(found))][-ring:]
            time.sleep(0.0005)
            for one, other in held:
                assert (one.start, one.stop, one.offset) == (other.start, other.stop, other.offset)
                for left, right in zip(one.raw, other.raw, strict=True):
                    np.testing.assert_array_equal(left, right)
        assert next(found, None) is None


def test_local_blocks_are_read_as_ever() -> None:
    rows = paired(ArrayEmbedding(values(50)))
    threads = threading.active_count()
    blocks = rows.blocks([(0, 50)], 10, 3)
    next(blocks)
    assert threading.active_count() == threads
    assert rows.held_blocks(8192, 3) == 3


def test_enough_is_under_way_to_hide_the_latency() -> None:
    wide, narrow = Remote(values(10, 4096)), Remote(values(10, 2))
    assert paired(wide).held_blocks(8192, 3) == 2 + 2 * 2
    assert paired(Remote(values(10, 512))).held_blocks(8192, 3) == 2 + 2 * 4
    assert paired(narrow).held_blocks(8192, 3) == 2 + 2 * 8
    assert paired(ArrayEmbedding(values(10, 2)), narrow).held_blocks(8192, 3) == 2 + 2 * 8


def test_a_failure_of_a_read_ahead_comes_in_its_turn(threads_left: Callable[[], list[threading.Thread]]) -> None:
    started = []

    def read(number: int) -> int:
        started.append(number)
        if number == 5:
            raise InputError("five")
        return number

    found = read_ahead(read, count(), 4)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match="five"):
        next(found)
    assert max(started) <= 8
    found = read_ahead(read, count(10), 4)
    assert next(found) == 10
    found.close()  # type: ignore[attr-defined]
    assert not threads_left()


@settings(max_examples=30, deadline=None)
@given(
    wanted=st.sets(st.integers(0, 399), max_size=40),
    gap=st.integers(0, 200),
    run=st.integers(1, 400),
)
def test_rows_near_one_another_are_read_together(wanted: set[int], gap: int, run: int) -> None:
    x, rows = values(400, 2), np.array(sorted(wanted), dtype=np.int64)
    far = Remote(x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "_GAP", gap)
        patch.setattr(rows_module, "_RUN", run)
        (found,) = paired(far).take(rows)
    np.testing.assert_array_equal(found, x[rows])
    assert all(stop - start == 1 or (stop - start) * 8 <= run for start, stop in far.reads)
    for (low, middle), (begin, _) in pairwise(sorted(far.reads)):
        assert (begin - middle) * 8 > gap or (begin + 1 - low) * 8 > run


def test_repeated_and_bad_rows_are_found_afar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates_module, "_WORDS", 64)
    monkeypatch.setattr(duplicates_module, "_REMOTE_ROWS", 50)
    x = values(1000, 4)
    x[700] = x[20]
    kept = np.random.default_rng(0).random(1000) < 0.9
    kept[[20, 700]] = True
    for mask in (None, kept):
        found = find_duplicates(Remote(x), mask)
        assert found == find_duplicates(ArrayEmbedding(x), mask)
        assert found.rows == 1
    x[4] = np.nan
    screened = screen(paired(Remote(x)), directions=True, on_bad="drop", sample=None, seed=0)
    assert screened.kept is not None
    assert np.flatnonzero(~screened.kept).tolist() == [4]


@pytest.fixture
def two(make_store: MakeStore, s3: str) -> tuple[EmbeddingStore, EmbeddingStore]:
    order = np.random.default_rng(4).permutation(900)
    a = make_store("left", values(900), ids=range(900))
    b = make_store("right", values(900)[order], ids=order.tolist())
    return EmbeddingStore(upload(a, s3)), EmbeddingStore(upload(b, s3))


def test_rows_are_reordered_into_an_object_store(two: tuple[EmbeddingStore, EmbeddingStore], s3: str) -> None:
    rows = pair(*two, work=located(f"{s3}/out.work"))
    moved = rows.embeddings[1]
    assert isinstance(moved, ReorderedEmbedding)
    assert moved.remote
    assert located(f"{s3}/out.work/reordered-1.raw").stat().st_size == 900 * P * 4
    np.testing.assert_array_equal(moved.read(0, 900), values(900))
    np.testing.assert_array_equal(moved.norms(10, 20), two[0].norms(10, 20))
    for block in rows.blocks([(0, 900)], 100, 3):
        np.testing.assert_array_equal(*block.raw)
    located(s3).fs.pipe_file(f"{s3}/out.work/reordered-1.raw", b"1234")
    with pytest.raises(InputError, match=r"reordered-1\.raw: the file is truncated"):
        moved.read(890, 900)


READ = """
import pickle, sys
from specscale.errors import SpecscaleError
try:
    with open(sys.argv[1], "rb") as file:
        rows = pickle.load(file)
    print(rows.match.by, *(one.source for one in rows.embeddings))
    print(*(one.read(3, 9).tobytes().hex() for one in rows.embeddings))
except SpecscaleError as error:
    print(type(error).__name__, error)
"""


def read_elsewhere(rows: PairedRows, folder: Path, run_python: Any) -> list[str]:
    """What another process, which works somewhere else, reads of pickled rows."""
    (folder / "rows.pickle").write_bytes(pickle.dumps(rows))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    code = f"import os; os.chdir({str(elsewhere)!r})\n" + READ
    done: subprocess.CompletedProcess[str] = run_python(code, str(folder / "rows.pickle"))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("where", ["local", "remote"])
def test_paired_rows_are_opened_in_other_processes(
    where: str,
    two: tuple[EmbeddingStore, EmbeddingStore],
    s3: str,
    tmp_path: Path,
    run_python: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    a, b = two if where == "remote" else (EmbeddingStore("left.zarr"), EmbeddingStore("right.zarr"))
    b.source = "right.npy"
    rows = pair(a, b, work=located(f"{s3}/out.work") if where == "remote" else Path("out.work"))
    assert len(pickle.dumps(rows)) < 2000
    expected = ["id", a.source, "right.npy"], [one.read(3, 9).tobytes().hex() for one in rows.embeddings]
    assert read_elsewhere(rows, tmp_path, run_python) == [" ".join(words) for words in expected]
    raw = located(f"{s3}/out.work/reordered-1.raw") if where == "remote" else Path("out.work/reordered-1.raw")
    raw.unlink()
    (said,) = read_elsewhere(rows, tmp_path, run_python)
    assert said.startswith("InputError")
    assert "reordered-1.raw: the file is gone" in said
    assert "every process of a run reads OUT.work itself" in said


def test_another_store_is_not_taken_for_the_one(
    make_store: MakeStore, tmp_path: Path, run_python: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_store("one", values(40)), make_store("two", values(40, seed=1))
    rows = paired(EmbeddingStore(first), ArrayEmbedding(values(40), "mine"))
    assert read_elsewhere(rows, tmp_path, run_python)[0] == f"position {first} mine"
    shutil.rmtree(first)
    (said,) = read_elsewhere(rows, tmp_path, run_python)
    assert said.startswith(f"InputError {first}: no such embedding store: ")
    assert f" (on {socket.gethostname()}; every process of a run reads the stores itself" in said
    shutil.copytree(second, first)
    (said,) = read_elsewhere(rows, tmp_path, run_python)
    assert said.startswith(f"ChangedError {first}: another store")
    pq.write_table(pa.table({"key": range(40)}), tmp_path / "k.parquet")
    with pytest.raises(ChangedError, match="another store"):
        pickle.loads(pickle.dumps(rows))


def test_reading_ahead_hides_the_latency(
    make_store: MakeStore, s3: str, line: SlowLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = values(24 * 512, 32)
    store = EmbeddingStore(upload(make_store("slow", x), s3))
    rows = paired(store)
    line.delay = DELAY
    sample = np.sort(np.random.default_rng(0).choice(len(x), 32, replace=False))
    monkeypatch.setattr(rows_module, "_GAP", 0)
    seconds = {}
    for name, most in (("one by one", 1), ("ahead", 8)):
        monkeypatch.setattr(rows_module, "_FEWEST", 1)
        monkeypatch.setattr(rows_module, "_MOST", most)
        monkeypatch.setattr("specscale.embeddings.base.READERS", 1 if most == 1 else 32)
        began = time.perf_counter()
        for block in rows.blocks([(0, len(x))], 512, 3):
            np.testing.assert_array_equal(block.raw[0], x[block.start : block.stop])
        middle = time.perf_counter()
        np.testing.assert_array_equal(rows.take(sample)[0], x[sample])
        seconds[name] = middle - began, time.perf_counter() - middle
    print(f"24 blocks and 32 rows at {1000 * DELAY:.0f} ms a request, seconds: {seconds}")
