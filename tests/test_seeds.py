"""Random streams: the numbers that results of all versions rest on."""

from __future__ import annotations

import numpy as np
import pytest

from specscale import seeds


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
