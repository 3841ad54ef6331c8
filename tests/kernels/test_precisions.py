"""Products by tensor cores: how far off one is, and three of split numbers; and that nobody gets them unmeasured."""

from __future__ import annotations

from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pytest
from emulation.queues import late, shuffled
from numpy.typing import NDArray
from recording import RecordingDevice

from specscale.errors import OptionError
from specscale.kernels import precision
from specscale.kernels.base import BACKENDS
from specscale.kernels.gpu import GpuKernels
from specscale.kernels.precision import PRECISIONS, PRODUCTS, check_precision, multiply, precision_of, split_memory

STEP = 8  # terms that a tensor core adds up at once


def ten_bits(values: NDArray[Any]) -> NDArray[np.float32]:
    """The nearest numbers of which 10 bits follow the leading one."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    return np.asarray(np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent), dtype=np.float32)


def cut_off(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The next number in float32 towards zero."""
    nearest = values.astype(np.float32)
    return np.where(np.abs(nearest) > np.abs(values), np.nextafter(nearest, np.float32(0)), nearest)


class TensorCores:
    """A card whose memory is the host's: rounds what it multiplies, and cuts off sums after each few terms."""

    def multiply(self, left: Any, right: Any, out: Any, tensor: bool = False) -> None:
        if not tensor:
            np.matmul(left, right, out=out)
            return
        assert out.dtype == np.float32
        left, right = (ten_bits(one).astype(np.float64) for one in (left, right))
        total = np.zeros(out.shape, np.float32)
        for start in range(0, left.shape[1], STEP):
            step = slice(start, start + STEP)
            total = cut_off(total + left[:, step] @ right[step])
        out[...] = total

    def launch(self, kernel: str, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        source, step, high, high_step, low, low_step, columns = arguments
        assert (kernel, blocks, columns) == ("split", *source.shape)
        assert [step, high_step, low_step] == [array.strides[0] // 4 for array in (source, high, low)]
        high[...] = ten_bits(source)
        low[...] = ten_bits(source - high)


def scratch(name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    return np.full(shape, np.nan, dtype)


def error(left: NDArray[Any], right: NDArray[Any], asked: Any) -> float:
    """The largest error of a product against the lengths of what was multiplied."""
    left, right = left.astype(np.float32), right.astype(np.float32)
    out = np.full((left.shape[0], right.shape[1]), np.nan, np.float32)
    multiply(TensorCores(), left, right, out, asked, scratch)  # type: ignore[arg-type]
    wide = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(wide[0], axis=1)[:, None] * np.linalg.norm(wide[1], axis=0)
    return float((np.abs(out - wide[0] @ wide[1]) / lengths).max())


def normal(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.slow
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("terms", [3, 700, 4096])
def test_split_numbers_are_nearly_float32_and_single_ones_are_not(terms: int, positive: bool) -> None:
    left, right = normal(24, terms), normal(terms, 17, seed=1)
    if positive:
        left, right = np.abs(left), np.abs(right)
    single, split = error(left, right, "tf32"), error(left, right, "3xtf32")
    assert split < 3e-6
    assert 1e-5 < single < 2e-3
    assert split < single / 8


@pytest.mark.slow
def test_long_runs_are_worse_than_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = np.abs(normal(9, 1 << 14)), np.abs(normal(1 << 14, 8, seed=1))
    found = []
    for run in (1024, 1 << 14):
        monkeypatch.setattr(precision, "RUN", run)
        found.append(error(left, right, "3xtf32"))
    assert found[0] < found[1] / 4


@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_transposes_and_columns_of_wider_matrices_are_split(turned: tuple[bool, bool]) -> None:
    wholes = [normal(7, 9, seed=seed).astype(np.float32) for seed in range(3)]
    left = wholes[0][:5, 2:8].T if turned[0] else wholes[0][:6, 2:7]
    right = wholes[1][:4, 1:6].T if turned[1] else wholes[1][:5, 3:7]
    out = wholes[2][:6, 4:8]
    before = wholes[2].copy()
    multiply(TensorCores(), left, right, out, "3xtf32", scratch)  # type: ignore[arg-type]
    np.testing.assert_allclose(out, left.astype(np.float64) @ right, atol=1e-5)
    before[:6, 4:8] = out
    np.testing.assert_array_equal(wholes[2], before)


@pytest.mark.parametrize("asked", PRECISIONS)
def test_float64_stays_float64(asked: Any) -> None:
    left, right, out = normal(3, 50), normal(50, 4, seed=1), np.empty((3, 4))
    multiply(TensorCores(), left, right, out, asked, scratch)  # type: ignore[arg-type]
    np.testing.assert_allclose(out, left @ right, rtol=1e-14)


@pytest.mark.parametrize("asked", ["tf32", "3xtf32"])
def test_what_is_not_measured_is_refused_in_a_line_that_says_how_to_measure(asked: Any) -> None:
    with pytest.raises(OptionError, match="python -m bench gpu") as refused:
        check_precision(asked)
    assert f"--precision {asked}" in str(refused.value)
    assert "\n" not in str(refused.value)
    check_precision("float32")


@pytest.fixture
def bearing_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = {one: frozenset({"covariance"}) for one in ("tf32", "3xtf32")}
    monkeypatch.setattr(precision, "MEASURED", measured)


@pytest.mark.usefixtures("bearing_covariance")
def test_only_products_that_bear_a_precision_get_it() -> None:
    assert [product for product in PRODUCTS if precision_of(product, "tf32") == "tf32"] == ["covariance"]
    assert {precision_of(product, "float32") for product in PRODUCTS} == {"float32"}
    check_precision("tf32")


@pytest.mark.usefixtures("bearing_covariance")
def test_the_parts_of_numbers_take_as_much_memory_as_is_told() -> None:
    shapes, held = [(7, 9, 4), (3, 20, 6), (5, 2, 30)], dict[str, int]()

    def counted(name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        held[name] = max(held.get(name, 0), int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return scratch(name, shape, dtype)

    for rows, terms, columns in shapes:
        left, right = normal(rows, terms).astype(np.float32), normal(terms, columns).astype(np.float32)
        multiply(TensorCores(), left, right, np.empty((rows, columns), np.float32), "3xtf32", counted)  # type: ignore[arg-type]
    borne, other = ([(product, *shape) for shape in shapes] for product in ("covariance", "scores"))
    assert split_memory([*borne, ("scores", 99, 99, 99)], "3xtf32") == sum(held.values())
    assert split_memory(other, "3xtf32") == split_memory(borne, "tf32") == split_memory(borne, "float32") == 0


@pytest.mark.parametrize("asked", PRECISIONS)
def test_there_is_a_backend_of_each_precision(asked: Any) -> None:
    name = "cuda" if asked == "float32" else f"cuda-{asked}"
    backend = resolve_name(BACKENDS[name])
    assert backend.name == name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specscale.kernels.card.Card", TensorCores)
        assert backend()._asked == asked


@pytest.mark.process
@pytest.mark.usefixtures("bearing_covariance")
@pytest.mark.parametrize(("product", "tensor"), [("covariance", [True] * 5), ("scores", [False])])
@pytest.mark.parametrize("order", [late, shuffled(3)])
def test_a_backend_splits_the_products_that_bear_it_and_no_others(order: Any, product: Any, tensor: Any) -> None:
    asked: list[bool] = []

    class Asked(RecordingDevice):
        def multiply(self, left: Any, right: Any, out: Any, tensor: bool = False) -> None:
            asked.append(tensor)
            super().multiply(left, right, out, tensor)

    kernels = GpuKernels(Asked(order), "3xtf32").bearing(product)
    left, right = normal(2100, 20).astype(np.float32), normal(2100, 30, seed=1).astype(np.float32)
    assert (kernels.unrounded.name, kernels.unrounded.device) == ("cuda", kernels.device)
    total = kernels.zeros((20, 30), np.float64)
    kernels.gram_tile(kernels.put(left), kernels.put(right), kernels.empty(total.shape, np.float32), total)
    found = kernels.get(total)
    assert asked == tensor  # two products with low parts, and three runs of high ones
    np.testing.assert_allclose(found, left.astype(np.float64).T @ right, atol=3e-4)
