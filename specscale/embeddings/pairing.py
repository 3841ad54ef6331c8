"""Pairing: which rows of several embeddings are the same sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.base import Embedding
from specscale.embeddings.ids import check_ids
from specscale.embeddings.keys import Index, hashes_of
from specscale.embeddings.mismatch import examples, likely_reason
from specscale.embeddings.reordered import ReorderedEmbedding, name_row
from specscale.embeddings.rows import Match, PairedRows
from specscale.embeddings.store import EmbeddingStore
from specscale.embeddings.witnesses import ID, Witness, contradicts, rows_at, shared_columns, witnesses
from specscale.errors import InputError, OptionError, PairingError
from specscale.places.files import Location

__all__ = ["pair", "pair_many"]

_NO_PARTNER = "no partner"
_DROPPED = "dropped at ingest"
_PARTNER_DROPPED = "partner dropped at ingest"
_REMEDIES = "ingest with --id COLUMN, or say how with --match id or --match position"


def pair(
    a: Embedding, b: Embedding, *, match: str | None = None, work: Location, min_matched: float = 0.0
) -> PairedRows:
    """Pair the rows of two embeddings, as :func:`pair_many` does of any number."""
    return pair_many((a, b), match=match, work=work, min_matched=min_matched)


def pair_many(
    embeddings: Sequence[Embedding], *, match: str | None = None, work: Location, min_matched: float = 0.0
) -> PairedRows:
    """Pair the rows of two or more embeddings.

    Without ids rows are paired by their numbers in the source, unless a column that the embeddings share tells them
    apart and stands in another order: then by that column.

    Parameters
    ----------
    embeddings : the embeddings
    match : "id", "position", or None: by id when all have ids, by position when none has and no shared column objects
    work : a folder, local or remote, in which the others may be rewritten in the order of the first
    min_matched : the share of the rows of the smallest embedding whose ids must be in all

    Returns
    -------
    PairedRows
        In the order of the first; rows that are not in all embeddings do not take part. Its match counts as `only_b`
        the rows of all the others together that are not in all.

    Raises
    ------
    PairingError
        When some embeddings have ids and others none and `match` is not given; when few ids are in all; when an id
        occurs twice; when the counts differ and rows are paired by position; when which rows were dropped is not known;
        when shared columns contradict the positions or one another.
    """
    if match not in (None, "id", "position"):
        raise OptionError(f"--match is id or position, not {match!r}")
    for one in embeddings:
        if isinstance(one, EmbeddingStore):
            one.check()
    without = [one for one in embeddings if one.ids is None]
    if match == "position":
        return _pair_by_position(embeddings, work)
    if not without:
        return _pair_by_id(cast(Sequence[EmbeddingStore], embeddings), work, min_matched)
    if len(without) < len(embeddings):
        return _pair_by_id(_with_ids_of_others(embeddings, match), work, min_matched)
    positions = match is None and _have_positions(embeddings)
    try:
        asked = list(witnesses(embeddings, positions, min_matched))
    except InputError as error:
        raise PairingError(f"{error}: {_REMEDIES}") from None
    columns = _contradicting(embeddings, asked) if match is None else _called_ids(embeddings, asked)
    if columns is not None:
        return _pair_by_id(_identified(embeddings, columns), work, min_matched)
    if match == "id":
        bare = next((one for one in embeddings if not getattr(one, "columns", ())), embeddings[0])
        raise PairingError(
            f"{bare.source} has no ids to match by: ingest it with --id COLUMN, or pair the rows as they stand with "
            "--match position"
        )
    rows = _pair_by_position(embeddings, work)
    confirmed = next((one.name for one in asked if one.disagreement is None and not one.idle), None)
    unlike = tuple(one.name for one in asked if not one.counts)
    having = [one.name for one in embeddings if any(name.lower() == ID for name in getattr(one, "columns", ()))]
    id_of = tuple(having) if len(having) < len(embeddings) else ()
    return replace(rows, match=replace(rows.match, confirmed_by=confirmed, unlike=unlike, id_of=id_of))


def _with_ids_of_others(embeddings: Sequence[Embedding], match: str | None) -> list[EmbeddingStore]:
    """With --match id, the stores that were given no ids with the column of this name as their ids."""
    with_ids = next(one for one in embeddings if one.ids is not None)
    assert with_ids.ids is not None
    column, found = with_ids.ids.column, []
    for one in embeddings:
        columns = one.columns if isinstance(one, EmbeddingStore) else []
        has = column in columns
        if one.ids is None and (match is None or not has):
            known = f", though its column {column} may hold them (--match id takes it)" if has else ""
            raise PairingError(
                f"{with_ids.source} has ids and {one.source} has none{known}: ingest {one.source} again with "
                "--id COLUMN, or pair the rows as they stand with --match position"
            )
        found += [cast(EmbeddingStore, one)] if one.ids is not None else _identified([one], [column])
    return found


def _identified(embeddings: Sequence[Embedding], columns: Sequence[str | None]) -> list[EmbeddingStore]:
    """The stores with a column of each as its ids."""
    found = []
    for one, column in zip(embeddings, columns, strict=True):
        try:
            found.append(cast(EmbeddingStore, one).identified_by(cast(str, column)))
        except InputError as error:
            raise PairingError(f"{one.source}, column {column}: {error}: {_REMEDIES}") from None
    return found


def _contradicting(embeddings: Sequence[Embedding], asked: Sequence[Witness]) -> Sequence[str | None] | None:
    """The column to pair by, in each embedding: one that contradicts the positions. None where none does."""
    against = [one for one in asked if one.counts and (one.disagreement is not None or one.partners is not None)]
    if not against:
        _check_spellings(embeddings, asked)
        return None
    chosen = against[0]  # one called id comes first
    if not chosen.called_id:
        chosen = next((one for one in against if one.partners is not None), chosen)
    if chosen.partners is None:
        reason = None
        if chosen.called_id and None not in chosen.columns:
            reason = likely_reason(*_identified(embeddings, chosen.columns)[:2])
        few = "accept so few with --min-matched SHARE, " if chosen.called_id and "on both sides" in chosen.why else ""
        raise PairingError(
            f"column {chosen.name} holds other values at the same positions, and the rows cannot be paired by it "
            f"({chosen.why}): {chosen.disagreement}{f' (they differ in {reason})' if reason else ''}: {few}{_REMEDIES}"
        )
    if chosen.whole and not chosen.called_id:
        example = f" ({chosen.disagreement})" if chosen.disagreement is not None else ""
        raise PairingError(
            f"column {chosen.name} holds the same whole numbers on both sides, in another order{example}: are they the "
            f"rows' ids? If so {_REMEDIES}"
        )
    asked = [one for one in asked if one.counts and not (one.idle and chosen.called_id)]
    other = _contradiction(chosen, asked, embeddings)
    if other is not None:
        example = f" ({chosen.disagreement})" if chosen.disagreement is not None else ""
        raise PairingError(
            f"columns {chosen.name} and {other.name} say different things about which rows are the same samples"
            f"{example}: {_REMEDIES}"
        )
    return chosen.columns


def _check_spellings(embeddings: Sequence[Embedding], asked: Sequence[Witness]) -> None:
    """Refuse positions where a column that tells rows apart is written in two ways, so that nothing matches."""
    for one in asked:
        if one.counts or None in one.columns or one.whole:
            continue
        reason = likely_reason(*_identified(embeddings, one.columns)[:2])
        if reason is not None:
            raise PairingError(
                f"column {one.name} tells rows apart, and {one.why}, as they differ in {reason}: {one.disagreement}: "
                f"make them alike and {_REMEDIES}"
            )


def _contradiction(chosen: Witness, asked: Sequence[Witness], embeddings: Sequence[Embedding]) -> Witness | None:
    """A column that says otherwise than the one chosen to pair by."""
    assert chosen.partners is not None
    others = [one for one in asked if one is not chosen]
    return next((one for one in others if contradicts(one, embeddings, chosen.partners)), None)


def _called_ids(embeddings: Sequence[Embedding], asked: Sequence[Witness]) -> Sequence[str | None] | None:
    """The column to pair by where --match id is given and no store has ids; None where there is none."""
    name, columns = next(iter(shared_columns(embeddings)), ("", (None,)))
    if name.lower() == ID and None not in columns:
        return columns
    usable = [one for one in asked if one.partners is not None]
    if not usable:
        return None
    other = _contradiction(usable[0], usable[1:], embeddings)
    if other is not None:
        raise PairingError(
            f"columns {usable[0].name} and {other.name} could both be the ids, and pair different rows: ingest with "
            "--id COLUMN"
        )
    return usable[0].columns


def _dropped(one: Embedding) -> int:
    return one.dropped if isinstance(one, EmbeddingStore) else 0


def _have_positions(embeddings: Sequence[Embedding]) -> bool:
    """Whether the sources have equally many rows, whose numbers are known."""
    known = all(getattr(one, "dropped_rows", ()) is not None for one in embeddings)
    return known and len({one.n + _dropped(one) for one in embeddings}) == 1


def _pair_by_position(embeddings: Sequence[Embedding], work: Location) -> PairedRows:
    a = embeddings[0]
    for b in embeddings[1:]:
        if a.n + _dropped(a) != b.n + _dropped(b):
            raise PairingError(
                f"{_counted(a)} and {_counted(b)}: rows are paired by position only when the counts are equal; ingest "
                "both with --id COLUMN to pair them by id"
            )
    match = Match("position", a.n, 0, 0, ids_digest=_ids_digest(a))
    if not any(map(_dropped, embeddings)):
        return PairedRows(tuple(embeddings), None, match)
    for one in embeddings:
        if isinstance(one, EmbeddingStore) and one.dropped_rows is None:
            raise PairingError(
                f"{one.source}: ingest dropped {one.dropped:,} rows, and this store of an earlier version does not say "
                "which, so that positions are not known: ingest it again, or with --id COLUMN to pair by id"
            )
    rows = _aligned(embeddings, [rows_at(a, b) for b in embeddings[1:]], match, work)
    return replace(rows, match=_leaving_out(rows.match, embeddings, _PARTNER_DROPPED))


def _counted(one: Embedding) -> str:
    if not _dropped(one):
        return f"{one.source} has {one.n:,} rows"
    return f"{one.source} has {one.n:,} rows ({_dropped(one):,} of {one.n + _dropped(one):,} dropped at ingest)"


def _leaving_out(match: Match, embeddings: Sequence[Embedding], reason: str) -> Match:
    """Say why rows that are not in all embeddings are not."""
    match = match.leaving_out(_DROPPED, [_dropped(one) for one in embeddings])
    return match.leaving_out(reason, [one.n - match.matched for one in embeddings])


def _ids_digest(a: Embedding) -> str | None:
    return a.ids.digest if a.ids else None


def _aligned(
    embeddings: Sequence[Embedding], partners: Sequence[NDArray[np.int64] | None], match: Match, work: Location
) -> PairedRows:
    """Rewrite the others in the order of the first, as far as they are in another.

    Parameters
    ----------
    partners : for each of the others the row of the first for each of its rows, −1 without one; None where their rows
        are in the same order
    """
    a = embeddings[0]
    everywhere = np.ones(a.n, dtype=np.bool_)
    aligned = list(embeddings)
    for number, (b, rows) in enumerate(zip(embeddings[1:], partners, strict=True), 1):
        if rows is None or (len(rows) == a.n and np.array_equal(rows, np.arange(a.n))):
            continue
        found = np.zeros(a.n, dtype=np.bool_)
        found[rows[rows >= 0]] = True
        everywhere &= found
        aligned[number] = ReorderedEmbedding.write(b, rows, a.n, work, number)
    matched = int(np.count_nonzero(everywhere))
    if not matched:
        sources = ", ".join(one.source for one in embeddings)
        what = "id" if match.by == "id" else "row of the source"
        raise PairingError(
            f"no {what} is in all of {sources}, though each shares some with the first: leave one of them out"
        )
    only_others = sum(b.n - matched for b in embeddings[1:])
    match = replace(match, matched=matched, only_a=a.n - matched, only_b=only_others)
    return PairedRows(tuple(aligned), everywhere if matched < a.n else None, match)


def _pair_by_id(embeddings: Sequence[EmbeddingStore], work: Location, min_matched: float) -> PairedRows:
    a, others = embeddings[0], embeddings[1:]
    moved = [number for number, b in enumerate(others, 1) if _ids_digest(b) != _ids_digest(a) or b.n != a.n]
    if moved:
        for one in (a, *(embeddings[number] for number in moved)):
            check_ids(one.id_name, one.n, one.id_arrays, lambda row, one=one: f"{one.source}, {name_row(one, row)}")  # type: ignore[misc]
    index = Index.of(hashes_of(a.id_arrays())) if moved else None
    partners: list[NDArray[np.int64] | None] = [None] * len(others)
    for number in moved:
        assert index is not None
        b = embeddings[number]
        rows_in_a = index.rows_of(b.id_arrays())
        found = int(np.count_nonzero(rows_in_a >= 0))
        if not found or found < min_matched * min(a.n, b.n):
            raise _few(a, b, found)
        partners[number - 1] = rows_in_a
    columns = dict.fromkeys(one.id_name for one in embeddings)
    match = Match("id", a.n, 0, 0, ids_digest=_ids_digest(a), column=" = ".join(columns))
    rows = _aligned(embeddings, partners, match, work)
    if rows.match.matched < min_matched * min(one.n for one in embeddings):
        raise PairingError(
            f"only {rows.match.matched:,} ids are in all of {', '.join(one.source for one in embeddings)}: leave one "
            "out, or accept so few with --min-matched"
        )
    return replace(rows, match=_leaving_out(rows.match, embeddings, _NO_PARTNER))


def _few(a: EmbeddingStore, b: EmbeddingStore, found: int) -> PairingError:
    """Say that few ids are in both stores, what they look like and why that may be."""
    smaller = min(a.n, b.n)
    what = f"only {found:,} of {smaller:,} ids are in both, of" if found else "no id of"
    reason = likely_reason(a, b)
    why = "check the columns given with --id"
    if reason:
        why = f"they differ in {reason}: make them alike and ingest again"
    accept = f"accept so few with --min-matched {math.floor(1000 * found / smaller) / 1000:g}, " if found else ""
    return PairingError(
        f"{what} {a.source} (column {a.id_name}: {examples(a)}, …) "
        f"{'and' if found else 'is among those of'} {b.source} (column {b.id_name}: {examples(b)}, …): {why}, "
        f"{accept}or pair the rows as they stand with --match position"
    )
