#!/usr/bin/env bash
# "Permissive" schema unification of pyarrow makes int64 of int64 and uint64, which holds half of the latter.
#
# pyarrow 22.0.0. With promote_options="permissive" int32 and uint32 become int64, the next type that holds both. Of int64
# and uint64, which no integer type holds, one expects an error, a decimal or a double; it is int64. What follows, as
# concat_tables with the same option, then fails on the first id above 2^63 that a shard holds, or works by luck.
#
# Seen: unify_schemas -> int64; concat_tables raises "Integer value 18446744073709551615 not in range".
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "pyarrow==22.0.0"
venv/bin/python - <<'PY'
import pyarrow as pa


def unified(one, other):
    return pa.unify_schemas([pa.schema([("id", one)]), pa.schema([("id", other)])], promote_options="permissive")


print("int32 and uint32:", unified(pa.int32(), pa.uint32()).field("id").type)
print("int64 and uint64:", unified(pa.int64(), pa.uint64()).field("id").type)
assert unified(pa.int32(), pa.uint32()).field("id").type == pa.int64()
assert unified(pa.int64(), pa.uint64()).field("id").type == pa.int64()

shards = [pa.table({"id": pa.array([1], pa.int64())}), pa.table({"id": pa.array([2**64 - 1], pa.uint64())})]
try:
    pa.concat_tables(shards, promote_options="permissive")
except pa.ArrowInvalid as error:
    print("concat_tables:", error)
else:
    raise AssertionError("concat_tables takes them")
PY
echo "int64, as described"
