"""What an embedding is to everything that reads one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.embeddings.chunks import READERS
from specscale.embeddings.dropped import Ids
from specscale.embeddings.layout import (
    row_norms,
)

__all__ = ["Embedding", "read_norms", "readers"]


class Embedding(Protocol):
    """n rows of p numbers. Rows are read in their own dtype; widening is the kernels' work.

    Any number of threads may read at once. Where `remote`, a read takes as long as a network answers, however little it
    asks for.
    """

    name: str
    source: str
    n: int
    p: int
    dtype: np.dtype[Any]
    digest: str
    ids: Ids | None
    remote: bool

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return rows ``start:stop``, shape (stop − start, p), in `out` where it is given."""
        ...

    def norms(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the Euclidean norms of rows ``start:stop``; NaN or infinite where a row is not finite."""
        ...

    def rows(self, indices: Sequence[int], columns: Sequence[str] | None = None) -> pa.Table | None:
        """Return the user's columns of some rows, or None where the embedding has none."""
        ...

    def check_unchanged(self) -> None:
        """Raise ChangedError when the embedding is no longer the one that was opened."""
        ...


def read_norms(embedding: Embedding, start: int, stop: int) -> NDArray[np.float32]:
    """Compute the norms of some rows from the rows themselves, a few at a time."""
    norms = np.empty(stop - start, dtype=np.float32)
    for low in range(start, stop, 2048):
        high = min(low + 2048, stop)
        norms[low - start : high - start] = row_norms(embedding.read(low, high))
    return norms


def readers(embedding: Embedding) -> int:
    """How many small reads of an embedding are worth having under way at once."""
    return READERS if embedding.remote else 1
