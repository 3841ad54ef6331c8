"""What the groups of a result are about: terms and labels of members that were drawn, against those of near misses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.errors import SpecscaleError
from specscale.insight.about import About, about
from specscale.insight.labels import label_column, labels_of
from specscale.insight.roles import cells_of, label_columns, text_column
from specscale.results.comparison import ComparisonResult
from specscale.results.group_files import DRAWN, DRAWN_NEAR, NEAR, samples_table
from specscale.results.groups import Group
from specscale.tables.values import numbers

__all__ = ["subjects_of"]

_OTHERS = (DRAWN_NEAR, NEAR)  # a tight group has none of the former, as no row is half as like its core


def subjects_of(result: ComparisonResult, groups: Sequence[Group]) -> dict[int, About]:
    """Say what groups are about, as the samples' columns tell that the result can read.

    Terms are those that members say more often than near misses; labels are counted against all rows that were
    compared, where their store can be read, and else against near misses. Which column is the text, and which are
    labels, is decided by the samples of all these groups together.

    Parameters
    ----------
    result : the result
    groups : some of its groups

    Returns
    -------
    dict
        By the numbers of the groups; empty where the samples have no columns.
    """
    samples = samples_table(result)
    number, kind = (samples.column(name).to_numpy(zero_copy_only=False) for name in ("group", "kind"))
    row = samples.column("row").to_numpy()
    members = {one.group: row[(number == one.group) & (kind == DRAWN)] for one in groups}
    others = {one.group: row[(number == one.group) & np.isin(kind, _OTHERS)] for one in groups}
    rows = np.unique(np.concatenate([np.empty(0, np.int64), *members.values(), *others.values()]))
    columns = result.described_table(pa.table({"row": numbers(rows)})).drop_columns(["row"])
    if not columns.num_columns or not columns.num_rows:
        return {}
    cells = cells_of(columns)
    text, labels = text_column(cells), label_columns(cells)
    everywhere = _counted(result, labels)

    def of(some: NDArray[np.int64]) -> pa.Table:
        return columns.take(numbers(np.searchsorted(rows, np.unique(some))))

    return {one: about(of(members[one]), of(others[one]), everywhere, text, labels) for one in members}


def _counted(result: ComparisonResult, names: Sequence[str]) -> dict[str, dict[Any, int]]:
    """How many of the compared rows have each label, of the columns that are in a store which can be read."""
    counts = {}
    for name in names:
        try:
            counted = labels_of(result, label_column(result, name), np.empty(0, np.int64))
        except SpecscaleError:
            continue
        counts[name] = dict(zip(counted.values, counted.rows.tolist(), strict=True))
    return counts
