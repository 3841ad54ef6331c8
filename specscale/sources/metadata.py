"""The samples' own columns from files beside the vectors: Parquet, CSV, JSON lines.

The files may be cut differently from the vectors' files: rows are matched by their number over all files alone.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from types import MappingProxyType
from typing import Protocol

import pyarrow as pa

from specscale.embeddings.layout import CHUNK_ROWS
from specscale.errors import InputError
from specscale.sources.choosing import Choice
from specscale.sources.paths import expand, fingerprint, suffix
from specscale.sources.text_tables import CsvTable, JsonLines
from specscale.tables.parquet import check_distinct, open_parquet, parquet_rows
from specscale.tables.types import is_text, plain_schema
from specscale.tables.widening import Columns, common_schema, converted


class TableFile(Protocol):
    """One file of columns: its path, its number of rows, its schema, and the rows from any row on."""

    path: str
    n: int
    schema: pa.Schema

    def tables(self, schema: pa.Schema, start: int = 0) -> Iterator[pa.Table]:
        """Yield the columns of `schema`, in its types or those of the file, from row `start` on."""
        ...


class ParquetTable:
    """A Parquet file of columns.

    Parameters
    ----------
    path : the file

    Raises
    ------
    InputError
        When the file is not a Parquet file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with open_parquet(path) as file:
            self.n: int = file.metadata.num_rows
            check_distinct(path, file.schema_arrow.names)
            self.schema = plain_schema(file.schema_arrow)

    def tables(self, schema: pa.Schema, start: int = 0) -> Iterator[pa.Table]:
        """Yield the columns of `schema`, in the types of the file, from row `start` on."""
        for batch in parquet_rows(self.path, schema.names, start, CHUNK_ROWS):
            yield pa.Table.from_batches([batch])


_OPENERS: Mapping[str, Callable[[str], TableFile]] = MappingProxyType(
    {"Parquet": ParquetTable, "CSV": CsvTable, "JSON lines": JsonLines}
)
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        ".parquet": "Parquet",
        ".pq": "Parquet",
        ".csv": "CSV",
        ".tsv": "CSV",
        ".jsonl": "JSON lines",
        ".ndjson": "JSON lines",
    }
)


class Metadata:
    """Columns of one or several files, as one table that is never whole in memory.

    Parameters
    ----------
    path : a file, a directory or a glob; of several files the natural order counts
    before : path and columns of rows that come before these, whose types hold for these too where that loses nothing
    choice : the columns that are wanted

    Attributes
    ----------
    n : rows of all files
    offered : names of all columns
    schema : columns, with types that hold in all files
    fingerprint : changes when a file does

    Raises
    ------
    InputError
        When a file is missing or cannot be used, or the files do not go together.
    """

    def __init__(self, path: str, before: tuple[str, pa.Schema] | None = None, choice: Choice | None = None) -> None:
        paths = expand([path], _KINDS, lambda _: False)
        kinds = {_kind(file): file for file in reversed(paths)}
        if len(kinds) > 1:
            listing = ", ".join(f"{kind} ({file})" for kind, file in kinds.items())
            raise InputError(f"{path}: files of several kinds: {listing}; give one kind")
        files = [_OPENERS[_kind(file)](file) for file in paths]
        filled = [file for file in files if file.n > 0] or files[:1]
        self.path = path
        self.n = sum(file.n for file in filled)
        self.offered = list(dict.fromkeys(name for file in filled for name in file.schema.names))
        choice = choice or Choice()
        tables = [Columns(file.path, choice.riding(file.schema, nested=True), _reader(file)) for file in filled]
        if before is not None:
            first = tables[0].schema
            names = [name for name in before[1].names if name in first.names]
            fields = [
                *(before[1].field(name) for name in names),
                *(field for field in first if field.name not in names),
            ]
            tables.insert(0, Columns(before[0], pa.schema(fields)))
        self.schema = _settled(tables, "CSV" in kinds)
        self.fingerprint = " ".join(fingerprint(file) for file in paths)
        self._files = filled
        self._starts = [0, *accumulate(file.n for file in filled)]

    def tables(self, columns: Sequence[str] | None = None, start: int = 0) -> Iterator[pa.Table]:
        """Yield rows in order.

        Parameters
        ----------
        columns : the columns wanted; all by default
        start : the first row

        Yields
        ------
        pyarrow.Table
            A few rows each.
        """
        names = self.schema.names if columns is None else columns
        schema = pa.schema([self.schema.field(name) for name in names])
        for offset, file in zip(self._starts, self._files, strict=False):
            row = max(start - offset, 0)
            if row < file.n:
                for table in file.tables(schema, row):
                    yield converted(table, schema, _located(file, row))
                    row += table.num_rows

    def locate(self, row: int) -> str:
        """Say where a row comes from.

        Parameters
        ----------
        row : row of all files, from 0

        Returns
        -------
        str
            File and row of the file, from 0, a header not counted.
        """
        index = bisect.bisect_right(self._starts, row) - 1
        return f"{self._files[index].path}, row {row - self._starts[index]}"


def _kind(path: str) -> str:
    kind = _KINDS.get(suffix(path))
    if kind is None:
        raise InputError(f"{path}: not a metadata file that can be read; these can: {', '.join(sorted(_KINDS))}")
    return kind


def _reader(file: TableFile) -> Callable[[str], Iterator[pa.ChunkedArray]]:
    return lambda name: (table.column(name) for table in file.tables(pa.schema([file.schema.field(name)])))


def _located(file: TableFile, start: int) -> Callable[[int], str]:
    return lambda row: f"{file.path}, row {start + row}"


def _settled(tables: list[Columns], from_text: bool) -> pa.Schema:
    if from_text:
        # Numbers in one file and words in the next are text throughout: nothing else was said of their type.
        words = {field.name for table in tables for field in table.schema if is_text(field.type)}
        tables = [
            replace(
                table, schema=pa.schema([(f.name, pa.string() if f.name in words else f.type) for f in table.schema])
            )
            for table in tables
        ]
    common = common_schema(tables)
    return pa.schema(
        [pa.field(field.name, pa.string() if pa.types.is_null(field.type) else field.type) for field in common]
    )
