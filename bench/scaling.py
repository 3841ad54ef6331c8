"""Time and memory of whole comparisons as rows, features and workers grow, against the plan and the gemm rate."""

from __future__ import annotations

import json
import os
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import gemm_rate, measured, planted_store, report, specscale, workspace

COUNTS = (10_000, 100_000, 1_000_000, 10_000_000)
SIZES = (250, 500, 1000)
WORKERS = (1, 2)
DIMENSIONS = (256, 128)
PASSES = ("covariance", "scores", "certificate")
FITTED = 100_000  # rows from which the exponent is fitted: below, a pass is over before its threads are warm


def run(counts: tuple[int, ...] = COUNTS, sizes: tuple[int, ...] = SIZES, workers: tuple[int, ...] = WORKERS) -> None:
    with workspace() as folder:
        rows: list[dict[str, Any]] = []
        for n in counts:
            stores = [planted_store(folder / f"{name}.zarr", n, p) for name, p in zip("ab", DIMENSIONS, strict=True)]
            os.sync()  # what is still being written would be in the way
            rounds = 3 if n < 1_000_000 else 2
            rows.append(_median([_compared(folder, stores, "--size", "500") for _ in range(rounds)]))
            if n == 1_000_000:
                features = [_compared(folder, stores, "--size", str(size)) for size in sizes]
                shared = [_compared(folder, stores, "--size", "500", "--workers", str(count)) for count in workers]
                for count, one in zip(workers, shared, strict=True):
                    one["workers"] = count
            for store in stores:
                shutil.rmtree(store)
        what = f"planted groups, {DIMENSIONS[0]} + {DIMENSIONS[1]} dimensions, float16, σ by auto"
        report("scaling", rows, f"{what}, 500 landmarks for each map; {_exponents(rows)}")
        if counts[-1] >= 1_000_000:
            report("scaling_d", features, f"{what}, 1,000,000 rows")
            report("scaling_workers", shared, f"{what}, 1,000,000 rows, 500 landmarks, the cores shared by the workers")


def _compared(folder: Path, stores: list[Path], *options: str) -> dict[str, Any]:
    """Compare in a process of its own: seconds of the passes, also in units of the gemm rate measured beside it."""
    out = folder / "out.spec"
    before = gemm_rate()
    seconds, peak, _ = measured(specscale("compare", *stores, "-o", out, "--quiet", "--overwrite", *options))
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
