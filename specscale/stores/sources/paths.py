"""From what the user typed to files: directories, globs, natural order, fingerprints."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Callable, Collection, Sequence

from specscale.errors import InputError


def expand(paths: Sequence[str], suffixes: Collection[str], is_leaf: Callable[[str], bool]) -> list[str]:
    """
    List the files that some paths stand for.

    Parameters
    ----------
    paths
        Files, directories and globs. The contents of a directory and the matches of a glob come in natural order
        (``2.npy`` before ``10.npy``), and so do files listed in the order in which a shell expands a glob; files listed
        in any other order keep it.
    suffixes
        The lower-case suffixes of the files to take from a directory.
    is_leaf
        Says of a directory whether it is one input itself rather than a collection of files.

    Returns
    -------
    list of str
        At least one path.

    Raises
    ------
    InputError
        A path does not exist, a glob matches nothing, a directory holds nothing suitable.
    """
    files: list[str] = []
    if list(paths) == sorted(paths):  # a shell puts 10.npy before 2.npy, and metadata would meet the wrong rows
        paths = sorted(paths, key=natural_key)
    for path in paths:
        if os.path.isfile(path) or is_leaf(path):
            files.append(path)
        elif os.path.isdir(path):
            files.extend(_listing(path, suffixes))
        elif glob.has_magic(path):
            matches = [match for match in glob.glob(path, recursive=True) if os.path.isfile(match) or is_leaf(match)]
            if not matches:
                raise InputError(f"{path}: no file matches this pattern")
            files.extend(sorted(matches, key=natural_key))
        else:
            raise InputError(f"{path}: no such file or directory; check the spelling")
    return files


def natural_key(name: str) -> tuple[str | int, ...]:
    """
    Sort key under which numbers inside names count as numbers.

    Parameters
    ----------
    name
        A file or column name.

    Returns
    -------
    tuple
        Text and numbers in turn; the name itself last, so that ``01`` and ``1`` have a fixed order.
    """
    parts = re.split(r"([0-9]+)", name)
    return (*(int(part) if index % 2 else part for index, part in enumerate(parts)), name)


def fingerprint(path: str) -> str:
    """
    Recognise a file or directory again without reading it.

    Parameters
    ----------
    path
        A file, or a directory, which is walked.

    Returns
    -------
    str
        A digest of absolute paths, sizes and modification times.
    """
    digest = hashlib.blake2b(os.path.abspath(path).encode("utf-8", "surrogateescape"), digest_size=16)
    files = [path]
    if os.path.isdir(path):
        files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    for file in files:
        status = os.stat(file)
        entry = f"\n{os.path.relpath(file, path)} {status.st_size} {status.st_mtime_ns}"
        digest.update(entry.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def suffix(path: str) -> str:
    """
    Return the lower-case suffix of a path.

    Parameters
    ----------
    path
        Any path.

    Returns
    -------
    str
        With its dot, as in ``".npy"``; empty where there is none.
    """
    return os.path.splitext(path.rstrip("/"))[1].lower()


def _listing(directory: str, suffixes: Collection[str]) -> list[str]:
    # Hidden files are left behind by file managers and copy programs, with the suffix of the file they shadow.
    names = [name for name in os.listdir(directory) if suffix(name) in suffixes and not name.startswith(".")]
    files = [os.path.join(directory, name) for name in sorted(names, key=natural_key)]
    files = [file for file in files if os.path.isfile(file)]
    if not files:
        raise InputError(f"{directory}: this directory holds no {' or '.join(sorted(suffixes))} file")
    return files
