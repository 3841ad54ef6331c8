"""A card of NVIDIA's, by CuPy, which is imported when one is asked for and not before."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from specscale.errors import OutOfMemory
from specscale.kernels.base import Array
from specscale.kernels.cublas import Blas
from specscale.kernels.device import Event, Queue
from specscale.kernels.gpu import GpuKernels
from specscale.kernels.installed import cupy_with_a_card
from specscale.kernels.precision import Precision
from specscale.kernels.sources import compiled, cuda_sources, kernel_names
from specscale.units import format_bytes

__all__ = ["Card", "CardKernels", "SplitKernels", "TensorKernels"]

_PAGE = 4096
_NO_MEMORY = 2  # cudaErrorMemoryAllocation


class Card:
    """The first card that this process sees; :class:`specscale.kernels.device.Device` says what it does.

    "compute" is the legacy default stream, whichever thread asks, and its memory a pool of its own.

    Raises
    ------
    DeviceError
        When there is no card, no driver or no CuPy that can use them.
    """

    def __init__(self) -> None:
        self._cupy = cupy_with_a_card()
        self._queues = {"compute": self._cupy.cuda.Stream.null, "copy": self._cupy.cuda.Stream(non_blocking=True)}
        self._blas = Blas(self._cupy)
        self._pool = self._cupy.cuda.MemoryPool()
        self._peak = 0
        self._pinned: defaultdict[int, list[Any]] = defaultdict(list)
        self._older: defaultdict[int, list[Any]] = defaultdict(list)  # not lent since a release
        self._lent = False  # whether any was since the last
        self._copied: deque[tuple[Event, NDArray[Any]]] = deque()
        self._functions: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """What the card is called."""
        name: bytes = self._cupy.cuda.runtime.getDeviceProperties(0)["name"]
        return name.decode()

    # Memory

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory of the card with undefined contents."""
        size = prod(shape) * np.dtype(dtype).itemsize
        try:
            memory = self._pool.malloc(size)
        except self._cupy.cuda.memory.OutOfMemoryError:
            raise _too_little(size, f"the memory of {self.name}") from None
        with self._lock:
            self._peak = max(self._peak, self._pool.used_bytes())
        return self._cupy.ndarray(shape, np.dtype(dtype), memptr=memory)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory of the card that is zero before what is asked of "compute" next."""
        made = self.empty(shape, dtype)
        made.data.memset_async(0, made.nbytes, self._queues["compute"])
        return made

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Host memory that is copied from and to without the host's help; what is given back is kept for the next.

        To pin memory holds up the card, and CuPy's own pool would take a power of two bytes.
        """
        cuda, size = self._cupy.cuda, prod(shape) * np.dtype(dtype).itemsize
        if not size:
            return np.empty(shape, dtype)
        pages = -(-size // _PAGE)
        with self._lock:
            kept = self._pinned[pages]
            memory = next((one.pop() for one in (kept, self._older[pages]) if one), None)
            self._lent = True
        try:
            memory = memory or cuda.PinnedMemory(pages * _PAGE, cuda.runtime.hostAllocPortable)
        except cuda.runtime.CUDARuntimeError as error:
            if error.status != _NO_MEMORY:
                raise
            raise _too_little(size, "memory that is pinned for a card") from None
        return np.ndarray(shape, dtype, buffer=cuda.PinnedMemoryPointer(_Lent(memory, kept), 0))

    def free_memory(self) -> int:
        """Bytes of the card that can be had."""
        free = self._cupy.cuda.runtime.memGetInfo()[0] + self._pool.free_bytes()
        limit = self._pool.get_limit()
        return int(min(free, limit - self._pool.used_bytes()) if limit else free)

    def total_memory(self) -> int:
        """Bytes of the card."""
        return int(self._cupy.cuda.runtime.memGetInfo()[1])

    def peak_memory(self) -> int:
        """The most bytes that arrays took at once since :meth:`release`."""
        return self._peak

    def release(self) -> None:
        """Wait for all that was asked, and give back the memory that no array needs.

        Pinned memory is given back when others were lent some since the last time and nobody that.
        """
        self._cupy.cuda.runtime.deviceSynchronize()
        with self._lock:
            self._copied.clear()
            if self._lent:
                self._older, self._pinned, self._lent = self._pinned, defaultdict(list), False
            self._pool.free_all_blocks()
            self._peak = self._pool.used_bytes()

    # Order

    def record(self, queue: Queue) -> Event:
        """Return the present end of a queue."""
        return self._queues[queue].record(self._cupy.cuda.Event(block=True, disable_timing=True))

    def after(self, queue: Queue, event: Event) -> None:
        """Let what is asked of a queue from now on begin after an event."""
        self._queues[queue].wait_event(event)

    def wait(self, event: Event) -> None:
        """Wait until an event has come, and leave the processor to others."""
        event.synchronize()

    # Work

    def upload(self, queue: Queue, source: NDArray[Any], target: Array) -> None:
        """Ask for a copy of pinned host memory."""
        kind = self._cupy.cuda.runtime.memcpyHostToDevice
        self._copy(queue, target, target.data.ptr, source, source.ctypes.data, kind)
        self._keep(queue, source)

    def download(self, queue: Queue, source: Array, target: NDArray[Any]) -> None:
        """Ask for a copy into pinned host memory."""
        kind = self._cupy.cuda.runtime.memcpyDeviceToHost
        self._copy(queue, target, target.ctypes.data, source, source.data.ptr, kind)
        self._keep(queue, target)

    def _copy(self, queue: Queue, target: Any, to: int, source: Any, at: int, kind: int) -> None:
        """Ask for a copy to one address from another, of numbers that lie one behind the other."""
        if target.shape != source.shape or target.dtype != source.dtype:
            raise ValueError(f"{source.dtype} {source.shape} cannot be copied to {target.dtype} {target.shape}")
        if not (source.flags.c_contiguous and target.flags.c_contiguous):
            raise ValueError("only numbers that lie one behind the other are copied")
        if source.nbytes:
            self._cupy.cuda.runtime.memcpyAsync(to, at, source.nbytes, kind, self._queues[queue].ptr)

    def _keep(self, queue: Queue, host: NDArray[Any]) -> None:
        """Hold host memory until a copy is done, that nobody else is lent it."""
        with self._lock:
            self._copied.append((self.record(queue), host))
            while self._copied and self._copied[0][0].done:
                self._copied.popleft()

    def multiply(self, left: Array, right: Array, out: Array, tensor: bool = False) -> None:
        """Ask "compute" for ``out = left @ right``."""
        self._blas.multiply(left, right, out, tensor)

    def square(self, columns: Array, out: Array) -> None:
        """Ask "compute" for the lower triangle of ``out = columns.T @ columns``."""
        self._blas.square(columns, out)

    def launch(self, kernel: str, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        """Ask "compute" for a kernel of ``kernels/cuda`` by its name; the first time all of them are compiled."""
        with self._lock:
            self._functions = self._functions or self._compiled()
        if blocks:  # CuPy makes one of none
            self._functions[kernel]((blocks,), (threads,), tuple(arguments), stream=self._queues["compute"])

    def _compiled(self) -> dict[str, Any]:
        cuda, capability = self._cupy.cuda, int(self._cupy.cuda.Device(0).compute_capability)
        functions: dict[str, Any] = {}
        for name, source in cuda_sources().items():
            module = cuda.function.Module()
            module.load(compiled(cuda.nvrtc, name, source, capability))
            functions |= {kernel: module.get_function(kernel) for kernel in kernel_names(source)}
        return functions


class _Lent:
    """Pinned memory that goes back to where it is kept when nobody holds it; has what CuPy's pointers ask for."""

    def __init__(self, memory: Any, kept: list[Any]) -> None:
        self.ptr, self.size = memory.ptr, memory.size
        self._memory, self._kept = memory, kept

    def __del__(self) -> None:
        self._kept.append(self._memory)


def _too_little(size: int, what: str) -> OutOfMemory:
    return OutOfMemory(
        f"{format_bytes(size)} of {what} cannot be had: end what else takes it, or choose fewer features by --size"
    )


class CardKernels(GpuKernels):
    """The backend of the card that is here."""

    def __init__(self, asked: Precision = "float32") -> None:
        super().__init__(Card(), asked)


class TensorKernels(CardKernels):
    """The same, with products by tensor cores where they bear it."""

    name: ClassVar[str] = "cuda-tf32"

    def __init__(self) -> None:
        super().__init__("tf32")


class SplitKernels(CardKernels):
    """The same, with three products by tensor cores where they bear it."""

    name: ClassVar[str] = "cuda-3xtf32"

    def __init__(self) -> None:
        super().__init__("3xtf32")
