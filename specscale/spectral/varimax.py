"""Modes of one direction rotated to localised groups."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from specscale.spectral.difference import Modes
from specscale.spectral.lanczos import VectorModes

__all__ = ["rotation_of", "varimax"]

MAX_SWEEPS = 1000
LEAST_GAIN = 1e-12  # of the fourth moments: a sweep that gains less ends the search
NO_GAIN = 1e-24  # of the fourth moments: rounding, and no reason to rotate two columns
LEAST_ANGLE = 1e-12  # a sweep without a larger one ends it too

Array = NDArray[np.float64]


def varimax(scores: Array, weights: Array | None = None) -> Array:
    """Find the rotation of the columns that makes each of them as localised as can be.

    The raw varimax criterion, the sum over columns of the variance of their squared values, is maximised by plane
    rotations of two columns at a time, each to its best angle (Kaiser 1958). The criterion never decreases, so the
    search ends; it ends in a maximum that no rotation of two columns improves.

    Parameters
    ----------
    scores : (s, k)
    weights : (s,) of the rows, of any scale; all equal by default

    Returns
    -------
    rotation : (k, k) orthogonal, for ``scores @ rotation``
    """
    columns = np.array(scores.T, dtype=np.float64, order="C")
    k = len(columns)
    rotation = np.eye(k)
    w = np.ones(len(scores)) if weights is None else weights
    total = float(w.sum())
    if k < 2 or total <= 0:
        return rotation
    # Powers of columns far from 1 would leave the range of the numbers; a rotation does not see their scale.
    columns /= max(float(np.abs(columns).max()), 1e-300)
    w = w / total
    for _ in range(MAX_SWEEPS):
        fourth = float((columns**4 @ w).sum())
        gain, widest = 0.0, 0.0
        for i, j in combinations(range(k), 2):
            angle, won = _best_angle(columns[i], columns[j], w)
            if won <= NO_GAIN * fourth:
                continue
            cosine, sine = np.cos(angle), np.sin(angle)
            turn = np.array([[cosine, sine], [-sine, cosine]])
            columns[[i, j]] = turn @ columns[[i, j]]
            rotation[:, [i, j]] = rotation[:, [i, j]] @ turn.T
            gain, widest = gain + won, max(widest, abs(angle))
        if gain <= LEAST_GAIN * fourth or widest <= LEAST_ANGLE:
            break
    return rotation


def _best_angle(x: Array, y: Array, w: Array) -> tuple[float, float]:
    """Return the angle of the best rotation of two columns into x cos + y sin and y cos − x sin, and what it gains.

    As a function of the angle t the criterion is a constant + (p cos 4t + q sin 4t) / 4.
    """
    u, v = x * x - y * y, 2 * x * y
    mean_u, mean_v = float(w @ u), float(w @ v)
    p = float(w @ (u * u - v * v)) - (mean_u**2 - mean_v**2)
    q = 2 * float(w @ (u * v)) - 2 * mean_u * mean_v
    peak = float(np.hypot(p, q))
    # The gain is (peak − p) / 4, without the cancellation near the best angle.
    return float(np.arctan2(q, p)) / 4, (q * q / (peak + p) if p > 0 else peak - p) / 4


def rotation_of(modes: Modes | VectorModes, scores: Array, most: int | None = None) -> Array:
    """Find the varimax rotation of A's modes among themselves and of B's among themselves.

    Eigenvectors of nearly equal λ mix the groups that they span. Rotated ones are orthonormal as before and span the
    same, but are no eigenvectors: λ is the Rayleigh quotient. The sum of λ over a direction stays.

    Parameters
    ----------
    modes : the modes
    scores : (s, k) their scores on a sample of the rows
    most : modes of each direction to rotate, the leading ones; by default all

    Returns
    -------
    rotation : (k, k) orthogonal, for ``scores @ rotation``; λ of A's modes comes first and falls, then |λ| of B's falls
    """
    rotation = np.eye(len(modes.eigenvalues))
    for direction in (modes.eigenvalues > 0, modes.eigenvalues < 0):
        chosen = np.flatnonzero(direction)[:most]
        turn = varimax(scores[:, chosen])
        strength = np.abs(np.einsum("ij,ik,kj->j", turn, modes.action[np.ix_(chosen, chosen)], turn))
        rotation[np.ix_(chosen, chosen)] = turn[:, np.argsort(-strength, kind="stable")]
    return rotation
