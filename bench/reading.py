"""The scores pass with linear maps against the raw read bandwidth of the same files, cold and warm."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import numpy as np

from bench.common import mixture_store, report, workspace
from specscale.kernels import load_kernels
from specscale.options import Options
from specscale.passes.scores import score
from specscale.problem import pair_inputs, pose
from specscale.runtime.events import silent
from specscale.runtime.local import LocalExecutor
from specscale.runtime.spans import cut_spans
from specscale.runtime.threads import Threads, single_threaded_blas
from specscale.stores.layout import CHUNK_ROWS

ROWS, DIMENSIONS, MODES, ROUNDS = 500_000, (768, 512), 20, 3


def run() -> None:
    kernels = load_kernels("cpu")
    kernels.warm_up()
    pool = Threads()
    table = []
    with workspace() as folder:
        stores = [
            mixture_store(folder / f"{name}.zarr", ROWS, p, seed)
            for name, p, seed in zip("ab", DIMENSIONS, (4, 5), strict=True)
        ]
        files = [file for store in stores for file in sorted((store / "features" / "c").rglob("0")) if file.is_file()]
        options = Options(kernel="cosine")
        rows = pair_inputs(stores[0], stores[1], options, folder)
        problem = pose(rows, options, 0, kernels, print)
        d = sum(DIMENSIONS)
        z = np.random.default_rng(0).standard_normal((d, MODES))
        size = ROWS * d * 2
        kept = np.empty((ROWS, MODES), dtype=np.float32)

        def write(start: int, scores: np.ndarray) -> None:
            kept[start : start + len(scores)] = scores

        def sweep(turn: int) -> float:
            work = score(problem.maps, kernels, z, n=ROWS, n_kept=ROWS, top=100, chunk_rows=CHUNK_ROWS, write=write)
            with single_threaded_blas():
                began = time.perf_counter()
                spans = cut_spans(ROWS, d, CHUNK_ROWS)
                LocalExecutor(pool).run(work, rows, spans, folder / f"scores-{turn}", silent)
                return time.perf_counter() - began

        for cache in ("warm", "cold"):
            raw, ours = [], []
            for turn in range(ROUNDS):
                _prepare(files, cache)
                raw.append(_read(files))
                _prepare(files, cache)
                ours.append(sweep(len(table) * ROUNDS + turn))
            table.append(
                {
                    "cache": cache,
                    "GB": size / 1e9,
                    "raw GB/s": size / 1e9 / statistics.median(raw),
                    "scores GB/s": size / 1e9 / statistics.median(ours),
                    "ratio": statistics.median(raw) / statistics.median(ours),
                    "ns a number": statistics.median(ours) / (ROWS * d) * 1e9,
                }
            )
    report(
        "reading",
        table,
        f"{ROWS:,} rows × {DIMENSIONS} float16, linear maps, {MODES} modes; raw = the same "
        "chunk files read into one buffer",
    )


def _prepare(files: list[Path], cache: str) -> None:
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        if cache == "cold":
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    if cache == "warm":
        _read(files)


def _read(files: list[Path]) -> float:
    buffer = memoryview(bytearray(8 << 20))
    began = time.perf_counter()
    for file in files:
        with file.open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass
    return time.perf_counter() - began
