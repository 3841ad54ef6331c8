"""The files of the groups of a result: what they are called, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray

from specscale.embeddings.layout import chunk_runs
from specscale.errors import InputError
from specscale.places.ahead import read_ahead
from specscale.places.checksum import crc32c
from specscale.places.files import Location, is_local, reaching
from specscale.results.schema import GroupRecord
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
    "GroupDirectory",
    "group_array",
    "group_runs",
    "of_pair",
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


class GroupDirectory(Protocol):
    """What groups are read from: the directory of a comparison, or that of a matrix for one of its pairs."""

    @property
    def path(self) -> Location:
        """The directory."""
        ...

    @property
    def again(self) -> str:
        """What mends it."""
        ...

    @property
    def total(self) -> int:
        """Rows of the first embedding."""
        ...

    @property
    def group_records(self) -> Sequence[GroupRecord]:
        """What is said of the groups; none where they were not looked for."""
        ...

    @property
    def ending(self) -> str:
        """What the names of files and arrays of a pair of a matrix end with, as "_0_1"."""
        ...

    def array_if_any(self, name: str) -> zarr.Array[Any] | None:
        """Return an array, or None where there is none of this name."""
        ...

    def damaged(self, what: str) -> InputError:
        """Return the error that something cannot be read."""
        ...

    def verify(self, name: str, checksum: int) -> None:
        """Raise InputError when an array is not what was written."""
        ...

    def described_table(self, members: pa.Table) -> pa.Table:
        """Add the user's columns to some rows, by their `row`."""
        ...

    def ids_of_rows(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the ids of rows of the first embedding."""
        ...


def of_pair(name: str, pair: str) -> str:
    """What a file or an array of groups is called for a pair, as "members_0_1.parquet" of "_0_1"."""
    stem, dot, kind = name.partition(".")
    return f"{stem}{pair}{dot}{kind}"


def group_array(result: GroupDirectory, name: str) -> zarr.Array[Any]:
    """Return the array of the members or of the likeness, (n, groups).

    Raises
    ------
    InputError
        When it is not there, or not of this shape and type.
    """
    called = of_pair(name, result.ending)
    array = result.array_if_any(called)
    shape = result.total, len(result.group_records)
    if array is None or array.shape != shape or array.dtype != _TYPES[name]:
        raise result.damaged(f"the array {called} is")
    return array


def group_runs(result: GroupDirectory, name: str) -> Iterator[tuple[int, NDArray[Any]]]:
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
    array, called, checksum = group_array(result, name), of_pair(name, result.ending), 0

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
        raise result.damaged(f"the array {called} is") from None
    result.verify(called, checksum)


def samples_table(result: GroupDirectory) -> pa.Table:
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
    if not result.group_records:
        return SAMPLES.empty_table()
    called = of_pair(SAMPLES_FILE, result.ending)
    table = read_table(result.path / called, result.again)
    if not _are_samples(table, result.total):
        raise result.damaged(f"{called} is")
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
