"""Whole comparisons on a device: what the cores find, and the same bits in any order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import structured
from emulation.queues import Order, late, shuffled
from numpy.typing import NDArray
from recording import recording_kernels

import specscale as ss
from specscale.errors import InputError
from specscale.kernels import base
from specscale.kernels.gpu import GpuKernels
from specscale.method.result import Result

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_blas_thread")]

BLOCK = 240
SETTINGS: dict[str, dict[str, Any]] = {
    "fourier": {"features": "fourier", "size": 30, "sigma": (2.0, 2.0)},
    "landmarks": {"features": "landmarks", "size": 30, "sigma": (2.0, 2.0)},
    "unit": {"features": "landmarks", "size": 30, "normalize": "unit", "certify": 64, "sigma": (1.0, 1.0)},
    "linear": {"kernel": "cosine"},
    "centred": {"kernel": "cosine", "normalize": "centre"},
    "standardised": {"features": "orthogonal", "size": 30, "normalize": "standardise", "sigma": (2.0, 2.0)},
    "refined": {"features": "landmarks", "size": 30, "refine": 1, "rotate": "varimax", "sigma": (2.0, 2.0)},
    "exact": {"features": "exact", "sample": 450, "sigma": (2.0, 2.0)},
}

OnDevice = Callable[..., None]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> OnDevice:
    """Give this process a card, which does things in some order; ``device(late)``."""
    made: list[Order] = [late]

    def kernels() -> GpuKernels:
        return recording_kernels(made[-1])

    monkeypatch.setattr("recording.recorded", kernels, raising=False)
    monkeypatch.setitem(base.BACKENDS, "cuda", "recording:recorded")
    monkeypatch.setattr("specscale.runtime.sweeper.BLOCK_ROWS", BLOCK)
    monkeypatch.setattr("specscale.kernels.apart._CALIBRATED", 64)
    return made.append


def pair(n: int = 600) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
    a, b = structured(n, 6, 5)
    a[::7] = np.nan
    return a, b.astype(np.float16)


def compared(out: Path, device: str, **settings: Any) -> Result:
    return ss.compare(*pair(), out=out, device=device, n_modes=3, top=20, on_bad="drop", threads=2, **settings)


def content(result: Result) -> list[Any]:
    members = (result.path / "modes.parquet").read_bytes()
    return [result.eigenvalues.tobytes(), result.scores[:].tobytes(), members, result.summary["modes"]]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_device_finds_what_the_cores_find(tmp_path: Path, device: OnDevice, settings: dict[str, Any]) -> None:
    cores, card = (compared(tmp_path / name, name, **settings) for name in ("cpu", "cuda"))
    np.testing.assert_allclose(card.eigenvalues, cores.eigenvalues, rtol=1e-5)
    one, other = (result.scores[:].astype(np.float64) for result in (cores, card))
    np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
    np.testing.assert_allclose(np.nan_to_num(other), np.nan_to_num(one), atol=1e-4 * np.nanmax(np.abs(one)))
    rows = [[*zip(*(result.members()[name] for name in ("mode", "row")), strict=True)] for result in (cores, card)]
    assert len({*rows[0]} & {*rows[1]}) >= 0.95 * len(rows[0])  # the last of a tail may be another


@pytest.mark.parametrize("name", ["landmarks", "refined"])
def test_the_order_changes_no_bit_of_a_result(tmp_path: Path, device: OnDevice, name: str) -> None:
    found = []
    for order in (late, shuffled(1), shuffled(2)):
        device(order)
        found.append(content(compared(tmp_path / str(len(found)), "cuda", **SETTINGS[name])))
    assert found[0] == found[1] == found[2]


def test_a_matrix_too(tmp_path: Path, device: OnDevice) -> None:
    a, b = structured(600, 6, 5)
    cores, card = (
        ss.compare_many([a, b, a[:, ::-1].copy()], out=tmp_path / name, device=name, size=20, n_modes=2)
        for name in ("cpu", "cuda")
    )
    np.testing.assert_allclose(card.spec_diff.to_numpy(), cores.spec_diff.to_numpy(), rtol=1e-5)


def test_a_bad_row_is_named_as_ever(tmp_path: Path, device: OnDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    from specscale.embeddings.array import ArrayEmbedding

    a, b = structured(700, 6, 5)
    read = ArrayEmbedding.read

    def spoilt(self: ArrayEmbedding, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        values = read(self, start, stop, out)
        if out is not None and start <= 630 < stop and values.shape[1] == 5:
            values[630 - start] = np.nan
        return values

    monkeypatch.setattr(ArrayEmbedding, "read", spoilt)
    with pytest.raises(InputError, match="row 630 of embedding B has a NaN, an infinity or zero norm"):
        ss.compare(a, b, out=tmp_path / "out", device="cuda", size=20, sigma=(2.0, 2.0), features="fourier")
