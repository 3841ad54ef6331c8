"""Files whose folders hold columns in their names, as in ``year=2024/part-0.parquet``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from specscale.sources.base import Batch, Shard
from specscale.sources.choosing import Choice

__all__ = ["PartitionedShard"]


class PartitionedShard(Shard):
    """A shard whose rows have columns of one value each besides their own, as text.

    Parameters
    ----------
    shard : the file
    keys : names of the columns; one that the file has itself is left to it
    values : their values
    """

    def __init__(self, shard: Shard, keys: Sequence[str], values: Sequence[str | None]) -> None:
        own = list(shard.offered)
        self.vectors = shard.vectors
        names = {*self.vectors, *(field.name for field in own)}
        self._shard = shard
        self._values = {key: value for key, value in zip(keys, values, strict=True) if key not in names}
        self.offered = pa.schema([*own, *((key, pa.string()) for key in self._values)])
        self.ride(Choice())
        self.path, self.n, self.p, self.dtype = shard.path, shard.n, shard.p, shard.dtype
        self.fingerprint = shard.fingerprint
        self.notes, self.dropped, self.dropped_rows = shard.notes, shard.dropped, shard.dropped_rows

    def ride(self, choice: Choice) -> None:
        """Let some of the columns ride along."""
        self._shard.ride(choice)
        own = list(self._shard.schema) if self._shard.schema is not None else []
        added = choice.riding(pa.schema([self.offered.field(key) for key in self._values]))
        self.schema = pa.schema([*own, *added]) if own or len(added) else None

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yield the rows from `start` on, in order, in batches of bounded size."""
        for batch in self._shard.batches(start):
            columns = self._added(len(batch.vectors)) if batch.columns is None else self._beside(batch.columns)
            yield replace(batch, columns=columns)

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the given columns of all rows, in order, without reading the vectors."""
        read = [name for name in columns if name not in self._values]
        if not read:
            yield self._added(self.n).select(columns)
            return
        for table in self._shard.tables(read):
            yield self._beside(table).select(columns)

    def dimension(self, index: int) -> str:
        """Name a dimension of the vectors as the user knows it."""
        return self._shard.dimension(index)

    def _beside(self, table: pa.Table) -> pa.Table:
        added = self._added(table.num_rows)
        for name in self._values:
            table = table.append_column(added.schema.field(name), added.column(name))
        return table

    def _added(self, count: int) -> pa.Table:
        return pa.table({key: pa.array([value] * count, pa.string()) for key, value in self._values.items()})
