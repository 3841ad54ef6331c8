"""Rows of a source become rows of a store, in its type: which are usable, and what is said of the first that is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.embeddings.holes import Absent
from specscale.errors import InputError
from specscale.sources import Batch, Source
from specscale.stopping import check_signals
from specscale.stores.writer import StoreWriter

__all__ = ["DROP", "Holes", "copy_rows"]

DROP = "drop such rows with --on-bad drop"
_NAMED_RUNS = 3


def copy_rows(
    rows: Source,
    stream: Callable[[int], Callable[[Batch], pa.Table | None]],
    writer: StoreWriter,
    dtype: np.dtype[Any],
    on_bad: str,
    overflow: str,
    progress: Callable[[int, int], None],
) -> Holes:
    """Hand the rows of a source to the writer of a store, from the first that it does not have.

    Parameters
    ----------
    rows : the source
    stream : returns, for the first row, a function that gives each batch from there on its columns
    writer : the writer
    dtype : type of the store
    on_bad : what to do with rows that cannot be used, as for `ingest.ingest`
    overflow : what to do where a number does not fit in `dtype`, for messages
    progress : called with the rows done and the rows in all

    Returns
    -------
    Holes
        The rows that are in no chunk of the source.

    Raises
    ------
    InputError
        When a row cannot be used, and `on_bad` does not say what to do with it.
    """
    start = writer.journal.next_row
    progress(start, rows.n)
    columns_of = stream(start)
    holes = Holes()
    for batch in rows.batches(start):
        check_signals()
        with np.errstate(over="ignore", invalid="ignore"):
            vectors = batch.vectors.astype(dtype, copy=False)
        if batch.absent is not None:
            if on_bad == "error":
                raise InputError(_hole(rows, batch))
            holes.add(batch.where, batch.absent)
            if on_bad != "zero":
                vectors = np.where(batch.absent.elements, np.asarray(np.nan, dtype), vectors)
        usable = np.isfinite(vectors).all(axis=1)  # nulls read as NaN
        if on_bad in ("error", "zero") and not usable.all():
            raise InputError(_complaint(rows, batch, vectors, int(np.argmin(usable)), overflow))
        if on_bad == "keep":
            usable[:] = True
        writer.add(batch.start, vectors, columns_of(batch), usable)
        progress(batch.start + len(vectors), rows.n)
    return holes


def _hole(rows: Source, first: Batch) -> str:
    """Say which rows of an array are in no chunk, from the first such batch on."""
    holes = Holes()
    for batch in rows.batches(first.start):
        if batch.where != first.where:
            break
        if batch.absent is not None:
            holes.add(batch.where, batch.absent)
    (line,) = holes.describe()
    finite = first.absent is not None and np.isfinite(first.absent.fill)
    fill = f", or read them as the fill value {holes.fills()} with --on-bad zero" if finite else ""
    return f"{line}: restore these, or {DROP}{fill}"


def _complaint(rows: Source, batch: Batch, vectors: NDArray[Any], index: int, overflow: str) -> str:
    dimension = int(np.argmin(np.isfinite(vectors[index])))
    value = batch.vectors[index, dimension]
    remedy = DROP
    if batch.null is not None and batch.null[index]:
        what = batch.missing
    elif batch.absent is not None and batch.absent.elements[index].any():
        what = f"its chunk is not there, and the fill value of the array is {'NaN' if np.isnan(value) else 'infinite'}"
    elif np.isnan(value):
        what = "NaN"
    elif np.isinf(value):
        what = "infinity"
    else:
        what = f"{value:g} does not fit in {vectors.dtype.name}"
        if vectors.dtype == np.float16:
            remedy = overflow
    return f"{rows.locate(batch.start + index)}, {rows.dimension(dimension)}: {what}; {remedy}"


class Holes:
    """The rows of arrays that are, all or in part, in no chunk, as runs."""

    def __init__(self) -> None:
        self._runs: dict[str, list[tuple[int, int]]] = {}
        self._fills: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._runs)

    def add(self, path: str, absent: Absent) -> None:
        """Add rows of the array at `path`, which follow those that were added before."""
        runs = self._runs.setdefault(path, [])
        self._fills[path] = absent.fill
        edges = np.diff(absent.rows.astype(np.int8), prepend=0, append=0)
        begins, ends = np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist()
        for begin, end in zip(begins, ends, strict=True):
            low, high = absent.start + begin, absent.start + end
            if runs and runs[-1][1] == low:
                low = runs.pop()[0]
            runs.append((low, high))

    def describe(self) -> list[str]:
        """Say of each array which of its rows are in no chunk."""
        return [f"{path}: {_named(runs)} in missing or unfinished chunks" for path, runs in self._runs.items()]

    def fills(self) -> str:
        """Say what they read as."""
        return ", ".join(sorted({f"{fill:g}" for fill in self._fills.values()}))


def _named(runs: list[tuple[int, int]]) -> str:
    """As in "rows 2,000 to 2,999 and 7,000 and 3 more runs (5,000 rows in all) are"."""
    count = sum(high - low for low, high in runs)
    if count == 1:
        return f"row {runs[0][0]:,} is"
    named = [f"{low:,} to {high - 1:,}" if high - low > 1 else f"{low:,}" for low, high in runs[:_NAMED_RUNS]]
    more = len(runs) - _NAMED_RUNS
    if more > 0:
        named.append(f"{more:,} more run{'s' * (more > 1)}")
    text = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
    return f"rows {text}{f' ({count:,} rows in all)' if len(runs) > 1 else ''} are"
