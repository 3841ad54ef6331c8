"""Rows that ingest left out: their numbers in a store, and those that the other rows have in the source."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray

from specscale.embeddings.ids import as_ids
from specscale.embeddings.layout import CHUNK_ROWS, ROWS, chunk_digest, ids_digest
from specscale.embeddings.trusted import opened_group
from specscale.errors import InputError
from specscale.places.files import Location, reaching
from specscale.tables.parquet import RowGroups, parquet_rows
from specscale.wording import one_line

__all__ = [
    "DROPPED",
    "Ids",
    "NumberedRows",
    "append_dropped",
    "dropped_digest",
    "every_dropped",
    "numbered",
    "read_dropped",
    "source_rows",
    "store_rows",
]

DROPPED = "dropped_rows"
_CHUNK = 8192  # numbers; of one length, so that a list that grew still begins with the chunks it had
_DAMAGE = (KeyError, ValueError, TypeError, OSError, zarr.errors.BaseZarrError)


def append_dropped(group: zarr.Group, begin: int, rows: NDArray[np.int64]) -> None:
    """Write numbers of dropped rows behind the first `begin` of a store; what was behind these goes.

    Parameters
    ----------
    group : the store's group
    begin : numbers that are there
    rows : numbers in the source, ascending
    """
    stop = begin + len(rows)
    if DROPPED not in group:
        if not stop:
            return
        group.create_array(
            DROPPED, shape=(stop,), chunks=(_CHUNK,), dtype="<i8", compressors=None, filters=None, fill_value=-1
        )
    array: Any = group[DROPPED]
    if array.shape[0] != stop:
        array.resize((stop,))
    if len(rows):
        array[begin:] = rows


def read_dropped(group: zarr.Group, count: int) -> NDArray[np.int64] | None:
    """Return the first `count` numbers of dropped rows; None where not so many are there, or are damaged."""
    array: Any = group.get(DROPPED)
    if array is None or array.shape[0] < count:
        return None
    rows = np.asarray(array[:count], dtype=np.int64)
    return rows if count == 0 or (rows[0] >= 0 and bool((np.diff(rows) > 0).all())) else None


def dropped_digest(rows: NDArray[np.int64]) -> str:
    """Return the digest of numbers of dropped rows."""
    return chunk_digest(rows)


def every_dropped(
    place: Location, count: int, named: Sequence[int], digest: str | None = None
) -> NDArray[np.int64] | None:
    """Read the numbers of all rows that a store dropped.

    Parameters
    ----------
    place : the store
    count : how many they are
    named : the first of them, as its attribute lists them
    digest : of all of them; None where a store of an earlier version does not know it

    Returns
    -------
    ndarray or None
        Ascending; None where the store, of an earlier version, does not know them.

    Raises
    ------
    InputError
        When the store is damaged.
    """
    if len(named) == count:
        return np.array(named, dtype=np.int64)
    try:
        with reaching(place):
            rows = read_dropped(opened_group(place, "ingest the embedding again"), count)
    except _DAMAGE as error:
        raise InputError(
            f"{place}/{DROPPED}: missing or damaged ({one_line(error)}): ingest the embedding again"
        ) from None
    if digest is not None and (rows is None or dropped_digest(rows) != digest):
        raise InputError(f"{place}/{DROPPED}: damaged: ingest the embedding again with --overwrite")
    return rows


def source_rows(rows: NDArray[np.int64], dropped: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers in the source of rows of a store, whose source had the rows `dropped` besides, ascending."""
    return rows + np.searchsorted(dropped - np.arange(len(dropped)), rows, side="right")


def store_rows(rows: NDArray[np.int64], dropped: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers in a store of rows of its source; −1 where the row was dropped."""
    before = np.searchsorted(dropped, rows)
    gone = np.zeros(len(rows), dtype=np.bool_)
    there = before < len(dropped)
    gone[there] = dropped[before[there]] == rows[there]
    return np.where(gone, -1, rows - before)


def numbered(embedding: Any, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers in the source of rows of any embedding; an array is its own source."""
    return np.asarray(embedding.source_rows(rows)) if hasattr(embedding, "source_rows") else rows


@dataclass(frozen=True)
class Ids:
    """The id column of an embedding: its name and a digest of its values in order."""

    column: str
    digest: str


class NumberedRows:
    """What the rows of a store are known by: their numbers in the source, and their ids.

    Attributes
    ----------
    n, dropped : rows of the store, and of its source those that ingest left out
    """

    path: str
    n: int
    dropped: int
    ids: Ids | None
    remote: bool
    _place: Location
    _named: Sequence[int]  # the first dropped rows, as the attribute of the store lists them
    _dropped_digest: str | None

    @cached_property
    def dropped_rows(self) -> NDArray[np.int64] | None:
        """Numbers in the source of all rows that ingest left out, ascending; None where they are not known."""
        return every_dropped(self._place, self.dropped, self._named, self._dropped_digest)

    def source_rows(self, rows: Sequence[int]) -> NDArray[np.int64]:
        """Return the numbers that rows of the store have in its source; −1 where they are not known.

        Only a store of an earlier version may not know them: it lists the first rows that were dropped, and so the
        numbers of the rows before the last of these.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        dropped = self.dropped_rows
        if dropped is not None:
            return source_rows(wanted, dropped)
        named = np.array(self._named, dtype=np.int64)
        numbers = source_rows(wanted, named)
        return np.where(numbers < (named[-1] if len(named) else 0), numbers, -1)

    def column_arrays(self, name: str) -> Iterator[pa.ChunkedArray]:
        """Yield a column of all rows, some thousands at a time."""
        place = self._place / ROWS
        if not self.remote:
            for batch in parquet_rows(place, [name], 0, CHUNK_ROWS):
                yield pa.chunked_array([batch.column(0)])
            return
        try:
            groups = RowGroups(place)
            for table in groups.read(range(len(groups)), [name]):
                yield table.column(0)
        except (pa.ArrowException, OSError, LookupError) as error:
            raise InputError(f"{place}: missing or damaged ({one_line(error)}): ingest the embedding again") from None

    @property
    def id_name(self) -> str:
        """Name of the id column."""
        if self.ids is None:
            raise InputError(f"{self.path}: the store has no ids: ingest it again with --id COLUMN")
        return self.ids.column

    def id_arrays(self) -> Iterator[pa.ChunkedArray]:
        """Yield the ids of all rows, integers or text, some thousands at a time."""
        return map(as_ids, self.column_arrays(self.id_name))

    def identified_by(self, column: str) -> Self:
        """Return the store with the values of a column as its ids."""
        view = copy.copy(self)
        view.ids = Ids(column, ids_digest(map(as_ids, self.column_arrays(column))))
        return view
