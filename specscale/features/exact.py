"""The exact kernels, evaluated between rows and anchors: other rows that are held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.kernels import Kernels, load_kernels

__all__ = ["Anchors", "ExactKernel"]

_ROUNDING = 2.0**-21  # of squared lengths: a rough bound of what float32 products of some hundred numbers lose


@dataclass(frozen=True)
class Anchors:
    """Rows z_j against which a kernel is evaluated, as the backend wants them.

    Attributes
    ----------
    points : (p, r) real, the anchors as columns, scaled
    halves : (r,) real, ‖z_j‖² / 2σ²; zeros for the cosine kernel
    rate : 1 / 2σ², 0 for the cosine kernel
    """

    points: NDArray[Any]
    halves: NDArray[Any]
    rate: float

    def __len__(self) -> int:
        return int(self.points.shape[1])

    def evaluate(self, kernels: Kernels, x: NDArray[Any], part: slice, out: NDArray[Any]) -> None:
        """Write k(x_i, z_j) of standardised rows x (b, p) and the anchors `part` into `out` (b, anchors)."""
        if self.rate:
            kernels.gaussian(x, self.points[:, part], self.halves[part], self.rate, out)
        else:
            kernels.project(x, self.points[:, part], out)


@dataclass(frozen=True)
class ExactKernel:
    """The kernel of one embedding: exp(−‖u−v‖² / 2σ²), or cosine where σ is None.

    Parameters
    ----------
    centre : (p,) subtracted first; the Gaussian kernel does not see it, float32 does
    unit : normalise the rows first; always for the cosine kernel, whose centre is zero
    sigma : bandwidth
    """

    centre: NDArray[np.float64]
    unit: bool
    sigma: float | None

    @property
    def p(self) -> int:
        """Dimension of the embedding."""
        return len(self.centre)

    def standardise(self, kernels: Kernels, raw: NDArray[Any], out: NDArray[Any]) -> int:
        """Write normalised and centred rows `raw` (b, p) into `out`; the first bad row, or −1."""
        return kernels.standardise(raw, self.centre.astype(kernels.real), self.unit, out)

    def anchors(self, kernels: Kernels, raw: NDArray[Any]) -> Anchors:
        """Make anchors of the rows `raw` (r, p)."""
        z = np.empty(raw.shape, dtype=kernels.real)
        self.standardise(kernels, raw, z)
        wide = z.astype(np.float64)
        rate = 0.0 if self.sigma is None else 1 / (2 * self.sigma**2)
        with np.errstate(over="ignore"):  # where σ is that small the kernel of two rows is zero
            points = np.ascontiguousarray((wide * (2 * rate or 1.0)).T, dtype=kernels.real)
            halves = (rate * np.einsum("ij,ij->i", wide, wide)).astype(kernels.real)
        return Anchors(points, halves, rate)

    def rounding(self, raw: NDArray[Any]) -> float:
        """What float32 leaves uncertain in kernel values of the rows `raw` (r, p), which grows with (‖x‖ / σ)²."""
        reference = load_kernels("reference")
        z = np.empty(raw.shape)
        self.standardise(reference, raw, z)
        return 0.0 if self.sigma is None else float(_ROUNDING * np.median(np.einsum("ij,ij->i", z, z)) / self.sigma**2)

    def matrix(self, raw: NDArray[Any]) -> NDArray[np.float64]:
        """The kernel matrix of the rows `raw` (r, p) in float64, (r, r), symmetric with a diagonal of ones."""
        reference = load_kernels("reference")
        z = np.empty(raw.shape)
        self.standardise(reference, raw, z)
        out = np.empty((len(raw), len(raw)))
        self.anchors(reference, raw).evaluate(reference, z, slice(None), out)
        out = (out + out.T) / 2
        np.fill_diagonal(out, 1.0)
        return out

    def parameters(self) -> dict[str, Any]:
        """Return what defines the kernel, ready for JSON."""
        return {"sigma": self.sigma, "unit": self.unit, "centre": [float(c) for c in self.centre]}
