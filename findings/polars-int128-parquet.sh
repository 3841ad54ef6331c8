#!/usr/bin/env bash
# One Int128 column written by Polars makes a whole Parquet file unreadable for pyarrow, the other columns included.
#
# polars 1.35.2, pyarrow 22.0.0. One expects a type that pyarrow does not know to matter to who reads that column. It is
# refused when the file is opened: the vectors beside it cannot be read either. Polars reads its own file.
#
# Seen: ParquetFile raises ArrowNotImplementedError, "Integers with more than 64 bits not implemented".
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "polars==1.35.2" "pyarrow==22.0.0"
venv/bin/python - <<'PY'
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

frame = pl.DataFrame({"id": pl.Series([1, 2], dtype=pl.Int128), "embedding": [[0.5, 1.0], [1.5, 2.0]]})
frame.write_parquet("vectors.parquet")
print("polars reads", pl.read_parquet("vectors.parquet", columns=["embedding"]).shape)
try:
    pq.ParquetFile("vectors.parquet")
except pa.ArrowNotImplementedError as error:
    print("pyarrow:", error)
else:
    raise AssertionError("pyarrow opens it")
frame.with_columns(pl.col("id").cast(pl.Int64)).write_parquet("narrow.parquet")
print("pyarrow reads", pq.read_table("narrow.parquet").num_rows, "rows where the column is Int64")
PY
echo "unreadable, as described"
