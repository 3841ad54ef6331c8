"""Who asks for a card where there is none, or nothing that can use it, is told in one line what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from specscale.errors import DeviceError
from specscale.kernels.base import load_kernels
from specscale.kernels.installed import cupy_with_a_card


class CudaError(RuntimeError):
    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def raising(error: Exception) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A CuPy that has all it needs, in this process's place of it."""
    runtime = SimpleNamespace(
        CUDARuntimeError=CudaError,
        getDeviceCount=lambda: 1,
        getDevice=lambda: 0,
        driverGetVersion=lambda: 12080,
        runtimeGetVersion=lambda: 13020,
    )
    cuda = SimpleNamespace(
        runtime=runtime,
        cublas=object(),
        nvrtc=SimpleNamespace(getVersion=lambda: (13, 2)),
        Stream=SimpleNamespace(null="first"),
        get_current_stream=lambda: "first",
    )
    module = ModuleType("cupy")
    module.__dict__.update(__version__="14.2.0", cuda=cuda, ones=np.ones)
    monkeypatch.setitem(sys.modules, "cupy", module)
    for variable in ("CUBLAS_EMULATE_SINGLE_PRECISION", "NVIDIA_TF32_OVERRIDE", "CUPY_CUDA_PER_THREAD_DEFAULT_STREAM"):
        monkeypatch.delenv(variable, raising=False)
    return module


def refused() -> str:
    with pytest.raises(DeviceError) as error:
        cupy_with_a_card()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_cupy_with_all_it_needs_is_taken(cupy: Any) -> None:
    assert cupy_with_a_card() is cupy


def test_without_cupy_the_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "specscale[gpu]" in refused()
    assert "specscale[gpu13]" in refused()
    with pytest.raises(DeviceError, match="gpu13"):
        load_kernels("cuda")


@pytest.mark.parametrize("version", ["13.6.0", "14.0.0", "14.1.0"])
def test_a_cupy_that_will_not_do_is_refused(cupy: Any, version: str) -> None:
    cupy.__version__ = version
    assert version in refused()
    assert "14.0.1" in refused()


@pytest.mark.parametrize("version", ["14.0.1", "14.1.1", "14.2.0", "15.0.0b1"])
def test_other_versions_are_taken(cupy: Any, version: str) -> None:
    cupy.__version__ = version
    cupy_with_a_card()


def test_without_a_driver(cupy: Any) -> None:
    cupy.cuda.runtime.getDeviceCount = raising(CudaError(35))
    cupy.cuda.runtime.driverGetVersion = lambda: 0
    assert "driver" in refused()
    assert "--device cpu" in refused()


def test_a_driver_older_than_cupy_takes(cupy: Any) -> None:
    cupy.cuda.runtime.getDeviceCount = raising(CudaError(35))
    assert "12.8" in refused()
    assert "13.2" in refused()
    assert "specscale[gpu]" in refused()


@pytest.mark.parametrize("count", [lambda: 0, raising(CudaError(100))])
def test_without_a_card(cupy: Any, count: Callable[[], int]) -> None:
    cupy.cuda.runtime.getDeviceCount = count
    assert "CUDA_VISIBLE_DEVICES" in refused()


def test_without_the_libraries_of_cuda(cupy: Any) -> None:
    cupy.cuda.nvrtc.getVersion = raising(RuntimeError('Failure finding "libnvrtc.so.13": No such file\nattempts'))
    assert "libnvrtc.so.13" in refused()
    assert "[ctk]" in refused()


def test_without_cublas(cupy: Any) -> None:
    class Lazy(SimpleNamespace):
        def __getattr__(self, name: str) -> Any:
            raise ImportError(f"no lib{name}.so")

    cupy.cuda = Lazy(**{name: value for name, value in vars(cupy.cuda).items() if name != "cublas"})
    assert "libcublas.so" in refused()


def test_without_what_cupy_compiles_with(cupy: Any) -> None:
    cupy.ones = raising(RuntimeError("CUDA headers are not found"))
    assert "headers" in refused()


@pytest.mark.parametrize(
    "variable", ["CUBLAS_EMULATE_SINGLE_PRECISION", "NVIDIA_TF32_OVERRIDE", "CUPY_CUDA_PER_THREAD_DEFAULT_STREAM"]
)
def test_what_would_change_products_or_their_order_is_refused(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "0")
    cupy_with_a_card()
    monkeypatch.setenv(variable, "1")
    assert f"{variable} " in refused()


def test_another_current_card_or_stream_is_refused(cupy: Any) -> None:
    cupy.cuda.get_current_stream = lambda: "another"
    assert "stream" in refused()
    cupy.cuda.get_current_stream = lambda: "first"
    cupy.cuda.runtime.getDevice = lambda: 1
    assert "CUDA_VISIBLE_DEVICES" in refused()


IMPORT_ALL = """
import importlib, pkgutil, sys
import specscale
names = [module.name for module in pkgutil.walk_packages(specscale.__path__, "specscale.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
assert "specscale.kernels.card" in names
taken = {name.partition(".")[0] for name in sys.modules}
print(sorted(taken & {"cupy", "cupyx", "cupy_backends", "dask_cuda", "kvikio", "rmm"}))
"""


def test_no_module_of_the_package_imports_cupy(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = run_python(IMPORT_ALL)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
