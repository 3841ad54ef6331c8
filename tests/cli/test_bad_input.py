"""What a user gets wrong, or finds in the way, ends in one line; nothing of theirs is lost and no number is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import specscale as ss
from specscale.cli import app as app_module
from specscale.cli.json_output import print_json
from specscale.errors import ExistsError, InputError, OptionError
from specscale.features.bandwidth import choose_bandwidth, parse_rule
from specscale.kernels.base import load_kernels
from specscale.results.workplace import Workplace
from specscale.stores.ingest import ingest

Arrays = tuple[np.ndarray, np.ndarray]
Cli = Callable[..., subprocess.CompletedProcess[str]]
OPTIONS: dict[str, Any] = {"size": 20, "n_modes": 3, "sigma": (2.0, 2.0), "rounds": 0}


def embeddings(n: int = 400) -> Arrays:
    generator = np.random.default_rng(0)
    group = generator.integers(0, 5, n)
    a, b = (3 * generator.normal(size=(5, p))[group] + generator.normal(size=(n, p)) for p in (6, 4))
    return a.astype(np.float32), b.astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.zarr and b.zarr, which have ids and texts, and their comparison out."""
    folder = tmp_path_factory.mktemp("made")
    table = pa.table({"key": [f"s{i}" for i in range(400)], "text": [f"text {i}" for i in range(400)]})
    pq.write_table(table, folder / "rows.parquet")
    for name, array in zip("ab", embeddings(), strict=True):
        np.save(folder / f"{name}.npy", array)
        ingest(
            str(folder / f"{name}.npy"),
            str(folder / f"{name}.zarr"),
            metadata=str(folder / "rows.parquet"),
            id_column="key",
        )
    ss.compare(folder / "a.zarr", folder / "b.zarr", out=folder / "out", **OPTIONS)
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """A copy of `made` to damage."""
    shutil.copytree(made, tmp_path / "here")
    return tmp_path / "here"


