"""A card that does not exist: host memory on which everything is done as late, or in as odd an order, as events allow.

Its kernels are those of the real one, compiled for the host. Memory is given out again at once and holds poison until
somebody writes there; who writes beside it is told. So what gives the right numbers in every order gives them on a
card, as far as it depends on the order, on memory, and on the sources of the kernels.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from emulation.arrays import DeviceArray
from emulation.building import EmulatedKernel, Violation, emulated
from emulation.memory import Memory, array_in, intact, poison
from emulation.queues import Event, Order, Queues, late
from numpy.typing import NDArray

from specscale.kernels.device import Queue
from specscale.kernels.gpu import GpuKernels
from specscale.kernels.sources import cuda_sources

__all__ = ["RecordingDevice", "recording_kernels", "rounded"]

_HOST = 1 << 34
_TURNS = range(4)  # orders of the threads and blocks of a launch: ascending, descending, and two that are drawn


class RecordingDevice:
    """A device of the host's memory.

    Parameters
    ----------
    order : in which order, of those that the events allow, things are done
    kernels : by their names; those of the package by default
    memory : bytes that it has
    """

    name = "recording"

    def __init__(
        self, order: Order = late, kernels: Mapping[str, EmulatedKernel] | None = None, memory: int = 1 << 32
    ) -> None:
        self._kernels = emulated(cuda_sources()) if kernels is None else kernels
        self._queues = Queues(order)
        self._memory, self._host = Memory(memory), Memory(_HOST)
        self._turns = cycle(_TURNS)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        part = self._memory.take(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        around = part.around
        self.later(lambda: poison(around))
        return DeviceArray(self, part.bytes.view(dtype).reshape(shape), part)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        found = self.empty(shape, dtype)
        found.fill(0)
        return found

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        part = self._host.take(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        poison(part.around)
        return array_in(part, shape, dtype)

    def free_memory(self) -> int:
        return self._memory.limit - self._memory.out

    def total_memory(self) -> int:
        return self._memory.limit

    def peak_memory(self) -> int:
        return self._memory.peak

    def release(self) -> None:
        self._queues.wait_for_all()
        self._memory.trim()

    def record(self, queue: Queue) -> Event:
        return self._queues.record(queue)

    def after(self, queue: Queue, event: Event) -> None:
        self._queues.ask(queue, event)

    def wait(self, event: Event) -> None:
        self._queues.wait(event)

    def later(self, work: Callable[[], None]) -> None:
        """Ask "compute" for some work."""
        self._queues.ask("compute", work)

    def upload(self, queue: Queue, source: NDArray[Any], target: DeviceArray) -> None:
        self._copy(queue, source, source, self._held(target))

    def download(self, queue: Queue, source: DeviceArray, target: NDArray[Any]) -> None:
        self._copy(queue, target, self._held(source), target)

    def multiply(self, left: DeviceArray, right: DeviceArray, out: DeviceArray, tensor: bool = False) -> None:
        a, b, c = (self._held(one) for one in (left, right, out))
        if {a.dtype, b.dtype} != {c.dtype} or c.dtype not in (np.float32, np.float64):
            raise TypeError(f"products are of one floating type, not of {a.dtype} and {b.dtype} into {c.dtype}")
        if (a.shape[0], a.shape[1], b.shape[1]) != (c.shape[0], b.shape[0], c.shape[1]) or not c.size:
            raise ValueError(f"{a.shape} by {b.shape} is not {c.shape}")
        for one in (a, b, c):
            _check_pitch(one)
        if any(np.shares_memory(c, one) for one in (a, b)):
            raise ValueError("a product cannot be written over what is multiplied")

        def work() -> None:
            with np.errstate(over="ignore", invalid="ignore"):
                np.matmul(*((rounded(a), rounded(b)) if tensor else (a, b)), out=c)

        self.later(work)

    def square(self, columns: DeviceArray, out: DeviceArray) -> None:
        a, c = self._held(columns), self._held(out)
        if a.dtype != c.dtype or c.dtype not in (np.float32, np.float64):
            raise TypeError(f"squares are of one floating type, not of {a.dtype} into {c.dtype}")
        if c.shape != 2 * a.shape[1:] or not c.size:
            raise ValueError(f"the square of {a.shape} is not {c.shape}")
        for one in (a, c):
            _check_pitch(one)
        if np.shares_memory(a, c):
            raise ValueError("a product cannot be written over what is multiplied")

        def work() -> None:
            with np.errstate(over="ignore", invalid="ignore"):
                product = a.T @ a
            product[np.triu_indices(len(product), 1)] = np.nan  # that nobody reads what is above the diagonal
            np.copyto(c, product)

        self.later(work)

    def launch(self, kernel: str, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        found = self._kernels[kernel]
        found.check(arguments)
        if not (0 < blocks < 1 << 31 and 0 < threads <= 1024):
            raise ValueError(f"{kernel} cannot be launched in {blocks} blocks of {threads} threads")
        given = [one if isinstance(one, np.generic) else self._held(one).ctypes.data for one in arguments]
        parts = [(one._memory.around, one._memory.size) for one in arguments if isinstance(one, DeviceArray)]
        turn = next(self._turns)

        def work() -> None:
            found.launch(blocks, threads, given, turn)
            if not all(intact(*part) for part in parts):
                raise Violation(f"{kernel} wrote beside the memory that it was given")

        self.later(work)

    def _copy(self, queue: Queue, host: NDArray[Any], source: NDArray[Any], target: NDArray[Any]) -> None:
        if not self._host.holds(host):
            raise ValueError("only pinned memory is copied beside other work")
        if source.shape != target.shape or source.dtype != target.dtype:
            raise ValueError(f"{source.dtype} {source.shape} is not copied to {target.dtype} {target.shape}")
        if not (source.flags.c_contiguous and target.flags.c_contiguous):
            raise ValueError("only numbers that lie one behind the other are copied")
        if host.size:
            bytes_from, bytes_to = _unheld(source), _unheld(target)
            self._queues.ask(queue, lambda: np.copyto(bytes_to, bytes_from))

    def _held(self, array: DeviceArray) -> NDArray[Any]:
        if not isinstance(array, DeviceArray) or array._device is not self:
            raise TypeError(f"{type(array).__name__} is no array of this device: put it there first")
        return array._held


def recording_kernels(order: Order = late, **options: Any) -> GpuKernels:
    """The backend of a card, on such a device."""
    return GpuKernels(RecordingDevice(order, **options))


def rounded(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    """What tensor cores take of numbers: 10 bits, the nearest, and of two the one away from zero."""
    bits = np.ascontiguousarray(numbers).view(np.uint32)
    nearest = ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isfinite(numbers), nearest, numbers)


def _unheld(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of an array, which may be given back though a copy of them is still to come."""
    return np.frombuffer((ctypes.c_ubyte * array.nbytes).from_address(array.ctypes.data), dtype=np.uint8)


def _check_pitch(array: NDArray[Any]) -> None:
    """Refuse what libraries of products do not take: they know rows of some pitch, and the transpose of such."""
    for one in (array, array.T):
        (rows, columns), (pitch, step) = one.shape, one.strides
        if (columns <= 1 or step == one.itemsize) and (rows <= 1 or pitch >= columns * one.itemsize):
            return
    raise ValueError(f"{array.shape} in steps of {array.strides} bytes is neither rows nor columns")
