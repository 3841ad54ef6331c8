"""What the modes of a problem are on a sample of its rows: their signs, and their rotation to localised groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale import seeds
from specscale.features.kernel import nothing_noted
from specscale.kernels.base import Kernels
from specscale.method.problem import Problem
from specscale.passes.mapping import LoadedMaps
from specscale.spectral.difference import Modes
from specscale.spectral.lanczos import VectorModes
from specscale.spectral.varimax import rotation_of

__all__ = ["localised", "oriented"]

_VARIMAX_ROWS = 32_768

Scores = NDArray[np.float64]


def oriented(problem: Problem, modes: Modes | VectorModes, kernels: Kernels) -> Modes | VectorModes:
    """Fix the sign of each mode by Σ u³ ≥ 0 over the sample."""
    sampled = _sampled_scores(problem, modes, problem.positions, problem.sample, kernels)
    return modes.turned(np.diag(np.where((sampled**3).sum(axis=0) < 0, -1.0, 1.0)))


def localised(problem: Problem, modes: Modes | VectorModes, kernels: Kernels) -> Modes | VectorModes:
    """Rotate the modes of each direction by varimax over a sample of their scores."""
    positions, raw = problem.rows.sample(_VARIMAX_ROWS, problem.options.seed, seeds.VARIMAX)
    return modes.turned(rotation_of(modes, _sampled_scores(problem, modes, positions, raw, kernels)))


def _sampled_scores(
    problem: Problem,
    modes: Modes | VectorModes,
    positions: NDArray[np.int64],
    raw: Sequence[NDArray[Any]],
    kernels: Kernels,
) -> Scores:
    if isinstance(modes, VectorModes):
        return np.asarray(modes.vectors[positions])
    return _scores_of(problem, modes.coefficients, raw, kernels)


def _scores_of(
    problem: Problem, coefficients: NDArray[np.float64], raw: Sequence[NDArray[Any]], kernels: Kernels
) -> Scores:
    """Scores √n u of some rows under modes in feature space, (s, k)."""
    host = kernels.host
    weights = coefficients.astype(host.real)
    out = np.empty((len(raw[0]), weights.shape[1]), dtype=host.real)
    loaded, bad = LoadedMaps.of(problem.maps, host), nothing_noted()
    for low in range(0, len(out), host.slice_rows):
        part = slice(low, low + host.slice_rows)
        features = np.empty((len(out[part]), len(weights)), dtype=host.real)
        for one, columns, x in zip(loaded.maps, loaded.columns, raw, strict=True):
            one.apply(x[part], features[:, columns], bad)
        host.project(features, weights, out[part])
    return out.astype(np.float64)
