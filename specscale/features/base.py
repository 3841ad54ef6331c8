"""What a feature map is: φ with φ(u)·φ(v) ≈ k(u, v)."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from specscale.features.kernel import first_noted, nothing_noted
from specscale.kernels.base import Array, Kernels, Product

__all__ = ["FeatureMap", "LoadedMap", "RowMap", "mapped"]


class LoadedMap(Protocol):
    """A function of rows with its arrays in the memory of a backend."""

    def apply(self, raw: Array, out: Array, bad: Array) -> None:
        """Write the function of the rows `raw` (b, p) into `out` (b, dim).

        `bad` (2,) takes notes of bad rows, as :meth:`specscale.features.kernel.Standardiser.apply` says.
        """
        ...


class RowMap(Protocol):
    """A function of the rows of one embedding: R^p → R^dim."""

    @property
    def p(self) -> int:
        """Dimension of the embedding."""
        ...

    @property
    def dim(self) -> int:
        """Dimension of the feature space."""
        ...

    @property
    def operations(self) -> int:
        """Floating-point operations for one row, those of the matrix products."""
        ...

    @property
    def elementary(self) -> float:
        """Elementary functions for one row, in pairs of sine and cosine."""
        ...

    @property
    def scratch(self) -> int:
        """Numbers of scratch for one row of a slice."""
        ...

    @property
    def products(self) -> tuple[tuple[Product, int, int], ...]:
        """Of each product of rows in float32 what it is for, the terms of its sums, and its columns."""
        ...

    def load(self, kernels: Kernels) -> LoadedMap:
        """Bring the arrays of the function into the memory of a backend."""
        ...


class FeatureMap(RowMap, Protocol):
    """One embedding's φ."""

    def scoring(self, coefficients: NDArray[np.float64]) -> tuple[RowMap, NDArray[np.float64]]:
        """The map, or a cheaper one, and the coefficients under which it gives the same scores as these (dim, k)."""
        ...

    def parameters(self) -> dict[str, Any]:
        """Return everything that defines the map but its arrays, ready for JSON."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays without which the map cannot be restored, by name."""
        ...


def mapped(one: RowMap, kernels: Kernels, raw: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """The function of the rows `raw` (b, p) in host memory, (b, dim), and the first bad row, or −1."""
    host = kernels.host
    loaded = one.load(host)
    out = np.empty((len(raw), one.dim), dtype=host.real)
    first = -1
    for low in range(0, len(raw), host.slice_rows):
        part = slice(low, low + host.slice_rows)
        bad = nothing_noted()
        loaded.apply(raw[part], out[part], bad)
        if first < 0 <= first_noted(bad):
            first = low + first_noted(bad)
    return out, first
