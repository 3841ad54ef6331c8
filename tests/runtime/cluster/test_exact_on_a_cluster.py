"""Refined and exact modes on real Dask clusters: the same bits as in one process, whatever happens on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import InTheMiddle, Slow, forked_workers, kill
from conftest import stored_pair, structured
from distributed import Client

import specscale as ss
from specscale.method import refining
from specscale.method.result import Result
from specscale.method.run import Cluster
from specscale.runtime.cluster.connecting import local_cluster
from specscale.runtime.events import Event, Moved, PassStarted, RowsDone

N = 5000
UNGROUPED: dict[str, Any] = {"sigma": (1.5, 1.5), "certify": 64, "rounds": 0}
REFINED: dict[str, Any] = {"features": "landmarks", "size": 30, "refine": 1, **UNGROUPED}
EXACT: dict[str, Any] = {"features": "exact", "n_modes": 2, **UNGROUPED}


@pytest.fixture(scope="module", autouse=True)
def short_stripes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refining, "STRIPE_ROWS", 900)
        patch.setattr(refining, "VISIT_ROWS", 2048)
        yield


@pytest.fixture(scope="module", autouse=True)
def forked() -> Iterator[None]:
    with forked_workers():
        yield


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return stored_pair(tmp_path_factory.mktemp("stores"), N)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with local_cluster(2) as client:
        yield client


@pytest.fixture(scope="module")
def quiet(stores: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Result:
    return ss.compare(*stores, out=tmp_path_factory.mktemp("quiet") / "out.spec", **REFINED)


def assert_same(first: Result, second: Result) -> None:
    np.testing.assert_array_equal(first.eigenvalues, second.eigenvalues)
    np.testing.assert_array_equal(first.scores[:], second.scores[:])
    assert first.summary["modes"] == second.summary["modes"]
    assert first.summary["groups"] == second.summary["groups"]
    assert first.members().equals(second.members())


@pytest.mark.parametrize(
    "options",
    [
        {**REFINED, "rounds": 1},
        {**EXACT, "rounds": 1},
        {**REFINED, "refine": 2, "rotate": "varimax", "kernel": "cosine", "size": 5, "sigma": ("auto", "auto")},
        {**EXACT, "sample": 2300},
    ],
    ids=["refined", "exact", "twice", "sample"],
)
def test_two_workers_give_the_bits_of_one_process(client: Client, tmp_path: Path, options: dict[str, Any]) -> None:
    a, b = structured(N, 6, 5)
    a[::9], a[2000:2700] = np.nan, np.nan
    here = ss.compare(a, b, out=tmp_path / "here.spec", on_bad="drop", **options)
    assert_same(here, ss.compare(a, b, out=tmp_path / "there.spec", on_bad="drop", executor=client, **options))


def test_one_worker_gives_them_too(stores: tuple[str, str], quiet: Result, tmp_path: Path) -> None:
    with local_cluster(1) as client:
        assert_same(ss.compare(*stores, out=tmp_path / "out.spec", executor=client, **REFINED), quiet)
        exact = ss.compare(*stores, out=tmp_path / "exact.spec", executor=client, **EXACT)
    assert_same(exact, ss.compare(*stores, out=tmp_path / "here.spec", **EXACT))


def test_all_passes_are_run_by_the_workers(
    stores: tuple[str, str], quiet: Result, client: Client, tmp_path: Path
) -> None:
    events: list[Event] = []
    found = ss.compare(*stores, out=tmp_path / "out.spec", executor=client, progress=events.append, **REFINED)
    assert_same(found, quiet)
    for name in ("start", "refine", "scores", "certificate"):
        assert sum(event.written + event.read for event in events if isinstance(event, Moved) and event.name == name)
    (first, second) = (event for event in events if isinstance(event, PassStarted) and "sweep" in event.name)
    passed = sum(event.rows for event in events if isinstance(event, RowsDone) and event.name == "refine")
    assert passed == first.rows + second.rows
    assert not list(tmp_path.glob("*.work"))


def test_work_that_workers_do_not_see_is_done_here(
    stores: tuple[str, str], quiet: Result, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("specscale.runtime.cluster.executor.seen_by_workers", lambda *arguments: False)
    assert_same(ss.compare(*stores, executor=client, **REFINED), quiet)


def test_a_worker_is_killed_in_a_sweep(stores: tuple[str, str], quiet: Result, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    with local_cluster(2) as client:
        hit = InTheMiddle("refine, sweep 1", marks, kill)
        a, b = Slow(stores[0], marks, 0.03, os.getpid()), ss.open_embedding(stores[1])
        found = ss.compare(a, b, out=tmp_path / "out.spec", executor=Cluster(client, 1), progress=hit, **REFINED)
        assert hit.done.is_set()
    assert_same(found, quiet)


def test_rows_that_were_written_and_are_damaged_are_made_anew(
    stores: tuple[str, str], quiet: Result, client: Client, tmp_path: Path
) -> None:
    hurt: list[Path] = []

    def spoil(event: Event) -> None:
        written = list((tmp_path / "out.spec.work").glob("*/refine/0/*/*.rows"))
        made = [path for path in written if path.parent.name != "vectors"]
        if made and not hurt:
            hurt.extend(made)
            for path in made:
                path.write_bytes(path.read_bytes()[:-9])

    found = ss.compare(*stores, out=tmp_path / "out.spec", executor=client, progress=spoil, **REFINED)
    assert hurt
    assert_same(found, quiet)


CLIENT = """
import sys
sys.path[:0] = {path!r}
import os
from pathlib import Path
import specscale as ss
from clusters import Slow
from specscale.method import refining
from specscale.method.run import Cluster
from specscale.runtime.cluster.connecting import local_cluster

