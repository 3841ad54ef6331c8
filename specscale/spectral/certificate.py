"""The certificate of a mode: how far it is from an eigenvector of the exact operator, estimated from some rows.

Of unit vectors u the rows S are known exactly: u_S and (K_A u)_S / n, (K_B u)_S / n. Rows are drawn with replacement
with probabilities p_i, and Σ_S w_i f_i with w_i = 1 / (|S| p_i) estimates Σ f_i (Hansen and Hurwitz 1943). An exact
eigenvalue of Λ lies within the residual of the Rayleigh quotient of an eigenvector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specscale.spectral.difference import LEAST_EIGENVALUE

__all__ = ["Certificate", "certificate"]

_SURE = 3.0  # standard errors
_SHARE = 0.5  # of |λ|, which the Rayleigh quotient must surely reach and the residual must not exceed

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Certificate:
    """What the exact kernels say of k modes.

    Attributes
    ----------
    rayleigh, rayleigh_se : (k,) Rayleigh quotient uᵀΛu and its standard error
    residual : (k,) ‖Λu − λu‖ at the reported λ; of rotated modes, which are no eigenvectors, the length of what Λu has
        outside the span of the modes
    a, b : (k,) uᵀ K_A u / n and uᵀ K_B u / n
    certified : (k,) whether the mode is real
    """

    rayleigh: Array
    rayleigh_se: Array
    residual: Array
    a: Array
    b: Array
    certified: NDArray[np.bool_]


def certificate(
    eigenvalues: Array,
    se: Array,
    eta: float | Array,
    action: Array,
    u: Array,
    products: Array,
    p: Array | None,
    counts: Array,
) -> Certificate:
    """Certify modes.

    The Rayleigh quotient is the ratio Σ w u (Λu) / Σ w u², whose spread is a tenth of that of the plain estimate, with
    its linearised standard error. Certified is a mode with λρ > 0, |ρ| − 3 se(ρ) ≥ |λ| / 2, residual ≤ |λ| / 2,
    |λ| ≥ 3 se(λ) and |λ| > 1e-5.

    Parameters
    ----------
    eigenvalues, se : (k,) the reported λ and their standard errors
    eta : η, of all modes or of each
    action : (k, k) what Λ makes of the modes within their span, ΛU ≈ U action: diag(λ) for eigenvectors
    u : (s, k) the modes at the rows S
    products : (2, s, k) (K_A u)_S / n and (K_B u)_S / n
    p : (s,) probabilities of the rows in one draw; None where S are all rows
    counts : (s,) how often each was drawn
    """
    draws = counts.sum()
    weights = np.ones(len(u)) if p is None else counts / (draws * p)
    squares = (weights[:, None] * u**2).sum(axis=0)
    seen = squares > 0  # of a mode of a few rows none may have been drawn
    squares = np.where(seen, squares, 1.0)
    a, b = ((weights[:, None] * u * one).sum(axis=0) / squares for one in products)
    acted = products[0] - eta * products[1]
    rayleigh = a - eta * b
    if p is None:
        rayleigh_se = np.zeros_like(rayleigh)
    else:
        single = (u * (acted - rayleigh * u) / p[:, None]) ** 2  # a draw's share in the numerator of the ratio
        rayleigh_se = np.sqrt((counts[:, None] * single).sum(axis=0) / (draws * max(draws - 1, 1))) / squares
    residual = np.sqrt((weights[:, None] * (acted - u @ action) ** 2).sum(axis=0))
    size = np.abs(eigenvalues)
    certified = (
        seen
        & (eigenvalues * rayleigh > 0)
        & (np.abs(rayleigh) - _SURE * rayleigh_se >= _SHARE * size)
        & (residual <= _SHARE * size)
        & (size >= _SURE * se)
        & (size > LEAST_EIGENVALUE)
    )
    return Certificate(rayleigh, rayleigh_se, residual, a, b, certified)
