"""The whole job, process start to result on disk, against the same job in memory with PyTorch, as n grows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from bench.common import measured, report, specscale, text_arrays, workspace
from specscale.stores.ingest import ingest

PEER = Path(__file__).parent / "peers" / "torch_in_memory.py"
SIGMAS = ("0.683", "0.672")


def run(counts: tuple[int, ...] = (25_000, 50_000, 100_000, 200_000)) -> None:
    table = []
    sigmas = ["--sigma-a", SIGMAS[0], "--sigma-b", SIGMAS[1]]
    with workspace() as folder:
        a, b, what = text_arrays(folder)
        for n in counts:
            paths, stores = [], []
            for name, source in (("a", a), ("b", b)):
                rows = np.load(source, mmap_mode="r")
                paths.append(folder / f"{name}-{n}.npy")
                np.save(paths[-1], np.resize(rows, (n, rows.shape[1])))
                stores.append(folder / f"{name}-{n}.zarr")
                ingest(paths[-1], stores[-1])
            ours, our_peak, *_ = measured(
                specscale(
                    "compare", *stores, "-o", folder / f"{n}.spec", "--features", "fourier", "--size", "1000",
                    "--certify", "0", *sigmas, "--normalize", "unit", "--on-bad", "drop", "--quiet",
                )
            )  # fmt: skip
            theirs, their_peak, _, text = measured(
                [
                    sys.executable,
                    str(PEER),
                    *map(str, paths),
                    "--size",
                    "1000",
                    "--sigma-a",
                    SIGMAS[0],
                    "--sigma-b",
                    SIGMAS[1],
                ]
            )
            summary = json.loads((folder / f"{n}.spec" / "summary.json").read_text(encoding="utf-8"))
            found = [mode["eigenvalue"] for mode in summary["modes"]]
            table.append(
                {
                    "n": n,
                    "seconds": ours,
                    "torch seconds": theirs,
                    "times faster": theirs / ours,
                    "peak MB": our_peak / 2**20,
                    "torch peak MB": their_peak / 2**20,
                    "share of its memory": our_peak / their_peak,
                    "leading λ": found[0],
                    "torch leading λ": json.loads(text)["eigenvalues"][0],
                }
            )
            for path in paths:
                path.unlink()
    report(
        "job",
        table,
        f"{what} pair (repeated beyond its length), m = 1000 for each map, no certificate, whole processes; the peer "
        "is bench/peers/torch_in_memory.py",
    )
