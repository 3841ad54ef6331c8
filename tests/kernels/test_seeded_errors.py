"""The conformance suite on emulated kernels finds what is wrong in a kernel: an index beside, a barrier left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import test_kernels as conformance
from emulation.building import emulated
from on_host import OnHost
from recording import RecordingDevice

from specscale.kernels.gpu import GpuKernels
from specscale.kernels.sources import cuda_sources

pytestmark = pytest.mark.process

TAILS: Any = conformance.test_tails_are_the_ends_of_a_full_sort
ERRORS = {
    "an index beside, in sines": (
        "waves.cu",
        "cosines[m + j] = sine * scale;",
        "cosines[m + j + 1] = sine * scale;",
        lambda kernels: conformance.test_fourier_agrees_with_the_reference(kernels, 17, 3, 8),
    ),
    "a column too many, in totals": (
        "fold.cu",
        "j < end;",
        "j <= end;",
        lambda kernels: conformance.test_gram_tile_is_the_product(kernels, 5, 3, 2),
    ),
    "a row too few, in norms": (
        "rows.cu",
        "long long row_of_warp() { return blockIdx.x * 8ll",
        "long long row_of_warp() { return blockIdx.x * 7ll",
        lambda kernels: conformance.test_standardise_agrees_with_the_reference(kernels, "float32", True),
    ),
    "a barrier, in moments": (
        "scores.cu",
        "        __syncthreads();\n        if (thread < half)\n            for (int power",
        "        if (thread < half)\n            for (int power",
        conformance.test_moments_are_double_precision,
    ),
    "a barrier, in the first bad row": (
        "rows.cu",
        "        __syncthreads();\n",
        "",
        lambda kernels: conformance.test_the_first_row_that_is_not_finite_is_named(kernels, "float32", np.nan, 4, 3),
    ),
    "a barrier, in tails": (
        "scores.cu",
        "    __syncthreads();\n    for (long long i = threadIdx.x; i < count;",
        "    for (long long i = threadIdx.x; i < count;",
        lambda kernels: TAILS.hypothesis.inner_test(kernels, 60, 2, 12, 30, 0),
    ),
}


def on_kernels(changed: dict[str, str]) -> OnHost:
    kernels = {**emulated(cuda_sources()), **emulated(changed)}
    return OnHost(GpuKernels(RecordingDevice(kernels=kernels)))


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_of_a_kernel_is_found(error: str) -> None:
    file, right, wrong, check = ERRORS[error]
    source = cuda_sources()[file]
    assert source.count(right) == 1
    check(on_kernels({}))
    with pytest.raises(AssertionError):
        check(on_kernels({file: source.replace(right, wrong)}))
