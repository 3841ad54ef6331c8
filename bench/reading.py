"""The rate at which rows are read, cold and warm: beside a scores pass, and by several threads that read ahead."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import mixture_store, report, rig, workspace
from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.base import Embedding
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.embeddings.rows import Match, PairedRows
from specscale.embeddings.store import EmbeddingStore
from specscale.grid import BLOCK_ROWS
from specscale.method.inputs import pair_inputs
from specscale.method.options import Options
from specscale.passes.scores import MappedScores, score
from specscale.runtime.sweeper import RING
from specscale.stores.ingest import ingest

DIMENSIONS, MODES, ROUNDS = (768, 512), 20, 3
READERS = (1, 2, 4, 8)
_PIECE = 8 << 20

Readers = dict[str, Callable[[int], float]]


def run(n: int = 500_000) -> None:
    beside_a_pass(n)
    by_several_threads(n // 2)


def beside_a_pass(n: int) -> None:
    """The scores pass with linear maps against the raw read bandwidth of the same files."""
    table = []
    with rig() as bench:
        stores = [
            mixture_store(bench.folder / f"{name}.zarr", n, p, seed)
            for name, p, seed in zip("ab", DIMENSIONS, (4, 5), strict=True)
        ]
        files = [file for store in stores for file in _chunks(store)]
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


def by_several_threads(n: int) -> None:
    """Blocks of a pair of stores, of memory-mapped files and of arrays, read by so many threads and thrown away."""
    table = []
    with workspace() as folder:
        for dtype, cache in product(("float16", "float32"), ("warm", "cold")):
            arrays, stores = _sources(folder, n, dtype)
            files = [*arrays, *(one for path in stores for one in _chunks(path))]
            size = n * sum(DIMENSIONS) * np.dtype(dtype).itemsize
            rates: dict[tuple[str, int], list[float]] = {}
            for _, (name, read), readers in product(range(ROUNDS), _readers(arrays, stores).items(), READERS):
                if cache == "warm" or name != "array":
                    _prepare(files, cache)
                    rates.setdefault((name, readers), []).append(size / 1e9 / read(readers))
            for (name, readers), found in rates.items():
                row: dict[str, Any] = {"dtype": dtype, "cache": cache, "what": name, "threads": readers}
                one = rates[name, 1]
                ratio = statistics.median(now / then for now, then in zip(found, one, strict=True))
                table.append({**row, "GB/s": statistics.median(found), "of one thread": ratio})
    report(
        "reading_threads",
        table,
        f"{n:,} rows × {DIMENSIONS} in blocks of {BLOCK_ROWS:,} that nobody computes on; raw = the stores' chunk files "
        "read into one buffer for each thread; of one thread = median of the ratios of the same round",
    )


def _sources(folder: Path, n: int, dtype: str) -> tuple[list[Path], list[Path]]:
    """Two npy files and two stores of the same rows, made once."""
    arrays = [folder / f"{p}.{dtype}.npy" for p in DIMENSIONS]
    stores = [path.with_suffix(".zarr") for path in arrays]
    for p, array, store in zip(DIMENSIONS, arrays, stores, strict=True):
        if not store.exists():
            np.save(array, np.random.default_rng(p).standard_normal((n, p), dtype=np.float32).astype(dtype))
            ingest(array, store)
    return arrays, stores


def _readers(arrays: list[Path], stores: list[Path]) -> Readers:
    """What reads all rows with so many threads, and returns the seconds that it took."""
    opened = [EmbeddingStore(path) for path in stores]
    mapped = [ArrayEmbedding(np.load(path, mmap_mode="r")) for path in arrays]
    held = [ArrayEmbedding(np.load(path)) for path in arrays]
    files = [file for path in stores for file in _chunks(path)]
    return {
        "raw": lambda readers: _read(files, readers),
        "stores": lambda readers: _blocks(opened, readers, verify=False),
        "stores, verified": lambda readers: _blocks(opened, readers, verify=True),
        "memory map": lambda readers: _blocks(mapped, readers, verify=False),
        "array": lambda readers: _blocks(held, readers, verify=False),
    }


def _blocks(embeddings: list[Any], readers: int, *, verify: bool) -> float:
    several: list[Embedding] = embeddings
    rows = PairedRows(tuple(several), None, Match("position", several[0].n, 0, 0))
    began = time.perf_counter()
    for _ in rows.blocks([(0, rows.n)], BLOCK_ROWS, RING, verify=verify, readers=readers):
        pass
    return time.perf_counter() - began


def _chunks(store: Path) -> Iterator[Path]:
    return (file for file in sorted((store / "features" / "c").rglob("0")) if file.is_file())


def _prepare(files: list[Path], cache: str) -> None:
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        if cache == "cold":
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    if cache == "warm":
        _read(files)


def _read(files: list[Path], threads: int = 1) -> float:
    buffers = [memoryview(bytearray(_PIECE)) for _ in range(threads)]
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_read_files, buffers, (files[number::threads] for number in range(threads))))
    return time.perf_counter() - began


def _read_files(buffer: memoryview, files: list[Path]) -> None:
    for file in files:
        with file.open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass
