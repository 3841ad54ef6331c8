"""The store in progress: its arrays, the samples' columns chunk by chunk, and whether they are still what they were."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray

from specscale.embeddings.dropped import append_dropped, dropped_digest, read_dropped
from specscale.embeddings.layout import ATTRIBUTE, FEATURES, NORMS, ROWS, chunk_digest, ids_digest, row_norms
from specscale.places.documents import read_json
from specscale.places.files import Location, is_local, make_folder, read_whole, remove_tree, writing, zarr_store
from specscale.stores.publishing import Partial
from specscale.tables.parquet import VERIFIED

__all__ = ["Draft"]

_NORM = np.dtype("<f4")
_PAGES: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}


class Draft:
    """The files of a store in progress.

    Parameters
    ----------
    partial : where they are
    rows : rows of a chunk
    p : dimensions
    dtype : float16 or float32
    schema : the samples' own columns; None where there are none
    """

    def __init__(self, partial: Partial, rows: int, p: int, dtype: np.dtype[Any], schema: pa.Schema | None) -> None:
        self._partial = partial
        self._rows = rows
        self._p = p
        self._dtype = dtype
        self._schema = schema

    def begin(self, n: int) -> None:
        """Make the arrays, in place of those of other work.

        Parameters
        ----------
        n : rows to come, at most
        """
        for stale in (self._partial.draft, self._partial.columns):
            remove_tree(stale)
        make_folder(self._partial.columns)
        group = zarr.create_group(zarr_store(self._partial.draft), zarr_format=3)
        for name, shape in ((FEATURES, (n, self._p)), (NORMS, (n,))):
            group.create_array(
                name,
                shape=shape,
                chunks=(self._rows, *shape[1:]),
                dtype=self._dtype.newbyteorder("<") if name == FEATURES else _NORM,
                compressors=None,
                filters=None,
                fill_value=np.nan,
                # Without this every chunk is compared with the fill value, at the price of a pass over it.
                config={"write_empty_chunks": True},
            )

    def open(self) -> None:
        """Open the arrays for writing."""
        self._features, self._norms = self._arrays("r+")

    def write(self, index: int, block: NDArray[Any], tables: Sequence[pa.Table]) -> int:
        """Write a chunk.

        Parameters
        ----------
        index : its number
        block : its rows
        tables : their columns, in pieces

        Returns
        -------
        int
            How many rows have norm zero.
        """
        low = index * self._rows
        norms = row_norms(block)
        self._features[low : low + len(block)] = block
        self._norms[low : low + len(block)] = norms
        if self._schema is not None:
            self._write_part(index, pa.concat_tables(tables).cast(self._schema))
        return int(np.count_nonzero(norms == 0))

    def drop(self, begin: int, rows: NDArray[np.int64]) -> None:
        """Write the numbers of dropped rows behind the first `begin`.

        Parameters
        ----------
        begin : numbers that were written before
        rows : numbers in the source, ascending
        """
        append_dropped(self._group("r+"), begin, rows)

    def dropped_digest(self, count: int) -> str | None:
        """Return the digest of the numbers of dropped rows; None where not all are known."""
        rows = read_dropped(self._group("r"), count)
        return None if rows is None else dropped_digest(rows)

    def has_dropped(self, count: int) -> bool:
        """Whether the first `count` numbers of dropped rows are there."""
        try:
            return count == 0 or read_dropped(self._group("r"), count) is not None
        except (OSError, KeyError, ValueError):
            return False

    def has(self, first: int, digests: Sequence[str], rows: int) -> bool:
        """Whether the chunks that were written are there, as they were written.

        Parameters
        ----------
        first : number of the first of them
        digests : their digests
        rows : rows of the store up to their end
        """
        return (
            self._is_intact(first, digests, rows) if is_local(self._partial.draft) else self._is_there(first, digests)
        )

    def _is_intact(self, first: int, digests: Sequence[str], rows: int) -> bool:
        # After a power failure the journal may be on disk and a chunk not.
        try:
            features, norms = self._arrays("r")
            if features.chunks[0] != self._rows:
                return False
            for index, digest in enumerate(digests, first):
                low, high = index * self._rows, min((index + 1) * self._rows, rows)
                block = np.asarray(features[low:high])
                if chunk_digest(block) != digest or not np.array_equal(np.asarray(norms[low:high]), row_norms(block)):
                    return False
                if self._schema is not None and pq.read_metadata(self._part(index)).num_rows != len(block):
                    return False
        except (OSError, KeyError, ValueError):
            return False
        return True

    def _is_there(self, first: int, digests: Sequence[str]) -> bool:
        # An object store takes objects whole or not at all, and keeps what it has taken.
        folder = self._partial.folder
        assert not isinstance(folder, Path)
        found = folder.fs.find(folder.path, detail=True)
        sizes = {path.removeprefix(f"{folder.path}/"): entry["size"] for path, entry in found.items()}
        draft = self._partial.draft.name
        names = [f"{draft}/zarr.json", f"{draft}/{FEATURES}/zarr.json", f"{draft}/{NORMS}/zarr.json"]
        for index, _ in enumerate(digests, first):
            if sizes.get(f"{draft}/{FEATURES}/c/{index}/0") != self._rows * self._p * self._dtype.itemsize:
                return False
            if sizes.get(f"{draft}/{NORMS}/c/{index}") != self._rows * _NORM.itemsize:
                return False
            if self._schema is not None:
                names.append(f"{self._partial.columns.name}/{self._part(index).name}")
        return sizes.keys() >= set(names)

    def finish(
        self, n: int, before: Iterable[pa.Table], indices: Iterable[int], id_column: str | None
    ) -> dict[str, str] | None:
        """Fit the arrays to the rows that came, and write the columns of all rows as one file.

        Parameters
        ----------
        n : rows of the store
        before : columns of the chunks that were there before, one table for each
        indices : numbers of the chunks that were written
        id_column : the column that holds the ids, if any

        Returns
        -------
        dict or None
            What describes the ids; None where there are none.
        """
        self._features.resize((n, self._p))
        self._norms.resize((n,))
        if self._schema is None:
            return None

        def written(writer: pq.ParquetWriter) -> Iterator[pa.Table]:
            for table in itertools.chain(before, map(self._read_part, indices)):
                writer.write_table(table, row_group_size=self._rows)
                yield table

        with writing(self._partial.draft / ROWS) as file, pq.ParquetWriter(file, self._schema, **_PAGES) as writer:
            if id_column is None:
                deque(written(writer), maxlen=0)
                return None
            digest = ids_digest(table.column(id_column) for table in written(writer))
        return {"column": id_column, "type": str(self._schema.field(id_column).type), "digest": digest}

    def describe(self, attributes: dict[str, Any]) -> None:
        """Set the store's attribute, beside those that the owner of a store of its name gave that one."""
        self._group("r+").attrs.update({**_attributes(self._partial.target), ATTRIBUTE: attributes})

    def _group(self, mode: Literal["r", "r+"]) -> zarr.Group:
        return zarr.open_group(zarr_store(self._partial.draft), mode=mode, zarr_format=3)

    def _arrays(self, mode: Literal["r", "r+"]) -> tuple[zarr.Array[Any], zarr.Array[Any]]:
        group = self._group(mode)
        return _array(group, FEATURES), _array(group, NORMS)

    def _part(self, index: int) -> Location:
        return self._partial.columns / f"{index:06d}.parquet"

    def _write_part(self, index: int, table: pa.Table) -> None:
        with writing(self._part(index)) as file:
            pq.write_table(table, file, **_PAGES)

    def _read_part(self, index: int) -> pa.Table:
        with pq.ParquetFile(pa.BufferReader(read_whole(self._part(index))), **VERIFIED) as file:
            return file.read()


def _attributes(store: Location) -> dict[str, Any]:
    """The attributes of a group that is there."""
    try:
        found = read_json(store / "zarr.json")["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array
