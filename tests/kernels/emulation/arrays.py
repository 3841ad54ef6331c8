"""An array of a device that does not exist: what the host sees of it, and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["DeviceArray", "Later"]


class Later(Protocol):
    """Does work in the order in which it is asked for, some time."""

    def later(self, work: Callable[[], None]) -> None: ...


class DeviceArray:
    """An array in memory that the host does not see; slices are views of it, which keep its memory."""

    __slots__ = ("_device", "_held", "_memory")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, device: Later, held: NDArray[Any], memory: Any = None) -> None:
        self._device, self._held, self._memory = device, held, memory

    @property
    def shape(self) -> tuple[int, ...]:
        return self._held.shape

    @property
    def strides(self) -> tuple[int, ...]:
        return self._held.strides

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._held.dtype

    @property
    def T(self) -> DeviceArray:
        return self._view(self._held.T)

    def __len__(self) -> int:
        return len(self._held)

    def reshape(self, *shape: int) -> DeviceArray:
        view = self._held.view()
        view.shape = shape  # raises where it would take a copy
        return self._view(view)

    def __getitem__(self, index: Any) -> DeviceArray:
        return self._view(self._held[_plain(index)])

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

    def _view(self, held: NDArray[Any]) -> DeviceArray:
        return DeviceArray(self._device, held, self._memory)

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
