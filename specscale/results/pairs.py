"""Which rows a result compared with which, and whether they would be paired so again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.layout import chunk_runs
from specscale.embeddings.reordered import rows_of_origin
from specscale.embeddings.rows import PairedRows, kept_digest
from specscale.errors import ChangedError
from specscale.results.comparison import ComparisonResult
from specscale.results.described import rows_of_input

__all__ = ["changed", "check_pairs", "compared_rows"]


def check_pairs(rows: PairedRows, before: ComparisonResult) -> None:
    """Make sure that the rows of an earlier result are paired as they were then.

    Parameters
    ----------
    rows : the paired rows, those of the result first
    before : the result

    Raises
    ------
    ChangedError
        When they are not, or the result does not say enough of how they were.
    """
    was, total = before.record.rows, before.record.rows.total
    if rows.match.by != was.matched_by:
        raise changed(before, f"its rows were paired by {was.matched_by}, and are by {rows.match.by} now")
    b = rows.embeddings[1]
    now, then = rows_of_origin(b), rows_of_input(before, 1, np.arange(total))
    if now is not None and was.left_out is None and _as_many(rows, before):
        return
    if then is None or (now is not None and was.left_out is None):
        raise changed(before, "it was made by an earlier version, which does not say which rows of B it paired")
    # A row that took no part may have got a partner, which what was summed up then does not know.
    kept_then = was.kept_digest or kept_digest(compared_rows(before), total)  # which is None where all did
    if kept_then != kept_digest(rows.kept, total):
        raise changed(
            before,
            f"of its {total:,} rows others take part now: new rows are partners of old ones that had none, which "
            "changes what was summed up",
        )
    here = np.arange(total) if now is None else now[:total]
    taking_part = slice(None) if rows.kept is None else rows.kept[:total]
    if not np.array_equal(then[taking_part], here[taking_part]):
        raise changed(before, f"its rows are paired with other rows of {b.source} now")


def _as_many(rows: PairedRows, before: ComparisonResult) -> bool:
    """Whether all rows of a result that kept no pairs match by id as they did, in embeddings that are as they were."""
    was, match = before.record.rows, rows.match
    counts = ("matched", "only_a", "only_b", "ids_digest")
    digests = [one.digest for one in before.record.inputs.values()]
    return (
        match.by == "id"
        and [one.digest for one in rows.embeddings] == digests
        and [getattr(match, name) for name in counts] == [getattr(was, name) for name in counts]
    )


def compared_rows(result: ComparisonResult) -> NDArray[np.bool_] | None:
    """Which rows of A were compared, (n,) bool, or None for all; by the scores of a result with modes."""
    rows = result.record.rows
    if rows.compared == rows.total:
        return None
    kept = np.empty(rows.total, dtype=np.bool_)
    for start, stop in chunk_runs(len(kept)):
        kept[start:stop] = ~np.isnan(np.asarray(result.scores[start:stop])[:, 0])
    return kept


def changed(before: ComparisonResult, what: str) -> ChangedError:
    """Return the error that what is there is not what a result compared."""
    return ChangedError(f"{before.path}: {what}: compare afresh")
