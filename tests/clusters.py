"""What the tests of clusters share: embeddings that are read slowly, and workers to be ended."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import forking
import numpy as np
import pytest
from numpy.typing import NDArray

from specscale.embeddings.store import EmbeddingStore
from specscale.method.result import Result
from specscale.runtime.events import Event, PassStarted


class Worker(ForkServerProcess):
    """A worker that is forked, with the environment in which it was asked for."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._environment = dict(os.environ)

    def run(self) -> None:
        """Run the worker."""
        os.environ.clear()
        os.environ.update(self._environment)
        tempfile.tempdir = None
        super().run()


class Forking(ForkServerContext):
    """How Dask starts processes that have loaded what workers need."""

    Process = Worker  # type: ignore[assignment]


@contextmanager
def forked_workers() -> Iterator[None]:
    """Let the workers of clusters on this machine be forked meanwhile; a worker that is started anew takes seconds."""
    if not forking.POSSIBLE:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        forkserver.set_forkserver_preload(["preloaded"])
        forkserver.ensure_running()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distributed.process.get_mp_context", Forking)
        yield


class Slow:
    """A store that takes its time in worker processes, and leaves a mark there when it is first read in a run."""

    remote = False

    def __init__(self, path: str, marks: Path, seconds: float, client: int) -> None:
        self._store = EmbeddingStore(path)
        self._marks, self._seconds, self._client = marks, seconds, client
        self.name, self.source, self.ids = self._store.name, self._store.source, self._store.ids
        self.n, self.p, self.dtype, self.digest = self._store.n, self._store.p, self._store.dtype, self._store.digest

    def __reduce__(self) -> Any:
        return Slow, (self._store.path, self._marks, self._seconds, self._client)

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        if os.getpid() != self._client:
            (self._marks / f"{os.getpid()}-{time.monotonic_ns()}").touch()
            time.sleep(self._seconds)
        return self._store.read(start, stop, out)

    def norms(self, start: int, stop: int) -> NDArray[np.float32]:
        return self._store.norms(start, stop)

    def rows(self, *arguments: Any) -> Any:
        return self._store.rows(*arguments)

    def check_unchanged(self) -> None:
        self._store.check_unchanged()


class InTheMiddle:
    """Does something to a worker once that is in the middle of a pass.

    Parameters
    ----------
    name : the pass
    marks : where `Slow` leaves its marks
    action : takes the process number of a worker that is reading
    reads : how many blocks are read before
    """

    def __init__(self, name: str, marks: Path, action: Callable[[int], None], reads: int = 5) -> None:
        self._name, self._marks, self._action, self._reads = name, marks, action, reads
        self.done = threading.Event()
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, PassStarted) and event.name == self._name:
            threading.Thread(target=self._watch, args=(set(self._marks.iterdir()),), daemon=True).start()

    def _watch(self, before: set[Path]) -> None:
        while len(new := sorted(set(self._marks.iterdir()) - before)) < self._reads:
            time.sleep(0.005)
        self._action(int(new[-1].name.partition("-")[0]))
        self.done.set()


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


def assert_same(first: Result, second: Result) -> None:
    """The results are equal, bit for bit."""
    np.testing.assert_array_equal(first.scores[:], second.scores[:])
    np.testing.assert_array_equal(first.covariance[:], second.covariance[:])
    for one in ("modes", "groups", "spec_diff", "rows", "bandwidths", "duplicates"):
        assert first.summary[one] == second.summary[one]
    if first.groups:
        np.testing.assert_array_equal(first.likeness[:], second.likeness[:])
        np.testing.assert_array_equal(first.memberships[:], second.memberships[:])
    assert first.members().equals(second.members())
