"""The kernels in CUDA C are compiled for the cards of today by their own compiler, which needs no card."""

from __future__ import annotations

import ctypes
import re
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest

from specscale.kernels.sources import OPTIONS, cuda_sources, kernel_names

SOURCES = cuda_sources()
ARCHITECTURES = ["sm_80", "sm_90", "sm_100"]


class Compiler:
    """NVRTC, called without a driver."""

    def __init__(self, library: Path) -> None:
        for beside in library.parent.glob("libnvrtc-builtins.so.*"):  # which versions before 13.5 look for elsewhere
            ctypes.CDLL(str(beside))
        self._library = ctypes.CDLL(str(library))

    def compile(self, source: str, architecture: str) -> str:
        """What it says of a source, errors and warnings; nothing where it has no complaint."""
        program = ctypes.c_void_p()
        self._check("CreateProgram", ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
        options = [*OPTIONS, f"--gpu-architecture={architecture}", "--ptxas-options=-Werror"]
        given = (ctypes.c_char_p * len(options))(*map(str.encode, options))
        failed = self._library.nvrtcCompileProgram(program, len(options), given)
        size = ctypes.c_size_t()
        self._check("GetProgramLogSize", program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        self._check("GetProgramLog", program, log)
        if not failed:
            self._check("GetCUBINSize", program, ctypes.byref(size))
            assert size.value > 0
        self._check("DestroyProgram", ctypes.byref(program))
        return log.value.decode() or ("it failed without a word" if failed else "")

    def _check(self, name: str, *arguments: object) -> None:
        assert getattr(self._library, f"nvrtc{name}")(*arguments) == 0, name


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    try:
        found = [one for one in files("nvidia-cuda-nvrtc") or () if re.match(r"libnvrtc\.so\.\d+$", one.name)]
    except PackageNotFoundError:
        found = []
    if not found:
        pytest.skip("the package nvidia-cuda-nvrtc is not installed")
    return Compiler(Path(str(found[0].locate())))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", SOURCES)
def test_every_kernel_compiles(compiler: Compiler, name: str, architecture: str) -> None:
    assert compiler.compile(SOURCES[name], architecture) == ""


@pytest.mark.parametrize(
    ("body", "complaint"), [("int unused;", "never referenced"), ("out[0] = undefined;", "is undefined")]
)
def test_a_complaint_is_heard(compiler: Compiler, body: str, complaint: str) -> None:
    assert complaint in compiler.compile(f'extern "C" __global__ void seeded(float *out) {{ {body} }}\n', "sm_90")


@pytest.mark.parametrize("name", SOURCES)
def test_every_card_and_the_host_run_the_same_source(name: str) -> None:
    code = re.sub(r"//.*", "", SOURCES[name])
    assert re.findall(r"#|\batomic\w*|\basm\b", code) == []
    assert len(kernel_names(code)) == code.count('extern "C" __global__') == code.count("__global__") > 0


def test_no_two_kernels_have_one_name() -> None:
    names = [kernel for source in SOURCES.values() for kernel in kernel_names(source)]
    assert len(names) == len({*names}) > 0
