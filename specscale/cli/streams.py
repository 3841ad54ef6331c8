"""Standard streams that outlast what they lead to: a pipe without a reader, a full disk, a terminal that was closed."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any, TextIO, cast

from specscale.cli.inert import complain

_GONE = (errno.EPIPE, errno.ECONNRESET)


class Enduring:
    """A text stream that raises nothing: once something could not be written, what follows is forgotten.

    Parameters
    ----------
    stream : where it goes

    Attributes
    ----------
    error : why something is missing there; None where nothing is, or nobody reads it any more
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.error: OSError | None = None
        self._gone = (*_GONE, errno.EIO) if stream.isatty() else _GONE

    def write(self, text: str) -> int:
        """Write a text."""
        with self._lasting():
            self.stream.write(text)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand on what was written."""
        with self._lasting():
            self.stream.flush()

    @contextmanager
    def _lasting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in self._gone:
                self.error = error
            # What the stream still holds is written when the process ends, and must get somewhere.
            with suppress(OSError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Streams:
    """Standard output and standard error of a command.

    Parameters
    ----------
    out, err : the streams
    """

    def __init__(self, out: Enduring, err: Enduring) -> None:
        self._out, self._err = out, err

    def settle(self, status: int) -> int:
        """Hand on what was written, and return the exit status: 0 becomes 1 where some of the output did not arrive."""
        self._out.flush()
        lost = self._out.error
        if lost is not None:
            why = os.strerror(lost.errno or 0).lower()
            complain(f"standard output: {why}: what is printed there is not complete, send it elsewhere")
        self._err.flush()
        return 1 if lost is not None and status == 0 else status


@contextmanager
def standard_streams() -> Iterator[Streams]:
    """Let standard output and standard error outlast what they lead to, and exist where they were closed."""
    # A file that is opened gets the lowest number that is free, and what libraries print would be written into it.
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(number)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # λ and σ, and the user's texts, where the locale lacks them
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        out, err = (Enduring(one or nowhere) for one in before)
        sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
        try:
            yield Streams(out, err)
        finally:
            sys.stdout, sys.stderr = before
