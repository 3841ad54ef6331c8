"""Parquet files with the vectors in a list column, or with one column for each dimension."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from specscale.errors import InputError
from specscale.stores.layout import CHUNK_ROWS
from specscale.stores.sources.base import Batch, Format, batch_rows
from specscale.stores.sources.paths import fingerprint, natural_key, suffix
from specscale.stores.tables import check_distinct, open_parquet, parquet_rows, plain_schema


class ParquetShard:
    """
    A Parquet file.

    Parameters
    ----------
    path
        The file.
    vector
        Where the vectors are: the name of a list column; or, for one column for each dimension, a glob over the
        columns (in natural order) or their names separated by commas. Left out: the only list of floats; without any
        list, all columns of floats if there are at least two.

    Raises
    ------
    InputError
        The file cannot be used, or `vector` does not name vectors.
    """

    def __init__(self, path: str, vector: str | None) -> None:
        self.path = path
        with open_parquet(path) as file:
            schema = file.schema_arrow
            self.n = file.metadata.num_rows
            check_distinct(path, schema.names)
            self._vector = _named(path, schema, vector) if vector is not None else _found(path, schema)
            self._is_list = _is_float_list(schema.field(self._vector[0]).type)
            types = [schema.field(name).type for name in self._vector]
            elements = [one.value_type for one in types] if self._is_list else types
            self.dtype: np.dtype[Any] = np.result_type(*(one.to_pandas_dtype() for one in elements))
            self.p = self._dimensions(file, types[0])
        riders = [
            field for field in schema if field.name not in self._vector and not pa.types.is_nested(_plain(field.type))
        ]
        self.schema = plain_schema(pa.schema(riders)) if riders else None
        self.fingerprint = f"{fingerprint(path)} {','.join(self._vector)}"

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
            Rows with the columns that ride along.

        Raises
        ------
        InputError
            A vector has another length than the first, or the file is damaged.
        """
        if self.p is None:
            return
        riders = self.schema.names if self.schema is not None else []
        low = start
        # The decoder holds several times what it hands out.
        step = max(1, batch_rows(self.p, self.dtype) // 4)
        for batch in parquet_rows(self.path, [*self._vector, *riders], start, step):
            vectors, null = self._lists(batch, low) if self._is_list else self._wide(batch)
            columns = pa.Table.from_batches([batch.select(riders)]) if riders else None
            yield Batch(low, vectors, columns, self.path, null)
            low += batch.num_rows

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of all rows, in order, without reading the vectors."""
        for batch in parquet_rows(self.path, columns, 0, CHUNK_ROWS):
            yield pa.Table.from_batches([batch])

    def dimension(self, index: int) -> str:
        """Name a dimension."""
        return f"column {self._vector[0]}[{index}]" if self._is_list else f"column {self._vector[index]}"

    def _dimensions(self, file: pq.ParquetFile, first: pa.DataType) -> int | None:
        if not self._is_list:
            return len(self._vector)
        if pa.types.is_fixed_size_list(first):
            return int(first.list_size)
        for batch in file.iter_batches(1024, columns=self._vector, use_threads=False):
            for vector in batch.column(0):
                if vector.is_valid and len(vector) > 0:
                    return len(vector)
        if self.n:
            raise InputError(f"{self.path}: column {self._vector[0]}: every vector is null or empty")
        return None

    def _lists(self, batch: pa.RecordBatch, low: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        assert self.p is not None
        lists = batch.column(self._vector[0])
        null = np.asarray(lists.is_null().to_numpy(zero_copy_only=False))
        if pa.types.is_fixed_size_list(lists.type):
            # Unlike flatten(), values has an element for every dimension of a null vector.
            elements, missing = _floats(lists.values.slice(lists.offset * self.p, len(lists) * self.p))
            vectors, absent = elements.reshape(-1, self.p), missing.reshape(-1, self.p)
        else:
            offsets = lists.offsets.to_numpy()
            lengths = np.diff(offsets)
            ragged = np.flatnonzero((lengths != self.p) & ~null)
            if ragged.size:
                raise InputError(
                    f"{self.path}, row {low + ragged[0]}, column {self._vector[0]}: a vector of"
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
        vectors = np.empty((batch.num_rows, len(self._vector)), self.dtype)
        null = np.zeros(batch.num_rows, np.bool_)
        for index, name in enumerate(self._vector):
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


def _named(path: str, schema: pa.Schema, vector: str) -> list[str]:
    if vector in schema.names:
        names = [vector]
    elif "," in vector:
        names = [name.strip() for name in vector.split(",")]
    else:
        names = sorted(fnmatch.filter(schema.names, vector), key=natural_key)
    unknown = [name for name in names if name not in schema.names]
    if unknown or not names:
        raise InputError(f"{path}: no column {', '.join(unknown) or vector}; {_candidates(schema)}")
    for name in names:
        kind = schema.field(name).type
        if not pa.types.is_floating(kind) and not (_is_float_list(kind) and len(names) == 1):
            raise InputError(
                f"{path}: column {name} holds {kind}, not vectors of floating-point numbers; {_candidates(schema)}"
            )
    return names


def _found(path: str, schema: pa.Schema) -> list[str]:
    lists = [field.name for field in schema if _is_float_list(field.type)]
    if len(lists) == 1:
        return lists
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    if not lists and len(floats) >= 2:
        return sorted(floats, key=schema.get_field_index)
    problem = "several columns could hold the vectors" if lists else "no column holds vectors"
    raise InputError(f"{path}: {problem}; {_candidates(schema)}")


def _candidates(schema: pa.Schema) -> str:
    lists = [field.name for field in schema if _is_float_list(field.type)]
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    if lists or floats:
        offer = ([f"lists of floats: {_some(lists)}"] if lists else []) + (
            [f"columns of floats: {_some(floats)}"] if floats else []
        )
        return f"choose with --vector among {'; '.join(offer)}"
    return f"there are no columns of floats or lists of floats, only {_some([f'{f.name} ({f.type})' for f in schema])}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _is_float_list(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and pa.types.is_floating(kind.value_type))


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


PARQUET = Format(
    name="Parquet",
    suffixes=(".parquet", ".pq"),
    options=frozenset({"vector"}),
    matches=lambda path: suffix(path) in (".parquet", ".pq"),
    open=ParquetShard,
)
