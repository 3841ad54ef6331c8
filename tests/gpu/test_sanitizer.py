"""Comparisons on a card under the sanitizer of its maker: nothing is read or written that is another's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu

SANITIZED = """
import sys
sys.path[:0] = sys.argv[1:]
import cupy
from conftest import structured
import specscale as ss
from specscale.kernels import apart
from specscale.runtime import machine, sweeper

sweeper.BLOCK_ROWS, apart._CALIBRATED, machine._COPIED_BYTES = 600, 64, 1 << 16

class Plain:  # an allocation of its own for each array, so that what is beside it is nobody's
    def malloc(self, size):
        return cupy.cuda.memory.MemoryPointer(cupy.cuda.Memory(size), 0)
    def used_bytes(self):
        return 0
    free_bytes = get_limit = used_bytes
    def free_all_blocks(self):
        pass

cupy.cuda.MemoryPool = Plain
for options in ({"features": "landmarks", "size": 60}, {"features": "fourier", "size": 60, "normalize": "standardise"}):
    for dtype in ("float16", "float32"):
        a, b = structured(1_500, 13, 7, dtype=dtype)
        ss.compare(a, b, device="cuda", sigma=(2.0, 2.0), n_modes=3, top=40, certify=40, **options)
print("compared")
"""


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_the_sanitizer_finds_nothing(tool: str, tmp_path: Path) -> None:
    program = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if program is None:
        pytest.skip("compute-sanitizer is not here")
    paths = map(str, Path(__file__).parents[1:3])
    done = subprocess.run(
        [program, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", SANITIZED, *paths],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    said = done.stdout[-3000:] + done.stderr[-3000:]
    if "not supported" in said:
        pytest.skip("compute-sanitizer does not know this card")
    assert done.returncode == 0, said
    assert "compared" in done.stdout, said
