"""A signal ends a run wherever it finds it, and the run goes on from there to the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import assert_same
from conftest import structured
from swallowing import SWALLOWED, Swallowed

from specscale import compare, ingest
from specscale.cli.ending import Ending
from specscale.kernels.host import HostKernels
from specscale.runtime.threads import Threads
from specscale.stopping import Stop, Stopped, check_signals, stoppable
from specscale.stores.writer import StoreWriter

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

LINE = "specscale: interrupted: the same command goes on from here (compare and matrix with --resume added)\n"
KINDS = list(SWALLOWED)


@contextmanager
def swallowed(place: str, function: Any, *moment: Any) -> Iterator[Swallowed]:
    with pytest.MonkeyPatch.context() as patch:
        wrapped = Swallowed(function, *moment)
        patch.setattr(place, wrapped)
        yield wrapped


# --- from Python


@pytest.mark.slow
def test_a_comparison_that_a_library_would_let_go_on_is_interrupted_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HostKernels, "calibrate", lambda *_: 1e9)  # which computes for a time, not so many times
    pair, settings = structured(700), {"size": 60, "n_modes": 3, "certify": 64, "threads": 2}
    where = "specscale.runtime.threads.Threads.run", Threads.run
    with swallowed(*where, signal.SIGINT, "caught", 0) as counted:
        whole = compare(*pair, out=tmp_path / "whole", **settings)
    moments = random.Random(0).sample(range(1, counted.calls), 8)
    for number, call in enumerate(moments):
        out = tmp_path / f"out-{number}"
        with swallowed(*where, signal.SIGINT, KINDS[number % 4], call) as sent, pytest.raises(KeyboardInterrupt):
            compare(*pair, out=out, **settings)
        assert sent.calls <= call + 1  # nothing more is begun
        assert not out.exists()
        assert_same(compare(*pair, out=out, resume=True, **settings), whole)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_ingest_that_a_library_would_let_go_on_is_interrupted_and_continued(tmp_path: Path, kind: str) -> None:
    array = np.random.default_rng(0).normal(size=(80_000, 128)).astype(np.float32)
    np.save(tmp_path / "x.npy", array)
    whole = ingest(tmp_path / "x.npy", tmp_path / "whole.zarr")
    where = "specscale.stores.writer.StoreWriter.add", StoreWriter.add
    with swallowed(*where, signal.SIGINT, kind, 0) as counted:
        ingest(tmp_path / "x.npy", tmp_path / "again.zarr")
    assert counted.calls > 2
    with swallowed(*where, signal.SIGINT, kind, counted.calls - 1), pytest.raises(KeyboardInterrupt):
        ingest(tmp_path / "x.npy", tmp_path / "x.zarr")
    report = ingest(tmp_path / "x.npy", tmp_path / "x.zarr")
    assert report.resumed_at > 0
    assert report.digest == whole.digest


# --- the handler


def test_a_signal_that_was_swallowed_ends_a_wait(capsys: pytest.CaptureFixture[str]) -> None:
    with stoppable():
        SWALLOWED["weak reference"](lambda: signal.raise_signal(signal.SIGINT))
        with pytest.raises(Stopped):
            threading.Event().wait(60)
    assert capsys.readouterr().err == ""


def test_what_else_python_cannot_raise_is_told_as_ever() -> None:
    told: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", told.append)
        with stoppable():
            SWALLOWED["weak reference"](lambda: [].index(1))
        assert sys.unraisablehook == told.append
    assert [one.exc_type for one in told] == [ValueError]


def test_a_signal_raises_once_but_every_look_does() -> None:
    stop = Stop()
    with stoppable(stop):
        for again in range(2):
            with pytest.raises(Stopped) if not again else _nothing():
                signal.raise_signal(signal.SIGINT)
        found = []
        thread = threading.Thread(target=lambda: found.append(_what(check_signals)))
        thread.start()
        thread.join()
    assert isinstance(found[0], Stopped)
    assert stop.number == found[0].number == signal.SIGINT
    check_signals()


def test_what_is_ignored_or_handled_stays_so() -> None:
    def own(number: int, frame: Any) -> None: ...

    for handler in (signal.SIG_IGN, own):  # as under nohup, and in a program of its own
        before = signal.signal(signal.SIGINT, handler)
        try:
            with stoppable():
                assert signal.getsignal(signal.SIGINT) == handler
            assert signal.getsignal(signal.SIGINT) == handler
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _what(function: Callable[[], None]) -> BaseException | None:
    try:
        function()
    except BaseException as error:
        return error
    return None


# --- commands


@pytest.mark.parametrize(
    ("arguments", "goes_on"),
    [("ingest x.npy y", True), ("compare a b -o c", True), ("matrix a b -o c", True), ("plan a b", False),
     ("bandwidth a", False), ("info a", False), ("modes r", False), ("explain r", False), ("", False)],
)  # fmt: skip
def test_what_is_said_of_an_interrupted_command(
    arguments: str, goes_on: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from specscale.cli.app import _interrupted

    monkeypatch.setattr(sys, "argv", ["specscale", *arguments.split()])
    _interrupted()
    assert capsys.readouterr().err == (LINE if goes_on else "specscale: interrupted\n")


def test_the_last_word_is_said_once_and_to_its_end() -> None:
    said: list[str] = []
    begun, finish = threading.Event(), threading.Event()

    def say() -> None:
        begun.set()
        finish.wait()
        said.append("interrupted")

    stop = Ending(say)
    words = [threading.Thread(target=stop.last_word, daemon=True) for _ in range(2)]
    words[0].start()
    begun.wait()
    words[1].start()
    words[1].join(0.1)
    assert words[1].is_alive()  # who would end the process now would cut it off
    finish.set()
    for word in words:
        word.join()
    assert said == ["interrupted"]


CHILD = """
import signal, sys, threading
sys.path.insert(0, sys.argv[1])
from swallowing import Swallowed
place, number, kind, call = sys.argv[2:6]
module, _, name = place.partition(":")
owner = getattr(__import__(module, fromlist=["_"]), name.partition(".")[0])
method = name.partition(".")[2]
setattr(owner, method, Swallowed(getattr(owner, method), int(number), kind, int(call)))
sys.argv = ["specscale", *sys.argv[6:]]
from specscale.cli import main
main()
"""


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    for name, array in zip("ab", structured(3000), strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path


COMPARE = ["compare", "a.npy", "b.npy", "-o", "out", "--size", "60", "--quiet"]


@pytest.mark.parametrize(
    ("number", "kind", "place", "arguments"),
    [
        (signal.SIGTERM, "compiled code", "specscale.runtime.threads:Threads.run", COMPARE),
        (signal.SIGINT, "finalizer", "specscale.stores.writer:StoreWriter.add", ["ingest", "a.npy", "a.zarr"]),
        (signal.SIGHUP, "caught", "specscale.runtime.threads:Threads.run", ["matrix", *COMPARE[1:]]),
    ],
    ids=["compare", "ingest", "matrix"],
)
def test_a_command_ends_on_a_signal_inside_a_callback(
    arrays: Path,
    run_python: Callable[..., subprocess.CompletedProcess[str]],
    number: signal.Signals,
    kind: str,
    place: str,
    arguments: list[str],
) -> None:
    call = "3" if place.endswith("run") else "1"
    done = run_python(CHILD, str(Path(__file__).parents[1]), place, str(int(number)), kind, call, *arguments)
    assert (done.returncode, done.stderr) == (128 + number, LINE)


STUCK = """
import sys, threading
from specscale.kernels.host import HostKernels
from specscale.runtime.threads import Threads
def stand_still(self, tasks):
    future = self._pool.submit(threading.Event().wait)
    print("still", flush=True)
    future.result()
