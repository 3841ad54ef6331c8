"""Pinned memory by way of which arrays that are not pinned come to a device, and from it, in pieces."""

from __future__ import annotations

import threading
from collections import deque
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.kernels.base import Array
from specscale.kernels.device import Device, Event

__all__ = ["Landing", "Staging"]

_PUT = 1 << 20  # bytes that are copied at once of what is put
_PUTS = 32
_LANDED = 16 << 20  # bytes that are copied at once of what is brought
_LANDINGS = 3


class _Pieces:
    """Pieces of pinned memory of one size, each made when it is first needed."""

    def __init__(self, device: Device, size: int) -> None:
        self._device = device
        self._size = size
        self._held: list[NDArray[np.uint8]] = []

    def like(self, array: NDArray[Any], number: int) -> NDArray[Any]:
        """The beginning of a piece, as long as an array in one dimension and of its type; pieces come in order."""
        if len(self._held) == number:
            self._held.append(self._device.pinned((self._size,), np.uint8))
        return self._held[number][: array.nbytes].view(array.dtype)


class Staging:
    """Brings arrays to a device, in their turn among what is asked for; their copies may be under way thereafter.

    Parameters
    ----------
    device : the device
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._pieces = _Pieces(device, _PUT)
        self._events: list[Event | None] = [None] * _PUTS
        self._turns = cycle(range(_PUTS))

    def upload(self, source: NDArray[Any], target: Array) -> None:
        """Copy an array in one dimension, which may be overwritten then."""
        step = _PUT // source.itemsize
        with self._lock:
            for low in range(0, source.size, step):
                self._copy(source[low : low + step], target[low : low + step])

    def _copy(self, source: NDArray[Any], target: Array) -> None:
        turn = next(self._turns)
        stage = self._pieces.like(source, turn)
        if self._events[turn] is not None:
            self._device.wait(self._events[turn])
        stage[...] = source
        self._device.upload("compute", stage, target)
        self._events[turn] = self._device.record("compute")


class Landing:
    """Brings large arrays from a device, beside what is asked for: to pin so much takes longer than to copy it.

    Parameters
    ----------
    device : the device
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._pieces = _Pieces(device, _LANDED)

    def download(self, source: Array, target: NDArray[Any], event: Event) -> None:
        """Copy what an array in one dimension holds at an event, and wait for it; nothing is written there any more."""
        step = _LANDED // target.itemsize
        under_way: deque[tuple[Event, NDArray[Any], NDArray[Any]]] = deque()
        with self._lock:
            self._device.after("copy", event)
            for piece, low in enumerate(range(0, target.size, step)):
                if len(under_way) == _LANDINGS:
                    self._land(*under_way.popleft())
                part = target[low : low + step]
                stage = self._pieces.like(part, piece % _LANDINGS)
                self._device.download("copy", source[low : low + step], stage)
                under_way.append((self._device.record("copy"), stage, part))
            while under_way:
                self._land(*under_way.popleft())

    def _land(self, event: Event, stage: NDArray[Any], target: NDArray[Any]) -> None:
        self._device.wait(event)
        target[...] = stage
