"""A scheduler or a worker that accepts what it is sent and never answers ends a run in one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from clusters import assert_same
from conftest import command, compared_alone, stored_pair
from distributed import Client
from silence import silent_port

import specscale as ss
from specscale.errors import ClusterError
from specscale.method.result import Result
from specscale.runtime.cluster import asking, tasks
from specscale.runtime.cluster import connecting as cluster
from specscale.runtime.cluster.connecting import connected
from specscale.runtime.events import Event, PassStarted

N = 120_000
SETTINGS: dict[str, Any] = {"size": 40, "sigma": (1.5, 1.5), "certify": 64, "top": 20, "rounds": 0}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specscale.runtime.spans._MOST_CHUNKS", 1)
    monkeypatch.setattr(tasks, "_LOOK_SECONDS", 0.5)
    monkeypatch.setattr(asking, "_FAREWELL_SECONDS", 0.5)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return stored_pair(tmp_path_factory.mktemp("stores"), N)


@pytest.fixture(scope="module")
def quiet(stores: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Result:
    return compared_alone(stores, tmp_path_factory.mktemp("quiet") / "out.spec", SETTINGS)


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
def test_a_scheduler_that_never_answers(scheme: str) -> None:
    with silent_port() as port:
        address = f"{scheme}://127.0.0.1:{port}"
        with pytest.raises(ClusterError, match=f"--scheduler {address}: no Dask scheduler answers there"):  # noqa: SIM117
            with connected(address, timeout=1):
                pass


def test_the_command_ends(
    stores: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "connected", partial(connected, timeout=1))
    with silent_port() as port:
        address = f"tcp://127.0.0.1:{port}"
        assert command(monkeypatch, "compare", *stores, "-o", tmp_path / "out.spec", "--scheduler", address) == 1
    error = capsys.readouterr().err
    assert "no answer for 1 s" in " ".join(error.split())
    assert not list(tmp_path.iterdir())


def test_so_does_its_process(run_python: Callable[..., Any]) -> None:
    code = (
        "import sys\nfrom specscale.errors import ClusterError\n"
        "from specscale.runtime.cluster.connecting import connected\n"
        "try:\n    with connected(sys.argv[1], timeout=1):\n        pass\n"
        "except ClusterError as error:\n    print(error)"
    )
    with silent_port() as port:
        done = run_python(code, f"tcp://127.0.0.1:{port}", timeout=300)
    assert "no answer for 1 s" in done.stdout
    assert done.stderr == ""


@pytest.fixture
def processes() -> Iterator[tuple[Client, subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    """A client, and the processes of its scheduler and of its only worker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    module = [sys.executable, "-m"]
    host, port = address.split(":")
    quiet: dict[str, Any] = {"stderr": subprocess.DEVNULL, "cwd": "/"}
    with (
        subprocess.Popen(
            [*module, "distributed.cli.dask_scheduler", "--host", host, "--port", port, "--no-dashboard"], **quiet
        ) as scheduler,
        subprocess.Popen(
            [*module, "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard"],
            **quiet,
        ) as worker,
    ):
        try:
            client: Client = Client(address, set_as_default=False, timeout=300)  # type: ignore[no-untyped-call]
            client.wait_for_workers(1, timeout=300)
            yield client, scheduler, worker
        finally:
            for process in (scheduler, worker):
                process.send_signal(signal.SIGCONT)
                process.kill()
            asking.told(client.close)


def test_a_scheduler_that_falls_silent_in_the_middle(
    stores: tuple[str, str],
    quiet: Result,
    processes: tuple[Client, subprocess.Popen[bytes], subprocess.Popen[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, scheduler, _ = processes

    def stop(event: Event) -> None:
        if isinstance(event, PassStarted) and event.name == "scores":
            monkeypatch.setattr(asking, "_SCHEDULER_SECONDS", 1.0)
            os.kill(scheduler.pid, signal.SIGSTOP)

    with pytest.raises(
        ClusterError, match=r"the scheduler tcp://.* does not answer \(no answer for 1 s, asked for its"
    ):
        ss.compare(*stores, out=tmp_path / "out.spec", executor=client, progress=stop, **SETTINGS)
    assert_same(ss.compare(*stores, out=tmp_path / "out.spec", resume=True, **SETTINGS), quiet)


def test_a_worker_that_stands_still_from_the_beginning(
    stores: tuple[str, str],
    processes: tuple[Client, subprocess.Popen[bytes], subprocess.Popen[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, _, worker = processes
    monkeypatch.setattr(asking, "_WORKERS_SECONDS", 3.0)
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(ClusterError, match=r"^worker tcp://127\.0\.0\.1:\d+ does not answer \(no answer for 3 s\)"):
        ss.compare(*stores, out=tmp_path / "out.spec", executor=client, **SETTINGS)
    assert not list(tmp_path.iterdir())
