"""What a store begins with before the first new row: nothing, or the rows of a store that others are to follow."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray

from specscale.embeddings.intact import check_rows, verify
from specscale.embeddings.layout import CHUNK_ROWS, FEATURES, NORMS, ROWS, store_attributes
from specscale.embeddings.store import EmbeddingStore
from specscale.embeddings.trusted import opened_group
from specscale.errors import ChangedError, InputError
from specscale.places.files import Location, located, reaching
from specscale.tables.parquet import RowGroups
from specscale.tables.types import is_text, plain_schema
from specscale.wording import one_line

__all__ = ["Beginning", "StoredRows"]

_AFRESH = "ingest all rows afresh with --overwrite"


class Beginning:
    """No rows: a store of its own.

    Attributes
    ----------
    n : rows
    digest : of the store whose rows these are; None where there is none
    chunks : full chunks
    chunk_digests : their digests
    zero_norm : rows of norm zero in them
    dropped, dropped_rows : rows that were left out, and the numbers of the first of them in the source
    every_dropped : the numbers of all of them; None where they are not known
    source : the files that the rows came from
    """

    n: int = 0
    digest: str | None = None
    chunks: int = 0
    chunk_digests: Sequence[str] = ()
    zero_norm: int = 0
    dropped: int = 0
    dropped_rows: Sequence[int] = ()
    every_dropped: NDArray[np.int64] | None = np.zeros(0, dtype=np.int64)
    source: Sequence[str] = ()

    def place_chunks(self, draft: Location) -> None:
        """Put the full chunks into the group at `draft`, if they have to be there."""

    def rest(self) -> NDArray[Any] | None:
        """Return the rows that fill no chunk; None where there are none."""
        return None

    def rest_columns(self) -> pa.Table | None:
        """Return the samples' own columns of these rows; None where there are none."""
        return None

    def columns(self) -> Iterator[pa.Table]:
        """Yield the samples' own columns of the full chunks, chunk by chunk."""
        return iter(())

    def check(self) -> None:
        """Raise ChangedError when the rows are no longer what they were."""


