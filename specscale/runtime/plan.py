"""The plan: what a run will take, known before anything is computed."""

from __future__ import annotations

import ctypes
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from specscale.cost import Cost
from specscale.errors import OptionError, PlanError
from specscale.runtime.spans import Span
from specscale.runtime.threads import Threads
from specscale.stores.rows import PairedRows

__all__ = [
    "Machine",
    "Plan",
    "available_memory",
    "calibrate",
    "format_bytes",
    "parse_bytes",
    "peak_memory",
    "resident_memory",
    "return_memory",
]

ELEMENTARY_SECONDS = 0.5e-9  # of one pair on one core, by the compiled kernel
_CALIBRATION_BYTES = 16 << 20
SLACK = 96 << 20  # the allocator's own, and the buffers of BLAS


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
class Plan:
    """Spans and costs of a run.

    Attributes
    ----------
    n, n_kept, d : rows, rows that take part, dimension of the concatenated features
    block_rows : rows computed on at once
    spans : the runs of rows that are checkpointed
    steps : what each step costs
    base : bytes the process holds before the run
    memory : bytes it may hold
    solve_threads : threads of BLAS in each task of the solve; one, so that the bits do not depend on the machine's
    """

    n: int
    n_kept: int
    d: int
    block_rows: int
    spans: list[Span]
    steps: list[Cost]
    base: int
    memory: int
    solve_threads: int = 1

    @property
    def peak(self) -> int:
        """Projected peak of resident memory, in bytes."""
        return self.base + SLACK + max(step.memory for step in self.steps)

    @property
    def disk(self) -> int:
        """Projected disk, in bytes, of the work directory and the result."""
        return sum(step.disk for step in self.steps)

    @property
    def operations(self) -> float:
        """Floating-point operations of all matrix products."""
        return sum(step.operations for step in self.steps)

    def seconds(self, machine: Machine) -> dict[str, float]:
        """Projected seconds of each step: computing or reading, whichever is longer."""
        out = {}
        for step in self.steps:
            compute = (
                step.operations / (step.speed * machine.gemm_rate)
                + ELEMENTARY_SECONDS * step.elementary / machine.threads
            )
            out[step.name] = max(compute, step.read / machine.read_rate)
        return out

    def check_memory(self, remedy: str) -> None:
        """Raise PlanError when the projected peak exceeds the memory allowed."""
        if self.peak > self.memory:
            heaviest = max(self.steps, key=lambda step: step.memory).name
            raise PlanError(
                f"the plan needs {format_bytes(self.peak)} of memory (in the {heaviest} step), --memory allows "
                f"{format_bytes(self.memory)}: {remedy}"
            )

    def check_disk(self, folder: Path) -> None:
        """Raise PlanError when the disk that `folder` is on has no room for the work and the result."""
        free = shutil.disk_usage(_existing(folder)).free
        if self.disk > free:
            raise PlanError(
                f"the plan needs {format_bytes(self.disk)} of disk at {folder}, {format_bytes(free)} are free: "
                "choose another place with -o, or a smaller --size or --modes"
            )

    def to_json(self, machine: Machine) -> dict[str, Any]:
        """Return the plan as plain values, with the time it will take on a machine."""
        return {
            "rows": self.n,
            "rows_compared": self.n_kept,
            "dimension": self.d,
            "spans": len(self.spans),
            "span_rows": self.spans[0].stop - self.spans[0].start,
            "block_rows": self.block_rows,
            "memory": {"base": self.base, "peak": self.peak, "allowed": self.memory},
            "disk": self.disk,
            "operations": self.operations,
            "solve_threads": self.solve_threads,
            "steps": [vars(step) for step in self.steps],
            "machine": vars(machine),
            "seconds": self.seconds(machine),
        }


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


def available_memory() -> int:
    """Bytes of memory a run may take by default: four fifths of what is free, within the control group's limit."""
    free = psutil.virtual_memory().available
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        free = min(free, int(text))
    return int(0.8 * free)


def peak_memory() -> int:
    """Peak resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says on Linux begins with the memory of the process that started this one
        found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if psutil.MACOS else 1024)


def return_memory() -> None:
    """Give freed memory back to the system, where the C library can.

    glibc keeps what its threads freed for their next requests; without this the peaks of the steps would add up.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if psutil.LINUX else None
    if trim is not None:
        trim(0)


def resident_memory() -> int:
    """Resident memory of this process now, in bytes."""
    return int(psutil.Process().memory_info().rss)


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_bytes(text: str | int) -> int:
    """Read a size such as ``8G``, ``512M`` or a number of bytes.

    Raises
    ------
    OptionError
        When it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", str(text), re.IGNORECASE)
    if not found or float(found[1]) == 0:
        raise OptionError(f"--memory is a size such as 8G or 512M, not {text!r}")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def format_bytes(count: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("B", "KB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GB" if count < 999.5 else f"{count:,.0f} GB"


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
