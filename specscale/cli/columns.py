"""Columns of the samples' values that line up, in as much room as there is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TextIO

from specscale.cli.inert import flowing
from specscale.cli.json_output import plain

GAP = 2
_ELLIPSIS = "…"
_MOST = 2000  # characters, more than any line has room for


def text_of(value: Any) -> str:
    """Return a value on one line, a null as nothing, what is nested as JSON, of very long ones the beginning."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict | list):
        value = json.dumps(plain(value), ensure_ascii=False)
    if isinstance(value, str | bytes) and len(value) > _MOST:  # it takes long to measure a book
        return flowing(value[:_MOST]) + _ELLIPSIS
    return flowing(value)


def is_number(value: Any) -> bool:
    """Whether a value belongs at the right of its column."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def may_be_cut(value: Any) -> bool:
    """Whether a part of a value tells something: of texts and what is nested, not of numbers and times."""
    return isinstance(value, str | bytes | dict | list)


def room_of(file: TextIO) -> int | None:
    """Return the cells of a line: a terminal's, or what COLUMNS says; None where there is no end to it."""
    if (file and file.isatty()) or "COLUMNS" in os.environ:  # there is no file where it was closed
        return shutil.get_terminal_size().columns
    return None


def cells(text: str) -> int:
    """Return how many cells of a terminal a text takes: wide characters two, combining ones none."""
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, room: int) -> str:
    """Return as much of a text as there is room for, at the end of a word where one is near."""
    if cells(text) <= room:
        return text
    from rich.cells import set_cell_size

    kept = set_cell_size(text, max(room - 1, 0))
    before = kept.rfind(" ")
    if not text.startswith(f"{kept} ") and 3 * before >= 2 * len(kept) > 0:
        kept = kept[:before]
    return kept.rstrip() + _ELLIPSIS


def wrapped(text: str, width: int) -> list[str]:
    """Return the lines of a text, of `width` cells at most; a word that is longer, as a path, stays whole."""
    lines = [""]
    for word in text.split():
        if lines[-1] and cells(f"{lines[-1]} {word}") > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".lstrip()
    return lines


def padded(text: str, width: int, right: bool = False) -> str:
    """Return a text that takes `width` cells, cut where it is longer."""
    text = cut(text, width)
    blanks = " " * (width - cells(text))
    return blanks + text if right else text + blanks


def shared(wanted: Sequence[int], flexible: Sequence[bool], room: int) -> list[int]:
    """Return the width of each column in a room.

    Parameters
    ----------
    wanted : what each would take
    flexible : which may get less, namely as much as the others that want more
    room : cells for all of them
    """
    widths = list(wanted)
    yielding = sorted((column for column, yields in enumerate(flexible) if yields), key=lambda column: wanted[column])
    room -= sum(wanted) - sum(wanted[column] for column in yielding)
    for place, column in enumerate(yielding):
        widths[column] = min(wanted[column], max(room, 0) // (len(yielding) - place))
        room -= widths[column]
    return widths
