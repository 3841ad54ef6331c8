"""Memory that is given out again as soon as it is given back, whoever may still be about to write there."""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.errors import OutOfMemory

__all__ = ["Memory", "Part", "array_in", "intact", "poison"]

_CANARY = 4096  # bytes around what is given out, which nobody may write to
_ALIGNED = 512
_POISON = np.uint16(0x7FFE)  # over and over a NaN of any floating type, and a large whole number


def poison(memory: NDArray[np.uint8]) -> None:
    """Fill memory with what shows in any result."""
    memory[: len(memory) // 2 * 2].view(np.uint16)[:] = _POISON


class Part:
    """A run of bytes that is given back when the last who holds it lets go."""

    __slots__ = ("__weakref__", "_given_back", "_whole", "size")

    def __init__(self, whole: NDArray[np.uint8], size: int, given_back: deque[tuple[NDArray[np.uint8], int]]) -> None:
        self._whole, self.size, self._given_back = whole, size, given_back

    def __del__(self) -> None:
        self._given_back.append((self._whole, self.size))

    @property
    def around(self) -> NDArray[np.uint8]:
        """Its bytes with those around them, which may be looked at when it has been given back."""
        return self._whole

    @property
    def bytes(self) -> NDArray[np.uint8]:
        """Its bytes; they do not keep it."""
        return self._whole[_CANARY : _CANARY + self.size]


class Memory:
    """A pool of memory.

    Parameters
    ----------
    limit : bytes that may be out at once
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.peak = 0
        self._out = 0
        self._all: list[NDArray[np.uint8]] = []
        self._free: list[NDArray[np.uint8]] = []
        self._given_back: deque[tuple[NDArray[np.uint8], int]] = deque()
        self._lock = threading.Lock()

    @property
    def out(self) -> int:
        """Bytes that are out."""
        with self._lock:
            self._collect()
            return self._out

    def take(self, size: int) -> Part:
        """Give out memory, by preference what was given back last."""
        with self._lock:
            self._collect()
            if self._out + size > self.limit:
                raise OutOfMemory(
                    f"the card has {self.limit - self._out} bytes left, and {size} are needed: close what else uses it"
                )
            whole = self._found(size)
            self._out += size
            self.peak = max(self.peak, self._out)
            return Part(whole, size, self._given_back)

    def trim(self) -> None:
        """Forget what is not out, and the peak."""
        with self._lock:
            self._collect()
            free = {id(one) for one in self._free}
            self._all = [one for one in self._all if id(one) not in free]
            self._free.clear()
            self.peak = self._out

    def holds(self, array: NDArray[Any]) -> bool:
        """Whether an array lies in it."""
        with self._lock:
            return any(np.may_share_memory(array, one) for one in self._all)

    def _collect(self) -> None:
        while self._given_back:
            whole, size = self._given_back.popleft()
            self._out -= size
            self._free.append(whole)

    def _found(self, size: int) -> NDArray[np.uint8]:
        needed = -(-size // _ALIGNED) * _ALIGNED + 2 * _CANARY
        for number in reversed(range(len(self._free))):
            if needed <= len(self._free[number]) <= 2 * needed:
                return self._free.pop(number)
        raw = np.empty(needed + _ALIGNED, dtype=np.uint8)
        begin = -raw.ctypes.data % _ALIGNED
        self._all.append(raw[begin : begin + needed])
        return self._all[-1]


def intact(whole: NDArray[np.uint8], size: int) -> bool:
    """Whether nobody has written around a part of some size."""
    ends = whole[:_CANARY], whole[_CANARY + size + size % 2 :]
    return all(bool((end.view(np.uint16) == _POISON).all()) for end in ends)


def array_in(part: Part, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An array of the host that keeps a part as long as there is a view of it."""
    keeper: Any = (ctypes.c_ubyte * max(part.size, 1)).from_address(part.bytes.ctypes.data)
    keeper.part = part
    return np.frombuffer(keeper, dtype=np.uint8)[: part.size].view(dtype).reshape(shape)
