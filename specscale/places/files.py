"""Files on any file system: local paths, and URLs that fsspec knows, such as ``s3://bucket/folder``.

Local places are ``pathlib.Path`` and everything else is a ``UPath`` of the same methods; the functions here are what
the two do not share: writing a file whole, moving and removing trees, reading runs of bytes, opening Zarr groups.
Credentials come from the environment alone.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from upath import UPath

from specscale.errors import InputError
from specscale.masking import has_user
from specscale.places import objects
from specscale.places.durable import sync_folder, sync_open
from specscale.places.reach import WEB, credentials_for, reaching

__all__ = [
    "WEB",
    "Location",
    "absolute",
    "await_answer",
    "children",
    "copy_tree",
    "exists",
    "followed",
    "free_space",
    "is_local",
    "located",
    "make_folder",
    "move",
    "names_in",
    "reaching",
    "read_into",
    "read_whole",
    "remove_file",
    "remove_named",
    "remove_tree",
    "size_of_tree",
    "unchained",
    "write_whole",
    "writing",
    "zarr_store",
]

Location = Path | UPath

PIECE = 4 << 20  # bytes of one request; an object store is asked for many at once
_PATIENCE = 60  # seconds until a server that sends nothing is given up
_CONNECTIONS = 64  # of one process to an object store; fewer would queue behind one another
_OPTIONS: dict[str, Any] = {"use_listings_cache": False}  # what other processes wrote must be seen
_S3_OPTIONS: dict[str, Any] = {"max_pool_connections": _CONNECTIONS}
_CHAIN = re.compile(r"[a-z0-9]+::|[a-z0-9]+://[^:]*::([a-z0-9]+:/)?/")
_BUCKETS = ("s3", "s3a", "gs", "gcs")  # kinds of object stores whose URLs begin with a bucket


def located(place: str | os.PathLike[str] | UPath) -> Location:
    """Return a place as a location.

    Parameters
    ----------
    place : a path, or a URL that fsspec knows

    Raises
    ------
    InputError
        When the library for such URLs is not installed, there is no such kind of URL, or it names nothing.
    """
    if isinstance(place, UPath) and not isinstance(place, Path):
        return place
    text = os.fspath(place)
    if "://" not in text:
        return Path(text)
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    scheme, _, rest = text.partition("://")
    if not rest.strip("/") or (rest.startswith("/") and scheme in _BUCKETS):
        raise InputError(f"{text}: names no place: give a URL as s3://bucket/name")
    if scheme.rpartition("::")[2] in _BUCKETS and not rest.startswith("arn:") and has_user(text):
        raise InputError(
            f"{text}: addresses of buckets hold no keys: give s3://BUCKET/NAME, and {credentials_for(text)}"
        )
    with reaching(text):
        found: UPath = UPath(text.rstrip("/"), protocol=None, **_options(text))
        _ = found.fs
    return found


def unchained(place: Any) -> Any:
    """Return what names a place, or anything else, as it is.

    Raises
    ------
    InputError
        When it is a chained address, as ``simplecache::s3://…``: libraries read files there, and not all else.
    """
    text = str(place) if isinstance(place, (str, os.PathLike, UPath)) else ""
    if "://" in text and _CHAIN.match(text):
        raise InputError(f"{text}: chained addresses are read by specscale ingest alone: ingest it first")
    return place


def _options(url: str) -> dict[str, Any]:
    if url.startswith(("s3://", "s3a://")):
        from specscale.places.patient_s3 import PatientSession

        return {**_OPTIONS, "config_kwargs": {**_S3_OPTIONS, "http_session_cls": PatientSession}}
    if url.startswith(("http://", "https://")):
        from aiohttp import ClientTimeout

        # Its two kinds of requests for what there is are made in turn. However long a file takes that keeps coming.
        waiting = ClientTimeout(total=None, sock_connect=_PATIENCE / 2, sock_read=_PATIENCE / 2)
        return {**_OPTIONS, "client_kwargs": {"timeout": waiting}}
    return _OPTIONS


def followed(place: Location) -> Location:
    """Return the place that a symbolic link leads to, whether anything is there or not; others as they are."""
    if isinstance(place, Path) and place.is_symlink():
        return Path(os.path.realpath(place))
    return place


def absolute(place: Location) -> Location:
    """Return the name by which processes that work in other folders know a place."""
    return place.absolute() if isinstance(place, Path) else place


def is_local(place: Location) -> bool:
    """Whether a place is a path of this machine's file system."""
    return isinstance(place, Path)


