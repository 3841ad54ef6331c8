"""Every member of groups, written to a file whole or not at all."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from specscale.errors import OptionError
from specscale.results.comparison import ComparisonResult
from specscale.results.members import every_member
from specscale.stopping import check_signals
from specscale.tables.values import records

__all__ = ["Exported", "check_export", "export_members"]

_OWN = pa.schema(
    [
        ("group", pa.int32()),
        ("row", pa.int64()),
        ("id", pa.string()),
        ("likeness", pa.float64()),
        ("source_row", pa.int64()),
    ]
)
"""The columns of a file without a member, in whose place there is nothing to tell the others by."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    members : lines, one for each group and each of its members
    columns : the samples' columns that are there
    """

    members: int
    columns: list[str]


def check_export(path: str) -> Path:
    """Return the file that members can be written to.

    Raises
    ------
    OptionError
        When its name ends in neither .csv nor .parquet, its folder is not there, or it is a folder itself.
    """
    place = Path(path)
    if place.suffix.lower() not in _WRITERS:
        raise OptionError(f"--export {path}: members are written as CSV or Parquet: give a name in .csv or .parquet")
    if not place.parent.is_dir():
        raise OptionError(f"--export {path}: no such directory {place.parent}: make it, or choose another")
    if place.is_dir():
        raise OptionError(f"--export {path}: it is a directory: give the file another name")
    return place


def export_members(result: ComparisonResult, groups: Collection[int], path: str) -> Exported:
    """Write every member of groups to a CSV or Parquet file, some thousands of rows at a time.

    Members come in the order of their rows, one of several groups once for each. A file that is there is replaced
    when all is written.

    Parameters
    ----------
    result : the result
    groups : the numbers of the groups
    path : a local file whose name ends in .csv or .parquet

    Raises
    ------
    OptionError
        As of :func:`check_export`.
    InputError
        When the members are damaged or gone.
    """
    place = check_export(path)
    tables = every_member(result, groups)
    first = next(tables, _OWN.empty_table())
    members = 0
    with _appearing(place) as draft, _WRITERS[place.suffix.lower()](draft, first.schema) as write:
        for table in _and_rest(first, tables):
            check_signals()
            write(table)
            members += table.num_rows
    return Exported(members, [name for name in first.column_names if name not in _OWN.names])


@contextmanager
def _appearing(place: Path) -> Iterator[Path]:
    """A file beside a place, which takes it when all is written, and else goes."""
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def _and_rest(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from rest


@contextmanager
def _csv(place: Path, schema: pa.Schema) -> Iterator[Any]:
    """Writes tables as lines of CSV, nulls as nothing, what is nested as JSON."""
    with place.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        lines = csv.writer(file)
        lines.writerow(schema.names)

        def write(table: pa.Table) -> None:
            lines.writerows([_written(value) for value in one.values()] for one in records(table))

        yield write


@contextmanager
def _parquet(place: Path, schema: pa.Schema) -> Iterator[Any]:
    # Arrow takes no path that is not UTF-8.
    with place.open("wb") as bytes_of_it, pq.ParquetWriter(bytes_of_it, schema, write_page_checksum=True) as file:
        yield file.write_table


_WRITERS = {".csv": _csv, ".parquet": _parquet}


def _written(value: Any) -> Any:
    """A value as a cell of CSV."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return f"{value:f}" if isinstance(value, Decimal) else value
