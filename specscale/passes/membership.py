"""The membership pass: how like every row is to the cores of groups, under the exact kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale import seeds
from specscale.cost import Cost
from specscale.embeddings.rows import Block
from specscale.features.kernel import ExactKernel
from specscale.grid import ANCHOR_TILE, BLOCK_ROWS, SLICE_ROWS
from specscale.kernels.apart import ApartKernels
from specscale.kernels.base import Kernels, Task
from specscale.passes.base import Accumulator, Layout, LoadedPass, Pass, Room, RowOutput
from specscale.passes.mapping import bad_row_notes, refusing_bad_rows, shares_of
from specscale.passes.tallies import Memberships, Seen, add, combine, empty_tallies, finished, tallies_size

__all__ = ["Core", "membership", "membership_cost"]


@dataclass(frozen=True)
class Core:
    """Rows that a group is found around.

    Attributes
    ----------
    positions : (m,) int64, distinct, among the rows that take part
    raw : these rows (m, p) of each embedding, as they are stored
    direction : 1 where A finds them alike and B does not, −1 where B does
    background : likeness g of any row
    level : by how much that of the core exceeds it, above 0
    """

    positions: NDArray[np.int64]
    raw: tuple[NDArray[Any], ...]
    direction: int
    background: float
    level: float

    def __len__(self) -> int:
        return len(self.positions)


def membership(
    exact: tuple[ExactKernel, ...],
    cores: Sequence[Core],
    *,
    eta: float,
    seed: int,
    top: int,
    sample: int,
    likeness: RowOutput | None = None,
) -> Pass[Memberships]:
    """Make the membership pass.

    The similarity of a row to a core is the mean s_e of the exact kernel of an embedding over the core, without the row
    itself where it is of the core. Its likeness is z = (g − background) / level with g = s_A − η s_B, or η s_B − s_A
    for a core of B's: 1 is like the core, 0 like any row, and members are the rows from ½ on. It is a float32, whoever
    looks at it.

    Parameters
    ----------
    exact : the kernels of A and B
    cores : the cores, at least one
    eta : η
    seed : seed of the halves of the rows, and of the samples
    top : how many members, and others, to list of each core
    sample : how many members of each half, and of those that are near, to draw for each core
    likeness : takes the likeness of the rows to the cores, (G,) float32 for each row; None where nobody asks for it

    Returns
    -------
    Pass
        Its result is a :class:`specscale.passes.tallies.Memberships`.
    """
    anchors = _Anchors.of(cores)
    scale = _Scale.of(cores, eta)
    g, m = len(cores), len(exact)

    def room(kernels: Kernels) -> Layout:
        return {"similarities": ((m, BLOCK_ROWS, g), kernels.real), "bad": bad_row_notes(kernels, m)}

    def create(kernels: Kernels) -> Accumulator:
        return empty_tallies(g, top, sample)

    def load(kernels: Kernels) -> LoadedPass:
        standardisers = [one.load(kernels) for one in exact]
        loaded = [one.anchors(kernels, raw) for one, raw in zip(exact, anchors.raw, strict=True)]
        weights = kernels.put(anchors.weights.astype(kernels.real))
        tiles = [slice(low, low + kernels.anchor_tile) for low in range(0, len(anchors.weights), kernels.anchor_tile)]

        def prepare(block: Block, room: Room) -> list[Task]:
            def compare(which: int, part: slice, place: int) -> None:
                note, similar = room["bad"][place], room["similarities"][which, part]
                note.fill(-1)
                similar.fill(0)
                x = kernels.scratch("rows", block.raw[which][part].shape, standardisers[which].real)
                standardisers[which].apply(block.raw[which][part], x, note)
                for tile in tiles:
                    shares = weights[tile]
                    values = kernels.scratch("values", (len(x), len(shares)), kernels.real)
                    loaded[which].evaluate(kernels, x, tile, values)
                    sums = kernels.scratch("sums", (len(x), g), kernels.real)
                    kernels.project(values, shares, sums)
                    similar += sums

            return [partial(compare, *share) for share in shares_of(block, kernels.slice_rows)]

        def append(total: Accumulator, block: Block, room: Room) -> list[Task]:
            return []

        def look(total: Accumulator, block: Block, room: Room) -> Task:
            refuse = refusing_bad_rows(kernels, block, shares_of(block, kernels.slice_rows), room["bad"])
            fetched = kernels.fetch(room["similarities"])

            def see() -> None:
                refuse()
                similar = fetched()[:, : len(block.raw[0])].swapaxes(1, 2).astype(np.float64, order="C")
                anchors.leave_out(similar, block.offset)
                z = scale.likeness(similar)
                if likeness is not None:
                    block.outputs["likeness"][...] = z.T
                kept = slice(None) if block.kept is None else block.kept
                rows = np.arange(block.start, block.stop, dtype=np.int64)[kept]
                second = seeds.half_of(seed, block.start, block.stop)[kept]
                priorities = seeds.priorities(seed, block.start, block.stop)[kept]
                add(total, Seen(rows, second, priorities, z, similar))

            return see

        return LoadedPass(prepare, append, look)

    outputs = {} if likeness is None else {"likeness": likeness}
    return Pass("membership", room, create, load, combine, finished, shares=bool(outputs), outputs=outputs)


@dataclass(frozen=True)
class _Anchors:
    """The rows of all cores, each once.

    Attributes
    ----------
    raw : these rows (r, p) of each embedding
    weights : (r, G), by which their kernels become means over the cores
    positions, cores : (t,) int64 of the members of all cores, ascending by position, and the number of their core
    sizes : (t,) of that core
    """

    raw: tuple[NDArray[Any], ...]
    weights: NDArray[np.float64]
    positions: NDArray[np.int64]
    cores: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, cores: Sequence[Core]) -> _Anchors:
        positions = np.concatenate([one.positions for one in cores])
        sizes = np.array([len(one) for one in cores])
        numbers = np.repeat(np.arange(len(cores)), sizes)
        distinct, first, places = np.unique(positions, return_index=True, return_inverse=True)
        weights = np.zeros((len(distinct), len(cores)))
        weights[places, numbers] = 1 / sizes[numbers]
        raw = tuple(np.concatenate(rows)[first] for rows in zip(*(one.raw for one in cores), strict=True))
        order = np.argsort(positions, kind="stable")
        return cls(raw, weights, positions[order], numbers[order], sizes[numbers[order]])

    def leave_out(self, similar: NDArray[np.float64], offset: int) -> None:
        """Take out of means (m, G, b) over cores the rows' own kernels with themselves, which are 1.

        `offset` is the position of the first row. A core of one row has none to be like: 0.
        """
        low, high = np.searchsorted(self.positions, (offset, offset + similar.shape[2]))
        own = slice(None), self.cores[low:high], self.positions[low:high] - offset
        sizes = self.sizes[low:high]
        similar[own] = (sizes * similar[own] - 1) / np.maximum(sizes - 1, 1)


@dataclass(frozen=True)
class _Scale:
    """How similarities become likenesses to each of G cores: parameters (G, 1), and η."""

    eta: float
    directions: NDArray[np.float64]
    backgrounds: NDArray[np.float64]
    levels: NDArray[np.float64]

    @classmethod
    def of(cls, cores: Sequence[Core], eta: float) -> _Scale:
        numbers = np.array([[one.direction, one.background, one.level] for one in cores], dtype=np.float64)
        return cls(eta, *np.split(numbers, 3, axis=1))

    def likeness(self, similar: NDArray[np.float64]) -> NDArray[np.float32]:
        """Those of rows of which the similarities (2, G, b) are known, (G, b)."""
        g = self.directions * (similar[0] - self.eta * similar[1])
        return np.asarray((g - self.backgrounds) / self.levels, dtype=np.float32)


def membership_cost(
    dimensions: list[int],
    *,
    cores: int,
    rows_of_cores: int,
    n_kept: int,
    read: int,
    threads: int,
    top: int,
    sample: int,
    span_rows: int = 0,
) -> Cost:
    """State what the pass takes.

    Parameters
    ----------
    dimensions : p of each embedding
    cores : number of cores
    rows_of_cores : rows of all of them
    n_kept : rows that take part
    read : bytes of the embeddings
    threads : threads that compute
    top, sample : as :func:`membership` takes them
    span_rows : rows of a span of which the likeness is written; 0 where it is not
    """
    p, m, widest = sum(dimensions), len(dimensions), max(dimensions)
    tallies = tallies_size(cores, top, sample)
    rooms = 2 * m * BLOCK_ROWS * cores * 4
    anchors = rows_of_cores * (8 * p + 4 * (m + cores))

    def row(tile: int) -> int:
        """Scratch of one row, in float64 where kernels are."""
        return 8 * widest + 12 * min(rows_of_cores, tile) + 4 * cores

    # What is fetched of a block, the same in float64, and what is made of it in passing.
    seen = BLOCK_ROWS * (cores * (12 * m + 24) + 80)
    written = 2 * min(span_rows, n_kept) * cores * 4
    return Cost(
        "membership",
        memory=rooms + 3 * tallies + 3 * anchors + threads * SLICE_ROWS * row(ANCHOR_TILE) + seen + written,
        operations=2.0 * n_kept * rows_of_cores * (p + m * cores),
        speed=0.6,
        elementary=0.7 * n_kept * rows_of_cores * m,
        read=read,
        disk=4 * n_kept * cores if span_rows else 0,
        partial=tallies,
        device_memory=rooms + anchors + BLOCK_ROWS * row(ApartKernels.anchor_tile),
    )
