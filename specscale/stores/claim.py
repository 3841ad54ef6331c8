"""Folders of work in progress: whose they are, and that one process at a time writes into them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from specscale.errors import ExistsError

LOCK = "lock"


def claim_folder(folder: Path, mark: str) -> IO[bytes]:
    """
    Take a folder for this process alone, and make it if it does not exist.

    Parameters
    ----------
    folder
        The folder.
    mark
        A file that earlier work left in it. A folder that has neither this nor the lock, and is not empty, is somebody
        else's.

    Returns
    -------
    file
        The lock; closing it lets other processes in.

    Raises
    ------
    ExistsError
        The folder is something else, or in use by another process.
    """
    if os.path.lexists(folder) and not _left_by_work(folder, mark):
        raise ExistsError(f"{folder}: is in the way and was not left by earlier work; move it elsewhere")
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / LOCK).open("ab")
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise ExistsError(f"{folder}: another process is at work here; wait for it to end") from error
    return lock


def _left_by_work(folder: Path, mark: str) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return False
    return not any(folder.iterdir()) or any((folder / name).exists() for name in (mark, LOCK))
