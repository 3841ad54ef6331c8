"""How a sweep is executed: spans, the tree of partial results, the executor, the work directory, sizes."""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import priced
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import specscale.runtime.sweeper as sweep_module
from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.rows import Block, Match, PairedRows
from specscale.errors import ChangedError, ExistsError, OptionError, PlanError
from specscale.features.fourier import FourierMap
from specscale.features.kernel import ExactKernel
from specscale.features.landmarks import LandmarkMap
from specscale.features.linear import LinearMap
from specscale.method.plan import Plan
from specscale.passes.base import Accumulator, LoadedPass, Pass, Room, Task
from specscale.passes.covariance import covariance
from specscale.passes.products import Held, products
from specscale.passes.scores import MappedScores, score
from specscale.results.workplace import Workplace
from specscale.runtime.checkpoints import NodeFolder, Tree, load_arrays, save_arrays
from specscale.runtime.combining import held_nodes
from specscale.runtime.events import Event, PassFinished, PassStarted, RowsDone
from specscale.runtime.local import LocalExecutor
from specscale.runtime.spans import Span, cut_spans
from specscale.runtime.sweeper import RING
from specscale.runtime.threads import Threads
from specscale.units import format_bytes, parse_bytes

CHUNK = 32_768

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("one_blas_thread")]

# --- spans


@given(n=st.integers(1, 10_000_000), d=st.integers(1, 40_000))
def test_spans_cover_all_rows_with_whole_chunks(n: int, d: int) -> None:
    spans = cut_spans(n, d, CHUNK)
    assert [span.index for span in spans] == list(range(len(spans)))
    assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])]
    assert spans[-1].stop == n
    assert all(span.start % CHUNK == 0 and span.stop > span.start for span in spans)


@given(n=st.integers(1, 5_000_000), more=st.integers(0, 5_000_000), d=st.integers(1, 40_000))
def test_spans_do_not_depend_on_how_many_rows_there_are(n: int, more: int, d: int) -> None:
    few, many = cut_spans(n, d, CHUNK), cut_spans(n + more, d, CHUNK)
    assert few[:-1] == many[: len(few) - 1]
    assert few[-1].start == many[len(few) - 1].start


def test_spans_of_large_features_are_short() -> None:
    assert len(cut_spans(10 * CHUNK, 20_000, CHUNK)) == 10
    assert len(cut_spans(10 * CHUNK, 10, CHUNK)) < 10


# --- the tree of partial results


def add(first: Accumulator, second: Accumulator) -> None:
    first["x"] += second["x"]
    first["order"] *= 3  # not associative, so that every other shape of the tree gives another number
    first["order"] += second["order"]


def leaf(span: int) -> Accumulator:
    generator = np.random.default_rng(span)
    return {"x": generator.normal(size=5) * 10.0 ** generator.integers(-8, 8), "order": np.array([float(span)])}


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def filled(folder: Path, order: list[int], spans: int) -> Accumulator:
    tree = Tree(folder, spans, add)
    for span in order:
        assert tree.root() is None
        assert not tree.has(span)
        tree.push((0, span), leaf(span))
        assert tree.has(span)
    total = tree.root()
    assert total is not None
    return total


def same(one: Accumulator | None, other: Accumulator | None) -> bool:
    assert one is not None
    assert other is not None
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


@given(data=st.data(), spans=st.integers(1, 20))
def test_the_order_of_arrival_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, spans: int
) -> None:
    order = data.draw(st.permutations(range(spans)))
    folder = tmp_path_factory.mktemp("tree")
    assert same(filled(folder / "a", list(range(spans)), spans), filled(folder / "b", list(order), spans))


