"""A card that is not there: this machine's cores on memory that is out of NumPy's reach, and counted."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from specscale.grid import BLOCK_ROWS
from specscale.kernels import base
from specscale.kernels.apart import ApartKernels
from specscale.kernels.base import Kernels, Task
from specscale.kernels.cpu import CpuKernels

sys.path.append(str(Path(__file__).parent / "kernels"))
from _nasty import Device, DeviceArray, NastyKernels
from emulation.queues import at_once
from recording import recording_kernels

__all__ = ["NAME", "CardKernels", "at_once", "card", "recording_kernels"]

NAME = "Imaginary 100"


class Prompt(Device):
    """A device that does at once what it is asked for, so that no memory waits for what was not done."""

    def later(self, work: Task) -> None:
        work()


class CardKernels(NastyKernels):
    """The backend of that card."""

    name: ClassVar[str] = "cuda"
    real: ClassVar[type[np.floating[Any]]] = np.float32
    slice_rows: ClassVar[int] = BLOCK_ROWS
    anchor_tile: ClassVar[int] = ApartKernels.anchor_tile
    memory: ClassVar[int] = 1 << 40
    taken: ClassVar[int] = 0
    peak: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.device = Prompt()
        self._host: Kernels = CpuKernels()

    @property
    def card(self) -> str:
        return NAME

    def empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        return counted(super().empty(shape, dtype))

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        return counted(super().zeros(shape, dtype))

    def put(self, array: NDArray[Any]) -> DeviceArray:
        return counted(super().put(array))

    def fetch(self, array: Any, *, last: bool = False) -> Callable[[], NDArray[Any]]:
        found = self.get(array)
        copy = found.copy()
        return lambda: copy

    def free_memory(self) -> int:
        return type(self).memory - type(self).taken

    def peak_memory(self) -> int:
        return type(self).peak


def counted(made: DeviceArray) -> DeviceArray:
    """An array that was made, of which it is known how long it is there."""
    size = made._held.nbytes

    def gone() -> None:
        CardKernels.taken -= size

    CardKernels.taken += size
    CardKernels.peak = max(CardKernels.peak, CardKernels.taken)
    weakref.finalize(made._held, gone)
    return made


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> type[CardKernels]:
    """Give this process that card, which begins with nothing in it."""
    monkeypatch.setitem(base.BACKENDS, "cuda", "cards:CardKernels")
    monkeypatch.setattr(CardKernels, "memory", 1 << 40)
    monkeypatch.setattr(CardKernels, "peak", CardKernels.taken)
    return CardKernels
