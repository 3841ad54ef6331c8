"""A store's rows in another order."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.base import Embedding, read_norms
from specscale.embeddings.dropped import Ids, numbered
from specscale.embeddings.intact import check_rows
from specscale.embeddings.layout import chunk_runs
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import InputError
from specscale.places.ahead import read_ahead
from specscale.places.files import Location, absolute, is_local, read_into, write_whole

__all__ = ["ReorderedEmbedding", "name_row", "origin_of", "rows_of_origin"]


@dataclass(frozen=True)
class _Described:
    """What other processes need of an array that was reordered: they read the file alone."""

    name: str
    source: str
    p: int
    dtype: np.dtype[Any]
    digest: str
    ids: Ids | None

    def check_unchanged(self) -> None:
        """Do nothing: the array is held by another process."""


class ReorderedEmbedding:
    """The rows of an embedding written once in the order of another, into a file of their own.

    Rows without a partner are zero and never take part. It is sent to other processes as the place of its file and its
    store: they open both there.

    Attributes
    ----------
    partners : (n,) the row of `origin` for each row, −1 without one; not known in other processes
    """

    partners: NDArray[np.int64]

    def __init__(self, store: Embedding | _Described, path: Location, n: int) -> None:
        self._store = store
        self._path = path
        self.n = n
        self.p, self.dtype = store.p, store.dtype
        self.name, self.source = store.name, store.source
        self.digest, self.ids = store.digest, store.ids
        self.remote = not is_local(path)
        self._row_bytes = self.p * self.dtype.itemsize

    @classmethod
    def write(
        cls, store: Embedding, rows_in_a: NDArray[np.int64], n: int, work: Location, number: int = 1
    ) -> ReorderedEmbedding:
        """Write each row of `store` to its row of the first embedding, where it has one, into a file in `work`.

        Parameters
        ----------
        store : the embedding
        rows_in_a : (store.n,) the row of the first embedding for each row, −1 where there is none
        n : rows of the first embedding
        work : where the file is written; a remote one is written to a temporary file of this machine first
        number : the embedding's place among those that are compared, after which the file is named
        """
        path = work / f"reordered-{number}.raw"
        reordered = cls(store, path, n)
        reordered.partners = np.full(n, -1, dtype=np.int64)
        there = np.flatnonzero(rows_in_a >= 0)
        reordered.partners[rows_in_a[there]] = there
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
            reordered._write(store, path, rows_in_a)
            return reordered
        with tempfile.TemporaryDirectory(prefix="specscale-") as folder:  # objects are written from front to back
            local = Path(folder) / path.name
            reordered._write(store, local, rows_in_a)
            write_whole(path, np.memmap(local, dtype=np.uint8, mode="r"))
        return reordered

    @property
    def origin(self) -> Embedding:
        """The embedding that was reordered."""
        assert not isinstance(self._store, _Described)
        return self._store

    def _write(self, store: Embedding, path: Path, rows_in_a: NDArray[np.int64]) -> None:
        runs = list(chunk_runs(store.n))
        blocks = read_ahead(lambda run: store.read(*run), runs, 2 if store.remote else 1)
        with path.open("wb") as file:
            file.truncate(self.n * self._row_bytes)
            for (start, stop), block in zip(runs, blocks, strict=True):
                check_rows(store, start, block)
                targets = rows_in_a[start:stop]
                for i in np.argsort(targets, kind="stable"):
                    if targets[i] >= 0:
                        os.pwrite(file.fileno(), block[i].data, int(targets[i]) * self._row_bytes)

    def __reduce__(self) -> tuple[Any, ...]:
        store = self._store
        if not isinstance(store, EmbeddingStore):
            store = _Described(self.name, self.source, self.p, self.dtype, self.digest, self.ids)
        return _opened_elsewhere, (store, absolute(self._path), self.n, self.source)

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return rows ``start:stop`` in the new order, shape (stop − start, p)."""
        if out is None:
            out = np.empty((stop - start, self.p), dtype=self.dtype)
        view = out.reshape(-1).view(np.uint8).data
        try:
            count = read_into(self._path, start * self._row_bytes, view)
        except FileNotFoundError:
            raise InputError(f"{self._path}: the file is gone: run the comparison again with --overwrite") from None
        if count < len(view):
            raise InputError(f"{self._path}: the file is truncated: run the comparison again with --overwrite")
        return out

    def norms(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the norms of rows ``start:stop`` in the new order."""
        return read_norms(self, start, stop)

    def rows(self, indices: Any, columns: Any = None) -> None:
        """Return None: the texts shown are those of the store."""

    def source_rows(self, rows: Sequence[int]) -> NDArray[np.int64]:
        """Return the numbers in the source of the embedding's own rows that are here at `rows`, which have one."""
        return numbered(self.origin, self.partners[np.asarray(rows, dtype=np.int64)])

    def check_unchanged(self) -> None:
        """Raise ChangedError when the store is no longer the one that was reordered."""
        self._store.check_unchanged()


def origin_of(embedding: Embedding) -> Embedding:
    """The embedding whose rows these are, in its own order."""
    return embedding.origin if isinstance(embedding, ReorderedEmbedding) else embedding


def rows_of_origin(embedding: Embedding) -> NDArray[np.int64] | None:
    """The row of its origin for each row of an embedding, −1 without one; None where it is in its own order."""
    return embedding.partners if isinstance(embedding, ReorderedEmbedding) else None


def name_row(embedding: Embedding, row: int) -> str:
    """What to call a row of an embedding in a message: by its number in the source, where rows were dropped too."""
    partners = rows_of_origin(embedding)
    own = row if partners is None else int(partners[row])
    number = int(numbered(origin_of(embedding), np.array([own]))[0])
    if number < 0:
        return f"row {own} of the store, whose number in the source is not known,"
    return f"row {own}" if number == own else f"row {number} of its source (row {own} of the store)"


def _opened_elsewhere(store: EmbeddingStore | _Described, path: Location, n: int, source: str) -> ReorderedEmbedding:
    """Open a file that another process has written, and make sure that it can be seen whole."""
    reordered = ReorderedEmbedding(store, path, n)
    reordered.source = source
    try:
        reordered.read(n - 1, n)
    except InputError as error:
        raise InputError(
            f"{error} (on {platform.node()}; every process of a run reads OUT.work itself, on a file system that all "
            "machines share or in an object store)"
        ) from None
    return reordered
