"""Feature maps: φ with φ(u)·φ(v) ≈ k(u, v)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from specscale.errors import OptionError
from specscale.features.bandwidth import LARGEST_SIGMA, LEAST_SIGMA
from specscale.features.frequencies import gaussian_frequencies, orthogonal_frequencies
from specscale.features.kernel import Affine, ExactKernel
from specscale.features.landmarks import LandmarkMap
from specscale.kernels import Kernels
from specscale.kernels.scratch import Scratch

__all__ = ["MAPS", "FeatureMap", "FourierMap", "LinearMap", "RowMap", "legal_maps", "restored_map"]

MAPS = {"gaussian": ("landmarks", "orthogonal", "fourier", "exact"), "cosine": ("linear", "landmarks", "exact")}
"""The feature maps of each kernel, and ``exact`` for none; the first is what ``auto`` picks."""


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

    def prepare(self, kernels: Kernels) -> None:
        """Make what `apply` needs, before several threads call it."""
        ...

    def apply(self, kernels: Kernels, raw: NDArray[Any], out: NDArray[Any]) -> int:
        """Write the function of the rows `raw` (b, p) into `out` (b, dim); the first bad row, or −1."""
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
    _made: dict[str, NDArray[Any]] = field(init=False, repr=False, compare=False, default_factory=dict)
    _scratch: Scratch = field(init=False, repr=False, compare=False, default_factory=Scratch)

    def __post_init__(self) -> None:
        if not LEAST_SIGMA <= self.sigma <= LARGEST_SIGMA:
            raise OptionError(
                f"the bandwidth σ must lie between {LEAST_SIGMA:g} and {LARGEST_SIGMA:g}, not be {self.sigma:g}: "
                "bring the vectors to another scale"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_made": {}}

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

    def frequencies(self) -> NDArray[np.float64]:
        """Return the frequencies (p, m), N(0, σ⁻² I)."""
        draw = orthogonal_frequencies if self.orthogonal else gaussian_frequencies
        return draw(self.p, self.m, self.seed) / self.sigma

    def prepare(self, kernels: Kernels) -> None:
        """Make the frequencies in the backend's floating type, once."""
        if kernels.name not in self._made:
            self._made[kernels.name] = self.frequencies().astype(self.kernel.real(kernels))

    def apply(self, kernels: Kernels, raw: NDArray[Any], out: NDArray[Any]) -> int:
        """Write φ of the rows `raw` (b, p) into `out` (b, 2m); the first bad row, or −1."""
        self.prepare(kernels)
        kernel = self.kernel
        x = self._scratch.array((len(raw), self.p), kernel.real(kernels))
        bad = kernel.standardise(kernels, raw, x)
        if bad < 0:
            kernels.fourier(x, self._made[kernels.name], out)
        return bad

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

    def prepare(self, kernels: Kernels) -> None:
        """Do nothing: the map has no parameters."""

    def apply(self, kernels: Kernels, raw: NDArray[Any], out: NDArray[Any]) -> int:
        """Write x / ‖x‖ of the rows `raw` (b, p) into `out` (b, p); the first bad row, or −1."""
        return self.kernel.standardise(kernels, raw, out)

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


def restored_map(parameters: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> FeatureMap:
    """Make the map whose `parameters` and `arrays` methods returned these."""
    kernel = ExactKernel.restored(parameters)
    if parameters["map"] == "linear":
        return LinearMap(parameters["p"], kernel.affine)
    if parameters["map"] == "landmarks":
        numbers = np.array(parameters["rows"], dtype=np.int64)
        return LandmarkMap(kernel, numbers, arrays["landmarks"], arrays["whitening"])
    return FourierMap(
        parameters["p"],
        parameters["size"],
        parameters["sigma"],
        parameters["seed"],
        parameters["map"] == "orthogonal",
        kernel.centre,
        kernel.unit,
        kernel.wide,
        kernel.certain,
        kernel.affine,
    )


def legal_maps(kernel: str, features: str) -> str:
    """Resolve the name of a feature map for a kernel.

    Parameters
    ----------
    kernel : "gaussian" or "cosine"
    features : a feature map of that kernel, or "auto"

    Raises
    ------
    OptionError
        When there is no such kernel, or the map is not one of the kernel's.
    """
    if kernel not in MAPS:
        raise OptionError(f"--kernel is gaussian or cosine, not {kernel!r}")
    if features == "auto":
        return MAPS[kernel][0]
    if features not in MAPS[kernel]:
        raise OptionError(f"--features {features} does not go with --kernel {kernel}: take {', '.join(MAPS[kernel])}")
    return features
