"""Zarr arrays of either version, alone or in a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import zarr

from specscale.errors import InputError
from specscale.files import located, reaching, zarr_store
from specscale.stores.layout import CHUNK_ROWS, FEATURES, ROWS, store_attributes
from specscale.stores.sources.base import Batch, Format, batch_rows, check_floating, matrix_shape
from specscale.stores.sources.places import fingerprint, is_file, joined
from specscale.stores.tables import RowCursor, one_line, open_parquet, parquet_rows, plain_schema

_MARKERS = ("zarr.json", ".zarray", ".zgroup")


class ZarrShard:
    """
    A Zarr array.

    Parameters
    ----------
    path
        A directory: the array (also one inside a group), a group with exactly one two-dimensional array, or an
        embedding store, whose columns ride along.

    Raises
    ------
    InputError
        There is no such array, or it cannot be used.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._array = _open(path)
        self.dtype: np.dtype[Any] = np.dtype(self._array.dtype)
        check_floating(path, self.dtype)
        self.n, self.p = matrix_shape(path, tuple(self._array.shape))
        self.fingerprint = fingerprint(path)
        self._rows = joined(path, ROWS)
        self.schema: pa.Schema | None = None
        if store_attributes(located(path)) is not None and is_file(self._rows):
            with open_parquet(self._rows) as file:
                self.schema = plain_schema(file.schema_arrow)

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """
        Yield the rows in order.

        Parameters
        ----------
        start
            The first row.

        Yields
        ------
        Batch
            Rows in the type of the array.

        Raises
        ------
        InputError
            A chunk is damaged.
        """
        if self.p is None:
            return
        step = batch_rows(self.p, self.dtype)
        # A chunk is decoded whole, whatever is read of it: take its rows at once, then hand them on in small batches.
        tall = int(self._array.chunks[0])
        span = max(tall, step // tall * tall)
        cursor = RowCursor(self._tables(start)) if self.schema is not None else None
        low = start
        while low < self.n:
            stop = min((low // span + 1) * span, self.n)
            try:
                with reaching(self.path):
                    block = np.asarray(self._array[low:stop]).reshape(stop - low, self.p)
            except (ValueError, RuntimeError) as error:
                raise InputError(f"{self.path}, rows {low} to {stop - 1}: damaged ({one_line(error)})") from error
            for begin in range(0, len(block), step):
                vectors = block[begin : begin + step]
                columns = cursor.take(len(vectors)) if cursor is not None else None
                yield Batch(low + begin, vectors, columns, self.path)
            low = stop

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of all rows, in order, without reading the vectors."""
        for batch in parquet_rows(self._rows, columns, 0, CHUNK_ROWS):
            yield pa.Table.from_batches([batch])

    def dimension(self, index: int) -> str:
        """Name a dimension."""
        return f"column {index}"

    def _tables(self, start: int) -> Iterator[pa.Table]:
        assert self.schema is not None
        for batch in parquet_rows(self._rows, self.schema.names, start, CHUNK_ROWS):
            yield pa.Table.from_batches([batch])


def _open(path: str) -> zarr.Array[Any]:
    place = located(path)
    is_store = store_attributes(place) is not None
    try:
        with reaching(path):
            node = zarr.open(zarr_store(place / FEATURES if is_store else place, read_only=True), mode="r")
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
        raise InputError(f"{path}: not a readable Zarr array ({one_line(error)})") from error
    if isinstance(node, zarr.Array):
        return node
    arrays = {name: array for name, array in node.arrays() if isinstance(array, zarr.Array)}
    matrices = [name for name, array in arrays.items() if array.ndim == 2]
    if len(matrices) != 1:
        listing = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no arrays"
        raise InputError(f"{path}: the group holds {listing}; name the array of the vectors, as in {path}/NAME")
    return arrays[matrices[0]]


def is_zarr(path: str) -> bool:
    """
    Whether a directory is a Zarr array or group.

    Parameters
    ----------
    path
        Any path.

    Returns
    -------
    bool
        True where the metadata of either version of Zarr is.
    """
    return any(is_file(joined(path, marker)) for marker in _MARKERS)


ZARR = Format(
    name="Zarr",
    suffixes=(".zarr",),
    options=frozenset(),
    matches=is_zarr,
    open=lambda path, _: ZarrShard(path),
)
