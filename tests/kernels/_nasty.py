"""A backend that is deliberately nasty: the reference on memory of its own, which does nothing before it must.

Its arrays are no NumPy arrays, and NumPy is refused whatever it asks of them. Operations are put down and done in their
order when somebody gets an array, as on a device: who looks too early, or writes over what an operation is still to
read, sees it. Memory that nobody has written holds NaN or the least integer. So a sweep that gives what the reference
gives, bit for bit, has touched nothing but through the backend.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from specscale.kernels.base import Kernels, Product, RunTasks, Task
from specscale.kernels.reference import ReferenceKernels

__all__ = ["DeviceArray", "NastyKernels"]


class Device:
    """Work that was asked for and is not done."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._work: list[Task] = []

    def later(self, work: Task) -> None:
        with self._lock:
            self._work.append(work)

    def wait(self) -> None:
        with self._lock:
            work, self._work = self._work, []
            for one in work:
                one()


class DeviceArray:
    """An array in memory that the host does not see; slices are views of it."""

    __slots__ = ("_device", "_held")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, device: Device, held: NDArray[Any]) -> None:
        self._device, self._held = device, held

    @property
    def shape(self) -> tuple[int, ...]:
        return self._held.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._held.dtype

    @property
    def T(self) -> DeviceArray:
        return DeviceArray(self._device, self._held.T)

    def __len__(self) -> int:
        return len(self._held)

    def reshape(self, *shape: int) -> DeviceArray:
        view = self._held.view()
        view.shape = shape  # raises where it would take a copy
        return DeviceArray(self._device, view)

    def __getitem__(self, index: Any) -> DeviceArray:
        return DeviceArray(self._device, self._held[_plain(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        target, source = self._held[_plain(index)], self._of(value)
        self._device.later(lambda: np.copyto(target, source, casting="same_kind"))

    def __iadd__(self, other: Any) -> DeviceArray:
        target, source = self._held, self._of(other)
        self._device.later(lambda: np.add(target, source, out=target))
        return self

    def __imul__(self, other: Any) -> DeviceArray:
        target, source = self._held, self._of(other)
        self._device.later(lambda: np.multiply(target, source, out=target))
        return self

    def fill(self, value: float) -> None:
        target = self._held
        self._device.later(lambda: target.fill(value))

    def _of(self, other: Any) -> NDArray[Any]:
        """What another array of the same device holds."""
        if not isinstance(other, DeviceArray) or other._device is not self._device:
            raise TypeError(f"{type(other).__name__} is no array of this device: put it there first")
        return other._held

    def _refuse(self, *arguments: Any, **options: Any) -> NoReturn:
        raise TypeError("the memory of a device is not the host's: get the array first")

    __array__ = __array_ufunc__ = __array_function__ = __iter__ = __bool__ = __int__ = __float__ = __index__ = _refuse
    __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __rsub__ = __truediv__ = __matmul__ = __neg__ = _refuse
    __eq__ = __ne__ = __lt__ = __gt__ = __reduce__ = __copy__ = __deepcopy__ = _refuse  # type: ignore[assignment]


def _plain(index: Any) -> Any:
    """An index of whole numbers and slices, by which views are taken."""
    for one in index if isinstance(index, tuple) else (index,):
        if not (isinstance(one, (int, slice)) or one is Ellipsis):
            raise TypeError(f"{type(one).__name__} is no index of a device's array")
    return index


def _operation(name: str) -> Callable[..., None]:
    """An operation of the reference, done later on what the arrays of the device hold."""

    def method(self: NastyKernels, *arguments: Any) -> None:
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

    def put(self, array: NDArray[Any]) -> DeviceArray:
        assert isinstance(array, np.ndarray)
        return DeviceArray(self.device, np.array(array, order="K"))

    def fetch(self, array: DeviceArray) -> Callable[[], NDArray[Any]]:
        source = self.held(array)
        copy = self.empty(source.shape, source.dtype)
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
        return self

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
