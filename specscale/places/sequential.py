"""Files on any file system, opened to be read from front to back."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from upath import UPath

from specscale.errors import InputError
from specscale.places.files import PIECE, WEB, located, reaching

__all__ = ["open_binary", "open_remote"]

_STREAM: dict[str, Any] = {"cache_type": "readahead", "block_size": 2 * PIECE}


@contextmanager
def open_binary(place: str | os.PathLike[str] | UPath) -> Iterator[IO[bytes]]:
    """Open a file to be read from its beginning to its end, as from a disk: seeking is allowed, and costs more.

    Of a remote file megabytes are asked for at a time, and no more than a few of them are held.

    Raises
    ------
    InputError
        When there is no such file, or it cannot be reached.
    """
    there = located(place)
    if isinstance(there, Path):
        with there.open("rb") as file:
            yield file
        return
    try:
        with reaching(place), open_remote(there, **_STREAM) as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{place}: there is no such file: check the address") from None


def open_remote(place: UPath, *, whole: bool = False, **buffering: Any) -> IO[bytes]:
    """Open a remote file for reading at any place.

    Parameters
    ----------
    place : the file
    whole : read it once, into a temporary file; so are those of web servers that cannot send parts of a file
    **buffering : what ``fsspec`` takes, as ``cache_type`` and ``block_size``
    """
    if not whole and (place.protocol not in WEB or _sends_parts(place)):
        return cast("IO[bytes]", place.fs.open(place.path, "rb", **buffering))
    copy = tempfile.TemporaryFile(prefix="specscale-")  # noqa: SIM115
    how = {"block_size": 0} if place.protocol in WEB else _STREAM
    with place.fs.open(place.path, "rb", **how) as file:
        shutil.copyfileobj(file, copy, PIECE)
    copy.seek(0)
    return cast("IO[bytes]", copy)


def _sends_parts(place: UPath) -> bool:
    info = place.fs.info(place.path)
    if not info.get("size") or not info.get("partial", True):
        return False
    with place.fs.open(place.path, "rb", cache_type="none", block_size=PIECE) as file:
        file.seek(min(1, info["size"] - 1))
        try:
            return len(file.read(1)) == 1
        except ValueError:  # it sends the whole file instead
            return False
