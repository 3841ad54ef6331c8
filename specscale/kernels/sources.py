"""The kernels in CUDA C, and how they are compiled: each file of ``kernels/cuda`` is a module of its own."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from specscale.errors import DeviceError

__all__ = ["OPTIONS", "compiled", "cuda_sources", "kernel_names"]

OPTIONS = ("--std=c++17", "--fmad=true", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")
"""Products and sums may be contracted; numbers below the normal ones stay, divisions and roots are rounded exactly."""
_BOUNDS = r"(?:__launch_bounds__\([^)]*\)\s*)?"
_KERNEL = re.compile(rf"__global__\s+{_BOUNDS}void\s+{_BOUNDS}(\w+)\s*\(")


def cuda_sources() -> dict[str, str]:
    """The text of each file by its name."""
    folder = files("specscale.kernels") / "cuda"
    found = sorted((file for file in folder.iterdir() if file.name.endswith(".cu")), key=lambda file: file.name)
    return {file.name: file.read_text(encoding="utf-8") for file in found}


def kernel_names(source: str) -> list[str]:
    """What the kernels of a file are called."""
    return _KERNEL.findall(source)


def compiled(nvrtc: Any, name: str, source: str, capability: int) -> bytes:
    """Compile a file for cards of a compute capability.

    CuPy's RawModule would add ``-ftz=true`` to whatever options it is given.

    Parameters
    ----------
    nvrtc : ``cupy.cuda.nvrtc``
    name : the file's name, for what the compiler has to say
    source : its text
    capability : 90 for 9.0

    Returns
    -------
    bytes
        Code of that card, or PTX of the newest that the compiler knows, which the driver translates.

    Raises
    ------
    DeviceError
        When it knows newer cards alone.
    """
    known = [one for one in nvrtc.getSupportedArchs() if one <= capability]
    if not known:
        raise DeviceError(
            f"the compiler of CUDA knows no card as old as this one, of compute capability {capability / 10}: "
            "pip install 'specscale[gpu]' for CUDA 12, or take --device cpu"
        )
    exact = capability in known
    target = f"--gpu-architecture={'sm' if exact else 'compute'}_{max(known)}"
    program = nvrtc.createProgram(source, name, (), ())
    try:
        nvrtc.compileProgram(program, (*OPTIONS, target))
        code: bytes = nvrtc.getCUBIN(program) if exact else nvrtc.getPTX(program)
    except nvrtc.NVRTCError as error:
        raise RuntimeError(f"{name}: {nvrtc.getProgramLog(program)}") from error
    finally:
        nvrtc.destroyProgram(program)
    return code
