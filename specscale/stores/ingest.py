"""From the user's files to an embedding store, in one streaming pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.errors import ChangedError, InputError, OptionError, SpecscaleError
from specscale.stores.ids import check_ids
from specscale.stores.layout import FORMAT
from specscale.stores.metadata import Metadata
from specscale.stores.sources import Batch, Source, open_source
from specscale.stores.tables import RowCursor
from specscale.stores.writer import StoreWriter, check_target

_NAMED_PLACES = 5


@dataclass(frozen=True)
class IngestReport:
    """
    What was ingested.

    Attributes
    ----------
    store, name
        The store and the name of its model.
    n, p, dtype
        Rows, dimensions and type of the store.
    dropped
        Rows left out because they cannot be used.
    dropped_places
        Where the first few of these come from.
    zero_norm
        Rows of norm zero; they are kept.
    digest
        Of the features.
    columns
        Names of the samples' own columns.
    resumed_at
        The source row at which the work of an interrupted run was continued; 0 for a run from the start.
    """

    store: str
    name: str
    n: int
    p: int
    dtype: str
    dropped: int
    dropped_places: tuple[str, ...]
    zero_norm: int
    digest: str
    columns: tuple[str, ...]
    resumed_at: int


def ingest(
    source: str | PathLike[str] | Sequence[str | PathLike[str]],
    store: str | PathLike[str],
    *,
    name: str | None = None,
    key: str | None = None,
    vector: str | None = None,
    id_column: str | None = None,
    metadata: str | PathLike[str] | None = None,
    dtype: str | None = None,
    on_bad: str = "error",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """
    Write an embedding store from files of vectors.

    Memory does not depend on the number of rows (but for 8 bytes a row while ids are checked). An interrupted run
    continues where it stopped when it is run again with the same arguments and files; the store is the same, byte for
    byte. It appears under its name only when it is complete.

    Parameters
    ----------
    source
        A file, a directory or a glob, or several of them, all of one format: ``.npy``, ``.npz``, Parquet, Zarr.
    store
        Directory to write.
    name
        Name of the model; by default from the name of the source.
    key
        Name of the array in an ``.npz`` archive.
    vector
        Column or columns of the vectors in a Parquet file: a list column, a glob, or names separated by commas.
    id_column
        The column of the metadata, or of the Parquet source, that identifies the rows.
    metadata
        Parquet, CSV or JSON lines with a row for every row of the source, in its order.
    dtype
        ``"float16"`` or ``"float32"``; by default float16 for float16 sources and float32 for all others.
    on_bad
        What to do with rows that are null, NaN or infinite, or overflow `dtype`: ``"error"`` or ``"drop"``; ``"keep"``
        leaves them to a comparison, which finds them by their norms.
    overwrite
        Whether to replace a store of this name; it stays until the new one is complete.
    progress
        Called with the rows done and the rows in all.

    Returns
    -------
    IngestReport
        Counts, and the digest of the store.

    Raises
    ------
    InputError
        A file, a row or a column cannot be used.
    OptionError
        An argument has no such value, or does not go with the format of the source.
    ExistsError
        `store` exists and is not to be replaced.
    ChangedError
        A file changed while it was read.
    """
    target = Path(store)
    check_target(target, overwrite)
    if dtype not in (None, "float16", "float32"):
        raise OptionError(f"--dtype {dtype}: no such type; choose float16 or float32")
    if on_bad not in ("error", "drop", "keep"):
        raise OptionError(f"--on-bad {on_bad}: no such choice; choose error or drop")
    paths = [fspath(source)] if isinstance(source, str | PathLike) else [fspath(path) for path in source]

    rows = open_source(paths, key=key, vector=vector)
    columns = _Columns(rows, Metadata(fspath(metadata)) if metadata is not None else None)
    if id_column is not None:
        columns.check_ids(id_column)
    kind = np.dtype(dtype or ("float16" if rows.dtype == np.float16 else "float32"))
    model = name or rows.name

    identity = {
        "format": FORMAT,
        "rows": rows.fingerprint,
        "paths": list(rows.paths),
        "columns": columns.fingerprint,
        "options": [model, key, vector, id_column, kind.name, on_bad],
    }
    writer = StoreWriter(target, identity, rows.n, rows.p, kind, columns.schema)
    try:
        check_target(target, overwrite)
        resumed_at = writer.journal.next_row
        _copy(rows, columns, writer, kind, on_bad, progress or _silent)
        if writer.journal.dropped == rows.n:
            raise InputError(f"{rows.locate(0)} and all {rows.n} rows are unusable and were dropped; nothing is left")
        if open_source(paths, key=key, vector=vector).fingerprint != rows.fingerprint:
            raise ChangedError(f"{paths[0]}: the source changed while it was read; run the same command again")
        attributes = writer.finish(rows.n, model, rows.paths, id_column)
    except SpecscaleError:
        # The remedy changes an option or a file, so there is nothing to continue from.
        writer.discard()
        raise
    finally:
        writer.close()
    return IngestReport(
        store=str(target),
        name=model,
        n=attributes["n"],
        p=attributes["p"],
        dtype=attributes["dtype"],
        dropped=attributes["dropped"],
        dropped_places=tuple(rows.locate(row) for row in attributes["dropped_rows"][:_NAMED_PLACES]),
        zero_norm=attributes["zero_norm"],
        digest=attributes["digest"],
        columns=tuple(attributes["columns"]),
        resumed_at=resumed_at,
    )


class _Columns:
    """The samples' own columns from both places they may be in: the source itself and the metadata."""

    def __init__(self, rows: Source, metadata: Metadata | None) -> None:
        self._rows = rows
        self._metadata = metadata
        self.fingerprint = metadata.fingerprint if metadata is not None else ""
        own = list(rows.schema) if rows.schema is not None else []
        added = list(metadata.schema) if metadata is not None else []
        if metadata is not None and metadata.n != rows.n:
            raise InputError(
                f"{metadata.path}: {metadata.n} rows of metadata for {rows.n} rows of vectors in {rows.paths[0]}"
                f"{' and the files after it' if len(rows.paths) > 1 else ''}; there must be one for each"
            )
        both = sorted({field.name for field in own} & {field.name for field in added})
        if metadata is not None and both:
            raise InputError(
                f"{metadata.path}: {rows.paths[0]} has columns of the same name: {', '.join(both)};"
                " rename or remove them in one of the two"
            )
        self.schema = pa.schema([*own, *added]) if own or added else None

    def stream(self, start: int) -> Callable[[Batch], pa.Table | None]:
        """Return a function that gives each batch, from row `start` on, its columns."""
        cursor = RowCursor(self._metadata.tables(start=start)) if self._metadata is not None else None
        path = self._metadata.path if self._metadata is not None else ""

        def columns_of(batch: Batch) -> pa.Table | None:
            if cursor is None:
                return batch.columns
            added = cursor.take(len(batch.vectors))
            if added.num_rows != len(batch.vectors):
                raise ChangedError(f"{path}: has fewer rows than before; run the same command again")
            own = batch.columns
            return (
                added
                if own is None
                else pa.Table.from_arrays(
                    [*own.columns, *added.columns], schema=pa.schema([*own.schema, *added.schema])
                )
            )

        return columns_of

    def check_ids(self, column: str) -> None:
        """Refuse a column that is not there, or whose values are not ids."""
        from_metadata = self._metadata is not None and column in self._metadata.schema.names
        if self.schema is None or column not in self.schema.names:
            has = f"the columns are {', '.join(self.schema.names)}" if self.schema is not None else "there are none"
            raise InputError(f"--id {column}: no such column in the source or its metadata; {has}")
        read, locate = self._rows.tables, self._rows.locate
        if from_metadata and self._metadata is not None:
            read, locate = self._metadata.tables, self._metadata.locate

        def arrays() -> Iterator[pa.ChunkedArray]:
            return (table.column(column) for table in read([column]))

        check_ids(column, self._rows.n, arrays, locate)


