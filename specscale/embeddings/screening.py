"""Rows that cannot be compared, and a sample of those that can."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from specscale import seeds
from specscale.embeddings.base import Embedding, readers
from specscale.embeddings.layout import chunk_runs, row_norms
from specscale.embeddings.reordered import name_row
from specscale.embeddings.rows import PairedRows
from specscale.errors import InputError, OptionError
from specscale.places.ahead import read_ahead

__all__ = ["screen"]

_UNUSABLE = "no usable vector"
_NOT_DRAWN = "not in the sample"


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
    counts: list[int] = []
    for one in rows.embeddings:
        found = list(_bad_rows(one, rows.kept, directions))
        bad.extend(found)
        counts.append(sum(map(len, found)))
        if found and on_bad == "error":
            where = np.concatenate(found)
            value = one.read(int(where[0]), int(where[0]) + 1)
            if 0 < row_norms(value)[0] < np.inf:
                raise InputError(
                    f"{one.source}: {name_row(one, int(where[0]))} has not the norm that is kept of it: the norms are "
                    "damaged: ingest the embedding again with --overwrite"
                )
            if not value.any():
                what = "is of zero norm"
            elif np.isfinite(value).all():
                what = f"has a norm beyond {np.finfo(np.float32).max:.2g}"
            else:
                what = "has a NaN or an infinity"
            raise InputError(
                f"{one.source}: {name_row(one, int(where[0]))} {what}, {len(where):,} such row{'s' * (len(where) > 1)} "
                "in all: leave them out, of every embedding, with --on-bad drop"
            )
    kept, match = rows.kept, rows.match
    if bad:
        kept = np.ones(rows.n, dtype=np.bool_) if kept is None else kept.copy()
        before = np.count_nonzero(kept)
        kept[np.concatenate(bad)] = False
        match = replace(match, dropped=int(before - np.count_nonzero(kept))).leaving_out(_UNUSABLE, counts)
    screened = PairedRows(rows.embeddings, kept, match)
    if sample is not None and sample < screened.n_kept:
        if sample < 1:
            raise OptionError(f"--sample is a number of rows, not {sample}")
        chosen = np.zeros(rows.n, dtype=np.bool_)
        generator = seeds.compared_rows(seed)
        candidates = np.flatnonzero(kept) if kept is not None else np.arange(rows.n)
        chosen[generator.choice(candidates, size=sample, replace=False, shuffle=False)] = True
        match = replace(match, sampled=True).leaving_out(_NOT_DRAWN, [len(candidates) - sample] * len(counts))
        screened = PairedRows(rows.embeddings, chosen, match)
    if screened.n_kept < 2:
        raise InputError(f"rows left to compare: {screened.n_kept:,}, at least two are needed")
    return screened


def _bad_rows(one: Embedding, kept: NDArray[np.bool_] | None, directions: bool) -> Iterator[NDArray[np.int64]]:
    all_norms = read_ahead(lambda run: one.norms(*run), chunk_runs(one.n), readers(one))
    for (start, stop), norms in zip(chunk_runs(one.n), all_norms, strict=True):
        bad = ~np.isfinite(norms)
        if directions:
            bad |= norms == 0
        if kept is not None:
            bad &= kept[start:stop]
        if bad.any():
            yield start + np.flatnonzero(bad)
