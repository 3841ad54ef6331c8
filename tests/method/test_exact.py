"""The exact operator: modes without feature maps, and approximate modes refined, against dense truths."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from interruptions import Interruption
from numpy.typing import NDArray
from oracle import Truth, cosine_kernel, difference, gaussian_kernel

import specscale as ss
from specscale.errors import OptionError
from specscale.method import refining
from specscale.method.plan import SLACK
from specscale.method.result import Result
from specscale.runtime.events import Event, PassFinished, PassStarted, RowsDone, Stage
from specscale.spectral import lanczos
from specscale.spectral.lanczos import GUARD, VectorModes, exact_modes, random_start

pytestmark = pytest.mark.usefixtures("one_blas_thread")

Array = NDArray[np.float64]
Pair = tuple[NDArray[Any], NDArray[Any]]
MakePair = Callable[..., Pair]
MakeStore = Callable[..., Path]

SMALL: dict[str, Any] = {"features": "exact", "n_modes": 4, "sigma": (2.0, 2.0), "top": 20, "certify": 0, "rounds": 0}
REFINED: dict[str, Any] = {**SMALL, "features": "landmarks", "size": 40, "refine": 1}


def compare(a: Any, b: Any, **options: Any) -> Result:
    return ss.compare(a, b, **{**SMALL, **options})


def refine(a: Any, b: Any, **options: Any) -> Result:
    return ss.compare(a, b, **{**REFINED, **options})


def files_of(result: Result) -> dict[str, bytes]:
    """What a result says about the samples, file by file."""
    names = [result.path / "modes.parquet", *sorted(result.path.glob("spec.zarr/**/*"))]
    return {str(name.relative_to(result.path)): name.read_bytes() for name in names if name.is_file()}


def dense(result: Result, a: NDArray[Any], b: NDArray[Any]) -> Array:
    """Λη of a result's options and bandwidths in float64, by direct differences of rows."""
    options = result.summary["options"]
    if options["kernel"] == "cosine":
        return difference(cosine_kernel(a), cosine_kernel(b), options["eta"])
    sigmas = [result.summary["bandwidths"][which]["sigma"] for which in "ab"]
    return difference(*(gaussian_kernel(x, s) for x, s in zip((a, b), sigmas, strict=True)), options["eta"])


# --- exact modes against the dense matrices


@pytest.mark.parametrize("eta", [0.0, 0.25, 1.0, 4.0])
@pytest.mark.parametrize("kernel", ["gaussian", "cosine"])
@pytest.mark.slow
def test_exact_modes_are_those_of_the_square_matrix(pair: Pair, kernel: str, eta: float) -> None:
    result = compare(*pair, kernel=kernel, eta=eta, sigma=("auto", "median"))
    matrix = dense(result, *pair)
    Truth.of_matrix(matrix).check(result.eigenvalues, result.scores[:], 4)
    if eta == 0:
        assert {mode.grouped_by for mode in result.modes} == {"A"}
    for mode, u in zip(result.modes, result.scores[:].T.astype(np.float64), strict=True):
        assert mode.eigenvalue == pytest.approx(u @ matrix @ u, rel=1e-4)
        assert mode.eigenvalue == pytest.approx(mode.a - eta * mode.b, abs=1e-12)


@pytest.mark.slow
def test_the_weaker_direction_is_exact_too(pair: Pair) -> None:
    result = compare(*pair, eta=100.0, sigma=("auto", "auto"))
    truth = Truth.of_matrix(dense(result, *pair)).leading(4)
    # Single precision knows Λ to about 1e-7 of its norm, and no more can be asked.
    np.testing.assert_allclose(result.eigenvalues, truth, rtol=1e-3, atol=1e-6 * np.abs(truth).max())


@pytest.mark.parametrize("kernel", ["gaussian", "cosine"])
@pytest.mark.slow
def test_rows_left_out_are_not_compared(pair: Pair, kernel: str) -> None:
    a, b = (x.copy() for x in pair)
    a[::5], b[3::7] = np.nan, np.inf
    result = compare(a, b, kernel=kernel, on_bad="drop", sigma=("auto", "auto"))
    kept = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    scores = result.scores[:]
    np.testing.assert_array_equal(np.isnan(scores).any(axis=1), ~kept)
    Truth.of_matrix(dense(result, a[kept], b[kept])).check(result.eigenvalues, scores[kept], 4)


def test_a_sample_is_compared_alone(pair: Pair) -> None:
    result = compare(*pair, sample=300)
    kept = ~np.isnan(result.scores[:, 0])
    assert kept.sum() == 300
    Truth.of_matrix(dense(result, *(x[kept] for x in pair))).check(result.eigenvalues, result.scores[:][kept], 4)


