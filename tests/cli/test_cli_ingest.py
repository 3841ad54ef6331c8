from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Run

from specscale.cli.app import main


class Outcome:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["specscale", *arguments])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        return Outcome(status, *capsys.readouterr())

    return call


def save(path: str, n: int = 20, p: int = 4) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(n, p)).astype(np.float32)
    np.save(path, values)
    return values


def test_ingest_prints_what_it_did(run: Any) -> None:
    values = save("clip.npy")
    values[3] = 0
    values[[5, 6]] = np.nan
    np.save("clip.npy", values)
    done = run("ingest", "clip.npy", "s.zarr", "--on-bad", "drop")
    assert (done.status, done.err) == (0, "")
    first, second, third = done.out.splitlines()
    assert first.startswith("s.zarr: 18 rows × 4 dimensions, float32, digest ")
    assert second == "dropped 2 of 20 rows: clip.npy, row 5; clip.npy, row 6"
    assert third.startswith("1 row has norm zero")
    quiet = run("ingest", "clip.npy", "s.zarr", "--on-bad", "drop", "--overwrite", "--quiet")
    assert (quiet.status, quiet.out, quiet.err) == (0, "", "")


def test_ingest_json_is_one_object(run: Any) -> None:
    save("1.npy")
    save("2.npy")
    Path("m.csv").write_text("key,label\n" + "".join(f"k{i},{i}\n" for i in range(40)))
    options = ["--metadata", "m.csv", "--id", "key", "--name", "mine", "--dtype", "float16"]
    done = run("ingest", "2.npy", "1.npy", "s.zarr", "--json", *options)
    assert (done.status, done.err) == (0, "")
    report = json.loads(done.out)
    assert (report["n"], report["p"], report["dtype"], report["name"]) == (40, 4, "float16", "mine")
    assert report["columns"] == ["key", "label"]
    described = json.loads(run("info", "s.zarr", "--json").out)
    assert described["digest"] == report["digest"]
    assert described["source"] == ["2.npy", "1.npy"]
    assert described["ids"]["column"] == "key"


def test_sources_with_options(run: Any) -> None:
    values = save("a.npy")
    np.savez("a.npz", x=values, y=values + 1)
    assert run("ingest", "a.npz", "x.zarr", "--key", "x").status == 0
    pq.write_table(pa.table({"u": values.tolist(), "v": values.tolist()}), "a.parquet")
    assert run("ingest", "a.parquet", "u.zarr", "--vector", "u").status == 0
    digests = {json.loads(run("info", store, "--json").out)["digest"] for store in ("x.zarr", "u.zarr")}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.npy", "s.zarr"], "specscale: nothing.npy: no such file"),
        (["a.npy", "a.npy"], "specscale: a.npy: exists"),
        (["a.npy", "s.zarr", "--key", "x"], "specscale: --key does not apply to a.npy"),
        (["bad.npy", "s.zarr"], "specscale: bad.npy, row 2, column 1: NaN; drop such rows with --on-bad drop"),
    ],
)
def test_what_the_user_can_mend_is_one_line(run: Any, arguments: list[str], message: str) -> None:
    values = save("a.npy")
    values[2, 1] = np.nan
    np.save("bad.npy", values)
    done = run("ingest", *arguments)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(message)
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["a.npy"], [], ["a.npy", "s.zarr", "--dtype", "int8"], ["a", "b", "--on-bad", "x"]]
)
def test_usage_errors(run: Any, arguments: list[str]) -> None:
    assert run("ingest", *arguments).status == 2


def test_info(run: Any) -> None:
    values = save("clip.npy")
    values[0] = 0
    np.save("clip.npy", values)
    table = {"row": list(range(20)), "text": ["a [red] fox " * 20] * 20, "score": [float("nan")] * 20}
    pq.write_table(pa.table(table), "m.parquet")
    run("ingest", "clip.npy", "s.zarr", "--metadata", "m.parquet")
    done = run("info", "s.zarr", "--rows", "3")
    assert (done.status, done.err) == (0, "")
    norms = np.linalg.norm(values, axis=1)
    assert f"norms       0 to {norms.max():.4g}, median {np.median(norms):.4g}; 1 zero (5.00%)" in done.out
    assert "columns     row, text, score" in done.out
    shown = done.out.split("\n\n")[1].splitlines()
    assert len(shown) == 4
    assert "a [red] fox a [red] fox" in shown[1]
    assert "…" in shown[1]
    described = json.loads(run("info", "s.zarr", "--rows", "3", "--json").out, parse_constant=pytest.fail)
    assert [row["row"] for row in described["rows"]] == [0, 1, 2]
    assert described["rows"][1]["columns"]["text"] == "a [red] fox " * 20
    assert described["zero_share"] == 0.05
    assert run("info", "nothing.zarr").status == 1


@pytest.mark.process
def test_help_loads_no_engine(tmp_path: Path) -> None:
    code = "import sys, specscale.cli.ingest; print(sorted({'numpy', 'zarr', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"


COMMAND = [sys.executable, "-c", "from specscale.cli.app import main; main()"]


@pytest.mark.process
def test_the_bar_is_for_terminals(tmp_path: Path) -> None:
    save(str(tmp_path / "a.npy"), 200_000)
    terminal, screen = pty.openpty()
    child = subprocess.Popen(
        [*COMMAND, "ingest", "a.npy", "s.zarr", "--json"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=screen
    )
    os.close(screen)
    seen = b""
    try:
        while piece := os.read(terminal, 4096):
            seen += piece
    except OSError:
        pass  # the terminal closed
    os.close(terminal)
    assert child.stdout is not None
    assert json.loads(child.stdout.read())["n"] == 200_000
    assert child.wait() == 0
    assert b"200,000 rows" in seen


def test_a_killed_ingest_continues(tmp_path: Path, run_cli: Run) -> None:
    """Kill the process with no chance to clean up, twice, and run the same command again."""
    shards = tmp_path / "shards"
    shards.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        np.save(shards / f"{number}.npy", rng.normal(size=(30_000, 128)).astype(np.float32))
    Path(tmp_path / "m.csv").write_text("id\n" + "".join(f"x{i}\n" for i in range(360_000)))
    command = ["ingest", "shards", "s.zarr", "--metadata", "m.csv", "--id", "id"]
    journal = tmp_path / "s.zarr.partial" / "journal.json"
    killed = 0
    for chunks in (2, 5):
        child = subprocess.Popen([*COMMAND, *command], cwd=tmp_path, stdout=subprocess.DEVNULL)
        while child.poll() is None and _chunks(journal) < chunks:
            time.sleep(0.005)
        child.kill()
        killed += child.wait() == -signal.SIGKILL
        assert not (tmp_path / "s.zarr").exists()
    assert killed == 2
    done = _chunks(journal)
    assert 5 <= done < 11
    report = json.loads(run_cli(*command, "--json").stdout)
    assert report["resumed_at"] == done * 32_768
    whole = run_cli("ingest", "shards", "whole.zarr", "--metadata", "m.csv", "--id", "id", "--json")
    assert report["digest"] == json.loads(whole.stdout)["digest"]
    assert _contents(tmp_path / "s.zarr") == _contents(tmp_path / "whole.zarr")
    assert not journal.parent.exists()


def _chunks(journal: Path) -> int:
    try:
        return len(json.loads(journal.read_text())["chunk_digests"])
    except FileNotFoundError:
        return 0


def _contents(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}
