"""The scores pass with linear maps against the raw read bandwidth of the same files, cold and warm."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import numpy as np

from bench.common import mixture_store, report, rig
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.method.inputs import pair_inputs
from specscale.method.options import Options
from specscale.passes.scores import MappedScores, score

DIMENSIONS, MODES, ROUNDS = (768, 512), 20, 3


def run(n: int = 500_000) -> None:
    table = []
    with rig() as bench:
        stores = [
            mixture_store(bench.folder / f"{name}.zarr", n, p, seed)
            for name, p, seed in zip("ab", DIMENSIONS, (4, 5), strict=True)
        ]
        files = [file for store in stores for file in sorted((store / "features" / "c").rglob("0")) if file.is_file()]
        options = Options(kernel="cosine", certify=0)
        problem = bench.pose(pair_inputs(stores, options, bench.folder), options, 0)
        d = sum(DIMENSIONS)
        z = np.random.default_rng(0).standard_normal((d, MODES))
        size = n * d * 2
        kept = np.empty((n, MODES), dtype=np.float32)

        def write(start: int, scores: np.ndarray) -> None:
            kept[start : start + len(scores)] = scores

        def sweep() -> float:
            source = MappedScores(problem.maps, z, n)
            action = np.eye(MODES)
            work = score(source, action, n=n, top=100, chunk_rows=CHUNK_ROWS, write=write)
            return bench.sweep(work, problem)[1]

        for cache in ("warm", "cold"):
            raw, ours = [], []
            for _ in range(ROUNDS):
                _prepare(files, cache)
                raw.append(_read(files))
                _prepare(files, cache)
                ours.append(sweep())
            table.append(
                {
                    "cache": cache,
                    "GB": size / 1e9,
                    "raw GB/s": size / 1e9 / statistics.median(raw),
                    "scores GB/s": size / 1e9 / statistics.median(ours),
                    "ratio": statistics.median(raw) / statistics.median(ours),
                    "ns a number": statistics.median(ours) / (n * d) * 1e9,
                }
            )
    report(
        "reading",
        table,
        f"{n:,} rows × {DIMENSIONS} float16, linear maps, {MODES} modes; raw = the same "
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
