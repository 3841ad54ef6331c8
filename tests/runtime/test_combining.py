"""Sums of partial results part by part have the bits of sums in one go."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specscale.features.linear import LinearMap
from specscale.kernels.base import Task
from specscale.passes.base import Accumulator
from specscale.passes.covariance import covariance
from specscale.runtime import combining
from specscale.runtime.combining import combine
from specscale.runtime.threads import Threads

WORK = covariance((LinearMap(3), LinearMap(4)))


def accumulator(size: int, seed: int) -> Accumulator:
    return {"gram": np.random.default_rng(seed).normal(size=size), "rows": np.array([seed + 5])}


@given(size=st.integers(1, 300), part=st.integers(8, 500), threads=st.integers(1, 3))
def test_the_bits_do_not_depend_on_the_parts(size: int, part: int, threads: int) -> None:
    whole, parts = accumulator(size, 0), accumulator(size, 0)
    WORK.combine(whole, accumulator(size, 1))
    with pytest.MonkeyPatch.context() as patch, closing(Threads(threads)) as pool:
        patch.setattr(combining, "_PART", part)
        combine(WORK, pool.finish, parts, accumulator(size, 1))
    assert parts["rows"] == whole["rows"] == 11
    assert parts["gram"].tobytes() == whole["gram"].tobytes()


def test_what_is_no_sum_or_is_small_is_combined_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lists: list[int] = []

    def run(tasks: Sequence[Task]) -> None:
        lists.append(len(tasks))
        for task in tasks:
            task()

    for work, size in ((WORK, 100), (replace(WORK, sums=False), 1000), (WORK, 1000)):
        monkeypatch.setattr(combining, "_PART", 8 * 200)
        total = accumulator(size, 0)
        combine(work, run, total, accumulator(size, 1))
        np.testing.assert_array_equal(total["gram"], accumulator(size, 0)["gram"] + accumulator(size, 1)["gram"])
    assert lists == [5]
