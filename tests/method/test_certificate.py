"""Certificates: the rule, its estimators, and what they say of whole comparisons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from oracle import cosine_kernel, gaussian_kernel

import specscale as ss
from specscale.errors import OptionError
from specscale.method.result import Result
from specscale.spectral.certificate import Certificate, certificate

pytestmark = pytest.mark.usefixtures("one_blas_thread")

Array = NDArray[np.float64]
Pair = tuple[NDArray[Any], NDArray[Any]]
MakePair = Callable[..., Pair]

SMALL: dict[str, Any] = {"size": 60, "n_modes": 4, "sigma": (2.0, 2.0), "top": 20, "certify": 1000, "rounds": 0}
FIELDS = ("rayleigh", "rayleigh_se", "residual", "exact_a", "exact_b", "certified")


def compare(a: Any, b: Any, **options: Any) -> Result:
    return ss.compare(a, b, **{**SMALL, **options})


def dense(result: Result, *arrays: NDArray[Any]) -> tuple[Array, Array]:
    """K_A / n and K_B / n in float64, by direct differences of rows."""
    if result.summary["options"]["kernel"] == "cosine":
        return tuple(cosine_kernel(x) / len(x) for x in arrays)  # type: ignore[return-value]
    found = result.summary["bandwidths"]
    return tuple(gaussian_kernel(x, found[which]["sigma"]) / len(x) for which, x in zip("ab", arrays, strict=True))  # type: ignore[return-value]


def check_fields(result: Result, a: NDArray[Any], b: NDArray[Any], scores: NDArray[Any]) -> None:
    """Assert that every field of every mode is that of the dense exact kernels."""
    A, B = dense(result, a, b)
    U, eta = scores.astype(np.float64), result.summary["options"]["eta"]
    L = A - eta * B
    scale = np.abs(result.eigenvalues).max()
    rotated = result.summary["options"]["rotate"] != "none"
    for mode, u in zip(result.modes, U.T, strict=True):
        assert mode.rayleigh == pytest.approx(u @ L @ u, abs=1e-5 * scale)
        assert (mode.exact_a, mode.exact_b) == pytest.approx((u @ A @ u, u @ B @ u), abs=1e-5 * max(1, scale))
        assert mode.rayleigh_se == 0
        if not rotated:
            assert mode.residual == pytest.approx(np.linalg.norm(L @ u - mode.eigenvalue * u), abs=1e-5 * scale)
        assert mode.residual is not None
        assert mode.rayleigh is not None
        size = abs(mode.eigenvalue)
        real = mode.eigenvalue * mode.rayleigh > 0 and abs(mode.rayleigh) >= size / 2 and mode.residual <= size / 2
        assert mode.certified == (real and size >= 3 * mode.se and size > 1e-5)


# --- with all rows, the estimates are the truth


@pytest.mark.parametrize(
    ("features", "eta"),
    [("landmarks", 0.0), ("landmarks", 0.25), ("fourier", 1.0), ("orthogonal", 4.0), ("exact", 0.4)],
)
@pytest.mark.slow
def test_with_all_rows_the_estimates_are_the_dense_truth(pair: Pair, features: str, eta: float) -> None:
    options = {"features": features, "size": None if features == "exact" else 60}
    result = compare(*pair, eta=eta, **options)
    check_fields(result, *pair, result.scores[:])


@pytest.mark.parametrize("options", [{}, {"refine": 1, "features": "landmarks", "size": 8}, {"features": "exact"}])
@pytest.mark.slow
def test_the_cosine_kernel_is_certified_too(pair: Pair, options: dict[str, Any]) -> None:
    result = compare(*pair, kernel="cosine", **{"size": None, **options})
    check_fields(result, *pair, result.scores[:])
    assert all(mode.certified for mode in result.modes if abs(mode.eigenvalue) > 0.01)


@pytest.mark.slow
def test_rows_left_out_do_not_enter_the_certificate(pair: Pair) -> None:
    a, b = (x.copy() for x in pair)
    a[::5], b[3::7] = np.nan, np.inf
    result = compare(a, b, on_bad="drop")
    kept = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    check_fields(result, a[kept], b[kept], result.scores[:][kept])
    # As many rows as take part are all of them; with one less some are drawn.
    count = int(kept.sum())
    assert all(mode.rayleigh_se == 0 for mode in compare(a, b, on_bad="drop", certify=count).modes)
    drawn = compare(a, b, on_bad="drop", certify=count - 1)
    assert all(mode.rayleigh_se is not None and mode.rayleigh_se > 0 for mode in drawn.modes)
    rayleigh = np.array([mode.rayleigh for mode in result.modes])
    np.testing.assert_allclose([mode.rayleigh for mode in drawn.modes], rayleigh, atol=0.02 * np.abs(rayleigh).max())


@pytest.mark.slow
def test_rotated_modes_are_judged_by_what_leaves_their_span(pair: Pair) -> None:
    plain, rotated = compare(*pair), compare(*pair, rotate="varimax")
    check_fields(rotated, *pair, rotated.scores[:])
    # An orthogonal rotation keeps the sum over the modes of what Λ leads out of their span.
    sums = [sum(mode.residual**2 for mode in one.modes if mode.residual) for one in (plain, rotated)]
    assert sums[1] == pytest.approx(sums[0], rel=1e-3)
    assert rotated.modes[0].eigenvalue != pytest.approx(plain.modes[0].eigenvalue, rel=1e-3)


# --- the estimators over many draws


@pytest.fixture(scope="module")
def problem() -> dict[str, Any]:
    """A dense problem with approximate modes: those of kernels of a third of its columns' Nyström approximation."""
    from conftest import structured

    a, b = structured(500)
    A, B = (gaussian_kernel(x, 2.0) / 500 for x in (a, b))
    rows = np.arange(0, 500, 12)
    near = [one[:, rows] @ np.linalg.pinv(one[np.ix_(rows, rows)]) @ one[rows] for one in (A, B)]
    values, vectors = np.linalg.eigh(near[0] - near[1])
    chosen = np.r_[499:495:-1, 0:4]
    return {"A": A, "B": B, "values": values[chosen], "U": vectors[:, chosen]}


