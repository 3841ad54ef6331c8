"""Rows in memory: their exact kernels, and how like they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import cosine_kernel, gaussian_kernel

from specscale.features.kernel import ExactKernel
from specscale.grouping.pool import Pool, weights_of
from specscale.kernels.base import load_kernels

KERNELS = load_kernels("reference")


def test_kernels_are_those_of_the_rows_asked_for_in_their_order() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(20, 4)).astype(np.float32), generator.normal(size=(20, 3)).astype(np.float32)
    pool = Pool(
        (ExactKernel(x[0].astype(float), False, 2.0), ExactKernel(np.zeros(3), True, None)), (x, y), 1.0, KERNELS
    )
    rows, anchors = np.array([7, 3, 3]), np.array([0, 19])
    assert len(pool) == 20
    np.testing.assert_allclose(pool.kernel(0, rows, anchors), gaussian_kernel(x, 2.0)[np.ix_(rows, anchors)], atol=1e-5)
    np.testing.assert_allclose(pool.kernel(1, rows, anchors), cosine_kernel(y)[np.ix_(rows, anchors)], atol=1e-5)
    for given_back, stored in zip(pool.raw(rows), (x, y), strict=True):
        np.testing.assert_array_equal(given_back, stored[rows])


@given(eta=st.floats(0, 8), direction=st.sampled_from([1, -1]))
def test_likeness_is_the_kernel_of_what_holds_together_less_the_others(eta: float, direction: int) -> None:
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    exact = (ExactKernel(np.zeros(2), False, 3.0), ExactKernel(np.zeros(2), False, 9.0))
    pool = Pool(exact, (x, x[::-1].copy()), eta, KERNELS)
    rows = np.arange(6)
    expected = direction * (pool.kernel(0, rows, rows) - eta * pool.kernel(1, rows, rows))
    np.testing.assert_allclose(pool.likeness(rows, rows, direction), expected, atol=1e-12)


def test_a_row_is_to_itself_what_the_weights_add_up_to() -> None:
    assert sum(weights_of(1, 0.25)) == pytest.approx(0.75)
    assert sum(weights_of(-1, 0.25)) == pytest.approx(-0.75)
