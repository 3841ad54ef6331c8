"""How alike members are to one another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specscale.grouping.within import pair_mean


@given(st.integers(2, 12), st.integers(0, 2**31))
def test_it_is_the_mean_over_pairs_of_different_rows(rows: int, seed: int) -> None:
    half = np.random.default_rng(seed).normal(size=(rows, rows))
    kernel = half + half.T
    pairs = kernel[~np.eye(rows, dtype=bool)]
    assert pair_mean(kernel).mean == pytest.approx(pairs.mean(), abs=1e-12)
    assert pair_mean(kernel).influence.sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("rows", [0, 1])
def test_there_are_no_pairs_of_one_row(rows: int) -> None:
    found = pair_mean(np.ones((rows, rows)))
    assert (found.mean, found.se) == (0, 0)


def test_rows_that_are_all_alike_have_no_error() -> None:
    assert pair_mean(np.full((9, 9), 0.25)).se == 0


def test_its_error_is_the_spread_over_samples() -> None:
    """The spread of the means of 400 samples of 60 rows each, and the mean of their errors."""
    generator = np.random.default_rng(3)
    found = []
    for _ in range(400):
        x = 1 + generator.normal(size=(60, 2)) / 3
        found.append(pair_mean(x @ x.T))
    spread = np.std([one.mean for one in found], ddof=1)
    assert np.mean([one.se for one in found]) == pytest.approx(spread, rel=0.1)
