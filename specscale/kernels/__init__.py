"""Compiled leaves: the same functions for every backend, with the same names and signatures.

``reference`` is NumPy in float64 and defines what each kernel means; ``cpu`` is Numba and BLAS in float32. A backend
is loaded by name when it is first needed, so that importing the package compiles nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from specscale.errors import OptionError

__all__ = ["BACKENDS", "Kernels", "load_kernels"]

BACKENDS = {"reference": "specscale.kernels.reference", "cpu": "specscale.kernels.cpu"}


class Kernels(Protocol):
    """What every backend offers. Arrays are C-contiguous in their last axis; outputs are written in place."""

    name: str
    """What `load_kernels` knows it by."""
    real: type[np.floating[Any]]
    """The floating type of features, tiles and scores."""

    def warm_up(self) -> None:
        """Compile every kernel, so that no pass waits for the compiler."""
        ...

    def affine(self, raw: NDArray[Any], shift: NDArray[Any], factor: NDArray[Any], out: NDArray[Any], /) -> int:
        """Write ``(raw − shift) · factor`` row by row; the first bad row, or −1.

        Parameters
        ----------
        raw : (b, p) float16, float32 or float64
        shift, factor : (p,) float64
        out : (b, p) real or float64

        Returns
        -------
        int
            The first row that holds a NaN or an infinity, here or there.
        """
        ...

    def standardise(self, raw: NDArray[Any], centre: NDArray[Any], unit: bool, out: NDArray[Any], /) -> int:
        """Write ``raw / ‖raw‖ − centre`` (or ``raw − centre``) row by row; the first bad row, or −1.

        Parameters
        ----------
        raw : (b, p) float16, float32 or float64
        centre : (p,) as `out`
        unit : divide each row by its norm first
        out : (b, p) real, or float64 for rows of which float32 does not hold what counts; may be `raw`

        Returns
        -------
        int
            The first row that holds a NaN or an infinity, or that has no direction though `unit` asks for one.
        """
        ...

    def fourier(self, x: NDArray[Any], frequencies: NDArray[Any], out: NDArray[Any], /) -> None:
        """Write ``[cos xW, sin xW] / √m`` for x (b, p), W (p, m) into out (b, 2m).

        x and W are real or, where float32 does not hold the angles, both float64; out is real.
        """
        ...

    def gaussian(
        self, x: NDArray[Any], points: NDArray[Any], halves: NDArray[Any], rate: float, out: NDArray[Any], /
    ) -> None:
        """Write the Gaussian kernel exp(−rate ‖x_i − z_j‖²) of rows x_i and points z_j, from their Gram products.

        Parameters
        ----------
        x : (b, p) real, or float64 with the points and halves, where float32 does not hold the distances
        points : (p, r) as x
            2 rate z_j in column j.
        halves : (r,) as x
            rate ‖z_j‖².
        rate : float
            1 / 2σ².
        out : (b, r) real
            Between 0 and 1; 0 where lengths are beyond the floating type.
        """
        ...

    def gram_tile(
        self, left: NDArray[Any], right: NDArray[Any], product: NDArray[Any], total: NDArray[np.float64], /
    ) -> None:
        """Add ``leftᵀ right`` to the float64 `total` (w, v), by way of `product` (w, v) real, which is overwritten.

        left is (b, w) and right (b, v), columns of one feature block; where both are the same columns only the lower
        triangle of `total` is defined.
        """
        ...

    def project(self, features: NDArray[Any], coefficients: NDArray[Any], out: NDArray[Any], /) -> None:
        """Write the scores ``features @ coefficients``: (b, d) by (d, k) into (b, k)."""
        ...

    def moments(self, scores: NDArray[Any], acted: NDArray[Any], sums: NDArray[np.float64], /) -> None:
        """Write Σu², Σu⁴, Σu³v and Σu²v² of the columns u of scores and v of acted (b, k) into sums (4, k)."""
        ...

    def keep_tails(
        self,
        scores: NDArray[Any],
        numbers: NDArray[np.int64],
        strengths: NDArray[np.float64],
        rows: NDArray[np.int64],
        /,
    ) -> None:
        """Update the top members of both tails of each mode.

        Parameters
        ----------
        scores : (b, k) real
        numbers : (b,) int64
            The row numbers of these scores, ascending and above those that are in `rows` already.
        strengths : (2, k, top) float64
            The largest scores so far, and the largest negated scores, descending; of equals the lower row stays first.
            Only positive strengths count; an empty place is 0.
        rows : (2, k, top) int64
            Their row numbers, −1 in an empty place.
        """
        ...


def load_kernels(backend: str = "cpu") -> Kernels:
    """Return the kernels of a backend, ``"cpu"`` or ``"reference"``.

    Raises
    ------
    OptionError
        When there is no backend of that name.
    """
    if backend not in BACKENDS:
        raise OptionError(f"there is no backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    return cast(Kernels, import_module(BACKENDS[backend]))
