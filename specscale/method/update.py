"""``--update``: a comparison goes on from a result whose embeddings have grown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from specscale.embeddings.prefix import begins_with, ids_digest_of_first
from specscale.embeddings.reordered import origin_of
from specscale.embeddings.rows import PairedRows
from specscale.errors import OptionError
from specscale.method.comparison import Comparison, computing
from specscale.method.earlier import Earlier, names_of
from specscale.method.execution import Execution
from specscale.method.inputs import Input
from specscale.method.keywords import keywords, taken
from specscale.method.options import Options
from specscale.method.preparation import looking
from specscale.method.prologue import Asked, begun
from specscale.method.run import running
from specscale.method.steps import ProblemSize, Steps
from specscale.places.files import Location, exists, followed
from specscale.results.comparison import ComparisonResult
from specscale.results.pairs import changed, check_pairs
from specscale.runtime.checkpoints import NodeFolder, is_covered, load_arrays
from specscale.runtime.events import Noted

__all__ = ["check_grown", "compare_grown", "is_as_before", "take_up_parts"]

R = TypeVar("R", bound=ComparisonResult)


@keywords("update", Execution)
def compare_grown(result: R, a: Input, b: Input, *, min_matched: float | None = None, **given: Any) -> R:
    """Compare embeddings to which rows were appended since an earlier result, with its bandwidths and feature maps.

    The covariance goes on from the partial sums that the result keeps: only the spans of new rows are accumulated, and
    the last one again if it was not full. Sums that another device made are not taken: all rows are passed over again.
    What is found is, bit for bit, what a comparison of all rows with these maps finds.

    Parameters
    ----------
    result : the earlier result, whose options are kept
    a, b : the embeddings, with all rows
    min_matched : as in :func:`specscale.compare`; that of the result by default
    **given : the fields of :class:`Execution`

    Returns
    -------
    ComparisonResult
        The new result; `result` itself, and nothing is written, where no rows are new and `out` is its own place.

    Raises
    ------
    ChangedError
        When the rows are not those of the result with others behind them.
    OptionError
        When the result compared a sample, or has no covariance.
    """
    options, execution = result.parsed("options", Options.from_json), taken(Execution, given)
    if min_matched is not None:
        options = replace(options, min_matched=min_matched)
    with running(execution, options.precision) as run:
        in_place = execution.names is None and str(run.place.out) == str(followed(result.path))
        choice = f"bandwidths and maps of {result.path}, {result.record.rows.total:,} of these rows"
        asked = Asked(
            (a, b),
            options,
            _steps,
            names=names_of(result, execution.names),
            memory=execution.memory,
            check=lambda rows: check_grown(rows, result),
            idle=lambda rows: in_place and is_as_before(rows, result),
            earlier=Earlier(result, choice),
        )
        start = begun(run, asked)
        if start:
            made_on = result.record.device.name if result.record.device else "cpu"
            if made_on == run.kernels.name:
                take_up_parts(result, run.place.folder / "covariance")
            else:
                run.notify(
                    Noted(
                        f"the partial sums of {result.path} were made on {made_on}: all rows are passed over again on "
                        f"{run.kernels.name}, so that the bits are those of one device"
                    )
                )
            Comparison(run, start).finish()
        elif not run.place.done:
            return result
        return type(result).of(run.place.out, (a, b), temporary=run.place.temporary)


def _steps(extent: ProblemSize) -> Steps:
    """The steps of a comparison whose feature maps are there."""
    return Steps(looking=looking(extent), computing=computing(extent))


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
