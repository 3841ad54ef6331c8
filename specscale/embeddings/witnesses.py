"""Columns that several stores share and that tell rows apart: whether rows at one position are the same sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from specscale.embeddings.base import Embedding
from specscale.embeddings.dropped import numbered, store_rows
from specscale.embeddings.ids import as_ids
from specscale.embeddings.keys import Hashes, Index, hashes_of
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import InputError

__all__ = ["ID", "Disagreement", "Witness", "contradicts", "rows_at", "shared_columns", "witnesses"]

ID = "id"  # a column of this name, in any case, is taken for the rows' ids
_NEARLY = 0.9  # of the values differ from one another in a column that tells rows apart but for a few
_SHARE = 0.5  # of the smaller side's values that must be on the other side too, for a column to be shared
_MISSING = "(none)"


@dataclass(frozen=True)
class Disagreement:
    """Two rows at one position that a column calls different.

    Attributes
    ----------
    row : their number in the source
    sources : the two embeddings
    values : what the column holds there
    """

    row: int
    sources: tuple[str, str]
    values: tuple[str, str]

    def __str__(self) -> str:
        (first, second), (one, other) = self.sources, self.values
        return f"row {self.row} is {one!r} in {first} and {other!r} in {second}"


@dataclass(frozen=True)
class Witness:
    """What a shared column says.

    Attributes
    ----------
    name : the column
    columns : its name in each embedding, None where there is none
    idle : whether its agreement says nothing: it numbers the rows as they stand, or has few values
    whole : whether it holds whole numbers, which any two columns may share
    disagreement : an example of rows at one position that it calls different; None where it agrees with all
    partners : where it disagrees and can be paired by, the row of the first embedding for each row of every other
    why : where it cannot, the reason
    counts : whether it is evidence against the positions: its values are known on both sides, or it is called id
    """

    name: str
    columns: tuple[str | None, ...]
    idle: bool
    whole: bool
    disagreement: Disagreement | None
    partners: tuple[NDArray[np.int64], ...] | None
    why: str = ""
    counts: bool = True

    @property
    def called_id(self) -> bool:
        """Whether it is the column that people call id."""
        return self.name.lower() == ID


def witnesses(embeddings: Sequence[Embedding], positions: bool, min_matched: float = _SHARE) -> Iterator[Witness]:
    """Ask every column that two or more stores share and that may tell rows apart; one called id comes first.

    Where there are no positions to ask about, columns that number the rows of every store as they stand are left out.

    Of a column the first rows are looked at; only if these differ from one another is the rest read, and of remote
    stores only until one has confirmed the positions. No values are held.

    Parameters
    ----------
    embeddings : the embeddings
    positions : whether the sources have equally many rows, so that there are positions to ask about
    min_matched : the share of the smaller side's values of a column called id that must be on the other side too
    """
    confirmed = False
    for name, columns in shared_columns(embeddings):
        stores = [(one, column) for _, one, column in _having(embeddings, columns)]
        called_id = name.lower() == ID
        share = min_matched if called_id else _SHARE
        try:
            witness = _asked(name, columns, stores, positions, share, confirmed)
        except InputError:  # values further down are no ids after all
            if called_id:
                raise
            continue
        if witness is not None:
            confirmed = confirmed or (witness.disagreement is None and witness.partners is None and not witness.idle)
            yield witness


def _asked(
    name: str,
    columns: tuple[str | None, ...],
    stores: Sequence[tuple[EmbeddingStore, str]],
    positions: bool,
    share: float,
    confirmed: bool,
) -> Witness | None:
    """What one column says; None where it tells no rows apart, or is not known well enough to say anything."""
    called_id = name.lower() == ID
    begins = [values for one in stores if (values := _begin(*one)) is not None]
    telling = len(begins) == len(stores) and all(map(_tells_apart, begins))
    if not (telling or called_id):
        return None
    if not positions and all(_numbers_rows(*one) for one in stores):
        return None
    whole = all(pa.types.is_integer(values.type) for values in begins)
    disagreement = None
    for other in stores[1:] if positions else ():
        brief = confirmed and (stores[0][0].remote or other[0].remote)
        disagreement = disagreement or _disagreement(stores[0], other, brief)
    if positions and disagreement is None:
        return Witness(name, columns, not telling or _numbers_rows(*stores[0]), whole, None, None)
    found = _Found.of(stores, [rows_at(stores[0][0], one) for one, _ in stores[1:]] if positions else None, share)
    if positions and found.shared and not found.moved:  # values that were edited, at positions that others confirm
        return Witness(name, columns, False, whole, None, None)
    if found.partners is not None and len(stores) == len(columns):
        return Witness(name, columns, False, whole, disagreement, found.partners)
    if disagreement is None:
        return None
    why = found.why or "not all of them have it"
    return Witness(name, columns, False, whole, disagreement, None, why, called_id or found.shared)


def contradicts(witness: Witness, embeddings: Sequence[Embedding], partners: Sequence[NDArray[np.int64]]) -> bool:
    """Whether a column calls rows different that would be paired, and has them elsewhere.

    Parameters
    ----------
    witness : what the column says
    embeddings : the embeddings
    partners : the row of the first embedding for each row of every other
    """
    rows = [np.arange(embeddings[0].n), *partners]
    (first, *_), *others = having = _having(embeddings, witness.columns)
    where = np.full(embeddings[0].n + 1, -1, dtype=np.int64)  # the last one for rows without a partner
    where[rows[first]] = np.arange(len(rows[first]))
    where[-1] = -1
    return _Found.of([(one, column) for _, one, column in having], [where[rows[place]] for place, _, _ in others]).moved


def _having(embeddings: Sequence[Embedding], columns: Sequence[str | None]) -> list[tuple[int, EmbeddingStore, str]]:
    """The stores that have a column, with their places and its name there."""
    both = enumerate(zip(embeddings, columns, strict=True))
    return [(place, one, name) for place, (one, name) in both if isinstance(one, EmbeddingStore) and name is not None]


def shared_columns(embeddings: Sequence[Embedding]) -> list[tuple[str, tuple[str | None, ...]]]:
    """Names that two or more embeddings have a column of, with its name in each of them."""
    own = [list(one.columns) if isinstance(one, EmbeddingStore) else [] for one in embeddings]
    called_id = [next((name for name in sorted(names, reverse=True) if name.lower() == ID), None) for names in own]
    shared: list[tuple[str, tuple[str | None, ...]]] = []
    if sum(name is not None for name in called_id) > 1:
        shared.append((next(name for name in called_id if name), tuple(called_id)))
    for name in dict.fromkeys(name for names in own for name in names if name.lower() != ID):
        if sum(name in names for names in own) > 1:
            shared.append((name, tuple(name if name in names else None for names in own)))
    return shared


def _begin(store: EmbeddingStore, column: str) -> pa.ChunkedArray | None:
    """The first values of a column; None where they are no ids, which one called id must not be."""
    try:
        return next(_ids(store, column))
    except InputError as error:
        if column.lower() == ID:
            raise InputError(f"{store.source}, column {column}: {error}") from None
        return None


def _tells_apart(values: pa.ChunkedArray) -> bool:
    """Whether values are there and differ from one another, but for a few."""
    return bool(pc.count_distinct(values.drop_null()).as_py() >= _NEARLY * len(values))


def _numbers_rows(store: EmbeddingStore, column: str) -> bool:
    """Whether a column does nothing but number the rows of its store, or of the source, as they stand."""
    start = begin = 0
    for values in _ids(store, column):
        if not pa.types.is_integer(values.type) or values.null_count:
            return False
        numbers, rows = values.to_numpy(), np.arange(start, start + len(values))
        begin = int(numbers[0]) if not start and numbers[0] in (0, 1) else begin
        own, source = begin + rows, begin + numbered(store, rows)
        if not (np.array_equal(numbers, own) or np.array_equal(numbers, source)):
            return False
        start += len(values)
    return True


def _ids(store: EmbeddingStore, column: str) -> Iterator[pa.ChunkedArray]:
    """The values of a column as ids; the first of them may be more than is needed."""
    for values in store.column_arrays(column):
        yield as_ids(values)


def rows_at(a: Embedding, b: Embedding) -> NDArray[np.int64]:
    """The row of A at the position in the source of each row of B, −1 where A has none; both know what they dropped."""
    rows = numbered(b, np.arange(b.n))
    return store_rows(rows, a.dropped_rows) if isinstance(a, EmbeddingStore) else rows  # type: ignore[arg-type]


def _at_both(one: EmbeddingStore, other: EmbeddingStore) -> NDArray[np.bool_] | None:
    """Which rows of a store have a row of the other at their position; None for all."""
    if one.n == other.n and np.array_equal(one.dropped_rows, other.dropped_rows):  # type: ignore[arg-type]
        return None
    return np.asarray(rows_at(other, one) >= 0)


def _disagreement(
    first: tuple[EmbeddingStore, str], other: tuple[EmbeddingStore, str], brief: bool
) -> Disagreement | None:
    """The first position at which a column differs; `brief` to look at the first rows alone."""
    masks = _at_both(first[0], other[0]), _at_both(other[0], first[0])
    streams = [_filtered(_ids(*one), mask) for one, mask in zip((first, other), masks, strict=True)]
    start = 0
    for mine, theirs in islice(_in_step(*streams), 1 if brief else None):
        mine, theirs = (pc.fill_null(one.cast(pa.large_string()), _MISSING) for one in (mine, theirs))
        differing = pc.index(pc.equal(mine, theirs), False).as_py()
        if differing >= 0:
            at = start + differing
            row = at if masks[0] is None else int(np.flatnonzero(masks[0])[at])
            number = int(numbered(first[0], np.array([row]))[0])
            sources, values = (first[0].source, other[0].source), (mine[differing].as_py(), theirs[differing].as_py())
            return Disagreement(number, sources, values)
        start += len(mine)
    return None


def _filtered(arrays: Iterator[pa.ChunkedArray], mask: NDArray[np.bool_] | None) -> Iterator[pa.ChunkedArray]:
    start = 0
    for values in arrays:
        yield values if mask is None else values.filter(pa.array(mask[start : start + len(values)]))
        start += len(values)


def _in_step(
    first: Iterator[pa.ChunkedArray], other: Iterator[pa.ChunkedArray]
) -> Iterator[tuple[pa.ChunkedArray, pa.ChunkedArray]]:
    """Two streams of values in pieces of equal lengths, as far as both go."""
    mine = theirs = pa.chunked_array([], pa.large_string())
    while True:
        while not len(mine):
            if (mine := next(first, None)) is None:
                return
        while not len(theirs):
            if (theirs := next(other, None)) is None:
                return
        count = min(len(mine), len(theirs), CHUNK_ROWS)
        yield mine.slice(0, count), theirs.slice(0, count)
        mine, theirs = mine.slice(count), theirs.slice(count)


def _hashes(store: EmbeddingStore, column: str) -> tuple[Hashes, bool] | None:
    """The hashes of a column, and whether no value is missing; None where some are no ids after all."""
    start, complete = 0, True

    def values() -> Iterator[pa.ChunkedArray]:
        nonlocal start, complete
        for one in _ids(store, column):
            if one.null_count:
                complete = False
                texts = one.cast(pa.large_string()).combine_chunks()
                nowhere = [
                    f"\0{store.source}\0{start + row}" for row in np.flatnonzero(texts.is_null().to_numpy(False))
                ]
                filled = pc.replace_with_mask(texts, texts.is_null(), pa.array(nowhere, pa.large_string()))
                one = pa.chunked_array([filled])
            yield one
            start += len(one)

    try:
        return hashes_of(values()), complete
    except InputError:
        return None


@dataclass(frozen=True)
class _Found:
    """Where the values of a column are in the other stores.

    Attributes
    ----------
    shared : whether most are on every side
    moved : whether some are there, but not where they are taken to be
    partners : the row of the first store for each row of every other; None where the column cannot be paired by
    why : the reason for that
    """

    shared: bool
    moved: bool
    partners: tuple[NDArray[np.int64], ...] | None
    why: str = ""

    @classmethod
    def of(
        cls,
        stores: Sequence[tuple[EmbeddingStore, str]],
        rows_here: Sequence[NDArray[np.int64]] | None,
        share: float = _SHARE,
    ) -> _Found:
        """Look for the values of every store among those of the first.

        Parameters
        ----------
        stores : the stores, with the name of the column in each
        rows_here : for all but the first, the row of the first that each row is taken to be, −1 for none; None where
            nothing is known of that
        share : of the smaller side's values, that must be on the other side too
        """
        hashed = _hashes(*stores[0])
        if hashed is None:
            return cls(False, False, None, f"not all values of {stores[0][0].source} can be ids")
        mine, complete = hashed
        index = Index.of(mine)
        distinct, moved, partners = index.distinct, False, []
        for place, (store, column) in enumerate(stores[1:]):
            hashed = _hashes(store, column)
            if hashed is None:
                return cls(False, False, None, f"not all values of {store.source} can be ids")
            theirs, whole = hashed
            complete = complete and whole
            rows = index.rows_with(theirs)
            found, smaller = int(np.count_nonzero(rows >= 0)), min(store.n, stores[0][0].n)
            if not found or found < share * smaller:
                return cls(False, False, None, f"only {found:,} of {smaller:,} of its values are on both sides")
            distinct = distinct and Index.of(theirs).distinct
            if rows_here is not None:
                here = rows_here[place]
                asked = np.flatnonzero((rows >= 0) & (here >= 0))
                same = [one[here[asked]] == other[asked] for one, other in zip(mine, theirs, strict=True)]
                moved = moved or not (same[0] & same[1]).all()
            partners.append(rows)
        if not distinct or not complete:
            why = "some of its values are in several rows" if complete else "some rows have no value"
            return cls(True, moved, None, why)
        return cls(True, moved, tuple(partners))
