"""The rate at which rows are read, cold and warm: beside a scores pass, and by several threads that read ahead."""

from __future__ import annotations

import mmap
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.common import mixture_store, report, rig, workspace
from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.base import Embedding
from specscale.embeddings.duplicates import find_duplicates
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
    table, load = [], os.getloadavg()[1]
    with workspace() as folder:
        for dtype, cache in product(("float16", "float32"), ("warm", "cold")):
            sources = _Sources(folder, n, dtype)
            rates: dict[tuple[str, int], list[float]] = defaultdict(list)
            for _, (name, read), threads in product(range(ROUNDS), sources.ways().items(), READERS):
                if cache == "warm" or name != "arrays":
                    sources.forget()
                    _prepare(sources.files, cache)
                    rates[name, threads].append(sources.size / 1e9 / read(threads))
            for name in dict.fromkeys(name for name, _ in rates):
                medians = {f"{threads} threads": statistics.median(rates[name, threads]) for threads in READERS}
                most = zip(rates[name, READERS[-1]], rates[name, READERS[0]], strict=True)
                ratio = statistics.median(many / one for many, one in most)
                table.append({"dtype": dtype, "cache": cache, "what": name, **medians, "most to one": ratio})
    report(
        "reading_threads",
        table,
        f"GB/s; {n:,} rows × {DIMENSIONS} in blocks of {BLOCK_ROWS:,} that nobody computes on, into memory that was "
        "touched before; raw = the stores' chunk files read into one buffer for each thread; most to one = median of "
        f"the rounds' ratios; the load of the machine was {load:.1f} before",
    )


class _Sources:
    """A pair of stores and of npy files of the same rows, and the ways to read them."""

    def __init__(self, folder: Path, n: int, dtype: str) -> None:
        arrays = [folder / f"{p}.{dtype}.npy" for p in DIMENSIONS]
        stores = [path.with_suffix(".zarr") for path in arrays]
        for p, array, store in zip(DIMENSIONS, arrays, stores, strict=True):
            if not store.exists():
                np.save(array, np.random.default_rng(p).standard_normal((n, p), dtype=np.float32).astype(dtype))
                ingest(array, store)
        self.size = n * sum(DIMENSIONS) * np.dtype(dtype).itemsize
        self._chunks = [file for path in stores for file in _chunks(path)]
        self.files = [*arrays, *self._chunks]
        self._stores = [EmbeddingStore(path) for path in stores]
        self._maps = [np.load(path, mmap_mode="r") for path in arrays]
        self._mapped = [ArrayEmbedding(one) for one in self._maps]
        self._arrays = [ArrayEmbedding(np.load(path)) for path in arrays]
        held = self._paired(self._stores).held_blocks(BLOCK_ROWS, RING, max(READERS))
        # Touched before, as the memory that a card copies from is.
        self._memory = {p: [np.full((BLOCK_ROWS, p), 0, dtype) for _ in range(held)] for p in DIMENSIONS}

    def forget(self) -> None:
        """Let go of the pages of the memory maps, which else stay in the page cache."""
        for one in self._maps:
            one._mmap.madvise(mmap.MADV_DONTNEED)

    def ways(self) -> dict[str, Callable[[int], float]]:
        """What reads all rows with so many threads and returns the seconds that it took."""
        return {
            "raw": lambda threads: _read(self._chunks, threads),
            "stores": lambda threads: self._blocks(self._stores, threads),
            "stores, verified": lambda threads: self._blocks(self._stores, threads, verify=True),
            "repeated rows": self._repeated,
            "memory maps": lambda threads: self._blocks(self._mapped, threads),
            "arrays": lambda threads: self._blocks(self._arrays, threads),
        }

    def _blocks(self, embeddings: Sequence[Embedding], threads: int, *, verify: bool = False) -> float:
        rows = self._paired(embeddings)
        memory = {p: iter(arrays) for p, arrays in self._memory.items()}

        def empty(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
            return next(memory[shape[1]])

        began = time.perf_counter()
        for _ in rows.blocks([(0, rows.n)], BLOCK_ROWS, RING, verify=verify, empty=empty, readers=threads):
            pass
        return time.perf_counter() - began

    def _paired(self, embeddings: Sequence[Embedding]) -> PairedRows:
        return PairedRows(tuple(embeddings), None, Match("position", embeddings[0].n, 0, 0))

    def _repeated(self, threads: int) -> float:
        began = time.perf_counter()
        for store in self._stores:
            find_duplicates(store, None, threads)
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
