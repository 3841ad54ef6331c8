"""The card that is measured: its backend, and the calls of its libraries that no backend makes."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from specscale.kernels.base import Product, load_kernels
from specscale.kernels.precision import MEASURED, Precision

_MOST_ROUNDS = 1 << 12


class Libraries(Protocol):
    """What is held against the backend."""

    def facts(self) -> dict[str, str | int]:
        """Versions, and what the driver says of the card."""
        ...

    def eigenvalues(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """All eigenvalues of a symmetric matrix, with its eigenvectors made too, in host memory."""
        ...


@dataclass(frozen=True)
class Card:
    """One card.

    Attributes
    ----------
    libraries : the calls of its libraries
    least : seconds that a measurement of products and copies lasts
    """

    libraries: Libraries
    least: float = 0.3
    _loaded: dict[Precision, Any] = field(default_factory=dict)

    def kernels(self, precision: Precision = "float32") -> Any:
        """The backend whose products are made in a precision where they bear it, a ``GpuKernels``, compiled."""
        if precision not in self._loaded:
            self._loaded[precision] = load_kernels("cuda" if precision == "float32" else f"cuda-{precision}")
            self._loaded[precision].warm_up()
        return self._loaded[precision]

    def release(self) -> None:
        """Give back the memory that no array needs."""
        for kernels in self._loaded.values():
            kernels.release()

    def seconds(self, kernels: Any, work: Callable[[], None]) -> float:
        """Seconds that work asked of a backend takes, the mean over as many rounds as fill `least` seconds."""

        def wait() -> None:
            kernels.device.wait(kernels.device.record("compute"))

        work()
        wait()
        rounds = 1
        while True:
            began = time.perf_counter()
            for _ in range(rounds):
                work()
            wait()
            took = time.perf_counter() - began
            if took >= self.least or rounds >= _MOST_ROUNDS:
                return took / rounds
            rounds = min(max(2 * rounds, int(1.2 * self.least * rounds / max(took, 1e-6))), _MOST_ROUNDS)


@contextmanager
def bearing(precision: Precision, *products: Product) -> Iterator[None]:
    """Take some products, and no others, for such as were measured to bear a precision."""
    table = cast(dict[Precision, frozenset[Product]], MEASURED)
    before = dict(table)
    table.update({**dict.fromkeys(before, frozenset[Product]()), precision: frozenset(products)})
    try:
        yield
    finally:
        table.update(before)
        table.pop("float32", None)


class CudaLibraries:
    """Those that CuPy calls."""

    def facts(self) -> dict[str, str | int]:
        """Versions, and what the driver says of the card."""
        import cupy

        runtime, properties = cupy.cuda.runtime, cupy.cuda.runtime.getDeviceProperties(0)
        return {
            "card": properties["name"].decode(),
            "compute capability": f"{properties['major']}.{properties['minor']}",
            "memory": properties["totalGlobalMem"],
            "multiprocessors": properties["multiProcessorCount"],
            "driver": _driver(),
            "driver's CUDA": _version(runtime.driverGetVersion()),
            "CUDA runtime": _version(runtime.runtimeGetVersion()),
            "cuBLAS": cupy.cuda.cublas.getVersion(cupy.cuda.device.get_cublas_handle()),
            "CuPy": cupy.__version__,
        }

    def eigenvalues(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Copy the matrix there, solve it by cuSOLVER and bring all back."""
        import cupy

        values, vectors = cupy.linalg.eigh(cupy.asarray(matrix))
        vectors.get()
        found = np.asarray(values.get())
        del values, vectors
        cupy.get_default_memory_pool().free_all_blocks()
        return found


def host_facts() -> dict[str, str | int]:
    """What the host is, and the versions that its work rests on."""
    import numba
    import scipy
    import zarr

    return {
        "cores": len(os.sched_getaffinity(0)),
        "host memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{os.uname().sysname} {os.uname().release}",
        "Python": platform.python_version(),
        **{
            name: module.__version__
            for name, module in zip(("NumPy", "SciPy", "Numba", "Zarr"), (np, scipy, numba, zarr), strict=True)
        },
    }


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _driver() -> str:
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20).stdout.split("\n")[0]
    except (OSError, subprocess.SubprocessError):
        return "unknown"
