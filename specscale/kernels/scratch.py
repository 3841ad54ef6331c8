"""Scratch arrays that each thread keeps, so that tasks do not ask the system for fresh pages again and again."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scratch"]


class Scratch(threading.local):
    """One array for each thread, grown as needed; it travels to other processes empty."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, dtype=np.uint8)

    def __reduce__(self) -> tuple[type[Scratch], tuple[()]]:
        return Scratch, ()

    def array(self, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """Return this thread's array in some shape; its contents are undefined, and it is the same at each call."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self._buffer.size < size:
            self._buffer = np.empty(size, dtype=np.uint8)
        return self._buffer[:size].view(dtype).reshape(shape)
