"""The products pass: the exact kernels between some anchor rows and all rows, times vectors over all rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.rows import Block
from specscale.features.kernel import ExactKernel
from specscale.grid import ANCHOR_TILE, BLOCK_ROWS, SLICE_ROWS
from specscale.kernels.apart import ApartKernels
from specscale.kernels.base import Kernels, Product, Task
from specscale.kernels.precision import Multiplied, Precision, split_memory
from specscale.passes.base import (
    FED_BLOCKS,
    HELD_NODES,
    Accumulator,
    Layout,
    LoadedPass,
    Pass,
    Room,
    RowInput,
    RowOutput,
)
from specscale.passes.mapping import bad_row_notes, refusing_bad_rows, shares_of, slices

__all__ = ["Anchored", "Held", "products", "products_cost", "products_rooms"]


class Anchored(Protocol):
    """Anchors, the same s rows of each embedding."""

    def __len__(self) -> int: ...

    def rows(self) -> tuple[NDArray[Any], ...]:
        """The rows (s, p) of each embedding, as they are stored."""
        ...

    def vectors(self) -> NDArray[Any] | None:
        """Vectors at the anchors (s, k), by which the rows that pass by are multiplied; None where they are not."""
        ...


@dataclass(frozen=True)
class Held:
    """Anchors that are held in memory, for their own products alone."""

    raw: tuple[NDArray[Any], ...]

    def __len__(self) -> int:
        return len(self.raw[0])

    def rows(self) -> tuple[NDArray[Any], ...]:
        """Return them."""
        return self.raw

    def vectors(self) -> None:
        """None: the rows that pass by are not multiplied."""


def products(
    name: str,
    exact: tuple[ExactKernel, ...],
    anchors: Anchored,
    vectors: RowInput,
    k: int,
    n_kept: int,
    passing: RowOutput | None = None,
    product: Product | None = None,
) -> Pass[NDArray[np.float64]]:
    """Make the products pass.

    Parameters
    ----------
    name : what to call it
    exact : the kernel of each embedding
    anchors : the anchors, which whoever runs the pass asks for their rows
    vectors : gives the vectors of a block
    k : number of vectors
    n_kept : rows that take part
    passing : takes what the same kernels are worth to the rows that pass by, K_e(x, anchors) V / n_kept with the
        vectors at the anchors, (m, k) real for each row; None for the products of the anchors alone
    product : what the products are for, where a backend has precisions to choose from; None for its full one

    Returns
    -------
    Pass
        Its result is (m, s, k) float64: K_e(anchors, all rows) V / n_kept for each of the m embeddings.
    """
    m, s = len(exact), len(anchors)

    def tiles(kernels: Kernels) -> list[slice]:
        return [slice(low, min(low + kernels.anchor_tile, s)) for low in range(0, s, kernels.anchor_tile)]

    def room(kernels: Kernels) -> Layout:
        sums = (m, -(-BLOCK_ROWS // kernels.slice_rows), s, k), kernels.real
        back = {} if passing is None else {"passing": ((m, BLOCK_ROWS, k), np.float64)}
        own = {"vectors": ((BLOCK_ROWS, k), kernels.real), "partial": sums, "bad": bad_row_notes(kernels, m)}
        return {**own, **back}

    def create(kernels: Kernels) -> Accumulator:
        return {"products": kernels.zeros((m, s, k), np.float64)}

    def load(kernels: Kernels) -> LoadedPass:
        bearing = kernels.bearing(product) if product else kernels
        standardisers = [one.load(kernels) for one in exact]
        loaded = [one.anchors(kernels, raw) for one, raw in zip(exact, anchors.rows(), strict=True)]
        given = None if passing is None else anchors.vectors()
        own = None if given is None else kernels.put(np.ascontiguousarray(given, dtype=kernels.real))

        def prepare(block: Block, room: Room) -> list[Task]:
            parts = slices(block, kernels.slice_rows)
            room["vectors"][: len(block.raw[0])] = block.inputs["vectors"]

            def multiply(which: int, part: slice, place: int) -> None:
                x = kernels.scratch("rows", block.raw[which][part].shape, standardisers[which].real)
                note = room["bad"][place]
                note.fill(-1)
                standardisers[which].apply(block.raw[which][part], x, note)
                if passing is not None:
                    room["passing"][which, part].fill(0)
                for tile in tiles(kernels):
                    kernel = kernels.scratch("values", (len(x), tile.stop - tile.start), kernels.real)
                    loaded[which].evaluate(bearing, x, tile, kernel)
                    bearing.project(kernel.T, room["vectors"][part], room["partial"][which, place % len(parts), tile])
                    if own is not None:
                        worth = kernels.scratch("products of rows", (len(x), k), kernels.real)
                        bearing.project(kernel, own[tile], worth)
                        back = room["passing"][which, part]
                        back += worth

            return [partial(multiply, *share) for share in shares_of(block, kernels.slice_rows)]

        def append(total: Accumulator, block: Block, room: Room) -> list[Task]:
            def fold(which: int, tile: slice) -> None:
                for run in range(len(slices(block, kernels.slice_rows))):
                    total["products"][which, tile] += room["partial"][which, run, tile]

            return [partial(fold, which, tile) for which in range(m) for tile in tiles(kernels)]

        def look(total: Accumulator, block: Block, room: Room) -> Task:
            refuse = refusing_bad_rows(kernels, block, shares_of(block, kernels.slice_rows), room["bad"])
            if passing is None:
                return refuse
            back = kernels.fetch(room["passing"])

            def see() -> None:
                refuse()
                block.outputs["passing"][...] = back()[:, : len(block.raw[0])].swapaxes(0, 1) / n_kept

            return see

        return LoadedPass(prepare, append, look)

    def combine(first: Accumulator, second: Accumulator) -> None:
        first["products"] += second["products"]

    def finalize(total: Accumulator) -> NDArray[np.float64]:
        return np.asarray(total["products"] / n_kept)

    inputs, outputs = {"vectors": vectors}, {} if passing is None else {"passing": passing}
    return Pass(name, room, create, load, combine, finalize, sums=True, shares=True, inputs=inputs, outputs=outputs)


def products_cost(
    name: str,
    dimensions: list[int],
    s: int,
    k: int,
    n_kept: int,
    read: int,
    threads: int,
    product: Product | None = None,
    precision: Precision = "float32",
) -> Cost:
    """State what the pass takes for the products of the anchors.

    Parameters
    ----------
    name : what to call it
    dimensions : p of each embedding
    s : anchors
    k : vectors
    n_kept : rows that take part
    read : bytes of the embeddings
    threads : threads that compute
    product : as in :func:`products`
    precision : that is asked for
    """
    p, m = sum(dimensions), len(dimensions)
    rooms = products_rooms(m, s, k)
    task = SLICE_ROWS * (max(dimensions) + ANCHOR_TILE + 4 * k) * 4
    return Cost(
        name,
        memory=rooms + 3 * m * s * k * 8 + 16 * s * p + threads * task,
        operations=2.0 * n_kept * s * (p + m * k),
        speed=0.6,
        elementary=0.7 * n_kept * s * m,
        read=read,
        partial=8 * m * s * k,
        device_memory=_device_cost(dimensions, s, k)
        + (split_memory(_multiplied(product, dimensions, s, k), precision) if product else 0),
    )


def products_rooms(m: int, s: int, k: int) -> int:
    """Bytes of the rooms of a pass for m embeddings, s anchors and k vectors, which stay until the next pass begins."""
    return 2 * (BLOCK_ROWS * k + m * (BLOCK_ROWS // SLICE_ROWS) * s * k) * 4


def _device_cost(dimensions: list[int], s: int, k: int) -> int:
    """Bytes of a card's memory that the pass takes."""
    p, m = sum(dimensions), len(dimensions)
    rooms = 2 * (4 * BLOCK_ROWS * k + 4 * m * s * k + 8 * m * BLOCK_ROWS * k)
    anchors = s * (p + m + k) * 4
    rows = BLOCK_ROWS * 4 * (max(dimensions) + min(s, ApartKernels.anchor_tile) + k + 4)
    fed = FED_BLOCKS * BLOCK_ROWS * k * 8
    return rooms + (2 + HELD_NODES) * m * s * k * 8 + anchors + rows + fed


def _multiplied(product: Product, dimensions: list[int], s: int, k: int) -> list[Multiplied]:
    """The products of a tile of anchors with the rows of a block."""
    tile = min(s, ApartKernels.anchor_tile)
    shapes = ((BLOCK_ROWS, max(dimensions), tile), (tile, BLOCK_ROWS, k), (BLOCK_ROWS, tile, k))
    return [(product, *shape) for shape in shapes]
