"""Whole comparisons on a card: the answer of the cores, and the same bits whatever memory is free."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import structured
from numpy.typing import NDArray

import specscale as ss
from specscale.kernels import sources
from specscale.kernels.card import Card

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("_quickly")]

ROWS = 36_000  # five blocks, and two spans of one chunk
SIGMA = (1.7, 1.95)  # near those of the rule "auto", which takes longer than all the rest
COMPARISONS: dict[str, dict[str, Any]] = {
    "landmarks": {"features": "landmarks", "size": 500, "sigma": SIGMA},
    "pivoted": {"features": "landmarks", "size": 200, "landmarks": "pivoted", "sigma": SIGMA},
    "fourier": {"features": "fourier", "size": 400, "sigma": SIGMA},
    "orthogonal": {"features": "orthogonal", "size": 400, "sigma": SIGMA},
    "linear": {"kernel": "cosine", "features": "linear"},
    "cosine landmarks": {"kernel": "cosine", "features": "landmarks", "size": 300},
    "exact": {"features": "exact", "sample": 5_000, "sigma": SIGMA},
    "refined": {"features": "landmarks", "size": 200, "refine": 1, "sample": 10_000, "sigma": SIGMA},
    "standardised": {"features": "landmarks", "size": 300, "normalize": "standardise", "sigma": (1.35, 1.5)},
    "in float64": {"features": "fourier", "size": 100, "sigma": (1e-4, 1e-4), "normalize": "none"},
    "rotated": {"features": "landmarks", "size": 300, "rotate": "varimax", "sigma": SIGMA},
}
ALIKE = ("in float64", "rotated")  # whose modes are hardly apart, or are combinations of those that are


Answer = Callable[[str, str], ss.Result]


@pytest.fixture(scope="module")
def _quickly() -> Iterator[None]:
    """Spans of a chunk, and kernels that are compiled once for all of the cards that are made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specscale.runtime.spans._MOST_CHUNKS", 1)
        patch.setattr("specscale.kernels.card.compiled", cache(sources.compiled))
        yield


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """A comparison by its name, on the cores or on the card, which is computed once."""

    @cache
    def found(device: str, name: str) -> ss.Result:
        return compared(device, out=tmp_path_factory.mktemp("answers") / "out", **COMPARISONS[name])

    return found


def pair(rows: int = ROWS, dtype: str = "float16") -> tuple[NDArray[Any], NDArray[Any]]:
    return structured(rows, 48, 33, seed=3, dtype=dtype)


def compared(device: str, rows: int = ROWS, dtype: str = "float16", **options: Any) -> ss.Result:
    given = {"n_modes": 6, "top": 50, "certify": 256, "seed": 1, **options}
    return ss.compare(*pair(rows, dtype), device=device, **given)


def of_direction(result: ss.Result, direction: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Eigenvalues and scores of those modes of a direction that are apart from the first that is not among them."""
    found = [mode for mode in result.record.modes if mode.grouped_by == direction]
    values = np.array([abs(mode.eigenvalue) for mode in found])
    gaps = [count for count in range(1, len(values)) if values[count] < 0.9 * values[count - 1]]
    kept = max(gaps, default=0)
    scores = np.asarray(result.scores[:], dtype=np.float64)
    sampled = np.isfinite(scores).all(axis=1)
    return values[:kept], scores[sampled][:, [mode.mode for mode in found[:kept]]]


def sine(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Of the largest angle between two subspaces."""
    bases = [np.linalg.qr(columns)[0] for columns in (one, other)]
    rest = bases[1] - bases[0] @ (bases[0].T @ bases[1])
    return float(np.linalg.norm(rest, 2))


@pytest.mark.parametrize("name", COMPARISONS)
def test_the_answer_is_that_of_the_cores(name: str, answer: Answer) -> None:
    here, there = (answer(device, name) for device in ("cpu", "cuda"))
    assert there.record.device.card
    np.testing.assert_allclose(there.eigenvalues, here.eigenvalues, rtol=1e-3 if name in ALIKE else 1e-4, atol=1e-7)
    found = 0
    for direction in ("A", "B"):
        (_, scores), (_, others) = (of_direction(result, direction) for result in (here, there))
        assert scores.shape == others.shape
        if scores.shape[1] and name not in ALIKE:
            assert sine(scores, others) < 1e-3
            found += scores.shape[1]
    assert found or name in ALIKE
    for one, other in zip(here.record.modes, there.record.modes, strict=True):
        for field in ("a", "b", "se", "effective_size"):
            assert getattr(other, field) == pytest.approx(getattr(one, field), rel=2e-2, abs=1e-6), field


@pytest.mark.parametrize("name", ["landmarks", "fourier", "linear"])
def test_the_certificate_is_that_of_the_cores(name: str) -> None:
    """Its rows are drawn by scores, so that both draw the same ones only where they are all of them."""
    here, there = (compared(device, rows=2_000, certify=2_000, **COMPARISONS[name]) for device in ("cpu", "cuda"))
    for one, other in zip(here.record.modes, there.record.modes, strict=True):
        if abs(one.eigenvalue) > 1e-3:
            assert other.rayleigh == pytest.approx(one.rayleigh, rel=1e-3)
            assert other.residual == pytest.approx(one.residual, rel=1e-2, abs=1e-5)
            assert other.certified == one.certified


@pytest.mark.parametrize("name", ["landmarks", "fourier", "linear"])
def test_nothing_differs_between_an_embedding_and_its_rotation(name: str) -> None:
    a, _ = structured(10_000, 48, 33, seed=5, dtype="float32")
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(48, 48)))[0]
    b = (a.astype(np.float64) @ turn).astype(np.float32)
    given = {key: value for key, value in COMPARISONS[name].items() if key != "sigma"}
    if name == "fourier":
        b = a  # frequencies are drawn for each embedding
    result = ss.compare(a, b, device="cuda", n_modes=3, certify=0, sigma=(3.0, 3.0), **given)
    assert np.abs(result.eigenvalues).max(initial=0) < 1e-5


def bits(result: ss.Result) -> list[bytes]:
    return [result.eigenvalues.tobytes(), result.scores[:].tobytes(), (result.path / "modes.parquet").read_bytes()]


@contextmanager
def only_so_much_free(room: int) -> Iterator[None]:
    """A card of which somebody else has taken all but so many bytes."""
    card = Card()
    free = card.free_memory()
    held = card.empty((free - room,), np.uint8)
    try:
        yield
    finally:
        del held
        card.release()


@pytest.mark.parametrize("name", ["landmarks", "fourier", "linear", "refined", "exact"])
def test_the_bits_are_the_same_again_and_whatever_memory_is_free(name: str, tmp_path: Path, answer: Answer) -> None:
    def run(where: str) -> list[bytes]:
        return bits(compared("cuda", out=tmp_path / where, **COMPARISONS[name]))

    first = bits(answer("cuda", name))
    assert run("second") == first
    with only_so_much_free(1 << 30):
        assert run("crowded") == first


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_bad_row_is_named(dtype: str) -> None:
    a, b = pair(30_000, dtype)
    a[21_234, 5] = np.nan
    with pytest.raises(ss.SpecscaleError, match=r"21,?234"):
        ss.compare(a, b, device="cuda", features="landmarks", size=50, sigma=(2.0, 2.0))
