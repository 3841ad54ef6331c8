"""Embeddings with groups that are known, and what is the same where groups are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from specscale.method.result import Result


class Planted(NamedTuple):
    """Two embeddings, of which A holds some groups together and B the others, and the rows of these groups."""

    a: NDArray[Any]
    b: NDArray[Any]
    truth: list[NDArray[np.int64]]

    @property
    def pair(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.a, self.b


def planted(n: int, sizes_a: Sequence[int], sizes_b: Sequence[int] = (), seed: int = 0) -> Planted:
    """Groups of so many of n rows, of A's and of B's."""
    generator = np.random.default_rng(seed)
    sizes = [*sizes_a, *sizes_b]
    truth = np.split(generator.permutation(n)[: sum(sizes)], np.cumsum(sizes)[:-1])
    pair = generator.normal(size=(2, n, 16))
    for number, rows in enumerate(truth):
        centre, spread = 1.5 * generator.normal(size=16), 0.3 * generator.normal(size=(len(rows), 16))
        pair[int(number >= len(sizes_a)), rows] = centre + spread
    return Planted(*pair.astype(np.float32), truth)


def agreement(result: Result, truth: NDArray[np.int64]) -> float:
    """The Jaccard index of some rows and of the group that is most like them, of those that are certified."""
    found = [one.rows() for one in result.groups if one.certified]
    return max((len(np.intersect1d(rows, truth)) / len(np.union1d(rows, truth)) for rows in found), default=0.0)


def assert_same_groups(first: Result, second: Result) -> None:
    """The groups are equal, bit for bit."""
    assert first.summary["groups"] == second.summary["groups"]
    assert first.summary["groups"]
    np.testing.assert_array_equal(first.likeness[:], second.likeness[:])
    np.testing.assert_array_equal(first.memberships[:], second.memberships[:])
    samples = [(Path(str(one.path)) / "members.parquet").read_bytes() for one in (first, second)]
    assert samples[0] == samples[1]


@pytest.fixture(scope="module")
def small_clouds() -> Iterator[None]:
    """Clouds that are held against groups are small."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("method.grouping", "grouping.clouds"):
            patch.setattr(f"specscale.{module}.CLOUD_ROWS", 400)
        yield
