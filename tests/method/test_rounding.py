"""What products by tensor cores change of a result: measured on its sample, kept in its summary and printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from cards import at_once
from conftest import command, structured
from numpy.typing import NDArray
from recording import RecordingDevice, rounded

import specscale as ss
from specscale.kernels import base
from specscale.kernels.base import Product
from specscale.kernels.gpu import GpuKernels
from specscale.kernels.precision import PRODUCTS, Precision

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_blas_thread")]

SETTINGS: dict[str, dict[str, Any]] = {
    "linear": {"kernel": "cosine"},
    "fourier": {"features": "fourier", "size": 30, "sigma": (2.0, 2.0)},
    "landmarks": {"features": "landmarks", "size": 30, "sigma": (2.0, 2.0)},
    "refined": {"features": "landmarks", "size": 30, "sigma": (2.0, 2.0), "refine": 1, "rotate": "varimax"},
    "exact": {"features": "exact", "sigma": (2.0, 2.0), "eta": 0.8},
}
BORNE: dict[str, set[Product]] = {"landmarks": {"landmarks", "covariance", "scores"}}  # whitening bears nothing
Bear = Callable[..., None]


class Recording(GpuKernels):
    """The backend of a card that does at once what it is asked for."""

    asked: ClassVar[Precision] = "float32"

    def __init__(self) -> None:
        super().__init__(RecordingDevice(at_once), self.asked)


class Tensor(Recording):
    name = "cuda-tf32"
    asked = "tf32"


class Split(Recording):
    name = "cuda-3xtf32"
    asked = "3xtf32"


@pytest.fixture
def bear(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bear]:
    """Give this process a card, and say which products were measured to bear tensor cores; at first all."""
    for one in (Recording, Tensor, Split):
        monkeypatch.setattr(f"cards.{one.__name__}", one, raising=False)
        monkeypatch.setitem(base.BACKENDS, one.name, f"cards:{one.__name__}")
    monkeypatch.setattr("specscale.kernels.apart._CALIBRATED", 64)

    def bear(*products: Product) -> None:
        table = {one: frozenset(products) for one in ("tf32", "3xtf32")}
        monkeypatch.setattr("specscale.kernels.precision.MEASURED", table)

    bear(*PRODUCTS)
    return bear


def compared(precision: str, n: int = 400, **settings: Any) -> ss.Result:
    given = {"n_modes": 2, "top": 5, "certify": 0, **settings}
    return ss.compare(*structured(n, 6, 5), device="cuda", precision=precision, **given)


def told(result: Any) -> dict[str, Any]:
    found: dict[str, Any] = result.summary["device"]["rounding"]
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_it_is_how_far_eigenvalues_are_from_those_in_float32(bear: Bear, name: str) -> None:
    bear(*BORNE.get(name, PRODUCTS))
    plain, tensor, split = (compared(one, **SETTINGS[name]) for one in ("float32", "tf32", "3xtf32"))
    assert "rounding" not in plain.summary["device"]
    moved = np.abs(tensor.eigenvalues / plain.eigenvalues - 1).max()
    # Vectors are rounded too, but those of a Krylov basis, and other ones than the modes that are made of them.
    assert told(tensor)["eigenvalues"] == pytest.approx(moved, rel=0.5 if name in ("refined", "exact") else 0.1)
    assert told(tensor)["rows"] == 400
    for one in ("eigenvalues", "scores"):
        assert 0 < told(split)[one] < 2e-6 < told(tensor)[one] < 2e-2


def side_by_side(n: int) -> NDArray[np.float32]:
    """The features of the cosine kernel."""
    both = (one / np.linalg.norm(one.astype(np.float64), axis=1)[:, None] for one in structured(n, 6, 5))
    return np.concatenate([*both], axis=1).astype(np.float32)


def quotients(C: NDArray[np.float64], z: NDArray[np.float64], d_a: int) -> NDArray[np.float64]:
    acted = C @ z
    between = (acted[:d_a] ** 2).sum(axis=0) - (acted[d_a:] ** 2).sum(axis=0)
    return np.asarray(between / (z * acted).sum(axis=0))


def direct(features: NDArray[np.float32], z: NDArray[np.float64]) -> tuple[float, float]:
    """How far λ, of itself, and scores move, by products of rounded numbers in float64."""
    weights = (z / np.sqrt(len(features))).astype(np.float32)
    phi, w = (one.astype(np.float64) for one in (features, weights))
    less, w_less = (rounded(one).astype(np.float64) for one in (features, weights))
    found, plain = (quotients(one.T @ one / len(one), z, 6) for one in (less, phi))
    return float(np.abs(found / plain - 1).max()), float(np.linalg.norm(less @ w_less - phi @ w, axis=0).max())


def test_it_is_what_rounded_factors_change(bear: Bear) -> None:
    result = compared("tf32", **SETTINGS["linear"])
    z, C = np.asarray(result.coefficients[:], dtype=np.float64), np.asarray(result.covariance[:])
    z /= np.sqrt((z * (C @ z)).sum(axis=0))  # as they were before their scores were made of unit length
    eigenvalues, scores = direct(side_by_side(400), z)
    assert told(result)["eigenvalues"] == pytest.approx(eigenvalues, rel=0.02)
    assert told(result)["scores"] == pytest.approx(scores, rel=0.02)


@pytest.mark.parametrize(("borne", "still"), [("covariance", "scores"), ("scores", "eigenvalues")])
def test_products_in_float32_move_nothing(bear: Bear, borne: Product, still: str) -> None:
    bear(borne)
    found = told(compared("tf32", **SETTINGS["linear"]))
    assert found.pop(still) == 0
    assert all(found.values())


@pytest.mark.parametrize("name", ["linear", "exact"])
def test_a_sample_stands_for_all_rows(bear: Bear, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    whole = told(compared("tf32", 1500, **SETTINGS[name]))
    for where in ("preparation", "steps"):
        monkeypatch.setattr(f"specscale.method.{where}.SAMPLE_ROWS", 150)
    part = told(compared("tf32", 1500, **SETTINGS[name]))
    assert part["rows"] == 150
    assert part["scores"] == pytest.approx(whole["scores"], rel=0.4)
    assert 0.7 < part["eigenvalues"] / whole["eigenvalues"] < 10  # errors of few rows average out less


def test_what_goes_on_from_a_result_measures_its_own_modes(bear: Bear) -> None:
    before = compared("tf32", **SETTINGS["linear"])
    assert told(before.with_eta(1.0, device="cuda")) == told(before)
    assert 0 < told(before.constrained(0.1, 2, device="cuda"))["eigenvalues"] != told(before)["eigenvalues"]


def test_a_matrix_measures_the_modes_of_all_pairs(bear: Bear, tmp_path: Path) -> None:
    a, b = structured(400, 6, 5)
    given: dict[str, Any] = {"n_modes": 2, "top": 5, "device": "cuda", "precision": "tf32", "kernel": "cosine"}
    pairs = [ss.compare(*pair, certify=0, **given) for pair in ((a, b), (a, -a[::-1]), (b, -a[::-1]))]
    found = told(ss.compare_many([a, b, -a[::-1]], out=tmp_path / "matrix", **given))
    for one in ("eigenvalues", "scores"):
        assert found[one] == pytest.approx(max(told(pair)[one] for pair in pairs), rel=0.3)


def test_embeddings_without_modes_have_none_that_move(bear: Bear) -> None:
    a, _ = structured(100)
    assert "rounding" not in ss.compare(a, a, device="cuda", precision="tf32", kernel="cosine").summary["device"]


def test_it_is_printed(
    bear: Bear,
    make_store: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stores = [make_store(name, x) for name, x in zip("ab", structured(200, 6, 5), strict=True)]
    for words in (("compare", *stores, "--certify", 0), ("matrix", *stores)):
        out = tmp_path / words[0]
        given = (*words, "-o", out, "--kernel", "cosine", "--device", "cuda", "--precision", "tf32")
        assert command(monkeypatch, *given) == 0
        found = told(ss.open_result(out) if words[0] == "compare" else ss.open_matrix(out))
        line = (
            f"tf32 in place of float32 moves λ by {found['eigenvalues']:.1e} of itself at most, and scores by "
            f"{found['scores']:.1e} of their length (measured on 200 of the rows)"
        )
        assert line in capsys.readouterr().out.splitlines()
