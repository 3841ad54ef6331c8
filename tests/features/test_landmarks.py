"""Landmark maps: the Nyström approximation, the choice of landmark rows and of their number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import Truth, check_result, cosine_kernel, difference, gaussian_kernel, mapped

import specscale as ss
from specscale.errors import OptionError, SpecscaleError
from specscale.features import base
from specscale.features.kernel import ExactKernel
from specscale.features.landmarks import CUT_OFF, LandmarkMap, whitening
from specscale.features.pivoting import pivoted_rows
from specscale.features.registry import restored_map
from specscale.kernels.base import load_kernels
from specscale.method import sizing
from specscale.method.result import Result

pytestmark = pytest.mark.usefixtures("one_blas_thread")

Array = NDArray[Any]
Pair = tuple[Array, Array]
MakePair = Callable[..., Pair]
MakeStore = Callable[..., Path]

SMALL: dict[str, Any] = {"size": 60, "n_modes": 4, "sigma": (2.0, 2.0), "top": 20, "rounds": 0}


def compare(a: Any, b: Any, **options: Any) -> Result:
    return ss.compare(a, b, **{**SMALL, **options})


def files_of(result: Result) -> dict[str, bytes]:
    """What a result says about the samples, file by file."""
    names = [result.path / "modes.parquet", result.path / "maps.json", *sorted(result.path.glob("spec.zarr/**/*"))]
    return {str(name.relative_to(result.path)): name.read_bytes() for name in names if name.is_file()}


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def gaussian(p: int, sigma: float, unit: bool = False) -> ExactKernel:
    return ExactKernel(np.full(p, 0.2), unit, sigma)


def cosine(p: int) -> ExactKernel:
    return ExactKernel(np.zeros(p), True, None)


def dense(kernel: ExactKernel, x: Array) -> NDArray[np.float64]:
    x = x.astype(np.float64)
    if kernel.sigma is None:
        return cosine_kernel(x)
    return gaussian_kernel(x / np.linalg.norm(x, axis=1, keepdims=True) if kernel.unit else x, kernel.sigma)


def nystrom(kernel: ExactKernel, x: Array, rows: NDArray[np.int64], cut: float = CUT_OFF) -> NDArray[np.float64]:
    """K_nZ pinv(K_ZZ) K_Zn, without the eigenvalues of K_ZZ below the cut-off."""
    full = dense(kernel, x)
    return full[:, rows] @ np.linalg.pinv(full[np.ix_(rows, rows)], rcond=cut, hermitian=True) @ full[rows]


def landmark_map(kernel: ExactKernel, x: Array, rows: NDArray[np.int64]) -> LandmarkMap:
    return LandmarkMap.of(kernel, rows, x[rows])


# --- the map


@given(
    n=st.integers(2, 60),
    r=st.integers(1, 60),
    p=st.integers(1, 12),
    sigma=st.floats(0.3, 30),
    kind=st.sampled_from(["gaussian", "unit", "cosine"]),
    seed=st.integers(0, 99),
)
def test_features_are_the_nystrom_approximation(n: int, r: int, p: int, sigma: float, kind: str, seed: int) -> None:
    x = normal(n, p, seed=seed)
    kernel = cosine(p) if kind == "cosine" else gaussian(p, sigma, kind == "unit")
    rows = np.sort(np.random.default_rng(seed).choice(n, size=min(r, n), replace=False))
    e = np.linalg.eigvalsh(dense(kernel, x[rows]))
    one = landmark_map(kernel, x, rows)
    if not ((e > 0.9 * CUT_OFF * e[-1]) & (e < 1.1 * CUT_OFF * e[-1])).any():  # else either side of it is right
        assert one.dim == np.count_nonzero(e > CUT_OFF * e[-1])
        phi = mapped(one, x)
        np.testing.assert_allclose(phi @ phi.T, nystrom(kernel, x, rows), atol=1e-7)


@pytest.mark.parametrize("kind", ["gaussian", "cosine"])
def test_single_precision_is_the_nystrom_approximation_too(kind: str) -> None:
    x = normal(300, 16)
    kernel = cosine(16) if kind == "cosine" else gaussian(16, 4.0)
    rows = np.arange(0, 300, 3)
    one = landmark_map(kernel, x, rows)
    phi, bad = base.mapped(one, load_kernels("cpu"), x)
    assert bad == -1
    # An error of 1e-7 in the kernel is blown up by no more than the root of the cut-off.
    np.testing.assert_allclose(phi @ phi.T, nystrom(kernel, x, rows), atol=2e-4)


def test_features_are_exact_where_one_row_is_a_landmark() -> None:
    x, rows = normal(80, 9), np.arange(0, 80, 4)
    kernel = gaussian(9, 3.0)
    phi = mapped(landmark_map(kernel, x, rows), x)
    exact = dense(kernel, x)
    np.testing.assert_allclose((phi @ phi.T)[rows], exact[rows], atol=1e-7)
    others = np.setdiff1d(np.arange(80), rows)
    left = (exact - phi @ phi.T)[np.ix_(others, others)]
    assert np.trace(left) > 0.1  # and only there
    assert scipy.linalg.eigvalsh(left)[0] > -1e-9  # what is missing is a kernel itself


def test_all_rows_as_landmarks_give_the_exact_kernel() -> None:
    x = normal(120, 6)
    for kernel in (gaussian(6, 1.0), gaussian(6, 0.5, unit=True), cosine(6)):
        phi = mapped(landmark_map(kernel, x, np.arange(120)), x)
        np.testing.assert_allclose(phi @ phi.T, dense(kernel, x), atol=120 * CUT_OFF)


@given(r=st.integers(1, 40), rank=st.integers(1, 12), seed=st.integers(0, 99))
def test_whitening_makes_a_kernel_matrix_the_identity(r: int, rank: int, seed: int) -> None:
    root = np.random.default_rng(seed).normal(size=(r, rank))
    gram = root @ root.T
    t = whitening(gram)
    assert t.shape == (r, min(r, rank)) or t.shape[1] < min(r, rank)
    np.testing.assert_allclose(t.T @ gram @ t, np.eye(t.shape[1]), atol=1e-6)


def test_the_cut_off_is_a_share_of_the_largest_eigenvalue() -> None:
    for scale in (1e-3, 1.0, 1e3):
        assert whitening(scale * np.diag([1.0, 1.1e-6, 0.9e-6, 0.0])).shape == (4, 2)


def test_repeated_landmarks_add_no_dimension() -> None:
    x = normal(30, 5)
    twice = np.concatenate([x, x])
    kernel = gaussian(5, 1.5)
    once, doubled = (landmark_map(kernel, each, np.arange(len(each))) for each in (x, twice))
    assert doubled.dim == once.dim == 30
    np.testing.assert_allclose(mapped(doubled, x) @ mapped(doubled, x).T, dense(kernel, x), atol=1e-9)


def test_a_constant_embedding_has_one_dimension() -> None:
    x = np.full((40, 3), 0.3, dtype=np.float32)
    for kernel in (gaussian(3, 1.0), cosine(3)):
        one = landmark_map(kernel, x, np.arange(0, 40, 2))
        assert one.dim == 1
        np.testing.assert_allclose(mapped(one, x) ** 2, 1, atol=1e-12)


def test_a_tiny_bandwidth_tells_landmarks_alone_apart() -> None:
    x, rows = normal(20, 4), np.arange(7)
    phi = mapped(landmark_map(gaussian(4, 1e-4), x, rows), x)
    assert phi.shape == (20, 7)
    np.testing.assert_allclose(phi @ phi.T, np.diag(np.r_[np.ones(7), np.zeros(13)]), atol=1e-7)


def test_a_huge_bandwidth_makes_all_rows_one() -> None:
    x = normal(20, 4)
    one = landmark_map(gaussian(4, 1e6), x, np.arange(7))
    assert one.dim == 1
    np.testing.assert_allclose(mapped(one, x) @ mapped(one, x).T, 1, atol=1e-9)


def test_a_map_names_the_first_bad_row() -> None:
    x = normal(9, 4)
    one = landmark_map(cosine(4), x, np.arange(3))
    x[5] = 0
    x[7, 1] = np.nan
    assert base.mapped(one, load_kernels("cpu"), x)[1] == 5


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("kind", ["gaussian", "unit", "cosine"])
def test_a_restored_map_is_the_map_bit_for_bit(kind: str, dtype: str) -> None:
    x = normal(50, 7).astype(dtype)
    kernel = cosine(7) if kind == "cosine" else ExactKernel(np.median(x, axis=0).astype(float), kind == "unit", 1 / 3)
    one = landmark_map(kernel, x, np.arange(1, 50, 3))
    parameters = json.loads(json.dumps(one.parameters()))
    again = restored_map(parameters, one.arrays())
    assert isinstance(again, LandmarkMap)
    for backend in ("cpu", "reference"):
        (phi, bad), (restored, bad_again) = (base.mapped(each, load_kernels(backend), x) for each in (one, again))
        assert bad == bad_again == -1
        np.testing.assert_array_equal(phi, restored)
    np.testing.assert_array_equal(again.rows, one.rows)
    kept = ExactKernel.restored(parameters)
    assert (kept.sigma, kept.unit) == (kernel.sigma, kernel.unit)
    np.testing.assert_array_equal(kept.centre, kernel.centre)


def test_costs_are_those_of_the_products() -> None:
    one = landmark_map(gaussian(5, 2.0), normal(30, 5), np.arange(12))
    assert one.operations == 2 * 12 * (5 + one.dim)
    assert (one.p, one.parameters()["size"], one.parameters()["dimension"]) == (5, 12, one.dim)


# --- whole comparisons


@pytest.mark.parametrize(("eta", "normalize"), [(0.0, "none"), (0.25, "unit"), (1.0, "none"), (4.0, "unit")])
@pytest.mark.slow
def test_modes_are_those_of_the_maps_square_matrices(pair: Pair, eta: float, normalize: str) -> None:
    result = compare(*pair, eta=eta, normalize=normalize, sigma=("auto", "auto"))
    assert result.summary["maps"]["features"] == "landmarks"
    check_result(result, *pair, 4, tolerance=1e-3)


@pytest.mark.slow
def test_the_modes_of_the_nystrom_matrices_are_found(pair: Pair) -> None:
    result = compare(*pair)
    rows = np.array(result.maps[0]["rows"])
    truth = Truth.of_matrix(difference(*(nystrom(gaussian(x.shape[1], 2.0), x, rows) for x in pair), 1.0))
    truth.check(result.eigenvalues, result.scores[:], 4, tolerance=1e-3)


@pytest.mark.slow
def test_all_embeddings_share_their_landmark_rows(pair: Pair) -> None:
    result = compare(*pair)
    first, second = (one["rows"] for one in result.maps)
    assert first == second == sorted(set(first))
    assert len(first) == 60
    for which, x in enumerate(pair):
        np.testing.assert_array_equal(result.map_arrays(which)["landmarks"], x[first])
    assert compare(*pair, seed=1).maps[0]["rows"] != first


def test_landmarks_are_rows_that_take_part(pair: Pair) -> None:
    a, b = (x.copy() for x in pair)
    a[::3], b[1::3] = np.nan, np.inf
    result = compare(a, b, on_bad="drop", size=200)
    kept = np.flatnonzero(np.arange(len(a)) % 3 == 2)
    numbers = np.array(result.maps[0]["rows"])  # among the rows that take part
    np.testing.assert_array_equal(result.map_arrays(0)["landmarks"], a[kept[numbers]])
    np.testing.assert_array_equal(result.map_arrays(1)["landmarks"], b[kept[numbers]])


@pytest.mark.parametrize(("size", "landmarks"), [(1, "pivoted"), (40, "uniform"), (60, "pivoted"), (700, "uniform")])
@pytest.mark.slow
def test_an_embedding_against_itself_has_no_modes(pair: Pair, size: int, landmarks: str) -> None:
    result = compare(pair[0], pair[0], size=size, landmarks=landmarks)
    assert result.modes == []
    assert result.spec_diff <= 1e-5


def test_the_cosine_kernel_takes_landmarks_too(pair: Pair) -> None:
    result = ss.compare(*pair, kernel="cosine", features="landmarks", size=50, n_modes=4)
    assert result.summary["maps"]["dimension"] == 12 + 9  # of which the linear map is made
    truth = Truth.of_matrix(difference(*(cosine_kernel(x) for x in pair), 1.0))
    truth.check(result.eigenvalues, result.scores[:], 4)


@pytest.mark.parametrize("against", ["constant", "duplicates", "far"])
@pytest.mark.slow
def test_degenerate_embeddings(pair: Pair, against: str) -> None:
    n = len(pair[0])
    other = {
        "constant": np.full((n, 3), 0.1, dtype=np.float32),
        "duplicates": pair[1][np.arange(n) % 3],
        "far": pair[1] + np.float32(1000),
    }[against]
    check_result(compare(pair[0], other, sigma=("auto", "auto")), pair[0], other, 4, tolerance=1e-3)


@pytest.mark.parametrize(("sigma", "word", "remedy"), [(1e-3, "identity", "larger"), (1e5, "constant", "smaller")])
@pytest.mark.slow
def test_a_bandwidth_at_which_the_kernel_tells_nothing_draws_a_warning(
    pair: Pair, sigma: float, word: str, remedy: str
) -> None:
    result = compare(*pair, sigma=(sigma, 2.0))
    (warning,) = [one for one in result.summary["warnings"] if word in one]
    assert remedy in warning
    assert "--sigma" in warning
    # A huge σ leaves one direction, which is the mode of A.
    assert result.modes[0].a == pytest.approx(1.0 if word == "constant" else 1 / len(pair[0]), rel=1e-2)


# --- their number


@pytest.mark.parametrize("size", [701, 100_000])
@pytest.mark.slow
def test_more_landmarks_than_rows_are_refused_in_a_line(pair: Pair, size: int) -> None:
    with pytest.raises(SpecscaleError, match=rf"--size {size}: .*700 rows.*--size 700") as caught:
        compare(*pair, size=size)
    assert "\n" not in str(caught.value)
    with pytest.raises(OptionError, match=r"--size 500: .*300 rows"):
        compare(*pair, size=500, sample=300)
    assert len(compare(*pair, size=700, certify=0).maps[0]["rows"]) == 700


@pytest.mark.parametrize("n", [2, 30, 500])
@pytest.mark.slow
def test_of_few_rows_all_are_landmarks(make_pair: MakePair, n: int) -> None:
    pair = make_pair(n)
    result = compare(*pair, size=None, sigma=(4.0, 4.0), certify=0)
    assert result.maps[0]["rows"] == list(range(n))
    assert f"{n:,} landmarks" in result.summary["choice"]
    assert "capture" not in result.summary["choice"]
    truth = Truth.of_matrix(difference(*(gaussian_kernel(x, 4.0) for x in pair), 1.0))
    np.testing.assert_allclose(result.eigenvalues, truth.leading(4), atol=3e-5)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> tuple[int, ...]:
    chosen = (20, 60, 150)
    monkeypatch.setattr(sizing, "SIZES", chosen)
    return chosen


def captured_by(result: Result) -> float:
    return float(result.summary["choice"].split("capture ")[1].split(" of")[0])


@pytest.mark.slow
def test_the_fewest_landmarks_that_reach_the_target_are_taken(
    make_pair: MakePair, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make_pair(900)
    options: dict[str, Any] = {"size": None, "sigma": ("top=0.1", "top=0.1"), "certify": 0}
    found = []
    for target in (0.0, 0.9, 0.99, 1.1):
        monkeypatch.setattr(sizing, "TARGET", target)
        result = compare(*pair, **options)
        size, share = len(result.maps[0]["rows"]), captured_by(result)
        assert size in sizes
        assert f"{size:,} landmarks" in result.summary["choice"]
        missed = "less than the target" in result.summary["choice"], "that stand out" in result.summary["choice"]
        assert any(missed) == (share < target)
        if share < target:
            assert size == sizes[-1]
            assert missed[1] or "--size" in result.summary["choice"]
        found.append((size, share))
    assert found == sorted(found)  # more is asked, more landmarks are taken, and they capture more
    assert found[0][0] == sizes[0] < found[-1][0] == sizes[-1]


@pytest.mark.slow
def test_the_share_that_is_captured_is_that_of_the_exact_modes(make_pair: MakePair, sizes: tuple[int, ...]) -> None:
    pair = make_pair(900)
    result = compare(*pair, size=None, sigma=("top=0.1", "top=0.1"), certify=0)
    sigmas = [result.summary["bandwidths"][which]["sigma"] for which in "ab"]
    exact = Truth.of_matrix(difference(*(gaussian_kernel(x, s) for x, s in zip(pair, sigmas, strict=True)), 1.0))
    rows = np.array(result.maps[0]["rows"])
    kernels = [nystrom(gaussian(x.shape[1], s), x, rows) for x, s in zip(pair, sigmas, strict=True)]
    near = Truth.of_matrix(difference(*kernels, 1.0))
    shares = []
    for wanted, space in ((slice(-4, None), slice(-9, None)), (slice(0, 4), slice(0, 9))):
        shares.append((np.linalg.norm(near.vectors[:, space].T @ exact.vectors[:, wanted], axis=0) ** 2).mean())
    assert captured_by(result) == pytest.approx(np.mean(shares), abs=0.02)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("against", ["itself", "other", "constant"])
@pytest.mark.slow
def test_a_number_of_landmarks_is_found_for_every_pair(
    make_pair: MakePair, sizes: tuple[int, ...], eta: float, against: str
) -> None:
    a, b = make_pair(500)
    b = {"itself": a, "other": b, "constant": np.ones_like(b)}[against]
    result = compare(a, b, size=None, eta=eta, certify=0)
    assert len(result.maps[0]["rows"]) in sizes
    if against == "itself" and eta == 1:
        assert result.modes == []


@pytest.mark.parametrize("sigma", [1e-3, 1e6])
@pytest.mark.slow
def test_a_number_of_landmarks_is_found_at_any_bandwidth(
    make_pair: MakePair, sizes: tuple[int, ...], sigma: float
) -> None:
    result = compare(*make_pair(500), size=None, sigma=(sigma, sigma), certify=0)
    assert len(result.maps[0]["rows"]) in sizes


def test_a_number_that_cannot_be_judged_is_not_the_least(make_pair: MakePair, sizes: tuple[int, ...]) -> None:
    # All but ten rows are landmarks, or more modes are wanted than the judged rows have.
    assert len(compare(*make_pair(160), size=None, n_modes=80, certify=0).maps[0]["rows"]) == sizes[-1]


# --- randomly pivoted Cholesky


def clustered(seed: int = 0) -> Array:
    """One broad cluster, and thirty rare ones of four rows each, far from it and from one another."""
    generator = np.random.default_rng(seed)
    rare = np.repeat(20 * generator.normal(size=(30, 8)), 4, axis=0) + 0.1 * generator.normal(size=(120, 8))
    x = np.concatenate([0.5 * generator.normal(size=(1080, 8)), rare])
    return x[generator.permutation(len(x))].astype(np.float32)


def test_pivots_are_distinct_ascending_and_seeded() -> None:
    kernels, x = load_kernels("cpu"), normal(300, 6)
    kernel = gaussian(6, 3.0)
    drawn = [pivoted_rows((kernel,), (x,), 100, seed, kernels) for seed in (0, 0, 1, 2)]
    for each in drawn:
        assert each.shape == (100,)
        assert (np.diff(each) > 0).all()
        assert each[0] >= 0
        assert each[-1] < 300
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    np.testing.assert_array_equal(pivoted_rows((kernel,), (x,), 300, 0, kernels), np.arange(300))


def test_pivots_leave_less_of_rare_clusters_than_uniform_rows() -> None:
    kernels, x = load_kernels("cpu"), clustered()
    kernel = gaussian(8, 2.0)
    full = dense(kernel, x)

    def error(rows: NDArray[np.int64]) -> float:
        return float(len(x) - np.trace(full[:, rows] @ np.linalg.pinv(full[np.ix_(rows, rows)]) @ full[rows]))

    generator = np.random.default_rng(0)
    pivoted = np.mean([error(pivoted_rows((kernel,), (x,), 160, seed, kernels)) for seed in range(4)])
    uniform = np.mean([error(np.sort(generator.choice(len(x), 160, replace=False))) for _ in range(4)])
    assert pivoted < 0.5 * uniform


def test_pivots_serve_all_embeddings() -> None:
    kernels, flat = load_kernels("cpu"), np.zeros((400, 2), dtype=np.float32)
    x = flat.copy()
    x[:5] = 10 * normal(5, 2)
    y = flat.copy()
    y[395:] = 10 * normal(5, 2, seed=1)
    chosen = pivoted_rows((gaussian(2, 0.5),) * 2, (x, y), 20, 0, kernels)
    assert set(range(5)) | set(range(395, 400)) <= set(chosen.tolist())


@pytest.mark.parametrize("distinct", [1, 3, 10])
def test_where_few_rows_are_distinct_uniform_ones_complete_the_pivots(distinct: int) -> None:
    kernels, kinds = load_kernels("cpu"), 5 * normal(distinct, 4)
    which = np.random.default_rng(1).integers(0, distinct, 500)
    which[:distinct] = np.arange(distinct)
    chosen = pivoted_rows((gaussian(4, 1.0),), (kinds[which],), 60, 0, kernels)
    assert len(np.unique(chosen)) == 60
    assert set(which[chosen]) == set(range(distinct))
    many = [pivoted_rows((gaussian(4, 1.0),), (kinds[which],), 60, seed, kernels) for seed in range(20)]
    assert len(np.unique(np.concatenate(many))) > 400  # the others are drawn anew with each seed


@pytest.mark.slow
def test_pivoted_landmarks_in_a_comparison(pair: Pair) -> None:
    result = compare(*pair, landmarks="pivoted")
    rows = np.array(result.maps[0]["rows"])
    assert (np.diff(rows) > 0).all()
    assert not np.array_equal(rows, compare(*pair).maps[0]["rows"])
    check_result(result, *pair, 4, tolerance=1e-3)


# --- another weight


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"landmarks": "pivoted"}, {"rotate": "varimax"}, {"refine": 1}])
def test_another_weight_is_a_fresh_comparison(pair: Pair, options: dict[str, Any]) -> None:
    first = compare(*pair, **options)
    fresh, turned = compare(*pair, eta=0.4, **options), first.with_eta(0.4)
    assert files_of(turned) == files_of(fresh)
    assert turned.summary["modes"] == fresh.summary["modes"]
    assert turned.summary["choice"] == fresh.summary["choice"]
    assert files_of(turned.with_eta(1.0)) == files_of(first)


@pytest.mark.slow
def test_another_weight_is_a_fresh_comparison_for_a_result_opened_later(
    make_pair: MakePair, make_store: MakeStore, tmp_path: Path
) -> None:
    pair = make_pair(500, dtype="float16")
    stores = make_store("a", pair[0]), make_store("b", pair[1])
    compare(*stores, out=tmp_path / "first")
    # A result that is opened knows its inputs from its summary alone, as in a process of another day.
    ss.open_result(tmp_path / "first").with_eta(0.4, out=tmp_path / "second")
    assert files_of(ss.open_result(tmp_path / "second")) == files_of(compare(*stores, eta=0.4))


@pytest.mark.slow
def test_the_number_of_threads_does_not_change_a_bit(make_pair: MakePair) -> None:
    pair = make_pair(1500, 40, 20)
    for landmarks in ("uniform", "pivoted"):
        one, two = (compare(*pair, size=90, threads=threads, landmarks=landmarks) for threads in (1, 2))
        assert files_of(one) == files_of(two)
        assert one.summary["modes"] == two.summary["modes"]
