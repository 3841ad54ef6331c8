"""Rows of an embedding that are equal, found by a digest of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale import seeds
from specscale.cost import Cost
from specscale.embeddings.base import Embedding
from specscale.embeddings.layout import chunk_runs
from specscale.embeddings.rows import Match, PairedRows
from specscale.places.ahead import read_ahead

__all__ = ["MOST_ROWS", "Duplicates", "duplicates_cost", "find_duplicates"]

MOST_ROWS = 100_000_000  # more are not looked through: the digests of a billion rows would take 16 GB
_WORDS = 1 << 17  # of a block, widened to 64 bits: a megabyte, which caches hold
_WINDOW = 1 << 16  # digests that are looked through at a time
_EXAMPLES = 5
_REMOTE_ROWS = 8192  # of a block that is read from a remote embedding


@dataclass(frozen=True)
class Duplicates:
    """Rows that are equal to one another.

    Attributes
    ----------
    rows : rows that repeat an earlier row
    groups : groups of two or more equal rows
    largest : rows of the largest group; 0 without one
    example : the first rows of the largest group, at most five, read and found equal
    zeros : how many of the last rows are all zero, one after the other
    """

    rows: int
    groups: int
    largest: int
    example: tuple[int, ...]
    zeros: int = 0

    def describe(self, name: str) -> str:
        """Say it in a line, for a warning about the embedding `name`."""
        if not self.rows:
            return f"{name}: no row repeats another"
        repeat = "rows repeat" if self.rows > 1 else "row repeats"
        where = ", ".join(f"{row}" for row in self.example) + (", …" if self.largest > len(self.example) else "")
        return (
            f"{name}: {self.rows:,} {repeat} another row (largest group {self.largest:,}, rows {where}): equal rows "
            "make groups of their own"
            + (f"; the last {self.zeros:,} rows are all zero: was it written to its end?" if self.zeros > 1 else "")
        )


def find_duplicates(embedding: Embedding, kept: NDArray[np.bool_] | None = None, threads: int = 1) -> Duplicates:
    """Find rows that are equal bit for bit, but for the sign of zeros, and verify all of them on the way.

    The rows are read once. Each leaves a digest of 64 bits, two multilinear hashes of 32 (Lemire and Kaser, Strongly
    universal string hashing is fast, 2014): two rows that differ share one with probability 2⁻⁶⁴, whatever they are.
    At most 16 bytes a row are held.

    Parameters
    ----------
    embedding : the embedding, (n, p)
    kept : (n,) bool, the rows that take part, or None for all
    threads : threads that this process may have

    Returns
    -------
    Duplicates

    Raises
    ------
    InputError
        When rows are not those that were ingested.
    """
    digests = _digests(embedding, kept, threads)
    ordered = np.sort(digests)
    repeating = groups = largest = 0
    commonest = np.uint64(0)
    start = 0
    while start < len(ordered):
        counts, values, start = _runs_from(ordered, start)
        repeating += int(counts.sum()) - len(counts)
        groups += int(np.count_nonzero(counts > 1))
        if counts.max() > max(largest, 1):
            largest = int(counts.max())
            commonest = values[counts.argmax()]
    del ordered
    if not groups:
        return Duplicates(0, 0, 0, ())
    first = np.flatnonzero(digests == commonest)[:_EXAMPLES]
    zeros = int(np.argmax(digests[::-1] != 0)) if digests.any() else len(digests)  # the digest of zeros is zero
    del digests
    rows = first if kept is None else np.flatnonzero(kept)[first]
    read = [_words(embedding.read(int(row), int(row) + 1)) for row in rows]
    example = tuple(int(row) for row, words in zip(rows, read, strict=True) if np.array_equal(words, read[0]))
    return Duplicates(repeating, groups, largest, example, zeros)


def duplicates_cost(n_kept: int, read: int, threads: int = 1) -> Cost:
    """State what looking for duplicates takes.

    Parameters
    ----------
    n_kept : rows that take part
    read : bytes of the embedding
    threads : threads that this process may have
    """
    memory = 16 * n_kept + 64 * _WINDOW + 32 * _WORDS * _chunks_at_once(threads)
    return Cost("duplicates", memory=memory, read=read)


def _chunks_at_once(threads: int) -> int:
    """How many chunks are looked at, each by two threads: one of them verifies."""
    return max(1, threads // 2)


def _runs_from(ordered: NDArray[np.uint64], start: int) -> tuple[NDArray[np.int64], NDArray[np.uint64], int]:
    """Lengths and values of the runs of equal numbers that begin at `start`, a window of whole runs; and its end."""
    window = ordered[start : start + _WINDOW]
    if start + len(window) < len(ordered):
        whole = int(np.searchsorted(window, window[-1]))
        if whole == 0:  # one run fills the window, and may go on behind it
            stop = int(np.searchsorted(ordered, window[-1], side="right"))
            return np.array([stop - start]), window[:1], stop
        window = window[:whole]
    begins = np.flatnonzero(np.concatenate([[True], window[1:] != window[:-1]]))
    return np.diff(begins, append=len(window)), window[begins], start + len(window)


def _digests(embedding: Embedding, kept: NDArray[np.bool_] | None, threads: int) -> NDArray[np.uint64]:
    """The digest of each row that takes part."""
    words = -(-embedding.p * embedding.dtype.itemsize // 4)
    weights = seeds.row_weights().integers(0, 1 << 64, size=(2, words), dtype=np.uint64)
    step = max(1, _WORDS // words)
    rows = PairedRows((embedding,), kept, Match("position", embedding.n, 0, 0))
    digests = np.empty(rows.n_kept, dtype=np.uint64)
    at_once = 1 if embedding.remote else _chunks_at_once(threads)

    def look(run: tuple[int, int]) -> None:
        wide = np.empty((step, words), dtype=np.uint64)
        height = max(step, _REMOTE_ROWS) if embedding.remote else step
        for read in rows.blocks([run], height, 1, verify=True):
            for low in range(0, len(read.raw[0]), step):
                part = read.raw[0][low : low + step]
                block = wide[: len(part)]
                block[...] = _words(part)
                # einsum's sums of contiguous products are vectorised; matmul's are not for integers.
                first, second = (np.einsum("ij,j->i", block, one) for one in weights)
                # The upper halves are the strongly universal ones.
                second >>= np.uint64(32)
                done = read.offset + low
                digests[done : done + len(part)] = first & np.uint64(0xFFFFFFFF00000000) | second

    for _ in read_ahead(look, [(0, embedding.n)] if at_once == 1 else chunk_runs(embedding.n), at_once):
        pass
    return digests


def _words(rows: NDArray[Any]) -> NDArray[np.uint32]:
    """The bits of each row in words of 32, −0 as 0."""
    narrow = rows.dtype.itemsize == 2
    bits: NDArray[Any] = rows.view(np.uint16 if narrow else np.uint32)
    negative_zero = bits == (0x8000 if narrow else 0x80000000)
    if negative_zero.any():
        bits = np.where(negative_zero, bits.dtype.type(0), bits)
    if narrow and bits.shape[1] % 2:
        bits = np.pad(bits, ((0, 0), (0, 1)))
    return bits.view(np.uint32)
