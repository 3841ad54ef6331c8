"""A column of the samples as labels: counted over all compared rows, and looked up for a few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from specscale.embeddings.layout import CHUNK_ROWS, ROWS
from specscale.embeddings.prefix import begins_with, ids_digest_of_first
from specscale.embeddings.store import EmbeddingStore, is_store
from specscale.errors import ChangedError, InputError, SpecscaleError
from specscale.places.files import Location, exists, located
from specscale.results.comparison import ComparisonResult
from specscale.results.described import rows_of_input
from specscale.results.pairs import changed, compared_rows
from specscale.tables.parquet import open_parquet, parquet_rows
from specscale.tables.values import python_values

__all__ = ["Column", "Labels", "count_labels", "label_column", "labels_of"]

_MOST_LABELS = 1_000_000
_MOST_NAMES = 30


@dataclass(frozen=True)
class Column:
    """A column of an embedding store.

    Attributes
    ----------
    path : the table that it is in
    name : its name
    n : rows of the store, without those that were added after the comparison
    place : 0 of A's store, 1 of B's
    """

    path: Location
    name: str
    n: int
    place: int = 0


@dataclass(frozen=True)
class Labels:
    """How often each label occurs.

    Attributes
    ----------
    values : the labels
    rows : (len(values),) int64, compared rows with each
    unlabelled : compared rows without a label
    of_members : (m,) int64, the place in `values` of the label of each row that was asked for; −1 without one
    """

    values: list[Any]
    rows: NDArray[np.int64]
    unlabelled: int
    of_members: NDArray[np.int64]


def label_column(result: ComparisonResult, name: str) -> Column:
    """Find a column of labels in A's store, or else in B's.

    Parameters
    ----------
    result : the result
    name : the column

    Raises
    ------
    InputError
        When neither is a store that can be read and has such a column, or the column holds lists.
    ChangedError
        When the store no longer begins with the rows that were compared.
    """
    try:
        return _column_of(result, 0, name)
    except InputError as error:
        try:
            return _column_of(result, 1, name)
        except SpecscaleError:
            raise error from None


def _column_of(result: ComparisonResult, place: int, name: str) -> Column:
    which = "ab"[place]
    source, described = result.source(which), result.record.inputs[which]
    if not is_store(source) and exists(located(source)):
        raise InputError(f"{source}: labels are read from a store: `specscale ingest` it with them and compare that")
    if not is_store(source):
        raise InputError(f"{source}: {which.upper()}'s store is no longer there: move it back, or compare again")
    store = EmbeddingStore(source)
    total = described.rows
    ids = result.record.rows.ids_digest if place == 0 else described.ids_digest
    same = begins_with(store, total, described.digest)
    if not same or (ids and store.ids and ids_digest_of_first(store, total) != ids):
        raise ChangedError(f"{source}: no longer the embedding that was compared: compare them anew")
    if not store.columns:
        raise InputError(f"{source}: the store has no columns: ingest it again with --metadata FILE, which has labels")
    path = located(source) / ROWS
    with open_parquet(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    if rows != store.n:
        raise InputError(f"{path}: {rows:,} rows, not {store.n:,}: ingest the embedding again")
    if name not in schema.names:
        names = ", ".join(schema.names[:_MOST_NAMES]) + (", …" if len(schema.names) > _MOST_NAMES else "")
        raise InputError(f"{source}: there is no column {name!r}; there are {names}")
    if pa.types.is_nested(schema.field(name).type):
        raise InputError(
            f"{source}: column {name!r} holds {schema.field(name).type}: labels are one value a row, as text"
        )
    return Column(path, name, total, place)


def labels_of(result: ComparisonResult, column: Column, members: NDArray[np.int64]) -> Labels:
    """Count the labels of the compared rows, as :func:`count_labels`, with rows by their numbers in A.

    Parameters
    ----------
    result : the result
    column : the column
    members : (m,) rows of A whose labels are wanted
    """
    kept = compared_rows(result)
    if column.place == 0:
        return count_labels(column, kept, members)
    compared = np.arange(result.record.rows.total) if kept is None else np.flatnonzero(kept)
    own, of_members = (rows_of_input(result, column.place, rows) for rows in (compared, members))
    if own is None or of_members is None:
        raise changed(result, "it was made by an earlier version, which does not say which rows of B it paired")
    theirs = np.zeros(column.n, dtype=np.bool_)
    theirs[own] = True
    return count_labels(column, theirs, of_members)


def count_labels(column: Column, kept: NDArray[np.bool_] | None, members: NDArray[np.int64]) -> Labels:
    """Count the labels of the compared rows, some thousands of rows at a time.

    Parameters
    ----------
    column : the column
    kept : (n,) bool, the compared rows, or None for all
    members : (m,) rows whose labels are wanted

    Raises
    ------
    InputError
        When the column is empty, or tells rows apart rather than groups of rows.
    """
    codes: dict[Any, int] = {}
    rows = np.zeros(0, dtype=np.int64)
    of_members = np.full(len(members), -1, dtype=np.int64)
    order = np.argsort(members, kind="stable")
    start = compared = 0
    for whole in parquet_rows(column.path, [column.name], 0, CHUNK_ROWS):
        batch = whole.slice(0, column.n - start)
        if not batch.num_rows:
            break
        stop = start + batch.num_rows
        here = _coded(batch.column(column.name), codes)
        low, high = np.searchsorted(members, [start, stop], sorter=order)
        of_members[order[low:high]] = here[members[order[low:high]] - start]
        if kept is not None:
            here = here[kept[start:stop]]
        compared += len(here)
        grown = np.bincount(here[here >= 0], minlength=len(codes))
        grown[: len(rows)] += rows
        rows = grown
        if len(codes) > _MOST_LABELS:
            break
        start = stop
    labelled, distinct = int(rows.sum()), int(np.count_nonzero(rows))
    if labelled == 0:
        raise InputError(f"{column.path}: column {column.name!r} is empty in all compared rows: take another")
    if 2 * distinct > labelled or len(codes) > _MOST_LABELS:
        raise InputError(
            f"{column.path}: column {column.name!r} has {distinct:,} values in {labelled:,} rows, so it names rows "
            "and not groups of rows: take another"
        )
    return Labels(list(codes), rows, compared - labelled, of_members)


def _coded(values: pa.Array, codes: dict[Any, int]) -> NDArray[np.int64]:
    """The code of each value, −1 for null and NaN; new values get new codes."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    if not pa.types.is_dictionary(values.type):
        values = pc.dictionary_encode(values)
    code_of = [codes.setdefault(one, len(codes)) for one in python_values(values.dictionary)]
    places = pc.fill_null(values.indices, len(code_of)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*code_of, -1], dtype=np.int64)[places])
