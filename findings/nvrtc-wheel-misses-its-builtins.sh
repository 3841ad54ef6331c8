#!/usr/bin/env bash
# NVRTC of a wheel, loaded by its path, compiles nothing until a library beside it has been loaded too.
#
# nvidia-cuda-nvrtc 13.0.88. libnvrtc.so.13 opens libnvrtc-builtins.so.13.0 by its name when it compiles, and does not
# look in its own folder: nvrtcCompileProgram returns 7, NVRTC_ERROR_BUILTIN_OPERATION_FAILURE, and the log says
# "failed to open libnvrtc-builtins.so.13.0". With that library loaded by its path before, the same program compiles; in
# 13.5.37 it compiles without.
#
# Seen: 7 and then 0 with 13.0.88, 0 with 13.5.37. No card is needed.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
for version in 13.0.88 13.5.37; do
    venv/bin/python -m pip install --quiet --disable-pip-version-check --target "$version" "nvidia-cuda-nvrtc==$version"
done
cat > compile.py <<'PY'
import ctypes
import sys
from pathlib import Path

version, *first = sys.argv[1:]
found = {path.name: path for path in Path(version).rglob("*.so*")}
for name in first:
    ctypes.CDLL(str(found[name].resolve()), mode=ctypes.RTLD_GLOBAL)
nvrtc = ctypes.CDLL(str(found["libnvrtc.so.13"].resolve()))
program = ctypes.c_void_p()
source = b'extern "C" __global__ void half(float *x) { x[threadIdx.x] *= 0.5f; }'
assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"half.cu", 0, None, None) == 0
status = nvrtc.nvrtcCompileProgram(program, 0, None)
size = ctypes.c_size_t()
nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
log = ctypes.create_string_buffer(size.value)
nvrtc.nvrtcGetProgramLog(program, log)
print(status, log.value.decode().strip(), file=sys.stderr)
print(status)
PY
alone="$(venv/bin/python compile.py 13.0.88)"
both="$(venv/bin/python compile.py 13.0.88 libnvrtc-builtins.so.13.0)"
newer="$(venv/bin/python compile.py 13.5.37)"
echo "13.0.88 alone: $alone; with its builtins loaded first: $both; 13.5.37 alone: $newer"
test "$alone $both $newer" = "7 0 0"
echo "the wheel's own library is not found, as described"
