"""Paired rows: aligned embeddings of the same samples, read in blocks or sampled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, cycle, islice, pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from specscale import seeds
from specscale.embeddings.base import Embedding, readers
from specscale.embeddings.intact import Verifier
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.embeddings.turns import Looked, Turns
from specscale.places.ahead import read_ahead
from specscale.stopping import check_signals

__all__ = ["Block", "Match", "PairedRows", "kept_digest"]

_UNDER_WAY = 64 << 20  # bytes asked for ahead, what a gigabyte a second delivers in the 50 ms that an answer may take
_FEWEST, _MOST = 2, 8  # blocks
_READ = 512 << 20  # bytes of the blocks that several threads read ahead, those of many chunks
_GAP = 128 << 10  # bytes between two rows that are read along rather than asked for around
_LOCAL_GAP = 64 << 10  # the same of a local file
_RUN = 4 << 20  # bytes of one read of several rows
_COUNTED = 8192  # rows of the mask that are counted together


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
    column : the column that ids were taken from, or None; of B too where it is called otherwise there
    confirmed_by : a column that says of every row what its position does, or None where none was looked for or found
    unlike : columns that tell rows apart on each side and hold other values on the other
    id_of : names of embeddings that have a column called id where others have none
    left_out : for each embedding, how many of its rows do not take part, by the reason
    """

    by: str
    matched: int
    only_a: int
    only_b: int
    dropped: int = 0
    sampled: bool = False
    ids_digest: str | None = None
    column: str | None = None
    confirmed_by: str | None = None
    unlike: tuple[str, ...] = ()
    id_of: tuple[str, ...] = ()
    left_out: tuple[dict[str, int], ...] = ()

    def leaving_out(self, reason: str, counts: Sequence[int]) -> Match:
        """Return the match with so many more rows of each embedding left out for a reason."""
        before = self.left_out or ({},) * len(counts)
        both = zip(before, counts, strict=True)
        return replace(self, left_out=tuple({**were, reason: count} if count else were for were, count in both))


class Block(NamedTuple):
    """A run of paired rows.

    Attributes
    ----------
    start, stop : the run, in rows of A
    raw : one array (b, p) for each embedding, the kept rows of the run
    kept : positions of the kept rows within the run, or None where all are kept
    offset : kept rows before the run
    inputs, outputs : rows of other arrays at the kept rows, by the arrays' names: to be read, and to be written
    """

    start: int
    stop: int
    raw: tuple[NDArray[Any], ...]
    kept: NDArray[np.int64] | None
    offset: int
    inputs: Mapping[str, Any] = MappingProxyType({})
    outputs: Mapping[str, NDArray[Any]] = MappingProxyType({})


