#!/usr/bin/env bash
# dask.array.to_zarr(url, shards=...) of a new array loses most rows, without an error or a warning.
#
# dask 2026.8.0 with zarr 3.1.6. The tasks write dask's own chunks, in parallel threads, into an array whose unit of
# writing is the shard: each task reads the shard, adds its rows and writes all of it back, and the last one wins. What
# the others wrote becomes empty slots of the shard, which read as the fill value: rows of zeros. Given a zarr.Array that
# is there already, to_zarr rechunks to its shards first; given shards= for a new one it does not.
#
# Seen: 20,000 rows in chunks of 2,000 and one shard; 6,000 to 10,000 of them read as zeros, in each of 3 attempts.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet "dask[array]==2026.8.0" "zarr==3.1.6" "numcodecs==0.16.5" "numpy==2.4.0"
venv/bin/python - <<'PY'
import dask.array as da
import numpy as np
import zarr

rows = np.random.default_rng(0).normal(size=(20_000, 64)).astype("float32")  # none of them zero
lost = []
for attempt in range(3):
    da.from_array(rows, chunks=(2_000, 64)).to_zarr(f"{attempt}.zarr", shards=(20_000, 64))
    found = zarr.open_array(f"{attempt}.zarr", mode="r")
    gone = (found[:] == 0).all(axis=1)
    assert (found[:][~gone] == rows[~gone]).all()
    lost.append(int(gone.sum()))
    print(f"attempt {attempt}: chunks {found.chunks}, shards {found.shards}: {lost[-1]:,} of 20,000 rows read as zeros")
assert max(lost) > 0, "no row is lost any more"
PY
echo "rows were lost, as described"
