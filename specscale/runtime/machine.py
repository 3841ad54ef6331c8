"""The machine: what a short calibration finds, and the workers of a cluster that is there."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from specscale.embeddings.rows import PairedRows
from specscale.kernels.base import Kernels
from specscale.runtime.sweeper import reading_threads
from specscale.runtime.threads import Threads

__all__ = ["Card", "Crew", "Machine", "calibrate"]

_CALIBRATION_BYTES = 16 << 20
_COPIED_BYTES = 16 << 20
_COPIES = 8


@dataclass(frozen=True)
class Card:
    """What a short calibration found of the card that the passes run on.

    Attributes
    ----------
    name : what it is called
    gemm_rate : single-precision operations a second
    copy_rate : bytes a second from pinned memory into its own
    memory : bytes of its memory that are free
    """

    name: str
    gemm_rate: float
    copy_rate: float
    memory: int


@dataclass(frozen=True)
class Machine:
    """What a short calibration found.

    Attributes
    ----------
    gemm_rate : single-precision operations a second on all threads
    read_rate : bytes a second from the embeddings, likely from the page cache
    threads : threads that compute
    card : what the passes run on; None where that is this machine's cores
    """

    gemm_rate: float
    read_rate: float
    threads: int
    card: Card | None = None


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
    """Measure the gemm rate and the read rate for a fraction of a second each, and those of a card.

    Meant to be called under single-threaded BLAS, as the passes are.
    """
    gemm_rate = kernels.host.calibrate(threads.count, threads.run)
    row_bytes = sum(one.p * one.dtype.itemsize for one in rows.embeddings)
    readers = reading_threads(kernels, threads.count)
    stop = max(1, min(rows.n, readers * _CALIBRATION_BYTES // row_bytes))
    began = time.perf_counter()
    if readers == 1:
        for one in rows.embeddings:
            one.read(0, stop)
    else:
        for _ in replace(rows, kept=None).blocks([(0, stop)], -(-stop // readers), 1, readers=readers):
            pass
    read_rate = stop * row_bytes / max(time.perf_counter() - began, 1e-6)
    return Machine(gemm_rate, read_rate, threads.count, _card(threads, kernels))


def _card(threads: Threads, kernels: Kernels) -> Card | None:
    """Measure a card; None where the memory of the backend is the host's."""
    free = kernels.free_memory()
    if free is None:
        return None
    gemm_rate = kernels.calibrate(threads.count, threads.run)
    rows = kernels.pinned((_COPIED_BYTES,), np.uint8)
    rows.fill(0)
    kernels.feed(rows)
    began = time.perf_counter()
    for _ in range(_COPIES):
        kernels.feed(rows)
    copy_rate = _COPIES * _COPIED_BYTES / max(time.perf_counter() - began, 1e-6)
    del rows
    kernels.release()
    return Card(kernels.card or kernels.name, gemm_rate, copy_rate, free)
