"""From options and a sample of rows to the feature map of each embedding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.errors import InputError, OptionError
from specscale.features.bandwidth import LEAST_SIGMA, Bandwidth, Rule, choose_bandwidth
from specscale.features.kernel import MEAN, Affine, ExactKernel
from specscale.features.precision import precision
from specscale.kernels.base import Kernels, load_kernels

__all__ = ["Geometry", "affine_of", "survey"]

_VARYING = 2.0  # ratio of the 95th to the 5th percentile of the norms above which lengths may lead
_OFFSET = 0.9  # mean cosine of two rows above which their common offset leads
_SHARE = 0.05  # of the squared variances, those of distances, that a few dimensions must have to be worth a word
_GAP = 10.0  # between the variances of these and of the next
_MOST_GIANTS = 8  # dimensions, and an eighth of all
_TAILS = 0.1  # of its variance that the spread of a dimension must keep without the outer tenth of the rows
_PAIRS = 1024  # rows of which all pairs are looked at
_STANDARDISE = "--normalize standardise gives every dimension the same weight"


@dataclass(frozen=True)
class Geometry:
    """What a sample tells about one embedding.

    Attributes
    ----------
    kernel : the exact kernel, with its bandwidth and the centre of the sampled rows
    bandwidth : σ and its origin; None where the kernel has none
    warnings : what the user should know
    note : how the kernel is evaluated, for people, where that is not as usual; None where it is
    """

    kernel: ExactKernel
    bandwidth: Bandwidth | None
    warnings: tuple[str, ...]
    note: str | None = None


def affine_of(raw: NDArray[Any], normalize: str) -> Affine | None:
    """What is done to the rows of an embedding before anything else, as a sample says.

    Parameters
    ----------
    raw : (s, p) sampled rows
    normalize : "centre" to subtract the mean, "standardise" to divide by the standard deviations too; else nothing
    """
    if normalize not in ("centre", "standardise"):
        return None
    x = raw.astype(np.float64)
    scale = x.std(axis=0)
    constant = (raw == raw[0]).all(axis=0) | (scale == 0) | (normalize == "centre")
    return Affine(x.mean(axis=0), 1 / np.where(constant, 1.0, scale))


def survey(
    raw: NDArray[Any],
    name: str,
    *,
    gaussian: bool,
    rule: Rule,
    unit: bool,
    kernels: Kernels,
    affine: Affine | None = None,
) -> Geometry:
    """Look at a sample of one embedding.

    Parameters
    ----------
    raw : (s, p) sampled rows
    name : the embedding's name, for warnings
    gaussian : whether the kernel is Gaussian, and so has a bandwidth
    rule : how the bandwidth is found
    unit : whether rows are normalised
    kernels : the backend
    affine : what is done to the rows first

    Raises
    ------
    OptionError
        When the bandwidth is too small for float32.
    InputError
        When a row has no direction once it is centred.
    """
    plain = ExactKernel(np.zeros(raw.shape[1]), unit or not gaussian, None, affine=affine)
    x, bad = plain.standardised(kernels, raw, np.float32)
    if bad >= 0 and affine is not None:
        raise InputError(f"{name}: a row {MEAN}")
    if not gaussian:
        return Geometry(plain, None, tuple(_cosine_warnings(raw, x, name, affine)))
    centre = np.median(x, axis=0).astype(np.float64)  # one wild row would carry a mean away, and the digits of all rows
    warnings = []
    if giant := _giants(x):
        warnings.append(f"{name}: {giant}, which leads all distances: {_STANDARDISE}")
    elif not unit and affine is None:
        low, high = np.percentile(np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64)), [5, 95])
        if high > _VARYING * low:
            warnings.append(
                f"{name}: row norms vary widely (5 % below {low:.3g}, 5 % above {high:.3g}), and with --normalize none "
                "the leading modes may only tell long vectors from short ones: consider --normalize unit"
            )
    bandwidth = choose_bandwidth(rule, x - centre.astype(np.float32), name)
    kernel = ExactKernel(centre, unit, bandwidth.sigma, affine=affine)
    found = precision(raw, kernel)
    note = None
    if found.wide:
        y, _ = kernel.standardised(load_kernels("reference"), raw)
        bandwidth = choose_bandwidth(rule, y, name)
        kernel = replace(kernel, sigma=bandwidth.sigma, wide=True, certain=found.certain)
        note = f"the kernel of {name} in double precision, as groups lie up to {found.farthest:,.0f} σ from the middle"
    if bandwidth.sigma < LEAST_SIGMA:
        raise OptionError(
            f"{name}: the bandwidth σ must be at least {LEAST_SIGMA:g}, not {bandwidth.sigma:g}: bring the vectors to "
            "another scale"
        )
    if bandwidth.warning:
        warnings.append(bandwidth.warning)
    if not found.certain:
        warnings.append(
            f"{name}: σ = {bandwidth.sigma:.4g} is so small against the rows, up to {found.farthest:.2g} σ from their "
            f"middle, that the {raw.dtype} numbers they are stored as do not tell near rows apart: no mode is "
            "certified: take a larger --sigma for it, or store the vectors with the groups' offset taken off"
        )
    return Geometry(kernel, bandwidth, tuple(warnings), note)


def _cosine_warnings(raw: NDArray[Any], x: NDArray[np.float32], name: str, affine: Affine | None) -> list[str]:
    """What leads the cosine kernel of rows, whose directions are `x`, without telling samples apart."""
    thin = x[:: max(1, len(x) // _PAIRS)].astype(np.float64)
    cosines = (np.linalg.norm(thin.sum(axis=0)) ** 2 - len(thin)) / max(len(thin) * (len(thin) - 1), 1)
    if affine is None and cosines > _OFFSET:
        told = f"{name}: the rows have a common offset, which leads the cosine kernel (mean cosine {cosines:.3f})"
        if giant := _giants(raw.astype(np.float32)):
            return [f"{told}, and {giant}: {_STANDARDISE}"]
        return [f"{told}: --normalize centre takes it off"]
    if giant := _giants(x):
        return [f"{name}: {giant} of the directions: {_STANDARDISE}"]
    return []


def _giants(x: NDArray[np.float32]) -> str | None:
    """The few dimensions that all but alone tell rows apart, in words; None where there are none.

    Rows differ by the sum of the squared differences of their dimensions, whose spread goes with the squares of the
    variances; the rest are taken together with their correlations, by the squared norm of the covariance.
    """
    most = min(_MOST_GIANTS, x.shape[1] // 8)
    if len(x) < 3 or not most:
        return None
    variances = x.var(axis=0, dtype=np.float64)
    order = np.argsort(-variances, kind="stable")
    falls = variances[order[:most]] >= _GAP * variances[order[1 : most + 1]]
    if not falls.any():
        return None
    few = order[: int(np.flatnonzero(falls)[-1]) + 1]
    inner = np.subtract(*np.percentile(x[:, few], [95, 5], axis=0)) / 3.29
    few = few[inner**2 > _TAILS * variances[few]]
    thin = x[:: max(1, len(x) // _PAIRS)].astype(np.float64)
    thin -= thin.mean(axis=0)
    total = float(np.linalg.norm(thin @ thin.T / len(thin)) ** 2)
    if not len(few) or not (variances[few] ** 2).sum() > _SHARE * total:
        return None
    share = variances[few].sum() / variances.sum()
    if len(few) == 1:
        return f"dimension {few[0]} (counted from 0) alone has {share:.0%} of the variance"
    return f"dimensions {', '.join(map(str, sorted(few.tolist())))} (counted from 0) have {share:.0%} of the variance"
