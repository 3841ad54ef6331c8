"""What is counted, listed and drawn of rows by their likeness to cores."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from specscale import seeds
from specscale.passes.base import Accumulator
from specscale.passes.tallies import (
    LEAST_LIKENESS,
    LIKENESS_EDGES,
    NEAR,
    SIMILARITY_EDGES,
    Seen,
    add,
    auc,
    combine,
    empty_tallies,
    finished,
    tallies_size,
)


def by_rank_sums(members: NDArray[Any], others: NDArray[Any]) -> float:
    """The share of pairs in which the member has the larger value, ties at half, from the sum of its ranks."""
    values = np.concatenate([members, others])
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    m = len(members)
    return float((ranks[:m].sum() - m * (m + 1) / 2) / (m * len(others)))


def histograms(members: NDArray[Any], others: NDArray[Any]) -> NDArray[np.int64]:
    return np.stack([np.histogram(one, SIMILARITY_EDGES)[0] for one in (members, others)])


@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(1, 300), st.floats(-0.5, 0.5))
def test_the_auc_of_whole_bins_is_that_of_rank_sums(seed: int, m: int, others: int, shift: float) -> None:
    generator = np.random.default_rng(seed)
    values = [
        np.floor(np.clip(generator.normal(at, 0.02, size), -1, 1) * 1024) / 1024
        for at, size in ((shift, m), (0, others))
    ]
    assert auc(histograms(*values)) == pytest.approx(by_rank_sums(*values), abs=1e-12)


@pytest.mark.parametrize("shift", [-0.03, 0.0, 0.01, 0.2])
def test_the_auc_of_bins_is_near_that_of_all_values(shift: float) -> None:
    generator = np.random.default_rng(0)
    members, others = generator.normal(0.15 + shift, 0.02, 800), generator.normal(0.15, 0.02, 9000)
    assert auc(histograms(members, others)) == pytest.approx(by_rank_sums(members, others), abs=5e-4)


def test_the_auc_of_several_and_of_none() -> None:
    one = histograms(np.array([0.5, 0.25]), np.array([0.25, 0.0]))
    nobody = np.zeros_like(one)
    np.testing.assert_array_equal(auc(np.stack([one, one[::-1], nobody])), [0.875, 0.125, np.nan])
    assert auc(np.zeros((3, 2, 2, 5), dtype=np.int64)).shape == (3, 2)


def rows_like(likeness: NDArray[np.float64], seed: int = 0, start: int = 0) -> Seen:
    """Rows of some likeness (G, b), of which one follows the other."""
    stop = start + likeness.shape[1]
    similar = np.stack([likeness / 4, likeness / 8 - 0.5])
    halves, priorities = seeds.half_of(seed, start, stop), seeds.priorities(seed, start, stop)
    return Seen(np.arange(start, stop), halves, priorities, likeness.astype(np.float32), similar)


def tallied(*seen: Seen, top: int = 4, sample: int = 3) -> Accumulator:
    total = empty_tallies(len(seen[0].likeness), top, sample)
    for one in seen:
        add(total, one)
    return total


def test_bins_begin_with_their_edges_and_the_outermost_take_what_is_beyond() -> None:
    z = np.array([[-9.0, -2.0, 0.25, 0.5, np.nextafter(np.float32(0.5), np.float32(0)), 3.0, 2e30]])
    histogram = finished(tallied(rows_like(z))).histogram[0]
    at = [int(np.flatnonzero(edge == LIKENESS_EDGES)[0]) for edge in (NEAR, LEAST_LIKENESS)]
    assert [histogram[0], *histogram[at], histogram[at[1] - 1], histogram[-1]] == [2, 1, 1, 1, 2]
    assert histogram.sum() == z.size
    whole = Seen(*vars(rows_like(z)).values())
    similar = np.array([[[-1.0, 1.0, 1 + 1e-7, -1 - 1e-7, 0.0, 1 / 1024, 0.9999]]] * 2)
    counts = finished(tallied(Seen(whole.rows, whole.second, whole.priorities, whole.likeness, similar))).similarities
    np.testing.assert_array_equal(np.flatnonzero(counts[0, 0].sum(axis=0)), [0, 1024, 1025, 2047])
    np.testing.assert_array_equal(counts[0, 0].sum(axis=1), [3, 4])


def test_of_equals_the_lower_row_comes_first() -> None:
    z = np.array([[0.5, 1.0, 0.0, 1.0, 0.25, 0.75, 1.0, 0.25, 0.0, 0.25]])
    found = finished(tallied(rows_like(z)))
    np.testing.assert_array_equal(found.closest.rows, [[1, 3, 6, 5]])
    np.testing.assert_array_equal(found.closest.likeness, [[1, 1, 1, 0.75]])
    np.testing.assert_array_equal(found.near.rows, [[4, 7, 9, 2]])
    few = finished(tallied(rows_like(z), top=7))
    np.testing.assert_array_equal(few.closest.rows, [[1, 3, 6, 5, 0, -1, -1]])
    np.testing.assert_array_equal(few.closest.likeness, [[1, 1, 1, 0.75, 0.5, np.nan, np.nan]])


@given(data=st.data())
def test_tallies_do_not_depend_on_the_cuts(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    z = (
        np.array(data.draw(st.lists(st.lists(st.integers(-12, 20), min_size=n, max_size=n), min_size=1, max_size=3)))
        / 8
    )
    cuts = sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=6))})
    runs = [rows_like(z[:, low:high], start=low) for low, high in pairwise(cuts)]
    together, parts = tallied(*runs), [tallied(one) for one in runs]
    while len(parts) > 1:
        at = data.draw(st.integers(0, len(parts) - 2))
        combine(parts[at], parts.pop(at + 1))
    for whole in (tallied(rows_like(z)), together):
        for name, array in parts[0].items():
            np.testing.assert_array_equal(array, whole[name], err_msg=name)
    assert sum(one.nbytes for one in together.values()) == tallies_size(len(z), 4, 3)


def test_nothing_is_listed_or_drawn_where_nothing_is_asked_for() -> None:
    total = tallied(rows_like(np.ones((2, 9))), top=0, sample=0)
    combine(total, tallied(rows_like(np.ones((2, 9)), start=9), top=0, sample=0))
    found = finished(total)
    assert found.closest.rows.shape == found.near.rows.shape == found.drawn_near.shape == (2, 0)
    np.testing.assert_array_equal(found.sizes.sum(axis=1), [18, 18])


def test_samples_are_uniform_and_without_replacement() -> None:
    z = np.array([np.where(np.arange(60) < 40, 1.0, 0.3), np.where(np.arange(60) % 2, 0.6, -1.0)])
    draws, size = 400, 4
    counts = np.zeros((2, 3, 60))
    for seed in range(draws):
        found = finished(tallied(rows_like(z, seed), sample=size))
        halves = seeds.half_of(seed, 0, 60)
        for core in range(2):
            for kind, rows in enumerate((*found.drawn[core], found.drawn_near[core])):
                taken = rows[rows >= 0]
                assert len(set(taken)) == len(taken)
                counts[core, kind, taken] += 1
                assert kind == 2 or (halves[taken] == (kind == 1)).all()
            np.testing.assert_array_equal((found.drawn[core] >= 0).sum(axis=1), np.minimum(size, found.sizes[core]))
    for core, kind, of in (
        (0, 0, z[0] == 1),
        (0, 1, z[0] == 1),
        (0, 2, z[0] < 0.5),
        (1, 0, z[1] > 0),
        (1, 1, z[1] > 0),
    ):
        share = size / of.sum()
        spread = np.sqrt(draws * share * (1 - share))
        assert not counts[core, kind, ~of].any()
        assert np.abs(counts[core, kind, of] - draws * share).max() < 5 * spread
