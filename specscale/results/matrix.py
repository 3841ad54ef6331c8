"""The result of comparing many embeddings, on disk and as an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from specscale.errors import OptionError
from specscale.masking import masked
from specscale.places.files import Location, unchained
from specscale.results.compared import contradiction_of_groups
from specscale.results.described import describe
from specscale.results.directory import ResultDirectory, top_members
from specscale.results.matrix_pair import MatrixPair
from specscale.results.schema import MATRIX_SCHEMAS, InputRecord, MatrixRecord, PairRecord
from specscale.tables.values import frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MatrixResult", "open_matrix"]


class MatrixResult(ResultDirectory):
    """The result of :func:`specscale.compare_many`, read from its directory as it is needed.

    `path` and `summary`, and what is raised where there is no such result, are those of
    :class:`specscale.results.directory.ResultDirectory`.
    """

    kind = MatrixRecord
    record: MatrixRecord
    schemas = MATRIX_SCHEMAS
    command = "matrix"
    again = "run specscale matrix again"

    @classmethod
    def of(cls, path: Location, *, temporary: bool) -> MatrixResult:
        """Open a result just computed, which owns its place where that is temporary."""
        result = cls(path, fetch=True)
        if temporary:
            result.own_place()
        return result

    def _contradiction(self) -> str | None:
        names = self.record.inputs.keys()
        if set(self.record.order) != names:
            return "order"
        if any(not {pair.a, pair.b} <= names for pair in self.record.pairs):
            return "pairs"
        for number, pair in enumerate(self.record.pairs):
            if (wrong := contradiction_of_groups(pair.groups, self.record.rows)) is not None:
                return f"pairs[{number}].{wrong}"
        return super()._contradiction()

    @property
    def input_keys(self) -> list[tuple[str, InputRecord]]:
        """What files and arrays of each embedding are named by, its number, and how summary.json describes it."""
        return [(str(number), one) for number, one in enumerate(self.record.inputs.values())]

    @property
    def names(self) -> list[str]:
        """The embeddings, in the order that they were given in."""
        return list(self.record.inputs)

    @property
    def pairs(self) -> list[dict[str, Any]]:
        """Each pair: its names `a` and `b`, `spec_diff`, and the fields of its `modes`, strongest first."""
        pairs: list[dict[str, Any]] = self.summary["pairs"]
        return pairs

    @property
    def spec_diff(self) -> pd.DataFrame:
        """SPEC-diff, max |λ|, of every pair: a symmetric table with zeros on its diagonal."""
        import pandas as pd

        table = pd.DataFrame(np.zeros((len(self.names), len(self.names))), index=self.names, columns=self.names)
        for one in self.record.pairs:
            table.loc[one.a, one.b] = table.loc[one.b, one.a] = one.spec_diff
        return table

    @property
    def covariance(self) -> zarr.Array[Any]:
        """C of the features of all embeddings side by side, (d, d) float64."""
        return self._array("covariance")

    def coefficients(self, a: str, b: str) -> zarr.Array[Any]:
        """The modes of a pair in the features of its two embeddings, (d_a + d_b, modes) float64."""
        return self._array(f"coefficients{self.pair(a, b).ending}")

    def pair(self, a: str, b: str) -> MatrixPair:
        """Return a pair, whose groups are read from the directory as they are needed.

        Parameters
        ----------
        a, b : its names, in either order

        Raises
        ------
        OptionError
            When there is no such pair.
        """
        pair = self._pair(a, b)
        return MatrixPair(self, pair, f"_{self.names.index(pair.a)}_{self.names.index(pair.b)}")

    def _pair(self, a: str, b: str) -> PairRecord:
        for pair in self.record.pairs:
            if {pair.a, pair.b} == {a, b}:
                return pair
        raise OptionError(f"{self.path}: {a!r} and {b!r} are no pair of {', '.join(self.names)}")

    def top(self, a: str, b: str, mode: int, count: int = 20, tail: str | None = None) -> pd.DataFrame:
        """Return the members of a mode with the largest scores.

        Parameters
        ----------
        a, b : the names of a pair, in either order
        mode : the number of one of its modes
        count : members of each tail, at most as many as the result keeps
        tail : "+" or "-" for one tail, None for both

        Returns
        -------
        DataFrame
            Columns tail, rank, row, id, score and source_row; then the user's columns of the first embedding that has
            any, where its store can be read.

        Raises
        ------
        OptionError
            When there is no such pair or mode.
        """
        pair = self._pair(a, b)
        if not 0 <= mode < len(pair.modes):
            raise OptionError(f"{self.path}: {a} and {b} have {len(pair.modes)} modes, no mode {mode}")
        members = top_members(self.members_table(), count, tail, a=pair.a, b=pair.b, mode=mode)
        return frame(describe(self, members.drop_columns(["a", "b", "mode"])))

    def to_pandas(self) -> pd.DataFrame:
        """Return one line for each pair and mode: the names of the pair, and the fields of the mode."""
        import pandas as pd

        lines = [
            {"embedding_a": pair.a, "embedding_b": pair.b, **vars(mode)}
            for pair in self.record.pairs
            for mode in pair.modes
        ]
        return pd.DataFrame(lines)

    def __repr__(self) -> str:
        return f"<MatrixResult {masked(self.path)}: {len(self.pairs)} pairs of {', '.join(self.names)}>"


def open_matrix(path: str | Location, *, fetch: bool = False) -> MatrixResult:
    """Open the result directory of an earlier :func:`specscale.compare_many`.

    Parameters
    ----------
    path : its path, or a URL as s3://bucket/all
    fetch : as of :func:`specscale.open_result`

    Raises
    ------
    InputError
        When there is none at `path`, or it cannot be reached.
    """
    return MatrixResult(unchained(path), fetch)
