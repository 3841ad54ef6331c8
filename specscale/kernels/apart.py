"""Backends whose memory is a card's: rows that are fed to it, what is put there and fetched, and scratch."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from specscale.grid import BLOCK_ROWS
from specscale.kernels.base import Array, Kernels, RunTasks, Task, load_kernels
from specscale.kernels.device import Device, Event
from specscale.kernels.staging import Landing, Staging

__all__ = ["ApartKernels"]

_CALIBRATED = 4096  # order of the matrices that are multiplied to measure
_SECONDS = 0.1


class ApartKernels(Kernels):
    """The memory and the queues of a backend that works on a card.

    One thread at a time asks for operations; rows may be fed beside it.

    Parameters
    ----------
    device : the card
    """

    slice_rows: ClassVar[int] = BLOCK_ROWS
    anchor_tile: ClassVar[int] = 4096  # whose kernel with the rows of a block is 128 MiB
    apart: ClassVar[bool] = True

    def __init__(self, device: Device) -> None:
        self.device = device
        self._host = load_kernels("cpu")
        self._scratch: dict[tuple[str, str], Array] = {}
        self._staging = Staging(device)
        self._landing = Landing(device)
        self._fed: dict[int, tuple[Array, Array]] = {}  # rows, and the memory that they are at the beginning of
        self._spent: defaultdict[tuple[tuple[int, ...], str], deque[tuple[Array, Event]]] = defaultdict(deque)
        self._peak = 0

    @property
    def host(self) -> Kernels:
        """The backend of this machine's cores."""
        return self._host

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Make an array of undefined contents."""
        return self.device.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Make an array of zeros."""
        return self.device.zeros(shape, dtype)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Make an array that is copied without the host's help."""
        return self.device.pinned(shape, dtype)

    def feed(self, array: NDArray[Any]) -> Array:
        """Bring rows by the queue "copy" into the memory of rows that are spent, and wait until they are there."""
        spent = self._spent[array.shape[1:], array.dtype.name]
        memory, free = spent.popleft() if spent else (None, None)
        if memory is None or len(memory) < len(array):
            memory = self.device.empty(array.shape, array.dtype)
            free = self.device.record("compute")  # which may have to do with that memory still
        target = memory[: len(array)]
        if array.size:
            self.device.after("copy", free)
            self.device.upload("copy", array, target)
            self.device.wait(self.device.record("copy"))
        self._fed[id(target)] = target, memory
        return target

    def spent(self, array: Array) -> None:
        """Keep the memory for other rows, with the end of what was asked for so far."""
        _, memory = self._fed.pop(id(array))
        key = tuple(array.shape[1:]), np.dtype(array.dtype).name
        self._spent[key].append((memory, self.device.record("compute")))

    def put(self, array: NDArray[Any]) -> Array:
        """Bring an array by way of pinned memory, in its turn among what is asked for."""
        target = self.device.empty(array.shape, array.dtype)
        if array.size:
            self._staging.upload(np.ascontiguousarray(array).reshape(-1), target.reshape(array.size))
        return target

    def fetch(self, array: Array, *, last: bool = False) -> Callable[[], NDArray[Any]]:
        """Begin a copy into pinned memory; the last comes by the queue "copy", once it is called for."""
        if isinstance(array, np.ndarray):
            copy = array.copy()
            return lambda: copy
        if not all(array.shape):
            return lambda: np.empty(array.shape, dtype=array.dtype)
        source = array
        if not _is_one_run(array):
            source = self.device.empty(array.shape, array.dtype)
            source[...] = array
        if last:
            return partial(self._landed, source, self.device.record("compute"))
        host = self.device.pinned(array.shape, array.dtype)
        self.device.download("compute", source, host)
        event = self.device.record("compute")

        def wait() -> NDArray[Any]:
            self.device.wait(event)
            return host

        return wait

    def _landed(self, source: Array, event: Event) -> NDArray[Any]:
        host = np.empty(source.shape, dtype=source.dtype)
        self._landing.download(source.reshape(host.size), host.reshape(-1), event)
        return host

    def get(self, array: Array) -> NDArray[Any]:
        """Bring an array into host memory; one that is there already stays."""
        return array if isinstance(array, np.ndarray) else self.fetch(array)()

    def scratch(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return the scratch of some name, grown as needed: what was asked for on the memory before is done first."""
        key, size = (name, np.dtype(dtype).name), int(np.prod(shape))
        if key not in self._scratch or len(self._scratch[key]) < size:
            self._scratch.pop(key, None)  # both might not fit beside one another
            self._scratch[key] = self.device.empty((size,), dtype)
        return self._scratch[key][:size].reshape(*shape)

    def release(self) -> None:
        """Free the scratch, and the memory of rows, once all that was asked for is done."""
        self._scratch.clear()
        self._fed.clear()
        self._spent.clear()
        self._peak = self.peak_memory()
        self.device.release()

    def free_memory(self) -> int:
        """Bytes that are free on the card."""
        return self.device.free_memory()

    def peak_memory(self) -> int:
        """The most bytes of the card that arrays took at once so far."""
        return max(self._peak, self.device.peak_memory())

    @property
    def card(self) -> str:
        """What the card is called."""
        return self.device.name

    def run(self, tasks: Sequence[Task], run: RunTasks) -> None:
        """Ask for all tasks in their order, from one thread."""

        def ask() -> None:
            for task in tasks:
                task()

        run([ask])

    def calibrate(self, threads: int, run: RunTasks) -> float:
        """Measure operations a second of large matrix products."""
        device = self.device
        left, out = (device.zeros((_CALIBRATED, _CALIBRATED), self.real) for _ in range(2))
        rounds, began = -1, 0.0  # the first is no measure: the library is loaded then
        while rounds < 1 or time.perf_counter() - began < _SECONDS:
            device.multiply(left, left, out)
            device.wait(device.record("compute"))
            rounds += 1
            began = began if rounds else time.perf_counter()
        return rounds * 2 * _CALIBRATED**3 / (time.perf_counter() - began)


def _is_one_run(array: Array) -> bool:
    """Whether an array's numbers lie one behind the other."""
    step = np.dtype(array.dtype).itemsize
    for length, stride in zip(reversed(array.shape), reversed(array.strides), strict=True):
        if length > 1 and stride != step:
            return False
        step *= length
    return True
