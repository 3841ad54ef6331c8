"""From the user's files to an embedding store, in one streaming pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
from upath import UPath

from specscale.embeddings.coercion import are_paths, is_lazy, taken
from specscale.embeddings.layout import FORMAT
from specscale.errors import ChangedError, ExistsError, InputError, OptionError, SpecscaleError
from specscale.masking import masked
from specscale.places.files import Location, followed, located, unchained
from specscale.sources import Choice, Source
from specscale.sources.choosing import listed
from specscale.sources.given import open_given
from specscale.sources.zarr_array import is_zarr
from specscale.stopping import check_signals, stoppable
from specscale.stores.beginning import StoredRows
from specscale.stores.columns import SampleColumns
from specscale.stores.computed import computed
from specscale.stores.copying import DROP, copy_rows
from specscale.stores.publishing import Partial, finish_earlier, is_finished, was_published
from specscale.stores.writer import StoreWriter, check_target

_NAMED_PLACES = 5
_OVERFLOW = f"use --dtype float32, or {DROP}"


@dataclass(frozen=True)
class IngestReport:
    """What was ingested.

    Attributes
    ----------
    store, name : str
        The store and the name of its model.
    n, p, dtype : int, int, str
        Rows, dimensions and type of the store.
    dropped : int
        Rows of the source left out because they cannot be used.
    dropped_places : tuple of str
        Where the first few of these come from.
    zero_norm : int
        Rows of norm zero in the store; they are kept.
    digest : str
        Of the features.
    columns : tuple of str
        Names of the samples' own columns.
    resumed_at : int
        The source row at which the work of an interrupted run was continued; 0 for a run from the start.
    appended : int
        Rows that were added to those of the store; 0 for a new store.
    absent : tuple of str
        Which rows of the source are in missing or unfinished chunks, a line for each array.
    notes : tuple of str
        What else was done to the numbers of the source, as its attributes say.
    vectors : tuple of str
        Names of the columns that the vectors were taken from, in the order of the dimensions; empty where the source
        has no columns.
    left_out : tuple of str
        Names of the columns of the source and of the metadata that are not in the store.
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
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@stoppable()
def ingest(
    source: str | PathLike[str] | Sequence[str | PathLike[str]] | Any,
    store: str | PathLike[str] | UPath,
    *,
    name: str | None = None,
    key: str | None = None,
    vector: str | None = None,
    columns: str | Sequence[str] | None = None,
    id_column: str | None = None,
    metadata: str | PathLike[str] | None = None,
    dtype: str | None = None,
    on_bad: str = "error",
    overwrite: bool = False,
    append: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Write an embedding store from files of vectors, or add rows to one.

    Memory does not depend on the number of rows (but for 8 bytes a row while ids are checked). An interrupted run
    continues where it stopped when it is run again with the same arguments and files; the store is the same, byte for
    byte. It appears under its name only when it is complete.

    With `append` the rows follow those of a store that is there, and the store becomes, byte for byte, the one that
    ingesting all rows at once would have made. Full chunks are not written again. Until all rows are there the store
    stays as it was, and who has opened it goes on reading its old rows. A source without rows is refused here as ever.

    Parameters
    ----------
    source : str, path, sequence of these, or array
        A file, a directory or a glob, or a URL of one, or several, all of one format: ``.npy``, ``.npz``, Parquet,
        Zarr. Or an array (n, p) of floating-point numbers, as a memory map, which is read a few rows at a time; one of
        Dask is computed chunk by chunk, and an interrupted run computes it again.
    store : str or path
        Directory to write, or a URL such as ``s3://bucket/clip.zarr``.
    name : str, optional
        Name of the model; by default from the name of the source. A store that rows are added to keeps its name.
    key : str, optional
        Name of the array in an ``.npz`` archive.
    vector : str, optional
        Column or columns of the vectors in a Parquet file: a list column; or columns of floats, one for each dimension,
        as names, globs and ranges (``x0..x31``) separated by commas. By default the only list of floats, or the columns
        of floats whose names differ in a number that runs without a gap; for rows that are added to a store the columns
        that its vectors came from.
    columns : str or sequence of str, optional
        Which other columns of the source and the metadata ride along: names, globs and ranges, separated by commas or
        in a list, or ``"none"``. By default all but the lists, structs and maps of a Parquet source. The ids always do.
    id_column : str, optional
        The column of the metadata, or of the Parquet source, that identifies the rows; by default that of the store
        that rows are added to.
    metadata : str or path, optional
        Parquet, CSV or JSON lines with a row for every row of the source, in its order.
    dtype : str, optional
        ``"float16"`` or ``"float32"``; by default float16 for float16 sources and float32 for all others, and the type
        of the store that rows are added to.
    on_bad : str
        What to do with rows that are null, NaN or infinite, overflow `dtype`, or are in a chunk that is absent from a
        Zarr array: ``"error"`` or ``"drop"``; ``"zero"`` refuses them too, but reads what is in no chunk as the fill
        value of the array; ``"keep"`` leaves them to a comparison, which finds them by their norms.
    overwrite : bool
        Whether to replace a store of this name; it stays until the new one is complete.
    append : bool
        Whether to add the rows to a store of this name, which has as many dimensions and columns of the same names and
        types.
    progress : callable, optional
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
    target = followed(located(unchained(store)))
    if on_bad not in ("error", "drop", "zero", "keep"):
        raise OptionError(f"--on-bad {on_bad}: no such choice; choose error, drop or zero")
    source = taken(source, name or "array")
    if is_lazy(source):
        if on_bad == "zero":
            raise OptionError("--on-bad zero: a Dask array lacks no chunks; choose error or drop")
        with computed(source, target, name or "array") as path:
            return ingest(
                path, store, name=name if append else name or "array", columns=columns, id_column=id_column,
                metadata=metadata, dtype=dtype, on_bad=on_bad, overwrite=overwrite, append=append, progress=progress,
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
    ids_before = before.store.ids if before is not None else None
    id_names = (id_column,) if id_column is not None else (ids_before.column,) if ids_before is not None else ()
    if columns is not None and not isinstance(columns, str):
        columns = ",".join(columns) or "none"
    choice = Choice(columns, id_names)
    earlier = before.vectors if before is not None else ()
    opened = partial(open_given, source, name, earlier=earlier, choice=choice, key=key, vector=vector)
    rows = opened()
    if on_bad == "zero" and not is_zarr(rows.paths[0]):
        raise OptionError(
            f"--on-bad zero fills chunks that are absent from a Zarr array, and {rows.paths[0]} is none; choose error "
            "or drop"
        )
    own = SampleColumns(rows, metadata, before, choice)
    if before is not None:
        _check_goes_with(before, rows, name, dtype, id_column)
        id_column = ids_before.column if ids_before is not None else None
        kind, model = before.store.dtype, before.store.name
    else:
        kind = np.dtype(dtype or ("float16" if rows.dtype == np.float16 else "float32"))
        model = name or rows.name

    identity = {
        "format": FORMAT,
        "rows": rows.fingerprint,
        "paths": list(map(masked, rows.paths)),  # the fingerprint is of what they were
        "columns": own.fingerprint,
        "options": [model, key, vector, columns, id_column, kind.name, on_bad],
    }
    if before is not None:
        identity["append"] = True
    if (id_column is not None or before is not None) and not is_finished(Partial(target), identity):
        if id_column is not None:
            own.check_ids(id_column)
        elif before is not None:
            _check_new(before, rows)
    writer = StoreWriter(target, identity, rows.n, rows.p, kind, own.schema, before, rows.dropped, rows.dropped_rows)
    try:
        if before is None and not writer.finished:
            check_target(target, overwrite)
        resumed_at = writer.journal.next_row
        overflow = _OVERFLOW if before is None else f"ingest all rows afresh into a float32 store, or {DROP}"
        holes = copy_rows(rows, own.stream, writer, kind, on_bad, overflow, progress or _silent)
        if writer.journal.dropped == rows.n:
            raise InputError(f"{rows.locate(0)} and all {rows.n} rows are unusable and were dropped; nothing is left")
        if are_paths(source) and opened().fingerprint != rows.fingerprint:
            raise ChangedError(f"{rows.paths[0]}: the source changed while it was read; run the same command again")
        if before is None and not writer.finished:
            _check_free(target, overwrite, writer)
        attributes = writer.finish(rows.n, model, tuple(map(masked, rows.paths)), id_column, earlier or rows.vectors)
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
        dropped_places=tuple(masked(rows.locate(row)) for row in writer.journal.dropped_rows[:_NAMED_PLACES]),
        zero_norm=attributes["zero_norm"],
        digest=attributes["digest"],
        columns=tuple(attributes["columns"]),
        resumed_at=resumed_at,
        appended=rows.n - dropped if append else 0,
        absent=tuple(map(masked, holes.describe())),
        notes=tuple(map(masked, rows.notes)),
        vectors=rows.vectors,
        left_out=own.left_out,
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
    if rows.vectors != before.vectors and sorted(rows.vectors) == sorted(before.vectors):
        raise OptionError(
            f"{rows.paths[0]}: {store.path} has its dimensions in the order {listed(before.vectors)}; leave --vector "
            "out"
        )


def _check_new(before: StoredRows, rows: Source) -> None:
    """Refuse rows without ids that a store ends with: the command that added them was given again."""
    store, begin = before.store, before.n - rows.n
    if begin < 0:
        return
    for batch in rows.batches():
        check_signals()
        start = begin + batch.start
        with np.errstate(over="ignore"):
            vectors = batch.vectors.astype(store.dtype)
        if not np.array_equal(vectors, store.read(start, start + len(vectors))):
            return
    raise InputError(
        f"{rows.paths[0]}: {store.path} ends with these {rows.n:,} rows, they were appended before; to have them there "
        "twice append them in two parts"
    )


def _silent(done: int, total: int) -> None: ...
