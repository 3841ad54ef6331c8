"""The machine: what a short calibration finds, and the workers of a cluster that is there."""

from __future__ import annotations

import time
from dataclasses import dataclass

from specscale.embeddings.rows import PairedRows
from specscale.kernels.base import Kernels
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


def calibrate(rows: PairedRows, threads: Threads, kernels: Kernels) -> Machine:
    """Measure the gemm rate and the read rate for a fraction of a second each.

    Meant to be called under single-threaded BLAS, as the passes are.
    """
    gemm_rate = kernels.calibrate(threads.count, threads.run)
    row_bytes = sum(one.p * one.dtype.itemsize for one in rows.embeddings)
    stop = max(1, min(rows.n, _CALIBRATION_BYTES // row_bytes))
    began = time.perf_counter()
    count = sum(one.read(0, stop).nbytes for one in rows.embeddings)
    return Machine(gemm_rate, count / max(time.perf_counter() - began, 1e-6), threads.count)
