"""The result of comparing many embeddings, on disk and as an object."""

from __future__ import annotations

import json
import shutil
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from specscale.errors import InputError, OptionError
from specscale.result import SCHEMA, described_by

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MATRIX_SCHEMA", "MatrixResult", "open_matrix"]

MATRIX_SCHEMA = "matrix 1"

_KEYS = {"options", "inputs", "rows", "maps", "bandwidths", "choice", "order", "pairs"}
_AGAIN = "run specscale matrix again"


class MatrixResult:
    """The result of :func:`specscale.compare_many`, read from its directory as it is needed.

    Parameters
    ----------
    path : the result directory

    Attributes
    ----------
    path : the result directory
    summary : what summary.json holds

    Raises
    ------
    InputError
        When there is no such result at `path`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.summary: dict[str, Any] = json.loads((self.path / "summary.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{path}: no result of `specscale matrix` here") from None
        except (ValueError, IsADirectoryError) as error:
            raise InputError(f"{path}/summary.json: damaged ({error}): {_AGAIN}") from None
        schema = self.summary.get("schema_version") if isinstance(self.summary, dict) else None
        if schema == SCHEMA:
            raise InputError(f"{path}: a result of `specscale compare`, not of matrix: open it with open_result")
        if schema != MATRIX_SCHEMA:
            raise InputError(f"{path}: a result of schema {schema}, this version reads {MATRIX_SCHEMA}")
        if lost := sorted(_KEYS - self.summary.keys()):
            raise InputError(f"{path}/summary.json: damaged, {', '.join(lost)} is not there: {_AGAIN}")
        try:
            self._arrays = zarr.open_group(str(self.path / "spec.zarr"), mode="r")
        except (OSError, ValueError, zarr.errors.BaseZarrError) as error:
            raise InputError(f"{path}/spec.zarr: missing or damaged ({error}): {_AGAIN}") from None

    @classmethod
    def of(cls, path: Path, *, temporary: bool) -> MatrixResult:
        """Open a result just computed, which owns its place where that is temporary."""
        result = cls(path)
        if temporary:
            # The arrays outlive the result object: as long as one is held, its files stay.
            weakref.finalize(result._arrays.store, shutil.rmtree, path.parent, ignore_errors=True)
        return result

    @property
    def names(self) -> list[str]:
        """The embeddings, in the order that they were given in."""
        return list(self.summary["inputs"])

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
        for one in self.pairs:
            table.loc[one["a"], one["b"]] = table.loc[one["b"], one["a"]] = one["spec_diff"]
        return table

    @property
    def covariance(self) -> zarr.Array[Any]:
        """C of the features of all embeddings side by side, (d, d) float64."""
        return self._array("covariance")

    def coefficients(self, a: str, b: str) -> zarr.Array[Any]:
        """The modes of a pair in the features of its two embeddings, (d_a + d_b, modes) float64."""
        pair = self._pair(a, b)
        return self._array(f"coefficients_{self.names.index(pair['a'])}_{self.names.index(pair['b'])}")

    def _array(self, name: str) -> zarr.Array[Any]:
        array = self._arrays[name]
        assert isinstance(array, zarr.Array)
        return array

    def _pair(self, a: str, b: str) -> dict[str, Any]:
        for pair in self.pairs:
            if {pair["a"], pair["b"]} == {a, b}:
                return pair
        raise OptionError(f"{self.path}: {a!r} and {b!r} are no pair of {', '.join(self.names)}")

    def members(self) -> pd.DataFrame:
        """Return the top members of all modes: a, b (the names of the pair), mode, tail, rank, row, id, score."""
        import pandas as pd

        path = self.path / "modes.parquet"
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: missing or damaged ({error}): {_AGAIN}") from None

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
            Columns tail, rank, row, id and score; then the user's columns of the first embedding, where its store can
            be read.

        Raises
        ------
        OptionError
            When there is no such pair or mode.
        """
        pair = self._pair(a, b)
        if not 0 <= mode < len(pair["modes"]):
            raise OptionError(f"{self.path}: {a} and {b} have {len(pair['modes'])} modes, no mode {mode}")
        members = self.members()
        chosen = (members["a"] == pair["a"]) & (members["b"] == pair["b"])
        chosen &= (members["mode"] == mode) & (members["rank"] <= count)
        if tail is not None:
            chosen &= members["tail"] == tail
        return described_by(self.summary["inputs"][self.names[0]], members[chosen].drop(columns=["a", "b", "mode"]))

    def to_pandas(self) -> pd.DataFrame:
        """Return one line for each pair and mode: the names of the pair, and the fields of the mode."""
        import pandas as pd

        lines = [
            {"embedding_a": pair["a"], "embedding_b": pair["b"], **mode}
            for pair in self.pairs
            for mode in pair["modes"]
        ]
        return pd.DataFrame(lines)

    def __repr__(self) -> str:
        return f"<MatrixResult {self.path}: {len(self.pairs)} pairs of {', '.join(self.names)}>"


def open_matrix(path: str | Path) -> MatrixResult:
    """Open the result directory of an earlier :func:`specscale.compare_many`.

    Raises
    ------
    InputError
        When there is none at `path`.
    """
    return MatrixResult(path)
