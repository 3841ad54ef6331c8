"""Groups of whole comparisons: what was planted comes out, what is nothing does not, and the numbers are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from oracle import cosine_kernel, gaussian_kernel

import specscale as ss
from bench.group_data import KINDS, Planted, jaccard, matched, noisy, nothing, planted, rotated
from bench.groups import MAPS, described, exact_within, members_of_all
from specscale.method.result import Result

FAST: dict[str, Any] = {"features": "landmarks", "size": 100, "n_modes": 4, "certify": 0, "top": 5}
N = 1500


def compared(pair: Planted, **options: Any) -> Result:
    return ss.compare(pair.a, pair.b, **{**FAST, **options})


def all_pairs(kernel: NDArray[np.float64]) -> float:
    """The mean over pairs of different rows."""
    m = len(kernel)
    return float((kernel.sum() - m) / (m * (m - 1)))


@pytest.fixture(scope="module")
def world() -> Planted:
    return planted(N, 1, (180, 90), (120,))


@pytest.fixture(scope="module")
def result(world: Planted) -> Result:
    return compared(world)


def test_planted_groups_come_out_with_their_size_and_nothing_else_is_certified(world: Planted, result: Result) -> None:
    matches, beside = matched(result.groups, world.truth)
    assert min(one.jaccard for one in matches) >= 0.9
    assert all(abs(one.found / one.size - 1) <= 0.1 for one in matches)
    assert not beside
    assert [one.verdict for one in result.groups if one.certified] == ["group"] * 3


def test_every_number_of_a_group_is_what_it_says(world: Planted, result: Result) -> None:
    """Against dense kernels in float64, for all candidates, noise too."""
    assert len(result.groups) > 3
    raw = world.a, world.b
    kernels = [gaussian_kernel(x, result.summary["bandwidths"][e]["sigma"]) for x, e in zip(raw, "ab", strict=True)]
    for one in result.groups:
        rows, core, sign = one.rows(), np.array(one.core), 1 if one.grouped_by == "A" else -1
        assert (one.size, one.share) == (len(rows), pytest.approx(len(rows) / N))
        similar = []
        for kernel in kernels:
            mean = kernel[:, core].mean(axis=1)
            mean[core] = (len(core) * mean[core] - 1) / (len(core) - 1)
            similar.append(mean)
        likeness = sign * (similar[0] - similar[1])
        assert one.threshold == pytest.approx(one.background + one.level / 2)
        assert one.level == pytest.approx(np.median(likeness[core]) - one.background, abs=1e-5)
        assert one.background == pytest.approx(np.median(likeness), abs=0.02)  # that of half of the rows
        clear = np.abs(likeness - one.threshold) > 1e-5
        np.testing.assert_array_equal(np.isin(np.arange(N), rows)[clear], (likeness >= one.threshold)[clear])
        inside = np.isin(np.arange(N), rows)
        for kernel, mean, said, error, backdrop, curve in (
            (kernels[0], similar[0], one.similarity_a, one.estimate_error, one.background_a, one.auc_a),
            (kernels[1], similar[1], one.similarity_b, one.estimate_error, one.background_b, one.auc_b),
        ):
            dense = all_pairs(kernel[np.ix_(rows, rows)])
            assert abs(said - dense) <= 3 * error + 1e-5
            assert backdrop == pytest.approx(all_pairs(kernel), abs=0.01)
            ordered = (mean[inside][:, None] > mean[~inside]).mean()
            assert curve == pytest.approx(ordered, abs=0.01)
        assert one.contrast == pytest.approx(
            sign * ((one.similarity_a - one.background_a) - (one.similarity_b - one.background_b)), abs=1e-6
        )
        assert one.held_out_size is not None
        assert one.held_out_size < one.size
        assert len(core) <= 50


def test_of_groups_of_few_members_all_pairs_are_measured(result: Result) -> None:
    assert all(one.estimate_error == 0 for one in result.groups if one.size <= 250)


def test_groups_stand_in_their_order(result: Result) -> None:
    order = [(one.grouped_by, ("group", "theme", "noise").index(one.verdict)) for one in result.groups]
    assert order == sorted(order)
    assert [one.group for one in result.groups] == list(range(len(result.groups)))
    strengths: dict[Any, list[float]] = {}
    for key, one in zip(order, result.groups, strict=True):
        strengths.setdefault(key, []).append(one.share * one.contrast)
    assert all(values == sorted(values, reverse=True) for values in strengths.values())


@pytest.mark.slow
def test_the_other_way_round_a_s_groups_are_b_s(world: Planted, result: Result) -> None:
    swapped = ss.compare(world.b, world.a, **FAST)
    for which, other in ("AB", "BA"):
        ours = [one.rows() for one in result.groups if one.certified and one.grouped_by == which]
        theirs = [one.rows() for one in swapped.groups if one.certified and one.grouped_by == other]
        assert len(ours) == len(theirs)
        assert all(max(jaccard(one, two) for two in theirs) > 0.9 for one in ours)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_groups_of_every_kind_come_out(kind: str) -> None:
    pair = KINDS[kind](20_000, 0)
    matches, beside = matched(compared(pair, size=None, n_modes=10).groups, pair.truth)
    # Of few rows, those among all others that lie as near count as well.
    assert all(one.jaccard >= 0.8 for one in matches if one.size >= 100)
    assert not beside


@pytest.mark.slow
@pytest.mark.parametrize("features", MAPS)
def test_every_map_finds_what_was_planted(features: str) -> None:
    pair = planted(2000, 3, (300,), (200,))
    pair = Planted(pair.a + 2, pair.b + 2, pair.truth) if features == "linear" else pair
    matches, beside = matched(compared(pair, **{"size": None, **MAPS[features]}).groups, pair.truth)
    assert min(one.jaccard for one in matches) >= 0.8
    assert not beside


@pytest.mark.slow
@pytest.mark.parametrize("features", ["landmarks", "fourier", "linear"])
def test_an_embedding_and_its_rotation_have_no_groups(features: str) -> None:
    x = planted(1200, 5, (150, 90), ()).a
    options = {**FAST, **MAPS[features], "size": None if features == "linear" else 60, "n_modes": 3}
    found = ss.compare(*rotated(x, np.random.default_rng(0)), **options)
    assert not any(one.certified for one in found.groups)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_an_embedding_twice_with_noise_of_its_own_has_none(noise: float) -> None:
    x = np.asarray(planted(1200, 5, (150, 90), ()).a, dtype=np.float64)
    found = ss.compare(*noisy(x, noise, np.random.default_rng(1)), **{**FAST, "size": 100})
    assert found.groups
    assert not any(one.certified for one in found.groups)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("features", MAPS)
def test_pairs_that_differ_in_noise_alone_have_none(features: str, seed: int) -> None:
    _, pair = nothing(1500, seed)
    options = {**MAPS[features], "certify": 0, "top": 5, "seed": seed}
    assert not [one for one in ss.compare(*pair, **options).groups if one.certified]


@pytest.mark.slow
def test_words_have_the_groups_they_are_known_to_have(wordnet: tuple[Path, ...], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    raw = [np.load(path, mmap_mode="r") for path in wordnet]
    found = ss.compare(*raw, out=tmp_path / "r.spec", normalize="unit", on_bad="drop", certify=0)
    labels = np.array(pq.read_table(wordnet[0].parent / "rows.parquet", columns=["label"])["label"].to_pylist())
    certified = [one for one in found.groups if one.certified]
    assert {one.verdict for one in certified if one.grouped_by == "A"} == {"group"}
    assert {one.verdict for one in certified if one.grouped_by == "B"} == {"theme"}
    about = [described(one, labels) for one in certified]
    assert any(one["label"] == "adj.pert" and one["share of members"] > 0.8 and one["rows"] > 1500 for one in about)
    assert any(one["label"] == "adv.all" and one["share of members"] > 0.5 for one in about)
    for one in certified:
        exact = exact_within(one, raw, found)
        assert max(exact["off A"], exact["off B"]) <= 3


@pytest.mark.slow
def test_groups_of_two_halves_of_the_words_agree(wordnet: tuple[Path, ...]) -> None:
    x, y = (np.load(path, mmap_mode="r")[::3] for path in wordnet)
    usable = np.flatnonzero(np.all([np.abs(one).max(axis=1) > 0 for one in (x, y)], axis=0))
    halves = np.sort(np.random.default_rng(0).permutation(usable)[: len(usable) // 2 * 2].reshape(2, -1), axis=1)
    first, second = (members_of_all(x, y, half, usable, 0) for half in halves)
    agree = [
        max((jaccard(rows, others) for direction, _, others in second if direction == which), default=0.0) >= 0.5
        for which, verdict, rows in first
        if verdict == "group"
    ]
    assert len(agree) >= 5
    assert np.mean(agree) >= 0.8


def test_an_embedding_and_itself_have_no_modes_and_no_groups() -> None:
    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    found = ss.compare(x, x, **{**FAST, "size": 50})
    assert (found.modes, found.groups, found.looked_for_groups) == ([], [], True)


def test_one_mode_is_enough_for_a_group() -> None:
    pair = planted(1200, 2, (200,), ())
    matches, _ = matched(compared(pair, n_modes=1, size=100).groups, pair.truth)
    assert matches[0].jaccard > 0.9


@pytest.mark.slow
def test_fewer_rows_than_a_group_has_give_none(world: Planted) -> None:
    assert compared(world, least_group=N + 1, size=60).groups == []
    assert all(one.size >= 100 for one in compared(world, least_group=100, size=60).groups)


@pytest.mark.parametrize("n", [3, 12, 40, 99])
def test_a_few_rows_may_be_compared(n: int) -> None:
    generator = np.random.default_rng(n)
    x, y = generator.normal(size=(2, n, 3)).astype(np.float32)
    x[: n // 2] = 0.01 * x[: n // 2] + 4
    for one in ss.compare(x, y, **{**FAST, "size": None, "least_group": 2}).groups:
        assert one.size == len(one.rows()) <= n
        assert one.held_out_size is not None
        assert not one.certified or one.held_out_size >= 10


def test_an_embedding_that_is_constant_has_no_groups_and_leaves_the_others() -> None:
    pair = planted(1200, 2, (200,), ())
    constant = Planted(pair.a, np.ones_like(pair.b), pair.truth)
    found = compared(constant, size=100, sigma=("auto", 1.0))
    assert not [one for one in found.groups if one.certified and one.grouped_by == "B"]
    matches, _ = matched(found.groups, pair.truth)
    assert matches[0].jaccard > 0.9


@pytest.mark.slow
def test_rows_that_all_repeat_others_are_groups_of_few_distinct_ones() -> None:
    """Thirty times the same forty rows: copies are alike in both embeddings, so there is no group of them alone."""
    generator = np.random.default_rng(0)
    x, y = (np.tile(generator.normal(size=(40, 6)), (30, 1)).astype(np.float32) for _ in range(2))
    for one in ss.compare(x, y, **{**FAST, "size": 40}).groups:
        assert one.distinct <= 45
        assert one.size == len(one.rows())


@pytest.mark.slow
def test_near_duplicates_are_a_group_that_says_so() -> None:
    pair = planted(1200, 4, (120,), (), spread=1e-4)
    found = [one for one in compared(pair, size=100).groups if one.certified]
    assert len(found) == 1
    assert found[0].size == 120
    assert found[0].distinct < 2


@pytest.mark.slow
@pytest.mark.parametrize("eta", [0.0, 0.5, 2.0, 5.0])
def test_eta_weighs_the_other_embedding(eta: float, world: Planted) -> None:
    found = compared(world, eta=eta, size=100)
    for one in found.groups:
        sign = 1 if one.grouped_by == "A" else -1
        excess = one.similarity_a - one.background_a, one.similarity_b - one.background_b
        assert one.contrast == pytest.approx(sign * (excess[0] - eta * excess[1]), abs=1e-5)
    if eta == 0:
        assert {one.grouped_by for one in found.groups} == {"A"}
    if 0 < eta <= 1:
        matches, _ = matched(found.groups, world.truth)
        assert min(one.jaccard for one in matches) > 0.9


@pytest.mark.slow
def test_rows_left_out_are_of_no_group_and_rows_keep_their_numbers() -> None:
    pair = planted(1200, 2, (200,), ())
    a = pair.a.copy()
    a[::7] = np.nan
    found = compared(Planted(a, pair.b, pair.truth), size=100, on_bad="drop")
    left = np.setdiff1d(pair.truth[0][1], np.arange(0, 1200, 7))
    one = next(one for one in found.groups if one.certified)
    assert jaccard(one.rows(), left) > 0.9
    assert not np.isin(np.arange(0, 1200, 7), one.rows()).any()
    assert not np.isin(np.arange(0, 1200, 7), one.core).any()
    assert one.share == pytest.approx(one.size / found.summary["rows"]["compared"])


@pytest.mark.slow
def test_cosine_kernels_give_groups_of_directions() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 1200, 8))
    x[:200] = generator.normal(size=8) * generator.uniform(3, 9, size=(200, 1)) + 0.3 * generator.normal(size=(200, 8))
    found = ss.compare(x.astype(np.float32), y.astype(np.float32), features="linear", kernel="cosine", certify=0, top=5)
    one = next(one for one in found.groups if one.certified)
    assert jaccard(one.rows(), np.arange(200)) > 0.7
    assert one.estimate_error == 0 or one.size > 256
    assert one.similarity_a == pytest.approx(all_pairs(cosine_kernel(x[one.rows()])), abs=3 * one.estimate_error + 1e-5)


def test_no_round_looks_for_none(world: Planted) -> None:
    found = compared(world, rounds=0, size=60)
    assert (found.groups, found.looked_for_groups) == ([], False)
