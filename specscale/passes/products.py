"""The products pass: the exact kernels between some anchor rows and all rows, times vectors over all rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.rows import Block
from specscale.features.kernel import Anchors, ExactKernel
from specscale.kernels import Kernels
from specscale.kernels.scratch import Scratch
from specscale.passes.base import BLOCK_ROWS, Accumulator, Pass, RowInput, RowOutput, Task, bad_row

__all__ = ["Anchored", "Held", "products", "products_cost"]

ANCHOR_TILE = 512  # anchors whose kernel with PRODUCT_ROWS rows is held at once, in a core's cache
PRODUCT_ROWS = 1024  # rows of one task


class Anchored(Protocol):
    """Anchors, the same s rows of each embedding."""

    def __len__(self) -> int: ...

    @property
    def anchors(self) -> tuple[Anchors, ...]:
        """The rows, as each kernel wants them."""
        ...

    @property
    def vectors(self) -> NDArray[Any] | None:
        """Vectors at the anchors (s, k) real, for the products of all other rows with these; None for none."""
        ...


@dataclass(frozen=True)
class Held:
    """Anchors that are held in memory, for their own products alone."""

    anchors: tuple[Anchors, ...]
    vectors: None = None

    def __len__(self) -> int:
        return len(self.anchors[0])


@dataclass
class _Room:
    """Scratch of one block: the vectors, and what each run of its rows adds to the products."""

    vectors: NDArray[Any]
    partial: NDArray[Any]


def products(
    name: str,
    exact: tuple[ExactKernel, ...],
    anchored: Anchored,
    kernels: Kernels,
    vectors: RowInput,
    k: int,
    n_kept: int,
    passing: RowOutput | None = None,
) -> Pass[_Room, NDArray[np.float64]]:
    """Make the products pass.

    Parameters
    ----------
    name : what to call it
    exact : the kernel of each embedding
    anchored : the anchors
    kernels : the backend
    vectors : gives the vectors of a block
    k : number of vectors
    n_kept : rows that take part
    passing : takes what the same kernels are worth to the rows that pass by: K_e(x, anchors) V / n_kept of the vectors
        at the anchors, (m, k) real for each row; None for the products of the anchors alone

    Returns
    -------
    Pass
        Its result is (m, s, k) float64: K_e(anchors, all rows) V / n_kept for each of the m embeddings.
    """
    m, s = len(exact), len(anchored)
    tiles = [slice(low, min(low + ANCHOR_TILE, s)) for low in range(0, s, ANCHOR_TILE)]
    standardised, values, small = Scratch(), Scratch(), Scratch()

    def room() -> _Room:
        runs = BLOCK_ROWS // PRODUCT_ROWS
        return _Room(np.empty((BLOCK_ROWS, k), kernels.real), np.empty((m, runs, s, k), kernels.real))

    def prepare(block: Block, room: _Room) -> list[Task]:
        count = len(block.raw[0])
        room.vectors[:count] = block.beside["vectors"]
        anchors, own = anchored.anchors, anchored.vectors

        def multiply(which: int, run: int) -> None:
            part = slice(run * PRODUCT_ROWS, min((run + 1) * PRODUCT_ROWS, count))
            x = standardised.array((part.stop - part.start, exact[which].p), exact[which].real(kernels))
            bad = exact[which].standardise(kernels, block.raw[which][part], x)
            if bad >= 0:
                raise bad_row(block, which, m, part.start + bad)
            back = np.zeros((len(x), k))
            for tile in tiles:
                kernel = values.array((len(x), tile.stop - tile.start), kernels.real)
                anchors[which].evaluate(kernels, x, tile, kernel)
                kernels.project(kernel.T, room.vectors[part], room.partial[which, run, tile])
                if own is not None:
                    product = small.array((len(x), k), kernels.real)
                    kernels.project(kernel, own[tile], product)
                    back += product
            if passing is not None:
                block.beside["passing"][part, which] = back / n_kept

        return [
            lambda which=which, run=run: multiply(which, run)  # type: ignore[misc]
            for which in range(m)
            for run in range(-(-count // PRODUCT_ROWS))
        ]

    def create() -> Accumulator:
        return {"products": np.zeros((m, s, k))}

    def append(total: Accumulator, block: Block, room: _Room) -> list[Task]:
        runs = -(-len(block.raw[0]) // PRODUCT_ROWS)

        def fold(which: int, tile: slice) -> None:
            for run in range(runs):
                total["products"][which, tile] += room.partial[which, run, tile]

        return [lambda which=which, tile=tile: fold(which, tile) for which in range(m) for tile in tiles]  # type: ignore[misc]

    def combine(first: Accumulator, second: Accumulator) -> None:
        first["products"] += second["products"]

    def finalize(total: Accumulator) -> NDArray[np.float64]:
        return np.asarray(total["products"] / n_kept)

    outputs = {} if passing is None else {"passing": passing}
    return Pass(
        name,
        room,
        prepare,
        create,
        append,
        combine,
        finalize,
        shares=True,
        inputs={"vectors": vectors},
        outputs=outputs,
    )


def products_cost(name: str, dimensions: list[int], s: int, k: int, n_kept: int, read: int, threads: int) -> Cost:
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
    """
    p, m = sum(dimensions), len(dimensions)
    rooms = 2 * (BLOCK_ROWS * k + m * (BLOCK_ROWS // PRODUCT_ROWS) * s * k) * 4
    task = PRODUCT_ROWS * (max(dimensions) + ANCHOR_TILE + 4 * k) * 4
    return Cost(
        name,
        memory=rooms + 3 * m * s * k * 8 + 16 * s * p + threads * task,
        operations=2.0 * n_kept * s * (p + m * k),
        speed=0.6,
        elementary=0.7 * n_kept * s * m,
        read=read,
        partial=8 * m * s * k,
    )
