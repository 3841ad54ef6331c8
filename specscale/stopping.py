"""Ending on a signal, wherever it finds the process.

What a signal's handler raises is raised in whatever the main thread is at. Where that is a callback of a library (a
finalizer, a weak reference's, one that compiled code calls) Python prints the exception and goes on as if there had
been no signal. So the handler also keeps the signal, :func:`check_signals` raises it again between blocks of work, and
one that was seen to be swallowed is sent once more.

The handler is all the state there is: the table of signals, which belongs to the whole process, is where any thread
finds it.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["ENDING", "Stop", "Stopped", "check_signals", "stoppable"]

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that ask a process to end: Ctrl-C, a batch system's, a terminal's that was closed."""

_AGAIN = 0.05  # seconds until a signal that was swallowed is sent once more
_APART = 0.5  # seconds between two Ctrl-C; what starts a process may pass on one that the terminal has sent to it too


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end.

    Parameters
    ----------
    number : the signal
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Stop:
    """The handler of signals that ask the process to end.

    Attributes
    ----------
    number : the signal that has come; 0 for none
    since : when it came, by the monotonic clock
    """

    def __init__(self) -> None:
        self.number = 0
        self.since = 0.0
        self._raised = False
        self._unraisable = sys.unraisablehook

    @property
    def status(self) -> int:
        """The exit status by which shells know that a signal ended a process."""
        return 128 + self.number

    def note(self, number: int) -> None:
        """Keep a signal, before Python comes to run its handler."""
        if not self.number:
            self.since = time.monotonic()
            self.number = number

    def check(self) -> None:
        """Raise Stopped when a signal has come."""
        if self.number:
            self._raised = self._raised or threading.current_thread() is threading.main_thread()
            raise Stopped(self.number)

    def again(self) -> None:
        """Take a second Ctrl-C: nobody wants to wait until what is done is written."""
        raise Stopped(self.number)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise Stopped, once: a signal that is sent twice must not cut off what the first has begun to end."""
        self.note(number)
        if not self._raised:
            self.check()
        if number == signal.SIGINT and time.monotonic() - self.since > _APART:
            self.again()

    def swallowed(self, found: Any) -> None:
        """Take what Python cannot raise: Stopped is raised once more, all else goes where it went."""
        if not isinstance(found.exc_value, Stopped):
            self._unraisable(found)
            return
        self._raised = False
        again = threading.Timer(_AGAIN, self._send)
        again.daemon = True
        again.start()

    def leave(self) -> None:
        """Raise nothing more."""
        self._raised = True

    def _send(self) -> None:
        """Send this process its signal once more, which also ends a wait of the main thread."""
        if self._raised:
            return
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, self.number)
        else:
            signal.raise_signal(self.number)


def check_signals() -> None:
    """Raise Stopped when a signal has asked the process to end; for loops over blocks of work, in any thread."""
    for number in ENDING:
        handler = signal.getsignal(number)
        if isinstance(handler, Stop):
            handler.check()
            return


@contextmanager
def stoppable(stop: Stop | None = None, numbers: Sequence[int] = (signal.SIGINT,)) -> Iterator[None]:
    """Meanwhile let a handler take some signals, as far as nobody else handles or ignores them.

    Parameters
    ----------
    stop : the handler; by default one of its own
    numbers : the signals
    """
    stop = stop or Stop()
    own = threading.current_thread() is threading.main_thread()  # Python lets no other thread set handlers
    before = {number: signal.getsignal(number) for number in numbers if own}
    ours = [number for number, one in before.items() if one in (signal.SIG_DFL, signal.default_int_handler)]
    hook = sys.unraisablehook
    for number in ours:
        signal.signal(number, stop)
    if ours:
        sys.unraisablehook = stop.swallowed
    try:
        yield
    finally:
        stop.leave()
        sys.unraisablehook = hook
        for number in ours:
            signal.signal(number, before[number])
