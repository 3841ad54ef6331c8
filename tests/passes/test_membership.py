"""How like all rows are to cores: against dense kernels in float64, wherever rows are cut and whatever computes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cards import CardKernels, NastyKernels, at_once, card, recording_kernels
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import cosine_kernel, gaussian_kernel

from specscale import seeds
from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.rows import Match, PairedRows
from specscale.errors import InputError
from specscale.features.kernel import ExactKernel
from specscale.kernels.base import Kernels, load_kernels
from specscale.passes.base import FED_BLOCKS, Accumulator
from specscale.passes.membership import Core, membership, membership_cost
from specscale.passes.tallies import LIKENESS_EDGES, SIMILARITY_EDGES, Memberships
from specscale.runtime.checkpoints import load_arrays, save_arrays
from specscale.runtime.events import Event, RowsDone, silent
from specscale.runtime.local import LocalExecutor
from specscale.runtime.row_arrays import RowArray
from specscale.runtime.spans import Span
from specscale.runtime.sweeper import Sweeper
from specscale.runtime.threads import Threads

__all__ = ["card"]

pytestmark = pytest.mark.usefixtures("one_blas_thread")

TOP, SAMPLE, SEED = 6, 5, 3
Mask = NDArray[np.bool_]
Pair = tuple[NDArray[Any], NDArray[Any]]


class Kept(dict[int, NDArray[Any]]):
    """Rows that a pass writes, by the position of the first of a span."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def empty(self, rows: int) -> NDArray[Any]:
        return np.empty((rows, self.width), dtype=np.float32)

    def write(self, first: int, values: NDArray[Any]) -> None:
        self[first] = values.copy()

    def whole(self) -> NDArray[Any]:
        return np.concatenate([self[first] for first in sorted(self)])


def rows_of(pair: Pair, kept: Mask | None = None) -> PairedRows:
    return PairedRows(tuple(map(ArrayEmbedding, pair, "ab")), kept, Match("position", len(pair[0]), 0, 0))


def cores_of(pair: Pair, kept: Mask | None, *positions: NDArray[np.int64], level: float = 0.25) -> list[Core]:
    """Cores at some positions among the kept rows, of A's and B's in turn."""
    numbers = np.arange(len(pair[0])) if kept is None else np.flatnonzero(kept)
    return [
        Core(one, tuple(x[numbers[one]] for x in pair), 1 - 2 * (which % 2), 0.125 * which, level)
        for which, one in enumerate(positions)
    ]


Found = tuple[Memberships, NDArray[Any]]


def run(
    exact: tuple[ExactKernel, ...],
    pair: Pair,
    cores: list[Core],
    *,
    kernels: Kernels,
    kept: Mask | None = None,
    cuts: tuple[int, ...] = (),
    order: Callable[[int], int] = lambda pairs: 0,
) -> Found:
    """What the pass finds over spans cut at some rows, whose accumulators are combined in some order."""
    edges = sorted({0, *cuts, len(pair[0])})
    spans = [Span(index, *run) for index, run in enumerate(pairwise(edges))]
    likeness, parts = Kept(len(cores)), dict[int, Accumulator]()
    work = membership(exact, cores, eta=0.5, seed=SEED, top=TOP, sample=SAMPLE, likeness=likeness)

    def deliver(node: tuple[int, int], total: Accumulator) -> None:
        parts[node[1]] = total

    with closing(Threads(1)) as pool:
        Sweeper(kernels, pool).sweep(work, rows_of(pair, kept), spans, lambda more: None, deliver)
    ordered = [parts[index] for index in sorted(parts)]
    while len(ordered) > 1:
        at = order(len(ordered) - 1)
        work.combine(ordered[at], ordered.pop(at + 1))
    return work.finalize(ordered[0]), likeness.whole()


