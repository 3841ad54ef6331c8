"""The user's texts as a terminal may have them: what commands it, or hides or turns what is shown, is spelled out."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from specscale.masking import masked

# Controls (C0, DEL, C1), separators of lines and paragraphs, overrides and isolates of direction, what has no width
# and joins nothing, annotations, lone surrogates. Joiners, marks of direction and variation selectors are parts of
# ordinary words and emoji.
_UNSAFE = "\x00-\x1f\x7f-\x9f\u2028-\u202e\u2060-\u2064\u2066-\u206f\u200b\ufeff\ufff9-\ufffb\ud800-\udfff"
_ALL = re.compile(f"[{_UNSAFE}]")
_BUT_LINES = re.compile(f"(?!\n)[{_UNSAFE}]")


def inert(text: object) -> str:
    """Return a text on one line, its control characters spelled out: an escape as a backslash and x1b."""
    return _ALL.sub(_spelled, str(text))


def flowing(text: object) -> str:
    """Return a text on one line, its blanks and line breaks a blank each, and what else is a control spelled out."""
    return inert(re.sub(r"[ \t\n\r\v\f\x85\u2028\u2029]+", " ", str(text)).strip())


def place_of(place: object) -> str:
    """Return an address on one line, as a terminal may have it and without its secrets."""
    return inert(masked(place))


def complain(message: str) -> None:
    """Print a line to standard error that says whose it is."""
    print(f"specscale: {place_of(message)}\n", end="", file=sys.stderr)  # in one piece, beside other threads' lines


def _spelled(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


class InertStream:
    """A text stream that whatever is written to it leaves inert; line breaks stay.

    Parameters
    ----------
    stream : where it goes
    told : what else is done to texts
    """

    def __init__(self, stream: TextIO, told: Callable[[str], str] = str) -> None:
        self.stream = stream
        self._told = told

    def write(self, text: str) -> int:
        """Write a text."""
        self.stream.write(self._told(_BUT_LINES.sub(_spelled, text)))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def inert_streams() -> Iterator[None]:
    """Let nothing that is written to standard output and standard error meanwhile command the terminal.

    Libraries warn, log and fail on standard error, with the addresses that they were given: these lose their secrets.
    """
    before = sys.stdout, sys.stderr
    # There is none where it was closed before the command began.
    sys.stdout = before[0] and cast(TextIO, InertStream(before[0]))
    sys.stderr = before[1] and cast(TextIO, InertStream(before[1], masked))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def commanding(stream: TextIO) -> TextIO:
    """Return the stream under an inert one, for what moves the cursor itself, as bars do."""
    return stream.stream if isinstance(stream, InertStream) else stream
