"""A command that a signal asks to end does so in time, whatever it is at."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from specscale.stopping import ENDING, Stop, stoppable

_PATIENCE = 3.5  # seconds in which what is done is to be written; what is not is lost as when the process is killed
_LAST_WORD = 0.5  # seconds for the line that says so, which may wait for a reader


class Ending(Stop):
    """The handler of a command's signals, which a second Ctrl-C ends at once.

    Parameters
    ----------
    say : says that the command was interrupted
    """

    def __init__(self, say: Callable[[], None]) -> None:
        super().__init__()
        self._say = say
        self._said = False
        self._saying = threading.Lock()

    def last_word(self) -> None:
        """Say that the command was interrupted, once; return when it is said, whichever thread says it."""
        with self._saying:
            if not self._said:
                self._said = True
                self._say()

    def again(self) -> None:
        """End at once, as a second Ctrl-C asks."""
        self.end()

    def end(self) -> None:
        """End the process; what libraries do at the end of one may take long, or wait for what stands still."""
        if sys.stderr.isatty():
            os.write(2, b"\x1b[?25h")  # a bar has hidden the cursor
        os._exit(self.status)

    def watch(self, signals: socket.socket) -> None:
        """End the process when it has not ended some seconds after a signal; for a thread of its own.

        Parameters
        ----------
        signals : where the number of each signal arrives, however long a library's call keeps Python from its handler
        """
        while number := signals.recv(1):
            if not isinstance(signal.getsignal(number[0]), Ending):
                continue
            self.note(number[0])
            time.sleep(max(0.0, self.since + _PATIENCE - time.monotonic()))
            word = threading.Thread(target=self.last_word, daemon=True)
            word.start()
            word.join(_LAST_WORD)
            self.end()


@contextmanager
def ending(say: Callable[[], None]) -> Iterator[Ending]:
    """Let signals end the command: Stopped is raised, and what it does not end is ended a few seconds later.

    Parameters
    ----------
    say : says that the command was interrupted

    Yields
    ------
    Ending
        The handler.
    """
    stop = Ending(say)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    ours, pythons = socket.socketpair()
    pythons.setblocking(False)
    watch = threading.Thread(target=stop.watch, args=(ours,), name="specscale-ending", daemon=True)
    watch.start()
    before = signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
    try:
        with stoppable(stop, ENDING):
            yield stop
    finally:
        signal.set_wakeup_fd(before)
        pythons.close()
        watch.join()
        ours.close()
