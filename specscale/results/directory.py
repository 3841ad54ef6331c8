"""What every result directory has in common: summary.json, modes.parquet and spec.zarr."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import zarr
from numpy.typing import NDArray

from specscale.embeddings.layout import store_attributes
from specscale.embeddings.trusted import WholeStore, opened_group
from specscale.errors import InputError
from specscale.masking import is_masked, server_of
from specscale.places.checksum import crc32c
from specscale.places.documents import read_json
from specscale.places.files import Location, located, reaching, remove_tree
from specscale.places.records import fault, needed, read_record
from specscale.results.schema import ComparisonRecord, InputRecord, MatrixRecord
from specscale.tables.parquet import read_table
from specscale.tables.values import frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ResultDirectory", "beside", "described_by", "top_members"]


class ResultDirectory:
    """A result, read from its directory as it is needed.

    Parameters
    ----------
    path : the path or URL of the result directory
    fetch : whether embeddings may be read from whatever address summary.json names; whoever made the result chose it.
        Those on this machine, and beside the result on its own server, may always

    Attributes
    ----------
    path, fetch : the result directory, as a location, and the same
    summary, record : what summary.json holds, as it is and as a record

    Raises
    ------
    InputError
        When there is no such result at `path`, or it cannot be reached.
    """

    kind: ClassVar[type[ComparisonRecord] | type[MatrixRecord]]
    schemas: ClassVar[tuple[int | str, ...]]
    command: ClassVar[str]
    again: ClassVar[str]

    def __init__(self, path: str | Location, fetch: bool = False) -> None:
        self.path, self.fetch = located(path), fetch
        try:
            with reaching(self.path):
                self.summary: dict[str, Any] = read_json(self.path / "summary.json")
        except (FileNotFoundError, NotADirectoryError):
            what = f"no result of `specscale {self.command}` here"
            if store_attributes(self.path) is not None:
                what = f"an embedding store, no result: `specscale info {path}` shows it"
            raise InputError(f"{path}: {what}") from None
        except (ValueError, IsADirectoryError) as error:
            raise InputError(f"{path}/summary.json: damaged ({error}): {self.again}") from None
        if not isinstance(self.summary, dict):
            raise InputError(f"{path}/summary.json: damaged: {self.again}")
        self._check_schema(self.summary.get("schema_version"))
        if lost := sorted(set(needed(self.kind)) - self.summary.keys()):
            raise InputError(f"{path}/summary.json: damaged, {', '.join(lost)} is not there: {self.again}")
        if (way := fault(self.kind, self.summary)) is not None:
            raise self._impossible(way.removeprefix("."))
        self.record: ComparisonRecord | MatrixRecord = read_record(self.kind, self.summary)
        if (wrong := self._contradiction()) is not None:
            raise self._impossible(wrong)
        try:
            with reaching(self.path):
                self._arrays = opened_group(self.path / "spec.zarr", self.again, WholeStore)
        except (OSError, ValueError, zarr.errors.BaseZarrError) as error:
            raise InputError(f"{path}/spec.zarr: missing or damaged ({error}): {self.again}") from None

    def _check_schema(self, schema: Any) -> None:
        of_matrix = isinstance(schema, str) and schema.startswith("matrix ")
        if not of_matrix and type(schema) is not int:
            raise self._impossible("schema_version")
        if of_matrix != isinstance(self.schemas[-1], str):
            other, reader = ("matrix", "open_matrix") if of_matrix else ("compare", "open_result")
            raise InputError(
                f"{self.path}: a result of `specscale {other}`, not of {self.command}: open it with specscale.{reader}"
            )
        if schema not in self.schemas:
            known = " and ".join(map(str, self.schemas))
            raise InputError(f"{self.path}: a result of schema {schema}, this version reads {known}")

    def _contradiction(self) -> str | None:
        """The field of summary.json that others contradict; None where there is none."""
        rows, first = self.record.rows, next(iter(self.record.inputs.values()), None)
        if first is None or rows.total != first.rows:
            return "rows.total"
        return "rows.compared" if rows.compared > rows.total else None

    def _impossible(self, field: str) -> InputError:
        return InputError(f"{self.path}/summary.json: damaged, {field} cannot be: {self.again}")

    def may_read(self, source: str) -> bool:
        """Whether an embedding may be looked for where the summary says that it was."""
        if is_masked(source):
            return False
        server = server_of(source)
        return self.fetch or server is None or server == server_of(str(self.path))

    def source(self, which: str) -> str:
        """Return the path that an embedding, by its key in the summary, was read from.

        Raises
        ------
        InputError
            When it was an array, or is on another server and was not asked for.
        """
        source, called = self.record.inputs[which].source, which.upper() if which in ("a", "b") else which
        if is_masked(source):
            raise InputError(
                f"{self.path}: the address of {called}, {source}, was kept without its password and query: give "
                f"the embeddings anew, to specscale {self.command}"
            )
        # The paths of files are absolute in a result, and what is left are names of arrays.
        if not Path(source).is_absolute() and "://" not in source and not any(sign in source for sign in "*?["):
            raise InputError(
                f"{self.path}: {called} was an array, which is not to be found again: "
                'write it with specscale.ingest(array, "NAME.zarr") and compare the store'
            )
        if not self.may_read(source):
            raise InputError(
                f"{self.path}: {called} is said to be at {source}: to have it read from there, where you trust "
                "whoever made the result, add --fetch, or open_result(…, fetch=True)"
            )
        return source

    def own_place(self) -> None:
        """Remove the directory above when the arrays are no longer held: they outlive the result object."""
        weakref.finalize(self._arrays.store, remove_tree, self.path.parent)

    def parts(self) -> Location:
        """Return the folder of the partial sums of the covariance that an update goes on from; it may not exist."""
        return self.path / "parts"

    def damaged(self, what: str) -> InputError:
        """Return the error that something the result keeps for later cannot be read."""
        return InputError(f"{self.path}: {what} damaged or gone: {self.again}")

    def members(self) -> pd.DataFrame:
        """Return the top members of all modes, as modes.parquet holds them."""
        return frame(self.members_table())

    def members_table(self) -> pa.Table:
        """Return the same as an Arrow table."""
        return read_table(self.path / "modes.parquet", self.again)

    @property
    def input_keys(self) -> list[tuple[str, InputRecord]]:
        """What files and arrays of each input are named by, and how summary.json describes it."""
        return list(self.record.inputs.items())

    def array_if_any(self, name: str) -> zarr.Array[Any] | None:
        """Return an array of spec.zarr, or None where there is none of this name."""
        with reaching(self.path):
            array = self._arrays.get(name)
        return array if isinstance(array, zarr.Array) else None

    def _array(self, name: str) -> zarr.Array[Any]:
        array = self.array_if_any(name)
        if array is None:
            raise InputError(
                f"{self.path}/spec.zarr: no {name} (refined modes have no coefficients, exact ones no covariance "
                f"either); if it should be there, {self.again}"
            )
        return array

    def _values(self, name: str) -> NDArray[Any]:
        array = self._array(name)
        with reaching(self.path):
            values = np.asarray(array[...])
        self.verify(name, crc32c(values))
        return values

    def verify(self, name: str, checksum: int) -> None:
        """Raise InputError when an array is not what was written; results of earlier versions do not tell."""
        if self.record.checksums.get(name, checksum) != checksum:
            raise self.damaged(f"{name} is" if "." in name else f"the array {name} is")


def top_members(members: pa.Table, count: int, tail: str | None = None, **equal: int | str) -> pa.Table:
    """Choose the first members of tails.

    Parameters
    ----------
    members : members, with their `tail` and `rank`
    count : members of each tail
    tail : "+" or "-" for one tail, None for both
    **equal : what other columns must hold
    """
    chosen = pc.less_equal(members.column("rank"), count)
    for name, value in (equal if tail is None else {**equal, "tail": tail}).items():
        chosen = pc.and_(chosen, pc.equal(members.column(name), value))
    return members.filter(chosen)


def described_by(store: InputRecord, members: pa.Table) -> pa.Table:
    """Add a store's columns to some members, where it still is where it was and begins with the rows that it had.

    Parameters
    ----------
    store : the input that summary.json describes, with its `source`, `rows` and `digest`
    members : members, with their `row`
    """
    from specscale.embeddings.prefix import begins_with
    from specscale.embeddings.store import EmbeddingStore

    try:
        opened = EmbeddingStore(store.source)
        if not opened.columns or not begins_with(opened, store.rows, store.digest):
            return members
        ids = {store.ids_column, opened.ids.column if opened.ids is not None else None}
        wanted = [name for name in opened.columns if name not in ids]
        if not wanted:
            return members
        table = opened.rows(members.column("row").to_pylist(), wanted)
    except InputError:
        return members
    return members if table is None else beside(members, table)


def beside(members: pa.Table, columns: pa.Table) -> pa.Table:
    """Members and their columns, those whose names are taken with "_of_row" behind them."""
    for name, column in zip(columns.column_names, columns.columns, strict=True):
        while name in {*members.column_names, "source_row"}:
            name += "_of_row"
        members = members.append_column(name, column)
    return members
