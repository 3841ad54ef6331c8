"""A store's rows in another order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.errors import InputError
from specscale.stores.embedding import EmbeddingStore, chunk_runs, read_norms

__all__ = ["ReorderedEmbedding"]


class ReorderedEmbedding:
    """The rows of a store written once in the order of another, into a file of their own.

    Rows without a partner are zero and never take part.
    """

    def __init__(self, store: EmbeddingStore, path: Path, n: int) -> None:
        self._store = store
        self._path = path
        self.n = n
        self.p, self.dtype = store.p, store.dtype
        self.name, self.source = store.name, store.source
        self.digest, self.ids = store.digest, store.ids
        self._row_bytes = self.p * self.dtype.itemsize

    @classmethod
    def write(
        cls, store: EmbeddingStore, rows_in_a: NDArray[np.int64], n: int, work: Path, number: int = 1
    ) -> ReorderedEmbedding:
        """Write each row of `store` to its row of the first embedding, where it has one, into a file in `work`.

        Parameters
        ----------
        store : the store
        rows_in_a : (store.n,) the row of the first embedding for each row, −1 where there is none
        n : rows of the first embedding
        work : where the file is written
        number : the embedding's place among those that are compared, after which the file is named
        """
        work.mkdir(parents=True, exist_ok=True)
        path = work / f"reordered-{number}.raw"
        reordered = cls(store, path, n)
        with path.open("wb") as file:
            file.truncate(n * reordered._row_bytes)
            for start, stop in chunk_runs(store.n):
                block = store.read(start, stop)
                targets = rows_in_a[start:stop]
                for i in np.argsort(targets, kind="stable"):
                    if targets[i] >= 0:
                        os.pwrite(file.fileno(), block[i].data, int(targets[i]) * reordered._row_bytes)
        return reordered

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return rows ``start:stop`` in the new order, shape (stop − start, p)."""
        if out is None:
            out = np.empty((stop - start, self.p), dtype=self.dtype)
        with self._path.open("rb", buffering=0) as file:
            file.seek(start * self._row_bytes)
            view = out.reshape(-1).view(np.uint8).data
            done = 0
            while done < len(view):
                count = file.readinto(view[done:])
                if not count:
                    raise InputError(f"{self._path}: the file is truncated: run the comparison again with --overwrite")
                done += count
        return out

    def norms(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the norms of rows ``start:stop`` in the new order."""
        return read_norms(self, start, stop)

    def rows(self, indices: Any, columns: Any = None) -> None:
        """Return None: the texts shown are those of A."""

    def check_unchanged(self) -> None:
        """Raise ChangedError when the store is no longer the one that was reordered."""
        self._store.check_unchanged()
