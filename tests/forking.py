"""Commands and code in processes that are forked from one that has loaded what they need.

A process of Python that is started anew takes a second or two until it can begin, and much of what tests ask takes less
than that. What is forked is a process like any other: it has its own number, working directory, environment, streams,
signals and locks, and its own end. What it has not is a beginning: what is decided when Python starts, or when a module
is first imported, needs a process that is started anew.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import types
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

POSSIBLE = sys.platform == "linux"
WARNINGS = "error::RuntimeWarning"
# What is read from the environment when it is needed; all else may have been read when the server has started.
_READ_LATE = ("AWS_", "COLUMNS", "PYTEST_", "TMPDIR", "__DASK_")
# What libraries leave in the environment of a process that has imported them, and of one that has started workers.
_LEFT = {
    ("KMP_DUPLICATE_LIB_OK", "True"),
    ("KMP_INIT_AT_FORK", "FALSE"),
    ("MALLOC_TRIM_THRESHOLD_", "65536"),
    ("MKL_NUM_THREADS", "1"),
    ("OMP_NUM_THREADS", "1"),
    ("OPENBLAS_NUM_THREADS", "1"),
    ("PYTHONHASHSEED", "6640"),
}
_NUMBER = struct.Struct("q")


class ForkServer:
    """A process that forks, for one run at a time.

    Parameters
    ----------
    environment : of the server
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def serves(self, environment: Mapping[str, str]) -> bool:
        """Whether a process with this environment is like one that would have begun with it."""
        differing = {name for name, _ in (set(environment.items()) ^ set(self._environment.items())) - _LEFT}
        warned = environment.get("PYTHONWARNINGS") == WARNINGS
        return all(name.startswith(_READ_LATE) or (warned and name == "PYTHONWARNINGS") for name in differing)

    def run(
        self, main: str, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Do what ``subprocess.run`` does of the command line of a Python.

        Parameters
        ----------
        main : a module, or lines of code
        arguments : of the command line
        cwd : the working directory
        environment : all of it
        timeout : seconds
        """
        command = [main, *arguments]
        job = {"main": main, "arguments": list(arguments), "cwd": str(cwd), "environment": dict(environment)}
        with contextlib.ExitStack() as stack:
            nothing = stack.enter_context(open(os.devnull))
            asked = stack.enter_context(tempfile.TemporaryFile("w+"))
            json.dump(job, asked)
            asked.seek(0)
            pipes = [os.pipe() for _ in range(2)]
            said = [stack.enter_context(open(reading)) for reading, _ in pipes]
            files = [nothing.fileno(), *(writing for _, writing in pipes), asked.fileno()]
            socket.send_fds(self._channel, [b"."], files)
            for _, writing in pipes:
                os.close(writing)
            child = self._answer(None)
            with ThreadPoolExecutor(2) as pool:
                texts = [pool.submit(file.read) for file in said]
                try:
                    status = self._answer(timeout)
                except TimeoutError:
                    os.kill(child, signal.SIGKILL)
                    self._answer(None)
                    raise subprocess.TimeoutExpired(command, timeout) from None
        return subprocess.CompletedProcess(command, status, *(text.result() for text in texts))

    def _answer(self, timeout: float | None) -> int:
        self._channel.settimeout(timeout)
        answer = self._channel.recv(_NUMBER.size)
        if not answer:
            raise RuntimeError("the server that forks has ended")
        return int(_NUMBER.unpack(answer)[0])

    def close(self) -> None:
        """End the server."""
        self._channel.close()
        self._process.wait()


def spawn(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a Python that starts as any does."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def load() -> None:
    """Import all that commands import."""
    import specscale

    ours = [module.name for module in pkgutil.walk_packages(specscale.__path__, "specscale.")]
    for name in (*ours, "aiobotocore.session", "s3fs", "zarr.storage", "matplotlib.pyplot"):
        if not name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def load_and_warm() -> None:
    """Do all that a process does before it can begin, and end the threads that did it."""
    load()
    _warm()
    _end_threads()


def _warm() -> None:
    """Load the compiled kernels."""
    import numpy as np

    import specscale as ss

    generator = np.random.default_rng(0)
    options: dict[str, Any] = {"size": 12, "n_modes": 2, "certify": 8, "refine": 1, "sigma": (3.0, 3.0), "threads": 1}
    with tempfile.TemporaryDirectory() as folder:
        for name in "ab":
            ss.ingest(generator.normal(size=(150, 6)).astype(np.float32), f"{folder}/{name}.zarr")
        ss.compare(f"{folder}/a.zarr", f"{folder}/b.zarr", out=f"{folder}/out", **options)


def _forked(channel: socket.socket) -> dict[str, Any] | None:
    """Fork for each run that is asked for; in its process, what it is, and None in this one at the end."""
    while True:
        asked, files, _, _ = socket.recv_fds(channel, 1, 4)
        if not asked:
            return None
        child = os.fork()
        if not child:
            channel.close()
            for number, file in enumerate(files[:3]):
                os.dup2(file, number)
                os.close(file)
            with open(files[3]) as job:
                found: dict[str, Any] = json.load(job)
            return found
        for file in files:
            os.close(file)
        channel.sendall(_NUMBER.pack(child))
        _, ended = os.waitpid(child, 0)
        channel.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(ended)))


def _open_streams() -> None:
    """Open the standard streams as Python does when it starts."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, name)
        stream = open(  # noqa: SIM115
            number,
            "w" if number else "r",
            encoding=before.encoding,
            errors=before.errors,
            newline="\n" if number else None,
            closefd=False,
        )
        stream.reconfigure(line_buffering=number == 2)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(job: dict[str, Any]) -> None:
    """Be the process that was asked for."""
    _open_streams()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["environment"])
    tempfile.tempdir = None
    if os.environ.get("PYTHONWARNINGS") == WARNINGS:  # what libraries ignore they have said before
        warnings.simplefilter("error", RuntimeWarning, append=True)
    code = job["main"]
    if code.isidentifier():
        sys.path[0] = job["cwd"]
        sys.argv = ["", *job["arguments"]]
        runpy.run_module(code, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = ""
        sys.argv = ["-c", *job["arguments"]]
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(code, "<string>", "exec"), vars(sys.modules["__main__"]))


def _end_threads() -> None:
    """Let this thread be the only one: what others hold while a process is forked is never let go in it."""
    from zarr.core.sync import cleanup_resources

    cleanup_resources()
    for thread in set(threading.enumerate()) - {threading.current_thread()}:
        thread.join(60)
    assert threading.active_count() == 1, threading.enumerate()


def _serve(channel: socket.socket) -> dict[str, Any] | None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    load_and_warm()
    gc.freeze()
    return _forked(channel)


def _end(status: int) -> None:
    """End as a process does that was not killed, but for the taking apart of its modules, which takes a while."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    asked_for = _serve(socket.socket(fileno=int(sys.argv[1])))
    if asked_for is not None:
        end: Any = None
        try:
            _run(asked_for)
        except SystemExit as raised:
            end = raised.code
        if end is None or isinstance(end, int):
            _end((end or 0) & 0xFF)
        sys.exit(end)
