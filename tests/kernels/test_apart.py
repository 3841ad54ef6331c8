"""The memory of a card: what is put, fed and fetched is what it was then, in whatever order a card works."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest
from emulation.building import COMPILER
from emulation.queues import Order, at_once, drawn, late, shuffled
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from recording import RecordingDevice, rounded

from specscale.errors import OutOfMemory
from specscale.kernels import apart, staging
from specscale.kernels.base import load_kernels
from specscale.kernels.gpu import GpuKernels

ORDERS = st.lists(st.integers(0, 5), min_size=1, max_size=20).map(drawn) | st.sampled_from([late, at_once])
emulating = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler here")


def kernels(order: Order = late, memory: int = 1 << 24) -> GpuKernels:
    return GpuKernels(RecordingDevice(order, {}, memory))


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pinned(card: GpuKernels, values: NDArray[Any]) -> NDArray[Any]:
    host = card.pinned(values.shape, values.dtype)
    host[...] = values
    return host


@given(order=ORDERS, sizes=st.lists(st.integers(0, 90), min_size=1, max_size=6))
def test_what_is_put_may_be_overwritten(order: Order, sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "_PUT", 64)
        patch.setattr(staging, "_PUTS", 3)
        card = kernels(order)
        given = [normal(size, seed=size) for size in sizes]
        there = []
        for array in given:
            host = array.copy()
            there.append(card.put(host))
            host.fill(np.nan)
        for array, found in zip(given, there, strict=True):
            np.testing.assert_array_equal(card.get(found), array)


@given(order=ORDERS, shape=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_what_is_fetched_for_the_last_time_comes_in_pieces(order: Order, shape: tuple[int, int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "_LANDED", 64)
        card = kernels(order)
        total, other = card.put(normal(*shape)), card.put(normal(*shape, seed=1))
        total += other
        first = card.fetch(total, last=True)
        second = card.fetch(other, last=True)
        other = card.zeros(shape, np.float32)  # has no memory of theirs
        np.testing.assert_array_equal(second(), normal(*shape, seed=1))
        np.testing.assert_array_equal(first(), normal(*shape) + normal(*shape, seed=1))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (4, 5), (2, 0, 3), (2, 3, 4)])
def test_what_is_put_keeps_its_shape_and_type(dtype: str, shape: tuple[int, ...]) -> None:
    card, array = kernels(), np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    for one in (array, np.asfortranarray(array)):
        found = card.get(card.put(one))
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@given(order=ORDERS, seed=st.integers(0, 9))
def test_rows_are_fed_beside_work_that_still_needs_their_memory(order: Order, seed: int) -> None:
    card = kernels(order)
    weights, out = card.put(normal(5, 3)), card.zeros((4, 8, 3), np.float32)
    blocks = [normal(8, 5, seed=seed + i) for i in range(4)]
    host = card.pinned((8, 5), np.float32)
    for i, block in enumerate(blocks):
        host[...] = block
        rows = card.feed(host)
        host.fill(np.nan)
        card.project(rows, weights, out[i])
        del rows  # whose memory is the next block's
    expected = np.stack([block @ normal(5, 3) for block in blocks])
    np.testing.assert_allclose(card.get(out), expected, rtol=1e-5, atol=1e-5)


@given(order=ORDERS, counts=st.lists(st.integers(0, 8), min_size=1, max_size=8), ring=st.integers(1, 3))
def test_rows_are_fed_into_the_memory_of_rows_that_are_spent(order: Order, counts: list[int], ring: int) -> None:
    card = kernels(order)
    weights, out = card.put(normal(5, 3)), card.zeros((len(counts), 8, 3), np.float32)
    blocks = [normal(8, 5, seed=seed)[:count] for seed, count in enumerate(counts)]
    host, fed = card.pinned((8, 5), np.float32), deque[Any]()
    for i, block in enumerate(blocks):
        rows = host[: len(block)]
        rows[...] = block
        fed.append(card.feed(rows))
        host.fill(np.nan)
        card.project(fed[-1], weights, out[i, : len(block)])
        if len(fed) == ring:
            card.spent(fed.popleft())
    for block, found in zip(blocks, card.get(out), strict=True):
        np.testing.assert_allclose(found[: len(block)], block @ normal(5, 3), rtol=1e-5, atol=1e-5)


def test_the_memory_of_rows_that_are_spent_is_taken_again_as_far_as_it_reaches() -> None:
    card = kernels()
    host = pinned(card, normal(8, 5))
    first, other = card.feed(host), card.feed(host)
    before = card.free_memory()
    card.spent(first)
    for rows in (8, 3, 8):
        card.spent(card.feed(host[:rows]))
        assert card.free_memory() == before
    card.spent(other)
    del first, other
    assert card.free_memory() == before
    card.release()
    assert card.free_memory() > before


def test_no_rows_are_fed() -> None:
    card = kernels()
    assert card.feed(card.pinned((0, 5), np.float16)).shape == (0, 5)


@given(order=ORDERS)
def test_what_is_fetched_is_what_it_was_when_it_was_asked_for(order: Order) -> None:
    card = kernels(order)
    array = card.zeros((6, 7), np.float32)
    ones = card.put(np.ones((6, 7), dtype=np.float32))
    fetched = []
    for _ in range(4):
        fetched += [card.fetch(array), card.fetch(array[1:, 2:4]), card.fetch(array[:, 3])]
        array += ones
    for round_, index in ((3, 9), (0, 0), (2, 6), (1, 3)):
        for one, shape in zip(fetched[index : index + 3], ((6, 7), (5, 2), (6,)), strict=True):
            np.testing.assert_array_equal(one(), np.full(shape, round_))


@given(order=ORDERS)
def test_what_is_fetched_last_comes_beside_work_on_other_memory(order: Order) -> None:
    card, given = kernels(order), [normal(6, 7, seed=seed) for seed in range(4)]
    fetched, others = [], []
    for one in given:
        array = card.put(one)
        array += card.put(one)
        fetched.append(card.fetch(array, last=True))
        del array  # whose memory is not yet the next one's
        others.append(card.zeros((6, 7), np.float32))
        rows = card.feed(pinned(card, one))
        others[-1] += rows
    for one, found, other in zip(given, fetched, others, strict=True):
        np.testing.assert_array_equal(found(), 2 * one)
        np.testing.assert_array_equal(card.get(other), one)


def test_memory_that_was_fetched_into_is_taken_again_once_nobody_holds_it() -> None:
    card = kernels()
    array = card.put(normal(6, 7))
    first = card.fetch(array)()
    held, address = first[2:, 1], first.ctypes.data
    del first
    second = card.fetch(array)()
    assert second.ctypes.data != address
    np.testing.assert_array_equal(held, normal(6, 7)[2:, 1])
    del held
    assert card.fetch(array)().ctypes.data == address
    card.release()
    np.testing.assert_array_equal(second, normal(6, 7))


def test_what_is_fetched_from_the_host_is_a_copy() -> None:
    card, array = kernels(), np.ones(3)
    assert card.get(array) is array
    fetched = card.fetch(array)
    array[:] = 7
    np.testing.assert_array_equal(fetched(), 1)


def test_nothing_is_fetched_of_nothing() -> None:
    card = kernels()
    assert card.get(card.zeros((0, 3), np.float64)).shape == (0, 3)


def test_scratch_is_the_same_memory_as_far_as_it_reaches() -> None:
    card = kernels()
    first = card.scratch("values", (4, 5), np.float32)
    first.fill(3)
    np.testing.assert_array_equal(card.get(card.scratch("values", (2, 3), np.float32)), 3)
    other = card.scratch("values", (2, 3), np.float64)
    other.fill(5)
    np.testing.assert_array_equal(card.get(first), 3)
    before = card.free_memory()
    assert card.scratch("values", (5, 5), np.float32).shape == (5, 5)
    del first, other
    assert card.free_memory() >= before - 200
    card.release()
    assert card.free_memory() > before


def test_too_little_memory_is_told_and_leaves_the_rest_as_it_is() -> None:
    card = kernels(memory=1 << 16)
    kept = card.put(normal(100))
    for ask in (
        lambda: card.scratch("values", (1 << 14,), np.float64),
        lambda: card.zeros((1 << 14,), np.float64),
        lambda: card.put(np.ones(1 << 14)),
        lambda: card.feed(card.pinned((1 << 14,), np.float64)),
    ):
        with pytest.raises(OutOfMemory):
            ask()
    np.testing.assert_array_equal(card.get(kept), normal(100))
    assert card.scratch("values", (16,), np.float64).shape == (16,)


def test_tasks_are_asked_for_in_their_order_from_one_thread() -> None:
    done: list[int] = []
    lists: list[int] = []

    def run(tasks: Any) -> None:
        lists.append(len(tasks))
        for task in tasks:
            task()

    kernels().run([lambda i=i: done.append(i) for i in range(5)], run)  # type: ignore[misc]
    assert done == [0, 1, 2, 3, 4]
    assert lists == [1]


def test_a_card_is_measured_by_what_it_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_CALIBRATED", 16)
    monkeypatch.setattr(apart, "_SECONDS", 0.001)
    card = kernels(at_once)
    counted: list[int] = []
    monkeypatch.setattr(card.device, "multiply", lambda left, right, out: counted.append(len(left)))
    rate = card.calibrate(2, lambda tasks: None)
    assert len(counted) >= 2
    assert 0 < rate < np.inf


def test_it_travels_as_its_name() -> None:
    assert kernels().__reduce__() == (load_kernels, ("cuda",))
    assert kernels().host.name == "cpu"


# --- precisions


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if some products had been found to bear tensor cores."""
    found = {"tf32": frozenset({"covariance"}), "3xtf32": frozenset({"covariance", "map"})}
    monkeypatch.setattr("specscale.kernels.precision.MEASURED", found)


