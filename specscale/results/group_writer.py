"""What is written of groups: their table, their samples, and the likeness of all rows from which members follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.embeddings.dropped import numbered
from specscale.embeddings.rows import PairedRows
from specscale.results.schema import GroupRecord
from specscale.tables.values import numbers, texts

__all__ = ["FoundGroup", "ReadLikeness", "SampledRows", "groups_table", "likeness_of_rows"]

_NONE = np.empty(0, np.int64)

ReadLikeness = Callable[[int, int], NDArray[np.float32]]
"""From the first row of A and the one after the last to the likeness to every candidate, (rows, candidates); NaN where
a row is not compared. Several threads may call it."""


@dataclass(frozen=True)
class FoundGroup:
    """A group that was found.

    Attributes
    ----------
    record : what the summary says of it
    column : of the likeness to candidates
    samples : for each kind of members.parquet rows of A, in the order of their ranks; −1 for none
    """

    record: GroupRecord
    column: int
    samples: Mapping[str, NDArray[np.int64]]


def likeness_of_rows(read: ReadLikeness, rows: PairedRows) -> ReadLikeness:
    """Return what reads the likeness of rows of A from what reads it by positions among the rows that are compared."""

    def read_rows(start: int, stop: int) -> NDArray[np.float32]:
        found = read(rows.kept_before(start), rows.kept_before(stop))
        if rows.kept is None:
            return found
        spread = np.full((stop - start, found.shape[1]), np.nan, np.float32)
        spread[rows.kept[start:stop]] = found
        return spread

    return read_rows


class SampledRows:
    """The rows of members.parquet, whose likeness is picked up as the rows come by.

    Parameters
    ----------
    found : the groups
    """

    def __init__(self, found: Sequence[FoundGroup]) -> None:
        parts = [(one.record.group, kind, rows[rows >= 0]) for one in found for kind, rows in one.samples.items()]
        lengths = [len(rows) for _, _, rows in parts]
        self._kinds = sorted({kind for _, kind, _ in parts})
        self._group = np.repeat(np.array([group for group, _, _ in parts], np.int32), lengths)
        self._kind = np.repeat(np.array([self._kinds.index(kind) for _, kind, _ in parts], np.int64), lengths)
        self._rank = np.concatenate([_NONE, *(np.arange(1, length + 1) for length in lengths)]).astype(np.int32)
        self.rows = np.concatenate([_NONE, *(rows for _, _, rows in parts)])
        self._order = np.argsort(self.rows, kind="stable")
        self._likeness = np.full(len(self.rows), np.nan)

    def pick_up(self, start: int, likeness: NDArray[np.float32]) -> None:
        """Take the likeness of those that are among the rows from `start` on, (rows, groups)."""
        low, high = np.searchsorted(self.rows, [start, start + len(likeness)], sorter=self._order)
        here = self._order[low:high]
        self._likeness[here] = likeness[self.rows[here] - start, self._group[here]]

    def table(self, rows: PairedRows, ids: pa.Array) -> pa.Table:
        """Return them as members.parquet has them."""
        source_row = numbered(rows.embeddings[0], self.rows)
        return pa.table(
            {
                "group": numbers(self._group),
                "kind": texts(self._kinds).take(numbers(self._kind)),
                "rank": numbers(self._rank),
                "row": numbers(self.rows),
                "id": ids,
                "likeness": numbers(self._likeness),
                "source_row": numbers(source_row, source_row < 0),
            }
        )


def groups_table(records: Sequence[GroupRecord]) -> pa.Table:
    """Return groups.parquet: a line for each group, of the fields that are one value."""
    return pa.table(
        {
            one.name: _column(str(one.type), [getattr(record, one.name) for record in records])
            for one in fields(GroupRecord)
            if not str(one.type).startswith("list")
        }
    )


def _column(kind: str, values: Sequence[Any]) -> pa.Array:
    """The values of a field of some type, with nulls for None."""
    if kind == "bool":
        bits = np.packbits(np.array(values, np.bool_), bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])
    if kind == "Count":
        return numbers(np.array(values, np.int64))
    if kind.startswith("Literal"):
        return texts(values)
    missing = np.array([one is None for one in values], np.bool_)
    return numbers(np.array([0 if one is None else one for one in values], np.float64), missing)
