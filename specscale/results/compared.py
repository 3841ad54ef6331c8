"""The directory of a comparison: its summary, and what was compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.results.described import describe, ids_of_first
from specscale.results.directory import ResultDirectory
from specscale.results.schema import SCHEMAS, ComparisonRecord, GroupRecord, RowsRecord

__all__ = ["ComparisonDirectory", "contradiction_of_groups"]


class ComparisonDirectory(ResultDirectory):
    """The directory of a comparison, which :class:`specscale.results.comparison.ComparisonResult` reads."""

    kind = ComparisonRecord
    record: ComparisonRecord
    schemas = SCHEMAS
    command = "compare"
    again = "run the comparison again"
    ending = ""

    def _contradiction(self) -> str | None:
        if self.record.inputs.keys() != {"a", "b"}:
            return "inputs"
        if [one.mode for one in self.record.modes] != list(range(len(self.record.modes))):
            return "modes"
        if self.record.schema_version > min(SCHEMAS) and "groups" not in self.summary:
            return "groups"
        return super()._contradiction() or contradiction_of_groups(self.record.groups, self.record.rows)

    @property
    def total(self) -> int:
        """Rows of A."""
        return self.record.rows.total

    @property
    def group_records(self) -> list[GroupRecord]:
        """What is said of the groups; none where they were not looked for."""
        return self.record.groups or []

    def ids_of_rows(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the ids of rows of A, as :meth:`specscale.results.groups.Group.ids` does."""
        return ids_of_first(self, rows)

    def described_table(self, members: pa.Table) -> pa.Table:
        """Add the user's columns to some rows, by their `row`: A's where its store still is where it was, else B's."""
        return describe(self, members)


def contradiction_of_groups(groups: list[GroupRecord] | None, rows: RowsRecord) -> str | None:
    """The way to what of the groups of a summary the rest of it contradicts; None where nothing is."""
    if groups is None:
        return None
    if [one.grouped_by for one in groups] != sorted(one.grouped_by for one in groups):
        return "groups"
    for number, one in enumerate(groups):
        of_rows = {
            "group": one.group == number,
            "size": one.size <= rows.compared,
            "held_out_size": one.held_out_size <= one.size,
            "core": all(row < rows.total for row in one.core),
        }
        wrong = next((name for name, agrees in of_rows.items() if not agrees), None)
        if wrong is not None:
            return f"groups[{number}].{wrong}"
    return None
