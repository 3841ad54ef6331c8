#!/usr/bin/env bash
# scipy.linalg.eigh keeps Python's lock for as long as LAPACK runs; numpy.linalg.eigh gives it up.
#
# scipy 1.17.1, numpy 2.4.2, CPython with its lock. LAPACK calls are expected to let other threads of Python run. In
# SciPy they stand still for the whole of the decomposition, and so does what such threads renew, watch or answer: a
# heartbeat misses its time, a signal is not handled. NumPy's function of the same name lets them run.
#
# Seen: of the time of the call (n = 1,500) a second thread stood still for 0.9 and more with SciPy, 0.2 and less with
# NumPy.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "scipy==1.17.1" "numpy==2.4.2"
OPENBLAS_NUM_THREADS=1 venv/bin/python - <<'PY'
import threading
import time

import numpy as np
import scipy.linalg

x = np.random.default_rng(0).normal(size=(1500, 1500))
x = x @ x.T


def standstill(call):
    """The longest time between two steps of another thread, as a share of the time of the call."""
    ended, gaps = threading.Event(), []

    def step():
        last = time.perf_counter()
        while not ended.is_set():
            time.sleep(0.002)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    thread = threading.Thread(target=step)
    thread.start()
    time.sleep(0.05)
    began = time.perf_counter()
    call(x)
    seconds = time.perf_counter() - began
    ended.set()
    thread.join()
    return max(gaps) / seconds


scipys, numpys = standstill(scipy.linalg.eigh), standstill(np.linalg.eigh)
print(f"standstill of another thread: scipy {scipys:.2f}, numpy {numpys:.2f} of the call")
assert scipys > 0.8, "scipy lets other threads run"
assert numpys < 0.5, "numpy holds the lock too"
PY
echo "other threads stand still, as described"
