"""What a user names becomes an embedding: a store at a path, or an array."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from numpy.typing import ArrayLike
from upath import UPath

from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.base import Embedding
from specscale.embeddings.store import EmbeddingStore
from specscale.places.files import Location

__all__ = ["open_embedding"]


def open_embedding(embedding: str | Location | ArrayLike | Embedding, name: str = "array") -> Embedding:
    """Open an embedding store, or take an array as an embedding.

    Parameters
    ----------
    embedding : str, path or array
        A path or URL of a store, an array (n, p), or an embedding, which is returned as it is.
    name : str
        What to call an array.

    Returns
    -------
    Embedding
        Its rows are read as they are asked for.

    Raises
    ------
    InputError
        When there is no embedding store at the path, or the array is not (n, p) floating.
    """
    if isinstance(embedding, (str, Path, UPath)):
        return EmbeddingStore(embedding)
    if hasattr(embedding, "check_unchanged"):
        return cast(Embedding, embedding)
    return ArrayEmbedding(cast(ArrayLike, embedding), name)