@pytest.mark.parametrize("n", [2, 3, 18, 19])
@pytest.mark.slow
def test_there_may_be_fewer_rows_than_vectors_in_a_block(make_pair: MakePair, n: int) -> None:
    pair = make_pair(n)
    for options in ({}, {"kernel": "cosine"}):
        result = compare(*pair, **options)
        Truth.of_matrix(dense(result, *pair)).check(result.eigenvalues, result.scores[:], 4)


@pytest.mark.parametrize("distinct", [1, 7])
@pytest.mark.slow
def test_duplicated_rows(pair: Pair, distinct: int) -> None:
    which = np.random.default_rng(0).integers(0, distinct, 400)
    a, b = pair[0][which], pair[1][:400]
    for one, other in ((a, b), (b, a), (a, pair[1][which])):
        result = compare(one, other, sigma=("median", "median"))
        np.testing.assert_allclose(result.eigenvalues, Truth.of_matrix(dense(result, one, other)).leading(4), atol=1e-5)


@pytest.mark.parametrize("kernel", ["gaussian", "cosine"])
@pytest.mark.slow
def test_an_embedding_against_itself_has_no_modes(pair: Pair, kernel: str, tmp_path: Path) -> None:
    for options in ({}, {"features": "landmarks", "refine": 1, "size": 30}):
        result = compare(pair[0], pair[0], kernel=kernel, out=tmp_path / f"{len(options)}", certify=50, **options)
        assert result.modes == []
        assert result.scores.shape == (len(pair[0]), 0)
        assert len(ss.open_result(tmp_path / f"{len(options)}").members()) == 0


def test_groups_apart_against_their_spread_keep_a_diagonal_of_ones(make_pair: MakePair) -> None:
    # Rows equal in both, far apart in units of σ: both kernels are the same, whatever rounding makes of long rows.
    which = np.random.default_rng(0).permutation(600) % 6
    a, b = (30 * np.random.default_rng(seed).normal(size=(6, 8)).astype(np.float32)[which] for seed in (1, 2))
    result = compare(a, b, sigma=(0.5, 0.5))
    assert np.abs(result.eigenvalues).max(initial=0) < 1e-5


# --- the eigensolver


def inline(tasks: Any) -> None:
    for task in tasks:
        task()


def symmetric(n: int, rank: int, seed: int) -> Array:
    root = np.random.default_rng(seed).normal(size=(n, rank))
    return root @ root.T / n


def found(
    A: Array, B: Array, eta: float, n_modes: int, steps: int | None = None, start: Array | None = None
) -> VectorModes:
    start = random_start(len(A), n_modes) if start is None else start
    return exact_modes(lambda V, _: np.stack([A @ V, B @ V]), start, eta, n_modes, steps, inline)


@given(
    n=st.integers(2, 120), rank=st.integers(1, 60), eta=st.sampled_from([0.0, 0.3, 1.0, 5.0]), seed=st.integers(0, 99)
)
def test_both_ends_of_any_pair_of_matrices(n: int, rank: int, eta: float, seed: int) -> None:
    A, B = symmetric(n, rank, seed), symmetric(n, rank, seed + 100)
    modes = found(A, B, eta, 3)
    Truth.of_matrix(A - eta * B).check(modes.eigenvalues, modes.vectors, 3)
    U = modes.vectors
    np.testing.assert_allclose(U.T @ U, np.eye(U.shape[1]), atol=1e-9)
    np.testing.assert_allclose(modes.split, [U.T @ A @ U, U.T @ B @ U], atol=1e-9)
    np.testing.assert_allclose(modes.action, np.diag(modes.eigenvalues), atol=1e-5 * modes.spec_diff + 1e-12)
    rest = (A - eta * B) @ U - U * modes.eigenvalues
    np.testing.assert_allclose(modes.residuals, np.linalg.norm(rest, axis=0), atol=1e-9)


@pytest.mark.parametrize("copies", [2, 5, 8])
def test_ties_are_found_as_often_as_they_occur(copies: int) -> None:
    values = np.r_[np.full(copies, 0.5), np.linspace(-0.1, 0.1, 150), np.full(copies, -0.4)]
    q = scipy.linalg.qr(np.random.default_rng(0).normal(size=(len(values),) * 2))[0]
    A, B = (q * np.maximum(sign * values, 0) @ q.T for sign in (1, -1))
    modes = found(A, B, 1.0, 5)
    expected = np.r_[np.full(min(copies, 5), 0.5), np.linspace(0.1, -0.1, 150)[: max(0, 5 - copies)]]
    np.testing.assert_allclose(modes.eigenvalues[:5], expected, atol=1e-5)
    np.testing.assert_allclose(modes.eigenvalues[5 : 5 + min(copies, 5)], -0.4, atol=1e-5)


