"""From the user's files to an embedding store, in one streaming pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from upath import UPath

from specscale.errors import ChangedError, ExistsError, InputError, OptionError, SpecscaleError
from specscale.files import Location, located
from specscale.stores.arrays import are_paths, is_lazy, taken
from specscale.stores.beginning import StoredRows
from specscale.stores.computed import computed
from specscale.stores.ids import check_ids
from specscale.stores.layout import FORMAT
from specscale.stores.metadata import Metadata
from specscale.stores.publishing import Partial, finish_earlier, is_finished, was_published
from specscale.stores.sources import Batch, Source
from specscale.stores.sources.array import open_given
from specscale.stores.sources.refusals import ids_beside, some
from specscale.stores.tables import RowCursor, one_line
from specscale.stores.writer import StoreWriter, check_target

_NAMED_PLACES = 5
_DROP = "drop such rows with --on-bad drop"
_OVERFLOW = f"use --dtype float32, or {_DROP}"


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
        Rows of the source left out because they cannot be used.
    dropped_places
        Where the first few of these come from.
    zero_norm
        Rows of norm zero in the store; they are kept.
    digest
        Of the features.
    columns
        Names of the samples' own columns.
    resumed_at
        The source row at which the work of an interrupted run was continued; 0 for a run from the start.
    appended
        Rows that were added to those of the store; 0 for a new store.
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
    appended: int = 0


def ingest(
    source: str | PathLike[str] | Sequence[str | PathLike[str]] | Any,
    store: str | PathLike[str] | UPath,
    *,
    name: str | None = None,
    key: str | None = None,
    vector: str | None = None,
    id_column: str | None = None,
    metadata: str | PathLike[str] | None = None,
    dtype: str | None = None,
    on_bad: str = "error",
    overwrite: bool = False,
    append: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """
    Write an embedding store from files of vectors, or add rows to one.

    Memory does not depend on the number of rows (but for 8 bytes a row while ids are checked). An interrupted run
    continues where it stopped when it is run again with the same arguments and files; the store is the same, byte for
    byte. It appears under its name only when it is complete.

    With `append` the rows follow those of a store that is there, and the store becomes, byte for byte, the one that
    ingesting all rows at once would have made. Full chunks are not written again. Until all rows are there the store
    stays as it was, and who has opened it goes on reading its old rows. A source without rows is refused here as ever.

    Parameters
    ----------
    source
        A file, a directory or a glob, or a URL of one, or several, all of one format: ``.npy``, ``.npz``, Parquet,
        Zarr. Or an array (n, p) of floating-point numbers, as a memory map, which is read a few rows at a time; one of
        Dask is computed chunk by chunk, and an interrupted run computes it again.
    store
        Directory to write, or a URL such as ``s3://bucket/clip.zarr``.
    name
        Name of the model; by default from the name of the source. A store that rows are added to keeps its name.
    key
        Name of the array in an ``.npz`` archive.
    vector
        Column or columns of the vectors in a Parquet file: a list column, a glob, or names separated by commas.
    id_column
        The column of the metadata, or of the Parquet source, that identifies the rows; by default that of the store
        that rows are added to.
    metadata
        Parquet, CSV or JSON lines with a row for every row of the source, in its order.
    dtype
        ``"float16"`` or ``"float32"``; by default float16 for float16 sources and float32 for all others, and the type
        of the store that rows are added to.
    on_bad
        What to do with rows that are null, NaN or infinite, or overflow `dtype`: ``"error"`` or ``"drop"``; ``"keep"``
        leaves them to a comparison, which finds them by their norms.
    overwrite
        Whether to replace a store of this name; it stays until the new one is complete.
    append
        Whether to add the rows to a store of this name, which has as many dimensions and columns of the same names and
        types.
    progress
        Called with the rows done and the rows in all.

    Returns
    -------
    IngestReport
        Counts, and the digest of the store.

    Raises
    ------
    InputError
        A file, a row or a column cannot be used, or does not go with the store that rows are added to; or an object
        store cannot be reached.
    OptionError
        An argument has no such value, or does not go with the format of the source or with the store.
    ExistsError
        `store` exists and is not to be replaced, or another process writes it.
    ChangedError
        A file changed while it was read.
    """
    target = located(store)
    source = taken(source, name or "array")
    if is_lazy(source):
        with computed(source, target, name or "array") as path:
            return ingest(
                path, store, name=name if append else name or "array", id_column=id_column, metadata=metadata,
                dtype=dtype, on_bad=on_bad, overwrite=overwrite, append=append, progress=progress,
            )  # fmt: skip
    if not target.name:
        raise OptionError(f"{store}: is no name for a store; give it a name of its own")
    if append and overwrite:
        raise OptionError("--append adds rows to a store and --overwrite replaces it: give one of the two")
    finish_earlier(target)
    before = StoredRows(target) if append else None
    if before is None and not was_published(target):
        check_target(target, overwrite)
    if dtype not in (None, "float16", "float32"):
        raise OptionError(f"--dtype {dtype}: no such type; choose float16 or float32")
    if on_bad not in ("error", "drop", "keep"):
        raise OptionError(f"--on-bad {on_bad}: no such choice; choose error or drop")
    opened = partial(open_given, source, name, key=key, vector=vector)
    rows = opened()
    columns = _Columns(rows, metadata, before)
    if before is not None:
        _check_goes_with(before, rows, name, dtype, id_column)
        id_column = before.store.ids.column if before.store.ids is not None else None
        kind, model = before.store.dtype, before.store.name
    else:
        kind = np.dtype(dtype or ("float16" if rows.dtype == np.float16 else "float32"))
        model = name or rows.name

    identity = {
        "format": FORMAT,
        "rows": rows.fingerprint,
        "paths": list(rows.paths),
        "columns": columns.fingerprint,
        "options": [model, key, vector, id_column, kind.name, on_bad],
    }
    if before is not None:
        identity["append"] = True
    if (id_column is not None or before is not None) and not is_finished(Partial(target), identity):
        if id_column is not None:
            columns.check_ids(id_column)
        elif before is not None:
            _check_new(before, rows)
    writer = StoreWriter(target, identity, rows.n, rows.p, kind, columns.schema, before)
    try:
        if before is None and not writer.finished:
            check_target(target, overwrite)
        resumed_at = writer.journal.next_row
        overflow = _OVERFLOW if before is None else f"ingest all rows afresh into a float32 store, or {_DROP}"
        _copy(rows, columns, writer, kind, on_bad, overflow, progress or (lambda done, total: None))
        if writer.journal.dropped == rows.n:
            raise InputError(f"{rows.locate(0)} and all {rows.n} rows are unusable and were dropped; nothing is left")
        if are_paths(source) and opened().fingerprint != rows.fingerprint:
            raise ChangedError(f"{rows.paths[0]}: the source changed while it was read; run the same command again")
        if before is None and not writer.finished:
            _check_free(target, overwrite, writer)
        attributes = writer.finish(rows.n, model, rows.paths, id_column)
    except SpecscaleError:
        # The remedy changes an option or a file, so there is nothing to continue from.
        writer.discard()
        raise
    finally:
        writer.close()
    dropped = writer.journal.dropped
    return IngestReport(
        store=str(target),
        name=model,
        n=attributes["n"],
        p=attributes["p"],
        dtype=attributes["dtype"],
        dropped=dropped,
        dropped_places=tuple(rows.locate(row) for row in writer.journal.dropped_rows[:_NAMED_PLACES]),
        zero_norm=attributes["zero_norm"],
        digest=attributes["digest"],
        columns=tuple(attributes["columns"]),
        resumed_at=resumed_at,
        appended=rows.n - dropped if append else 0,
    )


def _check_free(target: Location, overwrite: bool, writer: StoreWriter) -> None:
    """Leave alone what has appeared under the store's name during the work."""
    try:
        check_target(target, overwrite)
    except ExistsError as error:
        writer.keep()
        raise ExistsError(f"{error}; the work is kept: free the name, and the same command finishes it") from None


