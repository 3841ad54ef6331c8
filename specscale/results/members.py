"""All members of the groups of a result, with what is known of them, a run of rows at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.embeddings.prefix import begins_with
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import ChangedError, InputError, OptionError
from specscale.places.files import exists
from specscale.results.compared import ComparisonDirectory
from specscale.results.described import kept_columns
from specscale.results.group_files import LIKENESS, MEMBERS, group_runs
from specscale.tables.values import numbers

__all__ = ["every_member"]


def every_member(result: ComparisonDirectory, groups: Collection[int] | None = None) -> Iterator[pa.Table]:
    """Yield all members of groups, in the order of their rows; a row of several groups once for each.

    Parameters
    ----------
    result : a result with groups
    groups : the numbers of those that are wanted, by default all

    Yields
    ------
    pyarrow.Table
        Columns group, row, id, likeness and source_row, as of :meth:`Group.top`; then the user's columns where a store
        can be read. What a result itself keeps of an input that was no store, of the likest members, is left out.

    Raises
    ------
    OptionError
        When there is no such group.
    InputError
        When the members are damaged or gone; their last rows tell, so that what was made of them is then to be thrown
        away.
    ChangedError
        When the store went away meanwhile.
    """
    count = len(result.record.groups or ())
    wanted = np.array(sorted(range(count) if groups is None else set(groups)), np.int64)
    if unknown := [int(one) for one in wanted if not 0 <= one < count]:
        there = f"its groups are 0 to {count - 1}" if count else "it has none"
        raise OptionError(f"{result.path}: no group {unknown[0]}: {there}")
    if not len(wanted):
        return
    store, schema, id_column = _store_of(result), None, result.record.inputs["a"].ids_column
    described = not any(exists(result.path / kept_columns(key)) for key, _ in result.input_keys)
    both = zip(group_runs(result, MEMBERS), group_runs(result, LIKENESS), strict=True)
    for (start, inside), (_, likeness) in both:
        place, chosen = np.nonzero(inside[:, wanted])
        if not len(place):
            continue
        group, row = wanted[chosen], start + place
        source_row = _source_rows(result, store, row)
        table = pa.table(
            {
                "group": numbers(group.astype(np.int32)),
                "row": numbers(row),
                "id": _ids(store, id_column, row),
                "likeness": numbers(likeness[place, group].astype(np.float64)),
                "source_row": numbers(source_row, source_row < 0),
            }
        )
        table = result.described_table(table) if described else table
        if schema is not None and table.schema != schema:
            raise ChangedError(f"{result.path}: the columns of its rows went away during the work")
        schema = table.schema
        yield table


def _store_of(result: ComparisonDirectory) -> EmbeddingStore | None:
    """A's store, where it can be read and begins with the rows that were compared."""
    described = result.record.inputs["a"]
    try:
        store = EmbeddingStore(result.source("a"))
        return store if begins_with(store, described.rows, described.digest) else None
    except InputError:
        return None


def _source_rows(
    result: ComparisonDirectory, store: EmbeddingStore | None, rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The numbers of some rows in A's source, −1 where they are not known."""
    if store is not None:
        return store.source_rows(rows.tolist())
    return np.full(len(rows), -1) if result.record.inputs["a"].dropped else rows


def _ids(store: EmbeddingStore | None, name: str | None, rows: NDArray[np.int64]) -> Any:
    """The ids of some rows, nulls where they are not known."""
    table = store.rows(rows.tolist(), [name]) if store is not None and name in store.columns else None
    return pa.nulls(len(rows), pa.string()) if table is None else table.column(0)
