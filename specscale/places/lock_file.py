"""The file of a lease: written and removed only as it was last seen, where the file system can see to that.

========================= ==========================================================================================
S3 and its like           exact: ``If-None-Match`` and ``If-Match`` with the ETag; where a store refuses or ignores
                          conditions, as other file systems
local, without ``flock``  exact but where there are no hard links either: its owner writes into the open file, which
                          who takes over has moved aside first
other file systems        created by one process alone, where fsspec's ``mode="create"`` holds; read, and then written
========================= ==========================================================================================
"""

from __future__ import annotations

import errno
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from upath import UPath

from specscale.errors import ExistsError
from specscale.places.files import Location, exists, reaching, read_whole, write_whole

__all__ = ["LockFile", "Seen", "lock_file", "open_lock"]

_S3 = ("s3", "s3a")
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "409", "412")
_NO_CONDITIONS = ("NotImplemented", "501")


@dataclass(frozen=True)
class Seen:
    """What a lock file was at one moment."""

    content: bytes
    version: Any


class LockFile(Protocol):
    """A file that several processes write, each only over what it has seen."""

    exact: bool
    """Whether nothing that another process writes between seeing and writing is written over."""

    def read(self) -> Seen | None:
        """What is there; None where nothing is."""
        ...

    def create(self, content: bytes) -> Seen | None:
        """Write the file; None where there is one."""
        ...

    def replace(self, seen: Seen, content: bytes) -> Seen | None:
        """Write over what was seen; None where that is no longer there."""
        ...

    def remove(self, seen: Seen) -> None:
        """Remove what was seen, if it is still there."""
        ...


def lock_file(place: Location) -> LockFile:
    """The best that the file system of a place has.

    Raises
    ------
    FileNotFoundError
        When there is no such bucket.
    InputError
        When the object store cannot be reached.
    """
    if isinstance(place, Path):
        return _Local(place)
    if place.protocol in _S3 and _honours_conditions(place):
        return _Conditional(place)
    return _Plain(place)


