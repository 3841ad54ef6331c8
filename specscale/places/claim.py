"""Folders of work in progress: whose they are, and that one process at a time writes into them.

A local folder is held by a lock of the operating system, which ends with its process. Where there is no such lock, as
in an object store, a lease takes its place.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Protocol

from specscale.errors import ExistsError
from specscale.places.files import Location, children, exists
from specscale.places.lease import Lease
from specscale.places.lock_file import lock_file, open_lock

__all__ = ["LOCK", "Claim", "claim_folder"]

LOCK = "lock"


class Claim(Protocol):
    """A folder that this process holds."""

    def check(self) -> None:
        """Raise ChangedError when another process has taken the folder over.

        Called right before each step that cannot be undone: a lease is renewed by it, so that for as long as others
        watch a lease before they take it, the step is this process's to take.
        """
        ...

    def close(self) -> None:
        """Let other processes in."""
        ...


def claim_folder(folder: Location, mark: str, *, renewal: float = 4, patience: float = 20) -> Claim:
    """Take a folder for this process alone, and make it, its owner's alone, if it does not exist.

    Parameters
    ----------
    folder : the folder, on any file system
    mark : a file that earlier work left in it; a folder that has neither this nor the lock, and is not empty, is
        somebody else's
    renewal : seconds after which a lease is written anew
    patience : seconds for which the lease of another process must stay the same until it counts as dead; several
        renewals

    Returns
    -------
    Claim
        The lock; closing it lets other processes in.

    Raises
    ------
    ExistsError
        When the folder is something else, or in use by another process, or its lock is a symbolic link.
    FileNotFoundError
        When there is no such bucket.
    InputError
        When the object store cannot be reached.
    """
    if exists(folder) and not _left_by_work(folder, mark):
        raise ExistsError(f"{folder}: is in the way and was not left by earlier work; move it elsewhere")
    held = _locked(folder) if isinstance(folder, Path) else None
    return held or Lease(folder, lock_file(folder / LOCK), renewal=renewal, patience=patience)


def _left_by_work(folder: Location, mark: str) -> bool:
    if isinstance(folder, Path) and (folder.is_symlink() or not folder.is_dir()):
        return False
    names = {path.name for path in children(folder)}
    return not names or any(name in (mark, LOCK) or name.startswith(f"{LOCK}.") for name in names)


class _Locked:
    """A folder held by the operating system for as long as a file is open."""

    def __init__(self, file: int) -> None:
        self._file: int | None = file

    def check(self) -> None:
        """Do nothing: nobody can take this lock away."""

    def close(self) -> None:
        """Let other processes in."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        self.close()


def _locked(folder: Path) -> _Locked | None:
    """Lock a folder; None where the file system has no locks."""
    path = folder / LOCK
    while True:
        folder.mkdir(0o700, parents=True, exist_ok=True)
        try:
            file = open_lock(path, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            continue  # its owner ended just now, and removed the folder
        if sys.platform == "win32":
            return _Locked(file)
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                return _Locked(file)
            os.close(file)  # a lock on a file that its owner has removed keeps nobody out
        except BlockingIOError as error:
            os.close(file)
            raise ExistsError(f"{folder}: another process is at work here; wait for it to end") from error
        except OSError:
            os.close(file)
            return None


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False
