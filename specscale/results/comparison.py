"""The result of a comparison as it is read from its directory."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray

from specscale.errors import InputError, OptionError
from specscale.masking import masked
from specscale.places.checksum import crc32c
from specscale.places.documents import parse_json, read_document
from specscale.places.files import Location, reaching
from specscale.results.compared import ComparisonDirectory
from specscale.results.directory import top_members
from specscale.results.group_files import LIKENESS, MEMBERS, group_array
from specscale.results.groups import Group
from specscale.results.schema import GroupRecord, ModeRecord, check_map
from specscale.tables.values import frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MAPS_FILE", "ComparisonResult", "Mode"]

T = TypeVar("T")

MAPS_FILE = "maps.json"
TAILS = ("+", "-")
MODE_HEADING = ("mode", "grouped by", "λ ± se", "a", "b", "effective size", "verdict")
GROUP_HEADING = ("group", "grouped by", "size", "share", "similarity in A", "in B", "contrast ± se", "verdict")
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


class ComparisonResult(ComparisonDirectory):
    """The result of a comparison, read from its directory as it is needed.

    `path` and `summary`, and what is raised where there is no such result, are those of
    :class:`specscale.results.directory.ResultDirectory`.
    """

    def __init__(self, path: str | Location, fetch: bool = False) -> None:
        super().__init__(path, fetch)
        self._inputs: tuple[Any, Any] | None = None
        scores = self.array_if_any("scores")
        if scores is not None and scores.shape != (self.record.rows.total, len(self.record.modes)):
            raise self.damaged("the array scores is")

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
    def groups(self) -> list[Group]:
        """The groups, A's first and then B's, strongest first in each; none where they were not looked for."""
        return [Group(**vars(one), _result=self) for one in self.record.groups or ()]

    @property
    def looked_for_groups(self) -> bool:
        """Whether groups were looked for; an earlier version did not."""
        return self.record.groups is not None

    @property
    def memberships(self) -> zarr.Array[Any]:
        """Which rows are members of which groups, (n, groups) bool, as a Zarr array; a row may belong to several.

        Raises
        ------
        InputError
            As of `likeness`, when it is damaged or gone, as it is without groups.
        """
        return group_array(self, MEMBERS)

    @property
    def likeness(self) -> zarr.Array[Any]:
        """How like the core of each group each row is, (n, groups) float32; NaN in rows that were not compared."""
        return group_array(self, LIKENESS)

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

    def to_pandas(self) -> pd.DataFrame:
        """Return one line for each mode, without its members; `groups_to_pandas` has one for each group."""
        import pandas as pd

        return pd.DataFrame(map(vars, self.record.modes), columns=[one.name for one in fields(ModeRecord)])

    def groups_to_pandas(self) -> pd.DataFrame:
        """Return one line for each group, without its members."""
        import pandas as pd

        return pd.DataFrame(map(vars, self.record.groups or ()), columns=[one.name for one in fields(GroupRecord)])

    def __repr__(self) -> str:
        a, b = (self.record.inputs[which] for which in "ab")
        return (
            f"<{type(self).__name__} {masked(self.path)}: {a.name} against {b.name}, "
            f"{len(self.record.modes)} modes, SPEC-diff {self.spec_diff:.4g}>"
        )

    def _repr_html_(self) -> str:
        names = {which.upper(): html.escape(one.name) for which, one in self.record.inputs.items()}
        groups = [
            (
                *(str(g.group), names[g.grouped_by], f"{g.size:,}", f"{g.share:.1%}", f"{g.similarity_a:.3f}"),
                *(f"{g.similarity_b:.3f}", f"{g.contrast:.3f} ± {g.contrast_se:.3f}", g.verdict),
            )
            for g in self.groups
            if g.verdict != "noise"
        ]
        modes = [
            (
                *(str(m.mode), names[m.grouped_by], f"{m.eigenvalue:+.5f} ± {m.se:.5f}", f"{m.a:.5f}", f"{m.b:.5f}"),
                *(f"{m.effective_size:,.0f}", m.verdict),
            )
            for m in self.modes
        ]
        return (
            f"<p><b>{names['A']}</b> against <b>{names['B']}</b>: "
            f"{self.record.rows.compared:,} rows, SPEC-diff {self.spec_diff:.4g}</p>"
            + (_html_table(GROUP_HEADING, groups) if groups else "")
            + ("<p>no groups</p>" if self.looked_for_groups and not groups else "")
            + _html_table(MODE_HEADING, modes)
        )


def _html_table(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of cells whose text is escaped."""
    head = "".join(f"<th>{one}</th>" for one in heading)
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
