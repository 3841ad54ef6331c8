"""The scores of a result in progress."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from specscale.embeddings.chunks import RowChunks
from specscale.embeddings.layout import chunk_runs
from specscale.errors import InputError
from specscale.places.ahead import read_ahead
from specscale.places.checksum import crc32c
from specscale.places.files import Location, is_local, reaching, zarr_store

__all__ = ["SCORES", "ScoreArray"]

SCORES = "scores"
_READERS = 4  # chunks under way at once from a remote store


class ScoreArray:
    """The scores of a result in progress, which tasks of any process write and read.

    It is sent to other processes as its place, and opened where it is used.

    Parameters
    ----------
    group : the Zarr group that the array is in
    """

    def __init__(self, group: Location) -> None:
        self._group = group
        self._chunks: RowChunks | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return ScoreArray, (self._group,)

    def write(self, start: int, scores: NDArray[np.float32]) -> None:
        """Write the scores of the rows from `start` on, whole chunks (rows, k)."""
        if scores.shape[1]:
            array = self._opened().array
            with reaching(self._group):
                array[start : start + len(scores)] = scores

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read the scores of rows ``start:stop`` back, (rows, k)."""
        return self._opened().read(start, stop)

    def holds(self, checksums: NDArray[np.uint32]) -> bool:
        """Whether each chunk is there and has its checksum."""
        n, k = self._opened().array.shape
        if not k:
            return True
        ahead = 1 if is_local(self._group) else _READERS
        try:
            found = list(read_ahead(lambda run: crc32c(self.read(*run)), chunk_runs(n), ahead))
        except InputError:  # one is missing or truncated
            return False
        return bool(found == checksums.tolist())

    def _opened(self) -> RowChunks:
        if self._chunks is None:
            with reaching(self._group):
                array = cast(zarr.Array[Any], zarr.open_group(zarr_store(self._group), mode="r+")[SCORES])
            # A chunk of rows that take no part is written too, so that one that is missing was lost.
            self._chunks = RowChunks(array.with_config({"write_empty_chunks": True}))
        return self._chunks
