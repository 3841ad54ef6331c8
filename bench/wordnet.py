"""The whole job on the WordNet pair, whole processes: landmarks with certificate, Fourier maps, and refinement."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from bench.common import measured, report, specscale, text_stores, workspace

ROUNDS = 3
STEPS = ("pairing", "duplicates", "bandwidth", "landmarks", "covariance", "solve", "scores", "certificate")


def run(sample: int | None = None, sizes: tuple[int, int] = (1000, 3000), rounds: int = ROUNDS) -> None:
    ours, theirs = f"landmarks {sizes[0]}", f"fourier {sizes[1]}"
    with workspace() as folder:
        *stores, what = text_stores(folder)
        options = ["--normalize", "unit", "--on-bad", "drop", "--quiet"]
        if sample is not None:
            options += ["--sample", str(sample)]

        def job(name: str, *more: str) -> dict[str, Any]:
            out = folder / f"{name}.spec"
            features, size = name.split(maxsplit=2)[:2]
            command = specscale("compare", *stores, "-o", out, "--features", features, "--size", size, *more)
            seconds, peak, *_ = measured([*command, *options, "--rounds", "0", "--overwrite"])
            return _line(name, seconds, peak, out)

        # One after the other in turn, so that a busy neighbour weighs on both alike.
        lines = [[job(ours), job(theirs)] for _ in range(rounds)]
        table = [_median(list(one)) for one in zip(*lines, strict=True)]
        table.append(job(f"{ours} refined", "--refine", "1"))
    peer = table[1]["seconds"]
    for row in table:
        row["times faster"] = peer / row["seconds"]
    rows = "all rows" if sample is None else f"{sample:,} rows"
    report(
        "wordnet",
        table,
        f"{what} pair in Zarr stores, {rows}, unit norm, σ by auto, certificate of 256 rows; seconds from the start of "
        f"a process to its end and of each step, median of {rounds} (refined: once); 'job / covariance' = seconds over "
        f"those of the covariance pass of the same process; times faster than {theirs}; GFLOP/s of gemm as the process "
        "measured it beside its work",
    )


def _line(name: str, seconds: float, peak: int, out: Path) -> dict[str, Any]:
    """What a process took, as it was measured from outside and as its result tells."""
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    steps, plan = summary["measured"]["seconds"], summary["plan"]
    sweeps = {f"sweep {number}": steps.get(f"refine, sweep {number}", 0.0) for number in (1, 2)}
    return {
        "job": name,
        "d": summary["maps"]["dimension"],
        "seconds": seconds,
        **{step: steps[step] for step in STEPS},
        **sweeps,
        "job / covariance": seconds / steps["covariance"],
        "peak MB": peak / 2**20,
        "planned MB": plan["memory"]["peak"] / 2**20,
        "planned seconds": sum(plan["seconds"].values()),
        "gemm GFLOP/s": plan["machine"]["gemm_rate"] / 1e9,
        "certified": sum(mode["certified"] for mode in summary["modes"]),
    }


def _median(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each column over the rounds of one job."""
    return {
        column: value if isinstance(value, (str, int)) else statistics.median(line[column] for line in lines)
        for column, value in lines[0].items()
    }
