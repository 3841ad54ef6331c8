"""The files of the groups of a result: what they are called, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray

from specscale.embeddings.layout import chunk_runs
from specscale.places.ahead import read_ahead
from specscale.places.checksum import crc32c
from specscale.places.files import is_local, reaching
from specscale.results.compared import ComparisonDirectory
from specscale.tables.parquet import read_table

__all__ = [
    "DRAWN",
    "DRAWN_NEAR",
    "GROUPS_FILE",
    "LIKENESS",
    "MEMBER",
    "MEMBERS",
    "NEAR",
    "SAMPLES",
    "SAMPLES_FILE",
    "group_array",
    "group_runs",
    "samples_table",
]

GROUPS_FILE, SAMPLES_FILE = "groups.parquet", "members.parquet"
MEMBERS, LIKENESS = "members", "likeness"
MEMBER, NEAR, DRAWN, DRAWN_NEAR = "member", "near", "drawn", "drawn near"

SAMPLES = pa.schema(
    [
        ("group", pa.int32()),
        ("kind", pa.string()),
        ("rank", pa.int32()),
        ("row", pa.int64()),
        ("id", pa.string()),
        ("likeness", pa.float64()),
        ("source_row", pa.int64()),
    ]
)
"""Of members.parquet; `id` is of the type that A's store has, and like `source_row` may be null."""

_TYPES = {MEMBERS: np.dtype(np.bool_), LIKENESS: np.dtype(np.float32)}
_READERS = 4  # runs of rows under way at once from a remote result
_DAMAGE = (KeyError, ValueError, TypeError, RuntimeError, OSError, zarr.errors.BaseZarrError)


def group_array(result: ComparisonDirectory, name: str) -> zarr.Array[Any]:
    """Return the array of the members or of the likeness, (n, groups).

    Raises
    ------
    InputError
        When it is not there, or not of this shape and type.
    """
    array = result.array_if_any(name)
    shape = result.record.rows.total, len(result.record.groups or ())
    if array is None or array.shape != shape or array.dtype != _TYPES[name]:
        raise result.damaged(f"the array {name} is")
    return array


def group_runs(result: ComparisonDirectory, name: str) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the members or the likeness of all rows, a run of rows at a time.

    Parameters
    ----------
    result : a result with groups
    name : which of the two arrays

    Yields
    ------
    start : the first row of the run
    run : (rows, groups)

    Raises
    ------
    InputError
        When a chunk is damaged or gone; after the last run, when the array is not what was written.
    """
    array, checksum = group_array(result, name), 0

    def read(run: tuple[int, int]) -> tuple[int, NDArray[Any]]:
        with reaching(result.path):
            return run[0], np.asarray(array[slice(*run)])

    ahead = 1 if is_local(result.path) else _READERS
    try:
        for start, values in read_ahead(read, chunk_runs(array.shape[0]), ahead):
            checksum = crc32c(values, checksum)
            # A byte of somebody's that is neither 0 nor 1 is no truth value.
            yield start, values.view(np.uint8) != 0 if values.dtype == np.bool_ else values
    except _DAMAGE:
        raise result.damaged(f"the array {name} is") from None
    result.verify(name, checksum)


def samples_table(result: ComparisonDirectory) -> pa.Table:
    """Return the likest members and others of every group, as members.parquet holds them.

    Returns
    -------
    pyarrow.Table
        Columns group, kind, rank, row, id, likeness and source_row; no rows where there are no groups.

    Raises
    ------
    InputError
        When the file is missing or damaged.
    """
    if not result.record.groups:
        return SAMPLES.empty_table()
    table = read_table(result.path / SAMPLES_FILE, result.again)
    if not _are_samples(table, result.record.rows.total):
        raise result.damaged(f"{SAMPLES_FILE} is")
    return table


def _are_samples(table: pa.Table, total: int) -> bool:
    """Whether a table is what members.parquet can hold of so many rows."""
    if table.column_names != SAMPLES.names:
        return False
    for field in SAMPLES:
        column = table.column(field.name)
        typed = field.name == "id" or column.type == field.type
        if not typed or (column.null_count and field.name not in ("id", "source_row")):
            return False
    rows = table.column("row").to_numpy()
    return not len(rows) or bool(0 <= rows.min() <= rows.max() < total)
