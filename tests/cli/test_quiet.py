"""What commands say with --quiet: nothing, but for errors and rules that hold."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Pair, command

import specscale as ss
from specscale.cli.progress import run_progress
from specscale.runtime.events import Warned


@pytest.fixture
def files(here: Path, pair: Pair) -> None:
    """Vectors of which one set draws a warning, for its norms, and a bad row."""
    a = pair[0] * np.where(np.arange(len(pair[0])) % 2, 1, 30)[:, None]
    np.save("a.npy", a)
    np.save("b.npy", pair[1])
    a[5] = np.nan
    np.save("bad.npy", a)


SMALL = ("--size", 20, "--modes", 1)
COMMANDS: dict[str, tuple[Any, ...]] = {
    "ingest": ("ingest", "bad.npy", "s.zarr", "--on-bad", "drop"),
    "compare": ("compare", "a.npy", "b.npy", "-o", "o.spec", *SMALL, "--sigma-a", 0.001, "--sigma-b", "auto"),
    "matrix": ("matrix", "a.npy", "b.npy", "-o", "m.spec", *SMALL),
    "bandwidth": ("bandwidth", "a.npy", "--sigma", 0.001),
}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.slow
def test_quiet_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str) -> None:
    calls, blake2b = [], hashlib.blake2b

    def loud(*given: Any, **options: Any) -> Any:
        calls.append(given)
        warnings.warn("a library has something to say", stacklevel=1)
        logging.getLogger("distributed.worker").warning("so has another")
        return blake2b(*given, **options)

    monkeypatch.setattr("hashlib.blake2b", loud)  # which every command needs
    monkeypatch.setattr("warnings.showwarning", lambda message, *_: print(message, file=sys.stderr))
    monkeypatch.setattr(logging.getLogger("distributed.worker"), "handlers", [logging.StreamHandler(sys.stderr)])
    assert command(monkeypatch, *COMMANDS[name], "--quiet") == 0
    assert calls
    assert tuple(capsys.readouterr()) == ("", "")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", ["compare", "matrix", "bandwidth"])
@pytest.mark.slow
def test_warnings_are_said_without_it_and_kept_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert command(monkeypatch, *COMMANDS[name], "--json") == 0
    assert "specscale: warning: " in capsys.readouterr().err
    if name == "compare":
        assert command(monkeypatch, *COMMANDS[name], "--overwrite", "--quiet") == 0
        assert capsys.readouterr().err == ""
        assert ss.open_result("o.spec").summary["warnings"]


def test_errors_are_said_all_the_same(
    files: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "ingest", "bad.npy", "s.zarr", "--quiet") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("specscale: bad.npy, row 5")
    assert len(err.splitlines()) == 1


def test_silence_ends_with_the_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    with run_progress(quiet=True) as tell:
        tell(Warned("something"))
        assert os.environ["PYTHONWARNINGS"] == "ignore"  # for the workers that are started meanwhile
        assert not logging.getLogger("distributed").isEnabledFor(logging.WARNING)
    assert os.environ["PYTHONWARNINGS"] == "default"
    assert logging.getLogger("distributed").isEnabledFor(logging.WARNING)
    with pytest.warns(UserWarning, match="again"):
        warnings.warn("again", stacklevel=1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["digits", pytest.param("text", marks=pytest.mark.slow)])
def test_a_quiet_demo(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    rows = {"digits": (), "text": ("--rows", 500)}[kind]
    assert command(monkeypatch, "demo", "--kind", kind, "-o", "d", *rows, "--quiet") == 0
    assert tuple(capsys.readouterr()) == ("", "")