def estimates(problem: dict[str, Any], seed: int, draws: int = 64) -> Certificate:
    U = problem["U"]
    p = 1 / len(U) + (U**2).mean(axis=1)
    p /= p.sum()
    rows, counts = np.unique(np.random.default_rng(seed).choice(len(U), draws, p=p), return_counts=True)
    products = np.stack([problem["A"][rows] @ U, problem["B"][rows] @ U])
    action = np.diag(problem["values"])
    se = np.zeros(len(problem["values"]))
    return certificate(problem["values"], se, 1.0, action, U[rows], products, p[rows], counts.astype(float))


def test_estimates_of_many_draws_are_right_in_the_mean_and_in_their_spread(problem: dict[str, Any]) -> None:
    U, L = problem["U"], problem["A"] - problem["B"]
    found = [estimates(problem, seed) for seed in range(600)]
    rayleigh = np.array([one.rayleigh for one in found])
    truth = np.einsum("ij,ij->j", U, L @ U)
    # The bias of a ratio is of second order, and that of a mean of 600 is lost in its own standard error.
    spread = rayleigh.std(axis=0)
    assert (np.abs(rayleigh.mean(axis=0) - truth) < 0.3 * spread).all()
    reported = np.sqrt((np.array([one.rayleigh_se for one in found]) ** 2).mean(axis=0))
    np.testing.assert_allclose(reported, spread, rtol=0.3)
    covered = np.abs(rayleigh - truth) <= 3 * np.array([one.rayleigh_se for one in found])
    assert covered.mean() > 0.95
    for name, matrix in (("a", problem["A"]), ("b", problem["B"])):
        values = np.array([getattr(one, name) for one in found])
        exact = np.einsum("ij,ij->j", U, matrix @ U)
        assert (np.abs(values.mean(axis=0) - exact) < 0.3 * values.std(axis=0)).all()
    squares = np.array([one.residual**2 for one in found]).mean(axis=0)
    true_residual = np.linalg.norm(L @ U - U * problem["values"], axis=0)
    np.testing.assert_allclose(np.sqrt(squares), true_residual, rtol=0.05)
    np.testing.assert_allclose(np.array([one.residual for one in found]).mean(axis=0), true_residual, rtol=0.1)