def test_no_modes_where_there_are_none() -> None:
    zero = np.zeros((50, 50))
    tiny = symmetric(50, 4, 0) * 1e-7
    for A, B in ((zero, zero), (tiny, zero), (symmetric(50, 4, 0), symmetric(50, 4, 0))):
        modes = found(A, B, 1.0, 3)
        assert modes.vectors.shape == (50, 0)
        assert modes.spec_diff == 0
    start = np.empty((50, 0))  # approximate modes of which there are none
    assert found(symmetric(50, 4, 0), zero, 1.0, 3, steps=1, start=start).vectors.shape == (50, 0)


def test_a_start_of_repeated_vectors_is_as_good_as_its_span() -> None:
    A, B = symmetric(80, 10, 0), symmetric(80, 10, 1)
    v = np.random.default_rng(0).normal(size=(80, 4))
    once = found(A, B, 1.0, 2, steps=2, start=v)
    again = found(A, B, 1.0, 2, steps=2, start=np.hstack([v, v @ np.diag([3, 1e-3, 1, 1]), np.zeros((80, 1))]))
    np.testing.assert_allclose(again.eigenvalues, once.eigenvalues, rtol=1e-6)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_some_steps_are_rayleigh_ritz_on_the_krylov_space(steps: int) -> None:
    A, B = symmetric(150, 100, 0), symmetric(150, 100, 1)
    v, L = np.random.default_rng(3).normal(size=(150, 6)), A - 0.7 * B
    calls: list[int] = []

    def multiply(V: Array, number: int) -> Array:
        calls.append(number)
        return np.stack([A @ V, B @ V])

    modes = exact_modes(multiply, v, 0.7, 3, steps, inline)
    assert calls == list(range(steps + 1))
    q = scipy.linalg.qr(np.hstack([np.linalg.matrix_power(L, i) @ v for i in range(steps + 1)]), mode="economic")[0]
    truth = Truth.of_matrix(q.T @ L @ q)
    np.testing.assert_allclose(modes.eigenvalues, truth.leading(3), rtol=1e-6)


def test_modes_that_do_not_converge_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanczos, "MAX_BLOCKS", 2)
    A, B = symmetric(400, 300, 0), symmetric(400, 300, 1)
    modes = found(A, B, 1.0, 3)
    assert modes.unsettled == tuple(range(6))
    true = np.linalg.norm((A - B) @ modes.vectors - modes.eigenvalues * modes.vectors, axis=0)
    np.testing.assert_allclose(modes.residuals, true, rtol=1e-6)


def test_turned_modes_keep_their_span_and_change_their_forms() -> None:
    modes = found(symmetric(60, 20, 0), symmetric(60, 20, 1), 0.5, 2)
    turn = scipy.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    turned = modes.turned(turn)
    np.testing.assert_allclose(turned.vectors, modes.vectors @ turn)
    np.testing.assert_allclose(turned.action, turn.T @ modes.action @ turn, atol=1e-12)
    np.testing.assert_allclose(turned.eigenvalues, turned.a - 0.5 * turned.b, atol=1e-12)


# --- refined modes


@pytest.mark.parametrize(
    ("features", "kernel", "steps"),
    [
        ("landmarks", "gaussian", 1),
        ("landmarks", "gaussian", 2),
        ("fourier", "gaussian", 1),
        ("landmarks", "cosine", 1),
    ],
)
@pytest.mark.slow
def test_refined_modes_are_rayleigh_ritz_on_the_approximate_ones(
    pair: Pair, features: str, kernel: str, steps: int
) -> None:
    options = {"features": features, "kernel": kernel, "size": 8 if kernel == "cosine" else 40}
    start = refine(*pair, **options, refine=0, n_modes=4 + GUARD)
    result = refine(*pair, **options, refine=steps)
    L, v = dense(result, *pair), start.scores[:].astype(np.float64)
    q = scipy.linalg.qr(np.hstack([np.linalg.matrix_power(L, i) @ v for i in range(steps + 1)]), mode="economic")[0]
    values, y = scipy.linalg.eigh(q.T @ L @ q)
    truth = Truth(values, q @ y)
    truth.check(result.eigenvalues, result.scores[:], 4, tolerance=1e-3)
    for mode, u in zip(result.modes, result.scores[:].T.astype(np.float64), strict=True):
        assert mode.eigenvalue == pytest.approx(u @ L @ u, rel=1e-4, abs=1e-7)


