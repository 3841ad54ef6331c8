"""Which of the user's columns is the text of a row, and which are labels of rows."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from specscale.insight.words import SPACELESS, words_of
from specscale.tables.types import plain_type
from specscale.tables.values import python_values

__all__ = ["Cells", "cells_of", "filled", "label_columns", "text_column"]

Cells = Mapping[str, Sequence[object]]
"""The cells of columns, as Python has them, by name."""

TELLING = ("text", "caption", "title", "definition", "description", "content", "prompt", "abstract", "sentence")
MOST_LABELS = 1000

# A single word with a digit or a sign in it, or what begins as a path or an address does.
_NAME = re.compile(
    rf"(?=.*[\d/\\:@._=#])[^\s{SPACELESS}]+|(?:[a-z][a-z\d+.-]*://|[a-z]:\\|[~.]{{0,2}}/).*", re.I | re.S
)


def cells_of(*tables: pa.Table) -> dict[str, list[Any]]:
    """Return the cells of the columns that may be texts or labels: strings, numbers and truths.

    Parameters
    ----------
    tables : rows, one table after the other; a column that a table lacks, or has twice, is left out
    """
    return {
        name: [cell for table in tables for cell in python_values(table.column(name))]
        for name in tables[0].column_names
        if all(table.column_names.count(name) == 1 for table in tables)
        and all(_is_plain(table.schema.field(name).type) for table in tables)
    }


def filled(cells: Iterable[object]) -> list[Any]:
    """Return the cells that say something: what is not null, not NaN and no blank text."""
    return [cell for cell in cells if not _is_missing(cell)]


def text_column(columns: Cells) -> str | None:
    """Find the column that says most about a row in words.

    A text is a column of strings most of whose cells differ and have two words or more, or one with "text", "caption",
    "description" or the like in its name. It is none where all cells are equal, or most are ids, paths or addresses.
    Of several the longest is taken, and of those about as long (a factor of two) one with such a name, or the first.

    Parameters
    ----------
    columns : cells of columns, of as many rows as there are at hand

    Returns
    -------
    str or None
        Its name.
    """
    ranks = {name: _rank(name, filled(cells)) for name, cells in columns.items()}
    found = {name: rank for name, rank in ranks.items() if rank is not None}
    return max(found, key=lambda name: found[name], default=None)


def label_columns(columns: Cells) -> list[str]:
    """Find the columns that name kinds of rows.

    They hold strings, whole numbers or truths, of at most 1,000 values that occur twice or more on average. Whole
    numbers may be floats, which they become beside nulls.

    Parameters
    ----------
    columns : cells of columns, of as many rows as there are at hand

    Returns
    -------
    list of str
        Their names, in the order of the columns.
    """
    return [name for name, cells in columns.items() if _names_kinds(filled(cells))]


def _is_missing(cell: object) -> bool:
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _is_plain(kind: pa.DataType) -> bool:
    kind, types = plain_type(kind), pa.types
    is_text = types.is_string(kind) or types.is_large_string(kind)
    is_number = types.is_integer(kind) or types.is_floating(kind)
    return bool(is_text or is_number or types.is_boolean(kind) or types.is_null(kind))


def _rank(name: str, cells: list[Any]) -> tuple[int, bool] | None:
    """How well a column serves as the text; None for what is none."""
    if not cells or not all(isinstance(cell, str) for cell in cells):
        return None
    distinct = len(set(cells))
    if distinct == 1 or 2 * sum(_NAME.fullmatch(cell.strip()) is not None for cell in cells) > len(cells):
        return None
    telling = any(part in TELLING for part in re.split(r"[\W_]+", name.casefold()))
    words = int(statistics.median(sum(map(bool, words_of(cell))) for cell in cells))
    return (words.bit_length(), telling) if telling or (words > 1 and 2 * distinct > len(cells)) else None


def _names_kinds(cells: list[Any]) -> bool:
    if not cells or not all(isinstance(cell, str | int) or _is_whole(cell) for cell in cells):
        return False
    distinct = len(set(cells))
    return 2 * distinct <= len(cells) and distinct <= MOST_LABELS


def _is_whole(cell: object) -> bool:
    return isinstance(cell, float) and math.isfinite(cell) and cell.is_integer()