def asking(precision: Any, order: Order) -> GpuKernels:
    """A backend that is asked for a precision."""
    return GpuKernels(RecordingDevice(order), precision)


@emulating
@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("asked", ["float32", "tf32", "3xtf32"])
@pytest.mark.parametrize("product", ["covariance", "map", "scores"])
def test_a_product_is_in_the_precision_that_it_bears(asked: Any, product: Any) -> None:
    card = asking(asked, shuffled(3))
    bearing = card.bearing(product)
    x, w = normal(33, 40), normal(40, 7, seed=1)
    out = card.empty((33, 7), np.float32)
    bearing.project(card.put(x), card.put(w), out)
    exact = x.astype(np.float64) @ w
    wrong = np.abs(card.get(out) - exact).max()
    by_tensor_cores = np.abs(rounded(x).astype(np.float64) @ rounded(w) - exact).max()
    bears = {"tf32": {"covariance"}, "3xtf32": {"covariance", "map"}}.get(asked, set())
    assert wrong < 1e-5 or (asked == "tf32" and product in bears)
    assert (wrong > by_tensor_cores / 2) == (asked == "tf32" and product in bears)
    assert vars(bearing.bearing("scores").bearing(product)) == vars(bearing)


@emulating
@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("asked", ["tf32", "3xtf32"])
def test_tiles_too(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specscale.kernels.precision.RUN", 13)
    card = asking(asked, shuffled(5))
    block = normal(50, 21)
    exact = block.astype(np.float64).T @ block
    columns, total = card.put(block), card.zeros((21, 21), np.float64)
    card.bearing("covariance").gram_tile(columns, columns, card.empty((21, 21), np.float32), total)
    wrong = np.tril(card.get(total) - exact)
    assert np.abs(wrong).max() < (2e-5 if asked == "3xtf32" else 0.1)
    assert (np.triu(card.get(total), 1) == 0).all()
