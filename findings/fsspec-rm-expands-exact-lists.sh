#!/usr/bin/env bash
# fs.rm of a list of keys takes each of them for a pattern; fs.rm_file and fs.copy of two lists do not.
#
# fsspec 2026.2.0, with its memory file system; s3fs shares the code. A list of keys, as find() returns it, is expected to
# be removed as it is. Where a key holds [ ? or *, the keys that match it as a pattern are removed, which it may not do
# itself. A copy from a list to a list is exact, so that nothing of it is seen before something is removed.
#
# Seen: removing the one key that find("/data/run[12]") returns removes run1/a.npy and run2/a.npy, and leaves that key;
# rm_file removes it alone.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "fsspec==2026.2.0"
venv/bin/python - <<'PY'
import fsspec

fs = fsspec.filesystem("memory")


def filled():
    for name in ("run[12]", "run1", "run2"):
        fs.pipe_file(f"/data/{name}/a.npy", b"vectors")


filled()
keys = fs.find("/data/run[12]")
fs.copy(keys, ["/copy/a.npy"])
print("copied:", fs.find("/copy"), "of", keys)
assert fs.find("/copy") == ["/copy/a.npy"] and keys == ["/data/run[12]/a.npy"]
fs.rm(keys)
print("left by rm:", fs.find("/data"))
left = fs.find("/data")
filled()
fs.rm_file(keys[0])
print("left by rm_file:", fs.find("/data"))
assert fs.find("/data") == ["/data/run1/a.npy", "/data/run2/a.npy"]
assert left == keys, "rm is exact"
PY
echo "keys of others are removed, as described"
