"""Whole comparisons, of arrays and of stores, against dense truths."""

from __future__ import annotations

import gc
import json
import math
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Run
from interruptions import Interruption
from numpy.typing import NDArray
from oracle import Truth, check_result, cosine_kernel, difference, features_of, gaussian_kernel

import specscale as ss
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.errors import ChangedError, ExistsError, InputError, OptionError, PairingError, PlanError
from specscale.method.result import Result
from specscale.runtime.events import Event, PassFinished, PassStarted, RowsDone, Stage, Warned
from specscale.runtime.local import LocalExecutor
from specscale.runtime.threads import Threads

pytestmark = pytest.mark.usefixtures("one_blas_thread")

Pair = tuple[NDArray[Any], NDArray[Any]]
MakePair = Callable[..., Pair]
MakeStore = Callable[..., Path]

SMALL: dict[str, Any] = {"size": 40, "n_modes": 4, "sigma": (2.0, 2.0), "top": 20}


def compare(a: Any, b: Any, **options: Any) -> Result:
    return ss.compare(a, b, **{**SMALL, **options})


def files_of(result: Result | Path) -> dict[str, bytes]:
    """What a result says about the samples, file by file."""
    path = result if isinstance(result, Path) else result.path
    names = [*sorted(path.glob("*.parquet")), *sorted(path.glob("spec.zarr/**/*"))]
    return {str(name.relative_to(path)): name.read_bytes() for name in names if name.is_file()}


def same_up_to_sign(one: NDArray[Any], other: NDArray[Any], atol: float) -> None:
    signs = np.sign((one * other).sum(axis=0))
    np.testing.assert_allclose(one, other * signs, atol=atol)


# --- against the n × n truth


@pytest.mark.slow
@pytest.mark.parametrize("features", ["fourier", "orthogonal", "landmarks"])
@pytest.mark.parametrize("eta", [0.0, 0.25, 1.0, 4.0, 100.0])
def test_gaussian_modes_are_those_of_the_square_matrix(pair: Pair, features: str, eta: float) -> None:
    result = compare(*pair, features=features, eta=eta, sigma=("auto", "median"))
    check_result(result, *pair, 4)
    if eta == 0:
        assert {mode.grouped_by for mode in result.modes} == {"A"}


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, 4.0, 100.0])
@pytest.mark.slow
def test_cosine_modes_are_those_of_the_exact_cosine_matrices(pair: Pair, eta: float) -> None:
    result = ss.compare(*pair, kernel="cosine", eta=eta, n_modes=5)
    truth = Truth.of_matrix(difference(*(cosine_kernel(x) for x in pair), eta))
    truth.check(result.eigenvalues, result.scores[:], 5)


@pytest.mark.slow
def test_many_frequencies_come_close_to_the_exact_gaussian_kernels(pair: Pair) -> None:
    result = compare(*pair, size=1500, sigma=("auto", "auto"), n_modes=3, features="orthogonal")
    sigmas = [result.summary["bandwidths"][which]["sigma"] for which in "ab"]
    truth = Truth.of_matrix(difference(*(gaussian_kernel(x, s) for x, s in zip(pair, sigmas, strict=True)), 1.0))
    assert np.abs(result.eigenvalues - truth.leading(3)).max() < 0.05 * result.spec_diff


