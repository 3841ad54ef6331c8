"""The exact kernels, evaluated between rows and anchors: other rows that are held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.kernels.base import Array, Kernels, load_kernels

__all__ = [
    "MEAN",
    "WIDE_EFFORT",
    "Affine",
    "Anchors",
    "ExactKernel",
    "Standardiser",
    "first_noted",
    "nothing_noted",
]

WIDE_EFFORT = 2.5  # times that of float32 which a kernel takes in float64

MEAN = "is the mean that --normalize takes off, and has no direction then: leave it out, or compare without --normalize"

_ROUNDING = 2.0**-21  # of squared lengths: a rough bound of what float32 products of some hundred numbers lose
_WIDE_ROUNDING = 2.0**-50  # the same in float64


def nothing_noted() -> NDArray[np.int64]:
    """Room in host memory for the notes that a :class:`Standardiser` takes of bad rows."""
    return np.full(2, -1, dtype=np.int64)


def first_noted(bad: NDArray[np.int64]) -> int:
    """The bad row that is noted, or −1."""
    return int(bad[0] if bad[0] >= 0 else bad[1])


@dataclass(frozen=True)
class Affine:
    """What is done to rows before anything else, (x − shift) · factor: to centre or standardise them.

    Parameters
    ----------
    shift, factor : (p,) float64
    """

    shift: NDArray[np.float64]
    factor: NDArray[np.float64]

    @classmethod
    def restored(cls, parameters: dict[str, Any] | None) -> Affine | None:
        """Take back what `parameters` returned; None stays None."""
        return None if parameters is None else cls(np.array(parameters["shift"]), np.array(parameters["factor"]))

    def parameters(self) -> dict[str, Any]:
        """Return what defines it, ready for JSON."""
        return {"shift": self.shift.tolist(), "factor": self.factor.tolist()}


@dataclass(frozen=True)
class Anchors:
    """Rows z_j against which a kernel is evaluated, in the memory of a backend.

    Attributes
    ----------
    points : (p, r) in the kernel's floating type, the anchors as columns, scaled
    halves : (r,) likewise, ‖z_j‖² / 2σ²; zeros for the cosine kernel
    rate : 1 / 2σ², 0 for the cosine kernel
    """

    points: Array
    halves: Array
    rate: float

    def __len__(self) -> int:
        return int(self.points.shape[1])

    def evaluate(self, kernels: Kernels, x: Array, part: slice, out: Array) -> None:
        """Write k(x_i, z_j) of standardised rows x (b, p) and the anchors `part` into `out` (b, anchors)."""
        if self.rate:
            kernels.gaussian(x, self.points[:, part], self.halves[part], self.rate, out)
        else:
            kernels.project(x, self.points[:, part], out)


@dataclass(frozen=True)
class Standardiser:
    """What brings the rows of one embedding before its kernel, with its numbers in the memory of a backend.

    Attributes
    ----------
    kernels : the backend
    real : the floating type that the rows get
    affine : shift and factor of what is done to the rows first; None for nothing
    centre : (p,) real, subtracted last
    unit : whether rows are normalised
    """

    kernels: Kernels
    real: type[np.floating[Any]]
    affine: tuple[Array, Array] | None
    centre: Array
    unit: bool

    def apply(self, raw: Array, out: Array, bad: Array) -> None:
        """Write normalised and centred rows `raw` (b, p) into `out` (b, p), and note bad ones.

        `bad` (2,) int64 takes the first row that cannot be used as it is stored, and the first that cannot once it is
        shifted; numbers that are not negative are left alone.
        """
        if self.affine is None:
            self.kernels.standardise(raw, self.centre, self.unit, out, bad[:1])
            return
        self.kernels.affine(raw, *self.affine, out, bad[:1])
        self.kernels.standardise(out, self.centre, self.unit, out, bad[1:])


@dataclass(frozen=True)
class ExactKernel:
    """The kernel of one embedding: exp(−‖u−v‖² / 2σ²), or cosine where σ is None.

    Parameters
    ----------
    centre : (p,) subtracted first; the Gaussian kernel does not see it, float32 does
    unit : normalise the rows first; always for the cosine kernel, whose centre is zero
    sigma : bandwidth
    wide : evaluate it in float64, as rows that are near one another lie too far from the centre for float32
    certain : whether float64, and the numbers as they are stored, tell such rows apart
    affine : what is done to the rows first; None for nothing
    """

    centre: NDArray[np.float64]
    unit: bool
    sigma: float | None
    wide: bool = False
    certain: bool = True
    affine: Affine | None = None

    @classmethod
    def restored(cls, parameters: dict[str, Any]) -> ExactKernel:
        """Make the kernel whose `parameters` method returned these, or an earlier version's that knew fewer."""
        affine = Affine.restored(parameters.get("affine"))
        if parameters.get("sigma") is None:
            return cls(np.zeros(parameters["p"]), True, None, affine=affine)
        wide, certain = parameters.get("wide", False), parameters.get("certain", True)
        return cls(np.array(parameters["centre"]), parameters["unit"], parameters["sigma"], wide, certain, affine)

    @property
    def p(self) -> int:
        """Dimension of the embedding."""
        return len(self.centre)

    @property
    def effort(self) -> float:
        """Time that evaluating it takes, as a multiple of that in float32."""
        return WIDE_EFFORT if self.wide else 1.0

    def real(self, kernels: Kernels) -> type[np.floating[Any]]:
        """The floating type that standardised rows have."""
        return np.float64 if self.wide else kernels.real

    def load(self, kernels: Kernels, real: type[np.floating[Any]] | None = None) -> Standardiser:
        """Bring into a backend's memory what rows are standardised with, in its own floating type or another."""
        real = real or self.real(kernels)
        affine = None if self.affine is None else (kernels.put(self.affine.shift), kernels.put(self.affine.factor))
        return Standardiser(kernels, real, affine, kernels.put(self.centre.astype(real)), self.unit)

    def standardised(
        self, kernels: Kernels, raw: NDArray[Any], real: type[np.floating[Any]] | None = None
    ) -> tuple[NDArray[Any], int]:
        """Normalised and centred rows of `raw` (b, p) in host memory, and the first bad one, or −1."""
        standardiser = self.load(kernels.host, real)
        out, bad = np.empty(raw.shape, dtype=standardiser.real), nothing_noted()
        standardiser.apply(raw, out, bad)
        return out, first_noted(bad)

    def anchors(self, kernels: Kernels, raw: NDArray[Any]) -> Anchors:
        """Make anchors of the rows `raw` (r, p), which are in host memory."""
        real = self.real(kernels)
        z, _ = self.standardised(kernels, raw, real)
        wide = z.astype(np.float64, copy=False)
        rate = 0.0 if self.sigma is None else 1 / (2 * self.sigma**2)
        with np.errstate(over="ignore"):  # where σ is that small the kernel of two rows is zero
            points = np.ascontiguousarray((wide * (2 * rate or 1.0)).T, dtype=real)
            halves = (rate * np.einsum("ij,ij->i", wide, wide)).astype(real)
        return Anchors(kernels.put(points), kernels.put(halves), rate)

    def rounding(self, raw: NDArray[Any]) -> float:
        """What rounding leaves uncertain in kernel values of the rows `raw` (r, p), which grows with (‖x‖ / σ)²."""
        if self.sigma is None:
            return 0.0
        z, _ = self.standardised(load_kernels("reference"), raw)
        share = _WIDE_ROUNDING if self.wide else _ROUNDING
        return float(share * np.median(np.einsum("ij,ij->i", z, z)) / self.sigma**2)

    def matrix(self, raw: NDArray[Any]) -> NDArray[np.float64]:
        """The kernel matrix of the rows `raw` (r, p) in float64, (r, r), symmetric with a diagonal of ones."""
        reference = load_kernels("reference")
        z, _ = self.standardised(reference, raw)
        out = np.empty((len(raw), len(raw)))
        self.anchors(reference, raw).evaluate(reference, z, slice(None), out)
        out = (out + out.T) / 2
        np.fill_diagonal(out, 1.0)
        return out

    def parameters(self) -> dict[str, Any]:
        """Return what defines the kernel, ready for JSON."""
        return {
            "sigma": self.sigma,
            "unit": self.unit,
            "centre": [float(c) for c in self.centre],
            "wide": self.wide,
            "certain": self.certain,
            "affine": None if self.affine is None else self.affine.parameters(),
        }
