"""The core of a group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from specscale.features.kernel import ExactKernel
from specscale.grouping.cores import CORE_ROWS, FoundCore, find_cores
from specscale.grouping.pool import Pool
from specscale.kernels.base import load_kernels
from specscale.passes.tallies import LEAST_LIKENESS

Rows = NDArray[np.int64]
ROWS = 600
REST = np.arange(ROWS)


def pool_of(*groups: tuple[Rows, float], seed: int = 0, sigma: float = 4.0, eta: float = 1.0) -> Pool:
    """Normal rows in 12 dimensions; groups of A, of some spread, that B has among all others."""
    generator = np.random.default_rng(seed)
    x, y = generator.normal(size=(2, ROWS, 12))
    for rows, spread in groups:
        x[rows] = 1.3 * generator.normal(size=12) + spread * generator.normal(size=(len(rows), 12))
    exact = tuple(ExactKernel(np.zeros(12), False, sigma) for _ in range(2))
    return Pool(exact, (x.astype(np.float32), y.astype(np.float32)), eta, load_kernels("cpu"))


def find_core(pool: Pool, tail: Rows, sample: Rows, direction: int) -> FoundCore | None:
    """The first core of a tail."""
    return next(iter(find_cores(pool, tail, sample, direction)), None)


def sampled(seed: int = 0, count: int = 300) -> Rows:
    return np.sort(np.random.default_rng([seed, 1]).permutation(ROWS)[:count])


@pytest.mark.parametrize("size", [15, 40, 150])
@pytest.mark.parametrize("others", [0, 50])
def test_it_is_of_the_group_whatever_else_the_tail_holds(size: int, others: int) -> None:
    group = np.arange(200, 200 + size)
    tail = np.concatenate([np.arange(400, 400 + others), group])
    found = find_core(pool_of((group, 0.2)), tail, sampled(), 1)
    assert found is not None
    assert len(found.rows) <= CORE_ROWS
    assert np.isin(found.rows, group).all()
    assert (np.diff(found.rows) > 0).all()


def test_its_level_is_the_median_likeness_of_its_rows_to_its_others() -> None:
    group, sample = np.arange(100), sampled()
    pool = pool_of((group, 0.2))
    found = find_core(pool, group, sample, 1)
    assert found is not None
    kernel = pool.likeness(found.rows, found.rows, 1)
    m = len(found.rows)
    own = (kernel.sum(axis=1) - np.diagonal(kernel)) / (m - 1)
    beside = np.setdiff1d(sample, found.rows)
    background = np.median(
        np.concatenate([pool.likeness(beside, found.rows, 1).mean(axis=1), own[np.isin(found.rows, sample)]])
    )
    assert found.background == pytest.approx(background, abs=1e-6)
    assert found.level == pytest.approx(np.median(own) - background, abs=1e-6)


def test_of_two_groups_at_one_end_it_is_one_of_them() -> None:
    one, other = np.arange(60), np.arange(60, 120)
    found = find_core(pool_of((one, 0.2), (other, 0.3)), np.arange(120), sampled(), 1)
    assert found is not None
    assert np.isin(found.rows, one).all() or np.isin(found.rows, other).all()


def test_the_other_group_at_the_same_end_is_found_as_well() -> None:
    groups = np.arange(90), np.arange(90, 150)
    found = find_cores(pool_of((groups[0], 0.2), (groups[1], 0.2)), np.arange(200), sampled(), 1)
    assert len(found) == 2
    first, second = ({number for number in range(2) if np.isin(one.rows, groups[number]).all()} for one in found)
    assert first | second == {0, 1}


def test_what_is_around_a_group_is_no_other_one() -> None:
    assert len(find_cores(pool_of((np.arange(150), 0.2)), np.arange(200), sampled(), 1)) == 1


def test_what_both_embeddings_hold_is_no_core() -> None:
    """Two embeddings that are one and the same differ in nothing."""
    x = np.random.default_rng(0).normal(size=(ROWS, 5)).astype(np.float32)
    exact = tuple(ExactKernel(np.zeros(5), False, 2.0) for _ in range(2))
    pool = Pool(exact, (x, x), 1.0, load_kernels("cpu"))
    assert find_cores(pool, np.arange(200), sampled(), 1) == []


@pytest.mark.parametrize("rows", [0, 1, 9])
def test_a_few_rows_have_none(rows: int) -> None:
    assert find_cores(pool_of(), np.arange(rows), sampled(), 1) == []


def test_ten_rows_may_have_one() -> None:
    group = np.arange(10)
    found = find_core(pool_of((group, 0.2)), group, sampled(), 1)
    assert found is not None
    np.testing.assert_array_equal(found.rows, group)


def test_rows_that_repeat_one_another_are_a_core_like_any() -> None:
    found = find_core(pool_of((np.arange(80), 0.0)), np.arange(120), sampled(), 1)
    assert found is not None
    assert np.isin(found.rows, np.arange(80)).all()


@given(seed=st.integers(0, 2**31), eta=st.sampled_from([0.0, 0.5, 1.0]))
def test_its_members_in_the_pool_are_the_groups_rows(seed: int, eta: float) -> None:
    group = np.arange(100)
    pool, sample = pool_of((group, 0.2), seed=seed, eta=eta), sampled(seed)
    found = find_core(pool, np.arange(150), sample, 1)
    assert found is not None
    likeness = pool.likeness(REST, found.rows, 1).mean(axis=1)
    members = np.flatnonzero(likeness >= found.background + LEAST_LIKENESS * found.level)
    assert np.isin(found.rows, group).mean() > 0.9
    assert np.isin(group, members).mean() > 0.8
