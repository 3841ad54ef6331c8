"""Landmark maps: the Nyström approximation of a kernel from a set of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from specscale.features.exact import Anchors, ExactKernel
from specscale.kernels import Kernels
from specscale.kernels.scratch import Scratch

__all__ = ["CUT_OFF", "LandmarkMap", "whitening"]

CUT_OFF = 1e-6  # of the largest eigenvalue of k(Z, Z): directions below it would blow up the rounding of float32


def whitening(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """T = V E^{−1/2} of a kernel matrix V E Vᵀ, without the eigenvalues below the cut-off.

    Parameters
    ----------
    gram : (r, r) kernel matrix of the landmarks

    Returns
    -------
    (r, dim) float64
        With Tᵀ gram T the identity; dim < r where landmarks repeat or all but repeat one another.
    """
    e, v = scipy.linalg.eigh(gram, driver="evd")
    keep = e > CUT_OFF * e[-1]
    return np.asarray(v[:, keep] / np.sqrt(e[keep]))


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
    _made: dict[type, tuple[Anchors, NDArray[Any]]] = field(init=False, repr=False, compare=False, default_factory=dict)
    _scratch: Scratch = field(init=False, repr=False, compare=False, default_factory=Scratch)
    _products: Scratch = field(init=False, repr=False, compare=False, default_factory=Scratch)

    @classmethod
    def of(cls, kernel: ExactKernel, rows: NDArray[np.int64], landmarks: NDArray[Any]) -> LandmarkMap:
        """Make the map of some rows."""
        return cls(kernel, rows, landmarks, whitening(kernel.matrix(landmarks)))

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
        return 2 * len(self.rows) * (self.p + self.dim)

    @property
    def elementary(self) -> float:
        """Exponentials for one row, each as long as most of a pair of sine and cosine."""
        return 0.7 * len(self.rows)

    @property
    def scratch(self) -> int:
        """Numbers of scratch for one row of a slice."""
        return self.p + len(self.rows)

    def prepare(self, kernels: Kernels) -> None:
        """Bring landmarks and T into the backend's floating type, once."""
        if kernels.real not in self._made:
            anchors = self.kernel.anchors(kernels, self.landmarks)
            self._made[kernels.real] = anchors, self.whitening.astype(kernels.real)

    def apply(self, kernels: Kernels, raw: NDArray[Any], out: NDArray[Any]) -> int:
        """Write φ of the rows `raw` (b, p) into `out` (b, dim); the first bad row, or −1."""
        self.prepare(kernels)
        anchors, whitening = self._made[kernels.real]
        x = self._scratch.array((len(raw), self.p), kernels.real)
        bad = self.kernel.standardise(kernels, raw, x)
        if bad < 0:
            products = self._products.array((len(raw), len(anchors)), kernels.real)
            anchors.evaluate(kernels, x, slice(None), products)
            kernels.project(products, whitening, out)
        return bad

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
