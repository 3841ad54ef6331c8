"""The passes on real Dask clusters: the same bits as in one process, whatever happens to the workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from clusters import InTheMiddle, Slow, assert_same, forked_workers, kill
from conftest import compared_alone, stored_pair, structured
from distributed import Client, LocalCluster

import specscale as ss
import specscale.runtime.spans as spans_module
from specscale.errors import ClusterError, InputError, OptionError
from specscale.method.result import Result
from specscale.method.run import Cluster
from specscale.runtime.cluster.connecting import connected, local_cluster
from specscale.runtime.events import Event, Moved, PassStarted, RowsDone

N = 150_000
LANDMARKS: dict[str, Any] = {"features": "landmarks", "size": 40, "sigma": (1.5, 1.5), "certify": 64, "top": 20}
SETTINGS: dict[str, Any] = {**LANDMARKS, "rounds": 0}
GROUPED: dict[str, Any] = {**LANDMARKS, "rounds": 1}
PASSES = ["covariance", "scores", "certificate"]


@pytest.fixture(autouse=True)
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans_module, "_MOST_CHUNKS", 1)


@pytest.fixture(scope="module", autouse=True)
def forked() -> Iterator[None]:
    with forked_workers():
        yield


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return stored_pair(tmp_path_factory.mktemp("stores"), N)


@pytest.fixture(scope="module")
def quiet(stores: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Result:
    return compared_alone(stores, tmp_path_factory.mktemp("quiet") / "out.spec", SETTINGS)


@pytest.fixture(scope="module")
def grouped(stores: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Result:
    result = compared_alone(stores, tmp_path_factory.mktemp("grouped") / "out.spec", GROUPED)
    assert result.groups
    return result


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    with local_cluster(2) as client:
        yield client


@pytest.fixture
def client(cluster: Client) -> Client:
    """A client with two workers, of which one may have been ended and started anew."""
    cluster.wait_for_workers(2, timeout=300)
    return cluster


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """The address of a scheduler that is not one run's own."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def several(request: pytest.FixtureRequest) -> Iterator[Client]:
    with local_cluster(request.param) as client:
        yield client


def slowly(stores: tuple[str, str], marks: Path, seconds: float = 0.03) -> tuple[Any, Any]:
    marks.mkdir(exist_ok=True)
    return Slow(stores[0], marks, seconds, os.getpid()), ss.open_embedding(stores[1])


@pytest.mark.parametrize(("several", "threads"), [(1, 1), (1, 3), (4, 1)], indirect=["several"])
def test_any_number_of_workers_gives_the_same_bits(
    stores: tuple[str, str], grouped: Result, tmp_path: Path, several: Client, threads: int
) -> None:
    found = ss.compare(*stores, out=tmp_path / "out.spec", executor=Cluster(several, threads), **GROUPED)
    assert_same(found, grouped)


def test_a_client_is_an_executor_and_the_work_is_told_as_it_goes(
    stores: tuple[str, str], grouped: Result, client: Client, tmp_path: Path
) -> None:
    events: list[Event] = []
    found = ss.compare(*stores, out=tmp_path / "out.spec", executor=client, progress=events.append, **GROUPED)
    assert_same(found, grouped)
    for name in (*PASSES, "groups"):
        assert [event for event in events if isinstance(event, PassStarted) and event.name == name]
        assert sum(event.rows for event in events if isinstance(event, RowsDone) and event.name == name) == N
        assert sum(event.written + event.read for event in events if isinstance(event, Moved) and event.name == name)
    assert not list(tmp_path.glob("*.work"))


def test_workers_with_several_threads_run_one_span_at_a_time(
    stores: tuple[str, str], quiet: Result, tmp_path: Path
) -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=4, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        assert_same(ss.compare(*stores, out=tmp_path / "out.spec", executor=client, **SETTINGS), quiet)


