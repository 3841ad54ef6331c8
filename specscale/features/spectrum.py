"""Exact spectra of Gaussian kernels on a sample, and what they say in a number or two."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from specscale.features.bandwidth import degenerate_state

__all__ = ["LARGEST_SAMPLE", "Spectrum", "kernel_spectrum", "spectrum_bytes", "square_distances"]

LARGEST_SAMPLE = 8192
_ROUNDING = 2.0**-49  # of the squared lengths: squared distances below it are what rounding leaves of equal rows
_ALONE = 0.95  # share of the sample that the effective number of groups is of when next to every row stands alone
_FEW = 50  # rows; of fewer, most stand alone at any bandwidth that tells them apart


@dataclass(frozen=True)
class Spectrum:
    """The eigenvalues of K/s, which sum to 1.

    Attributes
    ----------
    eigenvalues : (s,) float64, all of them, largest first
    """

    eigenvalues: NDArray[np.float64]

    @property
    def top(self) -> float:
        """The largest eigenvalue."""
        return float(self.eigenvalues[0])

    @cached_property
    def groups(self) -> float:
        """Effective number of groups: the exponential of the spectrum's entropy (Friedman and Dieng 2023)."""
        return float(np.exp(-xlogy(self.eigenvalues, self.eigenvalues).sum()))

    @cached_property
    def rke(self) -> float:
        """Effective number of groups of order 2, 1 / Σ λ² (RKE: Jalali, Li and Farnia 2023); never above `groups`."""
        return float(1 / (self.eigenvalues**2).sum())

    @property
    def state(self) -> str | None:
        """Whether the kernel is all but the "identity" or "constant", and so tells nothing; None where it does."""
        s = len(self.eigenvalues)
        return "identity" if s > _FEW and self.groups > _ALONE * s else degenerate_state(self.top, s)


def square_distances(x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Squared distances of all pairs of rows in float64, exactly zero for equal rows.

    Parameters
    ----------
    x : (s, p) rows

    Returns
    -------
    (s, s) float64
    """
    x = x.astype(np.float64)
    x -= np.median(x, axis=0)  # products far from the origin lose digits, and one wild row carries a mean away
    lengths = np.einsum("ij,ij->i", x, x)
    squares: NDArray[np.float64] = x @ x.T
    for row, length in zip(squares, lengths, strict=True):
        both = length + lengths
        row *= -2
        row += both
        row[row <= _ROUNDING * both] = 0
    np.fill_diagonal(squares, 0)
    return squares


def kernel_spectrum(squares: NDArray[np.float64], sigma: float) -> Spectrum:
    """All eigenvalues of the exact Gaussian K/s.

    Parameters
    ----------
    squares : (s, s) float64, squared distances
    sigma : the bandwidth
    """
    kernel = squares * (-0.5 / sigma**2)
    np.exp(kernel, out=kernel)
    values = np.linalg.eigvalsh(kernel)[::-1] / len(kernel)
    return Spectrum(np.maximum(values, 0))  # rounding leaves some below zero


def spectrum_bytes(rows: int, at_once: int) -> int:
    """What the spectra of `rows` rows hold, of which `at_once` are computed at the same time."""
    return 8 * rows**2 * (1 + 2 * at_once)
