"""NumPy files: ``.npy``, and the array format that ``.npz`` archives share with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from specscale.errors import InputError
from specscale.stores.sources.base import Batch, Format, batch_rows, check_floating, matrix_shape
from specscale.stores.sources.paths import fingerprint, suffix


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
        if version == (1, 0):
            shape, fortran, dtype = npy_format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = npy_format.read_array_header_2_0(file)
        else:
            raise InputError(f"{path}: version {version[0]}.{version[1]} of the .npy format is not read; save it again")
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not a NumPy array file, or damaged; write it again with numpy.save") from error
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


def _fill(path: str, file: IO[bytes], block: NDArray[Any]) -> None:
    target = memoryview(block.reshape(-1).view(np.uint8).data)
    filled = 0
    while filled < len(target):
        count = file.readinto(target[filled:])  # type: ignore[attr-defined]
        if not count:
            raise InputError(f"{path}: the file ends early; it is damaged or has changed")
        filled += count


class NpyShard:
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

    schema: pa.Schema | None = None

    def __init__(self, path: str) -> None:
        self.path = path
        size = os.path.getsize(path)
        if size == 0:
            raise InputError(f"{path}: the file is empty (0 bytes); write it again")
        with open(path, "rb") as file:
            self._header = read_header(path, file)
        self.dtype = self._header.dtype
        check_floating(path, self.dtype)
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
        with open(self.path, "rb") as file:
            step = batch_rows(self.p, self.dtype)
            for low in range(start, self.n, step):
                high = min(low + step, self.n)
                vectors = read_rows(self.path, file, self._header, (self.n, self.p), low, high)
                yield Batch(low, vectors, None, self.path)

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield nothing: an array has no columns of other kinds."""
        return iter(())

    def dimension(self, index: int) -> str:
        """Name a dimension."""
        return f"column {index}"


NPY = Format(
    name="NumPy .npy",
    suffixes=(".npy",),
    options=frozenset(),
    matches=lambda path: suffix(path) == ".npy",
    open=lambda path, _: NpyShard(path),
)
