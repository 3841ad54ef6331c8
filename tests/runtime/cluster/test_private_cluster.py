"""The cluster of ``--workers``: nobody else on the machine can reach it, nor put a module where it looks for them."""

from __future__ import annotations

import asyncio
import http.client
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client
from distributed.comm import connect
from distributed.security import Security

from specscale.runtime.cluster.connecting import local_cluster


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def earlier() -> set[tuple[str, int]]:
    """What other tests have left running."""
    return listening()


@pytest.fixture(scope="module")
def client(temporary: Path, earlier: set[tuple[str, int]]) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", None)
        with local_cluster(2) as client:
            client.wait_for_workers(2)
            yield client
    assert not list(temporary.iterdir())


@pytest.fixture
def sockets(client: Client, earlier: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """What the cluster listens on."""
    return listening() - earlier


def listening() -> set[tuple[str, int]]:
    """What this process and those it started listen on."""
    me = psutil.Process()
    family = {one.pid for one in [me, *me.children(recursive=True)]}
    return {
        (one.laddr.ip, one.laddr.port)
        for one in psutil.net_connections("inet")
        if one.pid in family and one.status == psutil.CONN_LISTEN
    }


def knock(port: int, scheme: str, security: Security | None, patience: float) -> None:
    """Do what a client or a worker begins with; who is refused tries again as long as there is patience."""
    given = security.get_connection_args("client") if security else {}  # type: ignore[no-untyped-call]

    async def talk() -> None:
        comm: Any = await asyncio.wait_for(connect(f"{scheme}://127.0.0.1:{port}", timeout=patience, **given), patience)  # type: ignore[no-untyped-call]
        await comm.write({"op": "identity", "reply": True})
        await asyncio.wait_for(comm.read(), patience)
        await comm.close()

    asyncio.run(talk())


def test_every_socket_is_on_the_loopback_interface(sockets: set[tuple[str, int]]) -> None:
    assert len(sockets) == 5  # of the scheduler, two nannies and two workers
    assert {address for address, _ in sockets} <= {"127.0.0.1", "::1"}


def test_who_has_not_the_certificate_is_not_heard(client: Client, sockets: set[tuple[str, int]]) -> None:
    stranger: Security = Security.temporary()  # type: ignore[no-untyped-call]
    for _, port in sockets:
        knock(port, "tls", client.security, 60)
        for scheme, security in (("tcp", None), ("tls", stranger)):
            with pytest.raises(OSError):  # noqa: PT011
                knock(port, scheme, security, 2)
    with pytest.raises(OSError):  # noqa: PT011
        Client(client.scheduler.address, security=stranger, timeout=2)  # type: ignore[no-untyped-call]


def test_no_web_server_answers(sockets: set[tuple[str, int]]) -> None:
    for _, port in sockets:
        there = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        there.request("GET", "/status")
        with pytest.raises((http.client.HTTPException, OSError)):
            there.getresponse()
        there.close()


def test_the_key_is_on_no_disk(client: Client, temporary: Path) -> None:
    files = [path for path in temporary.rglob("*") if path.is_file()]
    assert not [path for path in files if b"PRIVATE" in path.read_bytes()]
    assert [path.stat().st_mode & 0o777 for path in temporary.iterdir()] == [0o700]


def test_modules_are_looked_for_where_others_cannot_write(client: Client, temporary: Path) -> None:
    def places() -> list[str]:
        return sys.path

    everywhere: list[list[str]] = [sys.path, *client.run(places).values(), *client.run(places, nanny=True).values()]
    (private,) = temporary.iterdir()
    scratch = [place for places in everywhere for place in places if "dask" in place]
    assert scratch
    assert private.stat().st_mode & 0o777 == 0o700
    assert all(Path(place).is_relative_to(private) for place in scratch)


def test_the_cluster_leaves_nothing_behind(run_python: Callable[..., Any], tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom specscale.runtime.cluster.connecting import local_cluster\n"
        "if __name__ == '__main__':\n"
        "    before = list(sys.path)\n"
        "    with local_cluster(1):\n        pass\n"
        "    print(sys.path == before, os.listdir(os.environ['TMPDIR']))"
    )
    (tmp_path / "temporary").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path / "temporary"))
        done = run_python(code)
    assert done.stdout.strip() == "True []", done.stderr
