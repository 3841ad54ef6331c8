"""What a card does: memory, two queues of work, copies, events, matrix products and kernels of our own.

:class:`specscale.kernels.gpu.GpuKernels` is written against this alone, so that the same code runs on a card and, in
tests, on host memory that does everything as late or in as odd an order as a card may.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from specscale.kernels.base import Array

__all__ = ["Device", "Event", "Queue"]

Event = Any
"""A point in a queue: all that was asked of it before."""
Queue = Literal["compute", "copy"]
"""What is asked of one queue is done in order; between the two, only events say what comes first."""


class Device(Protocol):
    """One card.

    Memory is given back when the last array in it is, and may be given out again at once, though the queues have not
    come to the work that still needs it: who allocates for another queue than "compute" waits for an event first.
    What arrays do by themselves (``+=``, ``*=``, ``fill``, assignment) is asked of the queue "compute".
    """

    @property
    def name(self) -> str:
        """What the card is called."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory of the card with undefined contents; raises OutOfMemory of errors where there is too little."""
        ...

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory of the card that is zero before what is asked of "compute" next."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Host memory that is copied from and to without the host's help; its contents are undefined."""
        ...

    def free_memory(self) -> int:
        """Bytes of the card that can be had."""
        ...

    def total_memory(self) -> int:
        """Bytes of the card."""
        ...

    def peak_memory(self) -> int:
        """The most bytes that arrays took at once since :meth:`release`."""
        ...

    def release(self) -> None:
        """Wait for all that was asked, and give back the memory that no array needs."""
        ...

    def record(self, queue: Queue) -> Event:
        """Return the present end of a queue."""
        ...

    def after(self, queue: Queue, event: Event) -> None:
        """Let what is asked of a queue from now on begin after an event."""
        ...

    def wait(self, event: Event) -> None:
        """Wait until an event has come."""
        ...

    def upload(self, queue: Queue, source: NDArray[Any], target: Array) -> None:
        """Ask for a copy of pinned host memory, which must stay as it is until it is done."""
        ...

    def download(self, queue: Queue, source: Array, target: NDArray[Any]) -> None:
        """Ask for a copy into pinned host memory."""
        ...

    def multiply(self, left: Array, right: Array, out: Array, tensor: bool = False) -> None:
        """Ask "compute" for ``out = left @ right``, two-dimensional, of one floating type.

        Each is rows of some pitch, or the transpose of such; `tensor` rounds float32 to the 10 bits that tensor cores
        take.
        """
        ...

    def square(self, columns: Array, out: Array) -> None:
        """Ask "compute" for the lower triangle of ``out = columns.T @ columns``; what is above it is undefined.

        Both are as :meth:`multiply` takes them, and nothing is rounded as tensor cores do.
        """
        ...

    def launch(self, kernel: str, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        """Ask "compute" for a kernel of ``kernels/cuda`` by its name.

        Arguments are arrays, of which the kernel gets the address of the first number, and NumPy scalars of the very
        types that the kernel takes.
        """
        ...
