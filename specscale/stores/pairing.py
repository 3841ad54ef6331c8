"""Pairing: which rows of several embeddings are the same sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specscale.errors import OptionError, PairingError
from specscale.files import Location
from specscale.stores.embedding import Embedding, EmbeddingStore
from specscale.stores.ids import check_ids, id_hashes
from specscale.stores.reordered import ReorderedEmbedding
from specscale.stores.rows import Match, PairedRows

__all__ = ["pair", "pair_many"]


def pair(a: Embedding, b: Embedding, *, match: str | None = None, work: Location) -> PairedRows:
    """Pair the rows of two embeddings, as :func:`pair_many` does of any number."""
    return pair_many((a, b), match=match, work=work)


def pair_many(embeddings: Sequence[Embedding], *, match: str | None = None, work: Location) -> PairedRows:
    """Pair the rows of two or more embeddings.

    Parameters
    ----------
    embeddings : the embeddings
    match : "id", "position", or None: by id when all have ids, by position when none has
    work : a folder, local or remote, in which the others may be rewritten in the order of the first

    Returns
    -------
    PairedRows
        In the order of the first; rows that are not in all embeddings do not take part. Its match counts as `only_b`
        the rows of all the others together that are not in all.

    Raises
    ------
    PairingError
        When some embeddings have ids and others none and `match` is not given; when no id is in all; when an id
        occurs twice; when the counts differ and rows are paired by position.
    """
    if match not in (None, "id", "position"):
        raise OptionError(f"--match is id or position, not {match!r}")
    for one in embeddings:
        if isinstance(one, EmbeddingStore):
            one.check()
    without = [one for one in embeddings if one.ids is None]
    if match is None:
        if 0 < len(without) < len(embeddings):
            with_ids = next(one for one in embeddings if one.ids is not None)
            raise PairingError(
                f"{with_ids.source} has ids and {without[0].source} has none: ingest {without[0].source} again with "
                "--id COLUMN, or pair the rows as they stand with --match position"
            )
        match = "position" if without else "id"
    if match == "position":
        return _pair_by_position(embeddings)
    stores = [one for one in embeddings if isinstance(one, EmbeddingStore) and one.ids is not None]
    if len(stores) < len(embeddings):
        bare = next(one for one in embeddings if one not in stores)
        raise PairingError(f"{bare.source} has no ids to match by: ingest it with --id COLUMN, or --match position")
    return _pair_by_id(stores, work)


def _pair_by_position(embeddings: Sequence[Embedding]) -> PairedRows:
    a = embeddings[0]
    for b in embeddings[1:]:
        if a.n != b.n:
            raise PairingError(
                f"{a.source} has {a.n:,} rows and {b.source} has {b.n:,}: rows are paired by position only when the "
                "counts are equal; ingest both with --id COLUMN to pair them by id"
            )
    return PairedRows(tuple(embeddings), None, Match("position", a.n, 0, 0, ids_digest=_ids_digest(a)))


def _ids_digest(a: Embedding) -> str | None:
    return a.ids.digest if a.ids else None


def _pair_by_id(embeddings: Sequence[EmbeddingStore], work: Location) -> PairedRows:
    a, others = embeddings[0], embeddings[1:]
    moved = [number for number, b in enumerate(others, 1) if _ids_digest(b) != _ids_digest(a) or b.n != a.n]
    if moved:
        for one in (a, *(embeddings[number] for number in moved)):
            check_ids(one.id_name, one.n, one.id_arrays, lambda row, one=one: f"{one.source}, row {row}")  # type: ignore[misc]
    index = _Index.of(a) if moved else None
    everywhere = np.ones(a.n, dtype=np.bool_)
    aligned: list[Embedding] = list(embeddings)
    for number in moved:
        assert index is not None
        b = embeddings[number]
        rows_in_a = index.rows_of(b)
        found = np.zeros(a.n, dtype=np.bool_)
        found[rows_in_a[rows_in_a >= 0]] = True
        if not found.any():
            raise PairingError(
                f"no id of {a.source} (column {a.id_name}, first {next(a.id_arrays())[0]}) is among those of "
                f"{b.source} (column {b.id_name}, first {next(b.id_arrays())[0]}): check the columns given with --id"
            )
        everywhere &= found
        if a.n != b.n or not np.array_equal(rows_in_a, np.arange(a.n)):
            aligned[number] = ReorderedEmbedding.write(b, rows_in_a, a.n, work, number)
    matched = int(np.count_nonzero(everywhere))
    if not matched:
        sources = ", ".join(one.source for one in embeddings)
        raise PairingError(
            f"no id is in all of {sources}, though each shares some with the first: leave one of them out"
        )
    only_others = sum(b.n - matched for b in others)
    match = Match("id", matched, a.n - matched, only_others, ids_digest=_ids_digest(a))
    return PairedRows(tuple(aligned), everywhere if matched < a.n else None, match)


@dataclass(frozen=True)
class _Index:
    """Where the ids of an embedding are: 24 bytes for each of its rows.

    Attributes
    ----------
    first : (n,) the first halves of the ids' hashes, ascending
    second : (n,) the second halves, in the order of the rows
    order : (n,) the row of each of `first`
    """

    first: NDArray[np.uint64]
    second: NDArray[np.uint64]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, a: EmbeddingStore) -> _Index:
        """Read the ids of an embedding."""
        parts = [id_hashes(ids) for ids in a.id_arrays()]
        first, second = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(first)
        return cls(first[order], second, order)

    def rows_of(self, b: EmbeddingStore) -> NDArray[np.int64]:
        """The row with the id of each row of another embedding, −1 where there is none.

        The ids are streamed; 8 bytes for a row are held. Ids count as equal when 128 bits of their hashes are, and as
        text, so that the integer 7 and the text "7" are one id.
        """
        found = []
        for ids in b.id_arrays():
            wanted, check = id_hashes(ids)
            rows = np.full(len(wanted), -1, dtype=np.int64)
            places = np.searchsorted(self.first, wanted)
            open_ = np.arange(len(wanted))
            while len(open_):  # once, and again only for ids whose first hashes are equal
                open_ = open_[places[open_] < len(self.first)]
                open_ = open_[self.first[places[open_]] == wanted[open_]]
                candidates = self.order[places[open_]]
                right = self.second[candidates] == check[open_]
                rows[open_[right]] = candidates[right]
                open_ = open_[~right]
                places[open_] += 1
            found.append(rows)
        return np.concatenate(found)
