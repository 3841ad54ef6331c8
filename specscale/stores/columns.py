"""The samples' own columns, on their way into a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike

import pyarrow as pa

from specscale.embeddings.ids import check_ids
from specscale.errors import ChangedError, InputError
from specscale.sources import Batch, Choice, Source
from specscale.sources.beside import conversion
from specscale.sources.metadata import Metadata
from specscale.stores.beginning import StoredRows
from specscale.tables.parquet import RowCursor
from specscale.wording import some

__all__ = ["SampleColumns"]


class SampleColumns:
    """The samples' own columns from both places they may be in: the source itself and the metadata.

    Parameters
    ----------
    rows : the source
    path : the metadata, if there are any
    before : the store that the rows follow, if there is one
    choice : the columns that are wanted

    Attributes
    ----------
    schema : the columns of the store; None where there are none
    left_out : names of the columns that are not among them
    fingerprint : of the metadata

    Raises
    ------
    InputError
        When there is not one row of metadata for each row of the source, both have a column of one name, or the columns
        are not those of the store that the rows follow.
    """

    def __init__(
        self, rows: Source, path: str | PathLike[str] | None, before: StoredRows | None, choice: Choice
    ) -> None:
        known = (before.store.path, before.schema) if before is not None and before.schema is not None else None
        metadata = Metadata(str(path), known, choice) if path is not None else None
        self._rows = rows
        self._metadata = metadata
        self._before = before
        self.fingerprint = metadata.fingerprint if metadata is not None else ""
        own = list(rows.schema) if rows.schema is not None else []
        added = list(metadata.schema) if metadata is not None else []
        if metadata is not None and metadata.n != rows.n:
            raise InputError(
                f"{metadata.path}: {metadata.n:,} rows of metadata for {rows.n:,} rows of vectors in {rows.paths[0]}"
                f"{' and the files after it' if len(rows.paths) > 1 else ''}; there must be one for each"
            )
        both = sorted({field.name for field in own} & {field.name for field in added})
        if metadata is not None and both:
            raise InputError(
                f"{metadata.path}: {rows.paths[0]} has columns of the same name: {some(both)};"
                " rename or remove them in one of the two"
            )
        offered = list(dict.fromkeys([*rows.offered, *(metadata.offered if metadata is not None else [])]))
        choice.check(offered, rows.vectors)
        self.schema = pa.schema([*own, *added]) if own or added else None
        if before is not None:
            self.schema = before.settled(self.schema, metadata.path if metadata is not None else rows.paths[0])
            # Read in the types of the store, so that a value which does not fit is named where it is.
            rows.schema = _retyped(rows.schema, self.schema)
            if metadata is not None:
                metadata.schema = _retyped(metadata.schema, self.schema)
        taken = set(self.schema.names) if self.schema is not None else set()
        self.left_out = tuple(name for name in offered if name not in taken)

    def stream(self, start: int) -> Callable[[Batch], pa.Table | None]:
        """Return a function that gives each batch, from row `start` on, its columns."""
        cursor = RowCursor(self._metadata.tables(start=start)) if self._metadata is not None else None
        path = self._metadata.path if self._metadata is not None else ""

        def columns_of(batch: Batch) -> pa.Table | None:
            columns = batch.columns
            if cursor is not None:
                added = cursor.take(len(batch.vectors))
                if added.num_rows != len(batch.vectors):
                    raise ChangedError(f"{path}: has fewer rows than before; run the same command again")
                both = [added] if columns is None else [columns, added]
                columns = pa.table({name: table.column(name) for table in both for name in table.column_names})
            # In the order of the store that the rows follow.
            return columns.select(self.schema.names) if columns is not None and self.schema is not None else None

        return columns_of

    def check_ids(self, column: str) -> None:
        """Refuse a column that is not there, or whose values are not ids."""
        from_metadata = self._metadata is not None and column in self._metadata.schema.names
        if self.schema is None or column not in self.schema.names:
            if (advice := conversion(self._rows.paths[0], column)) is not None:
                raise InputError(f"--id {column}: {advice}")
            has = f"the columns are {some(self.schema.names)}" if self.schema else "there are none: give --metadata"
            raise InputError(f"--id {column}: no such column in the source or its metadata; {has}")
        read, locate_new = self._rows.tables, self._rows.locate
        if from_metadata and self._metadata is not None:
            read, locate_new = self._metadata.tables, self._metadata.locate
        before = self._before
        n = before.n if before is not None else 0

        def arrays() -> Iterator[pa.ChunkedArray]:
            if before is not None:
                yield from before.ids()
            for table in read([column]):
                yield table.column(column)

        def locate(row: int) -> str:
            return locate_new(row - n) if before is None or row >= n else f"{before.store.path}, row {row}"

        check_ids(column, n + self._rows.n, arrays, locate)


def _retyped(schema: pa.Schema | None, types: pa.Schema | None) -> pa.Schema | None:
    if schema is None or types is None:
        return schema
    return pa.schema([types.field(name) for name in schema.names])
