"""What a source of vectors offers: its rows in batches, the columns beside them, and the kinds of files there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.embeddings.holes import Absent
from specscale.places.listing import suffix
from specscale.sources.choosing import Choice

BATCH_BYTES = 16 << 20


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of a source.

    Attributes
    ----------
    start : the first row, counted over the whole source (over the file, where a shard yields it)
    vectors : b × p, in the floating-point type of the file
    columns : the samples' own columns, b rows; None where the source has none
    where : the file the rows come from
    null : b flags: the vector, or an element of it, is null; None where the format has no nulls; nulls read as NaN
    absent : what of the vectors is in a chunk that is not there, and reads as a fill value; None where nothing is
    missing : what null means, for messages
    """

    start: int
    vectors: NDArray[Any]
    columns: pa.Table | None
    where: str
    null: NDArray[np.bool_] | None = None
    absent: Absent | None = None
    missing: str = "null"


class Shard(ABC):
    """One file of vectors: what a format implements, as a `arrays.ArrayShard` or a `batches.BatchShard`.

    Attributes
    ----------
    path : the file, as the user names it
    n : rows
    p : dimensions; None where a file without rows does not tell
    dtype : floating-point type of the vectors, in the machine's byte order or not
    fingerprint : changes when the file does; cheap
    offered : the samples' own columns
    schema : those of them that ride along; None where there are none
    vectors : names of the columns that the vectors are taken from; none where the format has no columns
    notes : what is done to the numbers of the file, in words
    dropped, dropped_rows : rows that were left out when the file was made, and their numbers in what it was made of,
        ascending; None where these are not known
    """

    path: str
    n: int
    p: int | None
    dtype: np.dtype[Any]
    fingerprint: str
    offered: pa.Schema = pa.schema([])
    schema: pa.Schema | None = None
    vectors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dropped: int = 0
    dropped_rows: NDArray[np.int64] | None = np.zeros(0, dtype=np.int64)

    @abstractmethod
    def ride(self, choice: Choice) -> None:
        """Choose the columns that ride along."""

    @abstractmethod
    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yield the rows from `start` on, in order, in batches of bounded size."""

    @abstractmethod
    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the given columns of all rows, in order, without reading the vectors."""

    @abstractmethod
    def dimension(self, index: int) -> str:
        """Name a dimension of the vectors as the user knows it."""


class Source(Protocol):
    """An embedding as the user has it: one file, or many.

    Attributes
    ----------
    name : a name for the model, from the name of the file or directory
    n, p : rows and dimensions
    dtype : the floating-point type that holds the vectors of all files
    paths : the files, in order
    schema : the columns that ride along; None where there are none
    offered : names of all columns beside the vectors
    vectors : names of the columns that the vectors are in; empty where they are not in columns
    fingerprint : changes when a file, or the list of files, does
    notes : what is done to the numbers that the files hold, a line each
    dropped, dropped_rows : rows that were left out when the files were made, as of `Shard`, and their numbers over all
        files
    """

    name: str
    n: int
    p: int
    dtype: np.dtype[Any]
    paths: tuple[str, ...]
    schema: pa.Schema | None
    offered: list[str]
    vectors: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...]
    dropped: int
    dropped_rows: NDArray[np.int64] | None

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yield the rows from `start` on, in order, in batches of bounded size."""
        ...

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the given columns of all rows, in order, without reading the vectors."""
        ...

    def locate(self, row: int) -> str:
        """Say where a row comes from, as in ``"shard_2.npy, row 17"`` (rows count from 0)."""
        ...

    def dimension(self, index: int) -> str:
        """Name a dimension of the vectors as the user knows it."""
        ...


@dataclass(frozen=True)
class Format:
    """A kind of file that can be read.

    Attributes
    ----------
    name : as error messages call it
    suffixes : lower-case suffixes of its files
    open : opens a path, given those of its options that the user gave
    options : names of the options that it understands
    is_folder : whether a folder is of this kind, where its vectors are not in a file
    """

    name: str
    suffixes: tuple[str, ...]
    open: Callable[..., Shard]
    options: frozenset[str] = frozenset()
    is_folder: Callable[[str], bool] | None = None

    def matches(self, path: str) -> bool:
        """Whether a path is of this kind."""
        return self.is_folder(path) if self.is_folder is not None else suffix(path) in self.suffixes


def batch_rows(p: int, dtype: np.dtype[Any]) -> int:
    """Rows to read at a time.

    Parameters
    ----------
    p : dimensions
    dtype : type of one element

    Returns
    -------
    int
        At least 1; otherwise as many as fit in ``BATCH_BYTES``.
    """
    return max(1, BATCH_BYTES // max(1, p * dtype.itemsize))
