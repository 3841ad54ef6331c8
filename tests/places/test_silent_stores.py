"""A store that accepts what it is sent and never answers ends a command in one line; a slow one does not."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import assert_same
from conftest import compared_alone, stored_pair, structured
from silence import Line, silent_port

import specscale as ss
from specscale.errors import SpecscaleError
from specscale.places import files
from specscale.runtime.events import Event, PassStarted
from specscale.stores.ingest import ingest

pytest.importorskip("s3fs")

N = 120_000
SETTINGS: dict[str, Any] = {"size": 20, "sigma": (1.5, 1.5), "certify": 32, "rounds": 0}


def wait_at_most(seconds: float) -> None:
    """State the patience with stores."""
    from specscale.places.patient_s3 import PatientSession

    PatientSession.patience, PatientSession.look = seconds, seconds / 4


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from s3fs import S3FileSystem

    from specscale.places.patient_s3 import PatientSession

    monkeypatch.setattr("specscale.runtime.spans._MOST_CHUNKS", 1)
    for name in ("patience", "look"):
        monkeypatch.setattr(PatientSession, name, getattr(PatientSession, name))
    S3FileSystem.clear_instance_cache()
    yield
    S3FileSystem.clear_instance_cache()


class Store:
    """The line to a store, with patience as long as it is answered, and little of it then."""

    def __init__(self, line: Line) -> None:
        self.line = line

    def fall_silent(self) -> None:
        wait_at_most(2)
        self.line.silent.set()

    def answer(self) -> None:
        wait_at_most(60)
        self.line.silent.clear()


@pytest.fixture
def store(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    line = Line(int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.port}")
    yield Store(line)
    line.stop()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return stored_pair(tmp_path_factory.mktemp("stores"), N)


@pytest.fixture(scope="module")
def quiet(stores: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return compared_alone(stores, tmp_path_factory.mktemp("quiet") / "out.spec", SETTINGS)


def ended(call: Callable[[], Any]) -> Exception:
    """The error that a call ends with, long before libraries would end it."""
    found: list[Exception] = []

    def run() -> None:
        try:
            call()
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(240)
    assert found, "it goes on waiting"
    return found[0]


WAYS: dict[str, Callable[[tuple[str, str], str, Path], Any]] = {
    "a store is written": lambda stores, there, here: ingest(np.ones((5, 3)), f"{there}/new.zarr"),
    "a file is read": lambda stores, there, here: ingest(f"{there}/x.npy", here / "new.zarr"),
    "a folder is read": lambda stores, there, here: ingest(f"{there}/*.npy", here / "new.zarr"),
    "a store is read": lambda stores, there, here: ss.compare(f"{there}/a.zarr", stores[1], out=here / "o", **SETTINGS),
    "a result is written": lambda stores, there, here: ss.compare(*stores, out=f"{there}/out.spec", **SETTINGS),
    "a result is read": lambda stores, there, here: ss.open_result(f"{there}/out.spec"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_store_that_never_answers(
    stores: tuple[str, str], s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    wait_at_most(2)
    with silent_port() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        error = ended(lambda: WAYS[way](stores, s3, tmp_path))
    assert isinstance(error, SpecscaleError)
    assert "cannot be reached (no answer for 2 s): check the address, the network" in str(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["covariance", "scores", "certificate"])
def test_a_store_that_falls_silent_while_a_result_is_written(
    stores: tuple[str, str], quiet: Any, s3: str, store: Store, name: str
) -> None:
    def silence(event: Event) -> None:
        if isinstance(event, PassStarted) and event.name == name:
            store.fall_silent()

    error = ended(lambda: ss.compare(*stores, out=f"{s3}/out.spec", progress=silence, **SETTINGS))
    assert "cannot be reached (no answer for 2 s)" in str(error)
    store.answer()
    assert_same(ss.compare(*stores, out=f"{s3}/out.spec", resume=True, overwrite=True, **SETTINGS), quiet)


def test_a_store_that_falls_silent_while_it_is_compared(
    stores: tuple[str, str], quiet: Any, s3: str, store: Store, tmp_path: Path
) -> None:
    there = [f"{s3}/{name}.zarr" for name in "ab"]
    for path, url in zip(stores, there, strict=True):
        ingest(path, url)

    def silence(event: Event) -> None:
        if isinstance(event, PassStarted) and event.name == "covariance":
            store.fall_silent()

    error = ended(lambda: ss.compare(*there, out=tmp_path / "out.spec", progress=silence, **SETTINGS))
    assert "no answer for 2 s" in str(error)
    store.answer()
    found = ss.compare(*there, out=tmp_path / "out.spec", resume=True, **SETTINGS)
    np.testing.assert_array_equal(found.scores[:], quiet.scores[:])


def test_a_store_that_falls_silent_while_it_is_written(s3: str, store: Store, tmp_path: Path) -> None:
    x, _ = structured(70_000)
    np.save(tmp_path / "x.npy", x)
    error = ended(lambda: ingest(tmp_path / "x.npy", f"{s3}/x.zarr", progress=lambda *_: store.fall_silent()))
    assert "cannot be reached (no answer for 2 s)" in str(error)
    store.answer()
    ingest(tmp_path / "x.npy", f"{s3}/x.zarr")
    np.testing.assert_array_equal(ss.open_embedding(f"{s3}/x.zarr").read(0, len(x)), x)


def test_a_slow_line_is_waited_for(s3: str, store: Store, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20_000, 12)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    wait_at_most(2)
    store.line.rate = 160_000  # bytes a second: the one chunk takes thrice the patience
    ingest(tmp_path / "x.npy", f"{s3}/x.zarr")
    np.testing.assert_array_equal(ss.open_embedding(f"{s3}/x.zarr").read(0, len(x)), x)


@pytest.mark.parametrize("path", ["x.npy", "folder/", "x.parquet"])
@pytest.mark.slow
def test_a_web_server_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(files, "_PATIENCE", 2)
    with silent_port() as port:
        error = ended(lambda: ingest(f"http://127.0.0.1:{port}/{path}", tmp_path / "x.zarr"))
    assert isinstance(error, SpecscaleError)
    assert "cannot be reached" in str(error)
    assert not list(tmp_path.iterdir())
