#!/usr/bin/env bash
# pyarrow.json rounds integers from 2^63 on to doubles, and any integer beside a fraction, without a word.
#
# pyarrow 22.0.0. JSON has integers of any size, and 64-bit ids (snowflakes, hashes) fill the unsigned range. From
# inference one expects uint64, or an error; the column becomes double and ids that differ become equal. A schema that
# says uint64 reads them exactly.
#
# Seen: 9223372036854775809 and ...811 both read as 9.223372036854776e+18; 9007199254740993 beside 0.5 as ...992.0.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "pyarrow==22.0.0"
venv/bin/python - <<'PY'
import io

import pyarrow as pa
import pyarrow.json as pj

ids = b'{"id": 9223372036854775809}\n{"id": 9223372036854775811}\n'
read = pj.read_json(io.BytesIO(ids))
print(read.schema.field("id"), read.column("id").to_pylist())
assert read.schema.field("id").type == pa.float64()
assert len(set(read.column("id").to_pylist())) == 1, "they differ"

mixed = pj.read_json(io.BytesIO(b'{"x": 9007199254740993}\n{"x": 0.5}\n')).column("x").to_pylist()
print(mixed)
assert mixed[0] == 9007199254740992.0

exact = pj.read_json(io.BytesIO(ids), parse_options=pj.ParseOptions(explicit_schema=pa.schema([("id", pa.uint64())])))
print(exact.schema.field("id"), exact.column("id").to_pylist())
assert exact.column("id").to_pylist() == [9223372036854775809, 9223372036854775811]
PY
echo "rounded, as described"
