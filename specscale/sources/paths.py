"""From what the user typed to files: directories, globs, natural order."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from specscale.embeddings.layout import store_attributes
from specscale.errors import InputError
from specscale.places.files import located
from specscale.places.listing import entries, fingerprint, has_magic, is_remote, joined, kind, matches, suffix
from specscale.sources.conversions import no_vectors_in
from specscale.sources.folders import files_below

__all__ = ["expand", "fingerprint", "is_source", "natural_key", "suffix"]

_MARKS = ("_SUCCESS", "_metadata", "_common_metadata")  # what writers leave beside their files


def expand(paths: Sequence[str], suffixes: Mapping[str, str], is_leaf: Callable[[str], bool]) -> list[str]:
    """List the files that some paths stand for.

    Parameters
    ----------
    paths : files, directories and globs, local or URLs; the contents of a directory and the matches of a glob come in
        natural order (``2.npy`` before ``10.npy``), and so do files listed in the order in which a shell expands a
        glob; files listed in any other order keep it; a file whose name has the signs of a pattern is that file; of a
        directory the files in it are taken; where there are none, those of the folders in it, if they make one
        collection
    suffixes : the lower-case suffixes of the files to take from a directory, and the kind of file of each
    is_leaf : says of a directory whether it is one input itself rather than a collection of files

    Returns
    -------
    list of str
        At least one path.

    Raises
    ------
    InputError
        When a path does not exist, a glob matches nothing, a directory holds nothing suitable or several collections.
    """
    files: list[str] = []
    if list(paths) == sorted(paths):  # a shell puts 10.npy before 2.npy, and metadata would meet the wrong rows
        paths = sorted(paths, key=natural_key)
    for given in paths:
        path = given.removeprefix("file://")
        found = kind(path)
        if found == "file" or (found == "folder" and is_leaf(path)):
            files.append(path)
        elif found == "folder":
            files.extend(_listing(path, suffixes))
        elif has_magic(path):
            files.extend(_matching(path, is_leaf))
        elif is_remote(path):
            raise InputError(f"{path}: there is no such file or folder: check the address")
        else:
            raise InputError(f"{path}: no such file or directory; check the spelling")
    return files


def is_source(path: str) -> bool:
    """Whether a path is something to be ingested: a file, a folder or a pattern, and no embedding store.

    Parameters
    ----------
    path : a path or a URL

    Returns
    -------
    bool
        False where nothing is at the path and it is no pattern.
    """
    if "?" in path and is_remote(path) and not has_magic(path):
        return True  # a web address with a query, behind which there are no folders
    return store_attributes(located(path)) is None and (has_magic(path) or kind(path) is not None)


def natural_key(name: str) -> tuple[str | int, ...]:
    """Sort key under which numbers inside names count as numbers.

    Parameters
    ----------
    name : a file or column name

    Returns
    -------
    tuple
        Text and numbers in turn; the name itself last, so that ``01`` and ``1`` have a fixed order.
    """
    parts = re.split(r"([0-9]+)", name)
    return (*(int(part) if index % 2 else part for index, part in enumerate(parts)), name)


def _matching(pattern: str, is_leaf: Callable[[str], bool]) -> list[str]:
    found = matches(pattern)
    if not any(part.startswith("_") for part in pattern.split("/")):
        found = [path for path in found if not _is_mark(path)]
    files = [path for path in found if kind(path) == "file" or is_leaf(path)]
    if not files:
        raise InputError(f"{pattern}: no file matches this pattern")
    return sorted(files, key=natural_key)


def _is_mark(path: str) -> bool:
    """Whether a writer left a file beside its files, or in a folder of unfinished work."""
    *folders, name = path.split("/")
    return name.endswith(".crc") or name in _MARKS or any(one.startswith("_temporary") for one in folders)


def _listing(directory: str, suffixes: Mapping[str, str]) -> list[str]:
    # Hidden files are left behind by file managers and copy programs, with the suffix of the file they shadow.
    names = [name for name in entries(directory)[0] if suffix(name) in suffixes and not name.startswith(".")]
    # So are those with an underscore by Spark; who names all files so means them.
    names = [name for name in names if not name.startswith("_")] or names
    if names:
        return [joined(directory, name) for name in sorted(names, key=natural_key)]
    files = files_below(directory, suffixes)
    if not files:
        raise InputError(no_vectors_in(directory, suffixes))
    return sorted(files, key=natural_key)
