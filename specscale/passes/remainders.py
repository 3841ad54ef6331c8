"""The remainders pass: rows drawn by what the nearest landmark leaves of them, where Nyström maps may err most.

A map misses k(x, x) − ‖φ(x)‖² of a row's kernel with itself, and |((K − K̂) u)_i| is at most the root of that times the
root of uᵀ(K − K̂)u. No row misses more than its nearest landmark alone leaves, 1 − max_j k(z_j, x)², which costs next
to nothing. It is squared, as it overstates most what is missed of rows among landmarks. Errors that sit in few rows,
far from all landmarks, are found by it.
"""

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
from specscale.features.base import LoadedMap
from specscale.features.kernel import nothing_noted
from specscale.features.landmarks import KernelMap, LandmarkMap
from specscale.grid import BLOCK_ROWS, SLICE_ROWS
from specscale.kernels.base import Array, Kernels, Task
from specscale.passes.base import Accumulator, Layout, LoadedPass, Pass, Room
from specscale.passes.mapping import bad_row_notes, refusing_bad_rows, shares_of

__all__ = ["Drawn", "Remainders", "far_draws", "remainders", "remainders_cost"]

_FAR = 3  # of so many rows of a certificate one is drawn so
NUMBERS = 2**13  # of the landmarks that are looked at: all of them in few dimensions, some in many, where all are far


@dataclass(frozen=True)
class Remainders:
    """The square of what the nearest landmark leaves of rows, (1 − max_j k(z_j, x)²)².

    Attributes
    ----------
    maps : the kernel of each embedding with the landmarks that are looked at
    """

    maps: tuple[KernelMap, ...]

    @classmethod
    def of(cls, maps: Sequence[LandmarkMap]) -> Remainders:
        """Those of some of the landmarks of each map."""
        return cls(tuple(KernelMap(one.kernel, one.landmarks[: _count(one.p)]) for one in maps))

    def load(self, kernels: Kernels) -> tuple[_Loaded, ...]:
        """Bring the landmarks into the memory of a backend; rows are drawn as :meth:`at` says, to rounding."""
        return tuple(_Loaded(kernels, one.load(kernels, None), one.dim) for one in self.maps)

    def at(self, which: int, raw: NDArray[Any], kernels: Kernels) -> NDArray[np.float64]:
        """Those of some rows of an embedding (b, p) in host memory, (b,)."""
        out = np.empty(len(raw))
        self.load(kernels.host)[which].apply(raw, out, nothing_noted())
        return out


@dataclass(frozen=True)
class _Loaded:
    """The landmarks of one embedding in the memory of a backend."""

    kernels: Kernels
    values: LoadedMap
    r: int

    def apply(self, raw: Array, out: Array, bad: Array) -> None:
        """Write what remains of rows (b, p) into `out` (b,), and note bad rows in `bad` (2,)."""
        values = self.kernels.scratch("values", (len(raw), self.r), self.kernels.real)
        self.values.apply(raw, values, bad)
        self.kernels.remains(values, out)


@dataclass(frozen=True)
class Drawn:
    """Rows drawn with replacement for each of m embeddings, in proportion to the squares of its remainders.

    Attributes
    ----------
    positions : (m, t) int64, among the rows that take part; −1 where nothing remains of any row
    totals : (m,) the sums of these squares
    """

    positions: NDArray[np.int64]
    totals: NDArray[np.float64]


def remainders(source: Remainders, draws: int, seed: int) -> Pass[Drawn]:
    """Make the remainders pass.

    Every draw is a race: a row of weight w arrives after a time that is exponential with rate w, and the first has been
    drawn in proportion to the weights. Of a block the first of all arrives with the sum of the rates, so a race among
    blocks is decided by one number each. The races are run on the host.

    Parameters
    ----------
    source : the squares of what remains of rows
    draws : rows to draw for each embedding
    seed : seed of the draws
    """
    m = len(source.maps)

    def room(kernels: Kernels) -> Layout:
        return {"remains": ((m, BLOCK_ROWS), np.float64), "bad remains": bad_row_notes(kernels, m)}

    def create(kernels: Kernels) -> Accumulator:
        return {
            "positions": np.full((m, draws), -1, dtype=np.int64),
            "times": np.full((m, draws), np.inf),
            "totals": np.zeros(m),
        }

    def load(kernels: Kernels) -> LoadedPass:
        loaded = source.load(kernels)

        def prepare(block: Block, room: Room) -> list[Task]:
            def one(which: int, part: slice, place: int) -> None:
                note = room["bad remains"][place]
                note.fill(-1)
                loaded[which].apply(block.raw[which][part], room["remains"][which, part], note)

            return [partial(one, *share) for share in shares_of(block, kernels.slice_rows)]

        def append(total: Accumulator, block: Block, room: Room) -> list[Task]:
            return []

        def look(total: Accumulator, block: Block, room: Room) -> Task:
            shares = shares_of(block, kernels.slice_rows)
            refuse = refusing_bad_rows(kernels, block, shares, room["bad remains"])
            fetched = kernels.fetch(room["remains"])

            def race() -> None:
                refuse()
                remains = fetched()[:, : len(block.raw[0])]
                generator = seeds.remainder_races(seed, block.start)
                positions, times = np.full((m, draws), -1, dtype=np.int64), np.full((m, draws), np.inf)
                sums = np.zeros(m)
                for which in range(m):
                    edges = np.cumsum(remains[which])
                    if len(edges) and edges[-1] > 0:
                        sums[which] = edges[-1]
                        times[which] = generator.exponential(size=draws) / edges[-1]
                        chosen = np.searchsorted(edges, generator.random(draws) * edges[-1], side="right")
                        positions[which] = block.offset + np.minimum(chosen, len(edges) - 1)
                combine(total, {"positions": positions, "times": times, "totals": sums})

            return race

        return LoadedPass(prepare, append, look)

    def combine(first: Accumulator, second: Accumulator) -> None:
        earlier = second["times"] < first["times"]
        for name in ("positions", "times"):
            first[name][earlier] = second[name][earlier]
        first["totals"] += second["totals"]

    def finalize(total: Accumulator) -> Drawn:
        return Drawn(total["positions"], total["totals"])

    return Pass("remainders", room, create, load, combine, finalize)


def far_draws(certify: int, m: int) -> int:
    """How many rows are drawn for each of m embeddings, of the rows of a certificate."""
    return certify // (_FAR * m)


def remainders_cost(dimensions: list[int], size: int, n_kept: int, draws: int, threads: int) -> Cost:
    """State what the pass takes beside one that reads the rows.

    Parameters
    ----------
    dimensions : p of each embedding
    size : landmarks
    n_kept : rows that take part
    draws : rows that are drawn for each embedding
    threads : threads that compute
    """
    counts = [min(size, _count(p)) for p in dimensions]
    held = [SLICE_ROWS * (p + 2 * count) * 8 + 8 * p * count for p, count in zip(dimensions, counts, strict=True)]
    return Cost(
        "remainders",
        memory=2 * len(dimensions) * BLOCK_ROWS * 8 + threads * sum(held),
        operations=2.0 * n_kept * sum(p * count for p, count in zip(dimensions, counts, strict=True)),
        speed=0.4,
        elementary=0.7 * n_kept * sum(counts),
        partial=len(dimensions) * (16 * draws + 8),
        device_memory=4 * len(dimensions) * BLOCK_ROWS * 8 + BLOCK_ROWS // SLICE_ROWS * sum(held),
    )


def _count(p: int) -> int:
    """How many landmarks are looked at in p dimensions."""
    return max(16, NUMBERS // p)
