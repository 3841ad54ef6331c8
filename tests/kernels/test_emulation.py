"""Kernels in CUDA C do on the host what a card does with them, and what a card may do is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulation.building import EmulatedKernel, Violation, emulated
from numpy.typing import NDArray
from recording import RecordingDevice

pytestmark = pytest.mark.process

SOURCE = """
static __device__ float met(float value) { return __shfl_xor_sync(0xFFFFFFFFu, value, 1); }
static __device__ float added(float value) { return value + 1; }

extern "C" __global__ void __launch_bounds__(64) reversed(const float *from, float *to)
{
    __shared__ float held[64];
    held[threadIdx.x] = from[blockIdx.x * 64 + threadIdx.x];
    __syncthreads();
    to[blockIdx.x * 64 + threadIdx.x] = held[63 - threadIdx.x];
}

extern "C" __global__ void shuffled(const float *from, float *to, int *votes)
{
    float value = from[threadIdx.x];
    to[threadIdx.x] = __shfl_sync(0xFFFFFFFFu, value, 3);
    to[64 + threadIdx.x] = __shfl_up_sync(0xFFFFFFFFu, value, 2);
    to[128 + threadIdx.x] = __shfl_down_sync(0xFFFFFFFFu, value, 5, 8);
    to[192 + threadIdx.x] = __shfl_xor_sync(0xFFFFFFFFu, value, 16);
    if (threadIdx.x % 32 < 4)
        to[256 + threadIdx.x] = __shfl_xor_sync(0xFu, value, 1) + __shfl_sync(0xFu, value, 9);
    votes[threadIdx.x] = (int)__ballot_sync(0xFFFFFFFFu, value > 40);
    votes[64 + threadIdx.x] = __any_sync(0xFFFFFFFFu, value > 40) + 2 * __all_sync(0xFFFFFFFFu, value > 31);
}

extern "C" __global__ void never(float *to)
{
    __shared__ float held[2];
    to[blockIdx.x] = held[0];
    held[0] = 1;
}

extern "C" __global__ void apart(float *to)
{
    if (threadIdx.x < 32)
        __syncthreads();
    to[threadIdx.x] = 1;
}

extern "C" __global__ void gone(float *to)
{
    if (threadIdx.x == 7)
        return;
    to[threadIdx.x] = met(to[threadIdx.x]);
}

template <class T> static __device__ void raced(T *to)
{
    to[threadIdx.x] = threadIdx.x ? added(to[threadIdx.x - 1]) : (T)0;
}

extern "C" __global__ void race(float *to) { raced(to); }