Threads.run = stand_still
sys.argv = ["specscale", *sys.argv[1:]]
from specscale.cli import main
main()
"""


@contextmanager
def standing_still(folder: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """A comparison whose threads never end."""
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, *COMPARE, "--threads", "2", *more],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "still\n"
            yield child
        finally:
            child.kill()


@pytest.mark.process
def test_what_stands_still_is_ended(arrays: Path) -> None:
    with standing_still(arrays) as child:
        child.send_signal(signal.SIGTERM)
        child.send_signal(signal.SIGTERM)  # as some that end a whole group do
        errors = child.communicate(timeout=300)[1]
    assert (child.returncode, errors) == (143, LINE)


@pytest.mark.process
def test_ctrl_c_twice_ends_at_once(arrays: Path) -> None:
    with standing_still(arrays) as child:
        child.send_signal(signal.SIGINT)
        time.sleep(1)  # the second is the user's, and not the first passed on by whoever started this process
        child.send_signal(signal.SIGINT)
        errors = child.communicate(timeout=300)[1]
    assert (child.returncode, errors) == (130, "")  # without the line that ends what has stood still for longer


@pytest.mark.process
def test_a_command_under_nohup_outlives_the_terminal(arrays: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    place = "specscale.runtime.threads:Threads.run"
    done = subprocess.run(
        [sys.executable, "-c", deaf + CHILD, str(Path(__file__).parents[1]), place, "1", "caught", "3", *COMPARE],
        cwd=arrays, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (arrays / "out").exists()


# --- workers


@pytest.mark.process
@pytest.mark.cluster
def test_workers_end_with_the_run(arrays: Path) -> None:
    pytest.importorskip("distributed")
    for name, array in zip("ab", structured(150_000), strict=True):
        np.save(arrays / f"{name}.npy", array)
    command = [*COMPARE[:5], "--size", "600", "--workers", "1", "--sigma-a", "2", "--sigma-b", "2", "--quiet"]
    with subprocess.Popen(
        [sys.executable, "-m", "specscale", *command],
        cwd=arrays, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as child:  # fmt: skip
        while not list(arrays.glob("out.work/*/covariance/order.pickle")):
            assert child.poll() is None, child.stderr and child.stderr.read()
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does
        # The end of standard error, which they share, is that of the last of them.
        errors = child.communicate(timeout=300)[1]
    assert (child.returncode, errors) == (130, LINE)


def test_a_task_that_is_given_up_ends_on_its_worker() -> None:
    distributed = pytest.importorskip("distributed")
    _BEGUN.clear()
    _ENDED.clear()
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        future = client.submit(_compute)
        assert _BEGUN.wait(300)
        client.cancel([future], force=True)
        assert _ENDED.wait(300)


_BEGUN, _ENDED = threading.Event(), threading.Event()


def _compute() -> None:
    from specscale.runtime.cluster.worker import WorkerThreads

    pool = WorkerThreads(1)
    try:
        while not _ENDED.wait(0.01):
            pool.run([])
            _BEGUN.set()
    finally:
        _ENDED.set()
