"""Which candidates are one group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from specscale.features.kernel import ExactKernel
from specscale.grouping.cores import FoundCore
from specscale.grouping.merging import MERGED, distinct_cores, merged_into
from specscale.grouping.pool import Pool
from specscale.kernels.base import load_kernels


def shared_of(*members: Sequence[int]) -> NDArray[np.int64]:
    """Members in both of each two."""
    sets = [set(one) for one in members]
    return np.array([[len(one & other) for other in sets] for one in sets], dtype=np.int64)


def test_the_best_of_those_that_share_more_than_half_is_kept() -> None:
    shared = shared_of(range(100), range(20, 120), range(200, 300))
    assert merged_into([1, 0, 2], shared, [1, 1, 1], [True] * 3, 30) == [1, 1, 2]


def test_half_is_not_more_than_half() -> None:
    assert merged_into([0, 1], shared_of(range(100), range(50, 150)), [1, 1], [True] * 2, 30) == [0, 1]


def test_a_group_within_another_stays_where_both_have_edges() -> None:
    shared = shared_of(range(400), range(100))
    assert merged_into([0, 1], shared, [1, 1], [True, True], 30) == [0, 1]
    assert merged_into([0, 1], shared, [1, 1], [True, False], 30) == [0, 0]


def test_groups_of_different_embeddings_are_not_one() -> None:
    assert merged_into([0, 1], shared_of(range(100), range(100)), [1, -1], [True] * 2, 30) == [0, 1]


def test_what_is_too_small_is_left_out_and_takes_nothing_in() -> None:
    assert merged_into([0, 1], shared_of(range(29), range(40)), [1, 1], [True] * 2, 30) == [None, 1]


members = st.lists(st.sets(st.integers(0, 20), min_size=1), min_size=1, max_size=6)


@given(members, st.data())
def test_what_is_kept_is_distinct_and_what_is_not_shares_half_with_what_it_is_merged_into(
    sets: list[set[int]], data: st.DataObject
) -> None:
    count = len(sets)
    directions = data.draw(st.lists(st.sampled_from([1, -1]), min_size=count, max_size=count))
    edged = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    order = data.draw(st.permutations(range(count)))
    least = data.draw(st.integers(1, 8))
    into = merged_into(order, shared_of(*map(sorted, sets)), directions, edged, least)

    def one(i: int, j: int) -> bool:
        size = (max if edged[i] and edged[j] else min)(len(sets[i]), len(sets[j]))
        return directions[i] == directions[j] and len(sets[i] & sets[j]) > MERGED * size

    for i, target in enumerate(into):
        assert (target is None) == (len(sets[i]) < least)
        if target is not None:
            assert into[target] == target
            assert i == target or (one(i, target) and order.index(target) < order.index(i))
    kept = [i for i, target in enumerate(into) if target == i]
    assert not any(one(i, j) for i in kept for j in kept if i != j)


@pytest.mark.parametrize("tile", [7, 512])
def test_cores_in_one_place_are_one_and_the_strongest_stays(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specscale.grouping.merging.TILE_ROWS", tile)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 6))
    x[:100] = 4 + 0.2 * generator.normal(size=(100, 6))
    x[100:150] = -4 + 0.2 * generator.normal(size=(50, 6))
    y = generator.normal(size=(400, 6))
    exact = (ExactKernel(np.zeros(6), False, 2.0), ExactKernel(np.zeros(6), False, 2.0))
    pool = Pool(exact, (x.astype(np.float32), y.astype(np.float32)), 1.0, load_kernels("reference"))

    def core(low: int) -> FoundCore:
        rows = np.arange(low, low + 30)
        background = float(np.median(pool.likeness(np.arange(400), rows, 1)))
        return FoundCore(rows, background, float(np.median(pool.likeness(rows, rows, 1))) - background)

    cores = [core(low) for low in (0, 40, 100, 60)]
    best = max((0, 1, 3), key=lambda number: cores[number].level)
    assert distinct_cores(pool, cores, [1, 1, 1, 1]) == [best, best, 2, best]
    assert distinct_cores(pool, cores[:2], [1, -1]) == [0, 1]
