"""The rows of the groups of a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from specscale.errors import OptionError
from specscale.insight.found import found_groups
from specscale.results.comparison import ComparisonResult
from specscale.results.group_files import MEMBER, MEMBERS, group_runs, samples_table

__all__ = ["Members", "members_of"]


@dataclass(frozen=True)
class Members:
    """The members of one group.

    Attributes
    ----------
    group : number of the group
    verdict : "group" or "theme"
    grouped_by : "A" or "B", the embedding that holds it together
    rows : (s,) int64, rows of A
    """

    group: int
    verdict: str
    grouped_by: str
    rows: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """Return which group it is, as plain values."""
        return {name: getattr(self, name) for name in ("group", "verdict", "grouped_by")}


def members_of(result: ComparisonResult, top: int | None = None) -> list[Members]:
    """Return the members of the groups and themes that a result's evidence holds for.

    Parameters
    ----------
    result : the result
    top : the likest members of each, at most as many as the result keeps; None for all there are

    Raises
    ------
    OptionError
        When `top` is less than one.
    InputError
        When the members are damaged or gone.
    """
    if top is not None and top < 1:
        raise OptionError(f"--top must be at least 1, not {top}")
    groups = found_groups(result)
    if not groups:
        return []
    numbers = [one.group for one in groups]
    rows = _everyone(result, numbers) if top is None else _likest(result, numbers, top)
    return [Members(one.group, one.verdict, one.grouped_by, rows[one.group]) for one in groups]


def _everyone(result: ComparisonResult, numbers: list[int]) -> dict[int, NDArray[np.int64]]:
    """All members of some groups, in one reading."""
    parts: dict[int, list[NDArray[np.int64]]] = {number: [] for number in numbers}
    for start, run in group_runs(result, MEMBERS):
        for number, found in parts.items():
            found.append(start + np.flatnonzero(run[:, number]))
    return {number: np.concatenate(found) for number, found in parts.items()}


def _likest(result: ComparisonResult, numbers: list[int], top: int) -> dict[int, NDArray[np.int64]]:
    samples = samples_table(result)
    chosen = pc.and_(pc.equal(samples.column("kind"), MEMBER), pc.less_equal(samples.column("rank"), top))
    samples = samples.filter(chosen).sort_by("rank")
    groups, rows = samples.column("group").to_numpy(), samples.column("row").to_numpy()
    return {number: rows[groups == number] for number in numbers}
