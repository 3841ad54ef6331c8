"""Paired rows: aligned embeddings of the same samples, read in blocks or sampled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from specscale.stores.embedding import Embedding

__all__ = ["Block", "Match", "PairedRows"]

_SAMPLE = 0x5A3F1E


@dataclass(frozen=True)
class Match:
    """How the rows were paired and how many there were.

    Attributes
    ----------
    by : "id" or "position"
    matched, only_a, only_b : rows in both (in all), in A alone, in B alone (in others, but not in all)
    dropped : matched rows left out because one of the embeddings has no usable vector there
    sampled : whether only a sample of the matched rows is compared
    ids_digest : digest of A's ids, or None
    """

    by: str
    matched: int
    only_a: int
    only_b: int
    dropped: int = 0
    sampled: bool = False
    ids_digest: str | None = None


class Block(NamedTuple):
    """A run of paired rows.

    Attributes
    ----------
    start, stop : the run, in rows of A
    raw : one array (b, p) for each embedding, the kept rows of the run
    kept : positions of the kept rows within the run, or None where all are kept
    offset : kept rows before the run
    """

    start: int
    stop: int
    raw: tuple[NDArray[Any], ...]
    kept: NDArray[np.int64] | None
    offset: int


@dataclass(frozen=True)
class PairedRows:
    """Aligned embeddings of the same samples.

    Attributes
    ----------
    embeddings : embeddings with equal n, row i of each the same sample
    kept : (n,) bool, the rows that take part, or None for all
    match : how they were paired
    """

    embeddings: tuple[Embedding, ...]
    kept: NDArray[np.bool_] | None
    match: Match

    @property
    def n(self) -> int:
        """Rows of A."""
        return self.embeddings[0].n

    @property
    def n_kept(self) -> int:
        """Rows that take part."""
        return self.n if self.kept is None else int(np.count_nonzero(self.kept))

    def blocks(self, runs: Sequence[tuple[int, int]], rows: int, ring: int) -> Iterator[Block]:
        """Yield the rows of each run ``(start, stop)`` in blocks of at most `rows`.

        A block's arrays are overwritten `ring` blocks later.
        """
        largest = min(rows, max((stop - start for start, stop in runs), default=0))
        rooms = cycle(
            [tuple(np.empty((largest, one.p), dtype=one.dtype) for one in self.embeddings) for _ in range(ring)]
        )
        for start, stop in runs:
            offset = start if self.kept is None else int(np.count_nonzero(self.kept[:start]))
            for low in range(start, stop, rows):
                high = min(low + rows, stop)
                raw = tuple(
                    one.read(low, high, out[: high - low])
                    for one, out in zip(self.embeddings, next(rooms), strict=True)
                )
                kept = None
                if self.kept is not None and not self.kept[low:high].all():
                    kept = np.flatnonzero(self.kept[low:high])
                    raw = tuple(array[kept] for array in raw)
                yield Block(low, high, raw, kept, offset)
                offset += len(raw[0])

    def take(self, positions: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        """Return the kept rows at distinct ascending `positions` among them, (s, p) for each embedding."""
        numbers = positions if self.kept is None else np.flatnonzero(self.kept)[positions]
        return tuple(_take(one, numbers) for one in self.embeddings)

    def sample(self, size: int, seed: int, stream: int = 0) -> tuple[NDArray[np.int64], tuple[NDArray[Any], ...]]:
        """Draw up to `size` kept rows without replacement.

        Parameters
        ----------
        size : rows
        seed : seed of the comparison
        stream : what the sample is for; samples of different streams are independent

        Returns
        -------
        positions : (s,) int64, ascending positions among the kept rows
        raw : one array (s, p) for each embedding
        """
        generator = np.random.Generator(np.random.Philox(key=[seed, _SAMPLE + (stream << 24)]))
        positions = generator.choice(self.n_kept, size=min(size, self.n_kept), replace=False, shuffle=False)
        positions = np.sort(positions)
        return positions, self.take(positions)

    def check_unchanged(self) -> None:
        """Raise ChangedError when an embedding is no longer the one that was opened."""
        for one in self.embeddings:
            one.check_unchanged()


def _take(embedding: Embedding, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Read ascending `rows` one by one, or at once where they follow one another: (s, p)."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return embedding.read(int(rows[0]), int(rows[-1]) + 1)
    out = np.empty((len(rows), embedding.p), dtype=embedding.dtype)
    for i, row in enumerate(rows):
        embedding.read(int(row), int(row) + 1, out[i : i + 1])
    return out
