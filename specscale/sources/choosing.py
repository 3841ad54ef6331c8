"""Columns as a user names them, and which of them ride along with the vectors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import pyarrow as pa

from specscale.errors import InputError
from specscale.sources.paths import natural_key
from specscale.tables.types import is_writable
from specscale.wording import some

__all__ = ["NUMBERED", "Choice", "describe", "expand_names", "listed"]

NUMBERED = re.compile(r"(.*?)([0-9]+)([^0-9]*)", re.DOTALL)  # the last number in a name, and what is around it
_SHOWN, _WIDTH = 12, 200


class Choice(NamedTuple):
    """Which of the samples' own columns ride along.

    Attributes
    ----------
    expression : names, globs and ranges with commas; ``"none"`` for none; None for those of single values
    always : columns that do in any case
    """

    expression: str | None = None
    always: tuple[str, ...] = ()

    def riding(self, offered: pa.Schema, *, nested: bool = False) -> pa.Schema:
        """Choose among columns.

        Parameters
        ----------
        offered : the columns there are, in plain types
        nested : whether lists, structs and maps ride along without being chosen

        Returns
        -------
        pyarrow.Schema
            The chosen ones, in their order, without those that Parquet has no type for.
        """
        if self.expression is None:
            names = [field.name for field in offered if nested or not pa.types.is_nested(field.type)]
        else:
            names = [] if self.expression.strip() == "none" else expand_names(self.expression, offered.names)[0]
        wanted = {*names, *self.always}
        return pa.schema([field for field in offered if field.name in wanted and is_writable(field.type)])

    def check(self, offered: Sequence[str], vectors: Sequence[str]) -> None:
        """Raise InputError when a part of the expression names no column."""
        if self.expression is None or self.expression.strip() == "none":
            return
        unknown = expand_names(self.expression, offered)[1]
        if unknown:
            taken = [part for part in unknown if part in vectors]
            what = f"{taken[0]} is part of the vectors" if taken else f"no column {', '.join(unknown)}"
            raise InputError(f"--columns {self.expression}: {what}; there are {listed(offered) or 'none'}")


def describe(names: Sequence[str]) -> str:
    """Say in a few words which columns these are.

    Parameters
    ----------
    names : names of columns

    Returns
    -------
    str
        As in ``"32 columns x0 … x31"``.
    """
    if len(names) == 1:
        return f"column {names[0]}"
    listing = f"{names[0]} … {names[-1]}" if len(names) > 3 else ", ".join(names)
    return f"{len(names):,} columns {listing}"


def listed(names: Sequence[str]) -> str:
    """List names, the first of them where there are many.

    Parameters
    ----------
    names : names of columns

    Returns
    -------
    str
        With commas.
    """
    return some(names, _SHOWN, _WIDTH)


def expand_names(expression: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Find the columns that an expression names.

    Parameters
    ----------
    expression : names, globs (whose matches come in natural order) and ranges of numbered names, with commas
    names : the columns there are

    Returns
    -------
    found : list of str
        In the order of the expression.
    unknown : list of str
        The parts of it that name no column.
    """
    known = set(names)
    if expression in known:
        return [expression], []
    parts = expression.split(",")
    found: list[str] = []
    unknown: list[str] = []
    at = 0
    while at < len(parts):
        part = parts[at].strip()
        matches = [part] if part in known else _range(part, names)
        stop = at + 1
        if not matches:  # a name may have commas itself
            for end in range(len(parts), at + 1, -1):
                whole = ",".join(parts[at:end]).strip()
                if whole in known:
                    matches, stop = [whole], end
                    break
        matches = matches or sorted((name for name in names if fnmatchcase(name, part)), key=natural_key)
        found += matches
        unknown += [] if matches else [part]
        at = stop
    return found, unknown


def _range(part: str, names: Sequence[str]) -> list[str]:
    first, dots, last = part.partition("..")
    ends = [NUMBERED.fullmatch(end.strip()) for end in (first, last)]
    if not dots or first.strip() not in names or last.strip() not in names or None in ends:
        return []
    low, high = (end.group(1, 3) for end in ends if end is not None)
    if low != high:
        return []
    by_number: dict[int, str] = {}
    for name in names:
        match = NUMBERED.fullmatch(name)
        if match is not None and match.group(1, 3) == low:
            by_number.setdefault(int(match[2]), name)
    start, stop = (int(end[2]) for end in ends if end is not None)
    step = 1 if start <= stop else -1
    numbers = range(start, stop + step, step)
    return [by_number[number] for number in numbers] if all(number in by_number for number in numbers) else []
