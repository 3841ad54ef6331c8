"""Random streams: the numbers that results of all versions rest on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from specscale import seeds

Draw = Callable[[int, int, int], NDArray[Any]]


@pytest.mark.parametrize(
    ("stream", "key"),
    [
        (seeds.frequency_block(7, 3), [7, 3]),
        (seeds.sampled_rows(7, seeds.SURVEY), [7, 0x5A3F1E]),
        (seeds.sampled_rows(7, seeds.LANDMARKS), [7, 0x15A3F1E]),
        (seeds.sampled_rows(7, seeds.VARIMAX), [7, 0x25A3F1E]),
        (seeds.compared_rows(7), [7, 0x5A3F1F]),
        (seeds.pivots(7), [7, 0x9C701]),
        (seeds.certificate_draws(7), [7, 0xCE471F]),
        (seeds.remainder_races(7, 8192), [7, 0x5EED2000]),
        (seeds.clustered_rows(7), [7, 0x3EA5]),
        (seeds.start_of_krylov(), [0, 0]),
        (seeds.start_of_lanczos(), [0, 1]),
        (seeds.start_of_constraint(40), [0, 40]),
        (seeds.row_weights(), 0xD1),
    ],
)
def test_streams_are_those_of_all_versions(stream: np.random.Generator, key: int | list[int]) -> None:
    expected = np.random.Generator(np.random.Philox(key=key))
    np.testing.assert_array_equal(stream.integers(0, 1 << 63, size=9), expected.integers(0, 1 << 63, size=9))


@pytest.mark.parametrize(("draw", "stream"), [(seeds.half_of, 0x4A1FE5), (seeds.priorities, 0x9410417)])
def test_numbers_of_rows_are_those_of_all_versions_wherever_one_begins(draw: Draw, stream: int) -> None:
    words = np.random.Philox(key=[7, stream]).random_raw(40)
    expected = words >= 1 << 63 if draw is seeds.half_of else (words >> np.uint64(11)) / 2.0**53
    for start in range(9):
        for stop in (start, start + 1, 40):
            np.testing.assert_array_equal(draw(7, start, stop), expected[start:stop])


def test_halves_and_priorities_of_rows_have_nothing_to_do_with_one_another() -> None:
    halves, numbers = seeds.half_of(3, 10**12, 10**12 + 100_000), seeds.priorities(3, 10**12, 10**12 + 100_000)
    assert abs(halves.mean() - 0.5) < 5 * 0.5 / np.sqrt(100_000)
    for one in (halves, ~halves):
        counts = np.histogram(numbers[one], bins=10, range=(0, 1))[0]
        assert np.abs(counts - len(numbers) / 20).max() < 5 * np.sqrt(len(numbers) / 20)
    assert (halves != seeds.half_of(4, 10**12, 10**12 + 100_000)).mean() > 0.4