extern "C" __global__ void beside(float *to, long long n)
{
    if (blockIdx.x * 32 + threadIdx.x <= n)
        to[blockIdx.x * 32 + threadIdx.x] = 0;
}
"""


@pytest.fixture
def kernels() -> dict[str, EmulatedKernel]:
    return emulated({"some.cu": SOURCE})


def launch(kernel: EmulatedKernel, blocks: int, threads: int, *arguments: Any, order: int = 0) -> None:
    kernel.launch(blocks, threads, [getattr(one, "ctypes", one).data for one in arguments], order)


def numbers(count: int) -> NDArray[np.float32]:
    return np.arange(count, dtype=np.float32)


def test_it_is_known_what_a_kernel_takes_and_whether_its_threads_meet(kernels: dict[str, EmulatedKernel]) -> None:
    assert kernels["beside"].takes == ("&f4", "i8")
    assert kernels["shuffled"].takes == ("*f4", "&f4", "&i4")
    assert {name for name, one in kernels.items() if one.meets} == {"reversed", "shuffled", "apart", "gone"}


@pytest.mark.parametrize("order", range(5))
def test_threads_meet_in_any_order(kernels: dict[str, EmulatedKernel], order: int) -> None:
    x, y = numbers(192), np.empty(192, np.float32)
    launch(kernels["reversed"], 3, 64, x, y, order=order)
    np.testing.assert_array_equal(y, x.reshape(3, 64)[:, ::-1].ravel())


@pytest.mark.parametrize("order", range(5))
def test_lanes_hand_over_what_they_have(kernels: dict[str, EmulatedKernel], order: int) -> None:
    x, found, votes = numbers(64), np.full(320, 77, np.float32), np.empty(128, np.int32)
    launch(kernels["shuffled"], 1, 64, x, found, votes, order=order)
    lane, warp = np.arange(64) % 32, np.arange(64) // 32 * 32
    np.testing.assert_array_equal(found[:64], warp + 3)
    np.testing.assert_array_equal(found[64:128], np.where(lane < 2, x, x - 2))
    np.testing.assert_array_equal(found[128:192], np.where(lane % 8 < 3, x + 5, x))
    np.testing.assert_array_equal(found[192:256], warp + (lane ^ 16))
    assert np.isnan(found[256:260]).all()  # lane 9 is not among those that are named
    assert (found[260:288] == 77).all()
    np.testing.assert_array_equal(votes[:64].view(np.uint32), np.repeat([0, 0xFFFFFE00], 32))
    np.testing.assert_array_equal(votes[64:], np.repeat([0, 3], 32))


def test_what_one_block_shared_is_poison_to_the_next(kernels: dict[str, EmulatedKernel]) -> None:
    found = np.zeros(3, np.float32)
    launch(kernels["never"], 3, 1, found)
    assert np.isnan(found).all()


@pytest.mark.parametrize("name", ["apart", "gone"])
def test_threads_that_wait_for_ever_are_named(kernels: dict[str, EmulatedKernel], name: str) -> None:
    for _ in range(2):
        with pytest.raises(Violation, match=rf"{name}: thread \d+ of block 0 waits in line \d+ for threads"):
            launch(kernels[name], 1, 64, np.zeros(64, np.float32))
    x, y = numbers(64), np.empty(64, np.float32)
    launch(kernels["reversed"], 1, 64, x, y)  # as if nothing had happened
    np.testing.assert_array_equal(y, x[::-1])


def test_orders_show_who_counts_on_one(kernels: dict[str, EmulatedKernel]) -> None:
    found = []
    for order in range(3):
        y = np.zeros(64, np.float32)
        launch(kernels["race"], 1, 64, y, order=order)
        found.append(y.tolist())
    assert found[0] == list(range(64))
    assert found[1] == [0] + [1] * 63
    assert found[2] not in found[:2]


def test_a_barrier_that_is_not_there_shows() -> None:
    kernel = emulated({"some.cu": SOURCE.replace("__syncthreads();\n    to[blockIdx", "to[blockIdx")})["reversed"]
    assert not kernel.meets
    for order in range(3):
        x, y = numbers(64), np.empty(64, np.float32)
        launch(kernel, 1, 64, x, y, order=order)
        assert np.isnan(y).any()


def test_a_warning_is_an_error() -> None:
    with pytest.raises(AssertionError, match=r"some\.cu:1.*unused"):
        emulated({"some.cu": 'extern "C" __global__ void idle(float *) { int unused; }'})


def test_a_kernel_that_writes_beside_its_memory_is_named(kernels: dict[str, EmulatedKernel]) -> None:
    device = RecordingDevice(kernels=kernels)
    x = device.empty((40,), np.float32)
    device.launch("beside", 2, 32, [x, np.int64(39)])
    device.release()
    device.launch("beside", 2, 32, [x[:20], np.int64(39)])
    device.launch("beside", 2, 32, [x, np.int64(40)])
    with pytest.raises(Violation, match="beside wrote beside the memory"):
        device.release()


@pytest.mark.parametrize(
    "arguments",
    [
        lambda x: [x],
        lambda x: [x, 40],
        lambda x: [x, np.int32(40)],
        lambda x: [x, np.float64(40)],
        lambda x: [np.int64(1), np.int64(40)],
        lambda x: [np.zeros(40, np.float32), np.int64(40)],
        lambda x: [x.reshape(2, 20).T, x],
    ],
)
def test_kernels_are_given_the_very_types_that_they_take(
    kernels: dict[str, EmulatedKernel], arguments: Callable[[Any], list[Any]]
) -> None:
    device = RecordingDevice(kernels=kernels)
    with pytest.raises(TypeError):
        device.launch("beside", 2, 32, arguments(device.empty((40,), np.float32)))
    with pytest.raises(TypeError):
        device.launch("beside", 2, 32, [device.empty((40,), np.float64), np.int64(40)])
