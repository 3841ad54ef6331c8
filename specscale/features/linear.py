"""The linear map, of the cosine kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.features.base import RowMap
from specscale.features.kernel import Affine, ExactKernel, Standardiser
from specscale.kernels.base import Kernels, Product

__all__ = ["LinearMap"]


@dataclass(frozen=True)
class LinearMap:
    """x / ‖x‖, the exact feature map of the cosine kernel.

    Parameters
    ----------
    p : dimension of the embedding
    affine : what is done to the rows first; None for nothing
    """

    p: int
    affine: Affine | None = None

    @property
    def kernel(self) -> ExactKernel:
        """The kernel that the map is of."""
        return ExactKernel(np.zeros(self.p), True, None, affine=self.affine)

    @property
    def dim(self) -> int:
        """Dimension of the feature space, p."""
        return self.p

    @property
    def operations(self) -> int:
        """Floating-point operations of a matrix product: none."""
        return 0

    @property
    def elementary(self) -> float:
        """Elementary functions for one row: none."""
        return 0

    @property
    def scratch(self) -> int:
        """Numbers of scratch for one row of a slice: none."""
        return 0

    @property
    def products(self) -> tuple[tuple[Product, int, int], ...]:
        """There are none."""
        return ()

    def load(self, kernels: Kernels) -> Standardiser:
        """Standardising the rows is all."""
        return self.kernel.load(kernels, kernels.real)

    def scoring(self, coefficients: NDArray[np.float64]) -> tuple[RowMap, NDArray[np.float64]]:
        """The map itself and the coefficients as they are."""
        return self, coefficients

    def parameters(self) -> dict[str, Any]:
        """Return everything that defines the map, ready for JSON."""
        affine = None if self.affine is None else self.affine.parameters()
        return {"map": "linear", "p": self.p, "dimension": self.dim, "affine": affine}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return nothing: the map has no parameters."""
        return {}
