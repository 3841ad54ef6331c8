#!/usr/bin/env bash
# Widening float32 to float64 warns of an invalid value for some NaNs and not for others.
#
# numpy 2.4.2, x86-64. A cast from float32 to float64 loses nothing and is expected to pass every NaN on in silence. It
# does so for quiet NaNs, which arithmetic makes. A signalling NaN (the top bit of the fraction clear, as one flipped bit
# or a sentinel of another program leaves) raises "invalid value encountered in cast", an error where warnings are
# errors; the same cast from float16 to float32 is silent.
#
# Seen: RuntimeWarning for 0x7F800001, none for 0x7FC00001, none for the float16 0x7C01.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "numpy==2.4.2"
venv/bin/python - <<'PY'
import warnings

import numpy as np


def told(bits, kind, wide):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        value = np.array([bits], f"u{np.dtype(kind).itemsize}").view(kind).astype(wide)
    assert np.isnan(value).all()
    return [str(one.message) for one in found]


signalling, quiet, half = told(0x7F800001, "f4", "f8"), told(0x7FC00001, "f4", "f8"), told(0x7C01, "f2", "f4")
print("float32 to float64, signalling:", signalling)
print("float32 to float64, quiet:     ", quiet)
print("float16 to float32, signalling:", half)
assert signalling == ["invalid value encountered in cast"]
assert quiet == half == []
PY
echo "one kind of NaN warns, as described"