def await_answer(file: Location) -> None:
    """Raise InputError when the object store of a file, which need not be there, does not answer within a minute."""
    if isinstance(file, Path):
        return
    try:
        with reaching(file):
            file.fs.cat_file(file.path, start=0, end=1, timeout=_PATIENCE)
    except FileNotFoundError:
        return


def exists(place: Location) -> bool:
    """Whether anything is there, a dangling link included."""
    if isinstance(place, Path):
        return os.path.lexists(place)
    with reaching(place):
        return bool(place.exists())


def children(folder: Location) -> list[Location]:
    """Return what is in a folder, in no order."""
    with reaching(folder):
        return list(folder.iterdir())


def make_folder(folder: Location) -> None:
    """Make a folder, if it is not there; where there are none but in the names of files do nothing."""
    if isinstance(folder, Path):
        folder.mkdir(exist_ok=True)


def write_whole(place: Location, *parts: Any, durable: bool = False) -> None:
    """Write a file whole or not at all; what is there stays until then.

    Parameters
    ----------
    place : the file; its folder exists where folders do
    *parts : bytes or buffers of bytes, in order
    durable : return only when the disk holds it, so that a power cut leaves what was there or this; object stores
        always do
    """
    if isinstance(place, Path):
        draft = place.with_name(f"{place.name}.{uuid.uuid4().hex[:8]}.new")
        try:
            with draft.open("wb") as file:
                for part in parts:
                    file.write(part)
                if durable:
                    file.flush()
                    sync_open(file.fileno())
            os.replace(draft, place)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        if durable:
            sync_folder(place.parent)
        return
    with reaching(place):
        if sum(memoryview(part).nbytes for part in parts) <= PIECE:
            place.fs.pipe_file(place.path, b"".join(bytes(part) for part in parts))
            return
        with _sent(place) as file:
            for part in parts:
                for piece in _pieces(part):
                    file.write(piece)


def _pieces(part: Any) -> Iterator[memoryview]:
    view = memoryview(part).cast("B")
    for low in range(0, len(view), PIECE):
        yield view[low : low + PIECE]


@contextmanager
def writing(place: Location) -> Iterator[Any]:
    """What libraries write a file of any length to; nothing is in an object store until it is complete."""
    if isinstance(place, Path):
        yield place
        return
    with reaching(place), _sent(place) as file:
        yield file


@contextmanager
def _sent(place: UPath) -> Iterator[Any]:
    """A file of an object store that is there when all is written, or not at all."""
    file = place.fs.open(place.path, "wb", block_size=8 * PIECE)
    try:
        yield file
    except BaseException:
        file.discard()
        file.closed = True
        raise
    file.close()


def read_whole(place: Location) -> bytes:
    """Read a small file at once, as it was at one moment: it may be written anew meanwhile.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    """
    if isinstance(place, Path):
        return place.read_bytes()
    with reaching(place):
        return bytes(place.fs.cat_file(place.path))


