"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from specscale.places.listing import fingerprint
from specscale.sources.base import Format
from specscale.sources.batches import BatchShard
from specscale.tables.parquet import open_parquet, parquet_rows


class ParquetShard(BatchShard):
    """A Parquet file.

    Parameters
    ----------
    path : the file
    vector : where the vectors are, as of `BatchShard`

    Raises
    ------
    InputError
        When the file cannot be used, or `vector` does not name vectors.
    """

    def __init__(self, path: str, vector: str | None = None) -> None:
        with open_parquet(path) as file:
            schema, n = file.schema_arrow, file.metadata.num_rows
        super().__init__(path, schema, n, fingerprint(path), vector)

    def read(self, columns: Sequence[str], start: int, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns of the rows from `start` on, in order, at most `rows` at a time."""
        return parquet_rows(self.path, columns, start, rows)


PARQUET = Format("Parquet", (".parquet", ".pq"), ParquetShard, frozenset({"vector"}))
