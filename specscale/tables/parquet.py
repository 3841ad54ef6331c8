"""Parquet files, of vectors or of the samples' own columns, read a few rows at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from specscale.errors import InputError
from specscale.places.ahead import read_ahead
from specscale.places.files import Location, is_local, located, reaching
from specscale.places.sequential import open_remote
from specscale.stopping import check_signals
from specscale.tables.pages import check_pages
from specscale.tables.types import plain_array, plain_schema
from specscale.wording import one_line

_REMOTE_BUFFER = {"cache_type": "blockcache", "block_size": 2 << 20, "cache_options": {"maxblocks": 24}}
_MANY_COLUMNS = 16
_GROUPS = 8  # row groups of a remote file that are read at once
_PAGE_BUFFER = 64 << 10  # one for every column, and there may be thousands
# What is damaged inside a page is mostly decoded without an error; pages without a checksum are read as ever.
VERIFIED = {"page_checksum_verification": True}
_FOOTER, _MOST_FOOTER = 16 << 20, 256 << 20  # bytes of small files, and of any
_MOST_ROWS, _MOST_BYTES = 100_000_000, 4 << 30  # of a file that is read whole


class RowCursor:
    """Takes any number of rows at a time from a stream of tables.

    Parameters
    ----------
    tables : tables of one schema, in row order
    """

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self._rest: pa.Table | None = None

    def take(self, count: int) -> pa.Table:
        """Return the next rows.

        Parameters
        ----------
        count : how many; at least 1

        Returns
        -------
        pyarrow.Table
            The rows, fewer than `count` only where the stream ends.
        """
        pieces: list[pa.Table] = []
        missing = count
        while missing > 0:
            if self._rest is None or self._rest.num_rows == 0:
                self._rest = next(self._tables, None)
                if self._rest is None:
                    break
            pieces.append(self._rest.slice(0, missing))
            self._rest = self._rest.slice(pieces[-1].num_rows)
            missing -= pieces[-1].num_rows
        return pa.concat_tables(pieces)


def open_parquet(path: str | Location, *, whole: bool = False) -> pq.ParquetFile:
    """Open a Parquet file for streaming.

    Parameters
    ----------
    path : the file, local or remote
    whole : whether a remote file is copied here first

    Returns
    -------
    pyarrow.parquet.ParquetFile
        Set up to read page by page, so that one large row group does not fill the memory.

    Raises
    ------
    InputError
        When the file is not a Parquet file, or cannot be reached.
    """
    place = located(path)
    try:
        if isinstance(place, Path):
            with place.open("rb") as local:
                _check_footer(local)
            return pq.ParquetFile(place, pre_buffer=False, buffer_size=_PAGE_BUFFER, **VERIFIED)
        with reaching(place):
            file = open_remote(place, whole=whole, **_REMOTE_BUFFER)
            _check_footer(file)
            return pq.ParquetFile(file, pre_buffer=False, buffer_size=_PAGE_BUFFER, **VERIFIED)
    except pa.ArrowNotImplementedError as error:
        raise InputError(
            f"{path}: a column has a type that pyarrow does not read ({one_line(error)}); convert it, to text for "
            "instance, where the file is written"
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({one_line(error)})") from error


def _check_footer(file: IO[bytes]) -> None:
    """Refuse a file that claims to describe more than it can hold; the description is read whole, and grows in memory.

    Raises
    ------
    OSError
        When the footer is too long.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    length = int.from_bytes(file.read(4), "little")
    file.seek(0)
    if size >= 8 and length > min(max(_FOOTER, size // 8), _MOST_FOOTER):
        raise OSError(f"its footer of {length:,} bytes is too long")


def _check_pages(place: str | Location, metadata: pq.FileMetaData, columns: Sequence[str]) -> None:
    """Refuse a file on this machine whose pages would fill the memory; of others every page would be asked for."""
    if isinstance(local := located(place), Path):
        with local.open("rb") as file:
            check_pages(file, metadata, columns)


def read_table(place: Location, remedy: str) -> pa.Table:
    """Read a small Parquet file whole.

    Parameters
    ----------
    place : the file, one of a few members and their columns
    remedy : what to do where it is damaged, for messages

    Returns
    -------
    pyarrow.Table
        All of it.

    Raises
    ------
    InputError
        When the file is missing, damaged, or longer than such files are.
    """
    try:
        with open_parquet(place) as file, reaching(place):
            told = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
            if file.metadata.num_rows > _MOST_ROWS or sum(one.total_byte_size for one in told) > _MOST_BYTES:
                raise InputError(f"{place}: damaged, more rows than are ever kept: {remedy}")
            _check_pages(place, file.metadata, file.schema_arrow.names)
            return file.read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{place}: missing or damaged ({one_line(error)}): {remedy}") from None
    except InputError as error:
        if error.__cause__ is None:
            raise
        raise InputError(f"{error}: {remedy}") from None


def parquet_rows(path: str | Location, columns: Sequence[str], start: int, step: int) -> Iterator[pa.RecordBatch]:
    """Read rows of a Parquet file in order.

    Parameters
    ----------
    path : the file
    columns : the columns to read, in the order wanted; at least one
    start : the first row
    step : at most so many rows at a time

    Yields
    ------
    pyarrow.RecordBatch
        Non-empty batches, of plain types.

    Raises
    ------
    InputError
        When the file is damaged, or cannot be reached.
    """
    # The pages of many columns lie too far apart for what is held of a remote file.
    with open_parquet(path, whole=len(columns) > _MANY_COLUMNS) as file, reaching(path):
        skip, first = start, 0
        while first < file.num_row_groups and skip >= file.metadata.row_group(first).num_rows:
            skip -= file.metadata.row_group(first).num_rows
            first += 1
        groups = list(range(first, file.num_row_groups))
        try:
            _check_pages(path, file.metadata, columns)
            # Threads would decode every column ahead and multiply the memory.
            for batch in file.iter_batches(step, row_groups=groups, columns=list(columns), use_threads=False):
                check_signals()
                rest = batch.slice(skip)
                skip = max(0, skip - batch.num_rows)
                if rest.num_rows:
                    # By name: the columns come as the file has them, and "a" brings "a.b" along.
                    yield pa.record_batch([plain_array(rest.column(name)) for name in columns], names=list(columns))
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: the Parquet file is damaged ({one_line(error)})") from error


class RowGroups:
    """The row groups of a Parquet file, each read whole; several at once where the file is remote.

    Parameters
    ----------
    place : the file
    """

    def __init__(self, place: Location) -> None:
        self._place = place
        with open_parquet(place) as file:
            self._metadata = file.metadata
            self.schema = plain_schema(file.schema_arrow)

    def __len__(self) -> int:
        return int(self._metadata.num_row_groups)

    def rows_of(self, number: int) -> int:
        """Return how many rows a group has."""
        return int(self._metadata.row_group(number).num_rows)

    def read(self, numbers: Sequence[int], columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns of some groups, both in the order asked for, in plain types."""
        ahead = 1 if is_local(self._place) else _GROUPS
        schema = pa.schema([self.schema.field(name) for name in columns])
        for table in read_ahead(lambda number: self._read(number, schema.names), numbers, ahead):
            pieces = [[plain_array(piece) for piece in table.column(name).chunks] for name in schema.names]
            arrays = [pa.chunked_array(one, field.type) for one, field in zip(pieces, schema, strict=True)]
            yield pa.table(arrays, schema=schema)

    def _read(self, number: int, columns: list[str]) -> pa.Table:
        if isinstance(self._place, Path):
            _check_pages(self._place, self._metadata, columns)
            with pq.ParquetFile(self._place, metadata=self._metadata, **VERIFIED) as file:
                return file.read_row_group(number, columns=columns)
        with reaching(self._place), self._place.fs.open(self._place.path, "rb", cache_type="none") as whole:
            return pq.ParquetFile(whole, metadata=self._metadata, pre_buffer=True, **VERIFIED).read_row_group(
                number, columns=columns, use_threads=False
            )


def take_rows(place: Location, indices: Sequence[int], columns: Sequence[str] | None) -> pa.Table:
    """Return rows of a Parquet file by their numbers, row group by row group.

    Parameters
    ----------
    place : the file
    indices : numbers of rows, in any order
    columns : the columns to read; all of them if None

    Returns
    -------
    pyarrow.Table
        The rows in the order asked for.
    """
    wanted = np.asarray(indices, dtype=np.int64)
    order = np.argsort(wanted, kind="stable")
    groups = RowGroups(place)
    names = list(columns) if columns is not None else groups.schema.names
    stops = np.cumsum([groups.rows_of(number) for number in range(len(groups))], dtype=np.int64)
    group_of = np.searchsorted(stops, wanted[order], side="right")
    numbers = [int(number) for number in np.unique(group_of) if number < len(groups)]
    parts = [groups.schema.empty_table().select(names)]
    for number, table in zip(numbers, groups.read(numbers, names), strict=True):
        inside = wanted[order[group_of == number]]
        parts.append(table.take(pa.array(inside - (stops[number] - table.num_rows))))
    found = pa.concat_tables(parts)
    back = np.empty(len(wanted), dtype=np.int64)
    back[order] = np.arange(len(wanted))
    return found.take(pa.array(back))


def check_distinct(path: str, names: Sequence[str]) -> None:
    """Refuse columns that share a name.

    Parameters
    ----------
    path : the file, for the message
    names : its columns

    Raises
    ------
    InputError
        When a name occurs twice.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: several columns are named {', '.join(repeated)}; rename them")
