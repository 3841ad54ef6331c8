"""Two of the embeddings of a matrix, and their groups."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray

from specscale.errors import InputError
from specscale.places.files import Location
from specscale.results.described import describe, ids_of_first
from specscale.results.directory import ResultDirectory
from specscale.results.groups import Group
from specscale.results.schema import GroupRecord, ModeRecord, PairRecord

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MatrixPair"]


@dataclass(frozen=True)
class MatrixPair:
    """A pair of a matrix: A is the earlier of the two.

    Rows, of groups as of modes, are those of the first embedding of the matrix.

    Attributes
    ----------
    ending : what the names of its files and arrays end with, as "_0_1"
    """

    _result: ResultDirectory
    _record: PairRecord
    ending: str

    @property
    def a(self) -> str:
        """The name of A."""
        return self._record.a

    @property
    def b(self) -> str:
        """The name of B."""
        return self._record.b

    @property
    def spec_diff(self) -> float:
        """SPEC-diff, max |λ|."""
        return self._record.spec_diff

    @property
    def modes(self) -> list[ModeRecord]:
        """The modes, A's first and then B's, strongest first in each direction."""
        return self._record.modes

    @property
    def groups(self) -> list[Group]:
        """The groups, A's first and then B's, strongest first in each; none where they were not looked for."""
        return [Group(**vars(one), _result=self) for one in self.group_records]

    @property
    def looked_for_groups(self) -> bool:
        """Whether groups were looked for."""
        return self._record.groups is not None

    def groups_to_pandas(self) -> pd.DataFrame:
        """Return one line for each group, without its members."""
        import pandas as pd

        return pd.DataFrame(map(vars, self.group_records), columns=[one.name for one in fields(GroupRecord)])

    @property
    def path(self) -> Location:
        """The directory of the matrix."""
        return self._result.path

    @property
    def again(self) -> str:
        """What mends it."""
        return self._result.again

    @property
    def total(self) -> int:
        """Rows of the first embedding of the matrix."""
        return self._result.record.rows.total

    @property
    def group_records(self) -> list[GroupRecord]:
        """What the summary says of the groups."""
        return self._record.groups or []

    def array_if_any(self, name: str) -> zarr.Array[Any] | None:
        """Return an array of the matrix, or None where there is none of this name."""
        return self._result.array_if_any(name)

    def damaged(self, what: str) -> InputError:
        """Return the error that something the matrix keeps for later cannot be read."""
        return self._result.damaged(what)

    def verify(self, name: str, checksum: int) -> None:
        """Raise InputError when an array is not what was written."""
        self._result.verify(name, checksum)

    def described_table(self, members: pa.Table) -> pa.Table:
        """Add the user's columns to some rows, by their `row`, of the first embedding that has any."""
        return describe(self._result, members)

    def ids_of_rows(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the ids of rows of the first embedding of the matrix."""
        return ids_of_first(self._result, rows)
