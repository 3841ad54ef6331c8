"""Several threads read the blocks of paired rows: the same rows, and the same errors at the same blocks."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import specscale.embeddings.turns as turns_module
from specscale.embeddings import duplicates as duplicates_module
from specscale.embeddings import layout
from specscale.embeddings import rows as rows_module
from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.base import Embedding
from specscale.embeddings.duplicates import find_duplicates
from specscale.embeddings.rows import Block, Match, PairedRows
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import ChangedError, InputError
from specscale.stopping import Stop, Stopped, stoppable
from specscale.stores import beginning, writer
from specscale.stores.ingest import ingest

CHUNK, N = 16, 150
READERS = [1, 2, 3, 8]


def values(n: int, p: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).integers(-99, 99, (n, p)).astype(np.float32)


def paired(*embeddings: Embedding, kept: NDArray[np.bool_] | None = None) -> PairedRows:
    return PairedRows(embeddings, kept, Match("position", embeddings[0].n, 0, 0))


@pytest.fixture(autouse=True, scope="module")
def short_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (layout, beginning, writer, rows_module):
            patch.setattr(module, "CHUNK_ROWS", CHUNK)
        yield


@pytest.fixture(scope="module")
def sources(short_chunks: None, tmp_path_factory: pytest.TempPathFactory) -> list[Embedding]:
    """The same rows in a store of each type, a memory map and an array in another order of bytes."""
    folder = tmp_path_factory.mktemp("readers")
    x = values(N, 5)
    for dtype in ("float16", "float32"):
        ingest(x, folder / dtype, dtype=dtype)
    np.save(folder / "x.npy", x.astype(np.float16))
    mapped = np.load(folder / "x.npy", mmap_mode="r")
    stores = [EmbeddingStore(folder / dtype) for dtype in ("float16", "float32")]
    return [*stores, ArrayEmbedding(mapped), ArrayEmbedding(x.astype(">f4"))]


class Late(ArrayEmbedding):
    """An array whose rows are spoiled when a read begins, and there after a while."""

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        if out is not None:
            out[...] = np.nan
            time.sleep(0.0003 * (hash((start, stop)) % 3))
        return super().read(start, stop, out)


def check_block(block: Block, x: NDArray[Any], kept: NDArray[np.bool_] | None) -> None:
    rows = np.arange(block.start, block.stop)
    if kept is not None:
        rows = rows[kept[rows]]
        assert block.offset == np.count_nonzero(kept[: block.start])
    for raw in block.raw:
        np.testing.assert_array_equal(raw, x[rows])


@pytest.mark.slow
@settings(max_examples=60)
@given(
    which=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    rows=st.integers(1, 60),
    ring=st.integers(1, 3),
    cuts=st.sets(st.integers(1, N - 1), max_size=4),
    share=st.sampled_from([None, 1.0, 0.5, 0.0]),
    readers=st.integers(1, 9),
    budget=st.sampled_from([1, 2000, 1 << 20]),
    verify=st.booleans(),
)
def test_any_number_of_readers_gives_the_same_rows(
    sources: list[Embedding],
    which: list[int],
    rows: int,
    ring: int,
    cuts: set[int],
    share: float | None,
    readers: int,
    budget: int,
    verify: bool,
) -> None:
    kept = None if share is None else np.random.default_rng(1).random(N) < share
    embeddings = [sources[i] for i in which]
    runs = list(pairwise([0, *sorted(cuts), N]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "_READ", budget)
        blocks = list(paired(*embeddings, kept=kept).blocks(runs, rows, 1000, verify=verify, readers=readers))
    assert [one for low, high in runs for one in range(low, high, rows)] == [one.start for one in blocks]
    for block in blocks:
        check_block(block, values(N, 5), kept)
        assert [raw.dtype for raw in block.raw] == [one.dtype for one in embeddings]


@pytest.mark.parametrize(("rows", "ring", "many", "readers"), [(7, 3, 2, 4), (40, 1, 1, 8), (3, 2, 3, 2)])
@pytest.mark.parametrize("budget", [1, 1 << 20])
def test_no_row_is_overwritten_while_its_block_may_be_used(
    monkeypatch: pytest.MonkeyPatch, rows: int, ring: int, many: int, readers: int, budget: int
) -> None:
    monkeypatch.setattr(rows_module, "_READ", budget)
    x = values(N, 3)
    kept = np.random.default_rng(0).random(N) < 0.8
    held: list[Block] = []
    for mask in (None, kept):
        late = paired(*(Late(x) for _ in range(many)), kept=mask)
        for block in late.blocks([(0, 50), (50, N)], rows, ring, readers=readers):
            held = [*held, block][-ring:]
            time.sleep(0.001)
            for one in held:
                check_block(one, x, mask)
        held.clear()


@pytest.mark.parametrize("readers", READERS)
@pytest.mark.parametrize("share", [None, 0.7])
def test_rows_lie_in_the_memory_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, sources: list[Embedding], readers: int, share: float | None
) -> None:
    kept = None if share is None else np.random.default_rng(1).random(N) < share
    for budget in (1, 3000, 1 << 20):
        monkeypatch.setattr(rows_module, "_READ", budget)
        made: list[NDArray[Any]] = []

        def empty(shape: tuple[int, ...], dtype: Any, made: list[NDArray[Any]] = made) -> NDArray[Any]:
            made.append(np.empty(shape, dtype))
            return made[-1]

        rows = paired(*sources[:2], kept=kept)
        for block in rows.blocks([(0, N)], 8, 3, verify=True, empty=empty, readers=readers):
            assert all(any(np.shares_memory(raw, one) for one in made) for raw in block.raw)
        assert [one.dtype.name for one in made[:2]] == ["float16", "float32"]
        held = rows.held_blocks(8, 3, readers) + (0 if kept is None else 3)
        assert sum(one.nbytes for one in made) == held * 8 * 5 * (2 + 4)


def test_a_local_block_is_read_when_it_is_asked_for_unless_there_are_readers(sources: list[Embedding]) -> None:
    rows = paired(*sources[:2])
    assert rows.held_blocks(8, 3) == 3
    before = threading.active_count()
    blocks = rows.blocks([(0, N)], 8, 3)
    next(blocks)
    assert threading.active_count() == before
    assert rows.held_blocks(8, 3, 8) == 2 + 4 * 2  # two blocks of each of four chunks of each embedding
    assert paired(*sources[:1]).held_blocks(8, 3, 2) == 2 + 2 * 2
    assert paired(ArrayEmbedding(values(2, 1 << 15)), sources[0]).held_blocks(8192, 3, 8) == 2 + 2


@pytest.mark.parametrize(("rows", "budget"), [(10, 1 << 20), (75, 1)])
def test_every_reader_is_at_work_and_no_one_else(monkeypatch: pytest.MonkeyPatch, rows: int, budget: int) -> None:
    monkeypatch.setattr(rows_module, "_READ", budget)
    met = threading.Barrier(6)
    names = set()

    class Meeting(ArrayEmbedding):
        def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
            if out is not None and start < 60:
                names.add(threading.current_thread().name)
                met.wait(20)
            return super().read(start, stop, out)

    x = values(120, 3)
    for block in paired(Meeting(x), Meeting(x)).blocks([(0, 120)], rows, 3, readers=6):
        check_block(block, x, None)
    assert len(names) == 6


def test_the_digests_of_several_chunks_are_made_at_once(
    monkeypatch: pytest.MonkeyPatch, sources: list[Embedding]
) -> None:
    met = threading.Barrier(4)

    class Digest(layout.ChunkDigest):
        def __init__(self) -> None:
            super().__init__()
            self._begun = False

        def add(self, rows: Any) -> None:
            if not self._begun:
                self._begun = True
                met.wait(20)
            super().add(rows)

    monkeypatch.setattr(turns_module, "ChunkDigest", Digest)
    blocks = list(paired(*sources[:2]).blocks([(0, 8 * CHUNK)], 8, 1000, verify=True, readers=4))
    assert len(blocks) == 16


@pytest.mark.parametrize("threads", [2, 4, 9])
@pytest.mark.parametrize("share", [None, 0.7])
def test_rows_that_repeat_others_are_found_by_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, threads: int, share: float | None
) -> None:
    monkeypatch.setattr(duplicates_module, "_WORDS", 12)  # so that a chunk is looked at in several blocks
    x = values(N, 5)
    x[[20, 70, 149]] = x[3]
    kept = None if share is None else np.random.default_rng(1).random(N) < share
    if kept is not None:
        kept[[3, 20, 70, 149]] = True
    ingest(x, tmp_path / "x")
    for embedding in (EmbeddingStore(tmp_path / "x"), ArrayEmbedding(x)):
        found = find_duplicates(embedding, kept, threads)
        assert found == find_duplicates(embedding, kept)
        assert (found.rows, found.example) == (3, (3, 20, 70, 149))
    for chunk in (6, 4):
        flipped(tmp_path / f"x/features/c/{chunk}/0")
    with pytest.raises(InputError, match="rows 64 to 79 are damaged"):
        find_duplicates(EmbeddingStore(tmp_path / "x"), kept, threads)


def test_chunks_are_looked_through_at_once() -> None:
    met = threading.Barrier(3)

    class Meeting(ArrayEmbedding):
        def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
            if out is not None and start in (0, CHUNK, 2 * CHUNK):
                met.wait(20)
            return super().read(start, stop, out)

    x = Meeting(values(N, 5))
    met.reset()
    assert find_duplicates(x, None, 6).rows == 0


# --- what goes wrong


def copied(store: Embedding, folder: Path) -> Path:
    """A copy of a store to spoil."""
    return Path(shutil.copytree(store.source, folder / "copy"))


def flipped(chunk: Path) -> None:
    content = bytearray(chunk.read_bytes())
    content[11] ^= 1
    chunk.write_bytes(content)


def cut(chunk: Path) -> None:
    os.truncate(chunk, chunk.stat().st_size - 1)


FAULTS: list[tuple[Callable[[Path], object], str, bool, int]] = [
    (flipped, "rows 32 to 47 are damaged", True, 4),  # a row of the first block of the third chunk, whose norm tells
    (cut, "features/c/2/0: the chunk is truncated", False, 5),
    (Path.unlink, "features/c/2/0: the chunk is missing", False, 4),
]


@pytest.mark.parametrize(("spoil", "said", "verify", "good"), FAULTS)
@pytest.mark.parametrize("readers", READERS)
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_wrong_is_said_at_the_block_that_it_is_in(
    sources: list[Embedding],
    tmp_path: Path,
    spoil: Callable[[Path], object],
    said: str,
    verify: bool,
    good: int,
    readers: int,
    which: int,
    threads_left: Callable[[], list[threading.Thread]],
) -> None:
    path = copied(sources[which], tmp_path)
    pair = list(sources[:2])
    pair[which] = EmbeddingStore(path)
    (path / "features/c/7/0").unlink()  # which is found before, where there are many readers
    spoil(path / "features/c/2/0")
    found: list[int] = []
    blocks = paired(*pair).blocks([(0, N)], 8, 3, verify=verify, readers=readers)
    with pytest.raises(InputError, match=said):
        found.extend(block.start for block in blocks)
    assert found == list(range(0, 8 * good, 8))
    assert not threads_left()


def swapped(path: Path) -> None:
    """Two rows of a chunk, whose norms are equal, change their places."""
    chunk = path / "features/c/3/0"
    content = chunk.read_bytes()
    row = len(content) // CHUNK
    chunk.write_bytes(content[row : 2 * row] + content[:row] + content[2 * row :])


@pytest.mark.parametrize("readers", READERS)
@pytest.mark.parametrize("rows", [5, 8, 16, 40])
def test_a_chunk_of_the_right_norms_and_other_rows_is_damaged(tmp_path: Path, readers: int, rows: int) -> None:
    x = values(N, 4)
    x[3 * CHUNK + 1] = x[3 * CHUNK, ::-1]
    ingest(x, tmp_path / "x")
    store = EmbeddingStore(tmp_path / "x")
    swapped(tmp_path / "x")
    found: list[int] = []
    blocks = paired(store, store).blocks([(0, N)], rows, 3, verify=True, readers=readers)
    with pytest.raises(InputError, match="rows 48 to 63 are damaged"):
        found.extend(block.stop for block in blocks)
    assert found == list(range(rows, 64, rows))
    for runs in ([(50, N)], [(0, 60)], [(0, 50), (70, N)]):  # none of which holds the chunk whole
        list(paired(store, store).blocks(runs, rows, 3, verify=True, readers=readers))
    with pytest.raises(InputError, match="rows 48 to 63 are damaged"):
        list(paired(store, store).blocks([(0, 50), (50, 70)], rows, 3, verify=True, readers=readers))
    list(paired(store, store).blocks([(0, N)], rows, 3, readers=readers))


@pytest.mark.parametrize("readers", READERS)
def test_norms_are_verified_and_another_store_in_its_place_is_told_apart(
    sources: list[Embedding], tmp_path: Path, readers: int
) -> None:
    path = copied(sources[1], tmp_path)
    store = EmbeddingStore(path)
    norms = np.frombuffer((path / "norms/c/1").read_bytes(), "<f4").copy()
    norms[4] *= 1.01
    (path / "norms/c/1").write_bytes(norms.tobytes())
    with pytest.raises(InputError, match="rows 16 to 31 are damaged, they or their norms"):
        list(paired(store).blocks([(0, N)], 8, 3, verify=True, readers=readers))
    ingest(values(N, 5, seed=1), path, overwrite=True)
    with pytest.raises(ChangedError, match="the store changed during the work"):
        list(paired(store).blocks([(0, N)], 8, 3, verify=True, readers=readers))


@pytest.mark.parametrize("readers", READERS)
def test_what_fails_in_a_digest_is_raised(
    monkeypatch: pytest.MonkeyPatch, sources: list[Embedding], readers: int
) -> None:
    def fail(self: Any, rows: Any) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(layout.ChunkDigest, "add", fail)
    with pytest.raises(MemoryError, match="no more"):
        list(paired(*sources[:2]).blocks([(0, N)], 8, 3, verify=True, readers=readers))


@pytest.mark.parametrize("readers", READERS)
def test_a_signal_ends_it_and_no_thread_stays(
    sources: list[Embedding], readers: int, threads_left: Callable[[], list[threading.Thread]]
) -> None:
    stop = Stop()
    with stoppable(stop):
        blocks = paired(*sources[:2]).blocks([(0, N)], 8, 3, verify=True, readers=readers)
        next(blocks)
        stop.note(signal.SIGINT)
        with pytest.raises(Stopped):
            next(blocks)
    assert not threads_left()


def test_blocks_that_are_left_behind_are_read_no_further() -> None:
    class Counting(ArrayEmbedding):
        reads = 0

        def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
            if out is not None and len(out) == 1:
                self.reads += 1
                time.sleep(0.001)
            return super().read(start, stop, out)

    embedding = Counting(values(N, 2))
    embedding.reads = 0
    blocks: Any = paired(embedding).blocks([(0, N)], 1, 3, readers=2)
    next(blocks)
    blocks.close()
    seen = embedding.reads
    assert seen <= 2 * CHUNK
    time.sleep(0.01)
    assert embedding.reads == seen
