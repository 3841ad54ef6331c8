"""JSON that anybody may have written: no more of it is read than what is written here ever holds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from specscale.places.files import Location, reaching

__all__ = ["parse_json", "read_at_most", "read_document", "read_json"]

_MOST_BYTES = 64 << 20
_MOST_VALUES = 4_000_000  # each takes some hundred bytes at most
_DEEPEST = 64


def read_json(place: Location) -> Any:
    """Read a file of JSON.

    Parameters
    ----------
    place : the file

    Raises
    ------
    FileNotFoundError, NotADirectoryError, IsADirectoryError
        When there is no such file.
    ValueError
        When it is no JSON, longer or deeper than such files are.
    InputError
        When the object store cannot be reached.
    """
    return parse_json(read_document(place))


def read_document(place: Location) -> bytes:
    """Read a file of JSON as it is, and no more of it than :func:`parse_json` takes."""
    return read_at_most(place, _MOST_BYTES + 1)


def parse_json(content: bytes) -> Any:
    """Return what JSON holds.

    Raises
    ------
    ValueError
        When it is no JSON, longer or deeper than what is written here.
    """
    if len(content) > _MOST_BYTES:
        raise ValueError(f"longer than {_MOST_BYTES >> 20} MB")
    if sum(map(content.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise ValueError(f"more than {_MOST_VALUES:,} values")
    try:
        value = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level := [one for each in level for one in _inside(each)]:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")


def _inside(value: Any) -> Any:
    """The lists and objects in a value."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [one for one in members if isinstance(one, (dict, list))]


def read_at_most(place: Location, most: int) -> bytes:
    """Read the beginning of a file.

    Parameters
    ----------
    place : the file
    most : bytes

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is a pipe, which might never end.
    InputError
        When the object store cannot be reached.
    """
    if isinstance(place, Path):
        if place.is_fifo():
            raise ValueError("a pipe, no file")
        with place.open("rb") as file:
            return file.read(min(most, os.fstat(file.fileno()).st_size + 1))  # room for as much is made beforehand
    with reaching(place):
        try:
            return bytes(place.fs.cat_file(place.path, start=0, end=most)[:most])
        except OSError as error:
            if not isinstance(error, FileNotFoundError) and "range" in str(error).lower():  # there is not one byte
                return b""
            raise
