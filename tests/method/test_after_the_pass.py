"""What is asked of a result after its pass: another weight, a constraint, rotated modes; and repeated rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray
from oracle import Truth, difference, features_of

import specscale as ss
from specscale.errors import ChangedError, OptionError
from specscale.method.result import Result
from specscale.runtime.events import Event, Noted, Warned

pytestmark = pytest.mark.usefixtures("one_blas_thread")

Pair = tuple[NDArray[Any], NDArray[Any]]
MakePair = Callable[..., Pair]
Cli = Callable[..., CompletedProcess[str]]

SMALL: dict[str, Any] = {"size": 60, "n_modes": 4, "sigma": (2.0, 2.0), "top": 20}


def matrices(result: Result, pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """K_A / n and K_B / n under the maps of a result."""
    first, second = (phi @ phi.T / len(phi) for phi in features_of(result, *pair))
    return first, second


def best_within(a: NDArray[np.float64], b: NDArray[np.float64], epsilon: float) -> float:
    """max uᵀAu subject to uᵀBu ≤ ε, by a fine scan of the dual."""
    etas = np.concatenate([[0.0], np.geomspace(1e-3, 1e4, 150)])
    top = [scipy.linalg.eigh(a - eta * b, eigvals_only=True, subset_by_index=[len(a) - 1] * 2)[0] for eta in etas]
    return float(np.min(np.array(top) + etas * epsilon))


# --- constrained groups


@pytest.mark.slow
@pytest.mark.parametrize("features", ["landmarks", "orthogonal"])
@pytest.mark.parametrize("epsilon", [0.002, 0.01, 0.5])
def test_constrained_groups_are_the_best_within_the_bound(make_pair: MakePair, features: str, epsilon: float) -> None:
    pair = make_pair(300)
    groups = ss.compare(*pair, **SMALL, features=features).constrained(epsilon, n_groups=3)
    a, b = matrices(groups, pair)
    scores = groups.scores[:].astype(np.float64)
    assert len(groups.modes) >= 1
    for mode, u in zip(groups.modes, scores.T, strict=True):
        assert mode.grouped_by == "A"
        assert mode.b <= epsilon * (1 + 1e-6)
        assert mode.a == pytest.approx(u @ a @ u, rel=1e-3)
        assert mode.b == pytest.approx(u @ b @ u, rel=1e-3, abs=1e-6)
        assert mode.eigenvalue == pytest.approx(mode.a - mode.eta * mode.b, abs=1e-12)
        assert mode.certified is not None
    np.testing.assert_allclose(scores.T @ scores, np.eye(len(groups.modes)), atol=1e-4)
    best = best_within(a, b, epsilon)
    assert best * (1 - 3e-3) <= groups.modes[0].a <= best * (1 + 1e-3)
    if epsilon == 0.5:
        assert groups.modes[0].eta == 0


@pytest.mark.slow
def test_groups_that_tie_under_the_constraint_are_mixed() -> None:
    # Under cosine kernels of one-hot rows K_A and K_B are blocks: of a group both hold, and of two that A alone holds.
    n = 120
    group = np.repeat([0, 1, 2], [60, 40, 20])
    a, b = np.eye(3)[group], np.eye(n)
    b[:60] = np.eye(n)[0]  # B holds the first group together as well, and nothing else
    both = ss.compare(a, b, kernel="cosine", n_modes=3, features="linear")
    groups = both.constrained(0.2, n_groups=2)
    first = groups.modes[0]
    assert first.mixed
    assert first.b == pytest.approx(0.2, abs=1e-6)
    # u = s (first group) + t (second): b = 0.5 s² + t²/120, a = 0.5 s² + t²/3.
    share = (0.2 - 1 / 120) / (0.5 - 1 / 120)
    assert first.a == pytest.approx(0.5 * share + (1 - share) / 3, rel=1e-4)
    assert not any(mode.mixed for mode in both.modes)


@pytest.mark.slow
def test_there_is_no_group_where_nothing_is_left_within_the_bound() -> None:
    x = np.random.default_rng(0).normal(size=(300, 5))
    same = ss.compare(x, x, kernel="cosine")
    assert same.constrained(1e-6).modes == []


@pytest.mark.parametrize("epsilon", [-0.1, 1.0, float("nan"), float("inf")])
@pytest.mark.slow
def test_a_bound_out_of_range_is_refused(pair: Pair, epsilon: float, tmp_path: Path) -> None:
    result = ss.compare(*pair, **SMALL)
    with pytest.raises(OptionError, match=r"epsilon .* \[0, 1\)"):
        result.constrained(epsilon, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_exact_results_have_no_covariance_to_search(pair: Pair) -> None:
    result = ss.compare(*pair, features="exact", n_modes=2)
    with pytest.raises(OptionError, match="keeps no covariance"):
        result.constrained(0.01)


@pytest.mark.slow
def test_a_changed_store_is_noticed(pair: Pair, make_store: Callable[..., Path]) -> None:
    a, b = make_store("a", pair[0]), make_store("b", pair[1])
    result = ss.compare(str(a), str(b), **SMALL)
    make_store("a", pair[0] + 1, overwrite=True)
    with pytest.raises(ChangedError):
        ss.open_result(result.path).constrained(0.01)


# --- another weight


@pytest.mark.parametrize("options", [{}, {"refine": 1}, {"rotate": "varimax"}, {"features": "exact", "size": None}])
@pytest.mark.slow
def test_another_weight_is_a_fresh_comparison(pair: Pair, options: dict[str, Any]) -> None:
    options = {**SMALL, **options}
    again = ss.compare(*pair, **options).with_eta(0.5)
    fresh = ss.compare(*pair, **options, eta=0.5)
    np.testing.assert_array_equal(again.eigenvalues, fresh.eigenvalues)
    np.testing.assert_array_equal(again.scores[:], fresh.scores[:])
    assert again.summary["modes"] == fresh.summary["modes"]


# --- rotated modes


@pytest.mark.parametrize("options", [{}, {"refine": 1}, {"features": "exact", "size": None}])
@pytest.mark.slow
def test_rotated_modes_are_described_as_they_are(pair: Pair, options: dict[str, Any]) -> None:
    options = {**SMALL, **options}
    plain, turned = ss.compare(*pair, **options), ss.compare(*pair, **options, rotate="varimax")
    before, after = (one.scores[:].astype(np.float64) for one in (plain, turned))
    assert turned.spec_diff == pytest.approx(plain.spec_diff, rel=1e-12)
    for direction in (slice(0, 4), slice(4, 8)):
        np.testing.assert_allclose(np.linalg.svd(before[:, direction].T @ after[:, direction])[1], 1, atol=1e-4)
        assert (before[:, direction] ** 4).sum() <= (after[:, direction] ** 4).sum() * (1 + 1e-6)
        assert plain.eigenvalues[direction].sum() == pytest.approx(turned.eigenvalues[direction].sum(), rel=1e-6)
    if not options.get("refine") and options.get("features") != "exact":
        a, b = matrices(turned, pair)
        acted = (a - b) @ after
        for i, mode in enumerate(turned.modes):
            u, v = after[:, i], acted[:, i]
            assert mode.eigenvalue == pytest.approx(u @ v, rel=1e-3, abs=1e-7)
            assert mode.a == pytest.approx(u @ a @ u, rel=1e-3, abs=1e-7)
            spread = ((2 * u * v - mode.eigenvalue * u**2) ** 2).sum() - mode.eigenvalue**2 / len(u)
            assert mode.se == pytest.approx(np.sqrt(spread), rel=1e-2)
    assert [mode.certified for mode in turned.modes if mode.grouped_by == "A"].count(True) >= 3


# --- rows that repeat others


def test_repeated_rows_are_reported(pair: Pair, tmp_path: Path, run_cli: Cli) -> None:
    a, b = (x.copy() for x in pair)
    a[100:140] = a[7]
    b[3] = b[5]
    events: list[Event] = []
    result = ss.compare(a, b, **SMALL, out=tmp_path / "out", progress=events.append)
    first, second = result.summary["duplicates"]
    assert (first["rows"], first["groups"], first["largest"], first["example"]) == (40, 1, 41, [7, 100, 101, 102, 103])
    assert (second["rows"], second["largest"]) == (1, 2)
    assert any("40 rows repeat another row" in event.message for event in events if isinstance(event, Warned))
    assert any("B: 1 row repeats another row" in event.message for event in events if isinstance(event, Noted))
    assert "1 row repeats" in result.summary["choice"]


def test_a_result_tells_what_was_chosen_and_why(pair: Pair, tmp_path: Path, run_cli: Cli) -> None:
    for name, x in zip("ab", pair, strict=True):
        np.save(tmp_path / f"{name}.npy", x)
    done = run_cli("compare", "a.npy", "b.npy", "-o", "out", "--modes", "3")
    assert done.returncode == 0, done.stderr
    assert "top eigenvalue 0.15" in done.stdout
    assert "landmarks" in done.stdout
    assert re.search("certified$", run_cli("modes", "out").stdout, re.MULTILINE)


def test_modes_that_fail_are_marked_as_noise_and_not_hidden(tmp_path: Path, run_cli: Cli) -> None:
    x = np.random.default_rng(0).normal(size=(1200, 20)).astype(np.float32)
    q = np.linalg.qr(np.random.default_rng(1).normal(size=(20, 20)))[0].astype(np.float32)
    result = ss.compare(x, x @ q, features="fourier", size=100, n_modes=3, out=tmp_path / "out")
    assert len(result.modes) == 6
    assert not any(mode.certified for mode in result.modes)
    assert run_cli("compare", "--help").returncode == 0
    told, as_json = run_cli("modes", "out"), run_cli("modes", "out", "--json")
    assert told.returncode == as_json.returncode == 0, told.stderr + as_json.stderr
    assert len(re.findall("noise$", told.stdout, re.MULTILINE)) == 6  # in the table
    assert len(re.findall("^  noise: ", told.stdout, re.MULTILINE)) == 6  # above the members of each
    assert as_json.stdout.count('"certified": false') == 6


@pytest.mark.slow
def test_refined_modes_are_nearer_to_the_exact_ones(pair: Pair) -> None:
    truth = None
    errors = []
    for refine in (0, 1, 2):
        result = ss.compare(*pair, **SMALL, refine=refine)
        if truth is None:
            squares = [((x[:, None] - x[None]) ** 2).sum(axis=2) for x in (y.astype(np.float64) for y in pair)]
            truth = Truth.of_matrix(difference(*(np.exp(-s / 8) for s in squares), 1.0)).leading(4)
        errors.append(np.abs(result.eigenvalues - truth).max())
    assert errors[2] < errors[1] < 0.5 * errors[0]
