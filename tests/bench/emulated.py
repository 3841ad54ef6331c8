"""A card that does not exist, under the names that the backends of a real one are loaded by."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from specscale.kernels.base import BACKENDS, RunTasks
from specscale.kernels.gpu import GpuKernels
from specscale.kernels.precision import Precision

sys.path.append(str(Path(__file__).parents[1] / "kernels"))
from recording import RecordingDevice

__all__ = ["HostLibraries", "Split", "Tensor", "Whole", "pretend"]


class Whole(GpuKernels):
    def __init__(self, asked: Precision = "float32") -> None:
        super().__init__(RecordingDevice(), asked)

    def calibrate(self, threads: int, run: RunTasks) -> float:
        return 1e12  # products that are large for a card take seconds here


class Tensor(Whole):
    name: ClassVar[str] = "cuda-tf32"

    def __init__(self) -> None:
        super().__init__("tf32")


class Split(Whole):
    name: ClassVar[str] = "cuda-3xtf32"

    def __init__(self) -> None:
        super().__init__("3xtf32")


class HostLibraries:
    """Those of the host in place of the card's."""

    def facts(self) -> dict[str, str | int]:
        return {"card": "none"}

    def eigenvalues(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(scipy.linalg.eigvalsh(matrix))


def pretend() -> None:
    """Let ``--device cuda`` find the card that does not exist."""
    for kind in (Whole, Tensor, Split):
        BACKENDS[kind.name] = f"{__name__}:{kind.__name__}"
