"""Which of a result's candidates are findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specscale.results.comparison import ComparisonResult
    from specscale.results.groups import Group

__all__ = ["found_groups", "is_found", "own_auc"]


def found_groups(result: ComparisonResult, grouped_by: str | None = None) -> list[Group]:
    """Return the groups and themes of a result that its evidence holds for.

    Parameters
    ----------
    result : the result; one without groups has none
    grouped_by : "A" or "B" for those of one embedding, None for all
    """
    return [one for one in result.groups if is_found(one) and grouped_by in (None, one.grouped_by)]


def is_found(group: Group) -> bool:
    """Whether the evidence of a candidate holds; whatever does not is noise."""
    return group.certified and group.verdict != "noise"


def own_auc(group: Group) -> float | None:
    """How well the embedding that holds a group together tells its members from all other rows."""
    return group.auc_a if group.grouped_by == "A" else group.auc_b
