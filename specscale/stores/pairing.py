"""Pairing: which row of B is the same sample as a row of A."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from specscale.errors import OptionError, PairingError
from specscale.stores.embedding import Embedding, EmbeddingStore
from specscale.stores.ids import check_ids, id_hashes
from specscale.stores.reordered import ReorderedEmbedding
from specscale.stores.rows import Match, PairedRows

__all__ = ["pair"]


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
    for one in (a, b):
        if isinstance(one, EmbeddingStore):
            one.check()
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
    for one in (a, b):
        check_ids(one.id_name, one.n, one.id_arrays, lambda row, one=one: f"{one.source}, row {row}")  # type: ignore[misc]
    rows_in_a = _rows_in(a, b)
    matched = int(np.count_nonzero(rows_in_a >= 0))
    if matched == 0:
        raise PairingError(
            f"no id of {a.source} (column {a.id_name}, first {next(a.id_arrays())[0]}) is among those of {b.source} "
            f"(column {b.id_name}, first {next(b.id_arrays())[0]}): check the columns given with --id"
        )
    match = Match("id", matched, a.n - matched, b.n - matched, ids_digest=a.ids.digest if a.ids else None)
    kept = None
    if matched < a.n:
        kept = np.zeros(a.n, dtype=np.bool_)
        kept[rows_in_a[rows_in_a >= 0]] = True
    if a.n == b.n and matched == a.n and np.array_equal(rows_in_a, np.arange(a.n)):
        return PairedRows((a, b), kept, match)
    return PairedRows((a, ReorderedEmbedding.write(b, rows_in_a, a.n, work)), kept, match)


def _rows_in(a: EmbeddingStore, b: EmbeddingStore) -> NDArray[np.int64]:
    """The row of A with the id of each row of B, −1 where there is none.

    The ids are streamed; 24 bytes for a row of A are held, and 8 for a row of B. Ids count as equal when 128 bits of
    their hashes are, and as text, so that the integer 7 and the text "7" are one id.
    """
    parts = [id_hashes(ids) for ids in a.id_arrays()]
    first, second = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(first)
    first = first[order]
    found = []
    for ids in b.id_arrays():
        wanted, check = id_hashes(ids)
        rows = np.full(len(wanted), -1, dtype=np.int64)
        places = np.searchsorted(first, wanted)
        open_ = np.arange(len(wanted))
        while len(open_):  # once, and again only for ids of A whose first hashes are equal
            open_ = open_[places[open_] < a.n]
            open_ = open_[first[places[open_]] == wanted[open_]]
            candidates = order[places[open_]]
            right = second[candidates] == check[open_]
            rows[open_[right]] = candidates[right]
            open_ = open_[~right]
            places[open_] += 1
        found.append(rows)
    return np.concatenate(found)