def one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The command failed as it should: status 1, nothing on standard output, one line that says these words."""
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert all(word in lines[0] for word in words), lines[0]


# --- numbers


@pytest.mark.parametrize(
    ("factor", "sigma"),
    [(factor, (2.0, 2.0)) for factor in (1e7, 1e9, 1e14, 1e20, 1e30)]
    + [(factor, ("median", "median")) for factor in (1e7, 1e9, 1e14)],  # beyond, the squares of all others vanish
)
@pytest.mark.slow
def test_one_wild_row_leaves_the_others_alone(factor: float, sigma: Any) -> None:
    a, b = embeddings()
    options = {**OPTIONS, "sigma": sigma}
    expected = ss.compare(a, b, **options).eigenvalues
    a[7] *= factor
    found = ss.compare(a, b, **options).eigenvalues
    np.testing.assert_allclose(found, expected, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-27, 1e-20, 1e20, 1e27])
@pytest.mark.parametrize("rule", ["auto", "median"])
def test_bandwidths_follow_any_scale(scale: float, rule: str) -> None:
    a, b = embeddings()
    found, expected = (ss.compare(x, b, **{**OPTIONS, "sigma": (rule, 2.0)}) for x in (a * np.float32(scale), a))
    sigmas = [one.summary["bandwidths"]["a"]["sigma"] for one in (found, expected)]
    assert sigmas[0] == pytest.approx(scale * sigmas[1], rel=1e-4)
    np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues, atol=1e-4)
    assert not any("equal" in warning for warning in found.summary["warnings"])


def test_a_power_of_two_changes_no_digit_of_a_bandwidth() -> None:
    a = embeddings()[0]
    one, other = (choose_bandwidth(parse_rule("auto"), x, "X") for x in (a, a * np.float32(2.0**80)))
    assert other.sigma == one.sigma * 2.0**80
    assert other.top_eigenvalue == one.top_eigenvalue


@pytest.mark.parametrize("length", [1.0, 1e4, 1e6, 1e8, 1e12, 1e25, 1e38])
def test_features_of_rows_at_any_distance_have_unit_norm(length: float) -> None:
    kernels = load_kernels("cpu")
    x = np.full((3, 2), [length, 0], dtype=np.float32)
    x[:, 1] = -x[:, 0]  # so that infinities would meet
    frequencies = np.random.default_rng(0).normal(size=(2, 50)).astype(np.float32) * np.float32(10)
    out = np.empty((3, 100), dtype=np.float32)
    kernels.fourier(x, frequencies, out)
    np.testing.assert_allclose((out**2).sum(axis=1), 1, rtol=1e-4)
    angles = x[:1].astype(np.float64) @ frequencies.astype(np.float64)
    if length > 1e8:
        return  # no digit of such an angle is left
    np.testing.assert_allclose(out[0, :50] * np.sqrt(50), np.cos(angles)[0], atol=0.05)


@pytest.mark.slow
def test_more_modes_and_members_than_there_are(tmp_path: Path) -> None:
    a, b = embeddings(100)
    huge, enough = (ss.compare(a, b, size=4, n_modes=k, top=k, sigma=(2.0, 2.0)) for k in (10**9, 100))
    np.testing.assert_array_equal(huge.eigenvalues, enough.eigenvalues)
    pd.testing.assert_frame_equal(huge.members(), enough.members())


def test_masked_numbers_are_missing() -> None:
    a, b = embeddings()
    masked = np.ma.masked_array(a, mask=np.zeros(a.shape, dtype=bool))
    masked[5, 1] = np.ma.masked
    with pytest.raises(InputError, match="row 5"):
        ss.compare(masked, b, **OPTIONS)


# --- options


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"seed": 2**63}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"n_modes": "3"}, "n_modes"),
        ({"top": None}, "top"),
        ({"eta": "much"}, "eta"),
        ({"eta": None}, "eta"),
        ({"size": 2.5}, "size"),
        ({"sample": 1.5}, "sample"),
        ({"sigma": 2.0}, "pair"),
        ({"sigma": (2.0,)}, "pair"),
        ({"sigma": (1e-300, 2.0)}, "range"),
        ({"sigma": ("1e200*median", 2.0)}, "range"),
    ],
)
def test_illegal_values(options: dict[str, Any], word: str) -> None:
    with pytest.raises(OptionError, match=word):
        ss.compare(*embeddings(50), **{**OPTIONS, **options})


def test_numbers_of_numpy_are_numbers() -> None:
    a, b = embeddings(100)
    options = {"n_modes": np.int64(3), "top": np.int32(5), "seed": np.uint64(2**63 - 1), "eta": np.float32(2)}
    result = ss.compare(a, b, size=np.int64(8), sigma=(np.float32(2), np.float64(2)), **options)
    assert result.summary["options"]["seed"] == 2**63 - 1


class Unknown:
    """As a tensor of a type that NumPy does not know."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("unsupported")


@pytest.mark.parametrize("given", [[[1.0, 2.0], [1.0]], Unknown()], ids=["ragged", "unknown"])
def test_what_is_no_array(given: Any) -> None:
    with pytest.raises(InputError, match="A: not an array"):
        ss.compare(given, embeddings()[1], **OPTIONS)


# --- places