def test_more_draws_mean_smaller_errors(problem: dict[str, Any]) -> None:
    few, many = (
        np.mean([estimates(problem, seed, draws).rayleigh_se for seed in range(50)], axis=0) for draws in (50, 800)
    )
    np.testing.assert_allclose(few / many, 4, rtol=0.3)


def test_a_row_drawn_twice_is_two_draws(problem: dict[str, Any]) -> None:
    U, rows = problem["U"], np.array([3, 30, 200, 333])
    products = np.stack([problem["A"], problem["B"]]) @ U
    p = np.full(len(U), 1 / len(U))
    fixed = problem["values"], np.zeros(8), 1.0, np.diag(problem["values"])
    twice = certificate(*fixed, U[rows], products[:, rows], p[rows], np.array([2.0, 1, 1, 3]))
    listed = np.repeat(rows, [2, 1, 1, 3])
    plain = certificate(*fixed, U[listed], products[:, listed], p[listed], np.ones(7))
    for name in ("rayleigh", "rayleigh_se", "residual", "a", "b"):
        np.testing.assert_allclose(getattr(twice, name), getattr(plain, name), rtol=1e-12)


@pytest.mark.parametrize("certify", [64, 256])
@pytest.mark.slow
def test_the_estimates_of_a_comparison_scatter_as_they_say(make_pair: MakePair, certify: int) -> None:
    pair = make_pair(1800, seed=3)
    result = compare(*pair, certify=certify)
    A, B = dense(result, *pair)
    U = result.scores[:].astype(np.float64)
    L = A - B
    for mode, u in zip(result.modes, U.T, strict=True):
        assert mode.rayleigh is not None
        assert mode.rayleigh_se is not None
        assert mode.residual is not None
        assert abs(mode.rayleigh - u @ L @ u) < 5 * mode.rayleigh_se
        assert 0 < mode.rayleigh_se < 0.5 * abs(mode.eigenvalue)
        true_residual = np.linalg.norm(L @ u - mode.eigenvalue * u)
        assert mode.residual == pytest.approx(true_residual, rel=0.6 if certify == 64 else 0.35)


# --- the rule on numbers made by hand


def judged(**changed: float) -> Certificate:
    """One mode of two rows, which passes every condition unless it is changed.

    Both rows hold u = 1/√2 and are all rows of which two draws are made, so that every number follows by hand.
    """
    given = {"value": 0.1, "se": 0.0, "rayleigh": 0.1, "apart": 0.0, **changed}
    u = np.full((2, 1), np.sqrt(0.5))
    acted = given["rayleigh"] * u + given["apart"] * np.array([[1.0], [-1.0]]) * np.sqrt(0.5)
    p = None if not given.get("drawn") else np.full(2, 0.5)
    products = np.stack([acted, np.zeros_like(acted)])
    value = np.array([given["value"]])
    return certificate(value, np.array([given["se"]]), 1.0, np.diag(value), u, products, p, np.ones(2))


def test_a_mode_that_passes_every_condition_is_certified() -> None:
    for sign in (1, -1):
        found = judged(value=sign * 0.1, rayleigh=sign * 0.1)
        assert found.certified.tolist() == [True]
        assert (found.rayleigh[0], found.residual[0], found.rayleigh_se[0]) == pytest.approx((sign * 0.1, 0, 0))


