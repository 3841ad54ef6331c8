"""Peak memory of whole processes: against the plan, and as n grows tenfold at equal d."""

from __future__ import annotations

import json
from typing import Any

from bench.common import measured, mixture_store, report, specscale, workspace

ALLOWED = 64 * 2**20
BYTES_A_ROW = 16


def run(counts: tuple[int, ...] = (100_000, 1_000_000)) -> None:
    table: list[dict[str, Any]] = []
    with workspace() as folder:
        for n in counts:
            a, b = (
                mixture_store(folder / f"{name}-{n}.zarr", n, p, seed) for name, p, seed in (("a", 96, 2), ("b", 64, 3))
            )
            out = folder / f"{n}.spec"
            seconds, peak, *_ = measured(
                specscale("compare", a, b, "-o", out, "--features", "orthogonal", "--size", "500", "--quiet")
            )
            summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
            projected = summary["plan"]["memory"]["peak"]
            table.append(
                {
                    "n": n,
                    "d": summary["maps"]["dimension"],
                    "seconds": seconds,
                    "peak MB": peak / 2**20,
                    "projected MB": projected / 2**20,
                    "within": str(peak <= projected),
                    "growth MB": (peak - table[0]["peak MB"] * 2**20) / 2**20 if table else 0.0,
                    "allowed MB": (ALLOWED + BYTES_A_ROW * (n - counts[0])) / 2**20 if table else 0.0,
                }
            )
    report(
        "memory",
        table,
        "Gaussian mixtures in Zarr stores, float16, orthogonal maps of 500 frequencies, auto σ, certificate",
    )
