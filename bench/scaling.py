"""Time and memory of whole comparisons as rows, features and workers grow, against the plan and the gemm rate."""

from __future__ import annotations

import json
import os
import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.common import gemm_rate, measured, planted_store, report, specscale, workspace

COUNTS = (10_000, 100_000, 1_000_000, 10_000_000)
SIZES = (250, 500, 1000)
WORKERS = (1, 2)
DIMENSIONS = (256, 128)
PASSES = ("covariance", "scores", "certificate")
SHARED = 1_000_000  # rows for the tables of features and workers
MEMORY = Path("/dev/shm")
FITTED = 100_000  # rows from which the exponent is fitted: below, a pass is over before its threads are warm


def run(counts: tuple[int, ...] = COUNTS, sizes: tuple[int, ...] = SIZES, workers: tuple[int, ...] = WORKERS) -> None:
    what = f"planted groups, {DIMENSIONS[0]} + {DIMENSIONS[1]} dimensions, float16, σ by auto"
    each = f"{what}, 500 landmarks for each map"
    with workspace() as folder:
        rows = _grown(folder, counts)
        report("scaling", rows, f"{each}; {_exponents(rows)}")
        with _stores(folder, SHARED) as stores:
            table = [_compared(folder, stores, "--size", str(size)) for size in sizes]
            report("scaling_d", table, f"{what}, {SHARED:,} rows")
            table = [
                _compared(folder, stores, "--size", "500", "--workers", str(count)) | {"workers": count}
                for count in workers
            ]
            report("scaling_workers", table, f"{each}, {SHARED:,} rows, the cores shared by the workers")
    if MEMORY.is_dir() and psutil.virtual_memory().available > 2 * counts[-1] * sum(DIMENSIONS) * 2:
        with workspace(MEMORY) as folder:
            rows = _grown(folder, [n for n in counts if n >= FITTED])
            report("scaling_memory", rows, f"{each}, all files in a file system in memory; {_exponents(rows)}")


def _grown(folder: Path, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Compare ever more rows."""
    rows = []
    for n in counts:
        with _stores(folder, n) as stores:
            rounds = 3 if n < 1_000_000 else 2
            rows.append(_median([_compared(folder, stores, "--size", "500") for _ in range(rounds)]))
    return rows


@contextmanager
def _stores(folder: Path, n: int) -> Iterator[list[Path]]:
    stores = [planted_store(folder / f"{name}.zarr", n, p) for name, p in zip("ab", DIMENSIONS, strict=True)]
    os.sync()  # what is still being written would be in the way
    yield stores
    for store in stores:
        shutil.rmtree(store)


def _compared(folder: Path, stores: list[Path], *options: str) -> dict[str, Any]:
    """Compare in a process of its own: seconds of the passes, also in units of the gemm rate measured beside it."""
    out = folder / "out.spec"
    before = gemm_rate()
    seconds, peak, from_disk, _ = measured(specscale("compare", *stores, "-o", out, "--quiet", "--overwrite", *options))
    rate = (before + gemm_rate()) / 2
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    n, took, planned = summary["rows"]["total"], summary["measured"]["seconds"], summary["plan"]["seconds"]
    passes = {f"{name} s": took[name] for name in PASSES}
    per_row = {f"{name} Mflop/row": took[name] * rate / n / 1e6 for name in PASSES}
    return {
        "n": n,
        "d": summary["maps"]["dimension"],
        "seconds": seconds,
        **passes,
        "gemm GFLOP/s": rate / 1e9,
        **per_row,
        "plan / measured": sum(planned[name] for name in PASSES) / sum(passes.values()),
        "from disk GB": from_disk / 1e9,
        "peak MB": peak / 2**20,
        "plan MB": summary["plan"]["memory"]["peak"] / 2**20,
    }


def _median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def _exponents(rows: list[dict[str, Any]]) -> str:
    """The exponents in n of the passes' times, each normalised by the gemm rate measured beside it."""
    fitted = [row for row in rows if row["n"] >= FITTED]
    if len(fitted) < 2:
        return "no exponent fitted"
    n = np.log([row["n"] for row in fitted])
    found = []
    for name in PASSES:
        work = np.log([row[f"{name} Mflop/row"] * row["n"] for row in fitted])
        found.append(f"{name} {np.polyfit(n, work, 1)[0]:.3f}")
    total = np.log([sum(row[f"{name} Mflop/row"] for name in PASSES) * row["n"] for row in fitted])
    bytes_a_row = (fitted[-1]["peak MB"] - fitted[-2]["peak MB"]) * 2**20 / (fitted[-1]["n"] - fitted[-2]["n"])
    return (
        f"exponents in n from {fitted[0]['n']:,.0f} rows on, times × gemm rate: {', '.join(found)}, together "
        f"{np.polyfit(n, total, 1)[0]:.3f}; peak memory grows by {bytes_a_row:.1f} bytes a row at the end"
    )
