"""What a source of vectors offers, and what every format checks alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.embeddings.holes import Absent
from specscale.sources.choosing import Choice

BATCH_BYTES = 16 << 20


@dataclass(frozen=True)
class Batch:
    """
    Consecutive rows of a source.

    Attributes
    ----------
    start
        The first row, counted over the whole source (over the file, where a shard yields it).
    vectors
        b × p, in the floating-point type of the file.
    columns
        The samples' own columns, b rows; ``None`` where the source has none.
    where
        The file the rows come from.
    null
        b flags: the vector, or an element of it, is null. ``None`` where the format has no nulls. Nulls read as NaN.
    absent
        What of the vectors is in a chunk that is not there, and reads as a fill value; ``None`` where nothing is.
    missing
        What null means, for messages.
    """

    start: int
    vectors: NDArray[Any]
    columns: pa.Table | None
    where: str
    null: NDArray[np.bool_] | None = None
    absent: Absent | None = None
    missing: str = "null"


class Shard(Protocol):
    """
    One file of vectors: what a format implements.

    Attributes
    ----------
    path
        The file, as the user names it.
    n
        Rows.
    p
        Dimensions; ``None`` where a file without rows does not tell.
    dtype
        Floating-point type of the vectors, in the machine's byte order or not.
    offered
        The samples' own columns.
    schema
        Those of them that ride along; ``None`` where there are none.
    vectors
        Names of the columns that the vectors are taken from; none where the format has no columns.
    notes
        What is done to the numbers of the file, in words.
    dropped, dropped_rows
        Rows that were left out when the file was made, and their numbers in what it was made of, ascending; ``None``
        where these are not known.
    fingerprint
        Changes when the file does; cheap.
    """

    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def n(self) -> int: ...  # noqa: D102
    @property
    def p(self) -> int | None: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    @property
    def offered(self) -> pa.Schema: ...  # noqa: D102
    @property
    def schema(self) -> pa.Schema | None: ...  # noqa: D102
    @property
    def vectors(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def dropped(self) -> int: ...  # noqa: D102
    @property
    def dropped_rows(self) -> NDArray[np.int64] | None: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    def ride(self, choice: Choice) -> None:
        """Choose the columns that ride along."""
        ...

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yield the rows from `start` on, in order, in batches of bounded size."""
        ...

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the given columns of all rows, in order, without reading the vectors."""
        ...

    def dimension(self, index: int) -> str:
        """Name a dimension of the vectors as the user knows it."""
        ...


class ArrayShard:
    """
    An array of numbers: a `Shard` whose format names neither dimensions nor columns, but for what a subclass says.

    A subclass sets ``path``, ``n``, ``p``, ``dtype`` and ``fingerprint``.
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

    def ride(self, choice: Choice) -> None:
        """Choose the columns that ride along."""
        riders = choice.riding(self.offered, nested=True)
        self.schema = riders if len(riders) else None

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield nothing: there are no columns."""
        return iter(())

    def dimension(self, index: int) -> str:
        """Name a dimension of the vectors."""
        return f"column {index}"

    def _in_batches(self, start: int, read: Callable[[int, int], NDArray[Any]]) -> Iterator[Batch]:
        """Yield the rows from `start` on as `read` gives them, ``low`` to ``high``, a batch at a time."""
        assert self.p is not None
        step = batch_rows(self.p, self.dtype)
        for low in range(start, self.n, step):
            yield Batch(low, read(low, min(low + step, self.n)), None, self.path)


class Source(Protocol):
    """
    An embedding as the user has it: one file, or many.

    Attributes
    ----------
    name
        A name for the model, from the name of the file or directory.
    n, p
        Rows and dimensions.
    dtype
        The floating-point type that holds the vectors of all files.
    paths
        The files, in order.
    schema
        The columns that ride along; ``None`` where there are none.
    offered
        Names of all columns beside the vectors.
    vectors
        Names of the columns that the vectors are in; empty where they are not in columns.
    fingerprint
        Changes when a file, or the list of files, does.
    notes
        What is done to the numbers that the files hold, a line each.
    dropped, dropped_rows
        Rows that were left out when the files were made, as of `Shard`, and their numbers over all files.
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
    """
    A kind of file that can be read.

    Attributes
    ----------
    name
        As error messages call it.
    suffixes
        Lower-case suffixes of its files.
    options
        The options it understands, a subset of ``key`` and ``vector``.
    matches
        Whether a path is of this kind.
    open
        Opens a path, given its ``key`` or ``vector`` option.
    """

    name: str
    suffixes: tuple[str, ...]
    options: frozenset[str]
    matches: Callable[[str], bool]
    open: Callable[[str, str | None], Shard]


def batch_rows(p: int, dtype: np.dtype[Any]) -> int:
    """
    Rows to read at a time.

    Parameters
    ----------
    p
        Dimensions.
    dtype
        Type of one element.

    Returns
    -------
    int
        At least 1; otherwise as many as fit in ``BATCH_BYTES``.
    """
    return max(1, BATCH_BYTES // max(1, p * dtype.itemsize))