def read_into(place: Location, offset: int, out: memoryview) -> int:
    """Read bytes from `offset` on into `out`; the number read, which is less at the end of the file.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    """
    if isinstance(place, Path):
        with place.open("rb", buffering=0) as file:
            file.seek(offset)
            done = 0
            while done < len(out):
                count = file.readinto(out[done:])
                if not count:
                    break
                done += count
            return done
    starts = list(range(offset, offset + len(out), PIECE))
    ends = [min(start + PIECE, offset + len(out)) for start in starts]
    with reaching(place):
        pieces = place.fs.cat_ranges([place.path] * len(starts), starts, ends, on_error="return")
        done = 0
        for piece in pieces:
            if isinstance(piece, Exception):
                if not isinstance(piece, FileNotFoundError) and "range" in str(piece).lower():
                    break  # it begins behind the end of the file
                raise piece
            if len(piece) > len(out) - done:
                raise InputError(f"{place}: its server sends no parts of files: copy it to this machine first")
            out[done : done + len(piece)] = piece
            done += len(piece)
    return done


def move(
    source: Location, target: Location, last: Iterable[str] = (), check: Callable[[], object] = lambda: None
) -> None:
    """Give a file or folder another name on the same file system; nothing is at the target.

    Where nothing can be renamed, as in object stores, it is copied as by `copy_tree`, and then removed. What `check`
    raises ends it before any of these steps.
    """
    check()
    if isinstance(source, Path) and isinstance(target, Path):
        os.replace(source, target)
        return
    copy_tree(source, target, last, check)
    check()
    remove_tree(source)


def copy_tree(
    source: Location, target: Location, last: Iterable[str] = (), check: Callable[[], object] = lambda: None
) -> None:
    """Copy a file or folder within an object store.

    Files named in `last` are copied at the end, in that order: who looks for these sees nothing or all. What `check`
    raises ends it before the others, and before each of these.
    """
    assert isinstance(source, UPath)
    assert isinstance(target, UPath)
    root, end = source.path.rstrip("/"), target.path.rstrip("/")
    with reaching(target):
        paths = source.fs.find(source.path)
        final = [path for name in last for path in paths if path == f"{root}/{name}"]
        for group in ([path for path in paths if path not in set(final)], *([path] for path in final)):
            check()
            objects.copy(source.fs, [(path, end + path[len(root) :]) for path in group], _CONNECTIONS)


def remove_tree(place: Location) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if isinstance(place, Path):
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
        return
    with reaching(place):
        objects.remove_tree(place.fs, place.path, _CONNECTIONS)


def remove_file(file: Location) -> None:
    """Remove a file, if it is there."""
    if isinstance(file, Path):
        file.unlink(missing_ok=True)
        return
    with reaching(file):
        objects.remove(file.fs, [file.path], 1)


def names_in(place: Location) -> set[str]:
    """The paths of all files in a folder of an object store, within it."""
    assert isinstance(place, UPath)
    root = place.path.rstrip("/") + "/"
    with reaching(place):
        found = place.fs.find(place.path)
    return {path.removeprefix(root) for path in found if path.startswith(root)}


def remove_named(place: Location, names: Iterable[str]) -> None:
    """Remove some files in a folder of an object store, named by their paths within it."""
    assert isinstance(place, UPath)
    root = place.path.rstrip("/") + "/"
    with reaching(place):
        objects.remove(place.fs, [root + name for name in names], _CONNECTIONS)


def size_of_tree(place: Location) -> int:
    """Bytes of all files in a folder."""
    if isinstance(place, Path):
        return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    with reaching(place):
        return int(sum(file["size"] for file in place.fs.find(place.path, detail=True).values()))


def free_space(place: Location) -> int | None:
    """Bytes free on the disk that a place is on; None where there is no such limit."""
    if not isinstance(place, Path):
        return None
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def zarr_store(place: Location, *, read_only: bool = False) -> Any:
    """Return what ``zarr.open_group`` takes for a place."""
    if isinstance(place, Path):
        return str(place)
    from specscale.places.zarr_objects import ExactStore

    with reaching(place):
        return ExactStore.from_url(str(place), storage_options=_options(str(place)), read_only=read_only)
