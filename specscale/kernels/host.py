"""Backends whose memory is the host's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from specscale.grid import ANCHOR_TILE, SLICE_ROWS
from specscale.kernels.base import Kernels, Product, RunTasks, Task

__all__ = ["HostKernels"]

_CALIBRATED = 1024  # order of the matrices that are multiplied to measure
_SECONDS = 0.1


class HostKernels(Kernels):
    """The memory and the threads of a backend that works on NumPy arrays."""

    slice_rows: ClassVar[int] = SLICE_ROWS
    anchor_tile: ClassVar[int] = ANCHOR_TILE
    apart: ClassVar[bool] = False

    def __init__(self) -> None:
        self._scratch = threading.local()

    @property
    def host(self) -> Kernels:
        """The backend itself."""
        return self

    def empty(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Make an array of undefined contents."""
        return np.empty(shape, dtype=dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Make an array of zeros."""
        return np.zeros(shape, dtype=dtype)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Make an array of undefined contents."""
        return np.empty(shape, dtype=dtype)

    def feed(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array."""
        return array

    def spent(self, array: NDArray[Any]) -> None:
        """Do nothing: the memory is the host's."""

    def put(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array."""
        return array

    def fetch(self, array: NDArray[Any], *, last: bool = False) -> Callable[[], NDArray[Any]]:
        """Copy the array."""
        copy = array.copy()
        return lambda: copy

    def get(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array."""
        return array

    def scratch(self, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return this thread's scratch of some name, grown as needed: tasks ask the system for no fresh pages."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        held: dict[str, NDArray[np.uint8]] = vars(self._scratch)
        if name not in held or held[name].size < size:
            held[name] = np.empty(size, dtype=np.uint8)
        view: NDArray[Any] = held[name][:size].view(dtype).reshape(shape)
        return view

    def release(self) -> None:
        """Free the scratch of all threads."""
        self._scratch = threading.local()

    def free_memory(self) -> None:
        """None: the memory is the host's."""

    def bearing(self, product: Product) -> Kernels:
        """The backend itself."""
        return self

    def run(self, tasks: Sequence[Task], run: RunTasks) -> None:
        """Run tasks on the threads of this process."""
        run(tasks)

    def calibrate(self, threads: int, run: RunTasks) -> float:
        """Measure operations a second of large matrix products, one on each thread."""
        left = np.ones((_CALIBRATED, _CALIBRATED), dtype=self.real)
        outs = [np.empty_like(left) for _ in range(threads)]
        tasks: list[Task] = [lambda out=out: np.matmul(left, left, out=out) for out in outs]  # type: ignore[misc]
        run(tasks)
        began = time.perf_counter()
        rounds = 0
        while time.perf_counter() - began < _SECONDS:
            run(tasks)
            rounds += 1
        return rounds * len(tasks) * 2 * _CALIBRATED**3 / (time.perf_counter() - began)
