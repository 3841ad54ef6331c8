"""Words of messages: what libraries and users say, cut to what fits a line."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["LISTED", "LONGEST", "one_line", "shown", "some"]

LISTED = 6
LONGEST = 40  # of a name that is shown whole


def one_line(error: Exception) -> str:
    """Return the first line of an error's message.

    Parameters
    ----------
    error : any exception

    Returns
    -------
    str
        One line, without the full stop.
    """
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def shown(name: str, most: int = LONGEST) -> str:
    """A name of the user's, cut to a length that leaves room for the rest of a message."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def some(names: Sequence[str], most: int = LISTED, width: int = LONGEST) -> str:
    """Some names of the user's, each cut to a width, and how many more there are."""
    short = ", ".join(shown(name, width) for name in names[:most])
    return short + (f" and {len(names) - most:,} more" if len(names) > most else "")
