"""The first rows of an embedding: whether they are another embedding."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from specscale.embeddings.base import Embedding
from specscale.embeddings.intact import check_rows
from specscale.embeddings.layout import chunk_digest, chunk_of, chunk_runs, features_digest, ids_digest
from specscale.embeddings.reordered import origin_of
from specscale.embeddings.store import EmbeddingStore

__all__ = ["begins_with", "digest_of_first", "ids_digest_of_first"]


def digest_of_first(embedding: Embedding, count: int) -> str:
    """The digest that an embedding of the first `count` rows would have.

    Of a store the digests of whole chunks are known; only the chunk that the rest of the rows is in is read. Of rows in
    another order those of their origin count.

    Raises
    ------
    InputError
        When the rows of that chunk are not those that were ingested.
    """
    embedding = origin_of(embedding)
    known = embedding.chunk_digests if isinstance(embedding, EmbeddingStore) else ()
    digests: list[str] = []
    for number, (start, stop) in enumerate(chunk_runs(count)):
        end = chunk_of(start, embedding.n)[1]
        if known and stop == end:
            digests.append(known[number])
            continue
        rows = embedding.read(start, end)
        check_rows(embedding, start, rows)
        digests.append(chunk_digest(rows[: stop - start]))
    return features_digest(embedding.dtype.name, count, embedding.p, digests)


def begins_with(embedding: Embedding, count: int, digest: str) -> bool:
    """Whether the first `count` rows of an embedding are those of another with that digest."""
    if embedding.digest == digest:
        return True
    return origin_of(embedding).n > count and digest_of_first(embedding, count) == digest


def ids_digest_of_first(embedding: Embedding, count: int) -> str | None:
    """The digest of the ids of the first `count` rows; None where there are none."""
    embedding = origin_of(embedding)
    if embedding.ids is None or not isinstance(embedding, EmbeddingStore):
        return None

    def first() -> Iterator[pa.ChunkedArray]:
        left = count
        for ids in embedding.id_arrays():
            if left <= 0:
                return
            yield ids.slice(0, left)
            left -= len(ids)

    return ids_digest(first())
