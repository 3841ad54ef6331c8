"""Frequencies, feature maps and bandwidths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import cosine_kernel, gaussian_kernel, mapped

from specscale.errors import OptionError
from specscale.features import base
from specscale.features.bandwidth import choose_bandwidth, parse_rule
from specscale.features.fourier import FourierMap
from specscale.features.frequencies import BLOCK, gaussian_frequencies, orthogonal_frequencies
from specscale.features.linear import LinearMap
from specscale.features.registry import chosen_maps, legal_maps
from specscale.features.survey import survey
from specscale.kernels.base import load_kernels

DRAWS = {"gaussian": gaussian_frequencies, "orthogonal": orthogonal_frequencies}
Draw = Callable[[int, int, int], NDArray[np.float64]]


@pytest.fixture(params=sorted(DRAWS))
def draw(request: pytest.FixtureRequest) -> Draw:
    return DRAWS[request.param]


def fourier(p: int, m: int, sigma: float, seed: int = 0, orthogonal: bool = False, **changed: Any) -> FourierMap:
    return FourierMap(p, m, sigma, seed, orthogonal, changed.get("centre", np.zeros(p)), changed.get("unit", False))


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# --- frequencies


@given(p=st.integers(1, 12), m=st.integers(1, 3 * BLOCK), seed=st.integers(0, 2**63))
def test_frequencies_are_the_same_every_time(p: int, m: int, seed: int) -> None:
    for each in DRAWS.values():
        np.testing.assert_array_equal(each(p, m, seed), each(p, m, seed))


@given(p=st.integers(1, 40), m=st.integers(1, 300), more=st.integers(0, 300), seed=st.integers(0, 5))
def test_fewer_frequencies_are_the_first_of_more(p: int, m: int, more: int, seed: int) -> None:
    for each in DRAWS.values():
        # The Householder vectors of a block cut short are those of the whole block, up to rounding.
        np.testing.assert_allclose(each(p, m, seed), each(p, m + more, seed)[:, :m], rtol=1e-9, atol=1e-9)


def test_blocks_and_seeds_give_different_frequencies(draw: Draw) -> None:
    w = draw(BLOCK, 2 * BLOCK, 0)
    assert not np.isclose(w[:, :BLOCK], w[:, BLOCK:]).any(axis=0).all()
    assert np.abs(np.corrcoef(w[:, :BLOCK].ravel(), w[:, BLOCK:].ravel())[0, 1]) < 0.02
    assert np.abs(np.corrcoef(w.ravel(), draw(BLOCK, 2 * BLOCK, 1).ravel())[0, 1]) < 0.02


def test_single_frequencies_are_standard_normal(draw: Draw) -> None:
    # One coordinate of one column from many seeds: coordinates of one orthogonal block are not independent.
    values = [draw(6, 9, seed)[2, column] for seed in range(300) for column in (0, 7)]
    assert scipy.stats.kstest(values, "norm").pvalue > 1e-3


def test_lengths_are_chi_distributed(draw: Draw) -> None:
    p = 20
    lengths = np.linalg.norm(draw(p, 3000, 0), axis=0)
    assert scipy.stats.kstest(lengths, scipy.stats.chi(p).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("p", "m"), [(1, 5), (2, 7), (30, 30), (30, 100), (50, 20)])
def test_orthogonal_blocks_are_orthogonal(p: int, m: int) -> None:
    w = orthogonal_frequencies(p, m, 3)
    for start in range(0, m, p):
        block = w[:, start : start + p]
        gram = block.T @ block
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-10 * p)


# --- maps


@pytest.mark.parametrize("orthogonal", [False, True])
def test_the_error_of_a_fourier_map_falls_with_the_root_of_its_size(orthogonal: bool) -> None:
    x, sigma = normal(60, 10), 4.0
    exact = gaussian_kernel(x, sigma)

    def error(m: int) -> float:
        maps = [fourier(10, m, sigma, seed, orthogonal) for seed in range(8)]
        return float(np.sqrt(np.mean([(phi @ phi.T - exact) ** 2 for phi in (mapped(one, x) for one in maps)])))

    small, large = error(100), error(1600)
    assert small < 0.1
    assert 2.5 < small / large < 6.5  # 4, for 16 times the frequencies


def test_orthogonal_frequencies_are_better_than_independent_ones_on_average() -> None:
    x, sigma = normal(60, 32), 8.0
    exact = gaussian_kernel(x, sigma)

    def error(orthogonal: bool) -> float:
        maps = [fourier(32, 96, sigma, seed, orthogonal) for seed in range(12)]
        return float(np.mean([(phi @ phi.T - exact) ** 2 for phi in (mapped(one, x) for one in maps)]))

    assert error(True) < 0.5 * error(False)


def test_the_gaussian_kernel_does_not_see_the_centre() -> None:
    x, centre = normal(30, 6), np.full(6, 5.0)
    plain, moved = mapped(fourier(6, 50, 2.0), x), mapped(fourier(6, 50, 2.0, centre=centre), x)
    np.testing.assert_allclose(plain @ plain.T, moved @ moved.T, atol=1e-10)
    assert not np.allclose(plain, moved)


def test_data_far_from_the_origin_keep_their_digits_in_single_precision() -> None:
    x = normal(40, 16) + np.float32(100)
    one = fourier(16, 4000, 4.0, centre=x.mean(axis=0, dtype=np.float64))
    phi, bad = base.mapped(one, load_kernels("cpu"), x)
    assert bad == -1
    np.testing.assert_allclose(phi @ phi.T, mapped(one, x) @ mapped(one, x).T, atol=2e-6)


def test_a_unit_map_sees_directions_alone() -> None:
    x = normal(20, 5)
    one = fourier(5, 30, 0.5, unit=True)
    scaled = x * np.exp(normal(20, 1, seed=1))
    np.testing.assert_allclose(mapped(one, scaled.astype(np.float32)), mapped(one, x), atol=1e-5)


def test_equal_maps_of_two_embeddings_cancel() -> None:
    x = normal(25, 4)
    np.testing.assert_array_equal(mapped(fourier(4, 20, 1.5), x), mapped(fourier(4, 20, 1.5), x))


def test_the_linear_map_is_the_exact_cosine_kernel() -> None:
    x = normal(30, 7)
    phi = mapped(LinearMap(7), x)
    np.testing.assert_allclose(phi @ phi.T, cosine_kernel(x), atol=1e-12)


def test_a_map_names_the_first_bad_row() -> None:
    x = normal(9, 4)
    x[5] = 0
    assert base.mapped(LinearMap(4), load_kernels("reference"), x)[1] == 5


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan, np.inf])
def test_a_bandwidth_that_is_not_positive_is_refused(sigma: float) -> None:
    with pytest.raises(OptionError, match="σ"):
        fourier(3, 4, sigma)


def test_which_maps_go_with_which_kernel() -> None:
    assert legal_maps("gaussian", "auto") in ("orthogonal", "fourier", "landmarks")
    assert legal_maps("cosine", "auto") == "linear"
    assert legal_maps("gaussian", "fourier") == "fourier"
    for kernel, features in (("gaussian", "linear"), ("cosine", "fourier"), ("polynomial", "auto"), ("cosine", "x")):
        with pytest.raises(OptionError):
            legal_maps(kernel, features)


@pytest.mark.parametrize("features", ["linear", "fourier"])
def test_the_dimension_of_a_map(features: str) -> None:
    one = LinearMap(5) if features == "linear" else fourier(5, 7, 1.0)
    assert (5 if features == "linear" else 2 * 7) == one.dim == one.parameters()["dimension"]


# --- bandwidths


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("auto", "top", 0.15),
        ("median", "median", 1.0),
        ("0.5*median", "median", 0.5),
        (" 2 *median", "median", 2.0),
        ("top=0.14", "top", 0.14),
        ("3.5", "number", 3.5),
        (2, "number", 2.0),
        ("1e-3", "number", 1e-3),
    ],
)
def test_rules(text: str | float, kind: str, value: float) -> None:
    rule = parse_rule(text)
    assert (rule.kind, rule.value) == (kind, value)
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mean",
        "median*2",
        "*median",
        "x*median",
        "top",
        "top=",
        "top=x",
        "top=0",
        "top=1",
        "top=-0.1",
        "0",
        "-1",
        "nan",
        "inf",
        "-2*median",
        "0*median",
        "nan*median",
        "top=nan",
        "1,5",
        "auto auto",
        0,
        -1.0,
        float("nan"),
        float("inf"),
    ],
)
def test_bad_rules_are_refused_in_the_name_of_their_option(text: str | float) -> None:
    with pytest.raises(OptionError, match="--sigma-b") as caught:
        parse_rule(text, "--sigma-b")
    assert "\n" not in str(caught.value)


def top_of(x: NDArray[np.float32], sigma: float) -> float:
    return float(np.linalg.eigvalsh(gaussian_kernel(x, sigma))[-1] / len(x))


@pytest.mark.parametrize("target", [0.02, 0.15, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("kind", ["round", "clusters", "flat", "outlier"])
@pytest.mark.slow
def test_the_top_eigenvalue_that_is_asked_for_is_reached(target: float, scale: float, kind: str) -> None:
    x = normal(300, 8)
    if kind == "clusters":
        x += 30 * normal(100, 8, seed=1)[np.arange(300) % 100]
    elif kind == "flat":
        x[:, 1:] *= np.float32(1e-3)
    elif kind == "outlier":
        x[0] = 100
    x *= np.float32(scale)
    chosen = choose_bandwidth(parse_rule(f"top={target}"), x, "X")
    assert chosen.warning is None
    assert chosen.top_eigenvalue == pytest.approx(target, rel=1e-4)
    assert top_of(x, chosen.sigma) == pytest.approx(target, rel=1e-4)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_median_distance(factor: float) -> None:
    x = normal(201, 5) + np.float32(3)
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)[np.triu_indices(201, 1)]
    chosen = choose_bandwidth(parse_rule(f"{factor}*median"), x, "X")
    assert chosen.sigma == pytest.approx(factor * np.median(distances), rel=1e-4)
    assert chosen.top_eigenvalue == pytest.approx(top_of(x, chosen.sigma), rel=1e-3)


def test_a_number_needs_no_sample() -> None:
    chosen = choose_bandwidth(parse_rule(2.5), None, "X")
    assert (chosen.sigma, chosen.warning) == (2.5, None)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_many_duplicates_mean_the_median_and_a_warning_with_their_share(share: float, seed: int) -> None:
    x = normal(400, 300 + seed, seed=seed)
    copies = int(share * 400)
    x[:copies] = x[0]
    chosen = choose_bandwidth(parse_rule("auto"), x, "minilm")
    assert chosen.warning is not None
    assert "minilm" in chosen.warning
    assert f"{(copies - 1) / 400:.0%}" in chosen.warning
    # Never the rounding noise between equal rows: most of those apart are √(2p) apart.
    assert chosen.sigma == pytest.approx(np.sqrt(2 * x.shape[1]), rel=0.2)


def test_few_duplicates_do_no_harm() -> None:
    x = normal(400, 20)
    x[:20] = x[0]
    chosen = choose_bandwidth(parse_rule("auto"), x, "X")
    assert chosen.warning is None
    assert top_of(x, chosen.sigma) == pytest.approx(0.15, rel=3e-3)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_tiny_samples_get_a_bandwidth(n: int) -> None:
    x = normal(n, 3)
    chosen = choose_bandwidth(parse_rule("top=0.9"), x, "X")
    assert top_of(x, chosen.sigma) == pytest.approx(0.9, rel=3e-3)
    median = choose_bandwidth(parse_rule("median"), x, "X").sigma
    pairs = np.linalg.norm(x[:, None] - x[None], axis=2)[np.triu_indices(n, 1)]
    assert median == pytest.approx(np.median(pairs), rel=1e-4)


def test_too_few_rows_for_the_top_eigenvalue_mean_the_median_and_a_warning() -> None:
    chosen = choose_bandwidth(parse_rule("auto"), normal(3, 3), "X")  # 1/3 is the least there is
    assert chosen.warning is not None
    assert np.isfinite(chosen.sigma)


@pytest.mark.parametrize("rule", ["auto", "median", "0.5*median", "top=0.5"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e-8, 12345.678])
def test_a_constant_embedding_gets_some_bandwidth_and_a_warning(rule: str, value: float) -> None:
    x = np.full((50, 7), value, dtype=np.float32) * np.linspace(0.3, 1, 7, dtype=np.float32)
    for offset in (np.float32(0), x.mean(axis=0), x[0] - np.float32(1e-8)):
        chosen = choose_bandwidth(parse_rule(rule), x - offset, "X")
        assert chosen.sigma == 1
        assert chosen.warning is not None
        assert "equal" in chosen.warning


# --- choosing


def test_a_survey_finds_centre_and_bandwidth() -> None:
    x = normal(300, 6) + np.float32(50)
    found = survey(x, "X", gaussian=True, rule=parse_rule("auto"), unit=False, kernels=load_kernels("cpu"))
    np.testing.assert_array_equal(found.kernel.centre, np.median(x, axis=0))
    assert found.bandwidth is not None
    assert top_of(x - x.mean(axis=0), found.bandwidth.sigma) == pytest.approx(0.15, rel=3e-3)
    assert found.warnings == ()


def test_norms_that_vary_widely_draw_a_warning_unless_rows_are_normalised() -> None:
    x = normal(300, 6) * np.exp(2 * normal(300, 1, seed=1))
    for unit in (False, True):
        found = survey(x, "X", gaussian=True, rule=parse_rule(1), unit=unit, kernels=load_kernels("cpu"))
        assert any("--normalize unit" in warning for warning in found.warnings) is not unit


def test_maps_are_chosen_by_name() -> None:
    kernels = load_kernels("cpu")
    found = survey(normal(50, 4), "X", gaussian=True, rule=parse_rule(1), unit=True, kernels=kernels)
    for features in ("fourier", "orthogonal"):
        (one,) = chosen_maps([found.kernel], features=features, size=9, seed=3)
        assert isinstance(one, FourierMap)
        assert (one.m, one.seed, one.orthogonal, one.unit) == (9, 3, features == "orthogonal", True)
    found = survey(normal(50, 4), "X", gaussian=False, rule=parse_rule(1), unit=False, kernels=kernels)
    assert isinstance(chosen_maps([found.kernel], features="linear", size=0, seed=0)[0], LinearMap)
