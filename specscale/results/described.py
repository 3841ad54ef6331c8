"""The samples' own columns beside the members of a result: from the stores, or kept by the result itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.embeddings.base import Embedding
from specscale.embeddings.prefix import begins_with, ids_digest_of_first
from specscale.embeddings.reordered import origin_of
from specscale.embeddings.store import EmbeddingStore, is_store
from specscale.errors import ChangedError, InputError
from specscale.places.files import exists, reaching
from specscale.results.directory import ResultDirectory, beside, described_by
from specscale.results.schema import InputRecord
from specscale.tables.parquet import read_table
from specscale.tables.values import numbers

__all__ = [
    "KEPT_ROW",
    "describe",
    "ids_of",
    "ids_of_first",
    "kept_columns",
    "partners_name",
    "rows_of_input",
    "sample_columns",
    "unread",
]

KEPT_ROW = "specscale_row"  # of a table of columns that a result keeps: the row of the first embedding


def sample_columns(one: Embedding) -> list[str]:
    """Names of the samples' columns of an embedding, but for its ids."""
    columns = getattr(origin_of(one), "columns", [])
    return [name for name in columns if one.ids is None or name != one.ids.column]


def kept_columns(key: str) -> str:
    """Name of the table of columns that a result keeps of the members of an input that was no store."""
    return f"columns_{key}.parquet"


def partners_name(key: str) -> str:
    """Name of the array of the rows of an input that are paired with those of the first."""
    return f"{key}_rows"  # not with the key last, as arrays of the maps are named


def rows_of_input(result: ResultDirectory, place: int, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The rows of an input that are paired with rows of the first.

    Parameters
    ----------
    result : the result
    place : which input
    rows : rows of the first

    Returns
    -------
    ndarray or None
        −1 where there is none; None where the result, of an earlier version, does not say.
    """
    if place == 0:
        return rows
    key, described = result.input_keys[place]
    array = result.array_if_any(partners_name(key))
    if array is not None:
        wanted, back = np.unique(rows, return_inverse=True)
        with reaching(result.path):
            return np.asarray(array.oindex[wanted])[back]
    how = result.record.rows
    if how.left_out is not None or how.matched_by == "position":
        return rows
    if not result.may_read(described.source):
        return None
    try:  # an earlier version did not keep them; where the ids are those of the first, in its order, they are the same
        ids = ids_digest_of_first(EmbeddingStore(described.source), how.total)
    except InputError:
        return None
    return rows if ids == how.ids_digest else None


def describe(result: ResultDirectory, members: pa.Table) -> pa.Table:
    """Add the samples' columns to some members: those of the first input that had any.

    Parameters
    ----------
    result : the result
    members : members, with their `row`
    """
    rows = members.column("row").to_numpy()
    for place, (key, described) in enumerate(result.input_keys):
        kept = _kept(result, key)
        if kept is not None:
            return beside(members, kept.drop_columns([KEPT_ROW]).take(_places(kept.column(KEPT_ROW).to_numpy(), rows)))
        if not result.may_read(described.source):
            break
        own = rows_of_input(result, place, rows)
        if own is None:
            continue
        found = described_by(described, members.set_column(members.column_names.index("row"), "row", pa.array(own)))
        if found.num_columns > members.num_columns:
            return found.set_column(members.column_names.index("row"), "row", pa.array(rows))
        if described.columns is None or described.columns:  # it had some, which are gone; or an earlier version's
            break
    return members


def ids_of(source: str, described: InputRecord, ids_digest: str | None, rows: NDArray[np.int64]) -> NDArray[Any]:
    """The ids of some rows of an input, from its store.

    Parameters
    ----------
    source, described, ids_digest : where it is, and what the summary says of it and of its ids
    rows : (m,) its rows

    Raises
    ------
    InputError
        When it is no store that can be read, or no longer has its ids.
    ChangedError
        When the store no longer begins with the rows that were compared.
    """
    if not is_store(source):
        raise InputError(f"{source}: ids are read from a store: `specscale ingest` it with them and compare that")
    store, total = EmbeddingStore(source), described.rows
    same = begins_with(store, total, described.digest)
    if not same or (store.ids and ids_digest_of_first(store, total) != ids_digest):
        raise ChangedError(f"{source}: no longer the embedding that was compared: compare them anew")
    table = store.rows(rows.tolist(), [described.ids_column]) if described.ids_column in store.columns else None
    if table is None:
        raise InputError(f"{source}: there is no column {described.ids_column!r} with its ids: compare them anew")
    return np.asarray(table.column(0).to_numpy())


def ids_of_first(result: ResultDirectory, rows: NDArray[np.int64]) -> NDArray[Any]:
    """The ids of some rows of the first input of a result; what is raised is that of :func:`ids_of`."""
    which, described = next(iter(result.record.inputs.items()))
    if described.ids_column is None:
        called = which.upper() if which == "a" else which
        raise InputError(f"{result.path}: rows of {called} were compared without ids: take their numbers, rows()")
    return ids_of(result.source(which), described, result.record.rows.ids_digest, rows)


def unread(result: ResultDirectory) -> list[str]:
    """Where the samples' columns of a result are said to be, and are not looked for unless that is asked for."""
    if any(exists(result.path / kept_columns(key)) for key, _ in result.input_keys):
        return []
    inputs = [one for _, one in result.input_keys if one.columns is None or one.columns]
    return [one.source for one in inputs if not result.may_read(one.source)]


def _kept(result: ResultDirectory, key: str) -> Any:
    """The table of columns that a result keeps of an input; None where it keeps none."""
    path = result.path / kept_columns(key)
    if not exists(path):
        return None
    table = read_table(path, result.again)
    at = table.schema.get_all_field_indices(KEPT_ROW)
    if len(at) != 1 or table.schema.types[at[0]] != pa.int64() or table.column(at[0]).null_count:
        raise result.damaged(f"{path.name} is")
    return table


def _places(known: NDArray[np.int64], rows: NDArray[np.int64]) -> pa.Array:
    """Where rows are in a table of those that are known, null for others."""
    order = np.argsort(known)
    places = np.searchsorted(known, rows, sorter=order).clip(max=max(len(known) - 1, 0))
    there = known[order[places]] == rows if len(known) else np.zeros(len(rows), np.bool_)
    return numbers(order[places] if len(known) else places, ~there)
