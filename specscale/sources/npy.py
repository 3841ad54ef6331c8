"""NumPy files: ``.npy``, and the header that arrays in ``.npz`` archives have as well."""

from __future__ import annotations

import os
from io import BytesIO
from types import MappingProxyType
from typing import IO

from numpy.lib import format as npy_format

from specscale.errors import InputError
from specscale.places.listing import fingerprint, is_remote
from specscale.places.sequential import open_binary
from specscale.sources.arrays import Extent, ExtentShard
from specscale.sources.base import Format

_MOST_HEADER = 1 << 18  # bytes; records of many fields have long headers
# Bytes of the length of a header, and what reads it, by the version of the format.
_READERS = MappingProxyType(
    {(1, 0): (2, npy_format.read_array_header_1_0), (2, 0): (4, npy_format.read_array_header_2_0)}
)


def read_header(path: str, file: IO[bytes]) -> Extent:
    """Read the header of a saved array.

    Parameters
    ----------
    path : named in errors
    file : open at the beginning of the array; left at its numbers

    Returns
    -------
    Extent
        Nothing of it is checked but its syntax.

    Raises
    ------
    InputError
        When the bytes are not those of a saved array.
    """
    try:
        version = npy_format.read_magic(file)
        if version not in _READERS:
            raise InputError(f"{path}: version {version[0]}.{version[1]} of the .npy format is not read; save it again")
        width, read = _READERS[version]
        length = file.read(width)
        if int.from_bytes(length, "little") > _MOST_HEADER:  # numpy reads it first, and then looks how long it is
            raise ValueError("the header is too long")
        header = BytesIO(length + file.read(int.from_bytes(length, "little")))
        shape, fortran, dtype = read(header, max_header_size=_MOST_HEADER)
    except InputError:
        raise
    except Exception as error:  # the header is parsed as Python, whose parser raises what it likes
        raise InputError(
            f"{path}: not a NumPy array file, or damaged; write it again with numpy.save; of raw numbers, as of a "
            "numpy.memmap, with numpy.save(NEW, numpy.fromfile(FILE, TYPE).reshape(-1, P)), P dimensions"
        ) from error
    return Extent(shape, fortran, dtype, file.tell())


class NpyShard(ExtentShard):
    """A ``.npy`` file.

    Parameters
    ----------
    path : the file

    Raises
    ------
    InputError
        When the file cannot be used.
    """

    def __init__(self, path: str) -> None:
        with open_binary(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size == 0:
                raise InputError(f"{path}: the file is empty (0 bytes); write it again")
            extent = read_header(path, file)
        here = os.path.basename(path) if is_remote(path) else path
        load, save = f'numpy.load("{here}")', f'numpy.save("{os.path.splitext(here)[0]}-float32.npy", {{}})'
        super().__init__(path, extent, size, fingerprint(path), load=load, save=save)


NPY = Format("NumPy .npy", (".npy",), NpyShard)
