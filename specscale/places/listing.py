"""What stands at a path, on this machine or elsewhere: files, folders, what a pattern matches, and fingerprints.

Local paths and URLs are text here, as the user gives them and as messages name them.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from upath import UPath

from specscale.errors import InputError
from specscale.places.files import Location, located, reaching

__all__ = ["entries", "fingerprint", "has_magic", "is_file", "is_remote", "joined", "kind", "matches", "suffix"]

_WEB = ("http://", "https://")
_GONE = 404
# What file systems call the things that change when a file does.
_TRACES = (
    *("ETag", "etag", "e_tag", "LastModified", "Last-Modified", "last_modified", "mtime", "updated", "created"),
    *("blob_id", "md5Hash", "Content-MD5"),
)


def is_remote(path: str) -> bool:
    """Whether a path is a URL of another file system than this machine's."""
    return "://" in path and not path.startswith("file://")


def has_magic(path: str) -> bool:
    """Whether a path may be a pattern; in web addresses a question mark begins the query."""
    return "*" in path or "[" in path if path.startswith(_WEB) else glob.has_magic(path)


def suffix(path: str) -> str:
    """Return the lower-case suffix of a path.

    Parameters
    ----------
    path : any path or URL, of which the query is no part

    Returns
    -------
    str
        With its dot, as in ``".npy"``; empty where there is none.
    """
    if path.startswith(_WEB):
        path = urlsplit(path).path
    return os.path.splitext(path.rstrip("/"))[1].lower()


def joined(folder: str, name: str) -> str:
    """Return the path of something in a folder."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else os.path.join(folder, name)


def kind(path: str) -> Literal["file", "folder"] | None:
    """Say what stands at a path.

    Parameters
    ----------
    path : a path or a URL, taken as it is: no sign in it is a pattern

    Returns
    -------
    str or None
        ``"file"``, ``"folder"``, or None where there is nothing.

    Raises
    ------
    InputError
        When the place cannot be reached.
    """
    place = located(path)
    if isinstance(place, Path):
        return "file" if os.path.isfile(place) else "folder" if os.path.isdir(place) else None
    if path.startswith(_WEB) and path.endswith("/"):
        return "folder"
    info = _info(path, place)
    if info is None:
        return None
    if path.startswith(_WEB) and not suffix(path) and str(info.get("mimetype", "")).startswith("text/html"):
        return "folder"  # a page that lists files
    return "file" if info["type"] == "file" else "folder"


def is_file(path: str) -> bool:
    """Whether a path is a file."""
    return kind(path) == "file"


def entries(folder: str) -> tuple[list[str], list[str]]:
    """Return the names of the files and of the folders in a folder.

    Parameters
    ----------
    folder : a folder

    Returns
    -------
    files, folders : lists of str
        In no order.

    Raises
    ------
    InputError
        When the place cannot be reached.
    """
    place = located(folder)
    if isinstance(place, Path):
        with os.scandir(place) as found:
            both = [(entry.name, entry.is_file(), entry.is_dir()) for entry in found]
        return [name for name, is_file, _ in both if is_file], [name for name, _, is_dir in both if is_dir]
    assert isinstance(place, UPath)
    with reaching(folder):
        listed = place.fs.ls(folder if folder.startswith(_WEB) else place.path, detail=True)
    root = place.path.rstrip("/") + "/"
    files: list[str] = []
    folders: list[str] = []
    for entry in listed:
        name = str(entry["name"]).removeprefix(root).rstrip("/")
        if not name or "/" in name or not str(entry["name"]).startswith(root):
            continue  # the folder itself, or a link that leads elsewhere
        web_folder = folder.startswith(_WEB) and str(entry["name"]).endswith("/")
        (folders if entry["type"] == "directory" or web_folder else files).append(name)
    return files, folders


def matches(pattern: str) -> list[str]:
    """Return the paths that a pattern matches, in no order.

    Parameters
    ----------
    pattern : with ``*``, ``?``, ``[…]``, and ``**`` for any number of folders

    Returns
    -------
    list of str
        Files and folders.

    Raises
    ------
    InputError
        When the place cannot be reached.
    """
    place = located(pattern)
    if isinstance(place, Path):
        return glob.glob(str(place), recursive=True)
    assert isinstance(place, UPath)
    try:
        with reaching(pattern):
            found = place.fs.glob(place.path)
    except FileNotFoundError:
        return []
    scheme = pattern.partition("://")[0]
    return [path if "://" in path else f"{scheme}://{path.lstrip('/')}" for path in map(str, found)]


def fingerprint(path: str) -> str:
    """Recognise a file or directory again without reading it.

    Parameters
    ----------
    path : a file, or a directory, which is walked

    Returns
    -------
    str
        A digest of absolute paths, sizes and modification times, or of what a remote file system tells of a file.
    """
    place = located(path)
    named = os.path.abspath(place) if isinstance(place, Path) else path
    digest = hashlib.blake2b(named.encode("utf-8", "surrogateescape"), digest_size=16)
    for entry in _local_traces(str(place)) if isinstance(place, Path) else _remote_traces(path, place):
        digest.update(entry.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _local_traces(path: str) -> Iterator[str]:
    files = [path]
    if os.path.isdir(path):
        files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    for file in files:
        status = os.stat(file)
        yield f"\n{os.path.relpath(file, path)} {status.st_size} {status.st_mtime_ns}"


def _remote_traces(path: str, place: UPath) -> Iterator[str]:
    info = _info(path, place)
    if info is None:
        raise InputError(f"{path}: there is no such file: check the address")
    found = {place.path: info}
    if info["type"] != "file":
        with reaching(path):
            found = place.fs.find(place.path, detail=True)
    for name in sorted(found):
        traces = [f"{trace}={found[name][trace]}" for trace in _TRACES if found[name].get(trace) is not None]
        yield f"\n{name} {found[name].get('size')} {' '.join(traces)}"


def _info(path: str, place: Location) -> dict[str, Any] | None:
    assert isinstance(place, UPath)
    try:
        with reaching(path):
            info: dict[str, Any] = place.fs.info(place.path)
    except FileNotFoundError as error:
        # Of a web server that does not answer HTTPFileSystem says that there is no such file.
        cause = error.__cause__
        if cause is not None and not isinstance(cause, FileNotFoundError) and getattr(cause, "status", 0) != _GONE:
            with reaching(path):
                raise cause from None
        return None
    return info
