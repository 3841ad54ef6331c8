"""Clusters whose workers compute on cards: each must have one, and those of this machine are started by dask-cuda."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cards import NAME, CardKernels, card
from conftest import command, structured
from distributed import Client, LocalCluster, Nanny, Scheduler, SpecCluster, Worker

import specscale as ss
from specscale.errors import ClusterError, OptionError
from specscale.runtime.cluster import pageless
from specscale.runtime.cluster.connecting import local_cluster

__all__ = ["card"]

pytestmark = [pytest.mark.cluster]

SMALL: dict[str, Any] = {"size": 20, "sigma": (2.0, 2.0), "certify": 50, "n_modes": 2, "top": 20}
MakeStore = Callable[..., Path]


@pytest.fixture
def stores(make_store: MakeStore) -> list[Path]:
    return [make_store(name, x) for name, x in zip("ab", structured(700), strict=True)]


@contextmanager
def cluster(here: int, elsewhere: int) -> Iterator[Client]:
    """A client of workers in this process, which has a card, and of workers in processes that have none."""
    inside = {"cls": Worker, "options": {"nthreads": 1, "dashboard_address": None}}
    outside = {"cls": Nanny, "options": {"nthreads": 1, "dashboard_address": None}}
    workers = {**dict.fromkeys(range(here), inside), **{f"far {i}": outside for i in range(elsewhere)}}
    scheduler = {"cls": Scheduler, "options": {"dashboard_address": ":0", "host": "127.0.0.1"}}
    with SpecCluster(scheduler=scheduler, workers=workers) as made, Client(made, set_as_default=False) as client:
        client.wait_for_workers(here + elsewhere, timeout=300)
        yield client


@pytest.mark.parametrize("here", [0, 1])
def test_a_worker_without_a_card_is_refused_by_name(
    card: type[CardKernels], stores: list[Path], tmp_path: Path, here: int
) -> None:
    with cluster(here, 1) as client:
        known = client.scheduler_info(n_workers=-1)["workers"]
        (far,) = (address for address, one in known.items() if str(one["id"]).startswith("far"))
        with pytest.raises(ClusterError, match=rf"^worker {far} cannot run the passes on cuda, as every worker must: "):
            ss.compare(*stores, out=tmp_path / "out", device="cuda", executor=client, **SMALL)
        assert not list(tmp_path.glob("out*"))
        # The same workers do what the cores can.
        ss.compare(*stores, out=tmp_path / "out", executor=client, **SMALL)


def test_workers_with_cards_say_what_they_took_of_them(
    card: type[CardKernels], stores: list[Path], tmp_path: Path
) -> None:
    here = ss.compare(*stores, out=tmp_path / "here", device="cuda", **SMALL)
    with cluster(1, 0) as client:
        there = ss.compare(*stores, out=tmp_path / "there", device="cuda", executor=client, **SMALL)
    assert here.scores[:].tobytes() == there.scores[:].tobytes()
    assert there.record.device.card == NAME
    assert there.record.measured.peak_device_memory == card.peak
    assert there.summary["plan"]["workers"]["rate"] == there.summary["plan"]["card"]["gemm_rate"]


# --- what dask-cuda starts


class FakeCluster(LocalCluster):
    """Takes what LocalCUDACluster of dask-cuda 26.10 takes, and starts workers in this process."""

    given: dict[str, Any]

    def __init__(
        self,
        CUDA_VISIBLE_DEVICES: Any = None,
        n_workers: int | None = None,
        threads_per_worker: int = 1,
        memory_limit: Any = "auto",
        device_memory_limit: Any = "default",
        protocol: str | None = None,
        log_spilling: bool = False,
        **more: Any,
    ) -> None:
        FakeCluster.given = {
            "n_workers": n_workers,
            "threads_per_worker": threads_per_worker,
            "memory_limit": memory_limit,
            "device_memory_limit": device_memory_limit,
            "protocol": protocol,
            **more,
        }
        super().__init__(
            n_workers=n_workers,
            threads_per_worker=threads_per_worker,
            memory_limit=memory_limit,
            processes=False,
            protocol=protocol,
            **more,
        )


@pytest.fixture
def _dask_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of that name, and a machine with two cards."""
    package, utils = ModuleType("dask_cuda"), ModuleType("dask_cuda.utils")
    package.LocalCUDACluster = FakeCluster  # type: ignore[attr-defined]
    utils.get_n_gpus = lambda: 2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask_cuda", package)
    monkeypatch.setitem(sys.modules, "dask_cuda.utils", utils)


@pytest.mark.usefixtures("_dask_cuda")
def test_workers_of_cards_are_as_private_as_others(card: type[CardKernels], stores: list[Path], tmp_path: Path) -> None:
    with local_cluster(2, "cuda") as client:
        given = FakeCluster.given
        assert type(client.cluster.scheduler) is pageless.Scheduler
        assert {type(one) for one in client.cluster.workers.values()} == {pageless.Worker}
        assert client.scheduler.address.startswith("tls://127.0.0.1:")
        assert (given["n_workers"], given["threads_per_worker"]) == (2, 1)
        assert given["memory_limit"] is given["device_memory_limit"] is None
        found = ss.compare(*stores, out=tmp_path / "out", device="cuda", executor=client, **SMALL)
    assert found.record.device.card == NAME


@pytest.mark.usefixtures("_dask_cuda")
def test_there_are_no_more_workers_than_cards() -> None:
    says = r"^--workers 3: each has a card of its own, of which 2 can be seen here$"
    with pytest.raises(OptionError, match=says), local_cluster(3, "cuda"):
        pass


def test_without_dask_cuda_a_line_names_it(
    card: type[CardKernels],
    stores: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    words = ("compare", *stores, "-o", tmp_path / "out", "--device", "cuda", "--workers", 1)
    assert command(monkeypatch, *words) == 1
    told = capsys.readouterr().err
    assert "--workers with --device cuda needs dask-cuda" in told
    assert "pip install 'dask-cuda[cu12]'" in told
    assert len(told.splitlines()) == 1


def test_without_a_card_nothing_is_started(
    stores: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr("specscale.runtime.cluster.connecting.local_cluster", lambda *_: 1 / 0)
    for more in ((), ("--workers", 2), ("--scheduler", "tcp://127.0.0.1:1")):
        words = ("compare", *stores, "-o", tmp_path / "out", "--device", "cuda", *more)
        assert command(monkeypatch, *words) == 1
        told = capsys.readouterr().err
        assert "--device cuda needs CuPy" in told
        assert len(told.splitlines()) == 1
        assert not list(tmp_path.glob("out*"))
