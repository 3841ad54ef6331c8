"""The result of a comparison as it is read from its directory."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray

from specscale.errors import InputError, OptionError
from specscale.masking import is_masked, masked
from specscale.places.checksum import crc32c
from specscale.places.documents import parse_json, read_document
from specscale.places.files import Location, reaching
from specscale.results.directory import ResultDirectory, top_members
from specscale.results.schema import ComparisonRecord, ModeRecord, check_map
from specscale.tables.values import frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MAPS_FILE", "ComparisonResult", "Mode"]

T = TypeVar("T")

MAPS_FILE = "maps.json"
TAILS = ("+", "-")
LEFT_OUT = "left out, as rounding"  # of the warning about modes that are not certain


@dataclass(frozen=True)
class Mode(ModeRecord):
    """One mode: a group of samples that one embedding holds together more than the other.

    Attributes
    ----------
    mode : its number in the result
    grouped_by : "A" (λ > 0) or "B" (λ < 0)
    eigenvalue : λ = a − η b
    eta : η
    a, b : uᵀ K_A u / n and uᵀ K_B u / n
    se : standard error of λ over samples of rows
    effective_size : 1 / Σ u⁴, the effective number of samples in the mode
    rayleigh, rayleigh_se : uᵀΛu under the exact kernels and its standard error; None, as what follows, without one
    residual : ‖Λu − λu‖ under the exact kernels: an exact eigenvalue lies within it of `rayleigh`
    exact_a, exact_b : a and b under the exact kernels
    certified : whether the mode is real
    """

    _result: ComparisonResult

    @property
    def verdict(self) -> str:
        """What the certificate says: "certified", "noise", or nothing without one."""
        return {True: "certified", False: "noise", None: ""}[self.certified]

    @property
    def mixed(self) -> bool:
        """Whether two groups that tie under the constraint were combined to meet it; never without a constraint."""
        constraint = self._result.record.constraint
        return constraint is not None and self.mode in constraint.mixed

    def top(self, count: int = 20, tail: str | None = None) -> pd.DataFrame:
        """Return the members with the largest scores.

        Parameters
        ----------
        count : members of each tail, at most as many as the result keeps
        tail : "+" or "-" for one tail, None for both

        Returns
        -------
        DataFrame
            Columns mode, tail, rank, row, id, score and source_row; then the user's columns of A, or else of B, where
            the store can be read.
        """
        chosen = top_members(self._result.members_table(), count, tail, mode=self.mode)
        return frame(self._result.described_table(chosen))


class ComparisonResult(ResultDirectory):
    """The result of a comparison, read from its directory as it is needed.

    `path` and `summary`, and what is raised where there is no such result, are those of
    :class:`specscale.results.directory.ResultDirectory`.
    """

    kind = ComparisonRecord
    record: ComparisonRecord
    command = "compare"
    again = "run the comparison again"

    def __init__(self, path: str | Location, fetch: bool = False) -> None:
        super().__init__(path, fetch)
        self._inputs: tuple[Any, Any] | None = None
        scores = self.array_if_any("scores")
        if scores is not None and scores.shape != (self.record.rows.total, len(self.record.modes)):
            raise self.damaged("the array scores is")

    def _contradiction(self) -> str | None:
        if self.record.inputs.keys() != {"a", "b"}:
            return "inputs"
        if [one.mode for one in self.record.modes] != list(range(len(self.record.modes))):
            return "modes"
        return super()._contradiction()

    @classmethod
    def of(cls, path: Location, inputs: tuple[Any, Any], *, temporary: bool) -> Self:
        """Open a result just computed, which remembers its inputs and, where its place is temporary, owns it."""
        result = cls(path, fetch=True)
        result._inputs = inputs
        if temporary:
            result.own_place()
        return result

    def parsed(self, field: str, parse: Callable[[Any], T]) -> T:
        """Return a field of summary.json as what `parse` makes of it.

        Raises
        ------
        InputError
            When it makes nothing of it.
        """
        try:
            return parse(self.summary[field])
        except (KeyError, TypeError, ValueError, OptionError):
            raise self._impossible(field) from None

    def inputs(self) -> tuple[Any, Any]:
        """Return what was compared: the inputs of this process, or the paths of an earlier one."""
        if self._inputs is not None:
            return self._inputs
        return self.source("a"), self.source("b")

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

    @property
    def maps(self) -> list[dict[str, Any]]:
        """The parameters of A's and of B's feature map."""
        path = self.path / MAPS_FILE
        try:
            with reaching(path):
                content = read_document(path)
            self.verify(MAPS_FILE, crc32c(np.frombuffer(content, np.uint8)))
            parameters: list[dict[str, Any]] = parse_json(content)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: missing or damaged ({error}): {self.again}") from None
        if not isinstance(parameters, list) or len(parameters) != len(self.record.inputs):
            raise InputError(f"{path}: damaged: {self.again}")
        for number, (one, which) in enumerate(zip(parameters, "ab", strict=True)):
            if (way := check_map(one, self.record, which)) is not None:
                raise InputError(f"{path}: damaged, [{number}]{way} cannot be: {self.again}")
        d, covariance = self.record.maps.dimension, self.array_if_any("covariance")
        if sum(one.get("dimension", 0) for one in parameters) != d or (
            covariance is not None and covariance.shape != (d, d)
        ):
            raise InputError(f"{path}: damaged, dimension cannot be: {self.again}")
        return parameters

    def map_arrays(self, which: int) -> dict[str, NDArray[Any]]:
        """The arrays of A's (0) or B's (1) feature map, by name."""
        one, end = self.maps[which], f"_{'ab'[which]}"
        if one["map"] != "landmarks":
            return {}
        columns = {"landmarks": one["p"], "whitening": one["dimension"]}
        for name, wide in columns.items():
            if self._array(name + end).shape != (one["size"], wide):
                raise self.damaged(f"the array {name}{end} is")
        return {name: self._values(name + end) for name in columns}

    @property
    def eigenvalues(self) -> NDArray[np.float64]:
        """The eigenvalues λ, A's modes first and then B's, strongest first in each direction."""
        return self._values("eigenvalues")

    @property
    def modes(self) -> list[Mode]:
        """The modes, in the order of the eigenvalues."""
        return [Mode(**vars(one), _result=self) for one in self.record.modes]

    @property
    def uncertain(self) -> bool:
        """Whether modes were left out of the result, as rounding may have made them."""
        return any(LEFT_OUT in one for one in self.record.warnings)

    @property
    def scores(self) -> zarr.Array[Any]:
        """The scores u, (n, modes) float32, as a Zarr array; NaN in rows that were not compared."""
        return self._array("scores")

    @property
    def coefficients(self) -> zarr.Array[Any]:
        """The modes in feature space, (d, modes) float64."""
        return self._array("coefficients")

    @property
    def covariance(self) -> zarr.Array[Any]:
        """C, (d, d) float64."""
        return self._array("covariance")

    @property
    def spec_diff(self) -> float:
        """SPEC-diff, max |λ|."""
        return float(self.record.spec_diff)

    def described(self, members: pd.DataFrame) -> pd.DataFrame:
        """Add the user's columns to some members: A's where its store still is where it was, else B's."""
        return frame(self.described_table(pa.Table.from_pandas(members, preserve_index=False)))

    def described_table(self, members: pa.Table) -> pa.Table:
        """Do the same with an Arrow table."""
        from specscale.results.described import describe

        return describe(self, members)

    def to_pandas(self) -> pd.DataFrame:
        """Return one line for each mode, without its members."""
        import pandas as pd

        return pd.DataFrame(map(vars, self.record.modes), columns=[one.name for one in fields(ModeRecord)])

    def __repr__(self) -> str:
        a, b = (self.record.inputs[which] for which in "ab")
        return (
            f"<{type(self).__name__} {masked(self.path)}: {a.name} against {b.name}, "
            f"{len(self.record.modes)} modes, SPEC-diff {self.spec_diff:.4g}>"
        )

    def _repr_html_(self) -> str:
        names = {which.upper(): one.name for which, one in self.record.inputs.items()}
        rows = "".join(
            f"<tr><td>{m.mode}</td><td>{html.escape(names[m.grouped_by])}</td>"
            f"<td>{m.eigenvalue:+.5f} ± {m.se:.5f}</td><td>{m.a:.5f}</td><td>{m.b:.5f}</td>"
            f"<td>{m.effective_size:,.0f}</td><td>{m.verdict}</td></tr>"
            for m in self.modes
        )
        return (
            f"<p><b>{html.escape(names['A'])}</b> against <b>{html.escape(names['B'])}</b>: "
            f"{self.record.rows.compared:,} rows, SPEC-diff {self.spec_diff:.4g}</p>"
            "<table><thead><tr><th>mode</th><th>grouped by</th><th>λ ± se</th><th>a</th><th>b</th>"
            f"<th>effective size</th><th>verdict</th></tr></thead><tbody>{rows}</tbody></table>"
        )
