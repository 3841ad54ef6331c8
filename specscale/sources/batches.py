"""What all formats of tables share: vectors are columns of a table, and the other columns ride along."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.embeddings.layout import CHUNK_ROWS
from specscale.errors import InputError
from specscale.sources.base import Batch, Shard, batch_rows
from specscale.sources.choosing import Choice, describe
from specscale.sources.dimensions import element_type, find_vector, name_vector, widest_run
from specscale.tables.parquet import check_distinct
from specscale.tables.types import plain_schema

__all__ = ["BatchShard"]


class BatchShard(Shard):
    """A table that is read in record batches, with the vectors in a list column, or one column for each dimension.

    Parameters
    ----------
    path : the file
    schema : its columns
    n : its rows
    fingerprint : changes when the file does
    vector : where the vectors are, see `dimensions.name_vector`; left out, see `dimensions.find_vector`

    Attributes
    ----------
    vectors : the columns of the vectors: one list column, or one column for each dimension, in order
    offered : all other columns

    Raises
    ------
    InputError
        When `vector` does not name vectors, or it is left out and cannot be guessed.
    """

    def __init__(self, path: str, schema: pa.Schema, n: int, fingerprint: str, vector: str | None = None) -> None:
        self.path = path
        self.n = n
        check_distinct(path, schema.names)
        self.vectors = tuple(self._vectors(schema, vector))
        types = [schema.field(name).type for name in self.vectors]
        elements = [element_type(kind) or kind for kind in types]
        self._is_list = len(types) == 1 and elements[0] != types[0]
        self.dtype: np.dtype[Any] = np.result_type(np.float16, *(kind.to_pandas_dtype() for kind in elements))
        plain = plain_schema(schema)
        self.p = self._dimensions(plain.field(self.vectors[0]).type) if self._is_list else len(self.vectors) or None
        if vector is None and self._is_list and len(run := widest_run(schema)) > (self.p or 0):
            raise InputError(
                f"{path}: the vectors could be column {self.vectors[0]} of {self.p} dimensions or {describe(run)}; "
                f"choose one with --vector {self.vectors[0]} or --vector {run[0]}..{run[-1]}"
            )
        self.offered = pa.schema([field for field in plain if field.name not in set(self.vectors)])
        self.ride(Choice())
        self.fingerprint = f"{fingerprint} {','.join(self.vectors)}"

    @abstractmethod
    def read(self, columns: Sequence[str], start: int, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns of the rows from `start` on, in order, at most `rows` at a time."""

    def ride(self, choice: Choice) -> None:
        """Let other columns ride along."""
        riders = choice.riding(self.offered)
        self.schema = riders if len(riders) else None

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yield the rows in order.

        Parameters
        ----------
        start : the first row

        Yields
        ------
        Batch
            Rows with the columns that ride along.

        Raises
        ------
        InputError
            When a vector has another length than the first, or the file is damaged.
        """
        if self.p is None:
            return
        riders = self.schema.names if self.schema is not None else []
        low = start
        # The decoder holds several times what it hands out.
        step = max(1, batch_rows(self.p, self.dtype) // 4)
        for batch in self.read([*self.vectors, *riders], start, step):
            vectors, null = self._lists(batch, low) if self._is_list else self._wide(batch)
            columns = pa.Table.from_batches([batch.select(riders)]) if riders else None
            yield Batch(low, vectors, columns, self.path, null)
            low += batch.num_rows

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of all rows, in order, without reading the vectors."""
        for batch in self.read(columns, 0, CHUNK_ROWS):
            yield pa.Table.from_batches([batch])

    def dimension(self, index: int) -> str:
        """Name a dimension."""
        return f"column {self.vectors[0]}[{index}]" if self._is_list else f"column {self.vectors[index]}"

    def _vectors(self, schema: pa.Schema, vector: str | None) -> list[str]:
        try:
            return find_vector(self.path, schema) if vector is None else name_vector(self.path, schema, vector)
        except InputError:
            if self.n:
                raise
            return []  # a table without rows has columns without types

    def _dimensions(self, kind: pa.DataType) -> int | None:
        if pa.types.is_fixed_size_list(kind) and kind.list_size:
            return int(kind.list_size)
        for batch in self.read(self.vectors, 0, 1024):
            for vector in batch.column(0):
                if vector.is_valid and len(vector) > 0:
                    return len(vector)
        if self.n:
            raise InputError(f"{self.path}: column {self.vectors[0]}: every vector is null or empty")
        return None

    def _lists(self, batch: pa.RecordBatch, low: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        assert self.p is not None
        lists = batch.column(self.vectors[0])
        null = np.asarray(lists.is_null().to_numpy(zero_copy_only=False))
        if pa.types.is_fixed_size_list(lists.type):
            # Unlike flatten(), values has an element for every dimension of a null vector.
            elements, missing = _floats(lists.values.slice(lists.offset * self.p, len(lists) * self.p))
            vectors, absent = elements.reshape(-1, self.p), missing.reshape(-1, self.p)
        else:
            offsets = lists.offsets.to_numpy()
            lengths = np.diff(offsets)
            null = null | (lengths == 0)  # an empty list is no vector either
            ragged = np.flatnonzero((lengths != self.p) & ~null)
            if ragged.size:
                raise InputError(
                    f"{self.path}, row {low + ragged[0]}, column {self.vectors[0]}: a vector of"
                    f" {lengths[ragged[0]]} dimensions among vectors of {self.p}; mend or remove this row"
                )
            elements, missing = _floats(lists.values)
            where = np.where(null, 0, offsets[:-1])[:, None] + np.arange(self.p)
            if null.any():
                where[null] = 0
                vectors = elements[where] if elements.size else np.zeros((len(lists), self.p), self.dtype)
                absent = missing[where] if elements.size else np.zeros((len(lists), self.p), np.bool_)
            else:
                vectors = elements[offsets[0] : offsets[-1]].reshape(-1, self.p)
                absent = missing[offsets[0] : offsets[-1]].reshape(-1, self.p)
        if null.any() or absent.any():
            vectors = vectors.copy()
            vectors[null] = np.nan
            vectors[absent] = np.nan
        return vectors, null | absent.any(axis=1)

    def _wide(self, batch: pa.RecordBatch) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        vectors = np.empty((batch.num_rows, len(self.vectors)), self.dtype)
        null = np.zeros(batch.num_rows, np.bool_)
        for index, name in enumerate(self.vectors):
            elements, missing = _floats(batch.column(name))
            vectors[:, index] = elements
            vectors[missing, index] = np.nan
            null |= missing
        return vectors, null


def _floats(array: pa.Array) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    # From the buffer: half floats with nulls have no other way to NumPy. What a null holds is undefined.
    dtype = np.dtype(array.type.to_pandas_dtype())
    buffer = array.buffers()[1]
    if buffer is None:
        return np.zeros(len(array), dtype), np.ones(len(array), np.bool_)
    values = np.frombuffer(buffer, dtype, count=len(array), offset=array.offset * dtype.itemsize)
    return values, np.asarray(array.is_null().to_numpy(zero_copy_only=False))