@pytest.mark.parametrize(
    ("passes", "fails"),
    [
        # residual ≤ |λ| / 2: of a Rayleigh quotient that is right, by what is orthogonal
        ({"apart": 0.0499}, {"apart": 0.0501}),
        # |ρ| ≥ |λ| / 2, at which the residual is |λ| / 2 as well
        ({"rayleigh": 0.0501}, {"rayleigh": 0.0499}),
        ({"rayleigh": 0.1499}, {"rayleigh": 0.1501}),
        # λρ > 0
        ({}, {"rayleigh": -0.1}),
        # |λ| ≥ 3 se(λ)
        ({"se": 0.0333}, {"se": 0.0334}),
        # |λ| > 1e-5
        ({"value": 1.01e-5, "rayleigh": 1.01e-5}, {"value": 0.99e-5, "rayleigh": 0.99e-5}),
    ],
)
def test_each_condition_alone_refuses_a_mode(passes: dict[str, float], fails: dict[str, float]) -> None:
    assert judged(**passes).certified.tolist() == [True]
    assert judged(**fails).certified.tolist() == [False]


def test_a_rayleigh_quotient_that_is_not_sure_refuses_a_mode() -> None:
    # Two draws of probability ½ with shares ±x in the numerator: se = √2 x / 2 · √2 … checked against its formula.
    for apart in (0.01, 0.02, 0.04):
        found = judged(drawn=1, apart=apart)
        u = np.sqrt(0.5)
        expected = np.sqrt(2 * (u * apart * u / 0.5) ** 2 / (2 * 1))
        assert found.rayleigh_se[0] == pytest.approx(expected)
        assert found.residual[0] == pytest.approx(apart)
        assert found.certified[0] == (0.1 - 3 * expected >= 0.05)
    assert judged(drawn=1, apart=0.01).certified[0]
    assert not judged(drawn=1, apart=0.02).certified[0]  # though its residual is but a fifth


def test_each_mode_has_an_eta_of_its_own_where_they_differ() -> None:
    u = np.eye(3)[:, :2]
    products = np.stack([np.diag([0.5, 0.4, 0.0])[:, :2], np.diag([0.1, 0.2, 0.0])[:, :2]])
    etas = np.array([1.0, 2.0])
    values = np.array([0.4, 1e-9])
    found = certificate(values, np.zeros(2), etas, np.diag(values), u, products, None, np.ones(3))
    np.testing.assert_allclose(found.rayleigh, [0.4, 0.0], atol=1e-15)
    np.testing.assert_allclose([found.a, found.b], [[0.5, 0.4], [0.1, 0.2]])
    assert found.certified.tolist() == [True, False]


def test_a_mode_of_which_no_row_was_drawn_is_not_certified() -> None:
    u = np.array([[0.0, 1.0], [0.0, 0.5]])
    with np.errstate(all="raise"):
        values = np.array([0.1, 0.1])
        found = certificate(
            values, np.zeros(2), 1.0, np.diag(values), u, np.stack([0.1 * u, 0 * u]), np.full(2, 0.1), np.ones(2)
        )
    assert found.certified.tolist() == [False, True]
    assert all(np.isfinite(getattr(found, name)).all() for name in ("rayleigh", "rayleigh_se", "residual", "a", "b"))


# --- whole comparisons


def rotated_copy(x: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(x.shape[1],) * 2))[0]
    return (x @ turn).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(("features", "size"), [("landmarks", 100), ("fourier", 200), ("orthogonal", 200)])
def test_an_embedding_against_its_own_rotation_has_no_certified_mode(
    make_pair: MakePair, features: str, size: int
) -> None:
    largest = 0.0
    for seed in range(3):
        x = make_pair(1500, seed=seed)[0]
        options: dict[str, Any] = {"features": features, "size": size, "sigma": (0.9, 0.9), "certify": 256}
        result = compare(x, rotated_copy(x, seed), seed=seed, n_modes=10, **options)
        largest = max(largest, result.spec_diff)
        assert not any(mode.certified for mode in result.modes), seed
    assert features == "landmarks" or largest > 1e-3  # there was something to refuse


@pytest.mark.slow
def test_no_mode_of_a_rotation_is_left_when_the_kernels_are_exact(make_pair: MakePair) -> None:
    x = make_pair(600)[0]
    for options in ({"features": "exact", "size": None}, {"features": "fourier", "size": 100, "refine": 3}):
        result = compare(x, rotated_copy(x, 0), sigma=("auto", "auto"), **options)
        assert not any(mode.certified for mode in result.modes)


