"""Work that a thread of its own does after whoever asks for it has gone on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from specscale.kernels.base import Task

__all__ = ["Later"]


class Later:
    """A thread that does what it is asked for, in order, and lags behind by one piece of work at most.

    All is done when the ``with`` statement that it was made in ends; what comes after work that failed is not begun.

    Parameters
    ----------
    name : of the thread
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._last: Future[None] | None = None

    def __enter__(self) -> Later:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.settle()
        finally:
            self._thread.shutdown()

    def ask(self, work: Task) -> Future[None]:
        """Ask for work once that before it is done, whose error is raised here."""
        self.settle()
        self._last = self._thread.submit(work)
        return self._last

    def settle(self) -> None:
        """Wait for the last piece of work, and raise its error."""
        if self._last is not None:
            last, self._last = self._last, None
            last.result()
