#!/usr/bin/env bash
# RawModule and RawKernel compile with -ftz=true, after whatever options they are given.
#
# cupy-cuda12x 14.2.0 (the same in 14.0.1 and 14.1.1), NVRTC 12.9. _compile_with_cache_cuda appends the option to those of
# the caller, and of an option that is given twice NVRTC takes the last: --ftz=false is accepted and has no effect. So
# float32 below 1.2e-38 is zero in one's own kernels, as the norm of a tiny row is, where the same source compiled by
# nvcc, whose default is -ftz=false, keeps it. nvrtc of CuPy called directly takes the options as they are.
#
# Seen: PTX of a product has mul.ftz.f32, though --ftz=false was asked for. No card is needed.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "cupy-cuda12x==14.2.0" "nvidia-cuda-nvrtc-cu12==12.9.*"
export CUPY_CACHE_DIR="$PWD/cache"
venv/bin/python - <<'PY'
from types import SimpleNamespace

from cupy.cuda import compiler, nvrtc

SOURCE = 'extern "C" __global__ void half(float *x) { x[threadIdx.x] *= 0.5f; }'
taken = []


def ptx(options):
    program = nvrtc.createProgram(SOURCE, "half.cu", (), ())
    nvrtc.compileProgram(program, (*options, "-arch=compute_80"))
    return nvrtc.getPTX(program).decode()


def compile_instead(source, options, *_):
    taken.extend(options)
    return b"", None


compiler._get_arch_for_options_for_nvrtc = lambda arch=None: ("-arch=sm_80", "cubin")  # which asks a driver
compiler._preprocess = lambda *_: ""
compiler.function = SimpleNamespace(Module=lambda: SimpleNamespace(load=id, _set_mapping=id))
compiler._compile_using_nvrtc_no_warning = compile_instead
compiler._compile_module_with_cache(SOURCE, ("--ftz=false",), arch="80")
print("asked for --ftz=false; the compiler gets", taken)
print("mul.ftz.f32" in ptx(taken), "mul.ftz.f32" in ptx(["--ftz=false"]))
assert "mul.ftz.f32" in ptx(taken)
assert "mul.f32" in ptx(["--ftz=false"])
PY
echo "subnormal numbers are flushed, as described"
