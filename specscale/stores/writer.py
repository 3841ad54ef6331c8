"""Writes a store chunk by chunk: resumable, and visible under its name only once it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray

from specscale.errors import ExistsError
from specscale.stores.claim import claim_folder
from specscale.stores.journal import NAMED_ROWS, Journal
from specscale.stores.layout import (
    ATTRIBUTE,
    CHUNK_ROWS,
    FEATURES,
    FORMAT,
    NORMS,
    ROWS,
    chunk_digest,
    features_digest,
    ids_digest,
    store_attributes,
)

_NORM_ROWS = 1024


def check_target(store: Path, overwrite: bool) -> None:
    """
    Refuse to write where something else is.

    Parameters
    ----------
    store
        The store to be.
    overwrite
        Whether a store there may be replaced.

    Raises
    ------
    ExistsError
        There is a store and `overwrite` is false, or something that is not a store.
    """
    if not os.path.lexists(store):
        return
    if store_attributes(store) is None:
        raise ExistsError(
            f"{store}: exists and is not an embedding store, so it is never replaced; choose another name"
        )
    if not overwrite:
        raise ExistsError(f"{store}: exists; choose another name, or replace it with --overwrite")


class StoreWriter:
    """
    Fills a store from rows that come in order.

    Work happens in ``STORE.partial`` beside the store; what an interrupted run with the same `identity` left there is
    checked against its digests and continued.

    Parameters
    ----------
    store
        The store to be.
    identity
        Everything the result depends on.
    n
        Rows to come, at most.
    p
        Dimensions.
    dtype
        float16 or float32.
    schema
        The samples' own columns; ``None`` where there are none.

    Raises
    ------
    ExistsError
        ``STORE.partial`` is something else, or in use by another process.
    """

    def __init__(
        self, store: Path, identity: dict[str, Any], n: int, p: int, dtype: np.dtype[Any], schema: pa.Schema | None
    ) -> None:
        self._target = store
        self._partial = store.with_name(f"{store.name}.partial")
        self._draft = self._partial / "store"
        self._replaced = self._partial / "replaced"
        self._columns = self._partial / "columns"
        self._schema = schema
        self._lock = claim_folder(self._partial, "journal.json")
        self._restore_replaced()
        journal = Journal.load(self._partial / "journal.json")
        if journal is None or journal.identity != identity or not self._intact(journal):
            journal = Journal(identity)
            self._start_afresh(journal, n, p, dtype)
        self.journal = journal
        group = zarr.open_group(self._draft, mode="r+")
        self._features, self._norms = _array(group, FEATURES), _array(group, NORMS)
        self._buffer = np.empty((min(n, CHUNK_ROWS), p), dtype)
        self._filled = 0
        self._tables: list[pa.Table] = []

    def add(self, start: int, vectors: NDArray[Any], columns: pa.Table | None, keep: NDArray[np.bool_]) -> None:
        """
        Append rows.

        Parameters
        ----------
        start
            Number of the first row in the source.
        vectors
            b × p.
        columns
            The rows' own columns, b rows.
        keep
            b flags; the other rows are dropped and counted.
        """
        low = 0
        while low < len(vectors):
            room = CHUNK_ROWS - self._filled
            rows = low + np.flatnonzero(keep[low:])[:room]
            high = int(rows[-1]) + 1 if len(rows) == room else len(vectors)
            dropped = start + low + np.flatnonzero(~keep[low:high])
            self.journal.dropped += len(dropped)
            self.journal.dropped_rows += dropped[: NAMED_ROWS - len(self.journal.dropped_rows)].tolist()
            self._buffer[self._filled : self._filled + len(rows)] = vectors[rows]
            self._filled += len(rows)
            if columns is not None and len(rows):
                self._tables.append(columns.take(pa.array(rows)))
            if self._filled == CHUNK_ROWS:
                self._commit(start + high)
            low = high

    def finish(self, n_source: int, name: str, source: tuple[str, ...], id_column: str | None) -> dict[str, Any]:
        """
        Write what remains and give the store its name.

        Parameters
        ----------
        n_source
            Rows of the source.
        name
            Name of the model.
        source
            The files the rows came from.
        id_column
            The column that holds the ids, if any.

        Returns
        -------
        dict
            The store's attribute.
        """
        if self._filled or self.journal.next_row < n_source:
            self._commit(n_source)
        n, p = n_source - self.journal.dropped, int(self._features.shape[1])
        dtype = self._buffer.dtype.name
        self._features.resize((n, p))
        self._norms.resize((n,))
        if self._schema is not None:
            self._join_columns(self._schema)
        attributes = {
            "format": FORMAT,
            "name": name,
            "n": n,
            "p": p,
            "dtype": dtype,
            "source": list(source),
            "digest": features_digest(dtype, n, p, self.journal.chunk_digests),
            "chunk_digests": self.journal.chunk_digests,
            "zero_norm": self.journal.zero_norm,
            "dropped": self.journal.dropped,
            "dropped_rows": self.journal.dropped_rows,
            "ids": self._ids(id_column),
            "columns": self._schema.names if self._schema is not None else [],
        }
        zarr.open_group(self._draft, mode="r+").attrs[ATTRIBUTE] = attributes
        if self._target.exists():
            self._target.rename(self._replaced)
        self._draft.rename(self._target)
        self.discard()
        return attributes

    def discard(self) -> None:
        """Remove the work in progress."""
        self.close()
        shutil.rmtree(self._partial)

    def close(self) -> None:
        """Let others continue the work in progress."""
        self._lock.close()

    def _commit(self, next_row: int) -> None:
        block = self._buffer[: self._filled]
        index = len(self.journal.chunk_digests)
        if self._filled:
            low = index * CHUNK_ROWS
            norms = row_norms(block)
            self._features[low : low + self._filled] = block
            self._norms[low : low + self._filled] = norms
            if self._schema is not None:
                table = pa.concat_tables(self._tables).cast(self._schema)
                pq.write_table(table, self._part(index), compression="zstd")
            self.journal.chunk_digests.append(chunk_digest(block))
            self.journal.zero_norm += int(np.count_nonzero(norms == 0))
        self.journal.next_row = next_row
        # Last: only chunks that are complete are ever relied on.
        self.journal.save(self._partial / "journal.json")
        self._filled = 0
        self._tables = []

    def _start_afresh(self, journal: Journal, n: int, p: int, dtype: np.dtype[Any]) -> None:
        for stale in (self._draft, self._columns):
            if stale.exists():
                shutil.rmtree(stale)
        self._columns.mkdir()
        group = zarr.create_group(self._draft, zarr_format=3)
        for name, shape in ((FEATURES, (n, p)), (NORMS, (n,))):
            group.create_array(
                name,
                shape=shape,
                chunks=(CHUNK_ROWS, *shape[1:]),
                dtype=dtype.newbyteorder("<") if name == FEATURES else "<f4",
                compressors=None,
                filters=None,
                fill_value=np.nan,
                # Without this every chunk is compared with the fill value, at the price of a pass over it.
                config={"write_empty_chunks": True},
            )
        journal.save(self._partial / "journal.json")

    def _intact(self, journal: Journal) -> bool:
        # After a power failure the journal may be on disk and a chunk not.
        try:
            group = zarr.open_group(self._draft, mode="r")
            features, norms = _array(group, FEATURES), _array(group, NORMS)
            for index, digest in enumerate(journal.chunk_digests):
                rows = slice(index * CHUNK_ROWS, (index + 1) * CHUNK_ROWS)
                block = np.asarray(features[rows])
                last = index == len(journal.chunk_digests) - 1
                if last:
                    block = block[: journal.next_row - journal.dropped - index * CHUNK_ROWS]
                if chunk_digest(block) != digest:
                    return False
                if not np.array_equal(np.asarray(norms[rows])[: len(block)], row_norms(block)):
                    return False
                if self._schema is not None and pq.read_metadata(self._part(index)).num_rows != len(block):
                    return False
        except (OSError, KeyError, ValueError):
            return False
        return True

    def _restore_replaced(self) -> None:
        # An earlier run was stopped between moving the old store away and the new one in.
        if self._replaced.exists():
            if self._target.exists():
                shutil.rmtree(self._replaced)
            else:
                self._replaced.rename(self._target)

    def _part(self, index: int) -> Path:
        return self._columns / f"{index:06d}.parquet"

    def _join_columns(self, schema: pa.Schema) -> None:
        with pq.ParquetWriter(self._draft / ROWS, schema, compression="zstd") as writer:
            for index in range(len(self.journal.chunk_digests)):
                with pq.ParquetFile(self._part(index)) as part:
                    writer.write_table(part.read(), row_group_size=CHUNK_ROWS)

    def _ids(self, column: str | None) -> dict[str, str] | None:
        if column is None or self._schema is None:
            return None

        def arrays() -> Iterator[pa.Array]:
            with pq.ParquetFile(self._draft / ROWS) as file:
                for batch in file.iter_batches(CHUNK_ROWS, columns=[column]):
                    yield batch.column(column)

        return {"column": column, "type": str(self._schema.field(column).type), "digest": ids_digest(arrays())}


def row_norms(block: NDArray[Any]) -> NDArray[np.float32]:
    """
    Euclidean norms of rows.

    Parameters
    ----------
    block
        b × p.

    Returns
    -------
    ndarray
        b norms, summed in double precision; infinite above the largest float32.
    """
    norms = np.empty(len(block), np.float32)
    with np.errstate(over="ignore"):
        for low in range(0, len(block), _NORM_ROWS):
            wide = block[low : low + _NORM_ROWS].astype(np.float64)
            norms[low : low + _NORM_ROWS] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    return norms


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array
