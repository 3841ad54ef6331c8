"""What the search for groups finds where there are none: in a normal cloud of the rows' own mean and covariance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale import seeds
from specscale.features.kernel import ExactKernel
from specscale.grouping.cores import CORE_ROWS
from specscale.grouping.pool import Pool
from specscale.grouping.within import pair_mean
from specscale.kernels.base import Kernels
from specscale.passes.tallies import LEAST_LIKENESS

__all__ = ["CLOUD_ROWS", "cloud_contrast"]

CLOUD_ROWS = 2048
_STARTS = 64  # cores that are looked at
_CORES = (10, CORE_ROWS)  # rows of these
_MEASURED = 256  # members whose kernel is taken
_LEAST = 30  # members of what counts as found


def cloud_contrast(exact: ExactKernel, sample: NDArray[Any], seed: int, which: int, kernels: Kernels) -> float:
    """The largest similarity within what looks like a group in a cloud without groups, above that of all its rows.

    The cloud's rows are random combinations of the sample's, which have its mean and its covariance and are normal. An
    embedding that is such a cloud, compared with one that is independent of it, would show groups of that contrast:
    less is no sign of a group.

    Parameters
    ----------
    exact : the kernel
    sample : (s, p) rows, as they are stored
    seed : of the draws
    which : number of the embedding
    kernels : a backend of the host
    """
    if len(sample) < 2 * _LEAST:
        return 0.0
    generator = seeds.clouds(seed, which)
    # The kernel sees rows that are normalised: lengths that it does not see make no covariance.
    sample = exact.standardised(kernels, sample[:CLOUD_ROWS])[0].astype(np.float32) + exact.centre.astype(np.float32)
    exact = replace(exact, affine=None)
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    combined = generator.standard_normal((CLOUD_ROWS, len(sample)), dtype=np.float32)
    rows = mean + combined @ (sample - mean) / np.float32(np.sqrt(len(sample) - 1))
    pool = Pool((exact,), (rows,), 1.0, kernels)
    everything = np.arange(len(pool))
    alike = pool.kernel(0, everything, everything)
    background, most = pair_mean(alike).mean, 0.0
    for start in generator.choice(len(pool), _STARTS, replace=False):
        nearest = np.argsort(-alike[start], kind="stable")
        for size in _CORES:
            core = nearest[:size]
            likeness = alike[core].mean(axis=0, dtype=np.float64)
            likeness[core] = (size * likeness[core] - 1) / (size - 1)
            low = np.median(likeness)
            members = np.flatnonzero(likeness >= low + LEAST_LIKENESS * (np.median(likeness[core]) - low))
            if len(members) < _LEAST:
                continue
            drawn = np.sort(generator.permutation(members)[:_MEASURED])
            most = max(most, pair_mean(alike[np.ix_(drawn, drawn)]).mean - background)
    return most
