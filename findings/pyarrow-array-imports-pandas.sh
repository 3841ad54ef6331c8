#!/usr/bin/env bash
# Making an Arrow array of a NumPy array imports pandas, where that is installed.
#
# pyarrow 26.0.1, numpy 2.4.6, pandas 3.1.1. pandas is an optional neighbour of Arrow, expected to be loaded by to_pandas
# and from_pandas. It is loaded by pa.array of a NumPy array or of a list of integers, by pa.scalar, by an empty table of
# a schema, and by to_numpy; not by arrays that are made of buffers, or of nulls. A short program that never names
# pandas pays for its import, where an environment has it, and not where it has not.
#
# Seen: pandas is in sys.modules after the first four, not after the last two.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "numpy==2.4.6" "pandas==3.1.1" "pyarrow==26.0.1"
venv/bin/python - <<'PY'
import subprocess
import sys

BUFFERS = "pa.Array.from_buffers(pa.int64(), 1, [None, pa.py_buffer(bytes(8))])"
LOADS = ["pa.array(np.arange(3))", "pa.scalar(1)", "pa.schema([('a', pa.int64())]).empty_table()", f"{BUFFERS}.to_numpy()"]
DO_NOT = [BUFFERS, "pa.nulls(3)"]


def loads(expression):
    code = f"import sys, numpy as np, pyarrow as pa; {expression}; print('pandas' in sys.modules)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "True"


for one in (*LOADS, *DO_NOT):
    print(f"{loads(one)!s:5} {one}")
assert not loads("None")  # importing both loads nothing of it
assert all(map(loads, LOADS))
assert not any(map(loads, DO_NOT))
PY
echo "pandas is imported by what does not name it, as described"