class StoredRows(Beginning):
    """The rows of a store that others are to follow.

    Its full chunks are never written again: a local draft gets hard links to them, or copies where there are no links;
    in an object store they stay where they are. Fewer rows than fill one are written again with those that follow, into
    a chunk that begins with the same bytes, so that who has opened the store reads its rows in either.

    Parameters
    ----------
    place : the store

    Attributes
    ----------
    store : the store
    schema : its columns; None where it has none
    vectors : names of the columns that its vectors came from, where they did

    Raises
    ------
    InputError
        When there is no such store, or it is damaged, or not as ``specscale ingest`` writes it.
    """

    def __init__(self, place: Location) -> None:
        self.store = EmbeddingStore(place)
        self._place = place
        attributes = store_attributes(place) or {}
        digests, dropped_rows = attributes.get("chunk_digests"), attributes.get("dropped_rows")
        self.n = self.store.n
        self.digest = self.store.digest
        self.chunks = self.n // CHUNK_ROWS
        if not isinstance(digests, list) or not isinstance(dropped_rows, list) or not self._as_ingested(len(digests)):
            raise InputError(f"{place}: was not written as ingest writes stores, and cannot be added to; {_AFRESH}")
        self.chunk_digests = digests[: self.chunks]
        rest = self.store.norms(self.chunks * CHUNK_ROWS, self.n)
        self.zero_norm = self.store.zero_norm - int(np.count_nonzero(rest == 0))
        self.dropped = self.store.dropped
        self.dropped_rows = dropped_rows
        self.every_dropped = self.store.dropped_rows
        self.source = attributes.get("source", [])
        self.vectors = self.store.vectors
        self.schema: pa.Schema | None = None
        if self.store.columns:
            self._groups = RowGroups(place / ROWS)
            self.schema = plain_schema(self._groups.schema)
            rows = [self._groups.rows_of(number) for number in range(len(self._groups))]
            if sum(rows) != self.n or rows[: self.chunks] != [CHUNK_ROWS] * self.chunks:
                raise InputError(f"{place / ROWS}: was not written as ingest writes it; {_AFRESH}")

    def _as_ingested(self, digests: int) -> bool:
        with reaching(self._place):
            group = opened_group(self._place, _AFRESH)
            arrays = [group[FEATURES], group[NORMS]]
        return digests == -(-self.n // CHUNK_ROWS) and all(
            isinstance(array, zarr.Array)
            and (array.chunks[0] == CHUNK_ROWS or (not self.chunks and array.chunks[0] >= self.n))
            and array.shards is None
            and not array.compressors
            and not array.filters
            for array in arrays
        )

    def place_chunks(self, draft: Location) -> None:
        """Verify the full chunks, and put them into the group at `draft`, if they have to be there."""
        verify(self.store, self.chunks * CHUNK_ROWS)
        if not isinstance(draft, Path) or not isinstance(self._place, Path):
            return
        for name, ending in ((FEATURES, ("0",)), (NORMS, ())):
            for index in range(self.chunks):
                chunk = Path(name, "c", str(index), *ending)
                if not (draft / chunk).exists():
                    (draft / chunk).parent.mkdir(parents=True, exist_ok=True)
                    _link(self._place / chunk, draft / chunk)

    def rest(self) -> NDArray[Any] | None:
        """Return the rows that fill no chunk; None where there are none."""
        start = self.chunks * CHUNK_ROWS
        if start == self.n:
            return None
        rows = self.store.read(start, self.n)
        check_rows(self.store, start, rows)
        return rows

    def rest_columns(self) -> pa.Table | None:
        """Return the samples' own columns of these rows; None where there are none."""
        if self.schema is None or self.chunks * CHUNK_ROWS == self.n:
            return None
        return pa.concat_tables(self._read(range(self.chunks, len(self._groups)), self.schema))

    def columns(self) -> Iterator[pa.Table]:
        """Yield the samples' own columns of the full chunks, chunk by chunk."""
        if self.schema is not None:
            yield from self._read(range(self.chunks), self.schema)

    def _read(self, groups: Sequence[int], schema: pa.Schema) -> Iterator[pa.Table]:
        try:
            for table in self._groups.read(groups, schema.names):
                yield table.cast(schema)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self._place / ROWS}: missing or damaged ({one_line(error)}); {_AFRESH}") from None

    def check(self) -> None:
        """Raise ChangedError when the store is no longer the one that was opened."""
        if (store_attributes(located(self._place)) or {}).get("digest") != self.digest:
            raise ChangedError(f"{self._place}: the store changed during the work; run the same command again")

    def ids(self) -> Iterator[pa.ChunkedArray]:
        """Yield the ids of all rows."""
        return self.store.id_arrays()

    def settled(self, schema: pa.Schema | None, path: str) -> pa.Schema | None:
        """Make sure that the columns of new rows go with those of the store.

        Parameters
        ----------
        schema : columns of the new rows
        path : where they come from, for messages

        Returns
        -------
        pyarrow.Schema or None
            The store's columns.

        Raises
        ------
        InputError
            When a column is missing, or is not one of the store's, or has another type.
        """
        new = schema if schema is not None else pa.schema([])
        old = self.schema if self.schema is not None else pa.schema([])
        if lost := [name for name in old.names if name not in new.names]:
            raise InputError(
                f"{path}: has no column {', '.join(lost)}, as the rows of {self._place} have; add it, or give it "
                "with --metadata"
            )
        if added := [name for name in new.names if name not in old.names]:
            raise InputError(
                f"{path}: the rows of {self._place} have no column {', '.join(added)}; remove it, leave it out with "
                f"--columns, or {_AFRESH}"
            )
        for field in old:
            kind = new.field(field.name).type
            if not _holds(field.type, kind):
                raise InputError(
                    f"{path}: column {field.name} holds {kind}, in {self._place} it holds {field.type}; convert it, "
                    f"or {_AFRESH}"
                )
        return self.schema


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise InputError(f"{source}: the chunk is missing; {_AFRESH}") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        copy = target.with_name(f"{target.name}.new")
        shutil.copyfile(source, copy)
        os.replace(copy, target)


def _holds(kind: pa.DataType, other: pa.DataType) -> bool:
    """Whether a column of some type may take the values of another type as they are; which of them is seen then."""
    types = pa.types
    for same in (is_text, _is_number, types.is_timestamp, types.is_duration):
        if same(kind) and same(other):
            return getattr(kind, "tz", None) == getattr(other, "tz", None)
    try:
        common = pa.unify_schemas([pa.schema([("x", kind)]), pa.schema([("x", other)])], promote_options="permissive")
    except pa.ArrowException:
        return False
    return bool(common.field("x").type == kind)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
