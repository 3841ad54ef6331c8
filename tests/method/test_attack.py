"""Hostile but honest inputs: what a user can mend is one line, and no number is wrong in silence."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import specscale as ss
from specscale.errors import InputError, OptionError, PlanError
from specscale.runtime.events import Warned


def clusters(n: int, p: int, groups: int, spread: float, seed: int) -> np.ndarray[Any, Any]:
    """Tight groups far from one another, float32."""
    generator = np.random.default_rng(seed)
    centres = 3 * generator.normal(size=(groups, p))
    return (centres[np.arange(n) % groups] + spread * generator.normal(size=(n, p))).astype(np.float32)


def warned(a: Any, b: Any, **options: Any) -> tuple[ss.Result, list[str]]:
    """A result, and the warnings on the way to it."""
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = ss.compare(
            a, b, progress=lambda event: said.append(event.message) if isinstance(event, Warned) else None, **options
        )
    return result, said


def kernel(x: np.ndarray[Any, Any], sigma: float) -> np.ndarray[Any, Any]:
    x = x.astype(np.float64)
    return np.exp(-((x[:, None] - x[None]) ** 2).sum(axis=2) / (2 * sigma**2)) / len(x)


@pytest.mark.parametrize("options", [{}, {"features": "exact"}, {"refine": 1}], ids=str)
@pytest.mark.slow
def test_equal_rows_are_equal_at_any_bandwidth(options: dict[str, Any]) -> None:
    a, b = clusters(300, 8, 5, 0.0, seed=1), clusters(300, 5, 7, 1.0, seed=2)
    result, _ = warned(a, b, sigma=(0.01, 3.0), n_modes=3, **options)
    exact = np.linalg.eigvalsh(kernel(a, 0.01) - kernel(b, 3.0))
    np.testing.assert_allclose(result.eigenvalues, [*exact[:-4:-1], *exact[:3]], atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"features": "exact"}], ids=str)
@pytest.mark.slow
def test_bandwidths_that_tell_every_row_apart_in_both_leave_no_modes(options: dict[str, Any]) -> None:
    a, b = clusters(300, 8, 5, 1.0, seed=1), clusters(300, 5, 7, 1.0, seed=2)
    result, said = warned(a, b, sigma=(0.01, 0.01), **options)
    assert result.modes == []
    assert sum("all but the identity" in one for one in said) == 2


@pytest.mark.parametrize("options", [{}, {"landmarks": "pivoted"}, {"features": "exact"}], ids=str)
@pytest.mark.slow
def test_constant_embeddings_do_not_differ(options: dict[str, Any]) -> None:
    result, said = warned(np.ones((300, 8), np.float32), np.ones((300, 5), np.float32), **options)
    assert result.modes == []
    assert sum("all sampled rows are equal" in one for one in said) == 2


@pytest.mark.slow
def test_landmarks_of_tight_groups_do_not_blow_up_rounding() -> None:
    a, b = clusters(600, 8, 5, 0.01, seed=3), clusters(600, 5, 7, 1.0, seed=2)
    result, said = warned(a, b, n_modes=3)
    sigma = [one["sigma"] for one in result.summary["bandwidths"].values()]
    exact = np.linalg.eigvalsh(kernel(a, sigma[0]) - kernel(b, sigma[1]))
    np.testing.assert_allclose(result.eigenvalues, [*exact[:-4:-1], *exact[:3]], rtol=0.02)
    assert result.maps[0]["wide"]
    assert not [one for one in said if one.startswith("A:")]


def test_rows_too_small_for_float32_are_refused() -> None:
    tiny = (1e-42 * clusters(300, 8, 5, 1.0, seed=1).astype(np.float64)).astype(np.float32)
    b = clusters(300, 5, 7, 1.0, seed=2)
    with pytest.raises(OptionError, match="another scale"):
        warned(tiny, b)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("attack")
    for name, p in (("a", 8), ("b", 5)):
        np.save(here / f"{name}.npy", clusters(200, p, p, 1.0, seed=p))
    ss.compare(here / "a.npy", here / "b.npy", size=40, n_modes=2, top=5, out=here / "r")
    return here


def _without_chunks(array: str) -> Callable[[Path], object]:
    def spoil(result: Path) -> None:
        for one in (result / "spec.zarr" / array).rglob("*"):
            if one.is_file() and one.name != "zarr.json":
                one.unlink()

    return spoil


def _cut_short(result: Path) -> None:
    for one in (result / "spec.zarr" / "covariance").rglob("*"):
        if one.is_file() and one.name != "zarr.json":
            one.write_bytes(one.read_bytes()[:10])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "maps missing": lambda r: (r / "maps.json").unlink(),
    "maps cut short": lambda r: (r / "maps.json").write_text('[{"map":'),
    "maps of another kind": lambda r: (r / "maps.json").write_text("{}"),
    "maps without a field": lambda r: (r / "maps.json").write_text(
        json.dumps([{k: v for k, v in one.items() if k != "rows"} for one in json.loads((r / "maps.json").read_text())])
    ),
    "landmarks missing": lambda r: shutil.rmtree(r / "spec.zarr" / "landmarks_a"),
    "chunks of landmarks missing": _without_chunks("landmarks_b"),
    "whitening missing": lambda r: shutil.rmtree(r / "spec.zarr" / "whitening_b"),
    "covariance missing": lambda r: shutil.rmtree(r / "spec.zarr" / "covariance"),
    "chunks of the covariance missing": _without_chunks("covariance"),
    "covariance cut short": _cut_short,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.slow
def test_a_damaged_result_cannot_be_solved_again_and_says_so(compared: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(compared / "r", tmp_path / "r")
    DAMAGE[damage](tmp_path / "r")
    result = ss.open_result(tmp_path / "r")
    for again in (lambda: result.with_eta(2.0), lambda: result.constrained(0.1)):
        with pytest.raises(InputError, match="run the comparison again") as caught:
            again()
        assert str(tmp_path / "r") in str(caught.value)
        assert "\n" not in str(caught.value)


def test_results_of_arrays_of_another_process_name_the_remedy(tmp_path: Path) -> None:
    a, b = clusters(100, 8, 5, 1.0, seed=1), clusters(100, 5, 7, 1.0, seed=2)
    ss.compare(a, b, size=40, n_modes=2, out=tmp_path / "r")
    with pytest.raises(InputError, match="was an array"):
        ss.open_result(tmp_path / "r").with_eta(2.0)


@pytest.mark.parametrize("epsilon", ["x", None, [0.1]])
def test_a_bound_that_is_no_number_is_refused(compared: Path, epsilon: Any) -> None:
    with pytest.raises(OptionError, match="number"):
        ss.open_result(compared / "r").constrained(epsilon)


@pytest.mark.parametrize("options", [{"size": 300}, {"size": 300, "refine": 1}, {"features": "exact"}], ids=str)
@pytest.mark.slow
def test_the_memory_that_an_error_names_is_enough(options: dict[str, Any]) -> None:
    a, b = clusters(600, 8, 5, 1.0, seed=1), clusters(600, 5, 7, 1.0, seed=2)
    with pytest.raises(PlanError) as caught:
        ss.plan(a, b, memory="1M", **options)
    named = re.search(r"--memory (\d+M)", str(caught.value))
    assert named
    ss.plan(a, b, memory=named[1], **options)
