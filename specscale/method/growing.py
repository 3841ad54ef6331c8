"""Going on from a result whose embeddings have grown: what must be as it was, and what need not be computed again."""

from __future__ import annotations

from specscale.embeddings.prefix import begins_with, ids_digest_of_first
from specscale.embeddings.reordered import origin_of
from specscale.embeddings.rows import PairedRows
from specscale.errors import OptionError
from specscale.places.files import Location, exists
from specscale.results.comparison import ComparisonResult
from specscale.results.pairs import changed, check_pairs
from specscale.runtime.checkpoints import NodeFolder, is_covered, load_arrays

__all__ = ["check_grown", "is_as_before", "take_up_parts"]


def check_grown(rows: PairedRows, before: ComparisonResult) -> None:
    """Make sure that the pairs of rows of an earlier result are the first of these.

    Raises
    ------
    OptionError
        When the result compared a sample, or has no covariance to go on from.
    ChangedError
        When the pairs are not those of the result with others behind them.
    """
    was = before.record.rows
    if before.record.maps.features == "exact":
        raise OptionError(f"--update {before.path}: a result of --features exact has no covariance to go on from")
    if was.sampled:
        raise OptionError(f"--update {before.path}: compares a sample of its rows, which is not the same in more rows")
    for one, earlier in zip(rows.embeddings, before.record.inputs.values(), strict=True):
        count = earlier.rows
        if one.p != earlier.dimension or not begins_with(one, count, earlier.digest):
            raise changed(before, f"{one.source} does not begin with the {count:,} rows that were compared")
    if ids_digest_of_first(rows.embeddings[0], was.total) != was.ids_digest:
        source = rows.embeddings[0].source
        raise changed(before, f"the ids of its rows are no longer those in {source}, or were not asked for then")
    check_pairs(rows, before)


def is_as_before(rows: PairedRows, before: ComparisonResult) -> bool:
    """Whether there are no rows but those of an earlier result that :func:`check_grown` let pass."""
    counts = [one.rows for one in before.record.inputs.values()]
    return [origin_of(one).n for one in rows.embeddings] == counts


def take_up_parts(before: ComparisonResult, folder: Location) -> None:
    """Put the partial sums that a result keeps where a covariance pass finds them.

    Parameters
    ----------
    before : the earlier result
    folder : where the partial results of the pass are; what is there already stays
    """
    if not exists(before.parts()):  # few rows have none
        return
    kept, here = NodeFolder(before.parts()), NodeFolder(folder)
    there = here.nodes()
    for node in sorted(kept.nodes(), reverse=True):
        if not is_covered(node, there):
            arrays = load_arrays(kept.path(node))
            if arrays is None:
                raise before.damaged(f"the partial sum {kept.path(node).name} is")
            here.save(node, arrays)