@pytest.mark.parametrize("out", ["", ".", "/"])
def test_a_result_needs_a_name(out: str) -> None:
    with pytest.raises(OptionError, match="name"):
        Workplace(out, overwrite=True)


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}, {"resume": True, "overwrite": True}])
@pytest.mark.parametrize("kind", ["folder", "file", "link", "dangling"])
def test_what_is_in_the_way_of_the_work_stays(tmp_path: Path, kind: str, options: dict[str, bool]) -> None:
    work, mine = tmp_path / "out.work", tmp_path / "mine"
    mine.mkdir()
    if kind == "file":
        work.write_text("mine")
    elif kind == "dangling":
        work.symlink_to("nowhere")
    else:
        if kind == "link":
            work.symlink_to(mine)
        else:
            work.mkdir()
        (work / "precious").write_text("mine")
    with pytest.raises(ExistsError, match="in the way"):
        ss.compare(*embeddings(50), out=tmp_path / "out", **OPTIONS, **options)
    assert os.path.lexists(work)
    assert kind in ("file", "dangling") or (work / "precious").read_text() == "mine"


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_two_runs_do_not_share_a_place(tmp_path: Path, options: dict[str, bool]) -> None:
    first = Workplace(tmp_path / "out")
    first.claim({})
    with pytest.raises(ExistsError, match="another process"):
        Workplace(tmp_path / "out", **options)
    assert (first.work / "run.json").exists()
    first.leave()
    Workplace(tmp_path / "out", resume=True).leave()


def test_what_appears_at_out_during_the_work_stays_and_so_does_the_work(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "out")
    place.claim({})
    (place.folder / "result").mkdir()
    (tmp_path / "out").mkdir()
    with pytest.raises(ExistsError, match="--resume"):
        place.publish(place.folder / "result")
    place.leave()
    (tmp_path / "out").rmdir()
    again = Workplace(tmp_path / "out", resume=True)
    again.publish(again.folder / "result")
    assert (tmp_path / "out").is_dir()


def test_a_result_that_was_being_replaced_comes_back_before_the_work_is_discarded(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "out")
    place.claim({})
    (place.work / "replaced").mkdir()
    (place.work / "replaced" / "summary.json").write_text("old")
    place.leave()
    again = Workplace(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "summary.json").read_text() == "old"
    again.leave()


# --- damage


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "chunk gone": ("features/c/0/0", Path.unlink),
    "chunk short": ("features/c/0/0", lambda path: os.truncate(path, 100)),
    "chunk of zeros": ("row 0", lambda path: path.write_bytes(bytes(path.stat().st_size))),
    "norms short": ("norms", lambda path: os.truncate(path, 100)),
    "norms gone": ("norms/c/0: the chunk is missing", Path.unlink),
    "array gone": ("features", shutil.rmtree),
    "array unreadable": ("features", lambda path: path.write_text("{")),
    "attribute gone": ("digest", lambda path: path.write_text(path.read_text().replace('"digest"', '"other"'))),
    "attribute wrong": ("norms", lambda path: path.write_text(path.read_text().replace('"n": 400', '"n": 401'))),
    "columns gone": ("rows.parquet", Path.unlink),
    "columns short": ("rows.parquet", lambda path: os.truncate(path, 100)),
    "columns of others": ("rows.parquet", lambda path: pq.write_table(pa.table({"key": ["s0"], "text": [""]}), path)),
}
PLACES = {
    "chunk": "features/c/0/0",
    "norms": "norms/c/0",
    "array gone": "features",
    "array": "features/zarr.json",
    "attribute": "zarr.json",
    "columns": "rows.parquet",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_store_is_named(here: Path, damage: str) -> None:
    word, spoil = DAMAGE[damage]
    spoil(here / "a.zarr" / PLACES.get(damage, PLACES.get(damage.split()[0], "")))
    with pytest.raises(InputError, match=word) as caught:
        ss.compare(here / "a.zarr", here / "b.zarr", out=here / "new", **OPTIONS)
    assert "a.zarr" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(here.glob("new*"))


@pytest.mark.parametrize(
    ("file", "spoil"),
    [
        ("summary.json", Path.unlink),
        ("summary.json", lambda path: path.write_text("[]")),
        ("summary.json", lambda path: path.write_text('{"schema_version": 1}')),
        ("summary.json", lambda path: path.write_bytes(b"\xff\xfe")),
        ("modes.parquet", Path.unlink),
        ("modes.parquet", lambda path: os.truncate(path, 100)),
        ("spec.zarr", shutil.rmtree),
    ],
)
def test_a_damaged_result_is_named(here: Path, file: str, spoil: Callable[[Path], object]) -> None:
    spoil(here / "out" / file)
    with pytest.raises(InputError, match="out"):
        ss.open_result(here / "out").members()


def test_a_file_is_no_result(here: Path) -> None:
    with pytest.raises(InputError, match="no result"):
        ss.open_result(here / "a.npy")


@pytest.mark.parametrize("damage", ["columns gone", "columns short", "attribute gone"])
def test_groups_are_shown_without_the_columns_of_a_damaged_store(here: Path, made: Path, damage: str) -> None:
    summary = json.loads((here / "out" / "summary.json").read_text())
    summary["inputs"]["a"]["source"] = str(here / "a.zarr")
    (here / "out" / "summary.json").write_text(json.dumps(summary))
    result = ss.open_result(here / "out")
    assert "text" in result.modes[0].top(3)
    DAMAGE[damage][1](here / "a.zarr" / PLACES[damage.split()[0]])
    top = result.modes[0].top(3)
    assert "text" not in top
    assert len(top) == 6


# --- the command line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["modes", "a.npy"], ["a.npy", "no result"]),
        (["ingest", "a.npy", "a.npy/x.zarr"], ["a.npy/x.zarr", "not a directory"]),
        (["compare", "a.npy", "b.npy", "-o", "."], ["name"]),
    ],
)
def test_errors_are_one_line(here: Path, run_cli: Cli, arguments: list[str], words: list[str]) -> None:
    before = sorted(here.rglob("*"))
    one_line(run_cli(*[here / word if word.startswith(("a.npy", "b.npy")) else word for word in arguments]), *words)
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "/x/out.work"), ["/x/out.work", "permission denied"]),
        (OSError(30, "Read-only file system", "/x"), ["/x", "read-only"]),
        (OSError(28, "No space left on device"), ["disk is full"]),
        (MemoryError("Unable to allocate 298. GiB"), ["298", "--size"]),
    ],
)
def test_what_the_system_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, words: list[str]
) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr(app_module, "app", refuse)
    with pytest.raises(SystemExit) as ended:
        app_module.main()
    assert ended.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert all(word in captured.err for word in words)


