"""The device of the tests is as nasty as a card may be, and no nastier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulation.queues import Order, at_once, drawn, late, shuffled
from hypothesis import given
from hypothesis import strategies as st
from recording import RecordingDevice, rounded

from specscale.errors import OutOfMemory

FLOAT = np.float32
ORDERS = st.lists(st.integers(0, 5), min_size=1, max_size=20).map(drawn)


def device(order: Order = late, memory: int = 1 << 20) -> RecordingDevice:
    return RecordingDevice(order, {}, memory)


def sent(card: RecordingDevice, values: Any, queue: Any = "compute") -> Any:
    host = card.pinned(np.shape(values), FLOAT)
    host[...] = values
    target = card.empty(host.shape, FLOAT)
    if queue == "copy":
        card.after("copy", card.record("compute"))
    card.upload(queue, host, target)
    card.wait(card.record(queue))
    return target


def got(card: RecordingDevice, array: Any) -> Any:
    host = card.pinned(array.shape, array.dtype)
    card.download("compute", array, host)
    card.wait(card.record("compute"))
    return host.copy()


def test_nothing_is_done_before_it_is_waited_for() -> None:
    card = device()
    host, back = card.pinned((3,), FLOAT), card.pinned((3,), FLOAT)
    host[...] = 1
    x = card.empty((3,), FLOAT)
    card.upload("compute", host, x)
    host[...] = 2
    card.download("compute", x, back)
    done = card.record("compute")
    x.fill(7)
    host[...] = 3
    assert np.isnan(back).all()
    card.wait(done)
    assert (back == 3).all()
    assert (got(card, x) == 7).all()


def test_a_queue_does_not_wait_for_the_other() -> None:
    card = device()
    x = sent(card, [1.0])
    x.fill(2)
    back = card.pinned((1,), FLOAT)
    card.download("copy", x, back)
    card.wait(card.record("copy"))
    assert back[0] == 1
    card.after("copy", card.record("compute"))
    card.download("copy", x, back)
    card.wait(card.record("copy"))
    assert back[0] == 2


@given(order=ORDERS)
def test_events_are_kept_in_any_order(order: Order) -> None:
    card = device(order)
    x, y = sent(card, [1.0, 2.0]), sent(card, [0.0, 0.0])
    for step in range(4):
        x += x
        card.after("copy", card.record("compute"))
        host = card.pinned((2,), FLOAT)
        card.download("copy", x, host)
        copied = card.record("copy")
        card.after("compute", copied)
        x *= x
        card.wait(copied)
        assert (host == host).all(), step
        y += sent(card, host, "copy")
    assert got(card, y).tolist() == _expected()


def _expected() -> list[float]:
    x, y = np.array([1.0, 2.0], FLOAT), np.zeros(2, FLOAT)
    for _ in range(4):
        x += x
        y += x
        x *= x
    return y.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("order", [at_once, late, shuffled(1)])
def test_memory_is_given_out_again_at_once_and_holds_poison(order: Order) -> None:
    card = device(order)
    first = sent(card, np.ones(1000))
    address = first._held.ctypes.data
    del first
    second = card.empty((990,), FLOAT)
    assert second._held.ctypes.data == address
    assert np.isnan(got(card, second)).all()
    assert (got(card, card.zeros((990,), FLOAT)) == 0).all()


def test_a_slice_keeps_its_memory() -> None:
    card = device()
    part = sent(card, np.ones(1000))[10:20]
    other = sent(card, np.zeros(1000))
    assert (got(card, part) == 1).all()
    assert len(other) == 1000


def test_who_copies_into_memory_that_work_still_needs_spoils_it() -> None:
    for waits in (True, False):
        card = device()
        old, total = sent(card, np.ones(1000)), card.zeros((1000,), FLOAT)
        total += old
        del old
        host = card.pinned((1000,), FLOAT)
        host[...] = 5
        new = card.empty((1000,), FLOAT)
        if waits:
            card.after("copy", card.record("compute"))
        card.upload("copy", host, new)
        card.wait(card.record("copy"))
        assert (got(card, total) == 1).all() == waits
        assert (got(card, new) == 5).all() == waits


def test_pinned_memory_too_is_given_out_again_at_once() -> None:
    card = device()
    x = card.empty((1000,), FLOAT)
    host = card.pinned((1000,), FLOAT)
    host[...] = 1
    kept = host[5:]
    address = host.ctypes.data
    del host
    assert card.pinned((1000,), FLOAT).ctypes.data != address  # a view keeps it
    del kept
    host = card.pinned((1000,), FLOAT)
    assert host.ctypes.data == address
    host[...] = 1
    card.upload("compute", host, x)
    del host
    card.pinned((1000,), FLOAT)[...] = 3
    assert (got(card, x) != 1).all()  # nobody waited for the copy


def test_there_is_an_end_to_memory() -> None:
    card = device(memory=10_000)
    held = [card.empty((1000,), FLOAT) for _ in range(2)]
    with pytest.raises(OutOfMemory, match="2000 bytes left, and 4000 are needed"):
        card.empty((1000,), FLOAT)
    assert (card.free_memory(), card.total_memory(), card.peak_memory()) == (2000, 10_000, 8000)
    held.pop()
    assert (card.free_memory(), card.peak_memory()) == (6000, 8000)
    card.release()
    assert card.peak_memory() == 4000
    card.empty((1000,), FLOAT)


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_products_are_those_of_what_lies_there(tensor: bool, turned: bool) -> None:
    card = device()
    a, b = (np.random.default_rng(seed).normal(size=(20, 20)).astype(FLOAT) for seed in range(2))
    x, y, out = sent(card, a), sent(card, b), card.zeros((9, 20), FLOAT)
    left = x[:, 3:10].T if turned else x[:7, 1:20]
    right = y[:, 2:14] if turned else y[:19, :12]
    card.multiply(left, right, out[1:8, 4:16], tensor)
    found, (a, b) = got(card, out), (rounded(a), rounded(b)) if tensor else (a, b)
    exact = a[:, 3:10].T @ b[:, 2:14] if turned else a[:7, 1:20] @ b[:19, :12]
    np.testing.assert_allclose(found[1:8, 4:16], exact, atol=1e-5)
    found[1:8, 4:16] = 0
    assert (found == 0).all()


def test_of_a_square_nothing_is_there_above_the_diagonal() -> None:
    card = device()
    block = np.random.default_rng(0).normal(size=(20, 20)).astype(FLOAT)
    out = card.zeros((9, 20), FLOAT)
    card.square(sent(card, block)[:, 3:10], out[1:8, 4:11])
    found, lower = got(card, out), np.tril(np.ones((7, 7), dtype=bool))
    np.testing.assert_allclose(found[1:8, 4:11][lower], (block[:, 3:10].T @ block[:, 3:10])[lower], atol=1e-5)
    assert np.isnan(found[1:8, 4:11][~lower]).all()
    found[1:8, 4:11] = 0
    assert (found == 0).all()


def test_tensor_cores_take_ten_bits() -> None:
    step = FLOAT(2.0**-10)
    given = np.array([1, 1 + step, 1 + step / 2, 1 + 0.49 * step, -1 - step / 2, 3e38, np.inf, -np.inf], FLOAT)
    expected = np.array([1, 1 + step, 1 + step, 1, -1 - step, rounded(given[5:6])[0], np.inf, -np.inf], FLOAT)
    np.testing.assert_array_equal(rounded(given), expected)
    assert abs(rounded(given[5:6])[0] / 3e38 - 1) < 2**-11
    assert np.isnan(rounded(np.array([np.nan], FLOAT))).all()


@pytest.mark.parametrize(
    "touch",
    [
        lambda card, x: card.multiply(x, x, x),
        lambda card, x: card.multiply(x[:, ::2], x[:2], card.empty((4, 4), FLOAT)),
        lambda card, x: card.multiply(x, card.empty((4, 4), np.float64), card.empty((4, 4), np.float64)),
        lambda card, x: card.multiply(x, x[:3], card.empty((4, 4), FLOAT)),
        lambda card, x: card.square(x, x),
        lambda card, x: card.square(x, card.empty((4, 3), FLOAT)),
        lambda card, x: card.square(x[:, ::2], card.empty((2, 2), FLOAT)),
        lambda card, x: card.square(x, card.empty((4, 8), FLOAT)[:, ::2]),
        lambda card, x: card.upload("copy", np.zeros((4, 4), FLOAT), x),
        lambda card, x: card.upload("copy", card.pinned((4, 3), FLOAT), x),
        lambda card, x: card.upload("copy", card.pinned((4, 4), np.int32), x),
        lambda card, x: card.download("copy", x.T, card.pinned((4, 4), FLOAT)),
        lambda card, x: card.download("copy", device().empty((4, 4), FLOAT), card.pinned((4, 4), FLOAT)),
        lambda card, x: np.asarray(x),
    ],
)
def test_what_no_card_does_is_refused(touch: Callable[..., Any]) -> None:
    card = device()
    with pytest.raises((TypeError, ValueError)):
        touch(card, sent(card, np.ones((4, 4))))
