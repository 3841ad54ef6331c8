"""Every random stream: what is drawn at random, and from which generator.

The generators are Philox (Salmon et al. 2011), counter-based and keyed by a seed and the number of a stream, so that
any machine draws the same. Streams of one use have no numbers in common; those of two uses may begin with the same key,
as the starts of the eigensolvers and the first frequencies of seed 0 do, of which nothing depends on the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GROUPS",
    "LANDMARKS",
    "SURVEY",
    "VARIMAX",
    "certificate_draws",
    "clouds",
    "clustered_rows",
    "compared_rows",
    "frequency_block",
    "half_of",
    "pivots",
    "priorities",
    "remainder_races",
    "row_weights",
    "sampled_rows",
    "start_of_constraint",
    "start_of_krylov",
    "start_of_lanczos",
]

SURVEY, LANDMARKS, VARIMAX, GROUPS = 0, 1, 2, 3
"""What samples of rows are for: to look at them, to be landmarks, to rotate modes, to find
groups among."""


def frequency_block(seed: int, block: int) -> np.random.Generator:
    """The frequencies of one block, of any embedding."""
    return _philox(seed, block)


def sampled_rows(seed: int, use: int) -> np.random.Generator:
    """Rows of a sample for some use."""
    return _philox(seed, 0x5A3F1E + (use << 24))


def compared_rows(seed: int) -> np.random.Generator:
    """Rows to which a comparison is confined."""
    return _philox(seed, 0x5A3F1F)


def pivots(seed: int) -> np.random.Generator:
    """Landmarks of a pivoted Cholesky factor."""
    return _philox(seed, 0x9C701)


def certificate_draws(seed: int) -> np.random.Generator:
    """Rows of a certificate."""
    return _philox(seed, 0xCE471F)


def remainder_races(seed: int, row: int) -> np.random.Generator:
    """The races among rows of the block from `row` on."""
    return _philox(seed, 0x5EED0000 + row)


def clouds(seed: int, which: int) -> np.random.Generator:
    """A cloud without groups that is like the rows of one embedding."""
    return _philox(seed, 0xC10D5 + which)


def half_of(seed: int, start: int, stop: int) -> NDArray[np.bool_]:
    """Whether each of the rows ``start:stop`` is of the second of two halves: a fair coin for each row of any n."""
    return (_words(seed, 0x4A1FE5, start, stop) >> np.uint64(63)).astype(np.bool_)


def priorities(seed: int, start: int, stop: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) of the rows ``start:stop``; the smallest of any set of rows are a uniform sample of it."""
    words = _words(seed, 0x9410417, start, stop) >> np.uint64(11)
    return words.astype(np.float64) * 2.0**-53


def clustered_rows(seed: int) -> np.random.Generator:
    """Rows on which measures of clusters are taken."""
    return _philox(seed, 0x3EA5)


def start_of_krylov() -> np.random.Generator:
    """Where the solver of the covariance starts from."""
    return _philox(0, 0)


def start_of_lanczos() -> np.random.Generator:
    """Where the solver of the exact operator starts from."""
    return _philox(0, 1)


def start_of_constraint(order: int) -> np.random.Generator:
    """Where the solver of constrained modes of some order starts from."""
    return _philox(0, order)


def row_weights() -> np.random.Generator:
    """The weights of the hash by which equal rows are found."""
    return _philox(0xD1, 0)


def _philox(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, stream]))


def _words(seed: int, stream: int, start: int, stop: int) -> NDArray[np.uint64]:
    """Words ``start:stop`` of a stream, of which each step of the counter makes four."""
    bits, skipped = np.random.Philox(key=[seed, stream]), start % 4
    bits.advance(start // 4)
    return np.asarray(bits.random_raw(skipped + stop - start)[skipped:], dtype=np.uint64)
