"""NumPy files: ``.npy``, and the array format that ``.npz`` archives share with them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from specscale.embeddings.matrices import check_floating, matrix_shape
from specscale.errors import InputError
from specscale.places.listing import fingerprint, is_remote, suffix
from specscale.places.sequential import open_binary
from specscale.sources.base import ArrayShard, Batch, Format

_MOST_HEADER = 1 << 18  # bytes; records of many fields have long headers
# Bytes of the length of a header, and what reads it, by the version of the format.
_READERS = MappingProxyType(
    {(1, 0): (2, npy_format.read_array_header_1_0), (2, 0): (4, npy_format.read_array_header_2_0)}
)


@dataclass(frozen=True)
class ArrayHeader:
    """
    What stands before the numbers of a saved array.

    Attributes
    ----------
    shape
        As saved.
    fortran
        Whether columns, not rows, are contiguous.
    dtype
        Type of one element.
    offset
        Where the numbers begin, in bytes.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def end(self) -> int:
        """Where the numbers end, in bytes."""
        return self.offset + int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def read_header(path: str, file: IO[bytes]) -> ArrayHeader:
    """
    Read the header of a saved array.

    Parameters
    ----------
    path
        Named in errors.
    file
        Open at the beginning of the array; left at its numbers.

    Returns
    -------
    ArrayHeader
        Nothing of it is checked but its syntax.

    Raises
    ------
    InputError
        The bytes are not those of a saved array.
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
    return ArrayHeader(shape, fortran, dtype, file.tell())


def check_size(path: str, header: ArrayHeader, found: int) -> None:
    """
    Refuse a file that is shorter or longer than its header says.

    Parameters
    ----------
    path
        Named in errors.
    header
        The array's header.
    found
        Size of the file in bytes.

    Raises
    ------
    InputError
        The sizes differ.
    """
    if found < header.end:
        raise InputError(
            f"{path}: the file is truncated: expected {header.end} bytes, found {found}; copy or write it again"
        )
    if found > header.end:
        raise InputError(
            f"{path}: expected {header.end} bytes, found {found}: more follows the array (was it saved in several"
            " pieces?); write one array to one file"
        )


def read_rows(
    path: str, file: IO[bytes], header: ArrayHeader, shape: tuple[int, int], start: int, stop: int
) -> NDArray[Any]:
    """
    Read rows of a saved array.

    Parameters
    ----------
    path
        Named in errors.
    file
        Binary file, seekable.
    header
        The array's header.
    shape
        n × p, the shape without dimensions of size one.
    start, stop
        Rows.

    Returns
    -------
    ndarray
        (stop − start) × p, in the type of the file.

    Raises
    ------
    InputError
        The file ends early.
    """
    n, p = shape
    rows = stop - start
    itemsize = header.dtype.itemsize
    # A memory map would let the resident size grow with the file; plain reads do not.
    if not header.fortran:
        block = np.empty((rows, p), header.dtype)
        file.seek(header.offset + start * p * itemsize)
        _fill(path, file, block)
        return block
    columns = np.empty((p, rows), header.dtype)
    for index in range(p):
        file.seek(header.offset + (index * n + start) * itemsize)
        _fill(path, file, columns[index])
    return columns.T


@contextmanager
def seekable(file: IO[bytes], header: ArrayHeader, forwards: bool) -> Iterator[IO[bytes]]:
    """
    Prepare a file for `read_rows`.

    Parameters
    ----------
    file
        The array.
    header
        Its header.
    forwards
        Whether the file is slow to read but from its beginning to its end.

    Yields
    ------
    file
        The file, or a temporary copy of it.
    """
    if not (forwards and header.fortran):
        yield file
        return
    # Rows of a Fortran-order array lie all over it.
    with tempfile.TemporaryFile(prefix="specscale-") as spill:
        shutil.copyfileobj(file, spill, 1 << 20)
        yield cast("IO[bytes]", spill)


def _fill(path: str, file: IO[bytes], block: NDArray[Any]) -> None:
    target = memoryview(block.reshape(-1).view(np.uint8).data)
    filled = 0
    while filled < len(target):
        count = file.readinto(target[filled:])  # type: ignore[attr-defined]
        if not count:
            raise InputError(f"{path}: the file ends early; it is damaged or has changed")
        filled += count


class NpyShard(ArrayShard):
    """
    A ``.npy`` file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        The file cannot be used.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with open_binary(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size == 0:
                raise InputError(f"{path}: the file is empty (0 bytes); write it again")
            self._header = read_header(path, file)
        self.dtype = self._header.dtype
        here = os.path.basename(path) if is_remote(path) else path
        new = f"{os.path.splitext(here)[0]}-float32.npy"
        load, save = f'numpy.load("{here}")', f'numpy.save("{new}", {{}})'
        check_floating(path, self.dtype, self._header.shape, load, save)
        self.n, self.p = matrix_shape(path, self._header.shape)
        check_size(path, self._header, size)
        self.fingerprint = fingerprint(path)

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """
        Yield the rows in order.

        Parameters
        ----------
        start
            The first row.

        Yields
        ------
        Batch
            Rows in the type of the file.
        """
        if self.p is None:
            return
        with open_binary(self.path) as source, seekable(source, self._header, is_remote(self.path)) as file:
            shape = (self.n, self.p)
            yield from self._in_batches(
                start, lambda low, high: read_rows(self.path, file, self._header, shape, low, high)
            )


NPY = Format(
    name="NumPy .npy",
    suffixes=(".npy",),
    options=frozenset(),
    matches=lambda path: suffix(path) == ".npy",
    open=lambda path, _: NpyShard(path),
)
