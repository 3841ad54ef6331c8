"""The rows at the ends of modes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from specscale.grouping.tails import MOST_MODES, TAIL_ROWS, Scored, tails_of


@given(st.integers(0, 2**31), st.integers(1, 700), st.integers(1, 90))
def test_they_are_the_strongest_of_the_rotated_scores_wherever_the_rows_are_cut(seed: int, rows: int, cut: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(-9, 9, size=(rows, 3)).astype(np.float64)  # with ties
    rotation = np.eye(3)[:, [1, 0, 2]]
    parts = (Scored(np.arange(low, min(low + cut, rows)), scores[low : low + cut]) for low in range(0, rows, cut))
    tails = tails_of(parts, rotation, np.array([0.5, 0.4, -0.3]))
    assert [one.name for one in tails] == ["A0+", "A0-", "A1+", "A1-", "B0+", "B0-"]
    assert [one.direction for one in tails] == [1, 1, 1, 1, -1, -1]
    for number, one in enumerate(tails):
        values = (scores @ rotation)[:, number // 2] * (1 - 2 * (number % 2))
        np.testing.assert_array_equal(one.positions, np.argsort(-values, kind="stable")[:TAIL_ROWS])


def test_only_the_leading_modes_of_each_direction_have_ends() -> None:
    values = np.array([*np.linspace(1, 0.5, MOST_MODES + 4), *np.linspace(-1, -0.5, 2)])
    k = len(values)
    scores = np.random.default_rng(0).normal(size=(50, k))
    tails = tails_of(iter([Scored(np.arange(50), scores)]), np.eye(k), values)
    assert [one.name for one in tails][-5:] == [f"A{MOST_MODES - 1}-", "B0+", "B0-", "B1+", "B1-"]
    assert len(tails) == 2 * (MOST_MODES + 2)
    np.testing.assert_array_equal(tails[-1].positions, np.argsort(scores[:, -1], kind="stable"))


def test_no_mode_has_no_end() -> None:
    assert tails_of(iter([Scored(np.arange(4), np.zeros((4, 0)))]), np.zeros((0, 0)), np.zeros(0)) == []