def open_lock(place: Path, flags: int) -> int:
    """Open a local lock file, and never what a link points to.

    Parameters
    ----------
    place : the file
    flags : as of ``os.open``

    Returns
    -------
    int
        The descriptor.

    Raises
    ------
    ExistsError
        When it is a symbolic link.
    """
    try:
        return os.open(place, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ExistsError(f"{place}: is a symbolic link, which a lock never is; remove it") from None


class _Plain:
    exact = False

    def __init__(self, place: UPath) -> None:
        self._place = place

    def read(self) -> Seen | None:
        try:
            content = read_whole(self._place)
        except FileNotFoundError:
            return None
        return Seen(content, content)

    def create(self, content: bytes) -> Seen | None:
        if exists(self._place):  # a store may not know the condition
            return None
        try:
            with reaching(self._place):
                self._create(content)
        except FileExistsError:
            return None
        return Seen(content, content)

    def _create(self, content: bytes) -> None:
        try:
            self._place.fs.pipe_file(self._place.path, content, mode="create")
        except OSError as error:
            if _code(error) not in _NO_CONDITIONS:
                raise
            self._place.fs.pipe_file(self._place.path, content)

    def replace(self, seen: Seen, content: bytes) -> Seen | None:
        if self.read() != seen:
            return None
        write_whole(self._place, content)
        return Seen(content, content)

    def remove(self, seen: Seen) -> None:
        if self.read() == seen:
            with reaching(self._place):
                self._place.fs.rm_file(self._place.path)


class _Conditional:
    exact = True

    def __init__(self, place: UPath) -> None:
        self._place = place
        bucket, _, key = place.path.partition("/")
        self._object = {"Bucket": bucket, "Key": key}

    def read(self) -> Seen | None:
        # The content may be newer than the ETag: who writes over it then is refused.
        try:
            with reaching(self._place):
                tag = self._place.fs.info(self._place.path)["ETag"]
            return Seen(read_whole(self._place), tag)
        except FileNotFoundError:
            return None

    def create(self, content: bytes) -> Seen | None:
        return self._put(content, IfNoneMatch="*")

    def replace(self, seen: Seen, content: bytes) -> Seen | None:
        return self._put(content, IfMatch=seen.version)

    def remove(self, seen: Seen) -> None:
        with reaching(self._place):
            _if_unchanged(self._place, "delete_object", **self._object, IfMatch=seen.version)

    def _put(self, content: bytes, **condition: str) -> Seen | None:
        with reaching(self._place):
            reply = _if_unchanged(self._place, "put_object", **self._object, **condition, Body=content)
        return None if reply is None else Seen(content, reply["ETag"])


def _if_unchanged(place: UPath, method: str, **arguments: Any) -> dict[str, Any] | None:
    """The reply to a conditional request; None where the condition does not hold."""
    try:
        return dict(place.fs.call_s3(method, **arguments))
    except OSError as error:
        if _code(error) in _CHANGED:
            return None
        raise


def _code(error: OSError) -> str:
    found: dict[str, Any] = getattr(error.__cause__, "response", {})
    return str(found.get("Error", {}).get("Code"))


def _honours_conditions(place: UPath) -> bool:
    """Whether an object that is not there cannot be written over, as it should be."""
    probe = place.with_name(f"{place.name}.{uuid.uuid4().hex[:8]}.new")
    bucket, _, key = probe.path.partition("/")
    with reaching(place):
        try:
            reply = _if_unchanged(
                probe, "put_object", Bucket=bucket, Key=key, Body=b"", IfMatch=f'"{uuid.uuid4().hex}"'
            )
        except OSError as error:
            if _code(error) in _NO_CONDITIONS:
                return False
            raise
        if reply is not None:
            probe.fs.rm_file(probe.path)
        return reply is None


class _Local:
    exact = True

    def __init__(self, place: Path) -> None:
        self._place = place
        self._own: int | None = None  # the descriptor of the file that this process wrote

    def read(self) -> Seen | None:
        try:
            file = open_lock(self._place, os.O_RDONLY)
        except FileNotFoundError:
            return None
        return _read(file)

    def create(self, content: bytes) -> Seen | None:
        draft = self._aside()
        try:
            file = _made(draft, content)
            try:
                os.link(draft, self._place)
            except FileExistsError:
                os.close(file)
                return None
            except OSError:  # there are no hard links
                os.close(file)
                return self._create_in_place(content)
        finally:
            draft.unlink(missing_ok=True)
        return self._hold(file, content)

    def _create_in_place(self, content: bytes) -> Seen | None:
        try:
            seen = self._hold(_made(self._place, content), content)
        except FileExistsError:
            return None
        return seen if self._is_own_there() else None  # it was empty for a moment, which is no lease

    def replace(self, seen: Seen, content: bytes) -> Seen | None:
        if self._own is not None:
            # Into the open file: where another process has moved it aside, what that one wrote stays.
            _write(self._own, content)
            return Seen(content, seen.version) if self._is_own_there() else None
        if self.read() != seen:  # so that the file of one that is alive is moved in a race alone
            return None
        aside = self._aside()
        try:
            os.rename(self._place, aside)
        except FileNotFoundError:
            return None
        try:
            if _read(open_lock(aside, os.O_RDONLY)) == seen:
                return self.create(content)
            self._put_back(aside)  # its owner is alive
            return None
        finally:
            aside.unlink(missing_ok=True)

    def remove(self, seen: Seen) -> None:
        if self._own is not None:
            if self._is_own_there():
                self._place.unlink(missing_ok=True)
            os.close(self._own)
            self._own = None

    def _put_back(self, aside: Path) -> None:
        try:
            os.link(aside, self._place)
        except FileExistsError:
            return
        except OSError:  # there are no hard links
            if not exists(self._place):
                os.rename(aside, self._place)

    def _hold(self, file: int, content: bytes) -> Seen:
        self._own = file
        return Seen(content, _identity(file))

    def _is_own_there(self) -> bool:
        assert self._own is not None
        found = self.read()
        return found is not None and found.version == _identity(self._own)

    def _aside(self) -> Path:
        return self._place.with_name(f"{self._place.name}.{uuid.uuid4().hex[:8]}.new")


def _read(file: int) -> Seen:
    with os.fdopen(file, "rb") as opened:
        return Seen(opened.read(), _identity(file))


def _made(place: Path, content: bytes) -> int:
    """A new file, open."""
    file = open_lock(place, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        _write(file, content)
    except BaseException:
        os.close(file)
        raise
    return file


def _write(file: int, content: bytes) -> None:
    """Write an open file from its beginning, never shorter than before, for other machines to see."""
    os.pwrite(file, content, 0)
    os.fsync(file)


def _identity(file: int) -> tuple[int, int]:
    found = os.fstat(file)
    return found.st_dev, found.st_ino
