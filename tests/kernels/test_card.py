"""Host memory that a card copies from and to: lent again when nobody holds it, and not before it is copied."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from specscale.errors import OutOfMemory
from specscale.kernels.card import Card


class CudaError(RuntimeError):
    status = 2


class Pinned:
    """Memory that is not pinned, counted."""

    made = 0

    def __init__(self, size: int, flags: int) -> None:
        if size > 1 << 30:
            raise CudaError("out of memory")
        self.held = ctypes.create_string_buffer(size)
        self.ptr, self.size = ctypes.addressof(self.held), size
        type(self).made += 1


def pointer(memory: Any, offset: int) -> Any:
    """A buffer at an address that keeps what the address is in."""
    buffer = (ctypes.c_byte * memory.size).from_address(memory.ptr + offset)
    buffer.memory = memory
    return buffer


class Stream:
    ptr = 0

    def __init__(self) -> None:
        self.events: list[Any] = []

    def record(self, event: Any) -> Any:
        self.events.append(event)
        return event


class Array(np.ndarray):  # type: ignore[type-arg]
    @property
    def data(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(ptr=self.ctypes.data)


@pytest.fixture
def copies() -> list[tuple[int, int, int]]:
    return []


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, copies: list[tuple[int, int, int]]) -> Card:
    runtime = SimpleNamespace(
        CUDARuntimeError=CudaError,
        hostAllocPortable=1,
        memcpyHostToDevice=1,
        memcpyDeviceToHost=2,
        memcpyAsync=lambda to, at, size, kind, stream: copies.append((to, at, size)),
        deviceSynchronize=lambda: None,
    )
    cuda = SimpleNamespace(
        runtime=runtime,
        Stream=lambda non_blocking: Stream(),
        PinnedMemory=Pinned,
        PinnedMemoryPointer=pointer,
        MemoryPool=lambda: SimpleNamespace(free_all_blocks=lambda: None, used_bytes=lambda: 0),
        Event=lambda block, disable_timing: SimpleNamespace(done=False),
    )
    cuda.Stream.null = Stream()  # type: ignore[attr-defined]
    monkeypatch.setattr("specscale.kernels.card.cupy_with_a_card", lambda: SimpleNamespace(cuda=cuda))
    monkeypatch.setattr("specscale.kernels.card.Blas", lambda cupy: None)
    monkeypatch.setattr(Pinned, "made", 0)
    return Card()


def test_memory_is_lent_again_when_nobody_holds_it(card: Card) -> None:
    first = card.pinned((1000, 3), np.float32)
    part = first[10:20].reshape(-1)
    address = first.ctypes.data
    del first
    assert card.pinned((1000, 3), np.float32).ctypes.data != address  # a part is still held
    del part
    for _ in range(5):
        card.pinned((1000, 3), np.float32)
    assert Pinned.made == 2
    assert card.pinned((500, 3), np.float64).dtype == np.float64  # of as many pages
    assert Pinned.made == 2


@pytest.mark.parametrize(("releases", "others", "made"), [(0, True, 2), (1, True, 2), (2, True, 3), (3, False, 1)])
def test_memory_is_pinned_anew_once_others_were_lent_some_and_nobody_that(
    card: Card, releases: int, others: bool, made: int
) -> None:
    card.pinned((1000, 3), np.float32)
    for _ in range(releases):
        if others:
            card.pinned((9000,), np.float32)
        card.release()
    if others and not releases:
        card.pinned((9000,), np.float32)
    card.pinned((1000, 3), np.float32)
    assert Pinned.made == made


def test_memory_that_is_held_while_others_are_released_is_lent_thereafter(card: Card) -> None:
    held = card.pinned((1000, 3), np.float32)
    address = held.ctypes.data
    card.release()
    assert card.pinned((1000, 3), np.float32).ctypes.data != address
    del held
    assert address in {array.ctypes.data for array in [card.pinned((1000, 3), np.float32) for _ in range(2)]}
    assert Pinned.made == 2


def test_memory_that_every_pass_is_lent_stays(card: Card) -> None:
    for _ in range(5):
        assert len([card.pinned((1000, 3), np.float32) for _ in range(3)]) == 3
        card.release()
    assert Pinned.made == 3


@pytest.mark.parametrize("upload", [False, True])
def test_memory_is_not_lent_again_while_it_is_copied(card: Card, copies: list[Any], upload: bool) -> None:
    there = np.zeros(5000, np.float32).view(Array)
    host = card.pinned((5000,), np.float32)
    address = host.ctypes.data
    if upload:
        card.upload("copy", host, there)
    else:
        card.download("copy", there, host)
    assert copies == [(there.ctypes.data, address, 20_000) if upload else (address, there.ctypes.data, 20_000)]
    del host
    assert card.pinned((5000,), np.float32).ctypes.data != address
    for event in card._queues["copy"].events:
        event.done = True
    card.download("compute", there, card.pinned((5000,), np.float32))  # looks what is done
    assert address in {array.ctypes.data for array in [card.pinned((5000,), np.float32) for _ in range(3)]}


def test_too_much_is_refused_in_a_line(card: Card) -> None:
    with pytest.raises(OutOfMemory, match=r"^2 GB of memory that is pinned.*--size$"):
        card.pinned((1 << 31,), np.uint8)


@pytest.mark.parametrize("index", [np.s_[:, ::2], np.s_[:, :3]])
def test_only_numbers_one_behind_the_other_are_copied(card: Card, index: Any) -> None:
    there = np.zeros((4, 6), np.float32).view(Array)
    with pytest.raises(ValueError, match="behind"):
        card.download("compute", there[index], card.pinned((4, 3), np.float32))
    with pytest.raises(ValueError, match="cannot be copied"):
        card.download("compute", there, card.pinned((4, 3), np.float32))


def test_nothing_is_no_copy(card: Card, copies: list[Any]) -> None:
    card.upload("copy", card.pinned((0, 7), np.float16), np.zeros((0, 7), np.float16).view(Array))
    assert copies == []