@pytest.mark.parametrize(
    "settings",
    [
        {"features": "orthogonal", "size": 30, "sigma": (1.5, 1.5)},
        {"features": "fourier", "size": 30, "sigma": (1.5, 1.5), "rotate": "varimax"},
        {"kernel": "cosine"},
        {"kernel": "cosine", "features": "landmarks", "size": 20, "certify": 0},
        {"on_bad": "drop", "normalize": "unit", "size": 25, "sample": 90_000, "sigma": (0.7, 0.7)},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_every_map_travels(stores: tuple[str, str], client: Client, tmp_path: Path, settings: dict[str, Any]) -> None:
    here = ss.compare(*stores, out=tmp_path / "here.spec", rounds=0, **settings)
    there = ss.compare(*stores, out=tmp_path / "there.spec", executor=client, rounds=0, **settings)
    assert_same(here, there)


def test_refined_modes_are_the_same(client: Client, tmp_path: Path) -> None:
    arrays = structured(33_000, 6, 5)  # more than a chunk
    options = {**SETTINGS, "refine": 1}
    here = ss.compare(*arrays, out=tmp_path / "here.spec", **options)
    assert_same(here, ss.compare(*arrays, out=tmp_path / "there.spec", executor=client, **options))


def test_arrays_and_temporary_results_are_shared_through_the_work_directory(client: Client) -> None:
    arrays = structured(50_000, 6, 5)
    assert_same(ss.compare(*arrays, executor=client, **SETTINGS), ss.compare(*arrays, **SETTINGS))


def test_without_a_shared_work_directory_partial_results_are_returned(
    stores: tuple[str, str], quiet: Result, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory is out of the workers' sight by its permissions where they differ; here by what they answer."""
    import specscale.runtime.cluster.executor as module

    seen = module.seen_by_workers
    monkeypatch.setattr(module, "seen_by_workers", lambda *arguments: bool(seen(*arguments)) and False)
    events: list[Event] = []
    found = ss.compare(*stores, executor=client, progress=events.append, **SETTINGS)
    assert_same(found, quiet)
    assert not [event for event in events if isinstance(event, Moved)]
    with pytest.raises(ClusterError, match="not seen by every worker: put the result with --out"):
        ss.compare(*stores, out="out.spec", executor=client, **SETTINGS)
    assert not Path("out.spec.work").exists()


def test_many_embeddings_are_compared_on_a_cluster(stores: tuple[str, str], client: Client, tmp_path: Path) -> None:
    options = {"size": 30, "sigma": 1.5}
    here = ss.compare_many([*stores, stores[0]], out=tmp_path / "here", **options)
    there = ss.compare_many([*stores, stores[0]], out=tmp_path / "there", executor=client, **options)
    np.testing.assert_array_equal(here.spec_diff, there.spec_diff)


@pytest.mark.parametrize(
    ("name", "settings", "alone"), [*((name, SETTINGS, "quiet") for name in PASSES), ("groups", GROUPED, "grouped")]
)
def test_a_worker_is_killed_in_the_middle_of_a_pass(
    stores: tuple[str, str],
    client: Client,
    tmp_path: Path,
    name: str,
    settings: dict[str, Any],
    alone: str,
    request: pytest.FixtureRequest,
) -> None:
    hit = InTheMiddle(name, tmp_path / "marks", kill)
    a, b = slowly(stores, tmp_path / "marks")
    found = ss.compare(a, b, out=tmp_path / "out.spec", executor=Cluster(client, 1), progress=hit, **settings)
    assert hit.done.is_set()
    assert_same(found, request.getfixturevalue(alone))


def test_a_worker_that_stands_still_for_a_while_costs_time_alone(
    stores: tuple[str, str], quiet: Result, client: Client, tmp_path: Path
) -> None:

    def stop(process: int) -> None:
        os.kill(process, signal.SIGSTOP)
        threading.Timer(3.0, os.kill, (process, signal.SIGCONT)).start()

    hit = InTheMiddle("covariance", tmp_path / "marks", stop)
    a, b = slowly(stores, tmp_path / "marks")
    found = ss.compare(a, b, out=tmp_path / "out.spec", executor=Cluster(client, 1), progress=hit, **SETTINGS)
    assert hit.done.is_set()
    assert_same(found, quiet)


LIMIT = 3 << 30  # of a worker that pauses at 0.8 of it and is ended at 0.95


def hold_memory(dask_worker: Any) -> None:
    dask_worker.held = np.ones(int(0.87 * LIMIT - psutil.Process().memory_info().rss) // 8)


def test_a_worker_pauses_for_memory(stores: tuple[str, str], quiet: Result, tmp_path: Path) -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=LIMIT, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        a, b = slowly(stores, tmp_path / "marks")
        paused = next(iter(client.scheduler_info(n_workers=-1)["workers"]))

        def fill(event: Event) -> None:
            if isinstance(event, PassStarted) and event.name == "covariance":
                client.run(hold_memory, workers=[paused])
            statuses.append(client.scheduler_info(n_workers=-1)["workers"][paused]["status"])

        statuses: list[str] = []
        found = ss.compare(a, b, out=tmp_path / "out.spec", executor=client, progress=fill, **SETTINGS)
        assert "paused" in statuses
    assert_same(found, quiet)


class Failing:
    """A store whose first reads in worker processes fail."""

    remote = False

    def __init__(self, path: str, marks: Path, failures: int, client: int) -> None:
        self._given = path, marks, failures, client
        self._store = ss.open_embedding(path)
        self.name, self.source, self.ids = self._store.name, self._store.source, self._store.ids
        self.n, self.p, self.dtype, self.digest = self._store.n, self._store.p, self._store.dtype, self._store.digest

    def __reduce__(self) -> Any:
        return Failing, self._given

    def __getattr__(self, name: str) -> Any:
        if name == "_store":
            raise AttributeError(name)
        return getattr(self._store, name)

    def read(self, start: int, stop: int, out: Any = None) -> Any:
        _, marks, failures, client = self._given
        if os.getpid() != client and start == 65_536 and len(list(marks.iterdir())) < failures:
            (marks / f"{time.monotonic_ns()}").touch()
            raise OSError("the disk was away")
        return self._store.read(start, stop, out)

    def check_unchanged(self) -> None:
        self._store.check_unchanged()


def test_a_task_fails_twice_and_then_works(
    stores: tuple[str, str], quiet: Result, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "marks").mkdir()
    failing = Failing(stores[0], tmp_path / "marks", 2, os.getpid())
    found = ss.compare(failing, stores[1], out=tmp_path / "out.spec", executor=client, **SETTINGS)
    assert len(list((tmp_path / "marks").iterdir())) == 2
    assert_same(found, quiet)


def test_a_task_that_goes_on_failing_ends_the_run_and_keeps_what_is_done(
    stores: tuple[str, str], quiet: Result, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "marks").mkdir()
    failing = Failing(stores[0], tmp_path / "marks", 4, os.getpid())
    with pytest.raises(OSError, match="the disk was away"):
        ss.compare(failing, stores[1], out=tmp_path / "out.spec", executor=client, **SETTINGS)
    assert not (tmp_path / "out.spec").exists()
    found = ss.compare(failing, stores[1], out=tmp_path / "out.spec", executor=client, resume=True, **SETTINGS)
    assert_same(found, quiet)


def test_a_row_that_cannot_be_used_is_named_at_once(stores: tuple[str, str], client: Client, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken.zarr"
    shutil.copytree(stores[0], broken)
    store = ss.open_embedding(broken)
    chunk = broken / "features" / "c" / "2" / "0"
    content = bytearray(chunk.read_bytes())
    content[24 * 77 : 24 * 78] = np.full(6, np.nan, dtype="<f4").tobytes()
    chunk.write_bytes(content)
    with pytest.raises(InputError, match=f"rows {2 * 32768} to {3 * 32768 - 1} are damaged"):
        ss.compare(store, stores[1], out=tmp_path / "out.spec", executor=client, **SETTINGS)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_damaged_partial_results_are_made_anew(
    stores: tuple[str, str], quiet: Result, client: Client, tmp_path: Path, damage: str
) -> None:
    hurt = []

    def spoil(event: Event) -> None:
        nodes = sorted((tmp_path / "out.spec.work").glob("**/covariance/*.node"))
        if isinstance(event, RowsDone) and event.name == "covariance" and nodes and not hurt:
            for node in nodes:
                content = node.read_bytes()
                if damage == "gone":
                    node.unlink()
                else:
                    broken = (
                        content[:-9]
                        if damage == "truncated"
                        else content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
                    )
                    node.write_bytes(broken)
                hurt.append(node)

    a, b = slowly(stores, tmp_path / "marks", 0.01)
    found = ss.compare(a, b, out=tmp_path / "out.spec", executor=client, progress=spoil, **SETTINGS)
    assert hurt
    assert_same(found, quiet)


CLIENT = """
import sys
sys.path[:0] = {path!r}
import os
from pathlib import Path
import specscale as ss
import specscale.runtime.spans as spans
from clusters import Slow
from specscale.method.run import Cluster
from specscale.runtime.cluster.connecting import connected, local_cluster

if __name__ == "__main__":
    spans._MOST_CHUNKS = 1
    stores, marks, out, address = sys.argv[1:3], Path(sys.argv[3]), sys.argv[4], sys.argv[5]
    a, b = Slow(stores[0], marks, 0.05, os.getpid()), ss.open_embedding(stores[1])
    with local_cluster(2) if address == "local" else connected(address) as client:
        ss.compare(a, b, out=out, executor=Cluster(client, 1), **{settings!r})
"""


@pytest.mark.parametrize(
    ("where", "name"), [*((where, name) for where in ("local", "elsewhere") for name in PASSES), ("local", "groups")]
)
def test_the_client_is_killed_and_the_run_resumed(
    stores: tuple[str, str],
    client: Client,
    tmp_path: Path,
    name: str,
    where: str,
    request: pytest.FixtureRequest,
) -> None:
    settings, alone = (GROUPED, "grouped") if name == "groups" else (SETTINGS, "quiet")
    marks = tmp_path / "marks"
    marks.mkdir()
    script = tmp_path / "client.py"
    script.write_text(CLIENT.format(path=[str(Path(__file__).parents[2])], settings=settings))
    address = request.getfixturevalue("elsewhere") if where == "elsewhere" else "local"
    command = [sys.executable, str(script), *stores, str(marks), str(tmp_path / "out.spec"), address]
    with subprocess.Popen(command) as process:
        folder = tmp_path / "out.spec.work"
        while not list(folder.glob(f"**/{name}/*.node")) and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None
        process.kill()
    assert not (tmp_path / "out.spec").exists()
    events: list[Event] = []
    a, b = slowly(stores, marks, 0.0)
    found = ss.compare(
        a, b, out=tmp_path / "out.spec", executor=client, resume=True, progress=events.append, **settings
    )
    assert_same(found, request.getfixturevalue(alone))
    (begun,) = (event for event in events if isinstance(event, PassStarted) and event.name == name)
    assert begun.done > 0


def test_what_one_executor_began_another_finishes(
    stores: tuple[str, str], quiet: Result, client: Client, tmp_path: Path
) -> None:
    class Enough(Exception):
        pass

    def stop(event: Event) -> None:
        if isinstance(event, RowsDone) and event.name == "covariance":
            raise Enough

    with pytest.raises(Enough):
        ss.compare(*stores, out=tmp_path / "out.spec", executor=client, progress=stop, **SETTINGS)
    assert list((tmp_path / "out.spec.work").glob("**/covariance/*.node"))
    assert_same(ss.compare(*stores, out=tmp_path / "out.spec", resume=True, **SETTINGS), quiet)


def test_the_scheduler_goes_away(stores: tuple[str, str], quiet: Result, tmp_path: Path) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        marks = tmp_path / "marks"
        with connected(cluster.scheduler_address) as client:
            hit = InTheMiddle("covariance", marks, lambda process: cluster.close())
            a, b = slowly(stores, marks)
            with pytest.raises(ClusterError, match="--resume"):
                ss.compare(a, b, out=tmp_path / "out.spec", executor=client, progress=hit, **SETTINGS)
    a, b = slowly(stores, marks)
    assert_same(ss.compare(a, b, out=tmp_path / "out.spec", resume=True, **SETTINGS), quiet)


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:9", "tls://127.0.0.1:9", "", "somewhere", "tcp://127.0.0.1:x", "http://127.0.0.1:9"]
)
def test_nobody_answers(address: str) -> None:
    with pytest.raises(ClusterError, match=f"--scheduler {address}: no Dask scheduler answers there"):  # noqa: SIM117
        with connected(address, timeout=1):
            pass


def test_what_is_no_executor() -> None:
    pair = structured(300)
    for given in ("tcp://127.0.0.1:9", 5, object()):
        with pytest.raises(OptionError, match=r"executor is a distributed\.Client"):
            ss.compare(*pair, executor=given)
    with local_cluster(1) as client, pytest.raises(OptionError, match=r"executor is a distributed\.Client"):
        ss.compare(*pair, executor=client.cluster)
    with pytest.raises(ClusterError, match="not connected"):
        ss.compare(*pair, executor=client)
