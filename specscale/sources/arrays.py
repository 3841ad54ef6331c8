"""What all formats of arrays share: vectors are the rows of an array, and nothing is beside them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.embeddings.matrices import check_floating, matrix_shape
from specscale.errors import InputError
from specscale.places.listing import is_remote
from specscale.places.sequential import open_binary
from specscale.sources.base import Batch, Shard, batch_rows
from specscale.sources.choosing import Choice

__all__ = ["ArrayShard", "Extent", "ExtentShard", "ReadRows"]

ReadRows = Callable[[int, int], NDArray[Any]]


class ArrayShard(Shard):
    """An array whose rows are read a few at a time; its dimensions have numbers, and its rows no columns.

    A format opens its file in `reading`; one whose rows have more to them has `batches` of its own instead.

    Parameters
    ----------
    path : the file
    shape : of the array: (n, p), or (n, 1, p)
    dtype : its type
    fingerprint : changes when the file does
    label : what to call the array in messages; by default the file
    load, save : expressions of Python that load the array, and that save another, for messages; see `check_floating`

    Raises
    ------
    InputError
        When the array does not hold vectors of floating-point numbers.
    """

    def __init__(
        self,
        path: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        fingerprint: str,
        *,
        label: str | None = None,
        load: str = "x",
        save: str = "{}",
    ) -> None:
        self.path = path
        self.dtype = dtype
        check_floating(label or path, dtype, shape, load, save)
        self.n, self.p = matrix_shape(label or path, shape)
        self.fingerprint = fingerprint

    def reading(self) -> AbstractContextManager[ReadRows]:
        """Open the array; return what reads its rows from one to before another, in the type of the array."""
        raise NotImplementedError

    def ride(self, choice: Choice) -> None:
        """Choose the columns that ride along."""
        riders = choice.riding(self.offered, nested=True)
        self.schema = riders if len(riders) else None

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yield the rows from `start` on, in order, in batches of bounded size."""
        if self.p is None:
            return
        step = batch_rows(self.p, self.dtype)
        with self.reading() as read:
            for low in range(start, self.n, step):
                yield Batch(low, read(low, min(low + step, self.n)), None, self.path)

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield nothing: there are no columns."""
        return iter(())

    def dimension(self, index: int) -> str:
        """Name a dimension of the vectors."""
        return f"column {index}"


@dataclass(frozen=True)
class Extent:
    """An array as it lies in a file, its numbers one after the other.

    Attributes
    ----------
    shape : as saved
    fortran : whether columns, not rows, are contiguous
    dtype : type of one element
    offset : where the numbers begin, in bytes
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def end(self) -> int:
        """Where the numbers end, in bytes."""
        return self.offset + int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


class ExtentShard(ArrayShard):
    """An array that lies in a file as it lies in memory.

    Parameters
    ----------
    path : the file
    extent : where in it the numbers are
    size : bytes of the file
    fingerprint, names : as of `ArrayShard`

    Raises
    ------
    InputError
        When the file is shorter or longer than its header says, or the array does not hold vectors.
    """

    def __init__(self, path: str, extent: Extent, size: int, fingerprint: str, **names: str) -> None:
        super().__init__(path, extent.shape, extent.dtype, fingerprint, **names)
        self._extent = extent
        _check_size(names.get("label", path), extent.end, size)

    @contextmanager
    def reading(self) -> Iterator[ReadRows]:
        """Open the file."""
        # Rows of a Fortran-order array lie all over it; where a file is slow to read but forwards it is copied first.
        with self._opened() as source, _spilled(source, self._extent.fortran and self._is_slow()) as file:
            yield lambda low, high: self._rows(file, low, high)

    def _opened(self) -> AbstractContextManager[IO[bytes]]:
        return open_binary(self.path)

    def _is_slow(self) -> bool:
        """Whether the file is slow to read but from its beginning to its end."""
        return is_remote(self.path)

    def _rows(self, file: IO[bytes], start: int, stop: int) -> NDArray[Any]:
        # A memory map would let the resident size grow with the file; plain reads do not.
        assert self.p is not None
        rows, extent = stop - start, self._extent
        size = extent.dtype.itemsize
        if not extent.fortran:
            block = np.empty((rows, self.p), extent.dtype)
            file.seek(extent.offset + start * self.p * size)
            self._fill(file, block)
            return block
        columns = np.empty((self.p, rows), extent.dtype)
        for index in range(self.p):
            file.seek(extent.offset + (index * self.n + start) * size)
            self._fill(file, columns[index])
        return columns.T

    def _fill(self, file: IO[bytes], block: NDArray[Any]) -> None:
        target = memoryview(block.reshape(-1).view(np.uint8).data)
        filled = 0
        while filled < len(target):
            count = file.readinto(target[filled:])  # type: ignore[attr-defined]
            if not count:
                raise InputError(f"{self.path}: the file ends early; it is damaged or has changed")
            filled += count


def _check_size(label: str, expected: int, found: int) -> None:
    if found < expected:
        raise InputError(
            f"{label}: the file is truncated: expected {expected} bytes, found {found}; copy or write it again"
        )
    if found > expected:
        raise InputError(
            f"{label}: expected {expected} bytes, found {found}: more follows the array (was it saved in several"
            " pieces?); write one array to one file"
        )


@contextmanager
def _spilled(file: IO[bytes], spill: bool) -> Iterator[IO[bytes]]:
    """A file, or a temporary copy of it."""
    if not spill:
        yield file
        return
    with tempfile.TemporaryFile(prefix="specscale-") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        yield cast("IO[bytes]", copy)
