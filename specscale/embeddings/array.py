"""An embedding in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specscale.embeddings.base import read_norms
from specscale.embeddings.coercion import in_memory
from specscale.embeddings.dropped import Ids
from specscale.embeddings.layout import (
    chunk_digest,
    chunk_runs,
    features_digest,
)
from specscale.errors import InputError

__all__ = ["ArrayEmbedding"]


class ArrayEmbedding:
    """An array in memory, or a memory map, taken as an embedding.

    Parameters
    ----------
    array : (n, p) or (n, 1, p) floating
    name : what to call it in results and messages

    Raises
    ------
    InputError
        When the array is not a two-dimensional array of floating-point numbers.
    """

    def __init__(self, array: ArrayLike, name: str = "array") -> None:
        values = in_memory(array, name)
        if values.ndim == 3 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 2 or 0 in values.shape:
            raise InputError(f"{name}: an embedding is an array of shape (n, p), this one is {values.shape}")
        self.name = name
        self.source = name
        self.remote = False
        self.ids: Ids | None = None
        self.n, self.p = values.shape
        narrow = values.dtype.itemsize <= 4
        self.dtype = np.dtype(f"=f{values.dtype.itemsize}") if narrow else np.dtype(np.float32)
        self._values = values
        self.digest = self._digest()

    def _digest(self) -> str:
        """The digest that a store of these rows would have."""
        as_it_is = self._values.dtype == self.dtype and self._values.flags.c_contiguous
        chunks = [
            chunk_digest(self._values[start:stop] if as_it_is else self.read(start, stop))
            for start, stop in chunk_runs(self.n)
        ]
        return features_digest(self.dtype.name, self.n, self.p, chunks)

    def __repr__(self) -> str:
        return f"<ArrayEmbedding {self.name}: {self.n:,} × {self.p} {self.dtype}>"

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return rows ``start:stop``, shape (stop − start, p)."""
        if out is None:
            out = np.empty((stop - start, self.p), dtype=self.dtype)
        with np.errstate(over="ignore"):  # beyond float32 becomes an infinity, which the norms and kernels report
            np.copyto(out, self._values[start:stop], casting="same_kind")
        return out

    def norms(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the Euclidean norms of rows ``start:stop``; NaN or infinite where a row is not finite."""
        return read_norms(self, start, stop)

    def rows(self, indices: Sequence[int], columns: Sequence[str] | None = None) -> None:
        """Return None: an array has no columns of the user's."""

    def check_unchanged(self) -> None:
        """Do nothing: the array is held by this process."""
