"""The products pass: the exact kernels between some anchor rows and all rows, times vectors over all rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.features.exact import Anchors, ExactKernel
from specscale.kernels import Kernels
from specscale.kernels.scratch import Scratch
from specscale.passes.record import BLOCK_ROWS, Accumulator, Pass, Task, bad_row, slices
from specscale.stores.rows import Block

__all__ = ["ANCHOR_TILE", "PRODUCT_ROWS", "Vectors", "products", "products_cost"]

ANCHOR_TILE = 512  # anchors of one task; with PRODUCT_ROWS rows their kernel stays in a core's cache
PRODUCT_ROWS = 512
_LEAST_TILES = 4

Vectors = Callable[[Block], NDArray[Any]]
"""The vectors at the kept rows of a block, (b, k)."""


@dataclass
class _Room:
    """Scratch of one block: each embedding's standardised rows, and the vectors."""

    rows: tuple[NDArray[Any], ...]
    vectors: NDArray[Any]


def products(
    name: str,
    exact: tuple[ExactKernel, ...],
    anchors: tuple[Anchors, ...],
    kernels: Kernels,
    vectors: Vectors,
    k: int,
    n_kept: int,
) -> Pass[_Room, NDArray[np.float64]]:
    """Make the products pass.

    Parameters
    ----------
    name : what to call it
    exact : the kernel of each embedding
    anchors : the same s rows of each embedding
    kernels : the backend
    vectors : gives the vectors of a block
    k : number of vectors
    n_kept : rows that take part

    Returns
    -------
    Pass
        Its result is (m, s, k) float64: K_e(anchors, all rows) V / n_kept for each of the m embeddings.
    """
    s = len(anchors[0])
    scratch, small = Scratch(), Scratch()
    tiles = _tiles(s)

    def room() -> _Room:
        rows = tuple(np.empty((BLOCK_ROWS, one.p), dtype=kernels.real) for one in exact)
        return _Room(rows, np.empty((BLOCK_ROWS, k), dtype=kernels.real))

    def prepare(block: Block, room: _Room) -> list[Task]:
        def standardise(which: int, part: slice) -> None:
            bad = exact[which].standardise(kernels, block.raw[which][part], room.rows[which][part])
            if bad >= 0:
                raise bad_row(block, which, len(exact), part.start + bad)

        def fetch() -> None:
            room.vectors[: len(block.raw[0])] = vectors(block)

        return [
            fetch,
            *(
                lambda which=which, part=part: standardise(which, part)
                for which in range(len(exact))
                for part in slices(block)
            ),
        ]

    def create() -> Accumulator:
        return {"products": np.zeros((len(exact), s, k))}

    def append(total: Accumulator, block: Block, room: _Room) -> list[Task]:
        count = len(block.raw[0])

        def add(which: int, tile: slice) -> None:
            width = tile.stop - tile.start
            product = small.array((width, k), kernels.real)
            for low in range(0, count, PRODUCT_ROWS):
                part = slice(low, min(low + PRODUCT_ROWS, count))
                values = scratch.array((part.stop - low, width), kernels.real)
                anchors[which].evaluate(kernels, room.rows[which][part], tile, values)
                kernels.gram_tile(values, room.vectors[part], product, total["products"][which, tile])

        return [lambda which=which, tile=tile: add(which, tile) for which in range(len(exact)) for tile in tiles]  # type: ignore[misc]

    def combine(first: Accumulator, second: Accumulator) -> None:
        first["products"] += second["products"]

    def finalize(total: Accumulator) -> NDArray[np.float64]:
        return np.asarray(total["products"] / n_kept)

    return Pass(name, room, prepare, create, append, combine, finalize)


def _tiles(s: int) -> list[slice]:
    """Cut the anchors into runs of at most ANCHOR_TILE, and a few at least, so that threads have work."""
    count = min(s, max(-(-s // ANCHOR_TILE), _LEAST_TILES))
    return [slice(s * i // count, s * (i + 1) // count) for i in range(count)]


def products_cost(
    name: str, dimensions: list[int], s: int, k: int, n_kept: int, read: int, threads: int, sweeps: float = 1.0
) -> Cost:
    """State what the pass takes.

    Parameters
    ----------
    name : what to call it
    dimensions : p of each embedding
    s : anchors
    k : vectors
    n_kept : rows that take part
    read : bytes of the embeddings
    threads : threads that compute
    sweeps : how often it is done
    """
    p, m = sum(dimensions), len(dimensions)
    rooms = 2 * BLOCK_ROWS * (p + k) * 4
    return Cost(
        name,
        memory=rooms + 3 * m * s * k * 8 + 12 * s * p + threads * (PRODUCT_ROWS * ANCHOR_TILE + ANCHOR_TILE * k) * 4,
        operations=sweeps * 2.0 * n_kept * s * (p + m * k),
        speed=0.6,
        elementary=0.7 * sweeps * n_kept * s * m,
        read=int(sweeps * read),
    )
