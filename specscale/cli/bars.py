"""Numbers from 0 to 1 as small bars."""

from __future__ import annotations

from typing import TextIO

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar_of(value: float, width: int, plain: bool = False) -> str:
    """Return a bar that is full at 1, `width` cells with its blanks; what is above nothing shows.

    Parameters
    ----------
    value : the number; what lies outside 0 to 1 is drawn as the nearer end
    width : cells
    plain : whether it is drawn in whole cells of ASCII
    """
    steps = 1 if plain else 8
    filled = round(min(max(value, 0.0), 1.0) * width * steps)
    if value > 0:
        filled = max(filled, 1)
    if plain:
        return ("#" * filled).ljust(width)
    whole, rest = divmod(filled, steps)
    return ("█" * whole + _EIGHTHS[rest] * (rest > 0)).ljust(width)


def plain_bars(file: TextIO) -> bool:
    """Whether a stream's encoding has no blocks to draw bars with."""
    try:
        _EIGHTHS.encode(getattr(file, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return True
    return False
