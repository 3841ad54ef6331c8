"""What float32 leaves uncertain: kernels that are nearly constant, and weights far from 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from conftest import command, structured
from numpy.typing import NDArray
from oracle import Truth, difference, features_of

import specscale as ss
from specscale.cli.overview import print_overview
from specscale.errors import OptionError
from specscale.method.comparison import Comparison
from specscale.method.options import LARGEST_ETA
from specscale.method.result import Result
from specscale.results.comparison import LEFT_OUT
from specscale.runtime.events import Event, Warned
from specscale.spectral.difference import DOUBTFUL, ROUNDING, Modes, solve_difference
from specscale.spectral.tiles import TiledSymmetric

pytestmark = pytest.mark.usefixtures("one_blas_thread")

Array = NDArray[np.float64]


def groups(n: int, p: int, seed: int) -> Array:
    generator = np.random.default_rng(seed)
    return 1.5 * generator.normal(size=(8, p))[generator.integers(0, 8, n)] + generator.normal(size=(n, p))


def copied(n: int, noise: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """An embedding, and the same with a little noise."""
    a = groups(n, 24, 0)
    return a.astype(np.float32), (a + noise * np.random.default_rng(5).normal(size=a.shape)).astype(np.float32)


def compared(*pair: NDArray[Any], **options: Any) -> tuple[Result, list[str]]:
    said: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Warned):
            said.append(event.message)

    options = {"certify": 0, "n_modes": 2, "threads": 1, "top": 5, "progress": listen, **options}
    return ss.compare(*pair, **options), said


def spec_diff(result: Result, *pair: NDArray[Any]) -> float:
    """‖Λ‖₂ of the maps of a result, in float64."""
    eta = result.summary["options"]["eta"]
    return float(np.abs(Truth.of_features(features_of(result, *pair), eta).values).max())


def lengths(result: Result) -> Array:
    return np.asarray((result.scores[:].astype(np.float64) ** 2).sum(axis=0))


# --- kernels that are nearly constant


@pytest.mark.parametrize(
    ("n", "noise"),
    [(2000, 0.001), (6000, 0.005)],
)
@pytest.mark.slow
def test_rounding_makes_no_difference_of_kernels_that_are_nearly_constant(n: int, noise: float) -> None:
    pair = copied(n, noise)
    result, said = compared(*pair, sigma=(20.0, 20.0), size=100)
    assert result.spec_diff <= 1.2 * spec_diff(result, *pair)
    assert any("left out" in one and "--sigma" in one for one in said)
    assert not result.spec_diff or result.spec_diff == np.abs(result.eigenvalues).max()
    assert len(result.eigenvalues) == len(result.modes) == result.scores.shape[1]


def test_a_gate_does_not_close_on_what_rounding_made() -> None:
    from specscale.insight.gate import Rule

    result, _ = compared(*copied(2000, 0.001), sigma=(20.0, 20.0), size=100)
    assert not Rule.parse("spec_diff>0.0001").check(result).holds
    assert not Rule.parse("eigenvalue>0.0001").check(result).holds


@pytest.mark.slow
def test_a_matrix_leaves_out_what_rounding_made() -> None:
    pair = copied(2000, 0.001)
    found = ss.compare_many(list(pair), sigma=20.0, size=100, n_modes=2, threads=1)
    assert found.spec_diff.to_numpy().max() < 1e-4
    assert any("left out" in one for one in found.summary["warnings"])


def test_refinement_begins_from_doubtful_modes() -> None:
    pair = copied(1200, 0.02)
    result, said = compared(*pair, sigma=(20.0, 20.0), size=100, refine=2, features="landmarks")
    assert not any("left out" in one for one in said)
    assert result.spec_diff == pytest.approx(3.4e-4, rel=0.2)


@pytest.mark.parametrize("rounding", [2e-8, 5e-8, 1e-7, 1.9e-7])
@pytest.mark.parametrize("eta", [1.0, 4.0])
def test_modes_that_a_change_of_the_covariance_made_are_not_certain(rounding: float, eta: float) -> None:
    # One direction that both embeddings share, all of the variance, and a change of C within the rounding.
    d = 40
    generator = np.random.default_rng(0)
    shared = generator.normal(size=d)
    half = np.outer(shared, shared) / (shared @ shared)
    C = np.block([[half, half], [half, half]])
    noise = generator.normal(size=C.shape)
    noise = noise @ noise.T
    C = C + noise * (rounding * np.linalg.norm(C, 2) / np.linalg.norm(noise, 2))
    modes = solve_difference(TiledSymmetric.from_dense(C), d, eta, 3, lambda tasks: [task() for task in tasks] and None)
    true = [1 - eta] if eta != 1 else []
    np.testing.assert_allclose(modes.certain().eigenvalues, true, rtol=1e-3)
    assert modes.rounding == pytest.approx(ROUNDING * 2, rel=1e-4)


def test_doubt_is_what_a_change_of_the_covariance_does() -> None:
    pair = structured(900)
    result, _ = compared(*pair, sigma=(3.0, 3.0), size=60, n_modes=3)
    phi = np.concatenate(features_of(result, *pair), axis=1)
    C, d_a = phi.T @ phi / len(phi), features_of(result, *pair)[0].shape[1]

    def solved(C: Array) -> Modes:
        return solve_difference(
            TiledSymmetric.from_dense(C), d_a, 2.0, 3, lambda tasks: [task() for task in tasks] and None
        )

    modes = solved(C)
    noise = np.random.default_rng(0).normal(size=C.shape)
    noise = (noise + noise.T) * (modes.rounding / np.linalg.norm(noise + noise.T, 2))
    moved = np.abs(solved(C + noise).eigenvalues / modes.eigenvalues - 1)
    assert (moved <= modes.doubt).all()
    assert (modes.doubt < 1e-2).all()


def test_what_is_certain_keeps_its_numbers() -> None:
    values = np.array([0.5, 1e-4, 0.02, -0.3, -1e-4])
    split = np.stack([np.diag(np.maximum(values, 0) + 0.1), np.diag(np.maximum(-values, 0) + 0.1)])
    coefficients = np.arange(10.0).reshape(2, 5)
    a, b = (np.diagonal(one).copy() for one in split)
    modes = Modes(values, a, b, coefficients, np.arange(5.0), 1.0, split, 0.5, (1, 2, 4), 1e-7)
    kept = modes.certain()
    assert (modes.doubt > DOUBTFUL).tolist() == [False, True, False, False, True]
    assert kept.eigenvalues.tolist() == [0.5, 0.02, -0.3]
    assert (kept.unsettled, kept.spec_diff) == ((1,), 0.5)
    np.testing.assert_array_equal(kept.coefficients, coefficients[:, [0, 2, 3]])
    np.testing.assert_array_equal(kept.action, modes.action[np.ix_([0, 2, 3], [0, 2, 3])])
    assert kept.certain() is kept


# --- scores of unit length


@pytest.mark.slow
def test_scores_are_of_unit_length_where_rounding_has_moved_the_covariance(tmp_path: Path) -> None:
    pair = groups(4000, 24, 0).astype(np.float32), groups(4000, 20, 3).astype(np.float32)
    result, _ = compared(*pair, sigma=(100.0, 100.0), size=300, certify=64, out=tmp_path / "out")
    assert len(result.modes) == 4
    np.testing.assert_allclose(lengths(result), 1, atol=1e-5)
    scores = result.scores[:].astype(np.float64)
    np.testing.assert_allclose([mode.effective_size for mode in result.modes], 1 / (scores**4).sum(axis=0), rtol=1e-5)
    top = result.members_table().filter(np.array(result.members_table().column("rank")) == 1)
    for mode, row, score in zip(*(top.column(name).to_pylist() for name in ("mode", "row", "score")), strict=True):
        assert score == pytest.approx(scores[row, mode], rel=1e-6)
    z = np.asarray(result.coefficients[:])
    phi = np.concatenate(features_of(result, *pair), axis=1)
    np.testing.assert_allclose(phi @ z / np.sqrt(4000), scores, atol=1e-3 * np.abs(scores).max())


@pytest.mark.slow
def test_a_run_that_stopped_while_it_scaled_the_scores_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = groups(4000, 24, 0).astype(np.float32), groups(4000, 20, 3).astype(np.float32)
    options: dict[str, Any] = {"sigma": (100.0, 100.0), "size": 300, "certify": 64}
    whole, _ = compared(*pair, out=tmp_path / "whole", **options)
    assert "normalised" in whole.summary["measured"]["seconds"]
    scored = Comparison._scored

    def stopped(self: Comparison, modes: Any, writer: Any) -> Any:
        scored(self, modes, writer)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Comparison, "_scored", stopped)
        with pytest.raises(KeyboardInterrupt):
            compared(*pair, out=tmp_path / "out", **options)
    again, _ = compared(*pair, out=tmp_path / "out", resume=True, **options)
    assert again.summary["modes"] == whole.summary["modes"]
    for name in ("scores", "coefficients", "eigenvalues"):
        one, other = (
            zarr.open_group(str(tmp_path / where / "spec.zarr"), mode="r")[name] for where in ("out", "whole")
        )
        np.testing.assert_array_equal(one[...], other[...])


def test_ordinary_scores_are_written_once(tmp_path: Path) -> None:
    result, said = compared(*structured(900), sigma=(3.0, 3.0), size=60)
    assert "normalised" not in result.summary["measured"]["seconds"]
    assert not any("left out" in one for one in said)
    np.testing.assert_allclose(lengths(result), 1, atol=1e-5)


# --- weights far from 1


@pytest.mark.parametrize(
    ("features", "size", "eta"),
    [("landmarks", 300, 1e3), ("landmarks", 300, 1e6), ("orthogonal", 300, 1e4), ("landmarks", 300, 1e-6)],
)
@pytest.mark.slow
def test_weights_far_from_one(features: str, size: int, eta: float) -> None:
    pair = structured(1500)
    result, said = compared(*pair, sigma=(2.0, 2.0), features=features, size=size, n_modes=3, eta=eta)
    phi = features_of(result, *pair)
    truth = np.linalg.eigvalsh(difference(phi[0] @ phi[0].T, phi[1] @ phi[1].T, eta))
    values = result.eigenvalues
    positive, negative = values[values > 0], values[values < 0]
    np.testing.assert_allclose(negative, truth[:3] if eta > 1 else [], rtol=1e-5)
    np.testing.assert_allclose(positive, truth[::-1][: len(positive)], rtol=1e-5 if eta <= 1 else 0.1)
    assert len(positive) == 3 or any("left out" in one and "--eta" in one for one in said)
    assert not any("converged" in one for one in said)


@pytest.mark.parametrize("features", ["landmarks", "exact"])
@pytest.mark.parametrize("eta", [1e10, LARGEST_ETA, 1e-300])
@pytest.mark.slow
def test_the_largest_weights(features: str, eta: float) -> None:
    result, _ = compared(*structured(300), sigma=(2.0, 2.0), features=features, eta=eta, certify=50)
    values = result.eigenvalues
    assert np.isfinite(values).all()
    assert (values.min() < -0.01 * eta) if eta > 1 else (values.max() > 0.01)
    assert np.isfinite([[one.se, one.rayleigh, one.residual] for one in result.modes]).all()


@pytest.mark.parametrize("eta", [1e31, 1e300, float("inf"), float("nan"), -1.0])
@pytest.mark.slow
def test_weights_out_of_range(eta: float, tmp_path: Path) -> None:
    pair = structured(100)
    result, _ = compared(*pair, sigma=(2.0, 2.0), features="landmarks", size=20)
    with pytest.raises(OptionError, match=r"^--eta must be zero or positive, and at most 1e\+30, not"):
        compared(*pair, eta=eta, out=tmp_path / "r.spec")
    with pytest.raises(OptionError, match=r"^--eta must be zero or positive"):
        result.with_eta(eta, tmp_path / "r.spec")
    assert not [*tmp_path.iterdir()]


# --- what is said of a result without a mode


@pytest.mark.slow
def test_modes_that_were_left_out_are_not_denied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = copied(1500, 0.05)
    alike, _ = compared(pair[0], pair[0], sigma=(2.0, 2.0), features="landmarks", size=60, out=tmp_path / "alike")
    doubted, said = compared(*pair, sigma=(80.0, 80.0), features="landmarks", size=60, out=tmp_path / "doubted")
    assert not alike.modes
    assert not doubted.modes
    assert any(LEFT_OUT in one for one in said)
    assert (alike.uncertain, doubted.uncertain) == (False, True)
    for name, line in (("alike", "no mode: no |λ| exceeds 0.00001, the two"), ("doubted", "no mode is certain: ")):
        assert command(monkeypatch, "modes", tmp_path / name) == 0
        assert line in capsys.readouterr().out
        print_overview(ss.open_result(tmp_path / name))
        assert line in capsys.readouterr().out
