"""Centred and standardised rows, and the warnings that ask for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Pair, command
from numpy.typing import NDArray
from oracle import cosine_kernel, difference, gaussian_kernel

from specscale import compare, compare_many
from specscale.errors import InputError, OptionError
from specscale.features.bandwidth import parse_rule
from specscale.features.survey import survey
from specscale.insight.measures import measures
from specscale.kernels.base import load_kernels
from specscale.method.bandwidths import bandwidth

RULE = parse_rule("auto")


def normal(n: int, p: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, p))


def seen(x: NDArray[Any], kernel: str = "gaussian", unit: bool = False) -> tuple[str, ...]:
    x = x.astype(np.float32)
    return survey(x, "X", gaussian=kernel == "gaussian", rule=RULE, unit=unit, kernels=load_kernels("cpu")).warnings


def standardised(x: NDArray[Any], normalize: str) -> NDArray[np.float64]:
    x = x.astype(np.float64)
    x = x - x.mean(axis=0)
    scale = x.std(axis=0)
    return x if normalize == "centre" else x / np.where(scale > 0, scale, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("normalize", "kernel", "features"),
    [
        ("standardise", "gaussian", "landmarks"),
        ("standardize", "gaussian", "exact"),
        ("standardise", "cosine", "linear"),
        ("centre", "cosine", "linear"),
        ("center", "cosine", "exact"),
        ("centre", "cosine", "landmarks"),
    ],
)
def test_modes_are_those_of_normalised_rows(pair: Pair, normalize: str, kernel: str, features: str) -> None:
    a, b = (x[:300].copy() for x in pair)
    a[:, 3] = 1000 + 20 * a[:, 3]
    a[:, 5] = 7  # constant
    b += 50
    size = 300 if features == "landmarks" else None
    result = compare(a, b, normalize=normalize, kernel=kernel, features=features, size=size, n_modes=2)
    assert result.summary["options"]["normalize"] == {"center": "centre", "standardize": "standardise"}.get(
        normalize, normalize
    )
    rows = [standardised(x, result.summary["options"]["normalize"]) for x in (a, b)]
    if kernel == "cosine":
        kernels = [cosine_kernel(x) for x in rows]
    else:
        sigmas = [one["sigma"] for one in result.summary["bandwidths"].values()]
        kernels = [gaussian_kernel(x, sigma) for x, sigma in zip(rows, sigmas, strict=True)]
    for eta, found in ((1.0, result), (0.5, result.with_eta(0.5))):
        truth = np.linalg.eigvalsh(difference(*kernels, eta))
        np.testing.assert_allclose(found.eigenvalues, [*truth[:-3:-1], *truth[:2]], rtol=2e-3)
    assert len(measures(result, 5)) == 4


def test_rows_of_norm_zero_are_legal_where_the_mean_is_taken_off(pair: Pair) -> None:
    a = pair[0].copy()
    a[7] = 0
    with pytest.raises(InputError, match="zero norm"):
        compare(a, pair[1], kernel="cosine")
    result = compare(a, pair[1], kernel="cosine", normalize="centre", n_modes=1)
    truth = np.linalg.eigvalsh(
        difference(*(cosine_kernel(standardised(x, "centre")) for x in (a, pair[1])), 1.0)  # type: ignore[arg-type]
    )
    np.testing.assert_allclose(result.eigenvalues, truth[[-1, 0]], rtol=2e-3)


def test_a_row_that_is_the_mean_has_no_direction(pair: Pair) -> None:
    with pytest.raises(InputError, match=r"has no direction then: leave it out") as caught:
        compare(np.ones_like(pair[0]), pair[1], kernel="cosine", normalize="centre")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_matrix_and_bandwidths_take_the_same_values(pair: Pair) -> None:
    options: dict[str, Any] = {"normalize": "standardise", "size": 100}
    two = compare(*pair, n_modes=2, certify=0, **options)
    many = compare_many(list(pair), n_modes=2, **options)
    assert many.spec_diff.to_numpy()[0, 1] == pytest.approx(two.spec_diff)
    chosen = bandwidth(pair[0], sigma="auto", normalize="standardise").stores[0]
    assert chosen.auto.sigma == two.summary["bandwidths"]["a"]["sigma"]
    assert chosen.lines[0].spectrum.top == pytest.approx(0.15, rel=1e-3)


def test_what_no_kernel_sees_is_refused(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="does not see where the middle"):
        compare(*pair, normalize="centre")
    with pytest.raises(OptionError, match="none, unit, centre or standardise"):
        compare(*pair, normalize="whiten")


@pytest.mark.slow
def test_the_command_line_takes_both_spellings(pair: Pair, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, x in zip("ab", pair, strict=True):
        np.save(f"{name}.npy", x)
    for spelling in ("standardise", "standardize"):
        arguments = ("--normalize", spelling, "--size", 50, "--quiet", "--overwrite")
        assert command(monkeypatch, "compare", "a.npy", "b.npy", "-o", "o.spec", *arguments) == 0


@pytest.mark.parametrize("p", [32, 128, 768])
def test_a_giant_dimension_is_named_with_its_share(p: int) -> None:
    x = normal(400, p)
    assert seen(x) == ()
    x[:, 17] = 1000 + 20 * x[:, 17]
    (said,) = seen(x)
    share = x[:, 17].var() / x.var(axis=0).sum()
    assert f"dimension 17 (counted from 0) alone has {share:.0%} of the variance" in said
    assert "--normalize standardise" in said
    x[:, 4] = 30 * normal(400, 1, seed=1)[:, 0] - 500
    (said,) = seen(x)
    assert "dimensions 4, 17 (counted from 0) have" in said


def test_no_dimension_is_a_giant_by_one_wild_row_or_by_a_smooth_fall() -> None:
    x = normal(400, 64)
    x[0, 3] = 1e4
    assert seen(x) == ()
    assert seen(normal(400, 64) / np.sqrt(np.arange(1, 65))) == ()  # as principal components fall


@pytest.mark.parametrize("normalize", ["none", "unit"])
@pytest.mark.slow
def test_an_offset_is_silent_and_harmless_under_the_gaussian_kernel(pair: Pair, normalize: str) -> None:
    a, b = (x[:300] for x in pair)
    result = compare(a + np.float32(1000), b, n_modes=2, normalize=normalize)
    moved = (a + np.float32(1000)).astype(np.float64)
    if normalize == "none":
        assert not [one for one in result.summary["warnings"] if one.startswith("A:")]
        sigma, other = (one["sigma"] for one in result.summary["bandwidths"].values())
        truth = np.linalg.eigvalsh(difference(gaussian_kernel(moved, sigma), gaussian_kernel(b, other), 1.0))
        np.testing.assert_allclose(result.eigenvalues, [*truth[:-3:-1], *truth[:2]], rtol=1e-3)
    else:  # directions about one another are the rows about their mean, on another scale
        assert not [one for one in result.summary["warnings"] if "offset" in one]
        assert result.summary["bandwidths"]["a"]["top_eigenvalue"] == pytest.approx(0.15, rel=1e-3)


def test_a_common_offset_under_the_cosine_kernel_asks_to_centre() -> None:
    x = normal(400, 32)
    assert seen(x, "cosine") == seen(x + 0.5, "cosine") == ()
    (said,) = seen(x + 10, "cosine")
    assert "common offset" in said
    assert "mean cosine 0.99" in said
    assert "--normalize centre" in said
    x[:, 17] = 1000 + 20 * x[:, 17]  # centring alone would leave it the giant
    (said,) = seen(x, "cosine")
    assert "dimension 17" in said
    assert "--normalize standardise" in said
