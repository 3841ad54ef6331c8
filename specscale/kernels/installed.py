"""CuPy, a driver and a card, or one line that says what is missing."""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import Any

from specscale.errors import DeviceError

__all__ = ["cupy_with_a_card"]

_INSTALL = "pip install 'specscale[gpu]' for CUDA 12, 'specscale[gpu13]' for CUDA 13"
_TOOLKIT = "pip install 'cupy-cuda12x[ctk]' or 'cupy-cuda13x[ctk]', or set CUDA_PATH"
_OLDEST, _FAULTY = (14, 0, 1), (14, 1, 0)
_NO_CARD = 100  # cudaErrorNoDevice
_CHANGING = (
    "CUBLAS_EMULATE_SINGLE_PRECISION",  # products in float32 would be sums of products in bfloat16
    "CUBLAS_EMULATE_DOUBLE_PRECISION",
    "NVIDIA_TF32_OVERRIDE",
    "CUPY_CUDA_PER_THREAD_DEFAULT_STREAM",  # each thread would have a default stream of its own
)


def cupy_with_a_card() -> Any:
    """Import CuPy, and find the first card that this process sees ready.

    Raises
    ------
    DeviceError
        When there is no CuPy or one that will not do, no driver, no card, or no library that CuPy needs.
    """
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        raise DeviceError(f"--device cuda needs CuPy ({error}): {_INSTALL}") from None
    version = tuple(map(int, re.findall(r"\d+", cupy.__version__)[:3]))
    if version < _OLDEST or version == _FAULTY:
        raise DeviceError(f"CuPy is {cupy.__version__}, where 14.0.1 or newer is needed, but not 14.1.0: {_INSTALL}")
    for variable in _CHANGING:
        if os.environ.get(variable, "0") not in ("", "0"):
            raise DeviceError(f"{variable} changes what a card computes: unset it")
    _check_card(cupy.cuda.runtime)
    if cupy.cuda.runtime.getDevice() or cupy.cuda.get_current_stream() != cupy.cuda.Stream.null:
        raise DeviceError(
            "CuPy has another current card or stream than its first ones in this thread: leave them as they are, and "
            "choose a card by CUDA_VISIBLE_DEVICES"
        )
    _check_libraries(cupy)
    return cupy


def _check_card(runtime: Any) -> None:
    try:
        status = 0 if runtime.getDeviceCount() else _NO_CARD
    except runtime.CUDARuntimeError as error:
        status = error.status
    if not status:
        return
    driver, built = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if not driver:
        raise DeviceError("--device cuda needs a card, and there is no driver of NVIDIA's: take --device cpu")
    if status == _NO_CARD:
        raise DeviceError("--device cuda finds no card: see nvidia-smi and CUDA_VISIBLE_DEVICES, or take --device cpu")
    raise DeviceError(
        f"the driver is of CUDA {_release(driver)} and CuPy of {_release(built)}: renew it, or {_INSTALL}"
    )


def _check_libraries(cupy: Any) -> None:
    """Load what CuPy loads when it is first used, and let it compute."""
    try:
        _ = cupy.cuda.cublas, cupy.cuda.nvrtc.getVersion()
        ones = cupy.ones(1, dtype="float32")
        ones += ones
    except (ImportError, RuntimeError) as error:
        raise DeviceError(f"CuPy cannot compute here ({_first_line(error)}): {_TOOLKIT}") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _release(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
