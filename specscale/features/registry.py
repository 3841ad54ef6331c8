"""The feature maps there are, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.errors import OptionError
from specscale.features.base import FeatureMap
from specscale.features.fourier import FourierMap
from specscale.features.kernel import ExactKernel
from specscale.features.landmarks import LandmarkMap
from specscale.features.linear import LinearMap

__all__ = ["MAPS", "chosen_maps", "legal_maps", "restored_map"]

MAPS = {"gaussian": ("landmarks", "orthogonal", "fourier", "exact"), "cosine": ("linear", "landmarks", "exact")}
"""The feature maps of each kernel, and ``exact`` for none; the first is what ``auto`` picks."""


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


def chosen_maps(kernels: Sequence[ExactKernel], *, features: str, size: int, seed: int) -> tuple[FeatureMap, ...]:
    """Make the feature map of each embedding, for maps that need no rows of it.

    Parameters
    ----------
    kernels : the kernel of each embedding
    features : "fourier", "orthogonal" or "linear"
    size : frequencies of a Fourier map
    seed : seed of the frequencies
    """
    maps: list[FeatureMap] = []
    for one in kernels:
        if one.sigma is None:
            maps.append(LinearMap(one.p, one.affine))
        else:
            orthogonal, how = features == "orthogonal", (one.centre, one.unit, one.wide, one.certain, one.affine)
            maps.append(FourierMap(one.p, size, one.sigma, seed, orthogonal, *how))
    return tuple(maps)


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
