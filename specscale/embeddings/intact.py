"""Whether the rows of a store are those that were ingested: each chunk's digest is made again as its rows pass by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.base import Embedding
from specscale.embeddings.ids import as_ids
from specscale.embeddings.layout import ChunkDigest, chunk_number, chunk_of, chunk_runs, ids_digest, row_norms
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import InputError
from specscale.places.ahead import read_ahead

__all__ = ["Verifier", "check_norms", "check_rows", "damaged", "verifiable", "verify", "verify_columns"]

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
        self._passing = {number: _Passing(store) for number, store in verifiable(embeddings).items()}
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
        self._under_way = self._pool.submit(self._digest, start, arrays)
        for number, one in self._passing.items():
            one.check_norms(start, arrays[number])
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

    def _digest(self, start: int, arrays: Sequence[NDArray[Any]]) -> None:
        for number, one in self._passing.items():
            one.digest(start, arrays[number])


class _Passing:
    """The chunk of a store that passes by."""

    def __init__(self, store: EmbeddingStore) -> None:
        self._store = store
        self._digest = ChunkDigest()
        self._next: int | None = None  # the row that goes on with the digest
        self._norms = np.zeros(0, dtype=np.float32)
        self._norms_of: int | None = None  # the first row of the chunk whose norms these are

    def ends(self, start: int, stop: int) -> bool:
        """Whether a chunk ends with one of some rows."""
        return chunk_of(start, self._store.n)[1] <= stop

    def digest(self, start: int, rows: NDArray[Any]) -> None:
        """Take the next rows; where a chunk ends, its digest must be the one that it had."""
        for begin, end, low, part in self._parts(start, rows):
            if low == begin:
                self._digest = ChunkDigest()
            if low in (begin, self._next):
                self._digest.add(part)
                self._next = low + len(part)
                if self._next == end and self._digest.hexdigest() != self._store.chunk_digests[chunk_number(begin)]:
                    raise damaged(self._store, begin, end)

    def check_norms(self, start: int, rows: NDArray[Any]) -> None:
        """The norms of rows must be those that they had."""
        for begin, end, low, part in self._parts(start, rows):
            if self._norms_of != begin:
                self._norms, self._norms_of = self._store.norms(begin, end), begin
            check_norms(self._store, (begin, end), self._norms[low - begin : low - begin + len(part)], part)

    def _parts(self, start: int, rows: NDArray[Any]) -> Iterator[tuple[int, int, int, NDArray[Any]]]:
        """Cut rows where chunks end: the first and last row numbers of each chunk, the first of the rows, the rows."""
        low, stop = start, start + len(rows)
        while low < stop:
            begin, end = chunk_of(low, self._store.n)
            yield begin, end, low, rows[low - start : end - start]
            low = end


def verifiable(embeddings: Sequence[Embedding]) -> dict[int, EmbeddingStore]:
    """The stores among some embeddings whose chunks have digests, by their places."""
    return {
        number: one for number, one in enumerate(embeddings) if isinstance(one, EmbeddingStore) and one.chunk_digests
    }


def check_norms(store: EmbeddingStore, chunk: tuple[int, int], known: NDArray[np.float32], rows: NDArray[Any]) -> None:
    """Hold the norms of rows of a chunk against those that they had."""
    if not np.allclose(row_norms(rows), known, **_ROUNDING, equal_nan=True):
        raise damaged(store, *chunk)


def damaged(store: EmbeddingStore, begin: int, end: int) -> InputError:
    """The error that rows are damaged; raises ChangedError where another store is in the place of this one."""
    store.check_unchanged()
    return InputError(
        f"{store.path}: rows {begin} to {end - 1} are damaged, they or their norms are not those that were ingested: "
        "ingest the embedding again with --overwrite"
    )


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
        passing = _Passing(embedding)
        passing.digest(start, rows)
        passing.check_norms(start, rows)


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
            rows = store.read(low, min(low + step, run[1]))
            passing.digest(low, rows)
            passing.check_norms(low, rows)

    if store.chunk_digests:
        for _ in read_ahead(look, chunk_runs(stop), _AT_ONCE):
            pass


def verify_columns(store: EmbeddingStore) -> None:
    """Read the samples' own columns whole, whose pages have checksums, and make the digest of the ids again.

    Raises
    ------
    InputError
        When they are damaged.
    """
    for name in store.columns:
        arrays = store.column_arrays(name)
        if store.ids is None or name != store.ids.column:
            for _ in arrays:
                pass
        elif ids_digest(map(as_ids, arrays)) != store.ids.digest:
            raise InputError(
                f"{store.path}: column {name} is damaged, the ids are not those that were ingested: ingest the "
                "embedding again with --overwrite"
            )