@dataclass(frozen=True)
class PairedRows:
    """Aligned embeddings of the same samples.

    Attributes
    ----------
    embeddings : embeddings with equal n, row i of each the same sample
    kept : (n,) bool, the rows that take part, or None for all
    match : how they were paired
    verified : whether all rows were found to be those that were ingested
    """

    embeddings: tuple[Embedding, ...]
    kept: NDArray[np.bool_] | None
    match: Match
    verified: bool = False

    @property
    def n(self) -> int:
        """Rows of A."""
        return self.embeddings[0].n

    @cached_property
    def n_kept(self) -> int:
        """Rows that take part."""
        return self.n if self.kept is None else int(self._counts[-1])

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        """Rows that take part before each run of `_COUNTED` rows, and all of them: a mask is counted once."""
        assert self.kept is not None
        runs = (self.kept[low : low + _COUNTED] for low in range(0, len(self.kept), _COUNTED))
        return np.cumsum([0, *(int(np.count_nonzero(run)) for run in runs)], dtype=np.int64)

    def kept_before(self, row: int) -> int:
        """Rows that take part before a row."""
        if self.kept is None:
            return row
        run, rest = divmod(row, _COUNTED)
        low = row - rest
        return int(self._counts[run]) + (int(np.count_nonzero(self.kept[low:row])) if rest else 0)

    def blocks(
        self,
        runs: Sequence[tuple[int, int]],
        rows: int,
        ring: int,
        *,
        verify: bool = False,
        empty: Callable[[tuple[int, ...], Any], NDArray[Any]] = np.empty,
        readers: int = 1,
    ) -> Iterator[Block]:
        """Yield the rows of each run ``(start, stop)`` in blocks of at most `rows`.

        A block's arrays are made by `empty` and overwritten `ring` blocks later. `readers` threads read ahead, and as
        many requests are under way as hide the latency where an embedding is remote; one reader reads a block when it
        is asked for. With `verify`, the chunks that the runs hold whole must be those that were ingested.
        """
        largest = min(rows, max((stop - start for start, stop in runs), default=0))
        count = sum(-(-(stop - start) // rows) for start, stop in runs)
        ahead = self._ahead(rows, readers)
        pieces = self._pieces(ahead, readers)
        rooms = self._rooms(largest, min(ring - 1 + ahead, count), empty)
        packed = cycle(self._rooms(largest, 0 if self.kept is None else min(ring, count), empty))
        turns = Turns(self.embeddings if verify and readers > 1 else ())
        readings = (
            _Reading(one, begin, end, out[begin - low : end - low], turns.expect(number, begin, end))
            for (low, high), room in zip(_cut(runs, rows), cycle(rooms), strict=False)
            for number, (one, out) in enumerate(zip(self.embeddings, room, strict=True))
            for begin, end in pairwise(low + (high - low) * piece // pieces for piece in range(pieces + 1))
        )
        of_block = len(self.embeddings) * pieces
        asked = (ahead - 1) * of_block + 1  # not one more, which would lie in a block that is still in use
        done = read_ahead(_Reading.done, readings, asked, asked if self._remote else min(readers, asked))
        with closing(done), closing(Verifier(self.embeddings if verify and readers == 1 else ())) as verifier:
            for (low, high), room in zip(_cut(runs, rows), cycle(rooms), strict=False):
                check_signals()
                verifier.settle()
                for look in chain.from_iterable(islice(done, of_block)):
                    look.result()
                raw = tuple(out[: high - low] for out in room)
                verifier.add(low, raw)
                kept = None
                if self.kept is not None and not self.kept[low:high].all():
                    kept = np.flatnonzero(self.kept[low:high])
                    raw = tuple(
                        np.take(array, kept, axis=0, out=out[: len(kept)], mode="clip")
                        for array, out in zip(raw, next(packed), strict=True)
                    )
                yield Block(low, high, raw, kept, self.kept_before(low))
            verifier.settle()

    def held_blocks(self, rows: int, ring: int, readers: int = 1) -> int:
        """How many blocks of `rows` rows the arrays and the answers under way of :meth:`blocks` take at most."""
        ahead = self._ahead(rows, readers)
        return ring - 1 + (2 if self._remote else 1) * ahead  # an answer is held whole before it is copied

    @property
    def _remote(self) -> bool:
        return any(one.remote for one in self.embeddings)

    def _ahead(self, rows: int, readers: int) -> int:
        """Blocks that are read at once, the one that is waited for included."""
        size = rows * sum(one.p * one.dtype.itemsize for one in self.embeddings)
        if self._remote:
            return min(max(-(-_UNDER_WAY // size), _FEWEST), _MOST)
        if readers == 1:
            return 1
        chunks = -(-readers // len(self.embeddings))  # of each embedding, which are verified one by each reader
        return max(min(_READ // size, chunks * -(-CHUNK_ROWS // rows)), _FEWEST)

    def _pieces(self, ahead: int, readers: int) -> int:
        """In how many pieces the rows of a block are read, so that no reader is idle."""
        return 1 if self._remote else max(1, -(-(readers - 1) // max(1, (ahead - 1) * len(self.embeddings))))

    def _rooms(
        self, rows: int, count: int, empty: Callable[[tuple[int, ...], Any], NDArray[Any]]
    ) -> list[tuple[NDArray[Any], ...]]:
        """Arrays for so many blocks of so many rows."""
        return [tuple(empty((rows, one.p), one.dtype) for one in self.embeddings) for _ in range(count)]

    def take(self, positions: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        """Return the kept rows at distinct ascending `positions` among them, (s, p) for each embedding."""
        numbers = self.numbers(positions)
        return tuple(_take(one, numbers) for one in self.embeddings)

    def numbers(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows at ascending positions among those that take part; only the runs that hold them are looked at."""
        if self.kept is None:
            return positions
        numbers = np.empty(len(positions), dtype=np.int64)
        runs = np.searchsorted(self._counts, positions, side="right") - 1
        edges = [*np.flatnonzero(np.diff(runs, prepend=-1)), len(runs)]
        for first, last in pairwise(map(int, edges)):
            run = int(runs[first])
            here = np.flatnonzero(self.kept[run * _COUNTED : (run + 1) * _COUNTED])
            numbers[first:last] = run * _COUNTED + here[positions[first:last] - self._counts[run]]
        return numbers

    def sample(
        self, size: int, seed: int, use: int = seeds.SURVEY
    ) -> tuple[NDArray[np.int64], tuple[NDArray[Any], ...]]:
        """Draw up to `size` kept rows without replacement.

        Parameters
        ----------
        size : rows
        seed : seed of the comparison
        use : what the sample is for; samples for different uses are independent

        Returns
        -------
        positions : (s,) int64, ascending positions among the kept rows
        raw : one array (s, p) for each embedding
        """
        generator = seeds.sampled_rows(seed, use)
        positions = generator.choice(self.n_kept, size=min(size, self.n_kept), replace=False, shuffle=False)
        positions = np.sort(positions)
        return positions, self.take(positions)

    def check_unchanged(self) -> None:
        """Raise ChangedError when an embedding is no longer the one that was opened."""
        for one in self.embeddings:
            one.check_unchanged()


def _cut(runs: Sequence[tuple[int, int]], rows: int) -> Iterator[tuple[int, int]]:
    """The first and last row numbers of every block of some runs."""
    for start, stop in runs:
        for low in range(start, stop, rows):
            yield low, min(low + rows, stop)


def kept_digest(kept: NDArray[np.bool_] | None, count: int) -> str | None:
    """A digest of which of the first `count` rows take part; None where all do."""
    if kept is None or kept[:count].all():
        return None
    return hashlib.blake2b(np.packbits(kept[:count]).tobytes(), digest_size=16).hexdigest()


def _take(embedding: Embedding, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Read ascending `rows`, those near one another together, of a remote embedding many at once: (s, p)."""
    gap = _GAP if embedding.remote else _LOCAL_GAP
    row_bytes = embedding.p * embedding.dtype.itemsize
    begins = [0] if len(rows) else []
    for i, between in enumerate((np.diff(rows) - 1).tolist(), 1):
        if between * row_bytes > gap or (rows[i] + 1 - rows[begins[-1]]) * row_bytes > _RUN:
            begins.append(i)
    out = np.empty((len(rows), embedding.p), dtype=embedding.dtype)

    def fill(part: slice) -> None:
        numbers = rows[part]
        first, last = int(numbers[0]), int(numbers[-1])
        if last - first + 1 == len(numbers):
            embedding.read(first, last + 1, out[part])
        else:
            out[part] = embedding.read(first, last + 1)[numbers - first]

    parts = [slice(begin, end) for begin, end in pairwise([*begins, len(rows)])]
    for _ in read_ahead(fill, parts, readers(embedding)):
        pass
    return out


@dataclass(frozen=True)
class _Reading:
    """Rows that are read into place and looked at."""

    embedding: Embedding
    start: int
    stop: int
    out: NDArray[Any]
    look: Callable[[NDArray[Any]], Looked]

    def done(self) -> Looked:
        """Read the rows: when they will have been looked at."""
        if self.start < self.stop:
            self.embedding.read(self.start, self.stop, self.out)
        return self.look(self.out)
