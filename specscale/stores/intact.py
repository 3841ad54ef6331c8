"""Whether the rows of a store are those that were ingested: each chunk's digest is made again as its rows pass by."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.errors import InputError
from specscale.stores.chunks import read_ahead
from specscale.stores.embedding import Embedding, EmbeddingStore
from specscale.stores.layout import ChunkDigest, chunk_number, chunk_of, chunk_runs, row_norms

__all__ = ["Verifier", "check_rows", "verify"]

_AGAIN = "ingest the embedding again with --overwrite"
_PIECE = 4 << 20  # bytes of one read
_AT_ONCE = 4  # chunks
_ROUNDING = {"rtol": 1e-5, "atol": 1e-44}  # of a norm, which another machine may sum up in another order


class Verifier:
    """Verifies the chunks of stores whose rows pass by in order, in a thread of its own.

    What passes by in part, what is no store, and stores of earlier versions that know no digests are let through.

    Parameters
    ----------
    embeddings : the embeddings
    """

    def __init__(self, embeddings: Sequence[Embedding]) -> None:
        self._passing = {
            number: _Passing(one)
            for number, one in enumerate(embeddings)
            if isinstance(one, EmbeddingStore) and one.chunk_digests
        }
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="specscale-verifier") if self._passing else None
        self._under_way: Future[None] | None = None

    def add(self, start: int, arrays: Sequence[NDArray[Any]]) -> None:
        """Take the next rows of all embeddings, from row `start` on; they must not change until `settle`.

        Raises
        ------
        InputError
            When a chunk that ends here is not what was ingested.
        """
        if self._pool is None:
            return
        self._under_way = self._pool.submit(self._add, start, arrays)
        if any(one.ends(start, start + len(arrays[number])) for number, one in self._passing.items()):
            self.settle()  # nothing that is made of a damaged chunk is kept

    def settle(self) -> None:
        """Wait until the rows that were added have been looked at; raises as `add` does."""
        if self._under_way is not None:
            self._under_way.result()
            self._under_way = None

    def close(self) -> None:
        """Give back the thread."""
        if self._pool is not None:
            self._pool.shutdown()

    def _add(self, start: int, arrays: Sequence[NDArray[Any]]) -> None:
        for number, one in self._passing.items():
            one.add(start, arrays[number])


class _Passing:
    """The chunk of a store that passes by."""

    def __init__(self, store: EmbeddingStore) -> None:
        self._store = store
        self._next: int | None = None  # the row that goes on with the chunk
        self._digest = ChunkDigest()
        self._norms: list[NDArray[np.float32]] = []

    def ends(self, start: int, stop: int) -> bool:
        """Whether a chunk ends with one of some rows."""
        return chunk_of(start, self._store.n)[1] <= stop

    def add(self, start: int, rows: NDArray[Any]) -> None:
        low, stop = start, start + len(rows)
        while low < stop:
            begin, end = chunk_of(low, self._store.n)
            part = rows[low - start : end - start]
            if low == begin:
                self._digest, self._norms = ChunkDigest(), []
            if low in (begin, self._next):
                self._digest.add(part)
                self._norms.append(row_norms(part))
                self._next = low + len(part)
                if self._next == end:
                    self._check(begin, end)
            low += len(part)

    def _check(self, begin: int, end: int) -> None:
        store = self._store
        if self._digest.hexdigest() != store.chunk_digests[chunk_number(begin)]:
            store.check_unchanged()
            raise InputError(
                f"{store.path}: rows {begin} to {end - 1} are damaged, they are not those that were ingested: {_AGAIN}"
            )
        if not np.allclose(np.concatenate(self._norms), store.norms(begin, end), **_ROUNDING, equal_nan=True):
            store.check_unchanged()
            raise InputError(f"{store.path}/norms: the norms of rows {begin} to {end - 1} are damaged: {_AGAIN}")


def check_rows(embedding: Embedding, start: int, rows: NDArray[Any]) -> None:
    """Verify the rows of a whole chunk.

    Parameters
    ----------
    embedding : the embedding; nothing is known of one that is no store
    start : the first row
    rows : the rows

    Raises
    ------
    InputError
        When they are not what was ingested.
    """
    if isinstance(embedding, EmbeddingStore) and embedding.chunk_digests:
        _Passing(embedding).add(start, rows)


def verify(store: EmbeddingStore, stop: int) -> None:
    """Read rows up to `stop`, the end of a chunk, and verify them.

    Raises
    ------
    InputError
        When a chunk is not what was ingested.
    """

    def look(run: tuple[int, int]) -> None:
        passing = _Passing(store)
        step = max(1, _PIECE // (store.p * store.dtype.itemsize))
        for low in range(*run, step):
            passing.add(low, store.read(low, min(low + step, run[1])))

    if store.chunk_digests:
        for _ in read_ahead(look, chunk_runs(stop), _AT_ONCE):
            pass
