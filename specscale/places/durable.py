"""What survives a power cut: files and folders that the disk is told to hold before anything relies on them.

A file system without that, or a folder that may not be opened for it, is passed over in silence: there the system
writes when it likes, as it does for everybody. A disk that fails says so here, before what it replaces is gone.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["sync_above", "sync_folder", "sync_open", "sync_tree"]

_AT_ONCE = 8  # the disk takes what arrives together in one go
_UNKNOWN = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EROFS)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EISDIR)  # of folders: to this user, or to everybody on Windows


def sync_open(descriptor: int) -> None:
    """Have the disk hold what was written to an open file.

    Raises
    ------
    OSError
        When the disk cannot.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise


def sync_folder(folder: Path) -> None:
    """Have the disk hold the names that a folder has."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in (*_UNKNOWN, *_CLOSED):
            raise
        return
    try:
        sync_open(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Have the disk hold all files in a folder, and their names."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="specscale-sync") as pool:
        for _ in pool.map(_sync_file, _files(folder)):
            pass
        for _ in pool.map(sync_folder, (Path(path) for path, _, _ in os.walk(folder))):
            pass


def sync_above(place: Path) -> None:
    """Have the disk hold the name of a file or folder, and those of the folders that it is in."""
    for folder in place.absolute().parents:
        sync_folder(folder)
        if os.path.ismount(folder):
            break


def _files(folder: Path) -> Iterator[str]:
    return (os.path.join(path, name) for path, _, names in os.walk(folder) for name in names)


def _sync_file(path: str) -> None:
    if not stat.S_ISREG(os.lstat(path).st_mode):  # a link's, or a pipe's that its owner keeps there, which would wait
        return
    # Windows syncs only what is open for writing.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        sync_open(descriptor)
    finally:
        os.close(descriptor)
