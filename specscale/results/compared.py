"""The directory of a comparison: its summary, and what was compared."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from specscale.errors import InputError
from specscale.masking import is_masked
from specscale.results.described import describe
from specscale.results.directory import ResultDirectory
from specscale.results.schema import SCHEMAS, ComparisonRecord

__all__ = ["ComparisonDirectory"]


class ComparisonDirectory(ResultDirectory):
    """The directory of a comparison, which :class:`specscale.results.comparison.ComparisonResult` reads."""

    kind = ComparisonRecord
    record: ComparisonRecord
    schemas = SCHEMAS
    command = "compare"
    again = "run the comparison again"

    def _contradiction(self) -> str | None:
        if self.record.inputs.keys() != {"a", "b"}:
            return "inputs"
        if [one.mode for one in self.record.modes] != list(range(len(self.record.modes))):
            return "modes"
        if self.record.schema_version > min(SCHEMAS) and "groups" not in self.summary:
            return "groups"
        return super()._contradiction() or _contradiction_of_groups(self.record)

    def source(self, which: str) -> str:
        """Return the path that embedding "a" or "b" was read from.

        Raises
        ------
        InputError
            When it was an array, or is on another server and was not asked for.
        """
        source = self.record.inputs[which].source
        if is_masked(source):
            raise InputError(
                f"{self.path}: the address of {which.upper()}, {source}, was kept without its password and query: give "
                "the embeddings anew, to specscale compare"
            )
        # The paths of files are absolute in a result, and what is left are names of arrays.
        if not Path(source).is_absolute() and "://" not in source and not any(sign in source for sign in "*?["):
            raise InputError(
                f"{self.path}: {which.upper()} was an array, which is not to be found again: "
                'write it with specscale.ingest(array, "NAME.zarr") and compare the store'
            )
        if not self.may_read(source):
            raise InputError(
                f"{self.path}: {which.upper()} is said to be at {source}: to have it read from there, where you trust "
                "whoever made the result, add --fetch, or open_result(…, fetch=True)"
            )
        return source

    def described_table(self, members: pa.Table) -> pa.Table:
        """Add the user's columns to some rows, by their `row`: A's where its store still is where it was, else B's."""
        return describe(self, members)


def _contradiction_of_groups(record: ComparisonRecord) -> str | None:
    """The way to what of the groups of a summary the rest of it contradicts; None where nothing is."""
    if record.groups is None:
        return None
    if [one.grouped_by for one in record.groups] != sorted(one.grouped_by for one in record.groups):
        return "groups"
    for number, one in enumerate(record.groups):
        of_rows = {
            "group": one.group == number,
            "size": one.size <= record.rows.compared,
            "held_out_size": one.held_out_size <= one.size,
            "core": all(row < record.rows.total for row in one.core),
        }
        wrong = next((name for name, agrees in of_rows.items() if not agrees), None)
        if wrong is not None:
            return f"groups[{number}].{wrong}"
    return None
