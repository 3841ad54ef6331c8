"""For which card the kernels in CUDA C are compiled, and what is said where they cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from specscale.errors import DeviceError
from specscale.kernels.sources import OPTIONS, compiled, cuda_sources, kernel_names


class Compiler:
    """NVRTC of CuPy, which knows some cards and no others."""

    class NVRTCError(RuntimeError):
        pass

    def __init__(self) -> None:
        self.programs: set[int] = set()
        self.options: tuple[str, ...] = ()

    def getSupportedArchs(self) -> tuple[int, ...]:
        return (75, 80, 90, 100)

    def createProgram(self, source: str, name: str, headers: Any, names: Any) -> int:
        assert (headers, names) == ((), ())
        self.programs.add(7)
        self.wrong = "wrong" in source
        return 7

    def compileProgram(self, program: int, options: tuple[str, ...]) -> None:
        self.options = options
        if self.wrong:
            raise self.NVRTCError("NVRTC_ERROR_COMPILATION")

    def getCUBIN(self, program: int) -> bytes:
        return b"cubin"

    def getPTX(self, program: int) -> bytes:
        return b"ptx"

    def getProgramLog(self, program: int) -> str:
        return "line 3: wrong"

    def destroyProgram(self, program: int) -> None:
        self.programs.remove(program)


@pytest.mark.parametrize(
    ("capability", "target", "code"),
    [(80, "sm_80", b"cubin"), (90, "sm_90", b"cubin"), (89, "compute_80", b"ptx"), (121, "compute_100", b"ptx")],
)
def test_the_code_is_of_the_card_or_of_the_newest_before_it(capability: int, target: str, code: bytes) -> None:
    compiler = Compiler()
    assert compiled(compiler, "a.cu", "source", capability) == code
    assert compiler.options == (*OPTIONS, f"--gpu-architecture={target}")
    assert not compiler.programs


def test_a_card_too_old_for_the_compiler_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"capability 7\.0: pip install 'specscale\[gpu\]'"):
        compiled(Compiler(), "a.cu", "source", 70)


def test_what_the_compiler_says_is_told_with_the_file() -> None:
    compiler = Compiler()
    with pytest.raises(RuntimeError, match=r"a\.cu: line 3"):
        compiled(compiler, "a.cu", "wrong", 90)
    assert not compiler.programs


def test_subnormal_numbers_are_kept() -> None:
    assert "--ftz=false" in OPTIONS
    assert not any("fast" in option for option in OPTIONS)


def test_every_file_has_kernels() -> None:
    found = {name: kernel_names(source) for name, source in cuda_sources().items()}
    assert {"fold.cu", "rows.cu", "split.cu"} <= found.keys()
    assert all(found.values())
    assert "split" in found["split.cu"]