@pytest.mark.slow
def test_groups_that_one_embedding_holds_together_are_found(make_pair: MakePair) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 1000, 16))
    a[:200] = 0.1 * a[:200] + 2
    b[800:] = 0.1 * b[800:] - 2
    result = compare(a, b, sigma=("auto", "auto"), n_modes=1, size=300, top=150)
    members = [set(mode.top(150).query("tail == '+'")["row"]) for mode in result.modes]
    assert [mode.grouped_by for mode in result.modes] == ["A", "B"]
    assert members[0] <= set(range(200))
    assert members[1] <= set(range(800, 1000))
    assert all(mode.eigenvalue > 0.01 for mode in result.modes[:1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "n",
    [2, 3, 1023, 1024, 1025, 8191, 8192, 8193, 9217, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, CHUNK_ROWS + 8193],
)
def test_any_number_of_rows(make_pair: MakePair, n: int) -> None:
    pair = make_pair(n, 5, 4)
    check_result(compare(*pair, size=min(n, 16), n_modes=3), *pair, 3)
    check_result(compare(*pair, size=16, n_modes=3, features="orthogonal"), *pair, 3)


@pytest.mark.parametrize("normalize", ["none", "unit"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.slow
def test_any_precision_and_normalisation(make_pair: MakePair, dtype: str, normalize: str) -> None:
    pair = make_pair(500, dtype=dtype)
    result = compare(*pair, normalize=normalize, sigma=(0.7, 0.7) if normalize == "unit" else (2.0, 2.0))
    check_result(result, *pair, 4)
    assert result.summary["inputs"]["a"]["dtype"] == {"float64": "float32"}.get(dtype, dtype)


@pytest.mark.parametrize("offset", [100.0, -3000.0])
@pytest.mark.slow
def test_data_far_from_the_origin(make_pair: MakePair, offset: float) -> None:
    pair = make_pair(600)
    moved = tuple((x.astype(np.float64) + offset).astype(np.float32) for x in pair)
    check_result(compare(*moved), *moved, 4)


@pytest.mark.slow
def test_order_in_memory_and_byte_order_do_not_matter(pair: Pair) -> None:
    plain = files_of(compare(*pair))
    a, b = pair
    wide = np.zeros((2 * len(a), a.shape[1] + 3), dtype=a.dtype)
    wide[::2, 1:-2] = a
    for other in (np.asfortranarray(a), wide[::2, 1:-2], a.astype(">f4"), a[:, None, :], a.astype(np.float64)):
        assert files_of(compare(other, np.asfortranarray(b))) == plain


@pytest.mark.parametrize(("features", "size"), [("orthogonal", 40), ("landmarks", 700)])
@pytest.mark.slow
def test_a_permutation_of_the_rows_permutes_the_scores(pair: Pair, features: str, size: int) -> None:
    order = np.random.default_rng(3).permutation(len(pair[0]))
    plain, permuted = (compare(*one, features=features, size=size) for one in (pair, tuple(x[order] for x in pair)))
    np.testing.assert_allclose(permuted.eigenvalues, plain.eigenvalues, rtol=1e-4)
    same_up_to_sign(permuted.scores[:], plain.scores[:][order], atol=1e-4)


@pytest.mark.parametrize("kernel", ["gaussian", "cosine"])
@pytest.mark.slow
def test_swapping_the_embeddings_negates_the_spectrum(pair: Pair, kernel: str) -> None:
    options = {"size": None, "kernel": kernel} if kernel == "cosine" else {}
    one, other = compare(*pair, **options), compare(*pair[::-1], **options)
    positive = [mode.grouped_by for mode in one.modes].count("A")
    np.testing.assert_allclose(
        other.eigenvalues, -np.r_[one.eigenvalues[positive:], one.eigenvalues[:positive]], rtol=1e-5
    )
    scores = one.scores[:]
    same_up_to_sign(other.scores[:], np.hstack([scores[:, positive:], scores[:, :positive]]), atol=1e-4)


@pytest.mark.parametrize("features", ["fourier", "orthogonal", "linear"])
@pytest.mark.parametrize("size", [16, 40, 130, 300])
@pytest.mark.slow
def test_an_embedding_against_itself_has_no_modes(pair: Pair, features: str, size: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"features": features, "sigma": ("auto", "auto"), "size": size}
    if features == "linear":
        options |= {"kernel": "cosine", "size": None}
    result = compare(pair[0], pair[0].astype(np.float64), out=tmp_path / "out", **options)
    assert result.modes == []
    assert result.eigenvalues.shape == (0,)
    assert result.scores.shape == (len(pair[0]), 0)
    assert result.spec_diff <= 1e-5
    again = ss.open_result(tmp_path / "out")
    assert len(again.members()) == 0
    assert len(again.to_pandas()) == 0
    assert "0 modes" in repr(again)
    assert again._repr_html_()
    assert again.covariance.shape[0] == again.covariance.shape[1]


@pytest.mark.parametrize("against", ["constant", "line", "duplicates"])
@pytest.mark.slow
def test_degenerate_embeddings(pair: Pair, against: str) -> None:
    n = len(pair[0])
    other = {
        "constant": np.full((n, 3), 0.1, dtype=np.float32),
        "line": np.linspace(0, 1, n, dtype=np.float32)[:, None],
        "duplicates": pair[1][np.arange(n) % 3],
    }[against]
    check_result(compare(pair[0], other, sigma=("auto", "auto")), pair[0], other, 4)


# --- what a result says


def test_modes_are_ordered_and_described(pair: Pair) -> None:
    result = compare(*pair, eta=0.7)
    values = result.eigenvalues
    assert [mode.mode for mode in result.modes] == list(range(8))
    assert [mode.grouped_by for mode in result.modes] == ["A"] * 4 + ["B"] * 4
    assert (np.diff(values[:4]) <= 0).all()
    assert (np.diff(values[4:]) >= 0).all()
    assert result.spec_diff == np.abs(values).max()
    for mode, value in zip(result.modes, values, strict=True):
        assert mode.eigenvalue == value
        assert value == pytest.approx(mode.a - 0.7 * mode.b, abs=1e-12)
        assert mode.certified is not None


def test_the_split_of_a_mode_is_its_quadratic_forms(pair: Pair) -> None:
    result = compare(*pair)
    kernels = [phi @ phi.T / len(phi) for phi in features_of(result, *pair)]
    scores = result.scores[:].astype(np.float64)
    for mode, u in zip(result.modes, scores.T, strict=True):
        assert mode.a == pytest.approx(u @ kernels[0] @ u, rel=1e-4, abs=1e-7)
        assert mode.b == pytest.approx(u @ kernels[1] @ u, rel=1e-4, abs=1e-7)


def test_standard_errors_and_effective_sizes_follow_from_the_scores(pair: Pair) -> None:
    result = compare(*pair)
    n = len(pair[0])
    fourths = (result.scores[:].astype(np.float64) ** 4).sum(axis=0)
    for mode, fourth in zip(result.modes, fourths, strict=True):
        assert mode.se == pytest.approx(abs(mode.eigenvalue) * math.sqrt(fourth - 1 / n), rel=1e-4)
        assert mode.effective_size == pytest.approx(1 / fourth, rel=1e-4)
        assert 1 <= mode.effective_size <= n


@pytest.mark.slow
def test_the_standard_error_is_the_spread_over_samples_of_rows(make_pair: MakePair) -> None:
    pair = make_pair(1500)
    generator = np.random.default_rng(0)
    options: dict[str, Any] = {"kernel": "cosine", "size": None, "n_modes": 1, "eta": 0.0}
    result = compare(*pair, **options)
    again = [
        compare(*(x[rows] for x in pair), **options).eigenvalues[0] for rows in generator.integers(0, 1500, (40, 1500))
    ]
    assert np.std(again) == pytest.approx(result.modes[0].se, rel=0.4)


def sorted_members(scores: NDArray[Any], top: int) -> pd.DataFrame:
    lines = []
    for mode, u in enumerate(scores.T):
        for tail, sign in (("+", 1), ("-", -1)):
            strength = sign * np.nan_to_num(u.astype(np.float64))
            order = np.lexsort((np.arange(len(u)), -strength))
            rows = [row for row in order[:top] if strength[row] > 0]
            lines += [(mode, tail, rank, row, u[row]) for rank, row in enumerate(rows, start=1)]
    return pd.DataFrame(lines, columns=["mode", "tail", "rank", "row", "score"])


@pytest.mark.parametrize(("n", "top"), [(50, 100), (700, 20), (9000, 7), (CHUNK_ROWS + 900, 30), (700, 0)])
@pytest.mark.slow
def test_the_top_members_are_the_extremes_of_all_scores(make_pair: MakePair, n: int, top: int) -> None:
    pair = make_pair(n, 5, 4)
    result = compare(*pair, size=16, n_modes=2, top=top)
    members = result.members()
    expected = sorted_members(result.scores[:], top)
    assert members["id"].isna().all()
    for name in ("mode", "tail", "rank", "row"):
        assert members[name].tolist() == expected[name].tolist(), name
    np.testing.assert_array_equal(
        members["score"].to_numpy(dtype=np.float64), expected["score"].to_numpy(dtype=np.float64)
    )


def test_of_equal_scores_the_lower_row_comes_first() -> None:
    a = np.repeat(np.eye(4, dtype=np.float32), [40, 30, 20, 10], axis=0)
    b = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    order = np.random.default_rng(1).permutation(100)
    result = compare(a[order], b[order], kernel="cosine", size=None, eta=0.0, n_modes=2, top=15)
    for mode in result.modes:
        for tail in "+-":
            members = mode.top(15, tail)
            for _, tied in members.groupby("score"):
                assert tied["row"].is_monotonic_increasing
    strongest = result.modes[0].top(15, "+")["row"].to_numpy()
    np.testing.assert_array_equal(strongest, np.sort(np.flatnonzero(order < 40))[:15])


def test_the_sign_of_a_mode_favours_its_heavier_tail(pair: Pair) -> None:
    # All rows are in the sample.
    assert ((compare(*pair).scores[:].astype(np.float64) ** 3).sum(axis=0) >= -1e-6).all()


def test_the_summary_says_what_was_compared(pair: Pair, tmp_path: Path) -> None:
    result = compare(*pair, out=tmp_path / "out", seed=5, eta=0.5, features="orthogonal")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary == result.summary
    assert summary["schema_version"] == 3
    assert (summary["options"]["seed"], summary["options"]["eta"]) == (5, 0.5)
    assert summary["rows"]["compared"] == summary["rows"]["total"] == len(pair[0])
    assert summary["spec_diff"] == result.spec_diff
    assert {"pairing", "bandwidth", "covariance", "solve", "scores", "certificate"} <= set(
        summary["measured"]["seconds"]
    )
    assert summary["measured"]["peak_memory"] > 0
    assert summary["inputs"]["a"]["digest"] != summary["inputs"]["b"]["digest"]
    C = np.concatenate(features_of(result, *pair), axis=1)
    np.testing.assert_allclose(result.covariance[:], C.T @ C / len(C), atol=1e-7)
    z = result.coefficients[:]
    np.testing.assert_allclose(z.T @ result.covariance[:] @ z, np.eye(8), atol=1e-6)


@pytest.mark.slow
def test_events_tell_of_every_row_of_every_pass(make_pair: MakePair) -> None:
    events: list[Event] = []
    compare(*make_pair(9000, 5, 4), size=16, progress=events.append)
    for name in ("covariance", "scores", "certificate"):
        assert PassStarted(name, 9000, 0) in events
        assert sum(event.rows for event in events if isinstance(event, RowsDone) and event.name == name) == 9000
        assert any(isinstance(event, PassFinished) and event.name == name for event in events)
    stages = [event.name for event in events if isinstance(event, Stage)]
    assert stages[:4] == ["pairing", "duplicates", "bandwidth", "landmarks"]


def test_warnings_are_events_and_part_of_the_result(pair: Pair) -> None:
    events: list[Event] = []
    lengths = np.exp(2 * np.random.default_rng(0).normal(size=(len(pair[0]), 1)))
    result = compare((pair[0] * lengths).astype(np.float32), pair[1], progress=events.append)
    assert [event.message for event in events if isinstance(event, Warned)] == result.summary["warnings"]
    assert "--normalize unit" in result.summary["warnings"][0]


@pytest.mark.slow
def test_a_temporary_result_goes_with_its_object(pair: Pair) -> None:
    result = compare(*pair)
    path, scores, expected = result.path, result.scores, result.scores[:]
    assert path.is_dir()
    del result
    np.testing.assert_array_equal(scores[:], expected)  # an array that is still held keeps its files
    del scores
    gc.collect()
    assert not path.parent.exists()


# --- another weight


@pytest.mark.parametrize("eta", [0.0, 0.3, 5.0])
@pytest.mark.slow
def test_another_weight_from_the_same_covariance_is_a_fresh_comparison(pair: Pair, eta: float, tmp_path: Path) -> None:
    options: dict[str, Any] = {"sigma": ("auto", "auto"), "seed": 2}
    first = compare(*pair, **options)
    fresh = compare(*pair, **options, eta=eta)
    turned = first.with_eta(eta, out=tmp_path / "turned")
    assert files_of(turned) == files_of(fresh)
    assert turned.summary["modes"] == fresh.summary["modes"]
    assert turned.summary["options"] == fresh.summary["options"]
    assert files_of(turned.with_eta(1.0)) == files_of(first)


@pytest.mark.slow
def test_another_weight_of_stores_after_the_process_ended(pair: Pair, make_store: MakeStore, tmp_path: Path) -> None:
    a, b = make_store("a", pair[0]), make_store("b", pair[1])
    compare(a, b, out=tmp_path / "out")
    reopened = ss.open_result(tmp_path / "out")
    assert files_of(reopened.with_eta(3.0)) == files_of(compare(*pair, eta=3.0))
    make_store("b", pair[1] + 1, overwrite=True)
    with pytest.raises(ChangedError, match=re.escape("b.zarr")):
        reopened.with_eta(2.0)
    shutil.rmtree(a)
    with pytest.raises(InputError, match=re.escape("a.zarr")):
        reopened.with_eta(2.0)


@pytest.mark.slow
def test_another_weight_of_rows_left_out(pair: Pair) -> None:
    a = pair[0].copy()
    a[[3, 77]] = np.nan
    options: dict[str, Any] = {"on_bad": "drop", "sample": 400}
    assert files_of(compare(a, pair[1], **options).with_eta(3.0)) == files_of(compare(a, pair[1], **options, eta=3.0))


# --- rows that are left out


@pytest.mark.parametrize("kernel", ["gaussian", "cosine"])
@pytest.mark.slow
def test_dropped_rows_leave_what_the_other_rows_alone_give(make_pair: MakePair, kernel: str) -> None:
    a, b = make_pair(9000, 6, 5)
    generator = np.random.default_rng(1)
    a[generator.choice(9000, 300, replace=False), 2] = np.nan
    b[generator.choice(9000, 200, replace=False), 1] = np.inf
    b[8192:8500] = np.nan
    if kernel == "cosine":
        a[generator.choice(9000, 100, replace=False)] = 0
    good = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1) & ((kernel == "gaussian") | (a != 0).any(axis=1))
    options: dict[str, Any] = {"kernel": kernel, "size": 20 if kernel == "gaussian" else None}
    result, compact = compare(a, b, on_bad="drop", **options), compare(a[good], b[good], **options)
    np.testing.assert_allclose(result.eigenvalues, compact.eigenvalues, rtol=1e-5)
    scores = result.scores[:]
    assert np.isnan(scores[~good]).all()
    same_up_to_sign(scores[good], compact.scores[:], atol=1e-5)
    assert set(result.members()["row"]) <= set(np.flatnonzero(good))
    assert result.summary["rows"]["dropped"] == (~good).sum()
    assert result.summary["rows"]["compared"] == good.sum()
    assert result.modes[0].effective_size == pytest.approx(compact.modes[0].effective_size, rel=1e-4)


@pytest.mark.parametrize(("value", "options"), [(np.nan, {}), (np.inf, {}), (0.0, {"normalize": "unit"})])
def test_rows_that_cannot_be_compared_are_refused_by_their_number(
    pair: Pair, value: float, options: dict[str, Any], tmp_path: Path
) -> None:
    b = pair[1].copy()
    b[[41, 600]] = value
    with pytest.raises(InputError, match=r"row 41 .*2 such rows.*--on-bad drop"):
        compare(pair[0], b, out=tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_zero_row_is_a_point_like_any_other_for_the_gaussian_kernel(pair: Pair) -> None:
    a = pair[0].copy()
    a[7] = 0
    check_result(compare(a, pair[1]), a, pair[1], 4)


@pytest.mark.slow
def test_a_sample_is_the_comparison_of_its_rows(make_pair: MakePair) -> None:
    pair = make_pair(3000)
    result = compare(*pair, sample=800, seed=4)
    chosen = ~np.isnan(result.scores[:]).any(axis=1)
    assert chosen.sum() == 800 == result.summary["rows"]["compared"]
    assert result.summary["rows"]["sampled"]
    compact = compare(*(x[chosen] for x in pair), seed=4)
    np.testing.assert_allclose(result.eigenvalues, compact.eigenvalues, rtol=1e-5)
    same_up_to_sign(result.scores[:][chosen], compact.scores[:], atol=1e-5)
    other = ~np.isnan(compare(*pair, sample=800, seed=5).scores[:]).any(axis=1)
    assert (other != chosen).any()


@pytest.mark.slow
def test_a_sample_of_all_rows_is_no_sample(pair: Pair) -> None:
    assert files_of(compare(*pair, sample=len(pair[0]))) == files_of(compare(*pair))


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_are_refused(pair: Pair, n: int) -> None:
    with pytest.raises(InputError):
        compare(*(x[:n] for x in pair))
    if n:
        with pytest.raises(InputError, match="two"):
            compare(*pair, sample=1)


# --- stores and pairing


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_stores_and_their_arrays_give_the_same_files(make_pair: MakePair, make_store: MakeStore, dtype: str) -> None:
    pair = make_pair(CHUNK_ROWS + 700, 5, 4, dtype=dtype)
    a, b = make_store("a", pair[0]), make_store("b", pair[1])
    result = compare(a, str(b), size=16)
    assert files_of(result) == files_of(compare(*pair, size=16)) == files_of(compare(a, pair[1], size=16))
    assert result.summary["inputs"]["b"]["source"] == str(b)


@pytest.mark.slow
def test_what_ingest_reads_is_compared_too(pair: Pair, tmp_path: Path) -> None:
    for name, array in zip("ab", pair, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    result = compare(tmp_path / "a.npy", str(tmp_path / "b.npy"), out=tmp_path / "out")
    assert files_of(result) == files_of(compare(*pair))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "b.npy", "out"]


@pytest.mark.slow
def test_a_file_is_found_by_its_url(pair: Pair, tmp_path: Path) -> None:
    for name, array in zip("ab", pair, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    options: dict[str, Any] = {"size": 30, "certify": 0}
    by_path = compare(*(f"{tmp_path}/{name}.npy" for name in "ab"), **options)
    by_url = compare(*(f"file://{tmp_path}/{name}.npy" for name in "ab"), **options)
    np.testing.assert_array_equal(by_url.scores[:], by_path.scores[:])


@pytest.mark.slow
def test_memory_maps_are_arrays(pair: Pair, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pair[0])
    assert files_of(compare(np.load(tmp_path / "a.npy", mmap_mode="r"), pair[1])) == files_of(compare(*pair))


@pytest.mark.parametrize("kind", ["text", "integers", "mixed"])
@pytest.mark.slow
def test_pairing_by_id_is_the_comparison_of_aligned_rows(pair: Pair, make_store: MakeStore, kind: str) -> None:
    a, b = pair
    n = len(a)
    order = np.random.default_rng(0).permutation(n)
    numbers = 3 * np.arange(n)
    texts = [str(i) for i in numbers]
    ids_a = numbers.tolist() if kind == "integers" else texts
    ids_b = [texts[i] for i in order] if kind == "text" else [int(numbers[i]) for i in order]
    result = compare(make_store("a", a, ids=ids_a), make_store("b", b[order], ids=ids_b))
    plain = compare(a, b)
    found = {name: content for name, content in files_of(result).items() if "b_rows" not in name}
    without_ids = {"modes.parquet": b"", "members.parquet": b""}
    assert {**found, **without_ids} == {**files_of(plain), **without_ids}
    members = result.members()
    assert [str(one) for one in members["id"]] == [texts[row] for row in members["row"]]
    assert result.summary["rows"]["matched_by"] == "id"


@pytest.mark.slow
def test_ids_in_part_of_each_embedding(make_pair: MakePair, make_store: MakeStore) -> None:
    a, b = make_pair(9500, 6, 5)
    in_a, in_b = np.arange(9000), np.random.default_rng(0).permutation(np.arange(400, 9500))
    store_a = make_store("a", a[in_a], ids=[f"x{i}" for i in in_a])
    store_b = make_store("b", b[in_b], ids=[f"x{i}" for i in in_b])
    result, aligned = compare(store_a, store_b), compare(a[400:9000], b[400:9000])
    np.testing.assert_allclose(result.eigenvalues, aligned.eigenvalues, rtol=1e-5)
    scores = result.scores[:]
    assert np.isnan(scores[:400]).all()
    same_up_to_sign(scores[400:], aligned.scores[:], atol=1e-5)
    rows = result.summary["rows"]
    assert [rows[name] for name in ("total", "matched", "compared", "only_a", "only_b")] == [9000, 8600, 8600, 400, 500]


@pytest.mark.slow
def test_equal_ids_in_the_same_order_need_no_rewriting(pair: Pair, make_store: MakeStore) -> None:
    ids = [f"x{i}" for i in range(len(pair[0]))]
    stores = make_store("a", pair[0], ids=ids), make_store("b", pair[1], ids=ids)
    by_id, by_position = compare(*stores), compare(*stores, match="position")
    assert files_of(by_id) == files_of(by_position)
    assert [one.summary["rows"]["matched_by"] for one in (by_id, by_position)] == ["id", "position"]


def test_members_carry_the_columns_of_the_first_store(pair: Pair, make_store: MakeStore) -> None:
    labels = [f"label {i}" for i in range(len(pair[0]))]
    result = compare(make_store("a", pair[0], columns={"label": labels, "score": labels}), pair[1])
    members = result.modes[0].top(5)
    assert len(members) == 10
    for name in ("label", "score_of_row"):
        assert members[name].tolist() == [labels[row] for row in members["row"]]


@pytest.mark.parametrize(
    ("ids_a", "ids_b", "match", "message"),
    [
        (list("abcdef"), None, None, r"a\.zarr has ids .*--id COLUMN.*--match position"),
        (None, list("abcdef"), None, r"b\.zarr has ids .*--id COLUMN.*--match position"),
        (None, None, "id", r"no ids.*--match position"),
        (list("abcdef"), list("uvwxyz"), None, r"no id .*'a'.*'u'"),
    ],
)
@pytest.mark.slow
def test_rows_that_cannot_be_paired(
    make_store: MakeStore, ids_a: list[str] | None, ids_b: list[str] | None, match: str | None, message: str
) -> None:
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    stores = make_store("a", x, ids=ids_a), make_store("b", x, ids=ids_b)
    with pytest.raises(PairingError, match=message) as caught:
        compare(*stores, match=match)
    assert "\n" not in str(caught.value)


def test_different_counts_are_never_paired_by_position(pair: Pair) -> None:
    with pytest.raises(PairingError, match=r"700 rows.*698.*--id"):
        compare(pair[0], pair[1][:-2])


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": "polynomial"},
        {"kernel": "cosine", "features": "fourier"},
        {"features": "linear"},
        {"kernel": "cosine", "size": 10},
        {"sigma": ("auto", "wide")},
        {"sigma": ("0", "auto")},
        {"eta": -1.0},
        {"eta": math.nan},
        {"normalize": "l2"},
        {"on_bad": "ignore"},
        {"match": "name"},
        {"n_modes": 0},
        {"size": 0},
        {"sample": 0},
        {"top": -1},
        {"seed": -1},
        {"threads": 0},
        {"memory": "lots"},
    ],
)
def test_illegal_options_are_refused_before_anything_is_written(
    pair: Pair, options: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(OptionError) as caught:
        ss.compare(*pair, out=tmp_path / "out", **options)
    assert "--" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "given", [np.arange(6), np.ones((2, 3, 4)), np.ones((3, 0)), np.ones((3, 2), dtype=int), "nowhere"]
)
def test_what_is_no_embedding_is_refused(given: Any) -> None:
    with pytest.raises(InputError):
        compare(given, np.ones((3, 2)))


def test_a_plan_beyond_the_memory_is_refused_with_a_size_that_fits(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"--memory allows.*--(size|memory)"):
        compare(*pair, size=4000, features="orthogonal", memory="300M", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# --- the same bits


@pytest.mark.parametrize("kernel", ["gaussian", "cosine"])
@pytest.mark.slow
def test_the_number_of_threads_does_not_change_a_bit(make_pair: MakePair, kernel: str) -> None:
    pair = make_pair(CHUNK_ROWS + 9000, 150, 20)
    options = {"size": 70, "sigma": ("auto", "auto")} if kernel == "gaussian" else {"size": None, "kernel": "cosine"}
    one, three = (compare(*pair, threads=threads, **options) for threads in (1, 3))
    assert files_of(one) == files_of(three)
    assert one.summary["modes"] == three.summary["modes"]
    assert one.summary["groups"] == three.summary["groups"]
    assert one.summary["bandwidths"] == three.summary["bandwidths"]


@pytest.mark.slow
def test_seeds_matter(pair: Pair) -> None:
    assert not np.allclose(compare(*pair, seed=1).eigenvalues, compare(*pair, seed=0).eigenvalues, rtol=1e-6)


# --- interruption


def after(events: int) -> Callable[[Event], None]:
    countdown = iter(range(events))

    def progress(event: Event) -> None:
        if next(countdown, None) is None:
            raise Interruption

    return progress


def interrupted(a: Any, b: Any, out: Path, **options: Any) -> Iterator[int]:
    """Interrupt the comparison at one event after the other, as long as there is one to be interrupted at."""
    for events in range(1000):
        shutil.rmtree(out.with_name(out.name + ".work"), ignore_errors=True)
        try:
            compare(a, b, out=out, progress=after(events), **options)
        except Interruption:
            yield events
        else:
            shutil.rmtree(out)
            return


@pytest.mark.slow
def test_a_run_interrupted_anywhere_goes_on_to_the_same_bytes(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair(2 * CHUNK_ROWS + 500, 5, 4)
    # Features large enough for spans of two chunks, the second one short.
    options: dict[str, Any] = {"size": 60, "n_modes": 2, "rounds": 0}
    expected = files_of(compare(*pair, **options))
    points = 0
    for events in interrupted(*pair, tmp_path / "out", **options):
        points += 1
        assert not (tmp_path / "out").exists()
        if events % 3 and events > 4:
            continue  # a third of the blocks will do
        done: list[int] = []

        def note(event: Event, done: list[int] = done) -> None:
            if isinstance(event, PassStarted):
                done.append(event.done)

        result = compare(*pair, out=tmp_path / "out", resume=True, progress=note, **options)
        assert files_of(result) == expected, events
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        shutil.rmtree(tmp_path / "out")
    assert points > 15


@pytest.mark.slow
@pytest.mark.parametrize("events", [1, 2, 4, 10, 11])
def test_a_search_for_groups_that_is_interrupted_goes_on_to_the_same_bytes(
    make_pair: MakePair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    monkeypatch.setattr("specscale.runtime.spans._MOST_CHUNKS", 1)
    pair, left = make_pair(2 * CHUNK_ROWS + 500, 5, 4), [events]
    options: dict[str, Any] = {"size": 8, "n_modes": 1, "certify": 0}

    def stop(event: Event) -> None:
        left[0] -= getattr(event, "name", "") == "groups"
        if left[0] == 0:
            raise Interruption

    with pytest.raises(Interruption):
        compare(*pair, out=tmp_path / "out", progress=stop, **options)
    assert not (tmp_path / "out").exists()
    result = compare(*pair, out=tmp_path / "out", resume=True, **options)
    assert result.groups
    assert files_of(result) == files_of(compare(*pair, **options))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_finished_spans_of_an_interrupted_run_are_not_read_again(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair(10 * CHUNK_ROWS, 2, 2)  # spans of eight chunks
    options: dict[str, Any] = {"size": 4, "n_modes": 1, "rounds": 0}
    seen: list[Event] = []

    def stop_in_scores(event: Event) -> None:
        seen.append(event)
        if (
            isinstance(event, RowsDone)
            and event.name == "scores"
            and sum(isinstance(one, RowsDone) and one.name == "scores" for one in seen) > 35
        ):
            raise Interruption

    with closing(Threads(2)) as pool:
        impatient = LocalExecutor(pool, patience=0)
        with pytest.raises(Interruption):
            compare(*pair, out=tmp_path / "out", progress=stop_in_scores, executor=impatient, **options)
    events: list[Event] = []
    result = compare(*pair, out=tmp_path / "out", resume=True, progress=events.append, **options)
    started = {event.name: event.done for event in events if isinstance(event, PassStarted)}
    assert started == {"covariance": 10 * CHUNK_ROWS, "scores": 8 * CHUNK_ROWS, "certificate": 0}
    assert files_of(result) == files_of(compare(*pair, **options))


KILLED = """
import os, signal, sys
import numpy as np, specscale as ss
from specscale.runtime.events import RowsDone
from specscale.runtime.local import LocalExecutor
from specscale.runtime.threads import Threads
a, b, out, name, count = sys.argv[1:]
left = [int(count)]
def progress(event):
    if isinstance(event, RowsDone) and event.name == name:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
executor = LocalExecutor(Threads(2), patience=0)
ss.compare(a, b, out=out, progress=progress, executor=executor, size=16, n_modes=2, sigma=(2.0, 2.0), top=20)
"""


@pytest.mark.parametrize(("name", "count"), [("covariance", 34), ("scores", 3), ("scores", 36), ("groups", 36)])
def test_a_killed_run_goes_on_to_the_same_bytes(
    make_pair: MakePair, make_store: MakeStore, run_python: Run, tmp_path: Path, name: str, count: int
) -> None:
    pair = make_pair(9 * CHUNK_ROWS + 100, 3, 2)
    stores = make_store("a", pair[0]), make_store("b", pair[1])
    out = tmp_path / "out"
    done = run_python(KILLED, *map(str, stores), str(out), name, str(count))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    options: dict[str, Any] = {"size": 16, "n_modes": 2}
    with pytest.raises(ExistsError, match="--resume"):
        compare(*stores, out=out, **options)
    result = compare(*stores, out=out, resume=True, **options)
    assert files_of(result) == files_of(compare(*stores, **options))
    assert not out.with_name("out.work").exists()


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"size": 41}, {"sigma": (2.0, 2.5)}, {"normalize": "unit"}, {"eta": 2.0, "sample": 600}]
)
@pytest.mark.slow
def test_other_options_cannot_go_on(pair: Pair, tmp_path: Path, other: dict[str, Any]) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "scores":
            raise Interruption

    with pytest.raises(Interruption):
        compare(*pair, out=tmp_path / "out", progress=stop)
    with pytest.raises(ChangedError, match="--resume"):
        compare(*pair, out=tmp_path / "out", resume=True, **other)
    with pytest.raises(ChangedError, match="digest of B"):
        compare(pair[0], pair[1] + 1, out=tmp_path / "out", resume=True)
    assert files_of(compare(*pair, out=tmp_path / "out", resume=True)) == files_of(compare(*pair))


@pytest.mark.slow
def test_an_existing_result_is_replaced_only_when_asked(pair: Pair, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = files_of(compare(*pair, out=out))
    with pytest.raises(ExistsError, match="--overwrite"):
        compare(*pair, out=out, eta=2.0)
    assert files_of(out) == first
    second = files_of(compare(*pair, out=out, eta=2.0, overwrite=True))
    assert files_of(out) == second != first
    with pytest.raises(OptionError, match="nowhere"):
        compare(*pair, out=tmp_path / "nowhere" / "out")


@pytest.mark.parametrize("name", ["covariance", "scores"])
@pytest.mark.parametrize("which", ["a", "b"])
@pytest.mark.slow
def test_a_store_that_changes_during_the_work_is_noticed(
    make_pair: MakePair, make_store: MakeStore, tmp_path: Path, name: str, which: str
) -> None:
    pair = make_pair(2000, 5, 4)
    stores = make_store("a", pair[0]), make_store("b", pair[1])

    def replace(event: Event) -> None:
        if isinstance(event, Stage) and event.name == name:
            make_store(which, pair["ab".index(which)] + 1, overwrite=True)

    with pytest.raises(ChangedError, match=re.escape(f"{which}.zarr")):
        compare(*stores, out=tmp_path / "out", progress=replace)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ChangedError):
        compare(*stores, out=tmp_path / "out", resume=True)


def test_a_chunk_that_is_lost_during_the_work_is_named(pair: Pair, make_store: MakeStore, tmp_path: Path) -> None:
    stores = make_store("a", pair[0]), make_store("b", pair[1])

    def lose(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "covariance":
            (stores[1] / "features" / "c" / "0" / "0").unlink()

    with pytest.raises(InputError, match="missing"):
        compare(*stores, progress=lose)


# --- memory


MEASURED = """
import json, sys
import specscale as ss
a, b, out = sys.argv[1:4]
ss.compare(a, b, out=out, threads=2, **json.loads(sys.argv[4]))
"""


@pytest.mark.process
@pytest.mark.parametrize(
    "options",
    [
        {"size": 300, "rounds": 0},
        {"size": 60, "n_modes": 3},
        {"kernel": "cosine"},
        {"size": 200, "sample": 30_000, "rounds": 0},
    ],
    ids=["gaussian", "small", "cosine", "sample"],
)
def test_the_peak_of_memory_stays_below_the_plan(
    make_pair: MakePair, make_store: MakeStore, tmp_path: Path, options: dict[str, Any]
) -> None:
    pair = make_pair(100_000, 96, 64)
    stores = make_store("a", pair[0]), make_store("b", pair[1])
    command = [sys.executable, "-c", MEASURED, *map(str, stores), str(tmp_path / "out"), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    summary = ss.open_result(tmp_path / "out").summary
    planned, measured = summary["plan"]["memory"]["peak"], summary["measured"]["peak_memory"]
    assert measured <= planned
    assert measured > 0.3 * planned  # a plan that asks for far too much would refuse what fits


def test_a_plan_runs_nothing(pair: Pair, make_store: MakeStore, tmp_path: Path) -> None:
    stores = make_store("a", pair[0]), make_store("b", pair[1])
    before = sorted(tmp_path.iterdir())
    made, machine = ss.plan(*stores, size=50)
    assert sorted(tmp_path.iterdir()) == before
    assert (made.n, made.n_kept, made.d) == (700, 700, 100)
    assert made.peak > 0
    assert made.disk > 0
    assert set(made.seconds(machine)) == {step.name for step in made.steps}


# --- real data


def test_definitions_under_two_models(wordnet: tuple[Path, ...]) -> None:
    a, b = (np.load(path, mmap_mode="r")[:5000] for path in wordnet[:2])
    result = ss.compare(a, b, size=200, n_modes=5)
    check_result(result, a, b, 5)
    assert {mode.grouped_by for mode in result.modes} == {"A", "B"}
