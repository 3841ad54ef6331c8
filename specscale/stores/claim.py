"""Folders of work in progress: whose they are, and that one process at a time writes into them.

A local folder is held by a lock of the operating system, which ends with its process. Where there is no such lock, as
in an object store, a lease takes its place: a file that its owner writes anew every few seconds. Who finds one watches
it; no clock of another machine is trusted.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from specscale.errors import ChangedError, ExistsError
from specscale.files import Location, exists, reaching, read_whole, write_whole

__all__ = ["LOCK", "Claim", "Lease", "claim_folder"]

LOCK = "lock"


class Claim(Protocol):
    """A folder that this process holds."""

    def check(self) -> None:
        """Raise ChangedError when another process has taken the folder over."""
        ...

    def close(self) -> None:
        """Let other processes in."""
        ...


def claim_folder(folder: Location, mark: str, *, renewal: float = 4, patience: float = 20) -> Claim:
    """
    Take a folder for this process alone, and make it if it does not exist.

    Parameters
    ----------
    folder
        The folder, on any file system.
    mark
        A file that earlier work left in it. A folder that has neither this nor the lock, and is not empty, is somebody
        else's.
    renewal
        Seconds after which a lease is written anew.
    patience
        Seconds for which the lease of another process must stay the same until it counts as dead; several renewals.

    Returns
    -------
    Claim
        The lock; closing it lets other processes in.

    Raises
    ------
    ExistsError
        The folder is something else, or in use by another process.
    InputError
        The object store cannot be reached.
    """
    if exists(folder) and not _left_by_work(folder, mark):
        raise ExistsError(f"{folder}: is in the way and was not left by earlier work; move it elsewhere")
    held = _locked(folder) if isinstance(folder, Path) else None
    return held if held is not None else Lease(folder, renewal=renewal, patience=patience)


def _left_by_work(folder: Location, mark: str) -> bool:
    if isinstance(folder, Path) and (folder.is_symlink() or not folder.is_dir()):
        return False
    with reaching(folder):
        names = {path.name for path in folder.iterdir()}
    return not names or not names.isdisjoint((mark, LOCK))


class _Locked:
    """A folder held by the operating system for as long as a file is open."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def check(self) -> None:
        """Do nothing: nobody can take this lock away."""

    def close(self) -> None:
        """Let other processes in."""
        self._file.close()


def _locked(folder: Path) -> _Locked | None:
    """Lock a folder; None where the file system has no locks."""
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("ab")
        except FileNotFoundError:
            continue  # its owner ended just now, and removed the folder
        if sys.platform == "win32":
            return _Locked(file)
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                return _Locked(file)
            file.close()  # a lock on a file that its owner has removed keeps nobody out
        except BlockingIOError as error:
            file.close()
            raise ExistsError(f"{folder}: another process is at work here; wait for it to end") from error
        except OSError:
            file.close()
            return None


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


class Lease:
    """
    A folder held by a file in it that is written anew again and again.

    Parameters
    ----------
    folder
        The folder; local ones exist.
    renewal
        Seconds between two renewals.
    patience
        Seconds for which the lease of another process must stay the same until it counts as dead.

    Raises
    ------
    ExistsError
        Another process holds the folder.
    InputError
        The object store cannot be reached.
    """

    def __init__(self, folder: Location, *, renewal: float, patience: float) -> None:
        self._folder = folder
        self._file = folder / LOCK
        self._renewal = renewal
        self._state: dict[str, Any] = {
            "owner": uuid.uuid4().hex, "host": platform.node(), "pid": os.getpid(), "count": 0,
        }  # fmt: skip
        if not self._create():
            self._take_over(patience)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="specscale-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """
        Make sure that the folder is still held.

        Raises
        ------
        ChangedError
            This process stood still for so long that another one took the folder over, or the lock was removed.
        InputError
            The object store cannot be reached.
        """
        found = self._read()
        if not self._is_own(found):
            who = "somebody removed the lock" if found is None else f"{_holder(found)} took the work over"
            raise ChangedError(
                f"{self._folder}: this process stood still or was cut off, and {who}; run the same command again when "
                "no other process is at work here"
            )

    def close(self) -> None:
        """Let other processes in."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        try:
            if self._is_own(self._read()):
                self._remove()
        except Exception:  # what could not be removed counts as dead a little later
            return

    def _take_over(self, patience: float) -> None:
        """Watch the lease of another process, and take it when it is dead."""
        seen, since = self._read(), time.monotonic()
        # An empty file is what a lock of the operating system leaves behind, and no lease.
        while seen != b"" and time.monotonic() - since < patience:
            time.sleep(min(self._renewal, patience) / 4)
            found = self._read()
            if found is None and self._create():
                return
            if found != seen:
                self._refuse(found)
        if self._read() != seen:
            self._refuse(self._read())
        self._write()
        # Of several that found it dead at once the last to write holds it.
        time.sleep(min(self._renewal, 1))
        if not self._is_own(found := self._read()):
            self._refuse(found)

    def _refuse(self, found: bytes | None) -> None:
        raise ExistsError(f"{self._folder}: another process is at work here ({_holder(found)}); wait for it to end")

    def _renew(self) -> None:
        while not self._ended.wait(self._renewal):
            try:
                if not self._is_own(self._read()):
                    return
                self._state["count"] += 1
                self._write()
            except Exception:  # the network may come back in time; `check` tells when it did not
                continue

    def _is_own(self, content: bytes | None) -> bool:
        return bool(_parsed(content).get("owner") == self._state["owner"])

    def _content(self) -> bytes:
        return json.dumps(self._state).encode()

    def _create(self) -> bool:
        try:
            if isinstance(self._file, Path):
                with self._file.open("xb") as file:
                    file.write(self._content())
            else:
                with reaching(self._file):
                    self._file.fs.pipe_file(self._file.path, self._content(), mode="create")
        except FileExistsError:
            return False
        return True

    def _read(self) -> bytes | None:
        try:
            return read_whole(self._file)
        except FileNotFoundError:
            return None

    def _write(self) -> None:
        write_whole(self._file, self._content())

    def _remove(self) -> None:
        if isinstance(self._file, Path):
            self._file.unlink(missing_ok=True)
        else:
            with reaching(self._file):
                self._file.fs.rm_file(self._file.path)


def _parsed(content: bytes | None) -> Mapping[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _holder(content: bytes | None) -> str:
    found = _parsed(content)
    return f"process {found.get('pid', 'unknown')} on {found.get('host', 'an unknown machine')}"