def dense(kernel_a: NDArray[Any], kernel_b: NDArray[Any], cores: list[Core]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Similarities (2, G, n) and likenesses (G, n) of the rows of whole kernel matrices."""
    similar = np.empty((2, len(cores), len(kernel_a)))
    for which, matrix in enumerate((kernel_a, kernel_b)):
        for place, core in enumerate(cores):
            for row in range(len(matrix)):
                others = core.positions[core.positions != row]
                similar[which, place, row] = matrix[row, others].sum() / max(len(others), 1)
    g = np.array([c.direction * (a - 0.5 * b) for c, a, b in zip(cores, *similar, strict=True)])
    return similar, (g - [[c.background] for c in cores]) / [[c.level] for c in cores]


def check(found: Memberships, z: NDArray[Any], similar: NDArray[Any], numbers: NDArray[np.int64]) -> None:
    """Hold what was found to what follows from the likenesses (G, n) and similarities of all rows that take part."""
    members, n = z >= 0.5, int(numbers[-1]) + 1
    halves, priorities = seeds.half_of(SEED, 0, n)[numbers], seeds.priorities(SEED, 0, n)[numbers]
    np.testing.assert_array_equal(found.sizes, np.stack([(members & ~halves).sum(1), (members & halves).sum(1)], 1))
    np.testing.assert_array_equal(found.shared, members.astype(int) @ members.T.astype(int))
    for core, member in enumerate(members):
        inside = np.clip(z[core], LIKENESS_EDGES[0], LIKENESS_EDGES[-1])
        np.testing.assert_array_equal(found.histogram[core], np.histogram(inside, LIKENESS_EDGES)[0])
        for which in range(2):
            counts = [np.histogram(similar[which, core][kind], SIMILARITY_EDGES)[0] for kind in (member, ~member)]
            np.testing.assert_array_equal(found.similarities[core, which], counts)
        for listed, kind in ((found.closest, member), (found.near, ~member)):
            best = np.lexsort((numbers, -z[core], ~kind))[: min(TOP, kind.sum())]
            none = TOP - len(best)
            np.testing.assert_array_equal(listed.rows[core], [*numbers[best], *[-1] * none])
            np.testing.assert_array_equal(listed.likeness[core], [*z[core][best], *[np.nan] * none])
        near = ~member & (z[core] >= 0.25)
        for drawn, kind in zip(
            (*found.drawn[core], found.drawn_near[core]), (member & ~halves, member & halves, near), strict=True
        ):
            best = np.lexsort((priorities, ~kind))[: min(SAMPLE, kind.sum())]
            np.testing.assert_array_equal(drawn, [*numbers[best], *[-1] * (SAMPLE - len(best))])


# --- numbers that are exact in every precision


def corners(n: int, seed: int) -> Pair:
    """Rows of ±1 in four and in sixteen dimensions, whose cosines are whole quarters and eighths."""
    generator = np.random.default_rng(seed)
    a, b = (generator.choice([-1.0, 1.0], size=(n, p)).astype(np.float32) for p in (4, 16))
    return a, b


COSINE = tuple(ExactKernel(np.zeros(p), True, None) for p in (4, 16))


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("runtime.sweeper", "passes.mapping", "passes.membership"):
        monkeypatch.setattr(f"specscale.{name}.BLOCK_ROWS", 16)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.slow
@given(data=st.data(), seed=st.integers(0, 99), n=st.integers(4, 60), masked=st.booleans())
def test_cuts_and_rows_that_take_no_part_do_not_matter(
    backend: str, data: st.DataObject, seed: int, n: int, masked: bool
) -> None:
    pair, kernels = corners(n, seed), load_kernels(backend)
    kept = None
    if masked:
        kept = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        kept[data.draw(st.permutations(range(n)))[:4]] = True
    numbers = np.arange(n) if kept is None else np.flatnonzero(kept)
    sizes, orders = st.sampled_from([1, 2, 4]), st.permutations(range(len(numbers)))
    positions = st.builds(lambda order, size: np.array(order[:size]), orders, sizes)
    cores = cores_of(pair, kept, *data.draw(st.lists(positions, min_size=1, max_size=3)))
    cuts = tuple(data.draw(st.lists(st.integers(0, n), max_size=5)))
    found, likeness = run(
        COSINE, pair, cores, kernels=kernels, kept=kept, cuts=cuts,
        order=lambda pairs: data.draw(st.integers(0, pairs - 1)),
    )  # fmt: skip
    similar, z = dense(*(np.round(16 * cosine_kernel(x[numbers])) / 16 for x in pair), cores)
    z = z.astype(np.float32)
    np.testing.assert_array_equal(likeness, z.T)
    check(found, z, similar, numbers)


# --- any numbers

KERNELS = ExactKernel(np.full(9, 0.1), False, 2.0), ExactKernel(np.zeros(7), True, 0.8)


def blobs(n: int, seed: int = 0) -> tuple[Pair, NDArray[np.int64]]:
    """Two embeddings in which different third parts of the rows are close to one another, and the parts."""
    generator = np.random.default_rng(seed)
    part = generator.integers(0, 3, n)
    a, b = (
        np.where((part == which)[:, None], 2 + 0.3 * generator.normal(size=(n, p)), generator.normal(size=(n, p)))
        for which, p in ((0, 9), (1, 7))
    )
    return (a.astype(np.float32), b.astype(np.float32)), part


def case(n: int, kept: Mask | None = None) -> tuple[Pair, list[Core], NDArray[np.int64]]:
    """Rows, two cores of A's with rows in common and one of B's, and the numbers of the rows that take part."""
    pair, part = blobs(n)
    numbers = np.arange(n) if kept is None else np.flatnonzero(kept)
    a, b = (np.flatnonzero(part[numbers] == which)[: n // 12] for which in range(2))
    return pair, cores_of(pair, kept, a, b, a[::2]), numbers


def dense_of(pair: Pair, cores: list[Core], numbers: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    a, b = (x[numbers].astype(np.float64) for x in pair)
    return dense(gaussian_kernel(a, 2.0), gaussian_kernel(b / np.linalg.norm(b, axis=1, keepdims=True), 0.8), cores)


@pytest.mark.parametrize("backend", ["reference", "cpu", "nasty"])
@pytest.mark.parametrize("masked", [False, True])
def test_the_numbers_are_those_of_dense_kernels(backend: str, masked: bool) -> None:
    n = 400
    kept = np.random.default_rng(1).random(n) < 0.7 if masked else None
    pair, cores, numbers = case(n, kept)
    similar, z = dense_of(pair, cores, numbers)
    kernels = NastyKernels() if backend == "nasty" else load_kernels(backend)
    found, likeness = run(KERNELS, pair, cores, kernels=kernels, kept=kept, cuts=(100, 250))
    np.testing.assert_allclose(likeness.T, z, atol=1e-5, rtol=0)
    clear = (np.abs(z - 0.5) > 1e-5).all(axis=1) & (np.abs(z - 0.25) > 1e-5).all(axis=1)
    assert clear.all()
    halves = seeds.half_of(SEED, 0, n)[numbers]
    for core, member in enumerate(z >= 0.5):
        assert 0 < member.sum() < len(numbers)
        assert found.sizes[core].tolist() == [(member & ~halves).sum(), (member & halves).sum()]
        assert set(found.closest.rows[core]) == set(numbers[np.argsort(np.where(member, -z[core], 9))[:TOP]])
        assert set(found.drawn[core].ravel()) <= {-1, *numbers[member]}
        np.testing.assert_allclose(
            found.similarities[core].sum(axis=2), np.tile([member.sum(), (~member).sum()], (2, 1))
        )
    if kernels.real is np.float64:
        check(found, likeness.T, similar, numbers)


def test_a_row_of_a_core_is_not_like_itself() -> None:
    pair, _ = blobs(64)
    alone, all_equal = np.array([5]), np.array([7, 8, 9])
    for x in pair:
        x[all_equal] = x[7]
    cores = cores_of(pair, None, alone, all_equal, level=1.0)
    found = run(KERNELS, pair, cores, kernels=load_kernels("cpu"))[1]
    assert found[5, 0] == 0
    np.testing.assert_allclose(found[all_equal, 1], 0.5 - 1 - 0.125, atol=1e-6)


def test_the_bits_are_the_same_on_any_number_of_threads_and_in_nodes_on_a_disk(tmp_path: Path) -> None:
    n = 3000
    pair, cores, _ = case(n)
    cores = [core for core in cores for _ in range(3)]
    kernels = load_kernels("cpu")
    edges = (0, 1024, 2048, n)
    spans = [Span(index, *ends) for index, ends in enumerate(pairwise(edges))]
    found, events = list[tuple[bytes, ...]](), list[Event]()
    for name, threads, patience in (("one", 1, 1e9), ("three", 3, 0.0), ("three", 1, 0.0)):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        likeness = RowArray(folder, edges, (len(cores),), "float32")
        work = membership(KERNELS, cores, eta=0.5, seed=SEED, top=TOP, sample=SAMPLE, likeness=likeness)
        events.clear()
        with closing(Threads(threads)) as pool:
            result = LocalExecutor(pool, patience, kernels).run(
                work, rows_of(pair), spans, folder / "work", events.append
            )
        arrays = (*vars(result.closest).values(), *vars(result.near).values(), likeness.read(0, n))
        counts = result.sizes, result.shared, result.histogram, result.similarities, result.drawn, result.drawn_near
        found.append(tuple(one.tobytes() for one in (*arrays, *counts)))
    assert not any(isinstance(event, RowsDone) for event in events)  # the nodes of the second were all there
    assert found[0] == found[1] == found[2]
    total = work.create(kernels)
    save_arrays(tmp_path / "node", total)
    read = load_arrays(tmp_path / "node")
    assert read is not None
    assert {name: (one.dtype, one.shape) for name, one in read.items()} == {
        name: (one.dtype, one.shape) for name, one in total.items()
    }


def test_a_row_that_cannot_be_used_is_named() -> None:
    pair, cores, _ = case(300)
    pair[1][200, 3] = np.nan
    with pytest.raises(InputError, match="row 200 of embedding B has a NaN"):
        run(KERNELS, pair, cores, kernels=load_kernels("cpu"), cuts=(150,))


# --- what it takes

BIG = 20_000


def big(cores: int, of: int, wide: bool = False) -> tuple[tuple[ExactKernel, ...], Pair, list[Core]]:
    generator = np.random.default_rng(0)
    pair = tuple(generator.normal(size=(BIG, p)).astype(np.float32) for p in (24, 8))
    exact = tuple(ExactKernel(np.zeros(x.shape[1]), False, 4.0, wide) for x in pair)
    return exact, pair, cores_of(pair, None, *(generator.choice(BIG, of, replace=False) for _ in range(cores)))


@pytest.mark.parametrize(("cores", "of", "top", "sample"), [(4, 50, 100, 100), (40, 8, 100, 1000), (3, 400, 10, 10)])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.slow
def test_it_takes_no_more_memory_than_it_says(
    tmp_path: Path, wide: bool, cores: int, of: int, top: int, sample: int
) -> None:
    exact, pair, given = big(cores, of, wide)
    spans = [Span(0, 0, 8192), Span(1, 8192, 16384), Span(2, 16384, BIG)]
    rows, kernels = rows_of(pair), load_kernels("cpu")
    read = sum(x.nbytes for x in pair)
    cost = membership_cost(
        [24, 8],
        cores=cores,
        rows_of_cores=cores * of,
        n_kept=BIG,
        read=read,
        threads=2,
        top=top,
        sample=sample,
        span_rows=8192,
    )
    with closing(Threads(2)) as pool:
        for place in ("warm", "measured"):
            folder = tmp_path / place
            folder.mkdir()
            likeness = RowArray(folder, (0, 8192, 16384, BIG), (cores,), "float32")
            work = membership(exact, given, eta=1.0, seed=0, top=top, sample=sample, likeness=likeness)
            tracemalloc.start()
            LocalExecutor(pool, 1e9, kernels).run(work, rows, spans, folder / "work", silent)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            pool.finish([kernels.release])
    blocks = rows.held_blocks(8192, 3) * 8192 * 4 * 32
    assert 0.2 * cost.memory < peak <= cost.memory + blocks
    assert cost.partial == sum(one.nbytes for one in work.create(kernels).values())
    assert cost.disk == likeness.read(0, BIG).nbytes


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("cores", "of"), [(4, 50), (40, 8), (3, 2000)])
@pytest.mark.slow
def test_it_takes_no_more_of_a_card_than_it_says(card: type[CardKernels], cores: int, of: int, wide: bool) -> None:
    exact, pair, given = big(cores, of, wide)
    cost = membership_cost(
        [24, 8], cores=cores, rows_of_cores=cores * of, n_kept=BIG, read=0, threads=1, top=9, sample=9
    )
    fed = FED_BLOCKS * 8192 * 4 * 32
    run(exact, pair, given, kernels=CardKernels(), cuts=(8192, 16384))
    assert card.peak <= cost.device_memory + fed
    if cores * of < 1000:
        kernels = recording_kernels(at_once)
        run(exact, pair, given, kernels=kernels, cuts=(8192, 16384))
        assert 0.2 * cost.device_memory < kernels.peak_memory() <= cost.device_memory + fed