def _check_goes_with(
    before: StoredRows, rows: Source, name: str | None, dtype: str | None, id_column: str | None
) -> None:
    """Refuse rows and options that do not go with the store that the rows are to follow."""
    store = before.store
    ids = store.ids.column if store.ids is not None else None
    for option, given, kept in (("--name", name, store.name), ("--dtype", dtype, store.dtype.name)):
        if given not in (None, kept):
            raise OptionError(f"{option} {given}: {store.path} has {kept}, and --append keeps it; leave {option} out")
    if id_column not in (None, ids):
        has = f"has its ids in {ids}" if ids is not None else "has no ids"
        raise OptionError(f"--id {id_column}: {store.path} {has}, and --append keeps it so; leave --id out")
    if rows.p != store.p:
        raise InputError(
            f"{rows.locate(0)}: its rows have {rows.p} dimensions, those of {store.path} have {store.p}; give vectors "
            "of the same model"
        )


def _check_new(before: StoredRows, rows: Source) -> None:
    """Refuse rows without ids that a store ends with: the command that added them was given again."""
    store, begin = before.store, before.n - rows.n
    if begin < 0:
        return
    for batch in rows.batches():
        start = begin + batch.start
        with np.errstate(over="ignore"):
            vectors = batch.vectors.astype(store.dtype)
        if not np.array_equal(vectors, store.read(start, start + len(vectors))):
            return
    raise InputError(
        f"{rows.paths[0]}: {store.path} ends with these {rows.n:,} rows, they were appended before; to have them there "
        "twice append them in two parts"
    )


