"""What is forked for a test is the process that it would be if it were started."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import forking
import pytest
from conftest import Run
from forking import ForkServer

pytestmark = pytest.mark.skipif(not forking.POSSIBLE, reason="forks")


@pytest.fixture(params=["forked", "spawned"])
def python(request: pytest.FixtureRequest, run_python: Run, spawn_python: Run) -> Run:
    return run_python if request.param == "forked" else spawn_python


@pytest.fixture(params=["forked", "spawned"])
def cli(request: pytest.FixtureRequest, run_cli: Run, spawn_cli: Run) -> Run:
    return run_cli if request.param == "forked" else spawn_cli


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", 0),
        ("raise SystemExit", 0),
        ("raise SystemExit(3)", 3),
        ("raise SystemExit('no')", 1),
        ("1 / 0", 1),
        ("import os; os._exit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import os; os.kill(os.getpid(), 2)", -2),
        ("import os; os.kill(os.getpid(), 15)", -15),
        ("import warnings; warnings.warn('no', RuntimeWarning)", 1),
        ("import warnings; warnings.warn('well', UserWarning)", 0),
    ],
)
def test_how_it_ends(python: Run, code: str, status: int) -> None:
    done = python(f"{code}\n")
    assert done.returncode == status
    assert ("Traceback" in done.stderr) == (code.startswith("1 /") or status == -2 or "RuntimeW" in code)


def test_what_it_finds(python: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "33")
    code = (
        "import os, signal, sys, tempfile, threading\n"
        "print(__name__, sys.argv, os.getcwd(), os.environ['COLUMNS'], tempfile.gettempdir(), sys.path[0])\n"
        "print(threading.enumerate() == [threading.main_thread()], sys.stdin.read() == '')\n"
        "print([signal.getsignal(one) for one in (2, 13, 15)] == [signal.default_int_handler, 1, 0])\n"
        "print('error', file=sys.stderr)\n"
    )
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = python(code, "one", "two words")
    assert done.stderr == "error\n"
    assert done.stdout.splitlines() == [
        f"__main__ ['-c', 'one', 'two words'] {tmp_path} 33 {tmp_path} ",
        "True True",
        "True",
    ]


def test_what_is_done_at_its_end(python: Run) -> None:
    code = (
        "import atexit, threading, time\n"
        "atexit.register(print, 'end')\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()\n"
        "print('main')\n"
    )
    assert python(code).stdout == "main\nthread\nend\n"


def test_who_is_not_waited_for_any_longer_is_killed(run_python: Run, tmp_path: Path) -> None:
    code = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)\n"
    with pytest.raises(subprocess.TimeoutExpired):
        run_python(code, timeout=5)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGCONT)
    assert run_python("print(1)\n").stdout == "1\n"


def test_the_command_line(cli: Run) -> None:
    done = cli("--help")
    assert done.stdout.startswith("Usage: python -m specscale")
    assert cli("no-such-command").returncode == 2


@pytest.mark.cluster
def test_who_has_started_workers_forks_too(fork_server: ForkServer) -> None:
    from specscale.runtime.cluster.connecting import local_cluster

    with local_cluster(1):
        pass
    assert fork_server.serves(os.environ)


def test_what_is_decided_at_the_beginning_is_not_forked() -> None:
    server = object.__new__(ForkServer)
    server._environment = dict(os.environ)
    assert server.serves({**os.environ, "AWS_REGION": "here", "PYTHONWARNINGS": forking.WARNINGS})
    assert not server.serves({**os.environ, "PYTHONWARNINGS": "error"})
    assert not server.serves({**os.environ, "LC_ALL": "C"})
    assert not server.serves({})
