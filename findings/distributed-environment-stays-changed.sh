#!/usr/bin/env bash
# Closing a Dask cluster leaves OMP_NUM_THREADS=1 and others in the environment of the process that started it.
#
# distributed 2026.8.0. Its nannies set what the configuration "distributed.nanny.pre-spawn-environ" names in the
# environment of their own process, which of a LocalCluster is the caller's, so that workers inherit it; one would
# expect it to be taken back, or to be set in the workers alone. It stays when the cluster is closed: processes that
# are started thereafter compute with one thread, and glibc trims their memory at 64 KiB.
#
# Seen: MALLOC_TRIM_THRESHOLD_=65536 and MKL_, OMP_ and OPENBLAS_NUM_THREADS=1 after close().
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "distributed==2026.8.0" "dask==2026.8.0"
unset MALLOC_TRIM_THRESHOLD_ MKL_NUM_THREADS OMP_NUM_THREADS OPENBLAS_NUM_THREADS
cat > start.py <<'PY'
import os

from distributed import LocalCluster


def names():
    return {name: value for name, value in os.environ.items() if "NUM_THREADS" in name or "MALLOC_TRIM" in name}


if __name__ == "__main__":
    assert not names()
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"):
        pass
    print("after close():", names())
    assert names() == {
        "MALLOC_TRIM_THRESHOLD_": "65536",
        "MKL_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
PY
venv/bin/python start.py
echo "the caller's environment is changed for good, as described"
