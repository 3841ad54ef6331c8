"""What the card does by itself: memory, queues, copies, products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from specscale.errors import OutOfMemory
from specscale.kernels.card import Card
from specscale.kernels.precision import multiply

pytestmark = pytest.mark.gpu

LAYOUTS = ["rows", "turned", "rows wider", "turned wider"]
MIB = 1 << 20


@pytest.fixture(scope="module")
def shared() -> Card:
    return Card()


@pytest.fixture
def card(shared: Card) -> Iterator[Card]:
    yield shared
    shared.release()


def sent(card: Card, values: NDArray[Any], queue: Any = "compute") -> Any:
    host = card.pinned(values.shape, values.dtype)
    host[...] = values
    target = card.empty(values.shape, values.dtype)
    card.after(queue, card.record("compute"))
    card.upload(queue, host, target)
    card.wait(card.record(queue))
    return target


def got(card: Card, array: Any) -> NDArray[Any]:
    host = card.pinned(array.shape, array.dtype)
    card.download("compute", array, host)
    card.wait(card.record("compute"))
    return host.copy()


def normal(*shape: int, seed: int = 0, dtype: Any = np.float32) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def test_it_says_what_it_is(card: Card) -> None:
    assert card.name
    assert 0 < card.free_memory() <= card.total_memory()


@pytest.mark.parametrize("queue", ["compute", "copy"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 0), (7, 11), (2, 3, 4), (1000, 1000)])
def test_what_is_sent_comes_back(card: Card, shape: tuple[int, ...], dtype: str, queue: Any) -> None:
    values = np.asarray(100 * normal(*shape)).astype(dtype)
    np.testing.assert_array_equal(got(card, sent(card, values, queue)), values)


def test_zeros_are_zero_though_the_memory_was_used(card: Card) -> None:
    for _ in range(3):
        used = sent(card, np.full((MIB,), 7.0, np.float32))
        del used
        assert not got(card, card.zeros((MIB,), np.float32)).any()


def test_queues_and_arrays_are_in_order(card: Card) -> None:
    total, expected = card.zeros((MIB,), np.float64), np.zeros(MIB)
    for number in range(50):
        values = normal(MIB, seed=number)
        there = sent(card, values, "copy")
        card.after("compute", card.record("copy"))
        total += there
        total[: MIB // 2] = total[MIB // 2 :]
        expected += values
        expected[: MIB // 2] = expected[MIB // 2 :]
    np.testing.assert_allclose(got(card, total), expected)


def test_memory_that_was_fetched_into_is_not_lent_before_the_copy_is_done(card: Card) -> None:
    ones = [sent(card, np.full((8 * MIB,), number, np.float32)) for number in range(4)]
    kept = []
    for number in range(40):
        host = card.pinned((8 * MIB,), np.float32)
        card.download("compute", ones[number % 4], host)
        if number % 2:
            kept.append((number % 4, host))  # every other one is let go while it is written to
        del host
    card.wait(card.record("compute"))
    for number, host in kept:
        assert (host == number).all()


def test_peak_memory_is_the_most_that_was_there_at_once(card: Card) -> None:
    card.release()
    for _ in range(2):
        one, two = card.empty((10 * MIB,), np.uint8), card.empty((20 * MIB,), np.uint8)
        del one, two
    assert card.peak_memory() == 30 * MIB
    card.release()
    assert card.peak_memory() == 0


def test_too_much_is_refused_and_less_is_had_after_it(card: Card) -> None:
    free = card.free_memory()
    with pytest.raises(OutOfMemory, match="--size"):
        card.empty((2 * card.total_memory(),), np.uint8)
    most = card.empty((free - 512 * MIB,), np.uint8)
    assert card.free_memory() < 600 * MIB
    with pytest.raises(OutOfMemory):
        card.empty((free // 2,), np.uint8)
    del most
    half = card.empty((free // 2,), np.uint8)
    half.fill(1)
    assert (got(card, half[-9:]) == 1).all()


# --- products


def placed(card: Card, rows: int, columns: int, dtype: Any, layout: str, seed: int) -> tuple[Any, NDArray[Any], Any]:
    """A matrix there and here, and what there is around it."""
    turned, wider = layout.startswith("turned"), layout.endswith("wider")
    shape = (columns, rows) if turned else (rows, columns)
    whole = normal(shape[0], shape[1] + 37 * wider, seed=seed, dtype=dtype)
    there = sent(card, whole)
    part = np.s_[:, 13 : 13 + shape[1]] if wider else np.s_[:, :]
    return (there[part].T, whole[part].T, there) if turned else (there[part], whole[part], there)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 5, 2), (130, 70, 257), (1000, 300, 40)])
@pytest.mark.parametrize("out_layout", LAYOUTS)
@pytest.mark.parametrize("right_layout", LAYOUTS)
@pytest.mark.parametrize("left_layout", LAYOUTS)
def test_matrices_of_rows_and_their_transposes_are_multiplied(
    card: Card, left_layout: str, right_layout: str, out_layout: str, sizes: tuple[int, int, int], dtype: str
) -> None:
    m, k, n = sizes
    left, here_left, _ = placed(card, m, k, dtype, left_layout, 1)
    right, here_right, _ = placed(card, k, n, dtype, right_layout, 2)
    out, here_out, whole = placed(card, m, n, dtype, out_layout, 3)
    before = got(card, whole)
    card.multiply(left, right, out)
    here_out[...] = here_left.astype(np.float64) @ here_right
    around = here_out if here_out.base is None else here_out.base
    np.testing.assert_allclose(got(card, whole), around.reshape(before.shape), atol=2e-5 * np.sqrt(k))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(1, 1), (5, 3), (3, 5), (70, 257), (8192, 300)])
@pytest.mark.parametrize("out_layout", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_of_a_square_the_lower_triangle_is_written(
    card: Card, layout: str, out_layout: str, sizes: tuple[int, int], dtype: str
) -> None:
    b, w = sizes
    columns, here, _ = placed(card, b, w, dtype, layout, 1)
    out, here_out, whole = placed(card, w, w, dtype, out_layout, 2)
    card.square(columns, out)
    here_out[...] = here.astype(np.float64).T @ here
    here_out[np.triu_indices(w, 1)] = np.nan  # undefined
    around = here_out if here_out.base is None else here_out.base
    found = np.where(np.isnan(around), np.nan, got(card, whole).reshape(around.shape))
    np.testing.assert_allclose(found, around, atol=2e-5 * np.sqrt(b), rtol=1e-5)


def worst(card: Card, k: int, how: Callable[[Any, Any, Any], None]) -> float:
    """The largest error of a product, against the lengths of what is multiplied."""
    left, right = normal(256, k), normal(k, 192, seed=1)
    out = card.empty((256, 192), np.float32)
    how(sent(card, left), sent(card, right), out)
    lengths = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=0)
    return float((np.abs(got(card, out) - left.astype(np.float64) @ right) / lengths).max())


@pytest.mark.parametrize("k", [64, 768, 8192])
def test_no_product_is_by_tensor_cores_unless_it_is_asked_for(card: Card, k: int) -> None:
    def scratch(_: str, shape: tuple[int, ...], dtype: Any) -> Any:
        return card.empty(shape, dtype)

    def by(precision: Any) -> float:
        return worst(card, k, lambda *given: multiply(card, *given, precision, scratch))

    assert by("float32") < 1e-6
    assert by("3xtf32") < 3e-6
    assert by("tf32") > 5e-6


def test_products_are_of_the_same_bits_whoever_asks_and_whatever_is_under_way(card: Card) -> None:
    left, right = sent(card, normal(8192, 2000)), sent(card, normal(8192, 1500, seed=1))

    def product(_: int = 0) -> bytes:
        out = card.empty((2000, 1500), np.float32)
        card.multiply(left.T, right, out)
        return got(card, out).tobytes()

    first = product()
    with ThreadPoolExecutor(4) as threads:
        assert {first} == {*threads.map(product, range(12))}
    rows = card.pinned((8192, 2000), np.float32)
    target = card.empty((8192, 2000), np.float32)
    for _ in range(10):
        card.upload("copy", rows, target)
    assert product() == first
    again = Card()
    out = again.empty((2000, 1500), np.float32)
    again.multiply(left.T, right, out)
    assert got(again, out).tobytes() == first


# --- kernels


def test_no_block_is_no_launch(card: Card) -> None:
    noted = sent(card, np.full(1, -1, np.int64))
    bad = sent(card, np.ones(5, np.int32))
    card.launch("note_first", 0, 256, (bad, np.int64(5), noted))
    assert got(card, noted)[0] == -1
    card.launch("note_first", 1, 256, (bad, np.int64(5), noted))
    assert got(card, noted)[0] == 0


def test_numbers_below_the_normal_ones_are_kept(card: Card) -> None:
    tiny = np.full((1, 3), 1e-44, np.float32)
    out, found = card.zeros((1, 3), np.float32), card.zeros((1,), np.int32)
    numbers = [sent(card, tiny), np.int64(3), card.zeros((3,), np.float32), np.int64(1), out]
    card.launch("standardise_float32_float32", 1, 256, (*numbers, *map(np.int64, (3, 1, 3)), found))
    np.testing.assert_allclose(got(card, out), np.full((1, 3), 3**-0.5), rtol=1e-6)
    assert got(card, found)[0] == 0