if __name__ == "__main__":
    refining.STRIPE_ROWS, refining.VISIT_ROWS, refining.PATIENCE = 900, 2048, 0.0
    a, b, marks, out = sys.argv[1:]
    with local_cluster(2) as client:
        a, b = Slow(a, Path(marks), 0.05, os.getpid()), ss.open_embedding(b)
        ss.compare(a, b, out=out, executor=Cluster(client, 1), **{settings!r})
"""


@pytest.mark.parametrize("made", ["refine/0/*/*.node", "refine/0.node"], ids=["in a sweep", "after one"])
def test_the_client_is_killed_and_the_run_resumed(
    stores: tuple[str, str], quiet: Result, client: Client, tmp_path: Path, made: str
) -> None:
    marks, folder = tmp_path / "marks", tmp_path / "out.spec.work"
    marks.mkdir()
    script = tmp_path / "client.py"
    script.write_text(CLIENT.format(path=[str(Path(__file__).parents[2])], settings=REFINED))
    command = [sys.executable, str(script), *stores, str(marks), str(tmp_path / "out.spec")]
    with subprocess.Popen(command) as process:
        while not list(folder.glob(f"*/{made}")) and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None
        process.kill()
    events: list[Event] = []
    a, b = Slow(stores[0], marks, 0.0, os.getpid()), ss.open_embedding(stores[1])
    found = ss.compare(a, b, out=tmp_path / "out.spec", executor=client, resume=True, progress=events.append, **REFINED)
    assert_same(found, quiet)
    first = next(event for event in events if isinstance(event, PassStarted) and event.name == "refine, sweep 1")
    if made == "refine/0.node":
        assert first.done == first.rows


def test_what_workers_began_one_process_finishes(
    stores: tuple[str, str], quiet: Result, client: Client, tmp_path: Path
) -> None:
    class Enough(Exception):
        pass

    def stop(event: Event) -> None:
        if isinstance(event, RowsDone) and event.name == "refine":
            raise Enough

    with pytest.raises(Enough):
        ss.compare(*stores, out=tmp_path / "out.spec", executor=client, progress=stop, **REFINED)
    assert list((tmp_path / "out.spec.work").glob("*/refine/0/*/*.node"))
    events: list[Event] = []
    found = ss.compare(*stores, out=tmp_path / "out.spec", resume=True, progress=events.append, **REFINED)
    assert_same(found, quiet)


@pytest.mark.s3
def test_work_in_a_bucket(s3: str, tmp_path: Path) -> None:
    a, b = structured(2500, 6, 5)
    options = {**REFINED, "certify": 0}
    here = ss.compare(a, b, out=tmp_path / "here.spec", **options)
    with local_cluster(2) as client:
        there = ss.compare(a, b, out=f"{s3}/there.spec", executor=client, **options)
        assert_same(here, there)
    assert_same(here, ss.compare(a, b, out=f"{s3}/alone.spec", **options))
