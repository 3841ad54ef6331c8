"""From options and a sample of rows to the feature map of each embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.errors import OptionError
from specscale.features.bandwidth import LEAST_SIGMA, Bandwidth, Rule, choose_bandwidth
from specscale.features.exact import ExactKernel
from specscale.features.maps import FeatureMap, FourierMap, LinearMap
from specscale.kernels import Kernels

__all__ = ["Geometry", "chosen_maps", "survey"]

_VARYING = 2.0  # ratio of the 95th to the 5th percentile of the norms above which lengths may lead
_FAR = 100.0  # bandwidths: rows further out leave float32 no digits for the distances that such a kernel tells apart
_LOST = 2.0**-9.5  # of that length, the distance of two rows below which rounding takes them for equal


@dataclass(frozen=True)
class Geometry:
    """What a sample tells about one embedding.

    Attributes
    ----------
    kernel : the exact kernel, with its bandwidth and the centre of the sampled rows
    bandwidth : σ and its origin; None where the kernel has none
    warnings : what the user should know
    """

    kernel: ExactKernel
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

    Raises
    ------
    OptionError
        When the bandwidth is too small for float32.
    """
    if not gaussian:
        return Geometry(ExactKernel(np.zeros(raw.shape[1]), True, None), None, ())
    x = np.empty(raw.shape, dtype=np.float32)
    kernels.standardise(raw, np.zeros(raw.shape[1], dtype=kernels.real), unit, x)
    centre = np.median(x, axis=0).astype(np.float64)  # one wild row would carry a mean away, and the digits of all rows
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
    if bandwidth.sigma < LEAST_SIGMA:
        raise OptionError(
            f"{name}: the bandwidth σ must be at least {LEAST_SIGMA:g}, not {bandwidth.sigma:g}: bring the vectors to "
            "another scale"
        )
    far = float(np.percentile(np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64)), 95))
    if bandwidth.warning:
        warnings.append(bandwidth.warning)
    elif far > _FAR * bandwidth.sigma:
        warnings.append(
            f"{name}: σ = {bandwidth.sigma:.4g} is small against the rows, up to {far:.3g} from their middle: "
            f"in float32 two rows nearer than {_LOST * far:.2g} count as equal: take a larger --sigma for it"
        )
    return Geometry(ExactKernel(centre, unit, bandwidth.sigma), bandwidth, tuple(warnings))


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
            maps.append(LinearMap(one.p))
        else:
            maps.append(FourierMap(one.p, size, one.sigma, seed, features == "orthogonal", one.centre, one.unit))
    return tuple(maps)
