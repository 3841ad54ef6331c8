"""Where the values of a column are that tell rows apart, found by hashes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.embeddings.ids import id_hashes

__all__ = ["Hashes", "Index", "hashes_of"]

Hashes = tuple[NDArray[np.uint64], NDArray[np.uint64]]


def hashes_of(arrays: Iterable[pa.ChunkedArray]) -> Hashes:
    """Two hashes of each value, (n,) each: 16 bytes a row. The values are without nulls."""
    parts = [id_hashes(values) for values in arrays]
    none = np.zeros(0, dtype=np.uint64)
    return tuple(np.concatenate([none, *column]) for column in zip(*parts, strict=True)) if parts else (none, none)  # type: ignore[return-value]


@dataclass(frozen=True)
class Index:
    """Where the ids of an embedding are: 24 bytes for each of its rows.

    Attributes
    ----------
    first : (n,) the first halves of the ids' hashes, ascending
    second : (n,) the second halves, in the order of the rows
    order : (n,) the row of each of `first`
    """

    first: NDArray[np.uint64]
    second: NDArray[np.uint64]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, hashes: Hashes) -> Index:
        """Put the hashes of some ids in order."""
        first, second = hashes
        order = np.argsort(first)
        return cls(first[order], second, order)

    @property
    def distinct(self) -> bool:
        """Whether no two ids are equal."""
        alike = np.flatnonzero(self.first[1:] == self.first[:-1])
        return not (self.second[self.order[alike]] == self.second[self.order[alike + 1]]).any()

    def rows_of(self, arrays: Iterable[pa.ChunkedArray]) -> NDArray[np.int64]:
        """The row with each id of another embedding, −1 where there is none.

        The ids are streamed; 8 bytes for a row are held. Ids count as equal when 128 bits of their hashes are, and as
        text, so that the integer 7 and the text "7" are one id.
        """
        found = [self.rows_with(id_hashes(ids)) for ids in arrays]
        return np.concatenate([np.zeros(0, dtype=np.int64), *found])

    def rows_with(self, hashes: Hashes) -> NDArray[np.int64]:
        """The row with each of some hashes, −1 where there is none."""
        wanted, check = hashes
        rows = np.full(len(wanted), -1, dtype=np.int64)
        places = np.searchsorted(self.first, wanted)
        open_ = np.arange(len(wanted))
        while len(open_):  # once, and again only for ids whose first hashes are equal
            open_ = open_[places[open_] < len(self.first)]
            open_ = open_[self.first[places[open_]] == wanted[open_]]
            candidates = self.order[places[open_]]
            right = self.second[candidates] == check[open_]
            rows[open_[right]] = candidates[right]
            open_ = open_[~right]
            places[open_] += 1
        return rows
