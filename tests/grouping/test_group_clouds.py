"""What the search finds in clouds without groups."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from specscale.features.kernel import ExactKernel
from specscale.grouping.clouds import cloud_contrast
from specscale.kernels.base import load_kernels

KERNELS = load_kernels("cpu")


def contrast(x: NDArray[np.float64], sigma: float | None = None, seed: int = 0) -> float:
    x = x.astype(np.float32)
    exact = ExactKernel(np.zeros(x.shape[1]), sigma is None, sigma)
    return cloud_contrast(exact, x, seed, 0, KERNELS)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specscale.grouping.clouds.CLOUD_ROWS", 256)
    monkeypatch.setattr("specscale.grouping.clouds._STARTS", 8)


def test_few_rows_show_nothing() -> None:
    assert contrast(np.random.default_rng(0).normal(size=(59, 3)), 1.0) == 0


def test_rows_that_are_all_one_show_nothing() -> None:
    assert contrast(np.ones((300, 4)), 1.0) == 0


def test_the_fewer_dimensions_a_cloud_has_the_more_alike_near_rows_are() -> None:
    generator = np.random.default_rng(0)
    found = [contrast(generator.normal(size=(256, p)), np.sqrt(p)) for p in (2, 8, 64)]
    assert found == sorted(found, reverse=True)
    assert all(0 < one < 1 for one in found)


def test_groups_of_the_sample_are_not_in_it() -> None:
    """Rows in tight groups are as alike as can be; a cloud with their covariance is not."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(8, 16))
    x = centres[generator.integers(8, size=256)] + 0.01 * generator.normal(size=(256, 16))
    assert contrast(x, 3.0) < 0.5


def test_it_does_not_depend_on_where_the_rows_lie() -> None:
    x = np.random.default_rng(0).normal(size=(256, 6))
    assert contrast(x + 5, 2.0) == pytest.approx(contrast(x, 2.0), abs=1e-3)


def test_a_cosine_kernel_has_clouds_as_well() -> None:
    assert 0 < contrast(np.random.default_rng(0).normal(size=(256, 10))) < 1


def test_lengths_that_the_kernel_does_not_see_make_no_cloud() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(256, 10))
    assert contrast(x * generator.uniform(1, 50, size=(256, 1))) == pytest.approx(contrast(x), abs=1e-3)
