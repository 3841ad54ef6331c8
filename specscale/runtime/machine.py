"""The machine: what a short calibration finds, and the workers of a cluster that is there."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from specscale.embeddings.rows import PairedRows
from specscale.runtime.threads import Threads

__all__ = ["Crew", "Machine", "calibrate"]

_CALIBRATION_BYTES = 16 << 20


@dataclass(frozen=True)
class Machine:
    """What a short calibration found.

    Attributes
    ----------
    gemm_rate : single-precision operations a second on all threads
    read_rate : bytes a second from the embeddings, likely from the page cache
    threads : threads that compute
    """

    gemm_rate: float
    read_rate: float
    threads: int


@dataclass(frozen=True)
class Crew:
    """The workers of a cluster that is there.

    Attributes
    ----------
    count : how many
    threads : threads that compute in each
    memory : bytes that each may hold; None where that is not known
    """

    count: int
    threads: int
    memory: int | None


def calibrate(rows: PairedRows, threads: Threads) -> Machine:
    """Measure the gemm rate and the read rate for a fraction of a second each.

    Meant to be called under single-threaded BLAS, as the passes are.
    """
    size = 1024
    left = np.ones((size, size), dtype=np.float32)
    outs = [np.empty_like(left) for _ in range(threads.count)]
    tasks = [lambda out=out: np.matmul(left, left, out=out) for out in outs]
    threads.run(tasks)
    began = time.perf_counter()
    rounds = 0
    while time.perf_counter() - began < 0.1:
        threads.run(tasks)
        rounds += 1
    gemm_rate = rounds * len(tasks) * 2 * size**3 / (time.perf_counter() - began)
    row_bytes = sum(one.p * one.dtype.itemsize for one in rows.embeddings)
    stop = max(1, min(rows.n, _CALIBRATION_BYTES // row_bytes))
    began = time.perf_counter()
    count = sum(one.read(0, stop).nbytes for one in rows.embeddings)
    return Machine(gemm_rate, count / max(time.perf_counter() - began, 1e-6), threads.count)
