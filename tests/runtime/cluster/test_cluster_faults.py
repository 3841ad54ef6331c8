"""Clusters that cannot do the work are told so before it starts; object stores and full disks under a cluster."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from clusters import InTheMiddle, Slow, assert_same, forked_workers, kill
from conftest import compared_alone, stored_pair
from distributed import Client, LocalCluster

import specscale as ss
import specscale.runtime.spans as spans_module
from specscale.errors import ClusterError, ExistsError, PlanError
from specscale.method.result import Result
from specscale.method.run import Cluster
from specscale.runtime.cluster.connecting import local_cluster
from specscale.runtime.events import Event, PassStarted
from specscale.stores.ingest import ingest

N = 120_000
SETTINGS: dict[str, Any] = {"size": 40, "sigma": (1.5, 1.5), "certify": 64, "top": 20, "rounds": 0}


@pytest.fixture(autouse=True)
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans_module, "_MOST_CHUNKS", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def stores(folder: Path) -> tuple[str, str]:
    return stored_pair(folder, N)


@pytest.fixture(scope="module")
def quiet(stores: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Result:
    return compared_alone(stores, tmp_path_factory.mktemp("quiet") / "out.spec", SETTINGS)


@contextmanager
def cluster_of(before: list[str], environment: dict[str, str]) -> Iterator[Client]:
    """A scheduler here, and one worker that a command line of its own starts."""
    with LocalCluster(n_workers=0, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0") as cluster:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        options = ["--no-nanny", "--nthreads", "1", "--no-dashboard"]
        with (
            subprocess.Popen(
                [*before, *command, *options], env={**os.environ, **environment}, cwd="/", stderr=subprocess.DEVNULL
            ) as worker,
            Client(cluster, set_as_default=False) as client,
        ):
            try:
                client.wait_for_workers(1, timeout=300)
                yield client
            finally:
                worker.kill()


ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "specscale":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def test_a_worker_without_the_package(stores: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(ABSENT)
    with (
        cluster_of([], {"PYTHONPATH": str(tmp_path / "site")}) as client,
        pytest.raises(ClusterError, match=r"worker tcp://.* has no specscale: pip install specscale==0\.1\.0 there"),
    ):
        ss.compare(*stores, out=tmp_path / "out.spec", executor=client, **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_worker_with_another_version(stores: tuple[str, str], tmp_path: Path) -> None:
    other = tmp_path / "site" / "specscale-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: specscale\nVersion: 9.9\n")
    with (
        cluster_of([], {"PYTHONPATH": str(tmp_path / "site")}) as client,
        pytest.raises(ClusterError, match=r"worker tcp://.* has specscale 9\.9, this process has 0\.1\.0"),
    ):
        ss.compare(*stores, out=tmp_path / "out.spec", executor=client, **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def hiding(place: Path) -> list[str]:
    """The beginning of a command line whose process sees nothing in a folder."""
    before = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none "{place}" && exec "$@"', "sh"]
    try:
        able = subprocess.run([*before, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        able = False
    if not able:
        pytest.skip("mounting is not allowed here")
    return before


def test_a_worker_that_does_not_see_a_store(stores: tuple[str, str], folder: Path, tmp_path: Path) -> None:
    with (
        cluster_of(hiding(folder), {}) as client,
        pytest.raises(ClusterError, match=r"worker tcp://.* does not see what is compared: .*a\.zarr"),
    ):
        ss.compare(*stores, out=tmp_path / "out.spec", executor=client, **SETTINGS)
    assert not list(tmp_path.iterdir())


def test_a_worker_that_does_not_see_the_work_directory(
    stores: tuple[str, str], quiet: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster_of(hiding(tmp_path), {}) as client:
        with pytest.raises(ClusterError, match=r"not seen by every worker: put the result with --out where all"):
            ss.compare(*stores, out=tmp_path / "out.spec", executor=client, **SETTINGS)
        assert not list(tmp_path.iterdir())
        # A place that nobody asked for need not be shared: partial results are returned.
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)
        assert_same(ss.compare(*stores, executor=client, **SETTINGS), quiet)


def test_a_cluster_without_workers(stores: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specscale.runtime.cluster.connecting._WAIT_SECONDS", 0.5)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
        pytest.raises(ClusterError, match="has no worker: start one with `dask worker`"),
    ):
        ss.compare(*stores, out=tmp_path / "out.spec", executor=client, **SETTINGS)
    assert not list(tmp_path.iterdir())


def test_workers_that_are_too_small(stores: tuple[str, str], tmp_path: Path) -> None:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, memory_limit="300MB", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
        pytest.raises(PlanError, match=r"the plan needs .* of memory .* allows 229 MB"),
    ):
        ss.compare(*stores, out=tmp_path / "out.spec", executor=client, **SETTINGS)


def test_stores_work_and_result_are_in_an_object_store_and_a_worker_is_killed(
    stores: tuple[str, str], quiet: Result, s3: str, tmp_path: Path
) -> None:
    for name, store in zip("ab", stores, strict=True):
        ingest(store, f"{s3}/{name}.zarr", name=name)
    (tmp_path / "marks").mkdir()
    a = Slow(f"{s3}/a.zarr", tmp_path / "marks", 0.02, os.getpid())
    hit = InTheMiddle("covariance", tmp_path / "marks", kill)
    with forked_workers(), local_cluster(2) as client:
        found = ss.compare(
            a, f"{s3}/b.zarr", out=f"{s3}/out.spec", executor=Cluster(client, 1), progress=hit, **SETTINGS
        )
    assert hit.done.is_set()
    assert_same(found, quiet)
    again = ss.open_result(f"{s3}/out.spec")
    assert_same(again, quiet)


def test_two_runs_on_one_result_in_an_object_store(stores: tuple[str, str], s3: str) -> None:
    refused: list[ExistsError] = []

    def another(event: Event) -> None:
        if isinstance(event, PassStarted) and event.name == "covariance":
            with pytest.raises(ExistsError, match="at work") as raised:
                ss.compare(*stores, out=f"{s3}/out.spec", resume=True, **SETTINGS)
            refused.append(raised.value)

    ss.compare(*stores, out=f"{s3}/out.spec", progress=another, **SETTINGS)
    assert refused


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", str(place)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with forked_workers(), local_cluster(1) as client:
        yield client


@pytest.mark.parametrize("name", ["covariance", "scores", "certificate"])
def test_the_disk_fills_up_under_the_workers(
    stores: tuple[str, str], quiet: Result, client: Client, small_disk: Path, name: str
) -> None:
    filler = small_disk / "filler"

    def fill(event: Event) -> None:
        if isinstance(event, PassStarted) and event.name == name and not filler.exists():
            with filler.open("wb", buffering=0) as file:
                try:
                    while file.write(bytes(1 << 16)):
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    file.truncate(max(0, file.tell() - (1 << 17)))  # the order and some nodes fit, the others do not

    with pytest.raises(OSError, match="No space left") as raised:
        ss.compare(*stores, out=small_disk / "out.spec", executor=client, progress=fill, **SETTINGS)
    assert raised.value.errno == errno.ENOSPC
    assert not (small_disk / "out.spec").exists()
    filler.unlink()
    found = ss.compare(*stores, out=small_disk / "out.spec", executor=client, resume=True, **SETTINGS)
    assert_same(found, quiet)


def test_workers_on_the_command_line(
    stores: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_cli: Callable[..., CompletedProcess[str]],
) -> None:
    monkeypatch.undo()  # processes of their own have spans of the usual length
    alone = ss.compare(*stores, **SETTINGS)
    options = ["--size", "40", "--sigma-a", "1.5", "--sigma-b", "1.5", "--certify", "64", "--top", "20"]
    options += ["--rounds", "0", "--quiet"]
    for extra in (["--workers", "2"], ["--workers", "1", "--threads", "3"]):
        out = tmp_path / extra[1]
        done = run_cli("compare", *stores, "-o", str(out), *options, *extra)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        found = ss.open_result(out)
        assert_same(found, alone)
        assert found.summary["plan"]["workers"]["count"] == int(extra[1])
        planned = sum(step["moved"] for step in found.summary["plan"]["steps"])
        assert abs(sum(found.summary["measured"]["moved"].values()) / planned - 1) < 0.1
