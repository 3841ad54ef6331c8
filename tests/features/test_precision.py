"""Kernels that float32 cannot hold, against all rows' kernels in float64."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import difference, gaussian_kernel

from specscale import compare
from specscale.errors import PrecisionError
from specscale.features import base
from specscale.features.bandwidth import choose_bandwidth, parse_rule
from specscale.features.kernel import ExactKernel
from specscale.features.landmarks import LandmarkMap
from specscale.features.pivoting import pivoted_rows
from specscale.features.precision import precision
from specscale.features.registry import chosen_maps, restored_map
from specscale.kernels.base import load_kernels
from specscale.method.result import Result
from specscale.runtime.events import Event, Warned
from specscale.spectral import difference as module
from specscale.spectral.difference import check_possible

Array = NDArray[np.float64]

N = 300


def grouped(p: int, groups: int, seed: int, n: int = N) -> Array:
    """Rows in groups of equal sizes, 1.5 apart in each dimension, of spread 1."""
    generator = np.random.default_rng(seed)
    label = np.arange(n) % groups
    return 1.5 * generator.normal(size=(groups, p))[label] + generator.normal(size=(n, p))


def warned(a: NDArray[Any], b: NDArray[Any], **options: Any) -> tuple[Result, list[str]]:
    said: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Warned):
            said.append(event.message)

    return compare(a, b, n_modes=3, top=5, threads=1, progress=listen, **options), said


def check_against_all_rows(result: Result, a: NDArray[Any], b: NDArray[Any], unit: bool = False) -> None:
    """Assert that SPEC-diff is possible, and that every certified mode is right."""
    sigmas = [one["sigma"] for one in result.summary["bandwidths"].values()]
    eta = result.summary["options"]["eta"]
    rows = [x.astype(np.float64) for x in (a, b)]
    if unit:
        rows = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in rows]
    truth = np.linalg.eigvalsh(difference(*map(gaussian_kernel, rows, sigmas), eta))
    assert result.spec_diff <= max(1.0, eta) * (1 + 1e-4)
    for which, leading in ((1, truth[::-1]), (-1, truth)):
        modes = [one for one in result.modes if one.eigenvalue * which > 0]
        for mode, right in zip(modes, leading, strict=False):
            if mode.certified:
                assert mode.rayleigh == pytest.approx(right, rel=0.1)


@pytest.mark.parametrize(("features", "offset"), [("landmarks", 1e3), ("landmarks", 1e6), ("exact", 1e5)])
@pytest.mark.slow
def test_far_clusters_under_a_small_bandwidth_are_those_of_all_rows(features: str, offset: float) -> None:
    a, b = grouped(16, 5, 0), grouped(12, 4, 1).astype(np.float32)
    a[::2, 0] += offset
    a = a.astype(np.float32)
    size = None if features == "exact" else 250
    result, _ = warned(a, b, sigma=(3.0, "auto"), features=features, size=size)
    check_against_all_rows(result, a, b)
    assert result.maps[0]["wide"]
    assert not result.maps[1]["wide"]
    assert sum(bool(mode.certified) for mode in result.modes) == 6


@pytest.mark.parametrize("features", ["landmarks", "pivoted", "orthogonal", "fourier"])
@pytest.mark.slow
def test_maps_of_far_rows_are_those_of_float64(features: str) -> None:
    x = grouped(16, 5, 0)
    x[::2, 0] += 1e6
    x = x.astype(np.float32)
    kernel = ExactKernel(np.median(x, axis=0).astype(np.float64), False, 3.0, wide=True)
    kernels, reference = load_kernels("cpu"), load_kernels("reference")
    if features in ("orthogonal", "fourier"):
        (one,) = chosen_maps([kernel], features=features, size=4000, seed=0)
    else:
        rows = pivoted_rows((kernel,), (x,), 250, 0, kernels) if features == "pivoted" else np.arange(0, N, 2)
        one = LandmarkMap.of(kernel, rows, x[rows])
    (found, bad), (right, also_bad) = base.mapped(one, kernels, x), base.mapped(one, reference, x)
    assert bad == also_bad == -1
    np.testing.assert_allclose(found @ found.T, right @ right.T, atol=2e-4)
    again = restored_map(json.loads(json.dumps(one.parameters())), one.arrays())
    np.testing.assert_array_equal(base.mapped(again, kernels, x)[0], found)
    whole = gaussian_kernel(x, 3.0)
    if features == "landmarks":
        np.testing.assert_allclose((found @ found.T)[::2], whole[::2], atol=2e-3)
    elif features != "pivoted":
        np.testing.assert_allclose(found @ found.T, whole, atol=0.08)


@pytest.mark.parametrize("rule", [3.0, "auto"])
@pytest.mark.slow
def test_a_far_cluster_of_a_few_rows_is_seen(rule: float | str) -> None:
    a, b = grouped(16, 5, 0), grouped(12, 4, 1).astype(np.float32)
    a[:6] = 1e5 + 0.5 * np.random.default_rng(2).normal(size=(6, 16))  # 2 %, below any percentile of the lengths
    a = a.astype(np.float32)
    result, said = warned(a, b, sigma=(rule, "auto"), size=250)
    check_against_all_rows(result, a, b)
    assert result.maps[0]["wide"]
    assert not [one for one in said if one.startswith("A:")]


@pytest.mark.slow
def test_tight_clusters_of_directions_are_told_apart() -> None:
    generator = np.random.default_rng(0)
    places = generator.normal(size=(5, 16))
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    a = (3 * (places[np.arange(N) % 5] + 0.003 * generator.normal(size=(N, 16)))).astype(np.float32)
    b = grouped(12, 4, 1).astype(np.float32)
    for rule in ("auto", 0.006):
        result, _ = warned(a, b, sigma=(rule, "auto"), normalize="unit")
        check_against_all_rows(result, a, b, unit=True)
        assert all(mode.certified for mode in result.modes)
        if rule == "auto":  # five groups of a fifth each, and 0.15 is less
            assert result.summary["bandwidths"]["a"]["top_eigenvalue"] == pytest.approx(0.15, rel=1e-3)


@pytest.mark.slow
@settings(max_examples=12)
@given(
    offset=st.sampled_from([0.0, 30.0, 300.0, 1e4, 1e5, 1e7]),
    spread=st.sampled_from([0.02, 1.0, 20.0]),
    sigma=st.sampled_from(["auto", 0.3, 3.0, 50.0]),
    share=st.sampled_from([0.02, 0.3, 0.5]),
    dtype=st.sampled_from(["float16", "float32"]),
    seed=st.integers(0, 50),
)
def test_no_certified_mode_is_wrong(
    offset: float, spread: float, sigma: float | str, share: float, dtype: str, seed: int
) -> None:
    a, b = spread * grouped(8, 4, seed, 120), grouped(6, 3, seed + 1, 120).astype(np.float32)
    a[: round(share * 120), :2] += offset
    a = np.clip(a, -6e4, 6e4).astype(dtype)
    check_against_all_rows(warned(a, b, sigma=(sigma, "auto"))[0], a, b)


def test_what_no_floating_type_holds_is_never_certified() -> None:
    a, b = grouped(16, 5, 0), grouped(12, 4, 1).astype(np.float32)
    a[::2, 0] = 6e7  # where float32 has steps of 4
    a = a.astype(np.float32)
    result, said = warned(a, b, sigma=(3.0, "auto"), size=250)
    assert not result.maps[0]["certain"]
    assert any("no mode is certified" in one and "--sigma" in one for one in said)
    assert len(result.modes) == 6
    assert not any(mode.certified for mode in result.modes)
    check_against_all_rows(result, a, b)


def seen(x: NDArray[Any], sigma: float) -> Any:
    return precision(x, ExactKernel(np.median(x, axis=0).astype(np.float64), False, sigma))


def test_equal_and_lonely_rows_far_out_need_no_float64() -> None:
    x = grouped(8, 4, 0).astype(np.float32)
    assert not seen(x, 2.0).wide
    wild = x.copy()
    wild[0] = 1e7
    assert not seen(wild, 2.0).wide  # one row, near no other
    wild[:40] = 1e7
    assert not seen(wild, 2.0).wide  # equal rows, whose kernel is 1
    wild[:40] += x[:40]
    assert seen(wild, 2.0).wide
    spread = (1e6 * x).astype(np.float32)
    assert not seen(spread, 2.0).wide  # all far from one another, whose kernel is 0


def test_stored_numbers_that_are_coarse_against_the_bandwidth_are_seen() -> None:
    x = grouped(8, 4, 0)
    x[::2] += 4000
    assert seen(x.astype(np.float32), 2.0).certain
    assert not seen(x.astype(np.float16), 2.0).certain  # steps of 4


@pytest.mark.parametrize("offset", [1e4, 1e5])
def test_auto_finds_the_bandwidth_of_clusters_however_far_apart(offset: float) -> None:
    x = grouped(16, 1, 0, 600)
    near = choose_bandwidth(parse_rule("top=0.1"), x.astype(np.float32), "X")
    far = x.copy()
    far[:, 0] += offset * (np.arange(600) % 6)
    chosen = choose_bandwidth(parse_rule("top=0.15"), (far - np.median(far, axis=0)).astype(np.float32), "X")
    assert chosen.warning is None
    assert chosen.top_eigenvalue == pytest.approx(0.15, rel=1e-4)
    top = np.linalg.eigvalsh(gaussian_kernel(far, chosen.sigma))[-1] / 600
    assert top == pytest.approx(0.15, rel=2e-3)
    assert near.sigma < chosen.sigma < 10 * near.sigma


def test_equal_rows_still_keep_auto_from_its_target() -> None:
    x = np.repeat(1e5 * np.eye(4, 8), 50, axis=0).astype(np.float32)
    chosen = choose_bandwidth(parse_rule("auto"), x, "X")
    assert "no bandwidth" in str(chosen.warning)


@pytest.mark.parametrize(("values", "eta"), [([1.01], 1.0), ([0.5, -1.01], 1.0), ([-0.6], 0.5), ([-1e-3], 0.0)])
def test_impossible_eigenvalues_are_refused(values: list[float], eta: float) -> None:
    with pytest.raises(PrecisionError, match="take a larger sigma") as caught:
        check_possible(np.array(values), eta)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("again", ["compare", "with_eta", "constrained"])
def test_a_result_with_impossible_eigenvalues_is_not_written(
    again: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    a, b = (x.astype(np.float32) for x in (grouped(8, 4, 0), grouped(6, 3, 1)))
    before = compare(a, b, n_modes=2, certify=0)
    # As if rounding had done it: possible are only those that are not there.
    monkeypatch.setattr(module, "POSSIBLE", -0.9999)
    attempts: dict[str, Callable[[], Result]] = {
        "compare": lambda: compare(a, b, n_modes=2, out=tmp_path / "out"),
        "with_eta": lambda: before.with_eta(0.5, out=tmp_path / "out"),
        "constrained": lambda: before.constrained(0.01, out=tmp_path / "out"),
    }
    with pytest.raises(PrecisionError):
        attempts[again]()
    assert not (tmp_path / "out").exists()


def test_a_result_of_before_wide_kernels_opens() -> None:
    parameters = {"sigma": 2.0, "unit": False, "centre": [0.0, 1.0]}
    kernel = ExactKernel.restored(parameters)
    assert (kernel.wide, kernel.certain, kernel.affine) == (False, True, None)
    assert ExactKernel.restored({"map": "linear", "p": 3, "dimension": 3}).sigma is None
