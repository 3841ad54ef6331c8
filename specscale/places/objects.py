"""Objects of a remote file system by their exact keys.

``fsspec`` reads ``[``, ``?`` and ``*`` in what it is told to remove or copy as patterns, in lists of paths as well, and
so would remove the objects of others that match. Only its calls for a single file take a key as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

__all__ = ["copy", "remove", "remove_tree"]


def remove(fs: Any, keys: Iterable[str], at_once: int) -> None:
    """Remove some objects; one that is not there is passed over.

    Parameters
    ----------
    fs : the file system
    keys : their paths on it
    at_once : requests that are under way together
    """

    def one(key: str) -> None:
        with suppress(FileNotFoundError):
            fs.rm_file(key)

    _each(one, ((key,) for key in keys), at_once if fs.async_impl else 1)


def remove_tree(fs: Any, path: str, at_once: int) -> None:
    """Remove all objects in a folder, or the one of this path, and the folders where the file system has any.

    Parameters
    ----------
    fs : the file system
    path : the folder
    at_once : requests that are under way together
    """
    remove(fs, fs.find(path), at_once)
    if not fs.async_impl:  # object stores, whose requests do not wait for one another, have no folders
        for folder in sorted(fs.find(path, withdirs=True), reverse=True):
            with suppress(OSError):
                fs.rmdir(folder)


def copy(fs: Any, pairs: Iterable[tuple[str, str]], at_once: int) -> None:
    """Copy some objects, each from one path to another; parameters as in `remove`."""
    _each(fs.cp_file, pairs, at_once if fs.async_impl else 1)


def _each(call: Callable[..., None], arguments: Iterable[tuple[str, ...]], at_once: int) -> None:
    with ThreadPoolExecutor(at_once, thread_name_prefix="specscale-objects") as pool:
        for _ in pool.map(lambda given: call(*given), arguments):
            pass
