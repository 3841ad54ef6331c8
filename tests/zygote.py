"""A process that has everything loaded, and forks for each command that it is given: one that may die on the way.

What changes files is counted as it begins: locally what the interpreter's audit hooks see of opening, renaming, linking
and removing (and Parquet files, which are opened beyond their sight), on S3 the requests that change something. A
command that is to die does so right before one of these, by ``os._exit``: nothing is cleaned up and no buffer written
out. Where that is the opening of a file for writing, it may also die right after it, with the file empty.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import mmap
import os
import pkgutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHUNK = 64  # rows
KILLED = 137
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_READS = ("Get", "Head", "List")


class Crash:
    """
    Ends this process at an operation.

    Parameters
    ----------
    root
        Operations on files elsewhere are not counted.
    counter
        Memory that outlives this process.
    at
        The number of the operation, from 0 on; ``None`` to count alone.
    torn
        End right after a file was opened.
    error
        Fail at the operation, with this number, instead of ending.
    """

    def __init__(self, root: str, counter: mmap.mmap, at: int | None, torn: bool, error: int | None) -> None:
        self._root = os.path.realpath(root)
        self._counter = counter
        self._at = at
        self._torn = torn
        self._error = error
        self._count = 0

    def watch(self) -> None:
        """Begin to count."""
        sys.addaudithook(self._audit)
        _tell_of_parquet_files()
        with contextlib.suppress(ImportError):
            _tell_of_requests(self._step)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITES and self._is_inside(path, -1):
                self._step(path, flags)
        elif event in ("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod"):
            if self._is_inside(arguments[0], arguments[-1]):
                self._step()
        elif event in ("os.rename", "os.link", "os.symlink") and self._is_inside(arguments[1], arguments[-1]):
            self._step()

    def _step(self, path: Any = None, flags: int = 0) -> None:
        number, self._count = self._count, self._count + 1
        self._counter[:8] = struct.pack("q", self._count)
        self._counter[8 + number] = path is not None
        if number != self._at:
            return
        if self._error is not None:
            raise OSError(self._error, os.strerror(self._error))
        if self._torn and path is not None:
            self._root = "\0"
            os.open(path, flags, 0o666)
        os._exit(KILLED)

    def _is_inside(self, path: Any, folder: Any) -> bool:
        if isinstance(path, int):
            return False
        name = os.fsdecode(path)
        if isinstance(folder, int) and folder >= 0:
            name = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)
        return os.path.abspath(name).startswith(self._root + os.sep)


def _tell_of_parquet_files() -> None:
    from pyarrow import parquet

    original = parquet.ParquetWriter.__init__

    def begin(self: Any, where: Any, *args: Any, **options: Any) -> None:
        if isinstance(where, (str, os.PathLike)):
            sys.audit("open", os.fspath(where), "wb", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        original(self, where, *args, **options)

    parquet.ParquetWriter.__init__ = begin


def _tell_of_requests(step: Callable[[], None]) -> None:
    from aiobotocore.client import AioBaseClient

    original = AioBaseClient._make_api_call

    async def call(self: Any, operation: str, arguments: Any) -> Any:
        if not operation.startswith(_READS):
            step()
        return await original(self, operation, arguments)

    AioBaseClient._make_api_call = call


def run(arguments: list[str]) -> int:
    """The exit status of a command."""
    from specscale.cli import main

    sys.argv = ["specscale", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _load() -> None:
    import specscale

    ours = [module.name for module in pkgutil.walk_packages(specscale.__path__, "specscale.")]
    for name in (*ours, "aiobotocore.session", "s3fs", "zarr.storage", "matplotlib.pyplot"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _shrink() -> None:
    """Stores of many chunks, passes of many spans, and no patience with leases of the dead."""
    from specscale.embeddings import layout
    from specscale.places.claim import claim_folder
    from specscale.runtime import spans
    from specscale.sources import base

    rows = layout.CHUNK_ROWS
    for name, module in list(sys.modules.items()):
        if name.startswith("specscale.") and getattr(module, "CHUNK_ROWS", None) == rows:
            module.CHUNK_ROWS = CHUNK  # type: ignore[attr-defined]
    spans._MOST_CHUNKS = 1
    base.BATCH_BYTES = CHUNK * 12
    claim_folder.__kwdefaults__.update(renewal=600.0, patience=0.05)


def _forked(job: dict[str, Any], counter: mmap.mmap) -> None:
    os.environ.update(job.get("environment", {}))
    os.chdir(job["folder"])
    with open(job["output"], "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    Crash(job["folder"], counter, job.get("at"), job.get("torn", False), job.get("error")).watch()
    status = run(job["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def serve() -> None:
    """Answer each line of standard input, which is a job, with a line: its status, and what operations it did."""
    _load()
    _shrink()
    counter = mmap.mmap(-1, 1 << 16)
    replies = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        job = json.loads(line)
        if job.get("warm"):
            os.chdir(job["folder"])
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
                status = run(job["arguments"])
            print(json.dumps({"status": status, "operations": 0, "said": said.getvalue()}), file=replies, flush=True)
            continue
        counter[:8] = struct.pack("q", 0)
        child = os.fork()
        if not child:
            try:
                _forked(job, counter)
            finally:
                os._exit(99)
        _, ended = os.waitpid(child, 0)
        count = struct.unpack("q", counter[:8])[0]
        answer = {
            "status": os.waitstatus_to_exitcode(ended),
            "operations": count,
            "openings": [number for number in range(count) if counter[8 + number]],
            "said": Path(job["output"]).read_text(),
        }
        print(json.dumps(answer), file=replies, flush=True)


if __name__ == "__main__":
    serve()
