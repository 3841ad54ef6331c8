"""Nothing of a comparison touches host memory between its stages: a backend that is apart gives the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import _nasty
import numpy as np
import pytest
from numpy.typing import NDArray

import specscale as ss
from specscale.errors import InputError
from specscale.kernels import base
from specscale.kernels.base import load_kernels
from specscale.method.result import Result

pytestmark = pytest.mark.usefixtures("one_blas_thread", "_registered")

N, BLOCK = 600, 240

Choose = Callable[[str], None]


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(base.BACKENDS, "nasty", "_nasty:NastyKernels")


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specscale.runtime.sweeper.BLOCK_ROWS", BLOCK)


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Have the runs that follow use a backend."""
    return lambda name: monkeypatch.setattr("specscale.method.run.load_kernels", lambda _: load_kernels(name))


def pair(n: int = N) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    generator = np.random.default_rng(0)
    groups = generator.normal(size=(5, 9))[generator.integers(5, size=n)]
    a = groups[:, :6] + 0.3 * generator.normal(size=(n, 6))
    b = groups[:, 3:] + 0.6 * generator.normal(size=(n, 6))
    return a.astype(np.float32), b.astype(np.float32)


def content(result: Result) -> list[Any]:
    arrays = [result.eigenvalues, result.scores[:]]
    members = (result.path / "modes.parquet").read_bytes()
    return [*(one.tobytes() for one in arrays), members, result.summary["modes"]]


@pytest.mark.parametrize(
    "options",
    [
        {"features": "fourier", "size": 30, "sigma": (1.0, 1.0)},
        {"features": "landmarks", "size": 30},
        {"features": "landmarks", "size": 30, "normalize": "unit", "certify": 64, "sigma": (1.0, 1.0)},
        {"kernel": "cosine"},
        {"kernel": "cosine", "normalize": "centre"},
        {"features": "orthogonal", "size": 30, "normalize": "standardise", "sigma": (1.0, 1.0)},
        {"features": "landmarks", "size": 30, "refine": 1, "rotate": "varimax", "sigma": (1.0, 1.0)},
        {"features": "exact", "sample": 450, "sigma": (1.0, 1.0)},
    ],
    ids=["fourier", "landmarks", "unit", "linear", "centred", "standardised", "refined", "exact"],
)
@pytest.mark.slow
def test_a_backend_apart_gives_what_the_reference_gives(
    tmp_path: Path, choose: Choose, options: dict[str, Any]
) -> None:
    a, b = pair()
    b[::7] = np.nan
    found = []
    for name in ("reference", "nasty"):
        choose(name)
        taken = {"n_modes": 3, "top": 20, "on_bad": "drop", "threads": 2, **options}
        found.append(content(ss.compare(a, b, out=tmp_path / name, **taken)))
    assert found[0] == found[1]


@pytest.mark.slow
def test_a_matrix_too(tmp_path: Path, choose: Choose) -> None:
    a, b = pair(500)
    found = []
    for name in ("reference", "nasty"):
        choose(name)
        result = ss.compare_many(
            [a, b, a[:, ::-1].copy()], out=tmp_path / name, size=20, n_modes=2, sigma=(1.0, 1.0, 1.0)
        )
        found.append((result.path / "modes.parquet").read_bytes())
    assert found[0] == found[1]


@pytest.mark.cluster
def test_workers_have_the_backend_of_the_run(
    tmp_path: Path, choose: Choose, make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client, LocalCluster

    stores = [make_store(name, x) for name, x in zip("ab", pair(500), strict=True)]
    loaded: list[str] = []
    monkeypatch.setattr(
        "specscale.runtime.cluster.worker.load_kernels", lambda name: loaded.append(name) or load_kernels(name)
    )
    found = []
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        for name, executor in (("reference", None), ("nasty", client)):
            choose(name)
            options: dict[str, Any] = {"features": "landmarks", "size": 20, "n_modes": 2, "sigma": (1.0, 1.0)}
            found.append(content(ss.compare(*stores, out=tmp_path / name, executor=executor, **options)))
    assert found[0] == found[1]
    assert loaded == ["nasty"]


@pytest.mark.slow
def test_a_bad_row_is_named_as_ever(
    tmp_path: Path, choose: Choose, make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from specscale.embeddings.store import EmbeddingStore

    a, b = pair(500)
    stores = [make_store(name, x) for name, x in (("a", a), ("b", b))]
    read = EmbeddingStore.read

    def spoilt(self: EmbeddingStore, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        values = read(self, start, stop, out)
        if self.name == "b" and start == BLOCK:
            values[30] = np.nan
            values[31] = 0
        return values

    monkeypatch.setattr(EmbeddingStore, "read", spoilt)
    for name in ("reference", "nasty"):
        choose(name)
        with pytest.raises(InputError, match=f"row {BLOCK + 30} of embedding B has a NaN, an infinity or zero norm"):
            ss.compare(*stores, out=tmp_path / name, size=20, sigma=(1.0, 1.0), features="fourier")


@pytest.mark.parametrize(
    "touch",
    [
        np.asarray,
        np.sum,
        np.isfinite,
        list,
        float,
        bool,
        lambda x: x + 1,
        lambda x: np.zeros(3) * x,
        lambda x: np.add(np.zeros(3), 1, out=x),
        lambda x: x[np.arange(2)],
        lambda x: x.__setitem__(slice(None), np.zeros(3)),
        lambda x: x.__iadd__(np.zeros(3)),
        lambda x: load_kernels("nasty").project(x, x, x),
        lambda x: load_kernels("reference").project(x, x, np.empty(3)),
    ],
)
def test_the_memory_of_the_backend_is_out_of_reach(touch: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        touch(load_kernels("nasty").put(np.ones(3)))


def test_what_is_not_asked_for_is_not_done() -> None:
    kernels = _nasty.NastyKernels()
    host = np.ones((2, 2))
    x, out = kernels.put(host), kernels.empty((2, 2), np.float64)
    host[:] = 7  # when it was put it may be overwritten
    kernels.project(x, x, out)
    assert np.isnan(out._held).all()
    np.testing.assert_array_equal(kernels.get(out), 2)
