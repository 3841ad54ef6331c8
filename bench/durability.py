"""What it costs to have the disk hold stores and results before they get their names."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from bench.common import report, text_stores, workspace
from specscale import compare
from specscale.places import durable

ROUNDS = 5


def run(sample: int | None = None) -> None:
    with workspace() as folder:
        *stores, what = text_stores(folder)
        began = time.perf_counter()
        compare(*map(str, stores), normalize="unit", on_bad="drop", sample=sample, out=folder / "ab.spec")
        seconds = time.perf_counter() - began
        table = [_synced(name, folder, seconds) for name in ("ab.spec", *(store.name for store in stores))]
    report(
        "durability",
        table,
        f"{what} pair: the result of a comparison and the two stores, copied and then synced, median of {ROUNDS}; "
        "share = seconds over those of the comparison; again = once more, when the disk has everything",
    )


def _synced(name: str, folder: Path, seconds: float) -> dict[str, Any]:
    first, again, copy = [], [], folder / "copy"
    for _ in range(ROUNDS):
        shutil.rmtree(copy, ignore_errors=True)
        os.sync()
        shutil.copytree(folder / name, copy)
        for times in (first, again):
            began = time.perf_counter()
            durable.sync_tree(copy)
            durable.sync_above(copy)
            times.append(time.perf_counter() - began)
    files = [path for path in copy.rglob("*") if path.is_file()]
    return {
        "what": name,
        "files": len(files),
        "MB": sum(path.stat().st_size for path in files) / 1e6,
        "seconds": statistics.median(first),
        "share": statistics.median(first) / seconds,
        "again": statistics.median(again),
    }
