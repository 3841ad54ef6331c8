"""Whether a group has an edge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from specscale.grouping.edge import HAS_EDGE, valley
from specscale.passes.tallies import LIKENESS_EDGES


def counted(*likeness: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows by likeness, as the pass counts them."""
    return np.histogram(np.clip(np.concatenate(likeness), -2, 2.99), LIKENESS_EDGES)[0].astype(np.int64)


def normal(count: int, centre: float, spread: float, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng([seed, count]).normal(centre, spread, count)


@pytest.mark.parametrize("size", [30, 100, 3000])
def test_a_group_apart_from_all_other_rows_has_a_deep_valley(size: int) -> None:
    assert valley(counted(normal(20_000, 0, 0.1), normal(size, 1, 0.08)), LIKENESS_EDGES) < 0.1


@example(seed=0, rows=818, spread=1.5)  # many rows beyond the bins
@given(seed=st.integers(0, 2**31), rows=st.integers(50, 20_000), spread=st.floats(0.2, 1.5))
def test_a_continuum_has_none(seed: int, rows: int, spread: float) -> None:
    generator = np.random.default_rng(seed)
    for likeness in (generator.normal(0, spread, rows), generator.exponential(spread, rows) - spread * np.log(2)):
        assert valley(counted(likeness), LIKENESS_EDGES) > HAS_EDGE


def test_a_few_rows_at_the_core_tell_nothing() -> None:
    assert valley(counted(normal(20_000, 0, 0.1), normal(12, 1, 0.1)), LIKENESS_EDGES) == 1


def test_rows_all_the_way_to_the_core_leave_no_valley() -> None:
    between = np.linspace(0, 1.1, 4000)
    assert valley(counted(normal(20_000, 0, 0.1), normal(150, 1, 0.1), between), LIKENESS_EDGES) > HAS_EDGE


@given(st.lists(st.integers(0, 500), min_size=160, max_size=160))
def test_it_is_a_depth(counts: list[int]) -> None:
    deep = valley(np.array(counts), LIKENESS_EDGES)
    assert 0 <= deep <= 1


@given(st.lists(st.integers(0, 500), min_size=160, max_size=160), st.integers(2, 9))
def test_more_rows_of_the_same_density_tell_more(counts: list[int], times: int) -> None:
    few = np.array(counts)
    assert valley(few * times, LIKENESS_EDGES) <= valley(few, LIKENESS_EDGES)


def test_no_rows_have_no_valley() -> None:
    assert valley(np.zeros(160, np.int64), LIKENESS_EDGES) == 1
