"""Several files as one source."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.errors import InputError
from specscale.sources.base import Batch, Shard
from specscale.sources.choosing import Choice, describe
from specscale.tables.widening import Columns, common_schema, converted


class ShardedSource:
    """The rows of one or many shards, in order.

    Parameters
    ----------
    name : name for the model
    shards : at least one; shards without rows are legal wherever they stand and take part in nothing
    choice : the columns that ride along

    Raises
    ------
    InputError
        When there are no rows, or a shard differs from the ones before it in its dimensions or columns.
    """

    def __init__(self, name: str, shards: Sequence[Shard], choice: Choice | None = None) -> None:
        self.name = name
        self.paths = tuple(shard.path for shard in shards)
        filled = [shard for shard in shards if shard.n > 0]
        if not filled:
            raise InputError(f"{self.paths[0]}: there are no rows in {_these(len(shards))}; nothing to ingest")
        first = filled[0]
        assert first.p is not None
        for shard in filled:
            if shard.p != first.p:
                raise InputError(
                    f"{shard.path}: its rows have {shard.p} dimensions, those of {first.path} have {first.p};"
                    " ingest one model's files at a time"
                )
        self.vectors = _vectors(filled)
        self.n = sum(shard.n for shard in filled)
        self.p = first.p
        self.dtype = np.result_type(*(shard.dtype for shard in filled))
        self.offered = list(dict.fromkeys(name for shard in filled for name in shard.offered.names))
        self.schema = _schema(filled, choice or Choice())
        # An empty shard that is filled later changes the rows too, so all of them are in the fingerprint.
        listing = "\n".join(f"{shard.fingerprint} {shard.n} {shard.p} {shard.dtype.str}" for shard in shards)
        self.fingerprint = hashlib.blake2b(listing.encode(), digest_size=16).hexdigest()
        self.notes = tuple(note for shard in filled for note in shard.notes)
        self.dropped, self.dropped_rows = sum(shard.dropped for shard in filled), _dropped_rows(filled)
        self._shards = filled
        self._starts = [0, *accumulate(shard.n for shard in filled)]

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yield the rows in order.

        Parameters
        ----------
        start : the first row

        Yields
        ------
        Batch
            Batches of bounded size, none across two files.

        Raises
        ------
        InputError
            When a file is damaged, or has changed.
        """
        for offset, shard in zip(self._starts, self._shards, strict=False):
            if start >= offset + shard.n:
                continue
            expected = max(start - offset, 0)
            for batch in shard.batches(expected):
                expected += len(batch.vectors)
                columns = None
                if batch.columns is not None and self.schema is not None:
                    columns = converted(batch.columns, self.schema, _located(shard, batch.start))
                yield replace(batch, start=offset + batch.start, columns=columns)
            if expected != shard.n:
                raise InputError(f"{shard.path}: {expected} rows were read, {shard.n} expected; the file has changed")

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of all rows, in order.

        Parameters
        ----------
        columns : names of columns of `schema`

        Yields
        ------
        pyarrow.Table
            A few rows each.
        """
        assert self.schema is not None
        schema = pa.schema([self.schema.field(name) for name in columns])
        for shard in self._shards:
            row = 0
            for table in shard.tables(columns):
                yield converted(table, schema, _located(shard, row))
                row += table.num_rows

    def locate(self, row: int) -> str:
        """Say where a row comes from.

        Parameters
        ----------
        row : row of the whole source, from 0

        Returns
        -------
        str
            File and row of the file, from 0.
        """
        index = bisect.bisect_right(self._starts, row) - 1
        return f"{self._shards[index].path}, row {row - self._starts[index]}"

    def dimension(self, index: int) -> str:
        """Name a dimension of the vectors.

        Parameters
        ----------
        index : from 0 to p − 1

        Returns
        -------
        str
            As in ``"column 17"``.
        """
        return self._shards[0].dimension(index)


def _vectors(shards: Sequence[Shard]) -> tuple[str, ...]:
    first = shards[0].vectors
    for shard in shards[1:]:
        if shard.vectors != first:
            raise InputError(
                f"{shard.path}: its vectors are in {describe(shard.vectors)}, those of {shards[0].path} in "
                f"{describe(first)}; rename the columns, or ingest one model's files at a time"
            )
    return first


def _schema(shards: Sequence[Shard], choice: Choice) -> pa.Schema | None:
    files = []
    for shard in shards:
        shard.ride(choice)
        files.append(Columns(shard.path, shard.schema if shard.schema is not None else pa.schema([]), _reader(shard)))
    common = common_schema(files)
    return common if len(common) else None


def _dropped_rows(shards: Sequence[Shard]) -> NDArray[np.int64] | None:
    """Numbers of the rows that shards dropped, counted over all that they were made of."""
    parts, start = [], 0
    for shard in shards:
        if shard.dropped_rows is None:
            return None
        parts.append(start + shard.dropped_rows)
        start += shard.n + shard.dropped
    return np.concatenate(parts)


def _reader(shard: Shard) -> Callable[[str], Iterator[pa.ChunkedArray]]:
    return lambda name: (table.column(name) for table in shard.tables([name]))


def _located(shard: Shard, start: int) -> Callable[[int], str]:
    return lambda row: f"{shard.path}, row {start + row}"


def _these(count: int) -> str:
    return "this file" if count == 1 else f"these {count} files"