def test_any_locale_can_print_the_groups(made: Path, run_cli: Cli) -> None:
    done = run_cli(
        "modes", made / "out", env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    )
    assert done.returncode == 0, done.stderr
    assert "\\u03bb" in done.stdout


def test_json_is_valid_whatever_the_columns_hold(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"a": float("nan"), "b": [float("inf"), np.float32(1)], "c": np.array([1.0, np.nan]), "d": b"x", "λ": "λ"}
    print_json(value)
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed, parse_constant=pytest.fail) == {
        "a": None,
        "b": [None, 1.0],
        "c": [1.0, None],
        "d": "b'x'",
        "λ": "λ",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("sign", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_can_be_resumed(tmp_path: Path, run_cli: Cli, sign: signal.Signals, status: int) -> None:
    a, b = embeddings(150_000)
    for name, array in (("a", a), ("b", b)):
        np.save(tmp_path / f"{name}.npy", array)
    command = ["compare", "a.npy", "b.npy", "-o", "out", "--quiet"]
    command += ["--sigma-a", "2", "--sigma-b", "2", "--modes", "2"]
    started = [sys.executable, "-m", "specscale", *command, "--size", "600"]
    with subprocess.Popen(started, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as run:
        while not (tmp_path / "out.work" / "run.json").exists():
            assert run.poll() is None, run.stderr and run.stderr.read()
            time.sleep(0.02)
        run.send_signal(sign)
        errors = run.communicate(timeout=300)[1]
    assert run.returncode == status
    assert errors.splitlines()[-1].startswith("specscale: interrupted: the same command goes on from here")
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()
    again = run_cli(*command, "--size", "599", "--resume")
    assert again.returncode == 1
    assert "--resume needs" in again.stderr
    assert (tmp_path / "out.work" / "run.json").exists()
