"""A backend that is deliberately nasty: the reference on memory of its own, which does nothing before it must.

Its arrays are no NumPy arrays, and NumPy is refused whatever it asks of them. Operations are put down and done in their
order when somebody gets an array, as on a device: who looks too early, or writes over what an operation is still to
read, sees it. Memory that nobody has written holds NaN or the least integer. So a sweep that gives what the reference
gives, bit for bit, has touched nothing but through the backend.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from emulation.arrays import DeviceArray
from numpy.typing import NDArray

from specscale.kernels.base import Kernels, Product, RunTasks, Task
from specscale.kernels.reference import ReferenceKernels

__all__ = ["NastyKernels"]


class Device:
    """Work that was asked for and is not done.

    Attributes
    ----------
    waited : the threads that have waited for it
    asked : the products that operations were asked for, with these
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._work: list[Task] = []
        self.waited: set[str] = set()
        self.asked: set[tuple[Product | None, str]] = set()

    def later(self, work: Task) -> None:
        with self._lock:
            self._work.append(work)

    def wait(self) -> None:
        with self._lock:
            self.waited.add(threading.current_thread().name.partition("_")[0])
            work, self._work = self._work, []
            for one in work:
                one()


def _operation(name: str) -> Callable[..., None]:
    """An operation of the reference, done later on what the arrays of the device hold."""

    def method(self: NastyKernels, *arguments: Any) -> None:
        self.device.asked.add((self.product, name))
        held = [self.held(one) for one in arguments]
        self.device.later(lambda: getattr(self.host, name)(*held))

    return method


class NastyKernels(Kernels):
    """The reference on a device that does not exist."""

    name: ClassVar[str] = "nasty"
    real: ClassVar[type[np.floating[Any]]] = np.float64
    slice_rows: ClassVar[int] = ReferenceKernels.slice_rows  # products of other shapes have other last bits
    anchor_tile: ClassVar[int] = ReferenceKernels.anchor_tile
    apart: ClassVar[bool] = True

    product: Product | None = None

    def __init__(self) -> None:
        self.device = Device()
        self._host = ReferenceKernels()
        self._scratch: dict[tuple[int, str], DeviceArray] = {}

    @property
    def host(self) -> Kernels:
        return self._host

    def empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        held = np.empty(shape, dtype=dtype)
        held.fill(np.nan if held.dtype.kind == "f" else np.iinfo(held.dtype).min)
        return DeviceArray(self.device, held)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        return DeviceArray(self.device, np.zeros(shape, dtype=dtype))

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        return np.empty(shape, dtype=dtype)

    def feed(self, array: NDArray[Any]) -> DeviceArray:
        return self.put(array)

    def spent(self, array: DeviceArray) -> None:
        """Nothing is in it any more of what was there."""
        array.fill(np.nan)

    def put(self, array: NDArray[Any]) -> DeviceArray:
        assert isinstance(array, np.ndarray)
        return DeviceArray(self.device, np.array(array, order="K"))

    def fetch(self, array: DeviceArray, *, last: bool = False) -> Callable[[], NDArray[Any]]:
        source = self.held(array)
        if not source.flags.c_contiguous:
            raise TypeError("only numbers that lie one behind the other are fetched")
        if last:
            return lambda: self.get(array)
        copy = DeviceArray(self.device, np.empty(source.shape, source.dtype))
        copy[...] = array
        return lambda: self.get(copy)

    def get(self, array: DeviceArray | NDArray[Any]) -> NDArray[Any]:
        if isinstance(array, np.ndarray):
            return array
        self.device.wait()
        return np.array(self.held(array), order="K")

    def scratch(self, name: str, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """The same memory for each name, and nothing in it of what was there."""
        size = int(np.prod(shape))
        key = threading.get_ident(), f"{name} {np.dtype(dtype)}"
        if key not in self._scratch or len(self._scratch[key]) < size:
            self._scratch[key] = self.empty((size,), dtype)
        found = self._scratch[key][:size].reshape(*shape)
        found.fill(np.nan)
        return found

    def release(self) -> None:
        self._scratch.clear()

    def free_memory(self) -> int:
        return 1 << 40

    def bearing(self, product: Product) -> Kernels:
        """The same memory, under the name of a product."""
        twin = object.__new__(type(self))
        vars(twin).update(vars(self), product=product)
        return twin

    def warm_up(self) -> None:
        pass

    def run(self, tasks: Sequence[Task], run: RunTasks) -> None:
        """One thread asks a device for all."""

        def ask() -> None:
            for task in tasks:
                task()

        run([ask])

    def calibrate(self, threads: int, run: RunTasks) -> float:
        return self.host.calibrate(threads, run)

    def held(self, given: Any) -> Any:
        """What an argument of an operation is to the reference."""
        if isinstance(given, DeviceArray) and given._device is self.device:
            return given._held
        if isinstance(given, (bool, float)):
            return given
        raise TypeError(f"{type(given).__name__} is no array of this device: put it there first")

    affine = _operation("affine")
    standardise = _operation("standardise")
    fourier = _operation("fourier")
    gaussian = _operation("gaussian")
    gram_tile = _operation("gram_tile")
    project = _operation("project")
    remains = _operation("remains")
    moments = _operation("moments")
    keep_tails = _operation("keep_tails")
