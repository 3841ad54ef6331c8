"""Backends as the conformance suite calls them: with arrays of the host, wherever their own memory is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulation.building import COMPILER
from numpy.typing import NDArray
from recording import RecordingDevice

from specscale.kernels.base import Array, Kernels, load_kernels
from specscale.kernels.gpu import GpuKernels

__all__ = ["BACKENDS", "OnHost", "on_host"]

BACKENDS = [
    "reference",
    "cpu",
    pytest.param("emulated", marks=pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler here")),
    pytest.param("cuda", marks=pytest.mark.gpu),
]


def on_host(name: str) -> Any:
    """A backend of this package, or that of a card on one that is emulated."""
    kernels = GpuKernels(RecordingDevice()) if name == "emulated" else load_kernels(name)
    return OnHost(kernels) if kernels.apart else kernels


class OnHost:
    """A backend that is apart, whose operations take arrays of the host.

    While an operation works these lie in its memory as they do in the host's: some columns of a wider array are some
    columns of that, and what an operation writes beside its outputs is found there afterwards.
    """

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels
        self.name, self.real = kernels.name, kernels.real

    def __getattr__(self, name: str) -> Callable[..., None]:
        def operation(*arguments: Any) -> None:
            placed = _Placed(self.kernels)
            getattr(self.kernels, name)(*map(placed.there, arguments))
            placed.bring_back()

        return operation


class _Placed:
    """Arrays of the host that are in the memory of a backend for a while."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels
        self._wholes: dict[int, tuple[NDArray[Any], Array]] = {}
        self._views: dict[int, Array] = {}

    def there(self, given: Any) -> Any:
        """The same array in the backend's memory; numbers stay."""
        if not isinstance(given, np.ndarray):
            return given
        if id(given) not in self._views:
            self._views[id(given)] = self._view(given)
        return self._views[id(given)]

    def bring_back(self) -> None:
        for whole, there in self._wholes.values():
            whole.reshape(-1)[...] = self._kernels.get(there)

    def _view(self, given: NDArray[Any]) -> Array:
        whole = given
        while isinstance(whole.base, np.ndarray) and whole.base.dtype == given.dtype:
            whole = whole.base
        assert whole.flags.c_contiguous
        if id(whole) not in self._wholes:
            self._wholes[id(whole)] = whole, self._kernels.put(whole.reshape(-1))
        flat = self._wholes[id(whole)][1]
        first = (given.ctypes.data - whole.ctypes.data) // given.itemsize
        if given.flags.c_contiguous:
            return flat[first : first + given.size].reshape(*given.shape)
        assert given.ndim == 2
        step = given.strides[0] // given.itemsize
        row, column = divmod(first, step)
        rows = flat[: len(flat) // step * step].reshape(len(flat) // step, step)
        return rows[row : row + len(given), column : column + given.shape[1]]
