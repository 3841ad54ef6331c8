"""Rows drawn by what landmarks leave of them, and what certificates are worth where few rows hold the error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from oracle import difference, gaussian_kernel

import specscale as ss
from specscale.embeddings.rows import Block
from specscale.features.base import mapped
from specscale.features.kernel import ExactKernel
from specscale.features.landmarks import LandmarkMap
from specscale.kernels.base import load_kernels
from specscale.passes.base import LoadedPass, Pass, at_once
from specscale.passes.remainders import Drawn, Remainders, remainders

pytestmark = pytest.mark.usefixtures("one_blas_thread")

KERNELS = load_kernels("reference")


def line(n: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two embeddings of one dimension, one of them with a few rows far out."""
    generator = np.random.default_rng(seed)
    a = generator.standard_t(2, size=(n, 1))
    return a.astype(np.float32), generator.normal(size=(n, 1)).astype(np.float32)


def maps_of(*arrays: NDArray[Any]) -> tuple[LandmarkMap, ...]:
    rows = np.arange(0, len(arrays[0]), 10)
    return tuple(LandmarkMap.of(ExactKernel(np.zeros(x.shape[1]), False, 0.5), rows, x[rows]) for x in arrays)


def drawn(arrays: tuple[NDArray[Any], ...], draws: int, seed: int, order: str = "in turn") -> Drawn:
    """Run the pass over blocks of 64 rows, whose accumulators are combined in one order or another."""
    work = remainders(Remainders.of(maps_of(*arrays)), draws, seed)
    loaded = work.load(KERNELS)
    room = {name: np.empty(shape, dtype) for name, (shape, dtype) in work.room(KERNELS).items()}
    parts = []
    for low in range(0, len(arrays[0]), 64):
        raw = tuple(x[low : low + 64] for x in arrays)
        block, total = Block(low, low + len(raw[0]), raw, None, low), work.create(KERNELS)
        for task in loaded.prepare(block, room) + loaded.append(total, block, room):
            task()
        loaded.look(total, block, room)()
        parts.append(total)
    while len(parts) > 1:
        if order == "in turn":
            work.combine(parts[0], parts.pop(1))
        else:
            work.combine(parts[-2], parts[-1])
            parts.pop()
    return work.finalize(parts[0])


def left_of(arrays: tuple[NDArray[Any], ...]) -> NDArray[np.float64]:
    source = Remainders.of(maps_of(*arrays))
    return np.stack([source.at(which, x, KERNELS) for which, x in enumerate(arrays)])


def test_no_row_misses_more_than_its_nearest_landmark_leaves() -> None:
    pair = line(300, 0)
    bound = left_of(pair)
    for one, x, most in zip(maps_of(*pair), pair, bound, strict=True):
        phi, _ = mapped(one, KERNELS, x)
        missed = 1 - (phi**2).sum(axis=1)
        assert (missed <= np.sqrt(most) + 1e-5).all()
        assert most[one.rows].max() < 1e-12
        assert most.max() > 0.5


def test_rows_are_drawn_in_proportion_to_what_is_left_of_them() -> None:
    pair = line(300, 0)
    bound = left_of(pair)
    found = drawn(pair, 20_000, seed=3)
    np.testing.assert_allclose(found.totals, bound.sum(axis=1), rtol=1e-10)
    for which in range(2):
        share = np.bincount(found.positions[which], minlength=300) / 20_000
        p = bound[which] / bound[which].sum()
        assert (np.abs(share - p) <= 5 * np.sqrt(p / 20_000) + 3 / 20_000).all()


def test_the_order_in_which_blocks_are_combined_does_not_matter() -> None:
    pair = line(500, 1)
    one, other = drawn(pair, 30, 0), drawn(pair, 30, 0, "from the end")
    np.testing.assert_array_equal(one.positions, other.positions)
    np.testing.assert_allclose(one.totals, other.totals)
    assert (drawn(pair, 30, 1).positions != one.positions).any()


@pytest.mark.slow
def test_rows_of_which_nothing_is_left_are_not_drawn() -> None:
    x = np.repeat(np.arange(30, dtype=np.float32), 10)[:, None]  # a landmark for each
    found = drawn((x, line(300, 0)[1]), 10, 0)
    assert (found.positions[0] == -1).all()
    assert found.totals[0] == 0
    assert (found.positions[1] >= 0).all()
    result = ss.compare(x, x[::-1].copy(), sigma=(0.5, 0.5), size=300, certify=60, n_modes=2)
    assert all(mode.rayleigh is not None for mode in result.modes)


@pytest.mark.slow
def test_estimates_cover_the_truth_where_few_rows_hold_the_error() -> None:
    off, shares = [], []
    for seed in range(8):
        pair = line(700, seed)
        result = ss.compare(*pair, size=100, certify=64, n_modes=4, top=1, seed=seed, threads=1)
        a, b = (one["sigma"] for one in result.summary["bandwidths"].values())
        u = result.scores[:].astype(np.float64)
        acted = difference(gaussian_kernel(pair[0], a), gaussian_kernel(pair[1], b), 1.0) @ u
        rayleigh = np.einsum("ij,ij->j", u, acted)
        true = np.linalg.norm(acted - u * result.eigenvalues, axis=0)
        for mode, right, residual in zip(result.modes, rayleigh, true, strict=True):
            assert mode.rayleigh is not None
            assert mode.rayleigh_se is not None
            assert mode.residual is not None
            noise = 1e-7 * abs(mode.eigenvalue)
            off.append(abs(mode.rayleigh - right) / (mode.rayleigh_se + noise))
            shares.append((mode.residual + noise) / (residual + noise))
    assert np.mean(np.array(off) <= 3) > 0.9
    assert max(off) < 30
    assert np.mean(np.array(shares) >= 0.5) > 0.95
    assert min(shares) > 0.15


@pytest.mark.parametrize(
    "options",
    [{"features": "fourier"}, {"features": "landmarks", "certify": 700}, {"features": "landmarks", "refine": 1}],
)
@pytest.mark.slow
def test_only_drawn_modes_of_landmarks_take_the_pass(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pair, joined = line(600, 0), []
    monkeypatch.setattr("specscale.method.comparison.at_once", lambda *passes: joined.append(1) or at_once(*passes))
    taken = {"size": 40, "n_modes": 2, "certify": 64, **options}
    ss.compare(*pair, **taken)
    assert not joined
    ss.compare(*pair, **{**taken, "features": "landmarks", "certify": 64, "refine": 0})
    assert joined


def test_what_a_pass_alone_has_left_is_taken_up() -> None:
    first = Pass(
        "first", lambda kernels: {}, lambda kernels: {"count": np.zeros(1)},
        lambda kernels: LoadedPass(lambda block, room: [], lambda total, block, room: []),
        lambda one, other: np.add(one["count"], other["count"], out=one["count"]), lambda total: total["count"][0],
    )  # fmt: skip
    both = at_once(first, remainders(Remainders.of(maps_of(*line(300, 0))), 5, 0))
    total, left = both.create(KERNELS), {"count": np.ones(1)}
    both.combine(total, left)
    both.combine(left, total)
    found, drawn = both.finalize(left)
    assert found == 2
    assert (drawn.positions == -1).all()


@pytest.mark.slow
def test_the_draws_are_the_same_on_any_number_of_threads() -> None:
    pair = line(1500, 2)
    one, three = (ss.compare(*pair, size=50, n_modes=3, certify=64, threads=count).summary["modes"] for count in (1, 3))
    assert one == three
