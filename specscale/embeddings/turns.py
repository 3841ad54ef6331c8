"""Whether rows that several threads read are those that were ingested: the digest of each chunk is made in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.base import Embedding
from specscale.embeddings.intact import check_norms, damaged, verifiable
from specscale.embeddings.layout import ChunkDigest, chunk_number, chunk_of
from specscale.embeddings.store import EmbeddingStore

__all__ = ["Looked", "Turns"]

Looked = Sequence[Future[None]]
"""When rows will have been looked at; results raise InputError where a chunk that ends is not what was ingested."""


class Turns:
    """Verifies the chunks of stores that several threads read: many chunks at once, the rows of each in turn.

    No thread waits for another: rows that come before their turn are left to the thread that has those before them.
    What passes by in part, what is no store, and stores of earlier versions that know no digests are let through.

    Parameters
    ----------
    embeddings : the embeddings
    """

    def __init__(self, embeddings: Sequence[Embedding]) -> None:
        self._stores = verifiable(embeddings)
        self._chunks: dict[int, _Chunk] = {}

    def expect(self, number: int, start: int, stop: int) -> Callable[[NDArray[Any]], Looked]:
        """Announce rows of an embedding, in their order.

        Parameters
        ----------
        number : the place of the embedding
        start, stop : the rows

        Returns
        -------
        callable
            Takes the rows, in any thread, which must not change until all that it returns is done. It raises
            InputError where their norms are not those that they had.
        """
        if number not in self._stores:
            return _unseen
        return partial(_look, start, list(self._parts(number, start, stop)))

    def _parts(self, number: int, start: int, stop: int) -> Iterator[tuple[_Chunk, int, int, bool]]:
        """Cut rows where chunks end: the chunk, the rows, and whether all before them in the chunk were announced."""
        while start < stop:
            begin, end = chunk_of(start, self._stores[number].n)
            if number not in self._chunks or start == begin or self._chunks[number].begin != begin:
                self._chunks[number] = _Chunk(self._stores[number], begin, end)
            chunk, high = self._chunks[number], min(stop, end)
            yield chunk, start, high, chunk.announce(start, high)
            start = high


class _Chunk:
    """A chunk of a store whose rows are brought by several threads."""

    def __init__(self, store: EmbeddingStore, begin: int, end: int) -> None:
        self.begin, self.end = begin, end
        self._store = store
        self._announced = begin
        self._digest = ChunkDigest()
        self._next = begin  # the row that goes on with the digest
        self._brought: dict[int, tuple[NDArray[Any], Future[None]]] = {}
        self._lock = threading.Lock()

    @cached_property
    def _norms(self) -> NDArray[np.float32]:
        return self._store.norms(self.begin, self.end)

    def announce(self, low: int, high: int) -> bool:
        """Whether some rows follow those that were announced before."""
        follows = low == self._announced
        if follows:
            self._announced = high
        return follows

    def check_norms(self, low: int, rows: NDArray[Any]) -> None:
        """The norms of rows must be those that they had."""
        known = self._norms[low - self.begin : low - self.begin + len(rows)]
        check_norms(self._store, (self.begin, self.end), known, rows)

    def bring(self, low: int, rows: NDArray[Any]) -> Future[None]:
        """Add rows to the digest, now or when their turn comes; where the chunk ends, it must be the one it had."""
        done: Future[None] = Future()
        with self._lock:
            self._brought[low] = rows, done
        while (turn := self._take_turn()) is not None:
            self._add(*turn)
        return done

    def _take_turn(self) -> tuple[NDArray[Any], Future[None]] | None:
        """The rows that are next, where they are there and no other thread has them in hand."""
        with self._lock:
            return self._brought.pop(self._next, None)

    def _add(self, rows: NDArray[Any], done: Future[None]) -> None:
        try:
            self._digest.add(rows)
            expected = self._store.chunk_digests[chunk_number(self.begin)]
            if self._next + len(rows) == self.end and self._digest.hexdigest() != expected:
                raise damaged(self._store, self.begin, self.end)
        except Exception as error:
            done.set_exception(error)
        else:
            done.set_result(None)
        with self._lock:
            self._next += len(rows)


def _unseen(rows: NDArray[Any]) -> Looked:
    return ()


def _look(start: int, parts: Sequence[tuple[_Chunk, int, int, bool]], rows: NDArray[Any]) -> Looked:
    for chunk, low, high, _ in parts:
        chunk.check_norms(low, rows[low - start : high - start])
    return [chunk.bring(low, rows[low - start : high - start]) for chunk, low, high, follows in parts if follows]
