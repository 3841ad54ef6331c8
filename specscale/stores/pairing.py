"""Pairing: which row of B is the same sample as a row of A."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from specscale.errors import InputError, OptionError, PairingError
from specscale.stores.embedding import Embedding, EmbeddingStore, chunk_runs, read_norms

__all__ = ["Block", "Match", "PairedRows", "pair", "screen"]


@dataclass(frozen=True)
class Match:
    """How the rows were paired and how many there were.

    Attributes
    ----------
    by : "id" or "position"
    matched, only_a, only_b : rows in both, in A alone, in B alone
    duplicates : rows whose id another row of the same embedding has
    dropped : matched rows left out because one of the embeddings has no usable vector there
    sampled : whether only a sample of the matched rows is compared
    ids_digest : digest of A's ids, or None
    """

    by: str
    matched: int
    only_a: int
    only_b: int
    duplicates: int = 0
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
    """

    start: int
    stop: int
    raw: tuple[NDArray[Any], ...]
    kept: NDArray[np.int64] | None


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
                yield Block(low, high, raw, kept)

    def sample(self, size: int, seed: int) -> tuple[NDArray[np.int64], tuple[NDArray[Any], ...]]:
        """Draw up to `size` kept rows without replacement.

        Returns
        -------
        rows : (s,) int64, ascending row numbers of A
        raw : one array (s, p) for each embedding
        """
        generator = np.random.Generator(np.random.Philox(key=[seed, 0x5A3F1E]))
        size = min(size, self.n_kept)
        if self.kept is None:
            rows = np.sort(generator.choice(self.n, size=size, replace=False, shuffle=False))
        else:
            rows = np.flatnonzero(self.kept)[
                np.sort(generator.choice(self.n_kept, size=size, replace=False, shuffle=False))
            ]
        return rows, tuple(take(one, rows) for one in self.embeddings)

    def check_unchanged(self) -> None:
        """Raise ChangedError when an embedding is no longer the one that was opened."""
        for one in self.embeddings:
            one.check_unchanged()


