#!/usr/bin/env bash
# Calling a compiled function under a profiler changes the flags of the Python function that it was made of.
#
# numba 0.68.1, numpy 2.4.6, Python 3.11. The code object of a function is expected to stay what it is, and so to
# be fit for a key of what was compiled. Once a function of @njit has been called while cProfile is on, the code of its
# py_func has lost the flag CO_OPTIMIZED (1); a call without a profiler, and a
# plain function under one, leave them alone. Whoever keys compiled code by the whole code object compiles anew.
#
# Seen: the flags of py_func.__code__ are 3 before and 2 after.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "numba==0.68.1" "numpy==2.4.6"
venv/bin/python - <<'PY'
import cProfile

import numba


def plain(x):
    return x + 1


@numba.njit
def compiled(x):
    return x + 1


def flags(function):
    return function.__code__.co_flags & 3


def profiled(function):
    profile = cProfile.Profile()
    profile.enable()
    function(1.0)
    profile.disable()


profiled(plain)
compiled(1.0)
called = flags(compiled.py_func)
profiled(compiled)
print("plain function under a profiler:", flags(plain))
print("compiled, called without one:   ", called)
print("compiled, called under one:     ", flags(compiled.py_func))
assert flags(plain) == called == 3
assert flags(compiled.py_func) == 2
PY
echo "a profiler changes the function that it watches, as described"
