"""The remainders pass: rows drawn by what the nearest landmark leaves of them, where Nyström maps may err most.

A map misses k(x, x) − ‖φ(x)‖² of a row's kernel with itself, and |((K − K̂) u)_i| is at most the root of that times the
root of uᵀ(K − K̂)u. No row misses more than its nearest landmark alone leaves, 1 − max_j k(z_j, x)², which costs next
to nothing. It is squared, as it overstates most what is missed of rows among landmarks. Errors that sit in few rows,
far from all landmarks, are found by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.rows import Block
from specscale.features.landmarks import LandmarkMap
from specscale.kernels import Kernels
from specscale.kernels.scratch import Scratch
from specscale.passes.base import BLOCK_ROWS, SLICE_ROWS, Accumulator, Pass, Task, bad_row, slices

__all__ = ["Drawn", "Remainders", "far_draws", "remainders", "remainders_cost"]

_FAR = 3  # of so many rows of a certificate one is drawn so
NUMBERS = 2**13  # of the landmarks that are looked at: all of them in few dimensions, some in many, where all are far


class Remainders:
    """The square of what the nearest landmark leaves of rows, (1 − max_j k(z_j, x)²)².

    Parameters
    ----------
    maps : the map of each embedding
    kernels : the backend
    """

    def __init__(self, maps: Sequence[LandmarkMap], kernels: Kernels) -> None:
        self._exact = [one.kernel for one in maps]
        self._kernels = kernels
        self._anchors = [one.kernel.anchors(kernels, one.landmarks[: _count(one.p)]) for one in maps]
        self._rows, self._values = Scratch(), Scratch()

    def of(self, which: int, raw: NDArray[Any], out: NDArray[np.float64]) -> int:
        """Write those of some rows of an embedding (b, p) into `out` (b,); the first bad row, or −1."""
        kernel, anchors = self._exact[which], self._anchors[which]
        x = self._rows.array(raw.shape, kernel.real(self._kernels))
        bad = kernel.standardise(self._kernels, raw, x)
        if bad < 0:
            values = self._values.array((len(raw), len(anchors)), self._kernels.real)
            anchors.evaluate(self._kernels, x, slice(None), values)
            nearest = np.abs(values).max(axis=1).astype(np.float64)
            out[...] = np.square(np.maximum(1 - nearest**2, 0))
        return bad


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


def remainders(source: Remainders, m: int, draws: int, seed: int) -> Pass[NDArray[np.float64], Drawn]:
    """Make the remainders pass.

    Every draw is a race: a row of weight w arrives after a time that is exponential with rate w, and the first has been
    drawn in proportion to the weights. Of a block the first of all arrives with the sum of the rates, so a race among
    blocks is decided by one number each.

    Parameters
    ----------
    source : the squares of what remains of rows
    m : embeddings
    draws : rows to draw for each of them
    seed : seed of the draws
    """

    def prepare(block: Block, room: NDArray[np.float64]) -> list[Task]:
        def one(which: int, part: slice) -> None:
            bad = source.of(which, block.raw[which][part], room[which, part])
            if bad >= 0:
                raise bad_row(block, which, m, part.start + bad)

        return [lambda which=which, part=part: one(which, part) for which in range(m) for part in slices(block)]  # type: ignore[misc]

    def create() -> Accumulator:
        return {
            "positions": np.full((m, draws), -1, dtype=np.int64),
            "times": np.full((m, draws), np.inf),
            "totals": np.zeros(m),
        }

    def append(total: Accumulator, block: Block, room: NDArray[np.float64]) -> list[Task]:
        def race() -> None:
            generator = np.random.Generator(np.random.Philox(key=[seed, 0x5EED0000 + block.start]))
            positions, times = np.full((m, draws), -1, dtype=np.int64), np.full((m, draws), np.inf)
            sums = np.zeros(m)
            for which in range(m):
                edges = np.cumsum(room[which, : len(block.raw[0])])
                if len(edges) and edges[-1] > 0:
                    sums[which] = edges[-1]
                    times[which] = generator.exponential(size=draws) / edges[-1]
                    chosen = np.searchsorted(edges, generator.random(draws) * edges[-1], side="right")
                    positions[which] = block.offset + np.minimum(chosen, len(edges) - 1)
            combine(total, {"positions": positions, "times": times, "totals": sums})

        return [race]

    def combine(first: Accumulator, second: Accumulator) -> None:
        earlier = second["times"] < first["times"]
        for name in ("positions", "times"):
            first[name][earlier] = second[name][earlier]
        first["totals"] += second["totals"]

    def finalize(total: Accumulator) -> Drawn:
        return Drawn(total["positions"], total["totals"])

    return Pass("remainders", lambda: np.empty((m, BLOCK_ROWS)), prepare, create, append, combine, finalize)


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
    )


def _count(p: int) -> int:
    """How many landmarks are looked at in p dimensions."""
    return max(16, NUMBERS // p)
