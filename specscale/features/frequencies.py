"""Random frequencies, made where they are needed from a counter-based generator and never shipped.

The generator is keyed by the seed and the number of a block of frequencies, so that any block on any machine is the
same. The key does not hold which embedding the frequencies are for: two embeddings of equal
dimension and bandwidth get the same map, and what the map gets wrong for both cancels in their difference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from specscale.seeds import frequency_block

__all__ = ["BLOCK", "gaussian_frequencies", "orthogonal_frequencies"]

BLOCK = 256  # Gaussian frequencies in one block


def gaussian_frequencies(p: int, m: int, seed: int) -> NDArray[np.float64]:
    """Independent standard normal frequencies (Rahimi and Recht 2007).

    Parameters
    ----------
    p : dimension of the embedding
    m : number of frequencies
    seed : seed of the comparison

    Returns
    -------
    (p, m) float64
        Columns N(0, I); divide by σ for a Gaussian kernel of bandwidth σ.
    """
    w = np.empty((p, m))
    for block, start in enumerate(range(0, m, BLOCK)):
        stop = min(start + BLOCK, m)
        w[:, start:stop] = frequency_block(seed, block).standard_normal((BLOCK, p))[: stop - start].T
    return w


def orthogonal_frequencies(p: int, m: int, seed: int) -> NDArray[np.float64]:
    """Frequencies in orthogonal blocks of p, each column with a χ_p norm (Yu et al. 2016).

    Parameters
    ----------
    p : dimension of the embedding
    m : number of frequencies
    seed : seed of the comparison

    Returns
    -------
    (p, m) float64
        Columns distributed as N(0, I) each; those of one block are orthogonal.
    """
    w = np.empty((p, m))
    for block, start in enumerate(range(0, m, p)):
        count = min(p, m - start)
        generator = frequency_block(seed, block)
        # χ_p first, so that a block cut short has the norms it would have in full.
        norms = np.sqrt(generator.chisquare(p, size=p))[:count]
        q, r = np.linalg.qr(generator.standard_normal((count, p)).T)
        w[:, start : start + count] = q * np.sign(np.diag(r)) * norms
    return w
