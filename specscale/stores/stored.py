"""Embeddings of this process, written into stores that other processes can read."""

from __future__ import annotations

import numpy as np

from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.base import Embedding
from specscale.embeddings.layout import chunk_runs, store_attributes
from specscale.embeddings.store import EmbeddingStore
from specscale.places.files import Location
from specscale.stores.writer import StoreWriter

__all__ = ["stored"]


def stored(embedding: Embedding, place: Location) -> Embedding:
    """Return an embedding that other processes can open: an array is written into a store first.

    Parameters
    ----------
    embedding : any embedding
    place : where the store of an array is written; one that is there already is used again if it has the same digest
    """
    if not isinstance(embedding, ArrayEmbedding):
        return embedding
    attributes = store_attributes(place)
    if attributes is None or attributes.get("digest") != embedding.digest:
        identity = {"digest": embedding.digest}
        writer = StoreWriter(place, identity, embedding.n, embedding.p, embedding.dtype, None)
        try:
            for start, stop in chunk_runs(embedding.n):
                if start >= writer.journal.next_row:
                    writer.add(start, embedding.read(start, stop), None, np.ones(stop - start, dtype=np.bool_))
            writer.finish(embedding.n, embedding.name, (embedding.source,), None)
        finally:
            writer.close()
    store = EmbeddingStore(place)
    store.name, store.source = embedding.name, embedding.source
    return store