def _copy(
    rows: Source,
    columns: _Columns,
    writer: StoreWriter,
    dtype: np.dtype[Any],
    on_bad: str,
    progress: Callable[[int, int], None],
) -> None:
    start = writer.journal.next_row
    progress(start, rows.n)
    columns_of = columns.stream(start)
    for batch in rows.batches(start):
        with np.errstate(over="ignore", invalid="ignore"):
            vectors = batch.vectors.astype(dtype, copy=False)
        usable = np.isfinite(vectors).all(axis=1)  # nulls read as NaN
        if on_bad == "error" and not usable.all():
            raise InputError(_complaint(rows, batch, vectors, int(np.argmin(usable))))
        if on_bad == "keep":
            usable[:] = True
        writer.add(batch.start, vectors, columns_of(batch), usable)
        progress(batch.start + len(vectors), rows.n)


def _complaint(rows: Source, batch: Batch, vectors: NDArray[Any], index: int) -> str:
    dimension = int(np.argmin(np.isfinite(vectors[index])))
    value = batch.vectors[index, dimension]
    remedy = "drop such rows with --on-bad drop"
    if batch.null is not None and batch.null[index]:
        what = "null"
    elif np.isnan(value):
        what = "NaN"
    elif np.isinf(value):
        what = "infinity"
    else:
        what = f"{value:g} does not fit in {vectors.dtype.name}"
        if vectors.dtype == np.float16:
            remedy = f"use --dtype float32, or {remedy}"
    return f"{rows.locate(batch.start + index)}, {rows.dimension(dimension)}: {what}; {remedy}"


def _silent(done: int, total: int) -> None:
    pass
