"""The passes on local Dask clusters against one process: time, efficiency and bytes moved."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import psutil

from bench.common import gemm_rate, measured, planted_store, report, specscale, workspace

ROWS = 524_288  # four spans of d = 4,000
ROUNDS = 2
CASES = {
    "one process, 1 thread": ("--threads", "1"),
    "1 worker, 1 thread": ("--workers", "1", "--threads", "1"),
    "2 workers, 1 thread each": ("--workers", "2", "--threads", "1"),
    "4 workers, 1 thread each": ("--workers", "4", "--threads", "1"),
    "one process, 2 threads": ("--threads", "2"),
    "1 worker, 2 threads": ("--workers", "1", "--threads", "2"),
}


def run(n: int = ROWS, size: int = 1000, rounds: int = ROUNDS) -> None:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CASES}
    with workspace() as folder:
        stores = [planted_store(folder / f"{name}.zarr", n, p) for name, p in (("a", 256), ("b", 128))]
        for _ in range(rounds):
            for name, options in CASES.items():
                found[name].append(_compared(folder, stores, size, options))
    table = []
    for name, runs in found.items():
        row = {key: statistics.median(one[key] for one in runs) for key in runs[0]}
        alone = _work(found["1 worker, 1 thread"])
        row["covariance, times 1 worker"] = alone / _work(runs)
        table.append({"what": name, **row})
    report(
        "distributed",
        table,
        f"planted groups, {n:,} rows, 256 + 128 dimensions, float16, orthogonal maps of {size} frequencies; "
        "'times 1 worker' compares covariance passes in units of the gemm rate measured beside each",
    )


def _work(runs: list[dict[str, Any]]) -> float:
    return statistics.median(one["covariance s"] * one["gemm GFLOP/s"] for one in runs)


def _compared(folder: Path, stores: list[Path], size: int, options: tuple[str, ...]) -> dict[str, Any]:
    out = folder / "out.spec"
    before, sent = gemm_rate(), psutil.net_io_counters(pernic=True)["lo"].bytes_sent
    seconds, peak, *_ = measured(
        specscale(
            "compare", *stores, "-o", out, "--quiet", "--overwrite", "--features", "orthogonal", "--size", size,
            "--normalize", "unit", *options,
        )
    )  # fmt: skip
    sent = psutil.net_io_counters(pernic=True)["lo"].bytes_sent - sent
    rate = (before + gemm_rate()) / 2
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    moved = summary["measured"]["moved"]
    planned = {step["name"]: step["moved"] for step in summary["plan"]["steps"]}
    distributed = "--workers" in options
    return {
        "seconds": seconds,
        **{f"{name} s": summary["measured"]["seconds"][name] for name in ("covariance", "scores", "certificate")},
        "gemm GFLOP/s": rate / 1e9,
        "peak MB of the client": peak / 2**20,
        "moved MB": sum(moved.values()) / 2**20,
        "plan / moved": sum(planned[name] for name in moved) / sum(moved.values()) if distributed else 1.0,
        "loopback MB": sent / 2**20,
    }
