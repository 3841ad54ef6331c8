"""Spectra over a range of bandwidths, and bandwidths at which a kernel tells nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import gaussian_kernel
from PIL import Image

import specscale as ss
from specscale.errors import InputError, OptionError, PlanError
from specscale.features.bandwidth import (
    Bandwidth,
    bandwidth_cost,
    choose_bandwidth,
    degenerate_warning,
    parse_rule,
    top_eigenvalue,
)
from specscale.features.spectrum import kernel_spectrum, spectrum_bytes, square_distances
from specscale.runtime.events import Stage, Warned
from specscale.runtime.threads import Threads

RunCli = Callable[..., CompletedProcess[str]]
MakeStore = Callable[..., Path]


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def truth(x: NDArray[Any], sigma: float) -> NDArray[np.float64]:
    """All eigenvalues of K/s, largest first."""
    return np.linalg.eigvalsh(gaussian_kernel(x, sigma))[::-1] / len(x)


def squares_of(x: NDArray[Any]) -> NDArray[np.float32]:
    x = x.astype(np.float64)
    return np.stack([((x - row) ** 2).sum(axis=1) for row in x]).astype(np.float32)


# --- the top eigenvalue


@given(
    s=st.integers(2, 60),
    p=st.integers(1, 4),
    log_sigma=st.floats(-4, 4),
    copies=st.integers(0, 10),
    seed=st.integers(0, 99),
)
def test_the_top_eigenvalue_is_that_of_the_dense_kernel(
    s: int, p: int, log_sigma: float, copies: int, seed: int
) -> None:
    x = normal(s, p, seed=seed)
    x[:copies] = x[0]
    sigma = float(np.exp(log_sigma))
    assert top_eigenvalue(squares_of(x), sigma) == pytest.approx(truth(x, sigma)[0], rel=1e-4)


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.parametrize("target", [0.01, 0.02, 0.05, 0.15])
def test_near_ties_along_a_line_are_told_apart(target: float) -> None:
    x = normal(500, 1)
    chosen = choose_bandwidth(parse_rule(f"top={target}"), x, "X")
    values = truth(x, chosen.sigma)
    assert values[1] > 0.6 * values[0]  # so that it is a near tie
    assert chosen.top_eigenvalue == pytest.approx(values[0], rel=1e-4)


def test_a_group_that_is_a_small_part_of_the_rows_is_found() -> None:
    x = np.arange(2000, dtype=np.float32)[:, None] * np.float32(100)
    x[:2, 0] = [0, 3.7]  # two rows a little closer than all others, which stand alone
    pair = np.exp(-(3.7**2) / 2)
    assert top_eigenvalue(squares_of(x), 1.0) == pytest.approx((1 + pair) / 2000, rel=1e-5)


def test_a_tie_of_two_groups_is_no_obstacle() -> None:
    x = np.repeat(np.array([[0.0], [1000.0]], dtype=np.float32), 40, axis=0)
    assert top_eigenvalue(squares_of(x), 1.0) == pytest.approx(0.5, rel=1e-6)


# --- what a bandwidth says of itself


def test_a_number_is_looked_at_where_there_is_a_sample() -> None:
    x = normal(300, 6)
    chosen = choose_bandwidth(parse_rule(1.7), x, "X")
    assert chosen.sigma == 1.7
    assert chosen.top_eigenvalue == pytest.approx(truth(x, 1.7)[0], rel=1e-4)
    assert chosen.warning is None
    assert choose_bandwidth(parse_rule(1.7), None, "X") == Bandwidth(1.7, "1.7")


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
@pytest.mark.parametrize(
    ("rule", "state", "remedy"),
    [(0.02, "identity", "larger"), (1e3, "constant", "smaller"), ("0.01*median", "identity", "larger")],
)
def test_a_kernel_that_tells_nothing_draws_a_warning_that_says_what_to_do(
    scale: float, rule: str | float, state: str, remedy: str
) -> None:
    rule = rule if isinstance(rule, str) else rule * scale
    warning = choose_bandwidth(parse_rule(rule), normal(300, 6) * np.float32(scale), "minilm").warning
    assert warning is not None
    assert warning.startswith("minilm: ")
    assert state in warning
    assert f"take a {remedy} --sigma" in warning
    assert "\n" not in warning


@pytest.mark.parametrize("sigma", [1e-30, 1e30])
def test_any_legal_number_meets_any_data(sigma: float) -> None:
    x = normal(60, 3)
    x[0] *= np.float32(1e28)
    chosen = choose_bandwidth(parse_rule(sigma), x, "X")
    assert chosen.sigma == sigma
    assert chosen.warning is not None
    assert ("identity" if sigma < 1 else "constant") in chosen.warning


@pytest.mark.parametrize("factor", [1e7, 1e14, 1e20, 1e30])
def test_one_wild_row_does_not_make_a_kernel_constant(factor: float) -> None:
    x = normal(400, 6)
    expected = choose_bandwidth(parse_rule(2.0), x, "X")
    x[7] *= np.float32(factor)
    found = choose_bandwidth(parse_rule(2.0), x, "X")
    assert found.warning is None
    assert found.top_eigenvalue == pytest.approx(expected.top_eigenvalue, rel=0.01)


@pytest.mark.parametrize("n", range(2, 51))
def test_tiny_samples_draw_no_needless_warning(n: int) -> None:
    warning = choose_bandwidth(parse_rule("auto"), normal(n, 3, seed=n), "X").warning
    assert warning is None if n >= 7 else "no bandwidth" in str(warning)  # 1/n is the least top eigenvalue there is
    assert choose_bandwidth(parse_rule("median"), normal(n, 3, seed=n), "X").warning is None


def test_a_top_eigenvalue_out_of_reach_means_the_largest_bandwidth_and_a_warning() -> None:
    x = normal(300, 6)
    x[0] *= np.float32(1e8)  # alone at any bandwidth that tells the others apart
    chosen = choose_bandwidth(parse_rule("top=0.999"), x, "X")
    assert chosen.sigma > 100
    assert chosen.top_eigenvalue == pytest.approx(299 / 300, rel=1e-4)
    assert "constant" in str(chosen.warning)


def test_a_tiny_sample_of_rows_that_stand_alone_is_warned_of() -> None:
    assert "identity" in str(choose_bandwidth(parse_rule(1e-3), normal(8, 3), "X").warning)


def test_equal_rows_are_called_so_whatever_the_number() -> None:
    for sigma in (1e-6, 1.0, 1e6):
        chosen = choose_bandwidth(parse_rule(sigma), np.ones((20, 3), dtype=np.float32), "X")
        assert (chosen.sigma, chosen.top_eigenvalue) == (sigma, pytest.approx(1))
        assert "equal" in str(chosen.warning)


@given(top=st.floats(0.001, 1), rows=st.integers(1000, 10_000))
def test_only_the_ends_are_degenerate(top: float, rows: int) -> None:
    warning = degenerate_warning(0.5, top, rows, "X")
    assert (warning is not None) == (top * rows < 2 or top > 0.995)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("auto", "(top eigenvalue 0.15)"),
        ("median", "(the median distance, top eigenvalue 0."),
        ("0.5*median", "(0.5 times the median distance, top eigenvalue 0."),
        (1.7, "1.7 (as given, top eigenvalue 0."),
        ("top=0.9999999", "(top eigenvalue 1)"),
    ],
)
def test_a_bandwidth_says_what_it_is_and_why(rule: str | float, text: str) -> None:
    chosen = choose_bandwidth(parse_rule(rule), normal(300, 6), "X")
    assert text in chosen.describe()
    assert chosen.describe().startswith(f"{chosen.sigma:.4g} ")


def test_the_median_rule_is_written_as_it_is_given() -> None:
    assert (str(parse_rule("median")), str(parse_rule("0.5*median"))) == ("median", "0.5*median")


def test_the_cost_of_a_bandwidth_counts_what_is_held() -> None:
    assert bandwidth_cost([384, 128], 4096).memory > 2 * 4 * 4096**2


# --- spectra


@given(
    s=st.integers(2, 40),
    p=st.integers(1, 4),
    log_sigma=st.floats(-4, 4),
    copies=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_a_spectrum_is_that_of_the_dense_kernel(s: int, p: int, log_sigma: float, copies: int, seed: int) -> None:
    x = normal(s, p, seed=seed) + np.float32(1000)
    x[:copies] = x[0]
    sigma = float(np.exp(log_sigma))
    found, expected = kernel_spectrum(square_distances(x), sigma), truth(x, sigma)
    np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-9)
    assert found.eigenvalues.sum() == pytest.approx(1)
    assert found.rke == pytest.approx(len(x) ** 2 / np.linalg.norm(gaussian_kernel(x, sigma)) ** 2)
    positive = expected[expected > 0]
    assert found.groups == pytest.approx(np.exp(-(positive * np.log(positive)).sum()), rel=1e-6)
    assert 1 - 1e-9 <= found.rke <= found.groups * (1 + 1e-9)
    assert found.groups <= s * (1 + 1e-9)


def test_groups_apart_are_counted() -> None:
    x = np.repeat(1000 * np.eye(5), 30, axis=0)
    found = kernel_spectrum(square_distances(x), 1.0)
    assert found.groups == pytest.approx(5)
    assert found.rke == pytest.approx(5)
    assert found.state is None


def test_the_ends_of_the_range_are_named() -> None:
    squares = square_distances(normal(200, 5))
    assert [kernel_spectrum(squares, sigma).state for sigma in (1e-3, 2.0, 1e3)] == ["identity", None, "constant"]


def test_a_few_copies_among_rows_that_stand_alone_do_not_hide_that_they_do() -> None:
    x = normal(300, 5)
    x[:5] = x[0]
    assert kernel_spectrum(square_distances(x), 1e-3).state == "identity"


# --- the public function


def test_the_range_lies_around_what_auto_takes() -> None:
    x = normal(500, 6)
    (found,) = ss.bandwidth(x).stores
    sigmas = [line.sigma for line in found.lines]
    auto = choose_bandwidth(parse_rule("auto"), x - np.median(x, axis=0), "X")
    assert found.auto == auto
    assert sigmas == sorted(sigmas)
    assert len(sigmas) == 10
    assert sigmas[0] == pytest.approx(auto.sigma / 4, rel=1e-3)
    assert sigmas[-1] == pytest.approx(auto.sigma * 4, rel=1e-3)
    by_rule = {line.rule: line for line in found.lines}
    assert by_rule["auto"].sigma == auto.sigma
    assert by_rule["auto"].spectrum.top == pytest.approx(0.15, rel=1e-4)
    assert by_rule["median"].sigma == pytest.approx(choose_bandwidth(parse_rule("median"), x, "X").sigma, rel=1e-5)
    for line in found.lines:
        np.testing.assert_allclose(line.spectrum.eigenvalues, truth(x, line.sigma), atol=1e-9)
    assert found.why == f"auto takes {auto.sigma:.4g} (top eigenvalue 0.15) on 500 rows"


@pytest.mark.slow
def test_auto_is_what_a_comparison_takes() -> None:
    x, y = normal(5000, 4), normal(5000, 3, seed=1)
    (found,) = ss.bandwidth(x, sigma="auto", sample=10, seed=3).stores
    chosen = ss.compare(x, y, size=8, n_modes=1, seed=3, features="fourier").summary["bandwidths"]["a"]
    assert chosen["sigma"] == found.auto.sigma == found.lines[0].sigma


def test_rules_replace_the_range() -> None:
    x = normal(300, 6)
    (found,) = ss.bandwidth(x, sigma=["0.5*median", 2, "top=0.3", "auto"]).stores
    by_rule = {line.rule: line for line in found.lines}
    assert set(by_rule) == {"auto", "2", "top=0.3", "0.5*median"}
    assert by_rule["2"].sigma == 2
    assert by_rule["top=0.3"].spectrum.top == pytest.approx(0.3, rel=1e-4)
    half = choose_bandwidth(parse_rule("0.5*median"), x, "X").sigma
    assert by_rule["0.5*median"].sigma == pytest.approx(half, rel=1e-5)


def test_directions_alone_are_looked_at_with_unit() -> None:
    x = normal(200, 5)
    scaled = x * np.exp(normal(200, 1, seed=1))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    (found,) = ss.bandwidth(scaled, sigma=0.7, normalize="unit").stores
    np.testing.assert_allclose(found.lines[0].spectrum.eigenvalues, truth(unit, 0.7), atol=1e-6)


def test_the_sample_is_drawn_by_the_seed() -> None:
    x = normal(400, 3)
    first, again, other = (ss.bandwidth(x, sigma=1.0, sample=50, seed=seed).stores[0] for seed in (0, 0, 1))
    assert first.sampled == 50
    assert first.rows == 400
    values = [one.lines[0].spectrum.eigenvalues for one in (first, again, other)]
    np.testing.assert_array_equal(values[0], values[1])
    assert not np.allclose(values[0], values[2])


def test_bad_rows_are_refused_or_dropped_and_the_others_are_what_is_looked_at() -> None:
    x = normal(100, 4)
    good = np.delete(x, [3, 50], axis=0)
    x[3], x[50] = np.nan, 0
    with pytest.raises(InputError, match=r"row 3 has a NaN.*--on-bad drop"):
        ss.bandwidth(x)
    (found,) = ss.bandwidth(x, sigma=1.0, normalize="unit", on_bad="drop").stores
    assert found.rows == 98
    unit = good / np.linalg.norm(good, axis=1, keepdims=True)
    np.testing.assert_allclose(found.lines[0].spectrum.eigenvalues, truth(unit, 1.0), atol=1e-6)


def test_equal_rows_give_a_constant_kernel_and_one_warning() -> None:
    found = ss.bandwidth(np.ones((60, 4), dtype=np.float32))
    assert {line.spectrum.state for line in found.stores[0].lines} == {"constant"}
    assert len(found.warnings) == 1
    assert "equal" in found.warnings[0]


def test_a_degenerate_number_is_told_in_its_line_and_not_again_as_a_warning() -> None:
    found = ss.bandwidth(normal(100, 30), sigma=["1e-6", "1e-4*median"])
    assert [line.spectrum.state for line in found.stores[0].lines] == ["identity", "identity"]
    assert found.warnings == ()


def test_warnings_and_steps_are_events() -> None:
    events: list[Any] = []
    x = normal(100, 4) * np.exp(2 * normal(100, 1, seed=1))
    found = ss.bandwidth(x, normal(100, 3), progress=events.append)
    assert [event.message for event in events if isinstance(event, Warned)] == list(found.warnings)
    assert "--normalize unit" in found.warnings[0]
    assert [event.name for event in events if isinstance(event, Stage)][:2] == [
        "array 1: bandwidths",
        "array 1: spectra",
    ]
    assert [store.name for store in found.stores] == ["array 1", "array 2"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sample": 8193}, "--sample 8193"),
        ({"sample": 1}, "--sample 1"),
        ({"sample": "many"}, "sample is a whole number"),
        ({"sigma": "mean"}, "--sigma is auto"),
        ({"sigma": [1.0, -1]}, "--sigma -1"),
        ({"sigma": []}, "sigma is one bandwidth or several"),
        ({"normalize": "max"}, "--normalize"),
        ({"on_bad": "keep"}, "--on-bad"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_illegal_options_are_refused_in_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        ss.bandwidth(normal(20, 3), **options)
    assert "\n" not in str(caught.value)


def test_memory_decides_how_many_spectra_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, found, pools = normal(100, 3), [], []
    monkeypatch.setattr("specscale.method.bandwidths.Threads", lambda count: pools.append(count) or Threads(count))
    monkeypatch.setattr("specscale.method.bandwidths.available_cores", lambda: 4)
    for free in (1 << 30, spectrum_bytes(100, 2), spectrum_bytes(100, 1)):
        monkeypatch.setattr("specscale.method.bandwidths.available_memory", lambda free=free: free)
        found.append(ss.bandwidth(x).to_json())
    assert pools == [4, 2, 1]
    assert found[0] == found[1] == found[2]
    monkeypatch.setattr("specscale.method.bandwidths.available_memory", lambda: spectrum_bytes(100, 1) - 1)
    with pytest.raises(PlanError, match=r"100 rows take .* is free: take a smaller --sample"):
        ss.bandwidth(x)


def test_no_embedding_is_no_range() -> None:
    with pytest.raises(OptionError, match="at least one"):
        ss.bandwidth()


def test_a_table_has_a_line_for_each_bandwidth() -> None:
    found = ss.bandwidth(normal(100, 4), normal(6, 3), sigma=[1.0, 2.0])
    table = found.to_pandas()
    assert isinstance(table, pd.DataFrame)
    assert list(table["store"]) == ["array 1"] * 2 + ["array 2"] * 2
    assert list(table["sigma"]) == [1.0, 2.0, 1.0, 2.0]
    expected = found.stores[0].lines[1].spectrum
    assert list(table.loc[1, ["groups", "rke", "eigenvalue_10"]]) == [
        expected.groups,
        expected.rke,
        expected.eigenvalues[9],
    ]
    assert np.isnan(table.loc[2, "eigenvalue_7"])  # of six rows


# --- the picture


@pytest.mark.slow
def test_a_picture_is_a_png_of_a_row_for_each_embedding(tmp_path: Path) -> None:
    one, two = ss.bandwidth(normal(80, 4)), ss.bandwidth(normal(80, 4), np.ones((5, 2)))
    heights = []
    for found in (one, two):
        path = found.plot(tmp_path / "bandwidths.png")
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50  # something was drawn
            heights.append(image.height)
    assert heights[1] == 2 * heights[0]
    assert [path.name for path in tmp_path.iterdir()] == ["bandwidths.png"]


@pytest.mark.slow
def test_any_name_can_stand_in_a_picture(tmp_path: Path, make_store: MakeStore) -> None:
    store = make_store("$cost_{ 模型", normal(30, 3))
    assert ss.bandwidth(store, sigma=[1e-9, 1e9]).plot(tmp_path / "x.PNG").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.pdf", "ends in .png"),
        ("x", "ends in .png"),
        ("no/x.png", "no such directory"),
        ("folder.png", "a directory"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OptionError, match=words):
        ss.bandwidth(normal(10, 3), sigma=1.0).plot(tmp_path / name)


# --- the command


def test_the_command_prints_a_table_marks_auto_and_says_where_the_picture_is(
    run_cli: RunCli, make_store: MakeStore, tmp_path: Path
) -> None:
    make_store("first", normal(120, 4))
    np.save(tmp_path / "second.npy", normal(60, 3, seed=1))
    done = run_cli("bandwidth", "first.zarr", "second.npy", "--plot", "picture.png")
    assert done.returncode == 0, done.stderr
    auto = ss.bandwidth(tmp_path / "first.zarr").stores[0].auto
    assert f"first: 120 rows, spectra of 120; auto takes {auto.sigma:.4g} (top eigenvalue 0.15)" in done.stdout
    assert "second: 60 rows" in done.stdout
    marked = [line for line in done.stdout.splitlines() if "← auto" in line]
    assert len(marked) == 2
    assert marked[0].split()[0] == f"{auto.sigma:.4g}"
    assert marked[0].split()[3] == "0.15000"
    assert done.stdout.count("median") == 2
    assert "plot written to picture.png" in done.stdout
    assert (tmp_path / "picture.png").exists()


def test_the_command_says_where_a_kernel_tells_nothing(run_cli: RunCli, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", normal(100, 3))
    done = run_cli("bandwidth", "x.npy", "--sigma", "1e-6", "--sigma", "median", "--sigma", "1e6")
    lines = done.stdout.splitlines()[-3:]
    assert [("all but the identity" in line, "all but constant" in line) for line in lines] == [
        (True, False),
        (False, False),
        (False, True),
    ]


def test_the_command_prints_json_alone(run_cli: RunCli, tmp_path: Path) -> None:
    x = normal(100, 3)
    np.save(tmp_path / "x.npy", x)
    done = run_cli("bandwidth", "x.npy", "--sigma", "1.5", "--json", "--sample", "40", "--seed", "2")
    printed = json.loads(done.stdout)
    expected = ss.bandwidth(x, sigma=1.5, sample=40, seed=2).stores[0]
    (store,) = printed["stores"]
    assert (store["store"], store["rows"], store["sampled"]) == ("x", 100, 40)
    assert store["bandwidths"] == [expected.lines[0].to_json()]
    assert len(store["bandwidths"][0]["eigenvalues"]) == 10
    assert store["auto"]["sigma"] == expected.auto.sigma
    assert printed["plot"] is None


def test_the_command_is_quiet_when_asked_and_refuses_before_it_works(run_cli: RunCli, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", normal(100, 30))
    done = run_cli("bandwidth", "x.npy", "--sigma", "1", "--plot", "x.png", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "x.png").exists()
    done = run_cli("bandwidth", "x.npy", "--sample", "9000", "--plot", "x.jpg")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "x.jpg" in done.stderr


def test_real_embeddings_have_the_top_eigenvalue_of_auto_on_another_sample(wordnet: tuple[Path, ...]) -> None:
    x = np.load(wordnet[1], mmap_mode="r")[:20_000:5].astype(np.float32)
    (found,) = ss.bandwidth(x, sigma="auto", sample=500).stores
    assert found.auto.top_eigenvalue == pytest.approx(0.15, rel=1e-4)
    assert found.lines[0].spectrum.top == pytest.approx(0.15, rel=0.1)