@given(data=st.data(), spans=st.integers(2, 20))
def test_an_interrupted_tree_is_continued(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, spans: int
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    order = list(data.draw(st.permutations(range(spans))))
    stop = data.draw(st.integers(0, spans))
    tree = Tree(folder / "a", spans, add, held=data.draw(st.integers(1, 5)))
    for span in order[:stop]:
        tree.push((0, span), leaf(span))
    again = Tree(folder / "a", spans, add, held=data.draw(st.integers(1, 5)))
    assert [span for span in range(spans) if again.has(span)] == sorted(order[:stop])
    for span in order[stop:]:
        again.push((0, span), leaf(span))
    assert same(again.root(), filled(folder / "b", list(range(spans)), spans))


@given(data=st.data(), spans=st.integers(1, 16))
def test_a_killed_tree_loses_what_was_not_written_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, spans: int
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    patient = Tree(folder / "a", spans, add, patience=1e9, held=data.draw(st.integers(1, 5)))
    written: set[int] = set()
    done = data.draw(st.integers(0, spans))
    for span in range(done):
        patient.push((0, span), leaf(span))
        if data.draw(st.booleans()):
            patient.flush()
            written = set(range(span + 1))
    again = Tree(folder / "a", spans, add)
    found = {span for span in range(spans) if again.has(span)}
    assert written <= found <= set(range(done))
    for span in sorted(set(range(spans)) - found):
        again.push((0, span), leaf(span))
    assert same(again.root(), filled(folder / "b", list(range(spans)), spans))


@pytest.mark.parametrize("spans", [1, 2])
def test_short_work_writes_nothing(tmp_path: Path, spans: int) -> None:
    tree = Tree(tmp_path / "tree", spans, add, patience=1e9)
    for span in range(spans):
        tree.push((0, span), leaf(span))
    assert files_in(tmp_path / "tree") == []
    assert same(tree.root(), filled(tmp_path / "other", list(range(spans)), spans))


@given(data=st.data(), spans=st.integers(1, 20), held=st.integers(1, 6))
def test_no_more_nodes_stay_in_memory_than_are_to(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, spans: int, held: int
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    alive: list[weakref.ref[Any]] = []

    def counted(span: int) -> Accumulator:
        made = leaf(span)
        alive.append(weakref.ref(made["x"]))
        return made

    def in_memory() -> int:
        return sum(one() is not None for one in alive)

    def watched(first: Accumulator, second: Accumulator) -> None:
        assert in_memory() <= held + 1
        add(first, second)

    tree = Tree(folder / "a", spans, watched, patience=1e9, held=held)
    for span in data.draw(st.permutations(range(spans))):
        tree.push((0, span), counted(span))
        assert in_memory() <= held
    assert same(tree.root(), filled(folder / "b", list(range(spans)), spans))


def test_with_a_node_of_each_level_in_memory_nothing_is_written(tmp_path: Path) -> None:
    for spans in range(1, 18):
        tree = Tree(tmp_path / f"{spans}", spans, add, patience=1e9, held=held_nodes(spans, apart=True))
        for span in range(spans):
            tree.push((0, span), leaf(span))
        assert same(tree.root(), filled(tmp_path / f"other {spans}", list(range(spans)), spans))
        assert files_in(tmp_path / f"{spans}") == []
    assert held_nodes(100, apart=False) == 1


def test_a_tree_of_the_past_is_its_own_root(tmp_path: Path) -> None:
    total = filled(tmp_path / "tree", list(range(7)), 7)
    assert same(Tree(tmp_path / "tree", 7, add).root(), total)


def test_few_nodes_are_kept(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree", 64, add)
    for span in range(64):
        tree.push((0, span), leaf(span))
        assert len(files_in(tmp_path / "tree")) == (span + 1).bit_count()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(b"\xff\x00 not a node")


@pytest.mark.parametrize("damage", [truncate, flip, empty, garble])
@pytest.mark.parametrize("done", [4, 5, 7])
@pytest.mark.parametrize("which", [0, -1])
def test_a_damaged_node_is_found_and_its_spans_are_done_again(
    tmp_path: Path, damage: Callable[[Path], None], done: int, which: int
) -> None:
    folder = tmp_path / "tree"
    tree = Tree(folder, 7, add)
    for span in range(done):
        tree.push((0, span), leaf(span))
    damage(files_in(folder)[which])
    tree, total, rounds = Tree(folder, 7, add), None, 0
    while total is None:
        rounds += 1
        assert rounds < 5
        for span in range(7):
            if not tree.has(span):
                tree.push((0, span), leaf(span))
        total = tree.root()
    assert same(total, filled(tmp_path / "other", list(range(7)), 7))


def test_a_node_and_its_parts_do_not_count_twice(tmp_path: Path) -> None:
    # As after a kill between the writing of a parent and the removal of its children.
    folder = tmp_path / "tree"
    total = filled(folder, list(range(4)), 4)
    save_arrays(folder / "0-3.node", leaf(3))
    save_arrays(folder / "1-0.node", leaf(0))
    tree = Tree(folder, 4, add)
    assert len(files_in(folder)) == 1
    assert same(tree.root(), total)


def test_files_of_others_are_no_nodes(tmp_path: Path) -> None:
    for name in ("foo.node", "1.node", "a-b.node", "0-0.node.new"):
        (tmp_path / name).touch()
    assert NodeFolder(tmp_path).nodes() == set()


def test_a_half_written_node_is_no_node(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "0-0.new").write_bytes(b"half")
    tree = Tree(folder, 1, add)
    assert not tree.has(0)
    tree.push((0, 0), leaf(0))
    assert same(tree.root(), leaf(0))


ARRAYS = {
    "matrix": np.arange(6.0).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "numbers": np.array([2**62], dtype=np.int64),
    "none": np.empty((0, 4), dtype=np.float32),
    "narrow": np.array([1, -2], dtype=np.float16),
}


def test_arrays_come_back_from_their_file(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x.node", ARRAYS)
    found = load_arrays(tmp_path / "x.node")
    assert found is not None
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        found[name][...] = 1  # an accumulator is written to
    assert [path.name for path in tmp_path.iterdir()] == ["x.node"]


def test_no_flipped_bit_goes_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "x.node"
    save_arrays(path, {"x": np.arange(4.0), "y": np.array([7], dtype=np.int64)})
    content = path.read_bytes()
    before = load_arrays(path)
    for position in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[position] ^= 1 << bit
            path.write_bytes(changed)
            found = load_arrays(path)
            assert found is None or same(found, before), (position, bit, content[position : position + 20])


# --- the executor


def rows_of(*arrays: NDArray[Any], kept: NDArray[np.bool_] | None = None) -> PairedRows:
    embeddings = tuple(ArrayEmbedding(array, name) for name, array in zip("ab", arrays, strict=False))
    return PairedRows(embeddings, kept, Match("position", len(arrays[0]), 0, 0))


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def total_pass(
    prepare: Callable[[Block], None] | None = None, append: Callable[[Block], None] | None = None
) -> Pass[float]:
    """Sum all numbers of A; what is summed up was read in `prepare`, as in every pass."""

    def prepare_(block: Block, room: Room) -> list[Task]:
        def task() -> None:
            if prepare:
                prepare(block)
            room["sum"][0] = block.raw[0].sum(dtype=np.float64)

        return [task]

    def append_(total: Accumulator, block: Block, room: Room) -> list[Task]:
        def task() -> None:
            if append:
                append(block)
            total["sum"] += room["sum"]

        return [task]

    def combine(first: Accumulator, second: Accumulator) -> None:
        first["sum"] += second["sum"]

    return Pass(
        "total",
        lambda kernels: {"sum": ((1,), np.float64)},
        lambda kernels: {"sum": np.zeros(1)},
        lambda kernels: LoadedPass(prepare_, append_),
        combine,
        lambda acc: float(acc["sum"][0]),
    )


def run(
    work: Pass[Any], rows: PairedRows, folder: Path, threads: int = 2, spans: list[Span] | None = None
) -> tuple[Any, list[Event]]:
    events: list[Event] = []
    with closing(Threads(threads)) as pool:
        result = LocalExecutor(pool).run(work, rows, spans or cut_spans(rows.n, 20_000, CHUNK), folder, events.append)
    return result, events


N = 2 * CHUNK + 8192 + 5


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n", [1, 2, 8191, 8192, 8193, N])
def test_every_row_is_seen_once(tmp_path: Path, threads: int, n: int) -> None:
    x = np.random.default_rng(0).integers(-5, 6, size=(n, 3)).astype(np.float32)
    result, events = run(total_pass(), rows_of(x), tmp_path / "w", threads)
    assert result == x.sum(dtype=np.float64)
    assert events[0] == PassStarted("total", n, 0)
    assert isinstance(events[-1], PassFinished)
    assert sum(event.rows for event in events if isinstance(event, RowsDone)) == n


def test_rows_left_out_are_not_seen(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(-5, 6, size=(N, 3)).astype(np.float32)
    kept = np.random.default_rng(1).random(N) < 0.3
    kept[8192:16384] = False
    assert run(total_pass(), rows_of(x, kept=kept), tmp_path / "w")[0] == x[kept].sum(dtype=np.float64)


def test_finished_spans_are_not_done_again(tmp_path: Path) -> None:
    x = normal(N, 2)
    rows, seen = rows_of(x), []
    first = run(total_pass(), rows, tmp_path / "w")[0]
    again, events = run(total_pass(prepare=lambda block: seen.append(block.start)), rows, tmp_path / "w")
    assert again == first
    assert seen == []
    assert events[0] == PassStarted("total", N, N)


@pytest.mark.parametrize("where", ["prepare", "append"])
@pytest.mark.parametrize("start", [0, 8192, CHUNK, 2 * CHUNK + 8192])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.slow
def test_an_error_in_a_task_comes_through_and_the_work_goes_on_later(
    tmp_path: Path, where: str, start: int, threads: int, threads_left: Callable[[], list[threading.Thread]]
) -> None:
    def fail(block: Block) -> None:
        if block.start == start:
            raise ZeroDivisionError(str(start))

    rows = rows_of(normal(N, 2))
    with pytest.raises(ZeroDivisionError, match=f"^{start}$"):
        run(total_pass(**{where: fail}), rows, tmp_path / "w", threads)
    assert not threads_left()
    seen: list[int] = []
    result, _ = run(total_pass(prepare=lambda block: seen.append(block.start)), rows, tmp_path / "w", threads)
    assert result == run(total_pass(), rows, tmp_path / "fresh")[0]
    # A block is prepared while the one before is appended: at the start of a span that is the span before.
    begun = max(start - 1, 0) if where == "prepare" else start
    assert min(seen) == begun - begun % CHUNK


class Failing(ArrayEmbedding):
    """An embedding whose reader fails at some row."""

    fails_at = 0

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        if start <= self.fails_at < stop:
            raise OSError(f"row {self.fails_at}")
        return super().read(start, stop, out)


@pytest.mark.parametrize("row", [0, 9000, CHUNK + 1, N - 1])
def test_an_error_of_the_reader_comes_through(
    tmp_path: Path, row: int, threads_left: Callable[[], list[threading.Thread]]
) -> None:
    broken = Failing(normal(N, 2), "b")
    broken.fails_at = row
    with pytest.raises(OSError, match=f"^row {row}$"):
        run(total_pass(), PairedRows((broken,), None, Match("position", N, 0, 0)), tmp_path / "w")
    assert not threads_left()


def test_an_error_in_the_listener_comes_through(
    tmp_path: Path, threads_left: Callable[[], list[threading.Thread]]
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, RowsDone):
            raise KeyboardInterrupt

    with closing(Threads(2)) as pool, pytest.raises(KeyboardInterrupt):
        LocalExecutor(pool).run(total_pass(), rows_of(normal(N, 2)), cut_spans(N, 20_000, CHUNK), tmp_path / "w", stop)
    assert not threads_left()


class Changing(ArrayEmbedding):
    """An embedding that is another one from some read on."""

    def __init__(self, array: NDArray[Any], reads: int) -> None:
        super().__init__(array, "changing")
        self.reads = reads

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        if hasattr(self, "reads"):
            self.reads -= 1
        return super().read(start, stop, out)

    def check_unchanged(self) -> None:
        if self.reads <= 0:
            raise ChangedError("changed")


@pytest.mark.parametrize("reads", [0, 1, 5, 9])
def test_nothing_of_a_changed_embedding_is_kept(tmp_path: Path, reads: int) -> None:
    changing = Changing(normal(N, 2), reads)
    with pytest.raises(ChangedError):
        run(total_pass(), PairedRows((changing,), None, Match("position", N, 0, 0)), tmp_path / "w")
    spans_before = max(0, reads - 1) // 4
    tree = Tree(tmp_path / "w", 3, add)
    kept = [tree.has(span) for span in range(3)]
    assert not any(kept[spans_before:])
    assert kept[0] == (reads == 9)  # by then the first span was whole and the reader not yet at its ninth block


def test_a_block_is_read_while_the_one_before_is_computed_on(tmp_path: Path) -> None:
    reading = {start: threading.Event() for start in range(0, 4 * 8192, 8192)}

    class Watched(ArrayEmbedding):
        def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
            reading.get(start, threading.Event()).set()
            return super().read(start, stop, out)

    def wait_for_next(block: Block) -> None:
        if block.stop in reading:
            assert reading[block.stop].wait(20), "the next block is not read before this one is done"

    watched = Watched(normal(4 * 8192, 2), "watched")
    for event in reading.values():
        event.clear()
    run(
        total_pass(prepare=wait_for_next),
        PairedRows((watched,), None, Match("position", watched.n, 0, 0)),
        tmp_path / "w",
    )


def test_a_block_is_prepared_while_the_one_before_is_appended(tmp_path: Path) -> None:
    prepared = {start: threading.Event() for start in range(0, CHUNK, 8192)}

    def wait_for_next(block: Block) -> None:
        if block.stop in prepared:
            assert prepared[block.stop].wait(20), "the next block is not prepared before this one is appended"

    work = total_pass(prepare=lambda block: prepared[block.start].set(), append=wait_for_next)
    run(work, rows_of(normal(CHUNK, 2)), tmp_path / "w", threads=2)


def test_a_slow_reader_or_a_slow_pass_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "BLOCK_ROWS", 64)
    x = np.random.default_rng(0).integers(-9, 9, size=(64 * 30 + 7, 3)).astype(np.float32)

    class Slow(ArrayEmbedding):
        pause = 0.0

        def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
            time.sleep(self.pause)
            return super().read(start, stop, out)

    for reader, worker in ((0.003, 0.0), (0.0, 0.003)):
        slow = Slow(x, "slow")
        slow.pause = reader
        rows = PairedRows((slow,), None, Match("position", len(x), 0, 0))
        work = total_pass(prepare=lambda block, pause=worker: time.sleep(pause))  # type: ignore[misc]
        assert run(work, rows, tmp_path / str(reader))[0] == x.sum(dtype=np.float64)


def test_a_block_stays_until_it_has_been_prepared() -> None:
    x = normal(100, 2)
    blocks: Iterator[Block] = rows_of(x).blocks([(0, 100)], 10, RING)
    held = []
    for block in blocks:
        held = [*held, block][-RING:]
        for one in held:
            np.testing.assert_array_equal(one.raw[0], x[one.start : one.stop])


def exact_of(kernel: str) -> tuple[ExactKernel, ...]:
    cosine = kernel == "cosine"
    return tuple(ExactKernel(np.zeros(p), cosine, None if cosine else 3.0) for p in (70, 5))


def maps_of(kernel: str) -> tuple[Any, Any]:
    if kernel == "cosine":
        return LinearMap(70), LinearMap(5)
    if kernel == "landmarks":
        return tuple(LandmarkMap.of(one, np.arange(150), normal(150, one.p, seed=9)) for one in exact_of(kernel))
    return tuple(FourierMap(p, 90, 3.0, 0, True, np.zeros(p), False) for p in (70, 5))


@pytest.mark.parametrize("kernel", ["gaussian", "landmarks", "cosine"])
@pytest.mark.slow
def test_passes_give_the_same_bits_on_any_number_of_threads(tmp_path: Path, kernel: str) -> None:
    n = CHUNK + 8192 + 1111
    kept = np.random.default_rng(5).random(n) < 0.9
    rows = rows_of(normal(n, 70), normal(n, 5, seed=1), kept=kept)
    spans = [Span(0, 0, CHUNK), Span(1, CHUNK, n)]
    answers = []
    exact = exact_of(kernel)
    anchors = Held(tuple(normal(700, one.p, seed=7) for one in exact))
    vectors = normal(int(kept.sum()), 3, seed=8)
    for threads in (1, 2, 5):
        folder = tmp_path / str(threads)
        folder.mkdir()
        maps = maps_of(kernel)
        C, _ = run(covariance(maps), rows, folder / "covariance", threads, spans)
        z = np.random.default_rng(2).normal(size=(C.d, 4))
        written: list[bytes] = []
        work = score(
            MappedScores(maps, z, int(kept.sum())),
            np.eye(4),
            n=n,
            top=50,
            chunk_rows=CHUNK,
            write=lambda start, chunk, written=written: written.append(chunk.tobytes()),  # type: ignore[misc]
        )
        tails, _ = run(work, rows, folder / "scores", threads, spans)
        products_of = products(
            "products",
            exact,
            anchors,
            lambda block: vectors[block.offset : block.offset + len(block.raw[0])],
            3,
            len(vectors),
        )
        found, _ = run(products_of, rows, folder / "products", threads, spans)
        parts = [C.buffer, tails.squares, tails.fourths, tails.rows, tails.scores, found]
        answers.append([*(part.tobytes() for part in parts), *written])
    assert answers[0] == answers[1] == answers[2]


# --- threads


@pytest.mark.parametrize("count", [1, 3])
def test_all_tasks_run_and_the_first_error_in_their_order_is_raised(count: int) -> None:
    done: list[int] = []

    def task(i: int) -> Task:
        def work() -> None:
            time.sleep(0.01 * (3 - i))
            if i in (1, 2):
                raise ValueError(str(i))
            done.append(i)

        return work

    with closing(Threads(count)) as threads:
        threads.run([])
        threads.run([task(0), task(3)])
        assert sorted(done) == [0, 3]
        with pytest.raises(ValueError, match="1"):
            threads.run([task(1), task(2)])


@pytest.mark.parametrize("count", [0, 100_000])
def test_a_number_of_threads_that_cannot_be_is_refused(count: int) -> None:
    with pytest.raises(OptionError, match="--threads"):
        Threads(count)


# --- the work directory


def finished(place: Workplace, text: str = "{}") -> None:
    place.claim({"a": 1})
    (place.folder / "result").mkdir()
    (place.folder / "result" / "summary.json").write_text(text)
    place.publish(place.folder / "result")


def test_a_result_appears_whole_and_the_work_goes(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "out")
    assert not place.out.exists()
    assert place.work == tmp_path / "out.work"
    finished(place)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_existing_result_is_only_replaced_when_asked(tmp_path: Path) -> None:
    finished(Workplace(tmp_path / "out"), "old")
    with pytest.raises(ExistsError, match="--overwrite"):
        Workplace(tmp_path / "out")
    place = Workplace(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "summary.json").read_text() == "old"  # until the new one is there
    finished(place, "new")
    assert (tmp_path / "out" / "summary.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", ["file", "folder", "loop"])
def test_what_is_not_a_result_is_never_replaced(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    elif kind == "folder":
        out.mkdir()
        (out / "thesis.tex").write_text("mine")
    else:
        out.symlink_to(out)
    for overwrite in (False, True):
        with pytest.raises(ExistsError):
            Workplace(out, overwrite=overwrite)
    assert not (tmp_path / "out.work").exists()


def test_an_interrupted_run_is_continued_or_discarded_as_asked(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "out")
    place.claim({"eta": 1.0, "seed": 0})
    (place.folder / "partial").write_text("1")
    place.leave()
    with pytest.raises(ExistsError, match="--resume"):
        Workplace(tmp_path / "out")
    again = Workplace(tmp_path / "out", resume=True)
    again.claim({"seed": 0, "eta": 1.0})
    assert again.folder == place.folder
    assert (again.folder / "partial").exists()
    again.leave()
    afresh = Workplace(tmp_path / "out", overwrite=True)
    afresh.claim({"eta": 2.0})
    assert afresh.folder != place.folder
    assert sorted(path.name for path in afresh.work.iterdir()) == sorted(["lock", "run.json", afresh.folder.name])
    assert not any(afresh.folder.iterdir())


@pytest.mark.parametrize("other", [{"eta": 2.0, "seed": 0}, {"eta": 1.0}, {"eta": 1.0, "seed": 0, "top": 3}])
def test_other_options_cannot_continue_a_run(tmp_path: Path, other: dict[str, Any]) -> None:
    Workplace(tmp_path / "out").claim({"eta": 1.0, "seed": 0})
    differing = next(key for key in ("eta", "seed", "top") if other.get(key) != {"eta": 1.0, "seed": 0}.get(key))
    again = Workplace(tmp_path / "out", resume=True)
    with pytest.raises(ChangedError, match=differing):
        again.claim(other)
    again.leave()
    assert json.loads((tmp_path / "out.work" / "run.json").read_text()) == {
        "token": again.folder.name,
        "eta": 1.0,
        "seed": 0,
    }


def test_nothing_to_resume_means_a_fresh_start(tmp_path: Path) -> None:
    finished(Workplace(tmp_path / "out", resume=True))
    assert (tmp_path / "out").is_dir()


def test_a_run_that_failed_before_it_began_leaves_nothing(tmp_path: Path) -> None:
    Workplace(tmp_path / "out").leave()
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_failed_on_its_way_leaves_what_can_be_resumed(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "out")
    place.claim({})
    place.leave()
    assert place.work.is_dir()


def test_a_temporary_place_goes_with_a_failed_run() -> None:
    place = Workplace(None)
    place.claim({})
    assert place.temporary
    place.leave()
    assert not place.out.parent.exists()


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="nowhere"):
        Workplace(tmp_path / "nowhere" / "out")


def test_a_kill_while_a_result_is_replaced_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(Workplace(tmp_path / "out"), "old")
    replace, moved = os.replace, []

    def killed_after_one(*paths: Any) -> None:
        if Path(paths[0]).name in ("out", "result"):
            if moved:
                raise KeyboardInterrupt
            moved.append(paths)
        replace(*paths)

    place = Workplace(tmp_path / "out", overwrite=True)
    monkeypatch.setattr(os, "replace", killed_after_one)
    with pytest.raises(KeyboardInterrupt):
        finished(place, "new")
    monkeypatch.undo()
    place.leave()
    again = Workplace(tmp_path / "out", resume=True, overwrite=True)
    again.claim({"a": 1})
    again.publish(again.folder / "result")
    assert (tmp_path / "out" / "summary.json").read_text() == "new"


def test_work_whose_result_is_out_already_is_not_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its passes count as done, but what they wrote has been renamed away."""
    finished(Workplace(tmp_path / "out"), "old")
    place = Workplace(tmp_path / "out", overwrite=True)
    (place.folder / "scores").mkdir()
    monkeypatch.setattr(Workplace, "_remove_work", lambda self: self._release())
    finished(place, "new")
    monkeypatch.undo()
    assert (place.work / "run.json").exists()
    again = Workplace(tmp_path / "out", resume=True, overwrite=True)
    assert not any(again.folder.iterdir())
    assert (tmp_path / "out" / "summary.json").read_text() == "new"
    again.leave()


def test_a_work_directory_is_known_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = Workplace("out")
    assert (place.out, place.work) == (Path("out"), Path("out.work"))
    assert place.folder.parent == tmp_path / "out.work"
    place.leave()


# --- sizes and plans


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("8G", 8 << 30),
        ("512M", 512 << 20),
        ("1.5g", 3 << 29),
        ("2 GiB", 2 << 30),
        ("100KB", 100 << 10),
        ("1T", 1 << 40),
        (12345, 12345),
        (" 7 ", 7),
        ("9B", 9),
    ],
)
def test_sizes(text: str | int, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "G", "8X", "-1G", "0", "0.0G", "1e9", "8 G B", "nan", -5, "1,5G"])
def test_what_is_no_size_is_refused(text: str | int) -> None:
    with pytest.raises(OptionError, match="--memory"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (2048, "2 KB"), (3 << 20, "3 MB"), (5 << 29, "2.5 GB"), (3 << 41, "6,144 GB")],
)
def test_sizes_are_written_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text


@given(count=st.integers(1, 1 << 50))
def test_a_size_is_near_what_is_written(count: int) -> None:
    number, unit = format_bytes(count).replace(",", "").split()
    assert "e" not in number
    scale = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}[unit]
    assert abs(float(number) * scale - count) <= 0.006 * count


def test_a_plan_that_does_not_fit_names_step_sizes_and_remedy() -> None:
    from specscale.cost import Cost

    plan = Plan(10, 10, 4, 8, [Span(0, 0, 10)], priced(Cost("light", 1), Cost("heavy", 1 << 30)), 1 << 20, 1 << 29)
    with pytest.raises(PlanError, match=r"heavy.*--memory.*512 MB.*do this"):
        plan.check_memory("do this")
    assert plan.peak > (1 << 30) + (1 << 20)


def test_a_plan_that_does_not_fit_on_the_disk_is_refused(tmp_path: Path) -> None:
    from specscale.cost import Cost

    plan = Plan(10, 10, 4, 8, [Span(0, 0, 10)], priced(Cost("wide", 1, disk=1 << 60)), 0, 1 << 29)
    with pytest.raises(PlanError, match="disk"):
        plan.check_disk(tmp_path / "not" / "there" / "yet")
