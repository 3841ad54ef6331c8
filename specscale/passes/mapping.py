"""How the rows of a block are mapped to features: slice by slice, with a note of those that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.rows import Block
from specscale.errors import InputError
from specscale.features.base import FeatureMap, LoadedMap, RowMap
from specscale.features.kernel import MEAN
from specscale.grid import BLOCK_ROWS, SLICE_ROWS
from specscale.kernels.base import Array, Kernels, Task
from specscale.kernels.precision import Multiplied
from specscale.passes.base import Layout

__all__ = [
    "LoadedMaps",
    "Share",
    "bad_row_notes",
    "feature_cost",
    "feature_device_cost",
    "feature_products",
    "feature_room",
    "feature_width",
    "refusing_bad_rows",
    "shares_across",
    "shares_of",
    "slices",
]


class Share(NamedTuple):
    """What one call looks at of a block.

    Attributes
    ----------
    which : number of the embedding
    part : the run of kept rows
    place : number of the share among all of the block, where its bad rows are noted
    """

    which: int
    part: slice
    place: int


def slices(block: Block, rows: int) -> list[slice]:
    """The runs of a block's kept rows, of at most `rows`, that tasks take one by one."""
    count = len(block.raw[0])
    return [slice(low, min(low + rows, count)) for low in range(0, count, rows)]


def shares_of(block: Block, rows: int) -> list[Share]:
    """The slices of a block, of one embedding after another."""
    parts = [(which, part) for which in range(len(block.raw)) for part in slices(block, rows)]
    return [Share(which, part, place) for place, (which, part) in enumerate(parts)]


def shares_across(block: Block, number: int, part: slice) -> list[Share]:
    """One slice of a block, the `number`-th, of all embeddings."""
    m = len(block.raw)
    return [Share(which, part, number * m + which) for which in range(m)]


def bad_row_notes(kernels: Kernels, m: int) -> tuple[tuple[int, ...], type[np.int64]]:
    """The layout of what is noted of a block's shares, as :meth:`specscale.features.base.LoadedMap.apply` says."""
    return (m * -(-BLOCK_ROWS // kernels.slice_rows), 2), np.int64


def refusing_bad_rows(kernels: Kernels, block: Block, shares: Sequence[Share], bad: Array) -> Task:
    """Begin to look at what is noted of shares, in their order.

    The task raises InputError when a row holds a NaN or an infinity, or has no direction where one is needed.
    """
    return partial(_refuse, block, shares, kernels.fetch(bad))


def _refuse(block: Block, shares: Sequence[Share], fetched: Callable[[], NDArray[Any]]) -> None:
    noted = fetched()
    for which, part, place in shares:
        stored, shifted = map(int, noted[place])
        if stored >= 0:
            raise InputError(
                f"{_row(block, which, part.start + stored)} has a NaN, an infinity or zero norm, "
                "which it had not when it was ingested: a chunk is missing or was written over; ingest it again"
            )
        if shifted >= 0:
            raise InputError(f"{_row(block, which, part.start + shifted)} {MEAN}")


def _row(block: Block, which: int, position: int) -> str:
    """What a row of an embedding is called, at `position` of a block's kept rows."""
    row = block.start + (position if block.kept is None else int(block.kept[position]))
    return f"row {row} of embedding {'AB'[which] if len(block.raw) == 2 else which}"


@dataclass(frozen=True)
class LoadedMaps:
    """The maps of all embeddings in the memory of a backend, and the columns of the features that each writes."""

    maps: tuple[LoadedMap, ...]
    columns: tuple[slice, ...]

    @classmethod
    def of(cls, maps: Sequence[RowMap], kernels: Kernels) -> LoadedMaps:
        """Load maps, whose features lie side by side."""
        edges = accumulate((one.dim for one in maps), initial=0)
        return cls(tuple(one.load(kernels) for one in maps), tuple(slice(*ends) for ends in pairwise(edges)))

    def apply(self, block: Block, share: Share, features: Array, bad: Array) -> None:
        """Write the features of a share into its rows and columns of `features` (b, d), and note its bad rows."""
        which, part, place = share
        bad[place].fill(-1)
        self.maps[which].apply(block.raw[which][part], features[part, self.columns[which]], bad[place])


def feature_width(maps: tuple[FeatureMap, ...]) -> int:
    """Columns that the features take, or what is mapped for scores in their place."""
    return sum(max(one.dim, one.scoring(np.empty((one.dim, 0)))[0].dim) for one in maps)


def feature_room(width: int, m: int, kernels: Kernels) -> Layout:
    """Where the features of a block of m embeddings are put, and the notes of its bad rows."""
    return {"features": ((BLOCK_ROWS, width), kernels.real), "bad": bad_row_notes(kernels, m)}


def feature_cost(maps: tuple[FeatureMap, ...], threads: int) -> int:
    """Bytes that mapping blocks takes: two rooms, each thread's scratch, and the maps' matrices in both precisions."""
    scratch = threads * SLICE_ROWS * sum(one.scratch for one in maps) * 4
    matrices = sum(one.operations // 2 for one in maps) * 20  # half of a whitening is zero, but stored
    return 2 * BLOCK_ROWS * feature_width(maps) * 4 + scratch + matrices


def feature_device_cost(maps: tuple[FeatureMap, ...]) -> int:
    """Bytes of a card's memory that mapping takes, where a block is a slice and one precision of the maps is there."""
    scratch = BLOCK_ROWS * (sum(one.scratch for one in maps) + 4) * 4
    matrices = sum(one.operations // 2 for one in maps) * 4
    return 2 * BLOCK_ROWS * feature_width(maps) * 4 + scratch + matrices


def feature_products(maps: Sequence[RowMap]) -> list[Multiplied]:
    """The products in float32 that map a block, where it is a slice."""
    return [(product, BLOCK_ROWS, terms, columns) for one in maps for product, terms, columns in one.products]
