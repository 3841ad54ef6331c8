#!/usr/bin/env bash
# cupyx.empty_pinned pins up to twice what it is asked for, and keeps it.
#
# cupy-cuda12x 14.2.0. PinnedMemoryPool.malloc rounds to the next power of two, whatever the size, where the pool of a
# card's memory rounds to 512 bytes. Two buffers of 576 MB pin 2 GiB of a host's memory, and free_all_blocks, which
# nothing calls, is what gives them back.
#
# Seen: 576,000,000 bytes pin 1,073,741,824; 33 MiB pin 64 MiB. No card is needed.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "cupy-cuda12x==14.2.0"
venv/bin/python - <<'PY'
import ctypes

import cupy

asked = []


class Memory:  # of the host, and not pinned
    def __init__(self, size):
        self.held = ctypes.create_string_buffer(1)
        self.ptr, self.size = ctypes.addressof(self.held), size


def pinned(size):
    asked.append(size)
    return cupy.cuda.PinnedMemoryPointer(Memory(size), 0)


pool = cupy.cuda.PinnedMemoryPool(pinned)
for size in (576_000_000, 33 << 20):
    pool.malloc(size)
    print(f"{size:,} bytes pin {asked[-1]:,}")
assert asked == [1 << 30, 64 << 20]
PY
echo "memory is rounded to a power of two, as described"
