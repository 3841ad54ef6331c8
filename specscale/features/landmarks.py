"""Landmark maps: the Nyström approximation of a kernel from a set of its rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.features.kernel import Anchors, ExactKernel, Standardiser
from specscale.kernels.base import Array, Kernels, Product

__all__ = ["CUT_OFF", "KernelMap", "LandmarkMap", "landmarks_cost", "whitening"]

WHITENING_COLUMNS = 256  # of one product with T, which leaves out the rows that are zero in all of them
CUT_OFF = 1e-6  # of the largest eigenvalue of k(Z, Z): directions below it would blow up the rounding of float32


def landmarks_cost(size: int, count: int, threads: int) -> Cost:
    """State what making `count` maps of `size` landmarks takes, several at once; its products are in float64."""
    return Cost("landmarks", memory=7 * 8 * size**2 * min(count, threads), operations=14.0 * count * size**3, speed=0.3)


def whitening(gram: NDArray[np.float64], rounding: float = 0.0) -> NDArray[np.float64]:
    """T = V E^{−1/2} Q of a kernel matrix V E Vᵀ, without the eigenvalues below the cut-off.

    The rotation Q, which no kernel sees, makes T lower trapezoidal: half of it is zero and need not be multiplied.

    Parameters
    ----------
    gram : (r, r) kernel matrix of the landmarks
    rounding : relative, of the kernel values of different rows that T will multiply

    Returns
    -------
    (r, dim) float64
        With Tᵀ gram T the identity; dim < r where landmarks repeat or all but repeat one another.
    """
    e, v = scipy.linalg.eigh(gram, driver="evd")
    # Independent errors of a row of the kernel add up, by the root of their squares, in every direction.
    others = float(np.linalg.norm(gram)) ** 2 - float(np.linalg.norm(np.diagonal(gram))) ** 2
    errors = min(rounding, 1.0) * math.sqrt(max(others, 0.0) / len(gram))
    keep = e > min(max(CUT_OFF * e[-1], errors), 0.5 * e[-1])
    return np.asarray(scipy.linalg.qr((v[:, keep] / np.sqrt(e[keep])).T, mode="r")[0].T)


@dataclass(frozen=True)
class KernelMap:
    """k(Z, x) as it is, for scores: u = φᵀz = k(Z, x)ᵀ T z needs no whitening of the rows.

    Parameters
    ----------
    kernel : the kernel
    landmarks : (r, p) rows, as they are stored
    """

    kernel: ExactKernel
    landmarks: NDArray[Any]

    @property
    def p(self) -> int:
        """Dimension of the embedding."""
        return self.kernel.p

    @property
    def dim(self) -> int:
        """Number of landmarks."""
        return len(self.landmarks)

    @property
    def operations(self) -> int:
        """Floating-point operations for one row: the product with the landmarks."""
        return int(self.kernel.effort * 2 * self.dim * self.p)

    @property
    def elementary(self) -> float:
        """Exponentials for one row, each as long as most of a pair of sine and cosine."""
        return self.kernel.effort * 0.7 * self.dim

    @property
    def scratch(self) -> int:
        """Numbers of scratch for one row of a slice: the standardised row, in float64 with its Gram products too."""
        return 2 * (self.p + self.dim) if self.kernel.wide else self.p

    @property
    def products(self) -> tuple[tuple[Product, int, int], ...]:
        """The Gram products, unless they are in float64."""
        return () if self.kernel.wide else (("landmarks", self.p, self.dim),)

    def load(self, kernels: Kernels, product: Product | None = "landmarks") -> _LoadedKernelMap:
        """Make anchors of the landmarks, and take products with them in the precision that one of some name bears."""
        bearing = kernels.bearing(product) if product else kernels
        anchors = self.kernel.anchors(kernels, self.landmarks)
        return _LoadedKernelMap(bearing, self.kernel.load(kernels), anchors)


@dataclass(frozen=True)
class _LoadedKernelMap:
    """A kernel with its landmarks in the memory of a backend, in the precision of the products with these."""

    kernels: Kernels
    standardiser: Standardiser
    anchors: Anchors

    def apply(self, raw: Array, out: Array, bad: Array) -> None:
        """Write k(Z, x) of the rows `raw` (b, p) into `out` (b, r), and note bad rows in `bad` (2,)."""
        x = self.kernels.scratch("rows", raw.shape, self.standardiser.real)
        self.standardiser.apply(raw, x, bad)
        self.anchors.evaluate(self.kernels, x, slice(None), out)


@dataclass(frozen=True)
class LandmarkMap:
    """Nyström features Tᵀ k(Z, x) of landmark rows Z (Williams and Seeger 2001).

    φ(u)·φ(v) is the best approximation of k(u, v) by functions in the span of k(z, ·), and is exact where u or v is a
    landmark. All embeddings of a comparison share the numbers of their landmark rows, so that what they miss they miss
    alike.

    Parameters
    ----------
    kernel : the kernel
    rows : (r,) int64, numbers of the landmark rows
    landmarks : (r, p) these rows, as they are stored
    whitening : (r, dim) T
    """

    kernel: ExactKernel
    rows: NDArray[np.int64]
    landmarks: NDArray[Any]
    whitening: NDArray[np.float64]

    @classmethod
    def of(cls, kernel: ExactKernel, rows: NDArray[np.int64], landmarks: NDArray[Any]) -> LandmarkMap:
        """Make the map of some rows."""
        return cls(kernel, rows, landmarks, whitening(kernel.matrix(landmarks), kernel.rounding(landmarks)))

    @property
    def values(self) -> KernelMap:
        """What the map is made of, k(Z, x)."""
        return KernelMap(self.kernel, self.landmarks)

    @property
    def p(self) -> int:
        """Dimension of the embedding."""
        return self.kernel.p

    @property
    def dim(self) -> int:
        """Dimension of the feature space, at most the number of landmarks."""
        return int(self.whitening.shape[1])

    @property
    def operations(self) -> int:
        """Floating-point operations for one row: the products with the landmarks and with T."""
        r = len(self.rows)
        return self.values.operations + sum(2 * (r - low) * (high - low) for low, high in self._columns)

    @property
    def elementary(self) -> float:
        """Exponentials for one row, each as long as most of a pair of sine and cosine."""
        return self.values.elementary

    @property
    def scratch(self) -> int:
        """Numbers of scratch for one row of a slice: what the kernel values take, and these."""
        return self.values.scratch + len(self.rows)

    @property
    def products(self) -> tuple[tuple[Product, int, int], ...]:
        """The Gram products, and those with runs of T's columns."""
        return (*self.values.products, *(("map", len(self.rows) - low, high - low) for low, high in self._columns))

    @property
    def _columns(self) -> list[tuple[int, int]]:
        """The runs of T's columns that are multiplied at once; all above the first of a run is zero."""
        return [(low, min(low + WHITENING_COLUMNS, self.dim)) for low in range(0, self.dim, WHITENING_COLUMNS)]

    def load(self, kernels: Kernels) -> _LoadedLandmarkMap:
        """Bring landmarks and T into the backend's floating type."""
        whitening = tuple(
            (low, high, kernels.put(np.ascontiguousarray(self.whitening[low:, low:high], dtype=kernels.real)))
            for low, high in self._columns
        )
        return _LoadedLandmarkMap(kernels.bearing("map"), self.values.load(kernels), len(self.rows), whitening)

    def scoring(self, coefficients: NDArray[np.float64]) -> tuple[KernelMap, NDArray[np.float64]]:
        """A cheaper map, and the coefficients (r, k) under which it gives the same scores as these (dim, k)."""
        return self.values, self.whitening @ coefficients

    def parameters(self) -> dict[str, Any]:
        """Return everything that defines the map but its arrays, ready for JSON."""
        return {
            "map": "landmarks",
            "p": self.p,
            "size": len(self.rows),
            "dimension": self.dim,
            **self.kernel.parameters(),
            "rows": self.rows.tolist(),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the landmarks and T, without which the map cannot be restored."""
        return {"landmarks": self.landmarks, "whitening": self.whitening}


@dataclass(frozen=True)
class _LoadedLandmarkMap:
    """A landmark map with what it is made of in the memory of a backend.

    Attributes
    ----------
    kernels : the backend, in the precision of the products with T
    values : gives k(Z, x)
    r : landmarks
    whitening : runs of columns, and T there without the rows above the first
    """

    kernels: Kernels
    values: _LoadedKernelMap
    r: int
    whitening: tuple[tuple[int, int, Array], ...]

    def apply(self, raw: Array, out: Array, bad: Array) -> None:
        """Write φ of the rows `raw` (b, p) into `out` (b, dim), and note bad rows in `bad` (2,)."""
        values = self.kernels.scratch("values", (len(raw), self.r), self.kernels.real)
        self.values.apply(raw, values, bad)
        for low, high, part in self.whitening:
            self.kernels.project(values[:, low:], part, out[:, low:high])
