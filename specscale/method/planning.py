"""The plan of a comparison: what each step takes, and the largest feature maps that fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from specscale.cost import Cost
from specscale.embeddings.duplicates import MOST_ROWS, duplicates_cost
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.embeddings.rows import PairedRows
from specscale.errors import OptionError, PlanError
from specscale.features.bandwidth import SAMPLE_ROWS, bandwidth_cost
from specscale.features.base import FeatureMap
from specscale.features.fourier import FourierMap
from specscale.features.kernel import WIDE_EFFORT, ExactKernel
from specscale.features.landmarks import LandmarkMap, landmarks_cost
from specscale.features.linear import LinearMap
from specscale.grid import BLOCK_ROWS
from specscale.kernels.base import load_kernels
from specscale.method.options import Options
from specscale.method.refining import sweeps_cost
from specscale.method.sizing import SIZES, check_size
from specscale.passes.covariance import covariance_cost
from specscale.passes.mapping import feature_cost
from specscale.passes.products import products_cost
from specscale.passes.remainders import far_draws, remainders_cost
from specscale.passes.scores import score_cost
from specscale.runtime.machine import SLACK, Crew, Machine, Plan, Workers, calibrate
from specscale.runtime.memory import available_memory, resident_memory
from specscale.runtime.spans import cut_spans
from specscale.runtime.sweep import RING
from specscale.runtime.threads import Threads
from specscale.spectral.difference import solve_cost
from specscale.spectral.lanczos import BLOCKS, GUARD, MAX_BLOCKS
from specscale.spectral.tiles import TiledSymmetric
from specscale.units import format_bytes, parse_bytes

__all__ = ["MOST_EXACT_ROWS", "Planner"]

FOURIER_SIZE = 1000
MOST_EXACT_ROWS = 100_000
_LEAST_SIZE = 8


@dataclass(frozen=True)
class Planner:
    """Plans one comparison.

    Attributes
    ----------
    rows : the paired rows
    options : what is to be computed
    base : bytes the process holds before the run
    allowed : bytes it may hold; None where that is not known
    machine : what a short calibration found, from which the plan's seconds follow
    n, n_kept : rows, and rows that take part; of the paired rows, or another number of rows like them
    workers : the workers of a cluster; None where this process does all
    """

    rows: PairedRows
    options: Options
    base: int
    allowed: int | None
    machine: Machine
    n: int
    n_kept: int
    workers: Workers | None = None

    @classmethod
    def of(
        cls,
        rows: PairedRows,
        options: Options,
        memory: str | int | None,
        threads: Threads,
        crew: Crew | None = None,
    ) -> Planner:
        """Look at the machine.

        Parameters
        ----------
        rows : the paired rows
        options : what is to be computed
        memory : what the process may hold, as ``"8G"``; by default four fifths of what is free
        threads : threads that compute
        crew : the workers that share the passes; None where this process does all
        """
        base = resident_memory()
        machine = calibrate(rows, threads, load_kernels())
        allowed = base + available_memory() if memory is None else parse_bytes(memory)
        workers = None
        if crew is not None:
            workers = Workers(crew.count, machine.gemm_rate * crew.threads / machine.threads)
            if memory is None and crew.memory is not None:
                allowed = min(allowed, crew.memory)
        return cls(rows, options, base, allowed, machine, rows.n, rows.n_kept, workers)

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

    def largest_size(self) -> int:
        """The size of the maps that was asked for, or else the largest that fits and is of use.

        Raises
        ------
        PlanError
            When what was asked for does not fit in memory; the message names the option that brings it under.
        OptionError
            When exact modes are asked of more rows than can be done, or more landmarks than there are rows.
        """
        features, size = self.options.features, self.options.size
        check_size(self.options, self.n_kept)
        if features == "exact" and self.n_kept > MOST_EXACT_ROWS:
            raise OptionError(
                f"--features exact takes time in the square of the rows, and {self.n_kept:,} are more than "
                f"{MOST_EXACT_ROWS:,}: take landmarks with --refine 1, or --sample {MOST_EXACT_ROWS}"
            )
        if features in ("linear", "exact"):
            plan = self._plan_of_size(0)
            plan.check_memory(f"allow at least --memory {_megabytes(plan.peak)}, or take a sample with --sample")
            return 0
        wanted = size or (min(SIZES[-1], self.n_kept) if features == "landmarks" else FOURIER_SIZE)
        plan = self._plan_of_size(wanted)
        if self.allowed is None or plan.peak <= self.allowed:
            return wanted
        fitting = self._largest_fitting(wanted, self.allowed)
        if size is None and fitting:
            return fitting
        least = min(_LEAST_SIZE, wanted) if size is None else size
        plan.check_memory(
            f"--size {fitting} brings it under"
            if fitting
            else f"allow at least --memory {_megabytes(self._plan_of_size(least).peak)}"
        )
        raise PlanError("no size fits")  # check_memory raises: the peak is above what is allowed

    def _largest_fitting(self, most: int, allowed: int) -> int:
        """The largest size whose plan fits, 0 where none does."""
        low, high = 0, most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._plan_of_size(middle).peak <= allowed else (low, middle)
        return low if low >= _LEAST_SIZE else 0

    def _plan_of_size(self, size: int) -> Plan:
        if self.options.features == "exact":
            return self.plan(())
        return self.plan(tuple(_shape(self.options.features, size, one.p) for one in self.rows.embeddings))

    def plan(self, maps: tuple[FeatureMap, ...], wide: bool = False) -> Plan:
        """The plan with some feature maps; none where the kernels themselves are used.

        `wide` says whether a kernel is evaluated in float64.
        """
        slower = WIDE_EFFORT if wide else 1.0
        rows, options, threads = self.rows, self.options, self.machine.threads
        d, n, n_kept = sum(one.dim for one in maps), self.n, self.n_kept
        spans = cut_spans(n, d, CHUNK_ROWS)
        dimensions = [one.p for one in rows.embeddings]
        row_bytes = sum(one.p * one.dtype.itemsize for one in rows.embeddings)
        read = n * row_bytes
        n_modes = min(options.n_modes, d or n_kept)
        k = 2 * n_modes
        tails = 6 * 2 * k * min(options.top, n_kept) * 16  # of a few spans at once, while they are merged
        sample = min(SAMPLE_ROWS, n_kept)
        # Both stay from pass to pass.
        features, tiles = (feature_cost(maps, threads), 8 * TiledSymmetric.size(d)) if maps else (0, 0)
        block = min(2 * (n_modes + GUARD), n_kept)
        steps = [duplicates_cost(n_kept, read)] if n_kept <= MOST_ROWS else []
        if options.kernel == "gaussian":
            steps.append(bandwidth_cost(dimensions, sample))
        if options.features == "landmarks":
            size = max(one.landmarks.shape[0] for one in maps if isinstance(one, LandmarkMap))
            steps.append(landmarks_cost(size, len(maps), threads))
        vectors = 0
        if maps:
            solved = n_modes + (GUARD if options.refine else 0)
            solve = solve_cost(d, solved)
            steps.append(_passes(covariance_cost(maps, n_kept, read, len(spans), threads)))
            steps.append(replace(solve, memory=solve.memory + features))
            if options.refine:
                start = score_cost(maps, n, n_kept, read, block, CHUNK_ROWS, threads)
                memory = start.memory + tiles + 8 * n_kept * block
                steps.append(replace(start, name="start", memory=memory, disk=0, partial=0))
                sweeps = sweeps_cost("refine", dimensions, n_kept, block, options.refine + 1, read, threads)
                sweeps = replace(sweeps, speed=sweeps.speed / slower)
                steps.append(replace(sweeps, memory=sweeps.memory + features + tiles))
                vectors = 8 * n_kept * k
        else:
            sweeps = sweeps_cost("exact", dimensions, n_kept, block, BLOCKS, read, threads)
            sweeps = replace(sweeps, speed=sweeps.speed / slower)
            # Convergence may take more blocks than it mostly does.
            steps.append(replace(sweeps, memory=sweeps.memory + 8 * n_kept * block * (MAX_BLOCKS - BLOCKS)))
            vectors = 8 * n_kept * k
        scores = score_cost(() if vectors else maps, n, n_kept, read, k, CHUNK_ROWS, threads, min(options.top, n_kept))
        asked = min(options.certify, n_kept)
        if asked and options.features == "landmarks" and not vectors and n_kept > asked:
            draws = far_draws(asked, len(dimensions))
            scores = _at_once(scores, remainders_cost(dimensions, size, n_kept, draws, threads))
        beside = vectors + features if vectors else 0
        steps.append(_passes(replace(scores, memory=scores.memory + tails), tiles + beside))
        if options.certify:
            check = products_cost("certificate", dimensions, asked, k, n_kept, read + n * k * 4, threads)
            steps.append(_passes(replace(check, speed=check.speed / slower), vectors + features + tiles))
        held_blocks = rows.held_blocks(BLOCK_ROWS, RING) + (0 if rows.kept is None else RING)
        blocks = held_blocks * min(BLOCK_ROWS, n) * row_bytes
        steps = [
            replace(
                step,
                memory=step.memory + sample * row_bytes + blocks,
                worker_memory=step.worker_memory + blocks if step.partial else 0,
            )
            for step in steps
        ]
        given = None if n == rows.n else rows.n
        return Plan(
            n, n_kept, d, BLOCK_ROWS, spans, steps, self.base, self.allowed, workers=self.workers, rows_given=given
        )


def _at_once(first: Cost, second: Cost) -> Cost:
    """The cost of two passes as one, under the name of the first; the rows are read once."""
    return replace(
        first,
        memory=first.memory + second.memory,
        operations=first.operations + second.operations,
        elementary=first.elementary + second.elementary,
        partial=first.partial + second.partial,
    )


def _passes(cost: Cost, beside: int = 0) -> Cost:
    """The cost of a pass beside which this process holds some bytes that workers do not need."""
    return replace(cost, memory=cost.memory + beside, worker_memory=cost.memory)


def _megabytes(count: int) -> str:
    """A size that is enough in the next run too, whose process may hold a little more before it begins."""
    step = 16 << 20
    return f"{16 * (1 + -(-count // step))}M"


def _shape(features: str, size: int, p: int) -> FeatureMap:
    """A map of the right dimensions, for its costs alone."""
    if features == "linear":
        return LinearMap(p)
    if features == "landmarks":
        nothing = np.broadcast_to(np.float64(0), (size, size))
        return LandmarkMap(ExactKernel(np.zeros(p), False, None), np.arange(size), np.zeros((size, p)), nothing)
    return FourierMap(p, size, 1.0, 0, False, np.zeros(p), False)