@pytest.mark.slow
def test_each_step_brings_eigenvalues_nearer(pair: Pair) -> None:
    truth = Truth.of_matrix(dense(compare(*pair), *pair)).leading(4)
    errors = [np.abs(refine(*pair, refine=steps, size=30).eigenvalues - truth) for steps in (0, 1, 2)]
    assert np.median(errors[0] / np.abs(truth)) > 1e-3
    assert (errors[1] < 0.5 * errors[0]).all()
    assert errors[1].max() < 0.1 * errors[0].max()
    assert errors[2].max() < 0.5 * errors[1].max()


@pytest.mark.parametrize("case", ["rows left out", "sample", "unit", "two rows", "one landmark"])
@pytest.mark.slow
def test_refined_modes_converge_to_the_exact_ones(pair: Pair, case: str) -> None:
    a, b = (x.copy() for x in pair)
    options: dict[str, Any] = {"size": 80}
    if case == "rows left out":
        a[::4] = np.nan
        options["on_bad"] = "drop"
    elif case == "two rows":
        a, b, options = a[:2], b[:2], {"size": 2, "sigma": (9.0, 4.0)}
    else:
        options |= {
            "sample": {"sample": 400},
            "unit": {"normalize": "unit", "sigma": ("auto", "auto")},
            "one landmark": {"size": 1, "n_modes": 1, "refine": 12},
        }[case]
    exact = {key: value for key, value in options.items() if key not in ("size", "refine")}
    np.testing.assert_allclose(
        refine(a, b, **{"refine": 5, **options}).eigenvalues, compare(a, b, **exact).eigenvalues, rtol=1e-4, atol=2e-6
    )


def test_one_step_on_definitions_under_two_models(wordnet: tuple[Path, ...]) -> None:
    a, b = (np.load(path, mmap_mode="r")[:3000].astype(np.float32) for path in wordnet[:2])
    options: dict[str, Any] = {"sigma": ("auto", "auto"), "n_modes": 10}
    exact = compare(a, b, **options).eigenvalues
    errors = [np.abs(refine(a, b, **options, size=300, refine=i).eigenvalues / exact - 1) for i in (0, 1)]
    assert errors[0].max() > 0.02
    assert errors[1].max() < 0.01
    assert errors[1].mean() < 0.1 * errors[0].mean()


