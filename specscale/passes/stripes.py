"""A sweep of the exact n × n operator over a block of vectors: for each stripe of rows a products pass, in any process.

A stripe of rows is held in memory as anchors while the rows from its first on pass by. The kernels are symmetric: each
value that is computed serves the products of the stripe, which are the pass's result, and those of the rows that pass
by, which are rows that it writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.rows import PairedRows
from specscale.grid import BLOCK_ROWS
from specscale.kernels.precision import Precision
from specscale.passes.products import products_cost, products_rooms

__all__ = ["STRIPE_ROWS", "VISIT_ROWS", "Stripe", "stripe_rooms", "sweeps_cost"]

STRIPE_ROWS = 8192
VISIT_ROWS = 1 << 18  # rows that pass by a stripe in one task


@dataclass(frozen=True)
class Stripe:
    """A run of the rows that take part, as anchors that whoever runs the pass reads.

    Attributes
    ----------
    paired : the paired rows
    low, high : the run, as positions among the rows that take part
    read : reads the vectors at some positions
    """

    paired: PairedRows
    low: int
    high: int
    read: Callable[[int, int], NDArray[np.float64]]

    def __len__(self) -> int:
        return self.high - self.low

    def rows(self) -> tuple[NDArray[Any], ...]:
        """Read the rows (s, p) of each embedding."""
        return self.paired.take(np.arange(self.low, self.high))

    def vectors(self) -> NDArray[np.float64]:
        """Read the vectors at the rows (s, k)."""
        return self.read(self.low, self.high)


def sweeps_cost(
    name: str,
    dimensions: list[int],
    n: int,
    block: int,
    sweeps: int,
    read: int,
    threads: int,
    at_once: int = 1,
    precision: Precision = "float32",
) -> Cost:
    """State what some sweeps of the operator take.

    Parameters
    ----------
    name : what to call them
    dimensions : p of each embedding
    n : rows that take part
    block : vectors in one block
    sweeps : how many blocks are multiplied
    read : bytes of the embeddings
    threads : threads that compute
    at_once : stripes whose passes run at once
    precision : that is asked for
    """
    stripe = min(STRIPE_ROWS, n)
    one = products_cost(name, dimensions, stripe, block, n, read, threads, "exact", precision)
    p, m = sum(dimensions), len(dimensions)
    visits = sweeps * n * (n + stripe) / 2
    blocks = 8 * n * block
    # What passes by in one task, and in the task before, which is being written; in both rooms, and as it was fetched.
    passing = (min(2 * VISIT_ROWS, n) * 4 + 3 * BLOCK_ROWS * 8) * m * block
    worker = one.memory + passing + 12 * stripe * block
    stripes, tasks = visited(n)
    return Cost(
        name,
        # The basis and the products, and what making a remainder orthogonal takes.
        memory=worker + int((sweeps + m + 4) * blocks),
        operations=2.0 * visits * (p + 2 * m * block) + 4.0 * n * (sweeps * block) ** 2,
        speed=one.speed,
        elementary=0.7 * visits * m,
        read=int(read * visits / n / stripe),
        disk=(sweeps * m + 1) * blocks + min(at_once, stripes) * m * blocks // 2,
        partial=one.partial,
        worker_memory=worker,
        spans=sweeps * tasks,
        passes=sweeps * stripes,
        device_memory=one.device_memory,
    )


def stripe_rooms(m: int, n: int, block: int) -> int:
    """Bytes of the rooms of a stripe's pass, which stay until a pass of another kind begins."""
    return products_rooms(m, min(STRIPE_ROWS, n), block) + 2 * BLOCK_ROWS * 8 * m * block


def visited(n: int) -> tuple[int, int]:
    """How many stripes n rows have, and in how many tasks all rows pass by them."""
    starts = range(0, n, STRIPE_ROWS)
    return len(starts), sum(-(-n // VISIT_ROWS) - start // VISIT_ROWS for start in starts)
