"""A store's rows in another order."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.errors import InputError
from specscale.files import Location, is_local, read_into, write_whole
from specscale.stores.chunks import read_ahead
from specscale.stores.embedding import EmbeddingStore, chunk_runs, read_norms

__all__ = ["ReorderedEmbedding"]


class ReorderedEmbedding:
    """The rows of a store written once in the order of another, into a file of their own.

    Rows without a partner are zero and never take part. It is sent to other processes as the place of its file and its
    store: they open both there.
    """

    def __init__(self, store: EmbeddingStore, path: Location, n: int) -> None:
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
        cls, store: EmbeddingStore, rows_in_a: NDArray[np.int64], n: int, work: Location, number: int = 1
    ) -> ReorderedEmbedding:
        """Write each row of `store` to its row of the first embedding, where it has one, into a file in `work`.

        Parameters
        ----------
        store : the store
        rows_in_a : (store.n,) the row of the first embedding for each row, −1 where there is none
        n : rows of the first embedding
        work : where the file is written; a remote one is written to a temporary file of this machine first
        number : the embedding's place among those that are compared, after which the file is named
        """
        path = work / f"reordered-{number}.raw"
        reordered = cls(store, path, n)
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
            reordered._write(path, rows_in_a)
            return reordered
        with tempfile.TemporaryDirectory(prefix="specscale-") as folder:  # objects are written from front to back
            local = Path(folder) / path.name
            reordered._write(local, rows_in_a)
            write_whole(path, np.memmap(local, dtype=np.uint8, mode="r"))
        return reordered

    def _write(self, path: Path, rows_in_a: NDArray[np.int64]) -> None:
        runs = list(chunk_runs(self._store.n))
        blocks = read_ahead(lambda run: self._store.read(*run), runs, 2 if self._store.remote else 1)
        with path.open("wb") as file:
            file.truncate(self.n * self._row_bytes)
            for (start, stop), block in zip(runs, blocks, strict=True):
                targets = rows_in_a[start:stop]
                for i in np.argsort(targets, kind="stable"):
                    if targets[i] >= 0:
                        os.pwrite(file.fileno(), block[i].data, int(targets[i]) * self._row_bytes)

    def __reduce__(self) -> tuple[Any, ...]:
        path = Path(os.path.abspath(self._path)) if isinstance(self._path, Path) else self._path
        return _opened_elsewhere, (self._store, path, self.n, self.source)

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
        """Return None: the texts shown are those of A."""

    def check_unchanged(self) -> None:
        """Raise ChangedError when the store is no longer the one that was reordered."""
        self._store.check_unchanged()


def _opened_elsewhere(store: EmbeddingStore, path: Location, n: int, source: str) -> ReorderedEmbedding:
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
