"""What the groups of a result are about: terms and labels of members that were drawn, against those of near misses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from specscale.errors import SpecscaleError
from specscale.insight.about import About, about
from specscale.insight.labels import label_column, labels_of
from specscale.insight.roles import cells_of, label_columns, text_column
from specscale.results.comparison import ComparisonResult
from specscale.results.group_files import DRAWN, DRAWN_NEAR, samples_table
from specscale.results.groups import Group

__all__ = ["subjects_of"]


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
    wanted = pa.array([one.group for one in groups], samples.schema.field("group").type)
    drawn = pc.is_in(samples.column("kind"), pa.array([DRAWN, DRAWN_NEAR]))
    samples = samples.filter(pc.and_(drawn, pc.is_in(samples.column("group"), wanted)))
    described = result.described_table(samples)
    columns = described.drop_columns(samples.column_names)
    if not columns.num_columns or not columns.num_rows:
        return {}
    cells = cells_of(columns)
    text, labels = text_column(cells), label_columns(cells)
    everywhere = _counted(result, labels)
    numbers, kinds = samples.column("group").to_numpy(), np.array(samples.column("kind").to_pylist(), dtype=object)

    def of(group: Group, kind: str) -> pa.Table:
        return columns.take(pa.array(np.flatnonzero((numbers == group.group) & (kinds == kind))))

    return {one.group: about(of(one, DRAWN), of(one, DRAWN_NEAR), everywhere, text, labels) for one in groups}


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