class _Columns:
    """The samples' own columns from both places they may be in: the source itself and the metadata."""

    def __init__(self, rows: Source, path: str | PathLike[str] | None, before: StoredRows | None) -> None:
        known = (before.store.path, before.schema) if before is not None and before.schema is not None else None
        metadata = Metadata(str(path), known) if path is not None else None
        self._rows = rows
        self._metadata = metadata
        self._before = before
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
        if before is not None:
            self.schema = before.settled(self.schema, metadata.path if metadata is not None else rows.paths[0])

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
            return columns if self._before is None else self._as_before(columns, batch)

        return columns_of

    def _as_before(self, columns: pa.Table | None, batch: Batch) -> pa.Table | None:
        if columns is None or self.schema is None:
            return None
        try:
            return columns.select(self.schema.names).cast(self.schema)
        except pa.ArrowException as error:
            raise InputError(
                f"{self._rows.locate(batch.start)} and the rows after it: a column does not fit the store "
                f"({one_line(error)}); convert it"
            ) from None

    def check_ids(self, column: str) -> None:
        """Refuse a column that is not there, or whose values are not ids."""
        from_metadata = self._metadata is not None and column in self._metadata.schema.names
        if self.schema is None or column not in self.schema.names:
            has = (
                f"the columns are {some(self.schema.names)}" if self.schema else "there are none; give --metadata FILE"
            )
            beside = ids_beside(self._rows.paths[0], column)
            raise InputError(f"--id {column}: no such column in the source or its metadata; {has}{beside}")
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


def _copy(
    rows: Source,
    columns: _Columns,
    writer: StoreWriter,
    dtype: np.dtype[Any],
    on_bad: str,
    overflow: str,
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
            raise InputError(_complaint(rows, batch, vectors, int(np.argmin(usable)), overflow))
        if on_bad == "keep":
            usable[:] = True
        writer.add(batch.start, vectors, columns_of(batch), usable)
        progress(batch.start + len(vectors), rows.n)


def _complaint(rows: Source, batch: Batch, vectors: NDArray[Any], index: int, overflow: str) -> str:
    dimension = int(np.argmin(np.isfinite(vectors[index])))
    value = batch.vectors[index, dimension]
    remedy = _DROP
    if batch.null is not None and batch.null[index]:
        what = "null"
    elif np.isnan(value):
        what = "NaN"
    elif np.isinf(value):
        what = "infinity"
    else:
        what = f"{value:g} does not fit in {vectors.dtype.name}"
        if vectors.dtype == np.float16:
            remedy = overflow
    return f"{rows.locate(batch.start + index)}, {rows.dimension(dimension)}: {what}; {remedy}"
