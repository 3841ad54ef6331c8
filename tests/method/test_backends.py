"""A run is of one backend, and what was prepared for one is not used by another."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interruptions import Interruption, stop_at

import specscale as ss
from specscale.errors import ChangedError
from specscale.features.base import FeatureMap
from specscale.features.fourier import FourierMap
from specscale.features.kernel import ExactKernel
from specscale.features.landmarks import KernelMap, LandmarkMap
from specscale.kernels.base import load_kernels

MakePair = Callable[..., Any]
SMALL: dict[str, Any] = {"size": 40, "sigma": (2.0, 2.0), "certify": 50, "n_modes": 3, "rounds": 0}


def under(name: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("specscale.method.run.load_kernels", lambda *_: load_kernels(name))


@pytest.mark.slow
def test_a_run_is_not_taken_up_under_another_backend(
    make_pair: MakePair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = make_pair(400)
    out = tmp_path / "out.spec"
    with pytest.raises(Interruption):
        ss.compare(a, b, out=out, progress=stop_at("scores"), **SMALL)
    with monkeypatch.context() as other:
        under("reference", other)
        with pytest.raises(ChangedError, match=r'begun with backend "cpu", now it is "reference".*--overwrite alone'):
            ss.compare(a, b, out=out, resume=True, **SMALL)
        with pytest.raises(Interruption):
            ss.compare(a, b, out=out, overwrite=True, progress=stop_at("scores"), **SMALL)
    with pytest.raises(ChangedError, match='begun with backend "reference", now it is "cpu"'):
        ss.compare(a, b, out=out, resume=True, **SMALL)
    under("reference", monkeypatch)
    ss.compare(a, b, out=out, resume=True, **SMALL)
    assert not list(tmp_path.glob("*.work"))


@pytest.mark.slow
def test_a_run_that_recorded_no_backend_goes_on(make_pair: MakePair, tmp_path: Path) -> None:
    a, b = make_pair(400)
    out, quiet = tmp_path / "out.spec", ss.compare(a, b, **SMALL)
    with pytest.raises(Interruption):
        ss.compare(a, b, out=out, progress=stop_at("scores"), **SMALL)
    assert "backend" not in json.loads((tmp_path / "out.spec.work" / "run.json").read_text())
    found = ss.compare(a, b, out=out, resume=True, **SMALL)
    np.testing.assert_array_equal(found.scores[:], quiet.scores[:])


@pytest.mark.slow
def test_another_weight_begins_afresh_under_another_backend(
    make_pair: MakePair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ss.compare(*make_pair(400), out=tmp_path / "first.spec", **SMALL)
    with monkeypatch.context() as broken:
        broken.setattr("specscale.results.workplace.Workplace.publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            first.with_eta(0.5, tmp_path / "second.spec")
    under("reference", monkeypatch)
    found = first.with_eta(0.5, tmp_path / "second.spec")
    monkeypatch.undo()
    quiet = first.with_eta(0.5)
    assert found.scores[:].tobytes() != quiet.scores[:].tobytes()
    np.testing.assert_allclose(np.abs(found.scores[:]), np.abs(quiet.scores[:]), atol=1e-4)


def maps() -> list[FeatureMap | KernelMap]:
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    kernel = ExactKernel(np.zeros(3), False, 2.0)
    landmarks = LandmarkMap.of(kernel, np.arange(20), x)
    return [FourierMap(3, 10, 2.0, 0, False, np.zeros(3), False), landmarks, landmarks.values]


@pytest.mark.parametrize("which", range(3))
def test_maps_keep_nothing_of_a_backend(which: int) -> None:
    one = maps()[which]
    before = pickle.dumps(one)
    for backend in ("cpu", "reference"):
        one.load(load_kernels(backend))
        assert pickle.dumps(one) == before
