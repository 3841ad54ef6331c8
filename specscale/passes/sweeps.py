"""A sweep of the exact n × n operator over a block of vectors: for each stripe of rows a pass, which any process runs.

A stripe of rows is held in memory as anchors while the rows from its first on pass by. The kernels are symmetric: each
value that is computed serves the products of the stripe, which are the pass's result, and those of the rows that pass
by, which are rows that it writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.rows import PairedRows
from specscale.features.kernel import Anchors, ExactKernel
from specscale.kernels import Kernels
from specscale.passes.base import Pass, RowInput, RowOutput
from specscale.passes.products import products, products_cost

__all__ = ["STRIPE_ROWS", "VISIT_ROWS", "Stripe", "stripe_products", "sweeps_cost"]

STRIPE_ROWS = 8192
VISIT_ROWS = 1 << 18  # rows that pass by a stripe in one task


@dataclass(frozen=True)
class Stripe:
    """A run of the rows that take part, as anchors; it is sent to other processes as where it is, and read there.

    Attributes
    ----------
    rows : the paired rows
    low, high : the run, as positions among the rows that take part
    exact : the kernel of each embedding
    kernels : the backend
    read : reads the vectors at some positions
    """

    rows: PairedRows
    low: int
    high: int
    exact: tuple[ExactKernel, ...]
    kernels: Kernels
    read: Callable[[int, int], NDArray[np.float64]]

    def __len__(self) -> int:
        return self.high - self.low

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("anchors", "vectors")}

    @cached_property
    def anchors(self) -> tuple[Anchors, ...]:
        """The rows as anchors of each kernel."""
        raw = self.rows.take(np.arange(self.low, self.high))
        return tuple(one.anchors(self.kernels, x) for one, x in zip(self.exact, raw, strict=True))

    @cached_property
    def vectors(self) -> NDArray[Any]:
        """The vectors at the rows, (s, k)."""
        return np.ascontiguousarray(self.read(self.low, self.high), dtype=self.kernels.real)


def stripe_products(
    name: str, stripe: Stripe, vectors: RowInput, k: int, passing: RowOutput
) -> Pass[Any, NDArray[np.float64]]:
    """Make the pass of one stripe over the rows from its first on.

    Parameters
    ----------
    name : what to call it
    stripe : the stripe
    vectors : gives the vectors of a block
    k : number of vectors
    passing : takes the products of the rows that pass by with the vectors at the stripe, (m, k) for each row

    Returns
    -------
    Pass
        Its result is (m, s, k) float64, the products of the stripe with the vectors at the rows from its first on.
    """
    return products(name, stripe.exact, stripe, stripe.kernels, vectors, k, stripe.rows.n_kept, passing)


def sweeps_cost(
    name: str, dimensions: list[int], n: int, block: int, sweeps: int, read: int, threads: int, at_once: int = 1
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
    """
    stripe = min(STRIPE_ROWS, n)
    one = products_cost(name, dimensions, stripe, block, n, read, threads)
    p, m = sum(dimensions), len(dimensions)
    visits = sweeps * n * (n + stripe) / 2
    blocks = 8 * n * block
    # What passes by in one task, and in the task before, which is being written.
    passing = min(2 * VISIT_ROWS, n) * m * block * 4
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
    )


def visited(n: int) -> tuple[int, int]:
    """How many stripes n rows have, and in how many tasks all rows pass by them."""
    starts = range(0, n, STRIPE_ROWS)
    return len(starts), sum(-(-n // VISIT_ROWS) - start // VISIT_ROWS for start in starts)