def take(embedding: Embedding, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Read ascending `rows` one by one: (s, p) in the embedding's dtype."""
    out = np.empty((len(rows), embedding.p), dtype=embedding.dtype)
    for i, row in enumerate(rows):
        embedding.read(int(row), int(row) + 1, out[i : i + 1])
    return out


def pair(a: Embedding, b: Embedding, *, match: str | None = None, work: Path) -> PairedRows:
    """Pair the rows of two embeddings.

    Parameters
    ----------
    a, b : the embeddings
    match : "id", "position", or None: by id when both have ids, by position when neither has
    work : a folder in which B may be rewritten in A's order

    Returns
    -------
    PairedRows
        In the order of A.

    Raises
    ------
    PairingError
        When one embedding has ids and the other none and `match` is not given; when no id is in both; when an id
        occurs twice; when the counts differ and rows are paired by position.
    """
    if match not in (None, "id", "position"):
        raise OptionError(f"--match is id or position, not {match!r}")
    if match is None:
        if (a.ids is None) != (b.ids is None):
            with_ids, without = (a, b) if b.ids is None else (b, a)
            raise PairingError(
                f"{with_ids.source} has ids and {without.source} has none: ingest {without.source} again with "
                "--id COLUMN, or pair the rows as they stand with --match position"
            )
        match = "position" if a.ids is None else "id"
    if match == "position":
        return _pair_by_position(a, b)
    if not (isinstance(a, EmbeddingStore) and isinstance(b, EmbeddingStore) and a.ids and b.ids):
        without = a if a.ids is None else b
        raise PairingError(f"{without.source} has no ids to match by: ingest it with --id COLUMN, or --match position")
    if a.ids.digest == b.ids.digest and a.n == b.n:
        return PairedRows((a, b), None, Match("id", a.n, 0, 0, ids_digest=a.ids.digest))
    return _pair_by_id(a, b, work)


def _pair_by_position(a: Embedding, b: Embedding) -> PairedRows:
    if a.n != b.n:
        raise PairingError(
            f"{a.source} has {a.n:,} rows and {b.source} has {b.n:,}: rows are paired by position only when the counts "
            "are equal; ingest both with --id COLUMN to pair them by id"
        )
    return PairedRows((a, b), None, Match("position", a.n, 0, 0, ids_digest=a.ids.digest if a.ids else None))


def _pair_by_id(a: EmbeddingStore, b: EmbeddingStore, work: Path) -> PairedRows:
    ids_a, ids_b = _comparable_ids(a), _comparable_ids(b)
    duplicates = sum(_require_unique(one, ids) for one, ids in ((a, ids_a), (b, ids_b)))
    target = pc.index_in(ids_b, value_set=ids_a.combine_chunks())
    rows_in_a = target.to_numpy() if target.null_count == 0 else pc.fill_null(target, -1).to_numpy()
    matched = int(np.count_nonzero(rows_in_a >= 0))
    if matched == 0:
        raise PairingError(
            f"no id of {a.source} (column {a.ids and a.ids.column}, first {ids_a[0]}) is among those of {b.source} "
            f"(column {b.ids and b.ids.column}, first {ids_b[0]}): check the columns given with --id"
        )
    match = Match("id", matched, a.n - matched, b.n - matched, duplicates, ids_digest=a.ids.digest if a.ids else None)
    kept = None
    if matched < a.n:
        kept = np.zeros(a.n, dtype=np.bool_)
        kept[rows_in_a[rows_in_a >= 0]] = True
    if a.n == b.n and matched == a.n and np.array_equal(rows_in_a, np.arange(a.n)):
        return PairedRows((a, b), kept, match)
    return PairedRows((a, _Reordered.write(b, rows_in_a.astype(np.int64), a.n, work)), kept, match)


def _comparable_ids(store: EmbeddingStore) -> pa.ChunkedArray:
    """The ids as text, so that the integer 7 and the text "7" are the same id, as in the digest."""
    return store.id_column().cast(pa.large_string())


def _require_unique(store: EmbeddingStore, ids: pa.ChunkedArray) -> int:
    distinct = pc.count_distinct(ids, mode="all").as_py()
    if distinct == len(ids):
        return 0
    counts = pc.value_counts(ids)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
    rows = np.flatnonzero(pc.equal(ids, twice).to_numpy())[:2]
    raise PairingError(
        f"{store.source}: {len(ids) - distinct:,} duplicate ids, for instance {twice!r} in rows {rows[0]} and "
        f"{rows[1]}: ids must be unique to pair rows by them"
    )


class _Reordered:
    """B's rows written once in A's order into a file of their own; rows without a partner are zero and never kept."""

    def __init__(self, store: EmbeddingStore, path: Path, n: int) -> None:
        self._store = store
        self._path = path
        self.n = n
        self.p, self.dtype = store.p, store.dtype
        self.name, self.source = store.name, store.source
        self.digest, self.ids = store.digest, store.ids
        self._row_bytes = self.p * self.dtype.itemsize

    @classmethod
    def write(cls, store: EmbeddingStore, rows_in_a: NDArray[np.int64], n: int, work: Path) -> _Reordered:
        work.mkdir(parents=True, exist_ok=True)
        path = work / "b-in-the-order-of-a.raw"
        reordered = cls(store, path, n)
        with path.open("wb") as file:
            file.truncate(n * reordered._row_bytes)
            for start, stop in chunk_runs(store.n):
                block = store.read(start, stop)
                targets = rows_in_a[start:stop]
                for i in np.argsort(targets, kind="stable"):
                    if targets[i] >= 0:
                        os.pwrite(file.fileno(), block[i].data, int(targets[i]) * reordered._row_bytes)
        return reordered

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        if out is None:
            out = np.empty((stop - start, self.p), dtype=self.dtype)
        with self._path.open("rb", buffering=0) as file:
            file.seek(start * self._row_bytes)
            view = out.reshape(-1).view(np.uint8).data
            done = 0
            while done < len(view):
                count = file.readinto(view[done:])
                if not count:
                    raise InputError(f"{self._path}: the file is truncated: run the comparison again with --overwrite")
                done += count
        return out

    def norms(self, start: int, stop: int) -> NDArray[np.float32]:
        return read_norms(self, start, stop)

    def rows(self, indices: Any, columns: Any = None) -> None:
        """Return None: the texts shown are those of A."""

    def check_unchanged(self) -> None:
        self._store.check_unchanged()


def screen(rows: PairedRows, *, directions: bool, on_bad: str, sample: int | None, seed: int) -> PairedRows:
    """Leave out the rows that cannot be compared, in every embedding at once.

    Parameters
    ----------
    rows : paired rows
    directions : also a row of zero norm is bad, as for the cosine kernel and for unit normalisation
    on_bad : "error" to refuse bad rows, "drop" to leave them out
    sample : keep this many rows, drawn at random, or None for all
    seed : seed of that draw

    Raises
    ------
    InputError
        When there are bad rows and they are not to be dropped, or no row is left.
    """
    if on_bad not in ("error", "drop"):
        raise OptionError(f"--on-bad is error or drop, not {on_bad!r}")
    bad: list[NDArray[np.int64]] = []
    for one in rows.embeddings:
        found = list(_bad_rows(one, rows.kept, directions))
        bad.extend(found)
        if found and on_bad == "error":
            where = np.concatenate(found)
            value = one.read(int(where[0]), int(where[0]) + 1)
            what = "of zero norm" if np.isfinite(value).all() else "with a NaN or an infinity"
            raise InputError(
                f"{one.source}: row {where[0]} is {what}, {len(where):,} such row{'s' * (len(where) > 1)} in all: "
                "leave them out of both embeddings with --on-bad drop"
            )
    kept, match = rows.kept, rows.match
    if bad:
        kept = np.ones(rows.n, dtype=np.bool_) if kept is None else kept.copy()
        before = np.count_nonzero(kept)
        kept[np.concatenate(bad)] = False
        match = replace(match, dropped=int(before - np.count_nonzero(kept)))
    screened = PairedRows(rows.embeddings, kept, match)
    if sample is not None and sample < screened.n_kept:
        if sample < 1:
            raise OptionError(f"--sample is a number of rows, not {sample}")
        chosen = np.zeros(rows.n, dtype=np.bool_)
        generator = np.random.Generator(np.random.Philox(key=[seed, 0x5A3F1F]))
        candidates = np.flatnonzero(kept) if kept is not None else np.arange(rows.n)
        chosen[generator.choice(candidates, size=sample, replace=False, shuffle=False)] = True
        screened = PairedRows(rows.embeddings, chosen, replace(match, sampled=True))
    if screened.n_kept < 2:
        raise InputError(f"{screened.n_kept} rows are left to compare: at least two are needed")
    return screened


def _bad_rows(one: Embedding, kept: NDArray[np.bool_] | None, directions: bool) -> Iterator[NDArray[np.int64]]:
    for start, stop in chunk_runs(one.n):
        norms = one.norms(start, stop)
        bad = ~np.isfinite(norms)
        if directions:
            bad |= norms == 0
        if kept is not None:
            bad &= kept[start:stop]
        if bad.any():
            yield start + np.flatnonzero(bad)
