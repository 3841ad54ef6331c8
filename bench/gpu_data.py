"""What a card is measured with: pairs of embeddings with groups planted in them, made by all cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from specscale.embeddings.attributes import StoreRecord
from specscale.embeddings.layout import (
    ATTRIBUTE,
    CHUNK_ROWS,
    FEATURES,
    FORMAT,
    NORMS,
    chunk_digest,
    chunk_rows,
    chunk_runs,
    features_digest,
    row_norms,
)
from specscale.embeddings.store import EmbeddingStore
from specscale.runtime.threads import Threads

GROUPS, OWN = 64, 10  # groups, and those that one embedding alone holds together
LARGEST, FALL = 0.04, 0.8  # share of the rows of its first, and of each next one: modes that do not tie
_NOISE = 0.6  # of a row around the centre of its group, in every dimension

Rows = Callable[[int, int], NDArray[Any]]


def planted_pair(folder: Path, n: int, dimensions: tuple[int, int], threads: Threads) -> tuple[Path, Path]:
    """Two float16 stores of n rows, each with groups of its own, whose rows the other one holds together with none."""
    own = np.arange(OWN), np.arange(OWN, 2 * OWN)
    a, b = (
        _written(folder / f"{name}.zarr", n, p, np.float16, planted_rows(p, kept), threads)
        for name, p, kept in zip("ab", dimensions, own, strict=True)
    )
    return a, b


def planted_rows(p: int, own: NDArray[np.int64]) -> Rows:
    """What gives rows ``low:high`` of one chunk of an embedding of p dimensions, whose groups are `own`."""
    centres = np.random.default_rng([p, 0]).standard_normal((GROUPS, p), dtype=np.float32)
    shares = np.full(GROUPS, 0.0)
    shares[: 2 * OWN] = np.tile(LARGEST * FALL ** np.arange(OWN), 2)
    shares[2 * OWN :] = (1 - shares.sum()) / (GROUPS - 2 * OWN)
    edges = np.cumsum(shares)[:-1]

    def rows(low: int, high: int) -> NDArray[np.float16]:
        groups = np.searchsorted(edges, np.random.default_rng([1, low]).random(high - low), side="right")
        generator = np.random.Generator(np.random.SFC64([p, low]))
        alone = (groups < 2 * OWN) & ~np.isin(groups, own)
        x = generator.standard_normal((high - low, p), dtype=np.float32)
        x *= np.where(alone, np.float32((1 + _NOISE**2) ** 0.5), np.float32(_NOISE))[:, None]
        x += np.where(alone[:, None], np.float32(0), centres[groups])
        return x.astype(np.float16)

    return rows


def rotated(path: Path, store: EmbeddingStore, threads: Threads) -> Path:
    """A store of the same rows turned by a rotation that no kernel sees, float32."""
    turn = np.linalg.qr(np.random.default_rng(7).standard_normal((store.p, store.p)))[0]

    def rows(low: int, high: int) -> NDArray[np.float32]:
        return (store.read(low, high).astype(np.float64) @ turn).astype(np.float32)

    return _written(path, store.n, store.p, np.float32, rows, threads)


def widened(path: Path, store: EmbeddingStore, threads: Threads) -> Path:
    """A store of the same rows, float32."""
    return _written(path, store.n, store.p, np.float32, lambda low, high: store.read(low, high).astype("f4"), threads)


def store_bytes(n: int, dimensions: tuple[int, int]) -> int:
    """Bytes on disk of a planted pair: float16 rows in whole chunks, and a norm for each."""
    held = -(-n // chunk_rows(n)) * chunk_rows(n)
    return held * (2 * sum(dimensions) + 4 * len(dimensions))


def _written(path: Path, n: int, p: int, dtype: Any, rows: Rows, threads: Threads) -> Path:
    """A store as ingest writes it, but with all chunks at once."""
    group = zarr.create_group(path, zarr_format=3)
    layout: dict[str, Any] = {"compressors": None, "filters": None, "config": {"write_empty_chunks": True}}
    length = chunk_rows(n)
    features = group.create_array(FEATURES, shape=(n, p), chunks=(length, p), dtype=np.dtype(dtype), **layout)
    norms = group.create_array(NORMS, shape=(n,), chunks=(length,), dtype=np.dtype(np.float32), **layout)
    runs = list(chunk_runs(n))
    digests = [""] * len(runs)

    def write(low: int, high: int) -> None:
        chunk = rows(low, high)
        features[low:high], norms[low:high] = chunk, row_norms(chunk)
        digests[low // CHUNK_ROWS] = chunk_digest(chunk)

    threads.run([lambda run=run: write(*run) for run in runs])  # type: ignore[misc]
    name = np.dtype(dtype).name
    record = StoreRecord(
        name=path.stem,
        n=n,
        p=p,
        dtype=name,  # type: ignore[arg-type]
        digest=features_digest(name, n, p, digests),
        chunk_digests=digests,
        zero_norm=0,
        dropped=0,
        ids=None,
        columns=[],
    )
    group.attrs[ATTRIBUTE] = {"format": FORMAT, **asdict(record)}
    return path
