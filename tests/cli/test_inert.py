"""Texts of the user's that would command a terminal are shown and do nothing."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Pair, command

from specscale.cli.inert import InertStream, flowing, inert

EVIL = "\x1b]0;owned\x07\x1b[31mred\x9b2J\x7f\u202eevil\u2066\u200b\ufeff"
SPELLED = r"\x1b]0;owned\x07\x1b[31mred\x9b2J\x7f\u202eevil\u2066\u200b\ufeff"
UNSAFE = [chr(i) for i in (*range(32), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0x200B)]
ORDINARY = [
    "plain [red] text \\x1b of 100 % ~", "naïve e\u0301clair Ångström", "нет", "狐狸", "مرحبا بالعالم", "שלום\u200f",
    "क्\u200dष नमस्ते", "می\u200cخواهم", "ไทย", "👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 🇩🇪",
    "\U0001f3f4\U000e0067\U000e0062\U000e007f",
]  # fmt: skip


def test_what_commands_is_spelled_out() -> None:
    assert inert(EVIL) == SPELLED
    assert inert("a\nb\tc\r\ud800") == r"a\nb\tc\r\ud800"
    for one in UNSAFE:
        assert one not in inert(f"a{one}b")
        assert one not in flowing(f"a{one}b")
    assert flowing(" a\n\t b\x1bc\u2028d ") == r"a b\x1bc d"


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text: str) -> None:
    assert inert(text) == flowing(text) == text


def test_streams_keep_their_lines() -> None:
    out = io.StringIO()
    print("a\x1b", "b\r", sep="\n", file=InertStream(out))
    assert out.getvalue() == "a\\x1b\nb\\r\n"
    assert InertStream(out).isatty() is False


@pytest.fixture
def evil(here: Path, make_pair: Callable[..., Pair]) -> str:
    """Vectors and columns of samples that no terminal should read, and a name for their model."""
    n = 100
    for name, array in zip("ab", make_pair(n), strict=True):
        np.save(f"{name}.npy", array)
    table = {
        "key": [f"{row}{EVIL}" for row in range(n)],
        f"text{EVIL}": [f"a\n{EVIL} {row}" for row in range(n)],
        "label": [f"{row % 3}{EVIL}" for row in range(n)],
        "nested": [[EVIL]] * n,
    }
    pq.write_table(pa.table(table), "m.parquet")
    return f"model\n{EVIL}"


@pytest.mark.slow
def test_no_command_sends_them(evil: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--size", 20, "--modes", 1, "--sigma-a", 2, "--sigma-b", 2)
    ingest = ("--metadata", "m.parquet", "--id", "key", "--name", evil)
    for name in "ab":
        assert command(monkeypatch, "ingest", f"{name}.npy", f"{name}{EVIL}.zarr", *ingest) == 0
    a, b = f"a{EVIL}.zarr", f"b{EVIL}.zarr"
    commands = [
        ("compare", a, b, "-o", f"o{EVIL}.spec", *small, "--fail-on", "modes>0"),
        ("info", a),
        ("modes", f"o{EVIL}.spec"),
        ("modes", f"o{EVIL}.spec", "--show", f"text{EVIL}"),
        ("modes", f"o{EVIL}.spec", "--show", EVIL),
        ("modes", f"o{EVIL}.spec", "--overlap", "--measures"),
        ("modes", f"{EVIL}\n.spec"),
        ("explain", f"o{EVIL}.spec", "--labels", "label", "--alpha", 1),
        ("explain", f"o{EVIL}.spec", "--labels", EVIL),
        ("matrix", a, "b.npy", "-o", f"m{EVIL}.spec", "--size", 20, "--modes", 1, "--match", "position"),
        ("bandwidth", a, "--sigma", 2),
        ("compare", a, b, "-o", "x", "--kernel", EVIL),
        ("compare", a, b, "-o", "x", "--fail-on", EVIL),
        ("ingest", f"{EVIL}.npy", "x.zarr"),
    ]
    for arguments in commands:
        capsys.readouterr()
        command(monkeypatch, *arguments)
        out, err = capsys.readouterr()
        assert r"\x1b]0;owned" in out + err, arguments
        assert not [one for one in UNSAFE if one != "\n" and one in out + err], arguments
        assert all(line.startswith("specscale: ") for line in err.splitlines()) or "modes>0" in arguments or (
            "Usage" in err
        )  # fmt: skip
    capsys.readouterr()
    for arguments in (("modes", f"o{EVIL}.spec", "--json"), ("info", a, "--json")):
        assert command(monkeypatch, *arguments) == 0
        out = capsys.readouterr().out
        assert all(" " <= one < "\x7f" for one in out.rstrip("\n"))
        json.loads(out)
    described = json.loads(out)
    assert described["name"] == evil
    assert described["rows"][0]["columns"][f"text{EVIL}"] == f"a\n{EVIL} 0"


@pytest.mark.process
def test_bars_move_and_texts_do_not() -> None:
    """On a terminal the bars command it; names that they show do not, nor does markup in them."""
    code = (
        "import warnings\n"
        "from specscale.cli.inert import inert_streams\nfrom specscale.cli.progress import run_progress\n"
        "from specscale.runtime.events import Noted, Stage, Warned\n"
        f"evil = {EVIL!r} + '[bold]'\n"
        "with inert_streams(), run_progress() as tell:\n"
        "    for kind in (Stage, Noted, Warned):\n        tell(kind(evil))\n"
        "    warnings.warn(evil)\n"
    )
    terminal, screen = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", code], stderr=screen, env={**os.environ, "COLUMNS": "200"})
    os.close(screen)
    seen = b""
    try:
        while piece := os.read(terminal, 4096):
            seen += piece
    except OSError:
        pass  # the terminal closed
    os.close(terminal)
    assert child.wait() == 0
    assert b"\x1b[" in seen  # the bar's own
    text = seen.decode()
    assert text.count(SPELLED + "[bold]") >= 3
    assert not [one for one in ("\x1b]", "\x1b[31m", "\x07", "\x9b", "\x7f", "\u202e", "\u2066") if one in text]


@pytest.mark.process
def test_names_that_look_like_markup(here: Path, make_pair: Callable[..., Pair]) -> None:
    """On a terminal, where bars are drawn: what stands in square brackets is text, whatever it would mean."""
    red, bold = "[/red] :smile:", "[bold]x[/] :smile:"
    for name, array in zip((red, bold), make_pair(100), strict=True):
        np.save(name.replace("/", "|") + ".npy", array)
    table = {"key": [f"[/red]{row}" for row in range(100)], "label": [f"[/b]{row % 3} :smile:" for row in range(100)]}
    pq.write_table(pa.table(table), "[m].parquet")
    small = ("--size", "20", "--modes", "1", "--sigma-a", "2", "--sigma-b", "2")
    a, b, ids = "[|a].zarr", "[bold]b.zarr", ("--metadata", "[m].parquet", "--id", "key")
    commands = [
        ("ingest", "[|red] :smile:.npy", a, "--name", red, *ids),
        ("ingest", "[bold]x[|] :smile:.npy", b, "--name", bold, *ids),
        ("compare", a, b, "-o", "[o].spec", *small),
        ("matrix", a, b, "-o", "[m].spec", "--size", "20", "--modes", "1"),
        ("bandwidth", a, b, "--sigma", "2"),
        ("modes", "[o].spec"),
        ("explain", "[o].spec", "--labels", "label", "--alpha", "1"),
        ("info", a),
        ("info", "[/none]"),
        ("modes", "[/none]"),
        ("compare", a, b, "-o", "x", "--kernel", "[/none]"),
    ]
    code = (
        "import json, sys\nfrom specscale.cli import main\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['specscale', *arguments]\n"
        "    try:\n        main()\n    except SystemExit as end:\n        print('ended', end.code)\n"
    )
    terminal, screen = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(commands)],
        stdout=screen, stderr=screen, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    os.close(screen)
    seen = b""
    try:
        while piece := os.read(terminal, 4096):
            seen += piece
    except OSError:
        pass  # the terminal closed
    os.close(terminal)
    assert child.wait() == 0
    text = seen.decode()
    ends = [line.split()[-1] for line in text.splitlines() if line.startswith("ended")]
    assert ends == ["0"] * 8 + ["1", "1", "2"], text
    assert "Traceback" not in text
    assert all(name in text for name in (red, bold, "[/red]7", "[/b]1 :smile:", "[/none]"))
    assert "\U0001f604" not in text


def test_warnings_of_libraries_pass_through_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(path: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda message, *_: print(message, file=sys.stderr)  # as Python does, not as pytest
            warnings.warn(EVIL, stacklevel=1)
        raise OSError(2, "gone", f"x{EVIL}\ny")

    monkeypatch.setattr("specscale.embeddings.store.EmbeddingStore", fail)
    assert command(monkeypatch, "info", "x") == 1
    err = capsys.readouterr().err
    assert err == f"{SPELLED}\nspecscale: x{SPELLED}\\ny: no such file or directory: {err.split('directory: ')[1]}"