@pytest.mark.parametrize("run", [compare, refine])
@pytest.mark.slow
def test_modes_of_many_stripes_are_those_of_one(
    pair: Pair, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run(*pair)
    for rows in (64, 333):
        monkeypatch.setattr(refining, "STRIPE_ROWS", rows)
        many = run(*pair)
        np.testing.assert_allclose(many.eigenvalues, one.eigenvalues, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(many.scores[:], one.scores[:], atol=1e-4)


@pytest.mark.parametrize("run", [compare, refine])
@pytest.mark.slow
def test_the_number_of_threads_does_not_change_a_bit(
    make_pair: MakePair, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refining, "STRIPE_ROWS", 1500)
    pair = make_pair(2300, 60, 20)
    one, two = (run(*pair, threads=threads, certify=64) for threads in (1, 2))
    assert files_of(one) == files_of(two)
    assert one.summary["modes"] == two.summary["modes"]


@pytest.mark.parametrize(("run", "options"), [(compare, {}), (refine, {"rotate": "varimax"})])
@pytest.mark.slow
def test_another_weight_is_a_fresh_comparison(pair: Pair, run: Callable[..., Result], options: dict[str, Any]) -> None:
    first, fresh = run(*pair, **options), run(*pair, eta=0.4, **options)
    turned = first.with_eta(0.4)
    assert files_of(turned) == files_of(fresh)
    assert turned.summary["modes"] == fresh.summary["modes"]


def test_options_that_do_not_go_with_exact_modes(pair: Pair) -> None:
    for options in ({"size": 10}, {"refine": 1}, {"landmarks": "pivoted"}):
        with pytest.raises(OptionError, match="--features exact"):
            compare(*pair, **options)


# --- interruption and events


def stopped(run: Callable[..., Result], pair: Pair, out: Path, **options: Any) -> Iterator[int]:
    """Interrupt a comparison at some of its events, as long as there is one."""
    for events in range(9, 1000, 4):
        shutil.rmtree(out.with_name(out.name + ".work"), ignore_errors=True)
        left = iter(range(events))

        def progress(_: Event, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Interruption

        try:
            run(*pair, out=out, progress=progress, **options)
        except Interruption:
            yield events
        else:
            shutil.rmtree(out)
            return


@pytest.mark.parametrize("run", [compare, refine])
@pytest.mark.slow
def test_a_run_interrupted_anywhere_goes_on_to_the_same_bytes(
    pair: Pair, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refining, "STRIPE_ROWS", 300)
    monkeypatch.setattr(refining, "PATIENCE", 0.0)
    options: dict[str, Any] = {"n_modes": 2, "certify": 30}
    expected = files_of(run(*pair, **options))
    taken_up: set[tuple[str, int]] = set()
    for events in stopped(run, pair, tmp_path / "out", **options):
        seen: list[Event] = []
        result = run(*pair, out=tmp_path / "out", resume=True, progress=seen.append, **options)
        assert files_of(result) == expected, events
        taken_up |= {(event.name, event.done) for event in seen if isinstance(event, PassStarted) and event.done}
        shutil.rmtree(tmp_path / "out")
    name = "exact" if run is compare else "refine"
    assert any(which.startswith(name) and 0 < done < 700 + 400 + 100 for which, done in taken_up)  # within a sweep
    assert (f"{name}, sweep 1", 700 + 400 + 100) in taken_up


@pytest.mark.slow
def test_damaged_sums_of_a_sweep_are_computed_again(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refining, "STRIPE_ROWS", 300)
    monkeypatch.setattr(refining, "PATIENCE", 0.0)

    def stop(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "refine, sweep 2":
            raise Interruption

    with pytest.raises(Interruption):
        refine(*pair, out=tmp_path / "out", progress=stop)
    (sums,) = (tmp_path / "out.work").glob("*/refine/0.node")
    sums.write_bytes(sums.read_bytes()[:-9])
    events: list[Event] = []
    result = refine(*pair, out=tmp_path / "out", resume=True, progress=events.append)
    assert PassStarted("refine, sweep 1", 700 + 400 + 100, 0) in events
    assert files_of(result) == files_of(refine(*pair))


@pytest.mark.parametrize("dropped", [0, 50])
@pytest.mark.slow
def test_events_tell_of_every_row_that_passes_by(pair: Pair, monkeypatch: pytest.MonkeyPatch, dropped: int) -> None:
    monkeypatch.setattr(refining, "STRIPE_ROWS", 300)
    a = pair[0].copy()
    a[:dropped] = np.nan
    events: list[Event] = []
    refine(a, pair[1], progress=events.append, on_bad="drop")
    # Each stripe meets the rows from its first on.
    total = 700 + 400 + 100 if not dropped else 650 + 350 + 50
    for sweep in ("refine, sweep 1", "refine, sweep 2"):
        begin = next(i for i, event in enumerate(events) if isinstance(event, PassStarted) and event.name == sweep)
        end = next(i for i, event in enumerate(events) if isinstance(event, PassFinished) and event.name == sweep)
        started = events[begin]
        assert isinstance(started, PassStarted)
        done = sum(event.rows for event in events[begin:end] if isinstance(event, RowsDone))
        assert (started.rows, started.done) == (done, 0)
        assert not any(isinstance(event, PassStarted) for event in events[begin + 1 : end])
        assert done == total


# --- memory


@pytest.mark.parametrize(
    "options",
    [
        {"size": 600, "refine": 1},
        {"features": "fourier", "size": 200, "refine": 3, "rotate": "varimax"},
        {"features": "exact", "size": None},
    ],
    ids=["landmarks", "fourier", "exact"],
)
@pytest.mark.slow
def test_no_step_takes_more_memory_than_the_plan_says(make_pair: MakePair, options: dict[str, Any]) -> None:
    pair = make_pair(6000, 8, 6)
    refine(*make_pair(50), size=20)  # what is loaded and compiled once is no part of a step
    peaks: dict[str, int] = {}
    stage = ["nothing"]

    def note(event: Event) -> None:
        if isinstance(event, Stage):
            peaks[stage[0]] = max(peaks.get(stage[0], 0), tracemalloc.get_traced_memory()[1])
            tracemalloc.reset_peak()
            stage[0] = event.name.split(",")[0]

    tracemalloc.start()
    try:
        result = ss.compare(*pair, threads=2, progress=note, **{"sigma": (2.0, 2.0), "certify": 256, **options})
        note(Stage("end"))
    finally:
        tracemalloc.stop()
    planned = {step["name"]: step["memory"] for step in result.summary["plan"]["steps"]}
    assert {"refine", "exact"} & peaks.keys()
    over = {name: peaks[name] - planned[name] for name in planned.keys() & peaks.keys()}
    assert max(over.values()) < SLACK / 4, {
        name: f"{value:,}" for name, value in over.items()
    }  # most of the slack is the allocator's
