"""The plan of a comparison: its spans, its steps' costs, and the size of its feature maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from specscale.features.bandwidth import SAMPLE_ROWS, bandwidth_cost
from specscale.features.maps import FeatureMap, FourierMap, LinearMap
from specscale.options import Options
from specscale.passes.covariance import covariance_cost
from specscale.passes.record import BLOCK_ROWS, feature_cost
from specscale.passes.scores import score_cost
from specscale.runtime.local import RING
from specscale.runtime.plan import Machine, Plan, available_memory, calibrate, parse_bytes, resident_memory
from specscale.runtime.spans import cut_spans
from specscale.runtime.threads import Threads
from specscale.spectral.difference import solve_cost
from specscale.stores.layout import CHUNK_ROWS
from specscale.stores.rows import PairedRows

__all__ = ["Sized", "sized_plan"]

AUTO_SIZE = 1000
_LEAST_SIZE = 8


@dataclass(frozen=True)
class Sized:
    """A plan, and the size of the feature maps it is for.

    Attributes
    ----------
    plan : spans and costs
    size : frequencies of a Fourier map, 0 for maps without a size
    machine : what a short calibration found, from which the plan's seconds follow
    """

    plan: Plan
    size: int
    machine: Machine


def sized_plan(rows: PairedRows, options: Options, memory: str | int | None, threads: Threads) -> Sized:
    """Plan a comparison and choose the size of its maps where it is left open.

    Parameters
    ----------
    rows : the paired rows
    options : what is to be computed
    memory : what the process may hold, as ``"8G"``; by default four fifths of what is free
    threads : threads that compute

    Raises
    ------
    PlanError
        When the plan does not fit in `memory`; the message names the option that brings it under.
    """
    base = resident_memory()
    allowed = base + available_memory() if memory is None else parse_bytes(memory)

    def plan(size: int) -> Plan:
        return _plan(rows, options, size, threads.count, base, allowed)

    if options.features == "linear":
        fixed = plan(0)
        fixed.check_memory(f"allow at least --memory {_megabytes(fixed.peak)}, or take a sample with --sample")
        return Sized(fixed, 0, calibrate(rows, threads))
    wanted = options.size or AUTO_SIZE
    chosen = plan(wanted)
    if chosen.peak > allowed:
        fitting = _largest_fitting(plan, wanted, allowed)
        if options.size is not None or not fitting:
            remedy = (
                f"--size {fitting} brings it under"
                if fitting
                else (f"allow at least --memory {_megabytes(plan(_LEAST_SIZE).peak)}")
            )
            chosen.check_memory(remedy)
        return Sized(plan(fitting), fitting, calibrate(rows, threads))
    return Sized(chosen, wanted, calibrate(rows, threads))


def _largest_fitting(plan: Callable[[int], Plan], most: int, allowed: int) -> int:
    """The largest size whose plan fits, 0 where none does."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if plan(middle).peak <= allowed else (low, middle)
    return low if low >= _LEAST_SIZE else 0


def _megabytes(count: int) -> str:
    return f"{-(-count // (1 << 20))}M"


def _plan(rows: PairedRows, options: Options, size: int, threads: int, base: int, allowed: int) -> Plan:
    maps = tuple(_shape(options.features, size, one.p) for one in rows.embeddings)
    d, n, n_kept = sum(one.dim for one in maps), rows.n, rows.n_kept
    spans = cut_spans(n, d, CHUNK_ROWS)
    row_bytes = sum(one.p * one.dtype.itemsize for one in rows.embeddings)
    read = n * row_bytes
    reading = RING * min(BLOCK_ROWS, n) * row_bytes * (1 if rows.kept is None else 2)
    n_modes = min(options.n_modes, d)
    k = 2 * n_modes
    tails = 6 * 2 * k * min(options.top, n_kept) * 16  # of a few spans at once, while they are merged
    sample = min(SAMPLE_ROWS, n_kept)
    solve = solve_cost(d, n_modes)
    scores = score_cost(maps, n, n_kept, read, k, CHUNK_ROWS, threads)
    steps = [
        covariance_cost(maps, n_kept, read, len(spans), threads),
        replace(solve, memory=solve.memory + feature_cost(maps, 0)),  # the buffers stay for the scores
        replace(scores, memory=scores.memory + tails),
    ]
    if any(rule.kind != "number" for rule in options.rules) and options.features != "linear":
        steps.insert(0, bandwidth_cost([one.p for one in rows.embeddings], sample))
    held = sample * row_bytes + reading
    steps = [replace(step, memory=step.memory + held) for step in steps]
    return Plan(n, n_kept, d, BLOCK_ROWS, spans, steps, base, allowed)


def _shape(features: str, size: int, p: int) -> FeatureMap:
    """A map of the right dimensions, for its costs alone."""
    return LinearMap(p) if features == "linear" else FourierMap(p, size, 1.0, 0, False, np.zeros(p), False)
