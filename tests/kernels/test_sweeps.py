"""Sweeps on a backend that is apart: who waits for it, what it holds at once, and what is done where it has no more."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import _nasty
import numpy as np
import pytest
from numpy.typing import NDArray

from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.rows import Block, Match, PairedRows
from specscale.errors import InputError, OutOfMemory
from specscale.features.fourier import FourierMap
from specscale.features.kernel import Affine, ExactKernel
from specscale.features.landmarks import LandmarkMap
from specscale.features.linear import LinearMap
from specscale.kernels.base import Kernels, load_kernels
from specscale.passes.base import Accumulator, Pass, at_once
from specscale.passes.covariance import covariance
from specscale.passes.membership import Core, membership
from specscale.passes.products import Held, products
from specscale.passes.remainders import Remainders, remainders
from specscale.passes.scores import MappedScores, score
from specscale.runtime.spans import Span
from specscale.runtime.stages import Stages
from specscale.runtime.sweeper import Sweeper
from specscale.runtime.threads import Threads

pytestmark = pytest.mark.usefixtures("one_blas_thread", "_small_blocks")

BLOCK, N = 64, 450
SPANS = [Span(0, 0, 128), Span(1, 128, 256), Span(2, 256, 384), Span(3, 384, N)]
GENERATOR = np.random.default_rng(0)
X, Y = (GENERATOR.normal(size=(N, 5)).astype(np.float32) for _ in range(2))
WHERE = np.random.default_rng(1).random(N) < 0.8

Swept = list[tuple[int, dict[str, bytes]]]


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "runtime.sweeper",
        "passes.mapping",
        "passes.scores",
        "passes.products",
        "passes.remainders",
        "passes.membership",
    ):
        monkeypatch.setattr(f"specscale.{name}.BLOCK_ROWS", BLOCK)


def rows_of(*arrays: NDArray[Any], kept: NDArray[np.bool_] | None = WHERE) -> PairedRows:
    embeddings = tuple(ArrayEmbedding(one, name) for one, name in zip(arrays, "ab", strict=False))
    return PairedRows(embeddings, kept, Match("position", len(arrays[0]), 0, 0))


def landmark_maps() -> tuple[LandmarkMap, ...]:
    numbers = np.arange(0, N, 30)
    return tuple(LandmarkMap.of(ExactKernel(np.zeros(5), False, 2.0), numbers, x[numbers]) for x in (X, Y))


class Outputs:
    """Rows that a pass writes."""

    def __init__(self) -> None:
        self.written: dict[int, bytes] = {}
        self.shape: tuple[int, ...] = 2, 3

    def empty(self, rows: int) -> NDArray[Any]:
        return np.empty((rows, *self.shape))

    def write(self, first: int, values: NDArray[Any]) -> None:
        self.written[first] = values.tobytes()


class Anchors(Held):
    """Anchors by whose vectors the rows that pass by are multiplied."""

    def vectors(self) -> Any:
        return np.random.default_rng(3).normal(size=(40, 3))


def of_covariance(written: dict[int, bytes]) -> Pass[Any]:
    return covariance((FourierMap(5, 20, 2.0, 0, False, np.zeros(5), False), *landmark_maps()[1:]))


def of_scores(written: dict[int, bytes]) -> Pass[Any]:
    maps = landmark_maps()
    coefficients = np.random.default_rng(2).normal(size=(sum(one.dim for one in maps), 3))

    def write(start: int, scores: NDArray[Any]) -> None:
        written[start] = scores.tobytes()

    work = score(MappedScores(maps, coefficients, N), np.eye(3), n=N, top=4, chunk_rows=128, write=write)
    return at_once(work, remainders(Remainders.of(maps), 5, 0))


def of_products(written: dict[int, bytes]) -> Pass[Any]:
    outputs = Outputs()
    outputs.written = written
    exact = tuple(ExactKernel(np.zeros(5), False, sigma) for sigma in (2.0, 3.0))
    vectors = np.random.default_rng(4).normal(size=(int(WHERE.sum()), 3))

    def at(block: Block) -> NDArray[Any]:
        return vectors[block.offset : block.offset + len(block.raw[0])]

    return products("products", exact, Anchors((X[:40], Y[:40])), at, 3, N, outputs, "exact")


def of_membership(written: dict[int, bytes]) -> Pass[Any]:
    outputs = Outputs()
    outputs.written, outputs.shape = written, (2,)
    exact = tuple(ExactKernel(np.zeros(5), False, sigma) for sigma in (2.0, 3.0))
    positions = np.flatnonzero(WHERE)
    cores = [
        Core(one, (X[positions[one]], Y[positions[one]]), direction, 0.0, 0.1)
        for one, direction in ((np.arange(30), 1), (np.arange(20, 300, 9), -1))
    ]
    return membership(exact, cores, eta=1.0, seed=0, top=4, sample=3, likeness=outputs)


PASSES = {
    "covariance": of_covariance,
    "scores": of_scores,
    "products": of_products,
    "membership": of_membership,
}
passes = pytest.mark.parametrize("name", PASSES)


def swept(kernels: Kernels, work: Pass[Any], rows: PairedRows | None = None) -> tuple[Swept, list[int], list[str]]:
    """What each span comes to, what was said of rows that were added, and warnings."""
    found: Swept = []
    added: list[int] = []
    warned: list[str] = []

    def deliver(node: tuple[int, int], total: Accumulator) -> None:
        level, span = node
        assert level == 0
        assert all(isinstance(array, np.ndarray) for array in total.values())
        found.append((span, {name: array.tobytes() for name, array in total.items()}))

    with closing(Threads(2)) as threads:
        sweeper = Sweeper(kernels, threads)
        sweeper.sweep(work, rows or rows_of(X, Y), SPANS, added.append, deliver, warned.append, patience=0.0)
    return found, added, warned


def expected(name: str) -> tuple[Swept, dict[int, bytes]]:
    written: dict[int, bytes] = {}
    found, added, warned = swept(load_kernels("reference"), PASSES[name](written))
    assert [index for index, _ in found] == [0, 1, 2, 3]
    assert sum(added) == N
    assert warned == []
    return found, written


@passes
def test_who_asks_for_work_never_waits_for_it(name: str) -> None:
    kernels, written = _nasty.NastyKernels(), dict[int, bytes]()
    found, added, _ = swept(kernels, PASSES[name](written))
    assert (found, written) == expected(name)
    assert sum(added) == N
    assert kernels.device.waited <= {"specscale-looker", "specscale-deliverer"}
    assert "specscale-deliverer" in kernels.device.waited or name == "membership"


def test_products_are_asked_for_under_their_names() -> None:
    kernels, large = _nasty.NastyKernels(), {"fourier", "gaussian", "gram_tile", "project"}
    for of_pass in PASSES.values():
        swept(kernels, of_pass({}))
    assert {(product, name) for product, name in kernels.device.asked if name in large} == {
        ("landmarks", "gaussian"),
        (None, "gaussian"),  # of rows that are drawn for a certificate
        ("map", "fourier"),
        ("map", "project"),
        ("covariance", "gram_tile"),
        ("scores", "project"),
        (None, "project"),  # what Λ makes of the scores
        ("exact", "gaussian"),
        ("exact", "project"),
    }
    certificate = _nasty.NastyKernels()
    exact = (ExactKernel(np.zeros(5), True, None),)
    work = products("c", exact, Held((X[:7],)), lambda block: np.ones((len(block.raw[0]), 2)), 2, N)
    swept(certificate, work, rows_of(X))
    assert {product for product, _ in certificate.device.asked} == {None}


def test_a_device_holds_two_accumulators_at_most() -> None:
    work, kernels = of_covariance({}), _nasty.NastyKernels()
    alive: list[weakref.ref[Any]] = []
    most = 0

    def create(kernels: Kernels) -> Accumulator:
        nonlocal most
        total = work.create(kernels)
        alive.append(weakref.ref(total["gram"]._held))
        most = max(most, sum(one() is not None for one in alive))
        return total

    swept(kernels, replace(work, create=create))
    assert len(alive) == len(SPANS)
    assert most == 2


# --- too little memory


class Short(_nasty.NastyKernels):
    """A device that has no memory when it is asked for some for the `fails`-th time, and the times after it."""

    def __init__(self, fails: int, times: int = 1) -> None:
        super().__init__()
        self.asked, self._fails = 0, range(fails, fails + times)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return self._had(super().empty, shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return self._had(super().zeros, shape, dtype)

    def put(self, array: NDArray[Any]) -> Any:
        return self._had(super().put, array)

    def _had(self, make: Callable[..., Any], *arguments: Any) -> Any:
        self.asked += 1
        if self.asked - 1 in self._fails:
            raise OutOfMemory("no memory: choose a smaller --size")
        return make(*arguments)


@pytest.mark.slow
@passes
@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9])
def test_where_memory_is_short_less_is_taken_and_the_bits_are_the_same(name: str, share: float) -> None:
    plenty = Short(-1, 0)
    assert swept(plenty, PASSES[name]({}))[2] == []
    fails, written = int(share * plenty.asked), dict[int, bytes]()
    found, added, warned = swept(Short(fails), PASSES[name](written))
    assert (found, written) == expected(name)
    assert sum(added) == N
    (line,) = warned
    assert "little memory" in line
    assert "\n" not in line


@passes
def test_spans_that_are_done_stay_done(name: str) -> None:
    plenty = Short(-1, 0)
    swept(plenty, PASSES[name]({}))
    written: dict[int, bytes] = {}
    found, added, warned = swept(Short(plenty.asked - 3), PASSES[name](written))
    assert (found, written) == expected(name)
    assert len(warned) == 1
    assert -sum(more for more in added if more < 0) <= 2 * 128  # what was under way, of which one was on its way here


def test_no_memory_for_a_single_block_is_told_with_the_remedy() -> None:
    for first in (0, 20):
        warned: list[str] = []
        with closing(Threads(1)) as threads, pytest.raises(OutOfMemory, match="a smaller --size"):
            Sweeper(Short(first, 10_000), threads).sweep(
                of_covariance({}), rows_of(X, Y), SPANS, lambda more: None, lambda *span: None, warned.append
            )
        assert len(warned) == 1


class Small(_nasty.NastyKernels):
    """A device whose free memory is a matter of the test."""

    free = 0

    def free_memory(self) -> int:
        return self.free


@pytest.mark.parametrize(("free", "ready"), [(0, 1), (4 * BLOCK * 40 * 3, 3), (1 << 40, 4)])
def test_as_many_blocks_wait_as_free_memory_has_room_for(
    monkeypatch: pytest.MonkeyPatch, free: int, ready: int
) -> None:
    asked: list[int] = []
    ahead = Stages.ahead

    def counted(self: Stages, name: str, items: Any, ready: int = 1) -> Any:
        if name == "specscale-feeder":
            asked.append(ready)
        return ahead(self, name, items, ready)

    monkeypatch.setattr(Stages, "ahead", counted)
    kernels = Small()
    kernels.free = free
    swept(kernels, of_covariance({}))
    assert asked == [ready]


# --- bad rows


@pytest.mark.parametrize("backend", ["reference", "nasty"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.nan, "row 200 of embedding B has a NaN"),
        (0.5, "row 200 of embedding B is the mean that --normalize takes off"),
    ],
)
def test_a_row_that_cannot_be_used_is_told_apart_when_its_memory_is_anothers(
    backend: str, value: float, said: str
) -> None:
    kernels = _nasty.NastyKernels() if backend == "nasty" else load_kernels(backend)
    bad = Y.copy()
    bad[200] = value
    shifted = LinearMap(5, Affine(np.full(5, 0.5), np.ones(5)))
    found: list[tuple[int, int]] = []
    with closing(Threads(2)) as threads, pytest.raises(InputError, match=said):
        Sweeper(kernels, threads).sweep(
            covariance((shifted, shifted)),
            rows_of(X, bad, kept=None),
            SPANS,
            lambda more: None,
            lambda node, total: found.append(node),
            patience=0.0,
        )
    assert found == [(0, 0)]
