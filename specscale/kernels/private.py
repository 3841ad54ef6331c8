"""Files of this user alone, written whole or not at all, in a folder that nobody else may write to.

For what must come from this user because it will be run. Files are reached through the descriptor of a folder that
was looked at, so that nobody can exchange the folder in between.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PrivateFolder"]

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_MOST_BYTES = 1 << 24  # of a file; what is longer is none of ours


class PrivateFolder:
    """
    A folder for small files of this user; where there can be none, nothing is found in it and nothing kept.

    Parameters
    ----------
    path : where it is, or is made with its first file
    most_files : how many it holds; beyond, the oldest go
    """

    def __init__(self, path: Path, most_files: int) -> None:
        self._path = path
        self._most_files = most_files

    def read(self, name: str) -> bytes | None:
        """Return what a file holds; None where it is not there or somebody else might have written it."""
        with contextlib.suppress(OSError), self._opened() as folder:
            # Without waiting: a named pipe would never open.
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            with open(file, "rb") as stream:
                found = os.fstat(file)
                if stat.S_ISREG(found.st_mode) and _is_ours(found) and found.st_size <= _MOST_BYTES:
                    return stream.read(_MOST_BYTES)
        return None

    def write(self, name: str, data: bytes) -> None:
        """Keep a file, in place of the one that has its name."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self._path.mkdir(mode=stat.S_IRWXU)
            with self._opened() as folder:
                self._write(folder, name, data)
                self._remove_oldest(folder)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """A descriptor of the folder.

        Raises
        ------
        OSError
            It is not there, is a link, or others may write to it.
        """
        folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not _is_ours(os.fstat(folder)):
                raise PermissionError(f"{self._path} is not this user's alone")
            yield folder
        finally:
            os.close(folder)

    def _write(self, folder: int, name: str, data: bytes) -> None:
        draft = f"{name}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(draft, flags, stat.S_IRUSR | stat.S_IWUSR, dir_fd=folder), "wb") as stream:
                stream.write(data)
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft, dir_fd=folder)
            raise

    def _remove_oldest(self, folder: int) -> None:
        """Remove files, and drafts of processes that were killed, beyond as many as the folder holds."""
        names = os.listdir(folder)
        if len(names) <= self._most_files:
            return
        ages = []
        for name in names:
            with contextlib.suppress(OSError):  # another process removed it
                ages.append((os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns, name))
        for _, name in sorted(ages)[: -self._most_files]:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE
