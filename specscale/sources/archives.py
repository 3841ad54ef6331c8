"""Zip archives that anybody may have made: what their directory claims is looked at before it is read or unpacked."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Sequence
from typing import IO

__all__ = ["check_directory", "check_members"]

_MOST_DIRECTORY = 2 << 20  # bytes, some ten thousands of arrays
_TAIL = 22 + (1 << 16)  # the end of the directory and the longest comment
_MOST_RATIO = 1100  # deflate packs no more than 1,032 bytes into one
_HEADER = 30  # bytes before the name of a member


def check_directory(file: IO[bytes]) -> None:
    """Refuse an archive whose directory would fill the memory.

    Parameters
    ----------
    file : the archive, left at its beginning

    Raises
    ------
    zipfile.BadZipFile
        When the directory is too long.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    file.seek(0)
    begin = tail.rfind(b"PK\5\6", 0, len(tail) - 18)
    if begin < 0:
        return  # no archive, as zipfile will say
    (length,) = struct.unpack_from("<L", tail, begin + 12)
    wide = tail.rfind(b"PK\6\6", 0, begin)
    if wide >= 0 and len(tail) >= wide + 48:
        length = max(length % 0xFFFF_FFFF, struct.unpack_from("<Q", tail, wide + 40)[0])
    if length > _MOST_DIRECTORY:
        raise zipfile.BadZipFile(f"its directory of {length:,} bytes is too long")


def check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse members that lie in one another, or claim what they cannot hold.

    Parameters
    ----------
    members : what it holds

    Raises
    ------
    zipfile.BadZipFile
        When a member cannot be unpacked to what it claims, or could be to far more.
    """
    end = 0
    for one in sorted(members, key=lambda one: one.header_offset):
        if one.header_offset < end:
            raise zipfile.BadZipFile("its members overlap")
        end = one.header_offset + _HEADER + len(one.orig_filename) + one.compress_size
        if one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile("it is packed as NumPy packs nothing")
        if one.file_size > _MOST_RATIO * one.compress_size + 1024:
            raise zipfile.BadZipFile("it claims more than it can hold")