def moved_group(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], int]:
    """An embedding of eight groups and noise, the same with one group moved onto another, which rows, and how many."""
    generator = np.random.default_rng(seed)
    group = generator.choice(9, size=1500, p=[0.08] * 8 + [0.36])
    centres = 6 * generator.normal(size=(9, 10)) * (np.arange(9) < 8)[:, None]
    x = centres[group] + generator.normal(size=(1500, 10)) * np.where(group < 8, 0.5, 2.0)[:, None]
    y = x + (centres[1] - centres[0]) * (group == 0)[:, None]
    return x.astype(np.float32), y.astype(np.float32), (group == 0) | (group == 1), int((group == 0).sum())


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"features": "landmarks", "size": 300},
        {"features": "orthogonal", "size": 200, "refine": 1},
        {"features": "exact", "size": None},
    ],
    ids=["landmarks", "refined", "exact"],
)
def test_certified_modes_are_those_of_the_group_that_moved(options: dict[str, Any]) -> None:
    for seed in range(2):
        x, y, concerned, count = moved_group(seed)
        assert 60 < count < 200
        result = compare(x, y, seed=seed, n_modes=10, **{**options, "certify": 256})
        mass = (result.scores[:].astype(np.float64)[concerned] ** 2).sum(axis=0)
        verdicts = np.array([mode.certified for mode in result.modes])
        assert verdicts.any()
        assert (mass[verdicts] >= 0.9).all(), (seed, mass[verdicts])
        assert abs(result.eigenvalues[verdicts]).max() > 0.01


@pytest.mark.slow
def test_certified_modes_stay_certified_with_another_draw(pair: Pair) -> None:
    every = [mode.certified for mode in compare(*pair, n_modes=2).modes]
    assert every == [True] * 4
    for seed in range(3):
        assert [mode.certified for mode in compare(*pair, n_modes=2, certify=100, seed=seed).modes] == every


# --- options, bits, events


@pytest.mark.slow
def test_without_a_certificate_nothing_is_said(pair: Pair) -> None:
    for options in ({}, {"features": "exact", "size": None}, {"rotate": "varimax"}):
        result = compare(*pair, certify=0, **options)
        assert len(result.modes) == 8
        for mode in result.modes:
            assert [getattr(mode, name) for name in FIELDS] == [None] * 6
        assert "certificate" not in result.summary["measured"]["seconds"]
        assert "certificate" not in [step["name"] for step in result.summary["plan"]["steps"]]
        assert result.to_pandas()["certified"].isna().all()


def test_one_row_is_refused(pair: Pair) -> None:
    for certify, word in ((1, "standard error"), (-1, "zero or positive"), ("many", "whole number")):
        with pytest.raises(OptionError, match=word) as caught:
            compare(*pair, certify=certify)
        assert "\n" not in str(caught.value)
    assert all(mode.certified is not None for mode in compare(*pair, certify=2).modes)


def test_the_certificate_changes_nothing_else(pair: Pair) -> None:
    with_one, without = compare(*pair, certify=50), compare(*pair, certify=0)
    np.testing.assert_array_equal(with_one.eigenvalues, without.eigenvalues)
    np.testing.assert_array_equal(with_one.scores[:], without.scores[:])


@pytest.mark.parametrize("certify", [300, 5000])
@pytest.mark.parametrize("kernel", ["gaussian", "cosine"])
@pytest.mark.slow
def test_the_number_of_threads_does_not_change_a_bit(make_pair: MakePair, kernel: str, certify: int) -> None:
    pair = make_pair(1300, 40, 30)
    options: dict[str, Any] = {"kernel": kernel, "size": 60 if kernel == "gaussian" else None, "certify": certify}
    one, three = (compare(*pair, threads=threads, **options).summary["modes"] for threads in (1, 3))
    assert one == three
    assert all(mode["residual"] > 0 for mode in one)


@pytest.mark.slow
def test_another_weight_is_certified_as_a_fresh_comparison(pair: Pair) -> None:
    fresh, turned = compare(*pair, certify=100, eta=3.0), compare(*pair, certify=100).with_eta(3.0)
    assert turned.summary["modes"] == fresh.summary["modes"]
