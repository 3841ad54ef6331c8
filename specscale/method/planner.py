"""The plan of a run: what the steps take with some feature maps, and whether maps of a size fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from specscale.cost import Cost
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.embeddings.rows import PairedRows
from specscale.errors import PlanError
from specscale.features.base import FeatureMap
from specscale.features.fourier import FourierMap
from specscale.features.kernel import ExactKernel
from specscale.features.landmarks import LandmarkMap, landmarks_cost
from specscale.features.linear import LinearMap
from specscale.grid import BLOCK_ROWS
from specscale.kernels.base import Kernels
from specscale.method.options import Options
from specscale.method.plan import SLACK, Plan, Workers
from specscale.method.steps import ProblemSize, Steps
from specscale.passes.base import FED_BLOCKS
from specscale.runtime.machine import Crew, Machine, calibrate
from specscale.runtime.memory import available_memory, resident_memory
from specscale.runtime.spans import cut_spans
from specscale.runtime.sweeper import RING, reading_threads
from specscale.runtime.threads import Threads
from specscale.units import format_bytes, parse_bytes

__all__ = ["Planner"]


@dataclass(frozen=True)
class Planner:
    """Plans one run.

    Attributes
    ----------
    rows : the paired rows
    options : what is to be computed
    steps : the steps of such a run
    base : bytes the process holds before the run
    allowed : bytes it may hold; None where that is not known
    machine : what a short calibration found, from which the plan's seconds follow
    n, n_kept : rows, and rows that take part; of the paired rows, or another number of rows like them
    workers : the workers of a cluster; None where this process does all
    readers : threads that read
    """

    rows: PairedRows
    options: Options
    steps: Callable[[ProblemSize], Steps]
    base: int
    allowed: int | None
    machine: Machine
    n: int
    n_kept: int
    workers: Workers | None = None
    readers: int = 1

    @classmethod
    def of(
        cls,
        rows: PairedRows,
        options: Options,
        steps: Callable[[ProblemSize], Steps],
        memory: str | int | None,
        threads: Threads,
        kernels: Kernels,
        crew: Crew | None = None,
    ) -> Planner:
        """Look at the machine.

        Parameters
        ----------
        rows : the paired rows
        options : what is to be computed
        steps : the steps of such a run
        memory : what the process may hold, as ``"8G"``; by default four fifths of what is free
        threads : threads that compute
        kernels : the backend of the passes
        crew : the workers that share the passes; None where this process does all
        """
        base = resident_memory()
        machine = calibrate(rows, threads, kernels)
        allowed = base + available_memory() if memory is None else parse_bytes(memory)
        workers = None
        if crew is not None:
            of_cores = machine.gemm_rate * crew.threads / machine.threads
            workers = Workers(crew.count, of_cores if machine.card is None else machine.card.gemm_rate)
            if memory is None and crew.memory is not None:
                allowed = min(allowed, crew.memory)
        readers = reading_threads(kernels, threads.count)
        return cls(rows, options, steps, base, allowed, machine, rows.n, rows.n_kept, workers, readers)

    def projected(self, n: int | None, workers: Workers | None, memory: str | int | None) -> Planner:
        """Plan for another number of rows like these, of which the same share takes part, or for a cluster.

        What this machine has free limits nothing then but what is done here to find the sizes of the maps.

        Parameters
        ----------
        n : rows; None for as many as there are
        workers : the workers of a cluster; None where one process does all
        memory : what each process may hold; None where that is not known

        Raises
        ------
        PlanError
            When as many landmarks as are asked for cannot be made here.
        """
        features, size = self.options.features, self.options.size
        if features == "landmarks" and size is not None:
            needed = landmarks_cost(size, len(self.rows.embeddings), self.machine.threads).memory + SLACK
            if needed > (free := available_memory()):
                raise PlanError(
                    f"--size {size}: making {size:,} landmarks takes {format_bytes(needed)} of memory here, "
                    f"{format_bytes(free)} are free: take less, or plan on the machine that will be the client"
                )
        n_kept = self.n_kept
        if n is not None:
            match = self.rows.match
            n_kept = min(max(round(n * (match.matched - match.dropped) / self.n), 2), n)
            if self.options.sample is not None:
                n_kept = min(n_kept, self.options.sample)
        allowed = None if memory is None else self.allowed
        return replace(self, n=self.n if n is None else n, n_kept=n_kept, allowed=allowed, workers=workers)

    def fits(self, size: int) -> bool:
        """Whether a run with maps of some size keeps within the memory that is allowed, and that of a card."""
        return self.of_size(size).fits

    def of_size(self, size: int) -> Plan:
        """The plan with maps of some size, which is 0 for maps without one."""
        if self.options.features == "exact":
            return self.plan(())
        return self.plan(tuple(_shape(self.options.features, size, one.p) for one in self.rows.embeddings))

    def plan(self, maps: tuple[FeatureMap, ...], wide: bool = False) -> Plan:
        """The plan with some feature maps; none where the kernels themselves are used.

        `wide` says whether a kernel is evaluated in float64.
        """
        rows, d = self.rows, sum(one.dim for one in maps)
        spans = cut_spans(self.n, d, CHUNK_ROWS)
        row_bytes = sum(one.p * one.dtype.itemsize for one in rows.embeddings)
        extent = ProblemSize(
            self.options,
            maps,
            wide,
            [one.p for one in rows.embeddings],
            self.n,
            self.n_kept,
            self.n * row_bytes,
            len(spans),
            spans[0].stop,
            self.machine.threads,
            None if self.workers is None else self.workers.count,
            self.machine.card is not None,
        )
        held_blocks = rows.held_blocks(BLOCK_ROWS, RING, self.readers) + (0 if rows.kept is None else RING)
        block = min(BLOCK_ROWS, self.n) * row_bytes
        blocks = held_blocks * block

        def with_rows(cost: Cost) -> Cost:
            """The cost of a step with the rows that are in memory meanwhile."""
            memory = cost.memory + extent.sample * row_bytes + blocks
            of_worker = cost.worker_memory + blocks if cost.partial else 0
            on_card = cost.device_memory + FED_BLOCKS * block if cost.device_memory else 0
            return replace(cost, memory=memory, worker_memory=of_worker, device_memory=on_card)

        return Plan(
            self.n,
            self.n_kept,
            d,
            BLOCK_ROWS,
            spans,
            self.steps(extent).with_costs(with_rows),
            self.base,
            self.allowed,
            workers=self.workers,
            rows_given=None if self.n == rows.n else rows.n,
            card=self.machine.card,
        )


def _shape(features: str, size: int, p: int) -> FeatureMap:
    """A map of the right dimensions, for its costs alone."""
    if features == "linear":
        return LinearMap(p)
    if features == "landmarks":
        nothing = np.broadcast_to(np.float64(0), (size, size))
        return LandmarkMap(ExactKernel(np.zeros(p), False, None), np.arange(size), np.zeros((size, p)), nothing)
    return FourierMap(p, size, 1.0, 0, False, np.zeros(p), False)
