"""Random Fourier features of Gaussian kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.errors import OptionError
from specscale.features.bandwidth import LARGEST_SIGMA, LEAST_SIGMA
from specscale.features.base import RowMap
from specscale.features.frequencies import gaussian_frequencies, orthogonal_frequencies
from specscale.features.kernel import Affine, ExactKernel, Standardiser
from specscale.kernels.base import Array, Kernels, Product

__all__ = ["FourierMap"]


@dataclass(frozen=True)
class FourierMap:
    """Random Fourier features [cos Wᵀx, sin Wᵀx] / √m of a Gaussian kernel (Rahimi and Recht 2007).

    Parameters
    ----------
    p : dimension of the embedding
    m : number of frequencies; the map has dimension 2m
    sigma : bandwidth of the kernel exp(−‖u−v‖² / 2σ²)
    seed : seed of the frequencies
    orthogonal : draw the frequencies in orthogonal blocks (Yu et al. 2016)
    centre : (p,) subtracted first; the kernel does not see it, float32 does
    unit : normalise the rows first
    wide, certain, affine : as in :class:`specscale.features.kernel.ExactKernel`
    """

    p: int
    m: int
    sigma: float
    seed: int
    orthogonal: bool
    centre: NDArray[np.float64]
    unit: bool
    wide: bool = False
    certain: bool = True
    affine: Affine | None = None

    def __post_init__(self) -> None:
        if not LEAST_SIGMA <= self.sigma <= LARGEST_SIGMA:
            raise OptionError(
                f"the bandwidth σ must lie between {LEAST_SIGMA:g} and {LARGEST_SIGMA:g}, not be {self.sigma:g}: "
                "bring the vectors to another scale"
            )

    @property
    def kernel(self) -> ExactKernel:
        """The kernel that the map approximates."""
        return ExactKernel(self.centre, self.unit, self.sigma, self.wide, self.certain, self.affine)

    @property
    def dim(self) -> int:
        """Dimension of the feature space, 2m."""
        return 2 * self.m

    @property
    def operations(self) -> int:
        """Floating-point operations for one row: the product with the frequencies."""
        return int(self.kernel.effort * 2 * self.p * self.m)

    @property
    def elementary(self) -> float:
        """Pairs of sine and cosine for one row."""
        return self.kernel.effort * self.m

    @property
    def scratch(self) -> int:
        """Numbers of scratch for one row of a slice: the standardised row, in float64 with its angles too."""
        return 2 * (self.p + self.m) if self.wide else self.p

    @property
    def products(self) -> tuple[tuple[Product, int, int], ...]:
        """The angles, unless they are in float64."""
        return () if self.wide else (("map", self.p, self.m),)

    def frequencies(self) -> NDArray[np.float64]:
        """Return the frequencies (p, m), N(0, σ⁻² I)."""
        draw = orthogonal_frequencies if self.orthogonal else gaussian_frequencies
        return draw(self.p, self.m, self.seed) / self.sigma

    def load(self, kernels: Kernels) -> _LoadedFourierMap:
        """Make the frequencies in the backend's floating type."""
        standardiser = self.kernel.load(kernels)
        frequencies = self.frequencies().astype(standardiser.real)
        return _LoadedFourierMap(kernels.bearing("map"), standardiser, kernels.put(frequencies))

    def scoring(self, coefficients: NDArray[np.float64]) -> tuple[RowMap, NDArray[np.float64]]:
        """The map itself and the coefficients as they are."""
        return self, coefficients

    def parameters(self) -> dict[str, Any]:
        """Return everything that defines the map, ready for JSON."""
        return {
            "map": "orthogonal" if self.orthogonal else "fourier",
            "p": self.p,
            "size": self.m,
            "dimension": self.dim,
            "seed": self.seed,
            **self.kernel.parameters(),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return nothing: the frequencies are made from the seed."""
        return {}


@dataclass(frozen=True)
class _LoadedFourierMap:
    """A Fourier map with its frequencies (p, m) in the memory of a backend, in the precision of the angles."""

    kernels: Kernels
    standardiser: Standardiser
    frequencies: Array

    def apply(self, raw: Array, out: Array, bad: Array) -> None:
        """Write φ of the rows `raw` (b, p) into `out` (b, 2m), and note bad rows in `bad` (2,)."""
        x = self.kernels.scratch("rows", raw.shape, self.standardiser.real)
        self.standardiser.apply(raw, x, bad)
        self.kernels.fourier(x, self.frequencies, out)
