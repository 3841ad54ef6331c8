"""Members of modes and groups as the lines of a table."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from specscale.cli.columns import GAP, cells, is_number, may_be_cut, padded, room_of, shared, text_of
from specscale.cli.inert import flowing
from specscale.errors import OptionError

if TYPE_CHECKING:
    import pyarrow as pa

    from specscale.results.comparison import ComparisonResult


def _downwards(likeness: float) -> str:
    """A likeness of three digits, none of which makes a member of a near miss."""
    return f"{math.floor(1000 * likeness) / 1000:.3f}"


OF_TAILS: Mapping[str, Callable[[Any], str]] = {"tail": str, "rank": str, "score": "{:+.5f}".format}
"""The columns that say where in a tail of a mode a member stands, and how they are written."""
OF_GROUPS: Mapping[str, Callable[[Any], str]] = {"rank": str, "likeness": _downwards}
"""Those of a member of a group."""
OWN = ("mode", "tail", "rank", "row", "source_row", "id", "score", "likeness")
_NUMBERS = ("rank", "score", "likeness")
_ALONE = 240  # cells of a column where a line has no end
_AMONG_OTHERS = 60
_LEAST = 12  # cells of a column that is shown at all
_WIDEST_NAME = 20
_NONE = "none"


def members_of(result: ComparisonResult, top: int, show: str | None = None) -> list[dict[str, Any]]:
    """Return the first members of each tail of a result's modes, with the columns of the samples.

    Parameters
    ----------
    result : the result
    top : members of each tail
    show : names of columns with commas between them, "none" for none; None for all there are

    Raises
    ------
    OptionError
        When there is no such column.
    """
    from specscale.results.directory import top_members

    return described_records(result, top_members(result.members_table(), top), show)


def described_records(result: ComparisonResult, members: pa.Table, show: str | None) -> list[dict[str, Any]]:
    """Return some members of a result with the columns of the samples that `show` names."""
    from specscale.tables.values import records

    table = result.described_table(members)
    own = [name for name in table.column_names if name in OWN]
    there = [name for name in table.column_names if name not in OWN]
    return records(table.select([*own, *(there if show is None else _chosen(show, there, result))]))


def why_no_columns(result: ComparisonResult) -> str | None:
    """Return why the samples' columns cannot be read; None where there are none."""
    from specscale.masking import is_masked, masked
    from specscale.results.described import unread

    if not any(one.columns for one in result.record.inputs.values()):
        return None
    places = unread(result)
    if not places:
        return "no store of them is any more where it was, as it was compared"
    where = flowing(masked(places[0]))
    if is_masked(places[0]):
        return f"they are at {where}, an address that was kept without its password and query"
    return f"they are said to be at {where}; to have them read from there add --fetch"


def why_no_columns_of_all(result: ComparisonResult) -> str | None:
    """Return why they cannot be read of every row."""
    from specscale.places.files import exists
    from specscale.results.described import kept_columns

    if any(exists(result.path / kept_columns(key)) for key, _ in result.input_keys):
        return "of files the result keeps those of some members: `specscale ingest` them and compare the stores"
    return why_no_columns(result)


def _chosen(show: str, there: list[str], result: ComparisonResult) -> list[str]:
    """The columns that --show names, in its order."""
    if show in there:
        return [show]
    if show.strip() == _NONE:
        return []
    names = [name.strip() for name in show.split(",") if name.strip()]
    for name in names:
        if name not in there:
            known = f"there are {', '.join(there)}, or none" if there else "there are none that can be read"
            raise OptionError(f"--show: the samples of {result.path} have no column {name!r}: {known}")
    return list(dict.fromkeys(names))


class MemberTable:
    """Prints members so that their columns line up.

    Parameters
    ----------
    records : all members that will be printed
    own : the columns before the id, or the row, and how their values are written
    file : where to
    """

    def __init__(
        self, records: Sequence[dict[str, Any]], own: Mapping[str, Callable[[Any], str]], file: TextIO | None = None
    ) -> None:
        self._file = file or sys.stdout
        self._own = own
        self._line = room_of(self._file)
        self._key = "id" if any(record["id"] is not None for record in records) else "row"
        columns = [*own, self._key]
        mine = [name for name in (records[0] if records else {}) if name not in OWN]
        lines = [self._texts(record, mine) for record in records]
        wanted = [
            max([min(cells(flowing(name)), _WIDEST_NAME), *(cells(line[place]) for line in lines)])
            for place, name in enumerate([*columns, *mine])
        ]
        values = {name: [_value(one, name) for one in records if _value(one, name) is not None] for name in mine}
        flexible = [any(map(may_be_cut, values[name])) for name in mine]
        fixed, free = wanted[: len(columns)], wanted[len(columns) :]
        if self._line is None:
            most = _ALONE if len(free) == 1 else _AMONG_OTHERS
            free = [min(width, most) if yields else width for width, yields in zip(free, flexible, strict=True)]
        else:
            fixed[-1] = min(fixed[-1], max(self._line // 2, _WIDEST_NAME))
            room = self._line - GAP * (len(fixed) + 1) - sum(fixed)
            least = [min(width, _LEAST) if yields else width for width, yields in zip(free, flexible, strict=True)]
            while len(least) > 1 and sum(least) + GAP * (len(least) - 1) > room:
                least.pop()
            free, flexible = free[: len(least)], flexible[: len(least)]
            free = shared(free, flexible, max(room - GAP * (len(free) - 1), _LEAST))
        self._mine, self.left_out = mine[: len(free)], mine[len(free) :]
        self._names, self._widths = [*columns, *self._mine], [*fixed, *free]
        numbers = {name for name in self._mine if values[name] and all(map(is_number, values[name]))}
        numbers.update(name for name in own if name in _NUMBERS)
        if all(is_number(_value(record, self._key)) for record in records):
            numbers.add(self._key)
        self._right = [name in numbers for name in self._names]

    def print_heading(self) -> None:
        """Print the names of the columns."""
        self._print([flowing(name) for name in self._names])

    def print(self, records: Sequence[dict[str, Any]]) -> None:
        """Print members, a line each."""
        for record in records:
            self._print(self._texts(record, self._mine))

    def _texts(self, record: dict[str, Any], mine: Sequence[str]) -> list[str]:
        key = _value(record, self._key)
        own = [written(record[name]) for name, written in self._own.items()]
        return [*own, *(text_of(value) for value in (key, *(record[name] for name in mine)))]

    def _print(self, texts: Sequence[str]) -> None:
        cut_to_width = [
            padded(text, width, right) for text, width, right in zip(texts, self._widths, self._right, strict=True)
        ]
        print((" " * GAP + (" " * GAP).join(cut_to_width)).rstrip(), file=self._file)


def _value(record: dict[str, Any], name: str) -> Any:
    """A member's value; of its row the number that it had in the source, where ingest left rows out before it."""
    if name != "row":
        return record[name]
    number = record.get("source_row", record["row"])
    return f"{record['row']} of the store" if number is None else number  # where it is not known which were left out
