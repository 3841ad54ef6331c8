"""From options and a sample of rows to the feature map of each embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.features.bandwidth import Bandwidth, Rule, choose_bandwidth
from specscale.features.maps import FeatureMap, FourierMap, LinearMap
from specscale.kernels import Kernels

__all__ = ["Geometry", "chosen_maps", "survey"]

_VARYING = 2.0  # ratio of the 95th to the 5th percentile of the norms above which lengths may lead


@dataclass(frozen=True)
class Geometry:
    """What a sample tells about one embedding.

    Attributes
    ----------
    centre : (p,) mean of the sampled rows, as the map sees them
    bandwidth : σ and its origin; None where the kernel has none
    warnings : what the user should know
    """

    centre: NDArray[np.float64]
    bandwidth: Bandwidth | None
    warnings: tuple[str, ...]


def survey(raw: NDArray[Any], name: str, *, gaussian: bool, rule: Rule, unit: bool, kernels: Kernels) -> Geometry:
    """Look at a sample of one embedding.

    Parameters
    ----------
    raw : (s, p) sampled rows
    name : the embedding's name, for warnings
    gaussian : whether the kernel is Gaussian, and so has a bandwidth
    rule : how the bandwidth is found
    unit : whether rows are normalised
    kernels : the backend
    """
    x = np.empty(raw.shape, dtype=np.float32)
    kernels.standardise(raw, np.zeros(raw.shape[1], dtype=kernels.real), unit or not gaussian, x)
    centre = np.median(x, axis=0).astype(np.float64)  # one wild row would carry a mean away, and the digits of all rows
    if not gaussian:
        return Geometry(centre, None, ())
    warnings = []
    if not unit:
        low, high = np.percentile(np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64)), [5, 95])
        if high > _VARYING * low:
            warnings.append(
                f"{name}: row norms vary widely (5 % below {low:.3g}, 5 % above {high:.3g}), and with --normalize none "
                "the leading modes may only tell long vectors from short ones: consider --normalize unit"
            )
    x -= centre.astype(np.float32)
    bandwidth = choose_bandwidth(rule, x, name)
    if bandwidth.warning:
        warnings.append(bandwidth.warning)
    return Geometry(centre, bandwidth, tuple(warnings))


def chosen_maps(
    geometries: Sequence[Geometry], *, features: str, size: int, unit: bool, seed: int
) -> tuple[FeatureMap, ...]:
    """Make the feature map of each embedding.

    Parameters
    ----------
    geometries : what the sample told about each embedding
    features : "fourier", "orthogonal" or "linear"
    size : frequencies of a Fourier map
    unit : whether rows are normalised
    seed : seed of the frequencies
    """
    maps: list[FeatureMap] = []
    for one in geometries:
        p = len(one.centre)
        if one.bandwidth is None:
            maps.append(LinearMap(p))
        else:
            orthogonal = features == "orthogonal"
            maps.append(FourierMap(p, size, one.bandwidth.sigma, seed, orthogonal, one.centre, unit))
    return tuple(maps)
