"""Commands whose standard streams are closed, full or without a reader end as they would have."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import command, structured

from specscale import compare, ingest, open_result
from specscale.cli.streams import Enduring

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shells")

SPECSCALE = [sys.executable, "-m", "specscale"]
FULL = "specscale: standard output: no space left on device: what is printed there is not complete, send it elsewhere\n"
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A folder with two stores and their comparison."""
    for name, array in zip("ab", structured(700), strict=True):
        np.save(tmp_path / f"{name}.npy", array)
        ingest(tmp_path / f"{name}.npy", tmp_path / f"{name}.zarr")
    compare(tmp_path / "a.zarr", tmp_path / "b.zarr", out=tmp_path / "out", size=60, n_modes=2, certify=32)
    return tmp_path


@pytest.fixture
def sh(there: Path) -> Run:
    """Run a command with its streams redirected as a shell does it."""

    def run(redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {redirections}', "sh", *SPECSCALE, *arguments],
            cwd=there, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    return run


def without_reader(folder: Path, *arguments: str, lines: int = 0) -> tuple[int, str]:
    """The status and standard error of a command whose reader goes after some lines."""
    reading, writing = os.pipe()
    with subprocess.Popen(
        [*SPECSCALE, *arguments], cwd=folder, stdout=writing, stderr=subprocess.PIPE, text=True
    ) as child:
        os.close(writing)
        with open(reading) as reader:
            for _ in range(lines):
                assert reader.readline()
        errors = child.communicate(timeout=300)[1]
    return child.returncode, errors


RULE = ["compare", "a.zarr", "b.zarr", "-o", "new", "--size", "60", "--quiet", "--json", "--fail-on", "spec_diff>0"]


@pytest.mark.process
def test_nobody_reads_on(there: Path) -> None:
    assert without_reader(there, "info", "a.zarr", "--rows", "700", lines=1) == (0, "")
    assert without_reader(there, "modes", "out", "--top", "100") == (0, "")
    assert without_reader(there, "--help") == (0, "")
    assert without_reader(there, "info", "none.zarr")[0] == 1


@pytest.mark.process
def test_a_rule_that_holds_is_told_by_the_status_to_whoever_does_not_read(there: Path) -> None:
    status, errors = without_reader(there, *RULE)
    assert status == 3
    assert errors.startswith("specscale: spec_diff>0 holds")
    assert len(errors.splitlines()) == 1
    assert open_result(there / "new").modes


@pytest.mark.process
@needs_full
def test_a_full_device(sh: Run, there: Path) -> None:
    done = sh(">/dev/full", "info", "a.zarr", "--json")
    assert (done.returncode, done.stderr) == (1, FULL)
    done = sh(">/dev/full", *RULE)
    assert done.returncode == 3
    assert done.stderr.endswith(FULL)
    assert open_result(there / "new").modes
    done = sh("2>/dev/full", "info", "none.zarr")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    done = sh(">/dev/full 2>&1", "no-such-command")
    assert done.returncode == 2


@pytest.mark.process
def test_closed_streams(sh: Run, there: Path) -> None:
    for redirections in ("<&-", ">&-", "2>&-"):
        done = sh(redirections, "info", "a.zarr", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert redirections == ">&-" or json.loads(done.stdout)["n"] == 700
    done = sh(">&- 2>&-", "no-such-command")
    assert done.returncode == 2
    done = sh("<&- >&- 2>&-", *[one for one in RULE if one != "--quiet"])
    assert done.returncode == 3
    assert open_result(there / "new").modes


@pytest.mark.process
def test_nothing_is_written_into_what_takes_the_place_of_closed_streams(sh: Run, there: Path) -> None:
    assert sh("<&- >&- 2>&-", "ingest", str(there / "a.npy"), "new.zarr").returncode == 0

    def content(store: str) -> dict[str, bytes]:
        files = (path for path in (there / store).rglob("*") if path.is_file())
        return {str(path.relative_to(there / store)): path.read_bytes() for path in files}

    assert content("new.zarr") == content("a.zarr")


@pytest.mark.process
def test_a_terminal_that_is_gone(there: Path) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    os.close(ours)  # what is written to the other end fails
    deaf = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from specscale.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", deaf, *[one for one in RULE if one not in ("--json", "--quiet")]],
        cwd=there, stdin=theirs, stdout=theirs, stderr=theirs, timeout=300,
    )  # fmt: skip
    os.close(theirs)
    assert done.returncode == 3
    assert open_result(there / "new").modes


@pytest.mark.parametrize(
    ("number", "terminal", "kept"),
    [(errno.EPIPE, False, False), (errno.EIO, True, False), (errno.EIO, False, True), (errno.ENOSPC, True, True)],
)
def test_what_is_an_error_of_the_output(number: int, terminal: bool, kept: bool) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(number, os.strerror(number))

        def isatty(self) -> bool:
            return terminal

    stream = Enduring(Broken())
    assert stream.write("text") == 4
    assert (stream.error is not None) == kept


def test_the_streams_are_put_back(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before: Any = sys.stdout, sys.stderr
    assert command(monkeypatch, "info", "none.zarr") == 1
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().err.startswith("specscale: none.zarr")
