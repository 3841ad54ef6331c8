"""Work that is gone on with: the disk that it holds counts, and what is missing in it is made anew or named."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Pair, Run, structured

from specscale import compare, open_result
from specscale.errors import ExistsError, PlanError
from specscale.method.compare import plan
from specscale.method.result import Result
from specscale.results.workplace import Workplace
from specscale.runtime.checkpoints import NodeFolder, Parts
from specscale.runtime.local import LocalExecutor
from specscale.runtime.threads import Threads

SETTINGS: dict[str, Any] = {"size": 20, "n_modes": 2, "top": 5, "certify": 50, "sigma": (3.0, 3.0)}


class Stop(BaseException):
    """What a kill does."""


def stop(*_: Any, **__: Any) -> None:
    raise Stop


def interrupted(pair: Pair, out: Path) -> Path:
    """The folder of a run that ended just before its summary, with a checkpoint of every pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specscale.results.writing.ResultWriter.summary", stop)
        with pytest.raises(Stop):
            compare(*pair, out=out, executor=LocalExecutor(Threads(1), patience=0), **SETTINGS)
    (folder,) = (path for path in out.with_name(f"{out.name}.work").iterdir() if path.is_dir())
    return folder


def same(found: Result, expected: Result) -> None:
    np.testing.assert_array_equal(found.eigenvalues, expected.eigenvalues)
    np.testing.assert_array_equal(found.scores[:], expected.scores[:])
    np.testing.assert_array_equal(found.covariance[:], expected.covariance[:])
    np.testing.assert_array_equal(found.likeness[:], expected.likeness[:])
    assert found.record.groups == expected.record.groups


@pytest.mark.slow
def test_the_disk_that_the_work_holds_counts(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = plan(*pair, **SETTINGS)[0].disk
    for name in ("out", "third"):
        interrupted(pair, tmp_path / name)
    monkeypatch.setattr("specscale.method.plan.free_space", lambda place: disk - 1000)
    with pytest.raises(PlanError, match="are free: choose another place"):
        compare(*pair, out=tmp_path / "other", **SETTINGS)
    compare(*pair, out=tmp_path / "out", resume=True, **SETTINGS)
    monkeypatch.setattr("specscale.method.plan.free_space", lambda place: -disk)
    with pytest.raises(PlanError, match=r"are free and .*B hold work already: choose another place"):
        compare(*pair, out=tmp_path / "third", resume=True, **{**SETTINGS, "top": 4})


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [Path.unlink, half])
@pytest.mark.parametrize(
    "name",
    ["result/spec.zarr/zarr.json", "result/spec.zarr/scores/zarr.json", "result/spec.zarr/covariance/zarr.json",
     "result/spec.zarr/covariance/c/0/0", "covariance/0-0.node", "scores/0-0.node",
     "result/spec.zarr/members/zarr.json", "groups/1/memberships/0-0.node", "groups/1/memberships/0.rows"],
)  # fmt: skip
@pytest.mark.slow
def test_what_is_missing_in_the_work_is_made_anew(
    pair: Pair, tmp_path: Path, damage: Callable[[Path], None], name: str
) -> None:
    damage(interrupted(pair, tmp_path / "out") / name)
    found = compare(*pair, out=tmp_path / "out", resume=True, **SETTINGS)
    same(open_result(str(found.path)), compare(*pair, out=tmp_path / "expected", **SETTINGS))
    names = [
        {str(path.relative_to(out)) for path in out.rglob("*")} for out in (tmp_path / "out", tmp_path / "expected")
    ]
    assert names[0] == names[1]


def test_partial_sums_that_outlast_the_run_are_written_again_or_named(tmp_path: Path) -> None:
    work, kept = NodeFolder(tmp_path / "work"), NodeFolder(tmp_path / "parts")
    parts = Parts(tmp_path / "parts", 7)
    arrays = {"sum": np.arange(100.0)}
    for node in parts.nodes:
        kept.save(node, arrays)
        work.save(node, arrays)
    half(tmp_path / "parts" / "1-2.node")
    parts.take_over(work)
    assert parts.lost() == 0
    found = kept.load((1, 2))
    assert found is not None
    np.testing.assert_array_equal(found["sum"], arrays["sum"])
    for folder in ("parts", "work"):
        half(tmp_path / folder / "2-0.node")
    parts.take_over(work)
    assert parts.lost() == 4


# --- from a result

KILLED = """
import os, signal, sys
import specscale as ss
from specscale.results.writing import ResultWriter

ResultWriter.summary = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
result = ss.open_result(sys.argv[1])
result.with_eta(2.0, out=sys.argv[2]) if sys.argv[3] == "eta" else result.constrained(0.9, 1, out=sys.argv[2])
"""


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    for name, array in zip("ab", structured(700), strict=True):
        np.save(folder / f"{name}.npy", array)
    compare(str(folder / "a.npy"), str(folder / "b.npy"), out=folder / "ab.spec", **{**SETTINGS, "certify": 0})
    return folder / "ab.spec"


CALLS: dict[str, Callable[..., Result]] = {
    "eta": lambda result, out=None: result.with_eta(2.0, out=out),
    "other eta": lambda result, out=None: result.with_eta(3.0, out=out),
    "constrained": lambda result, out=None: result.constrained(0.9, 1, out=out),
}


@pytest.mark.parametrize(("killed", "call"), [("eta", "eta"), ("constrained", "constrained"), ("eta", "other eta")])
def test_a_killed_call_is_made_again(earlier: Path, tmp_path: Path, run_python: Run, killed: str, call: str) -> None:
    out = tmp_path / "out.spec"
    done = run_python(KILLED, str(earlier), str(out), killed)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    assert (tmp_path / "out.spec.work" / "run.json").exists()
    result = open_result(str(earlier))
    found, expected = CALLS[call](result, out), CALLS[call](result)
    np.testing.assert_array_equal(found.eigenvalues, expected.eigenvalues)
    np.testing.assert_array_equal(found.scores[:], expected.scores[:])
    assert [path.name for path in tmp_path.iterdir()] == ["out.spec"]
    with pytest.raises(ExistsError, match="exists"):
        CALLS[call](result, out)


def test_an_interrupted_command_is_not_thrown_away(earlier: Path, tmp_path: Path) -> None:
    place = Workplace(tmp_path / "out.spec")
    place.claim({"eta": 1.0})
    place.leave()
    with pytest.raises(ExistsError, match="holds an interrupted run of a command: give another out"):
        open_result(str(earlier)).with_eta(2.0, out=tmp_path / "out.spec")
    assert (tmp_path / "out.spec.work" / "run.json").exists()


def test_work_without_a_record_is_in_nobodys_way(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "out.work" / "0123abcd").mkdir(parents=True)
    (tmp_path / "out.work" / "lock").touch()
    compare(*pair, out=tmp_path / "out", **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
