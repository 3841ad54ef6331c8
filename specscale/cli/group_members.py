"""One group: its numbers, its members from the core outwards, and the rows that are just not members."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from specscale.cli.columns import wrapped
from specscale.cli.findings import count_of, percent
from specscale.cli.group_table import size_of, verdict_of, width_of
from specscale.cli.heading import called
from specscale.cli.inert import flowing
from specscale.cli.members import OF_GROUPS, OWN, MemberTable, described_records, why_no_columns
from specscale.errors import OptionError

if TYPE_CHECKING:
    from specscale.insight.about import About
    from specscale.results.comparison import ComparisonResult
    from specscale.results.groups import Group

_ALL = 10_000  # cells, more than all that is known of a group takes
_FEW_DISTINCT = 0.5  # share of the members; below it near-duplicates make the group


def group_numbered(result: ComparisonResult, number: int) -> Group:
    """Return a group by its number.

    Raises
    ------
    OptionError
        When there is none.
    """
    groups = result.groups
    if number < len(groups):
        return groups[number]
    there = f"there are 0 to {len(groups) - 1}" if groups else "there are none"
    raise OptionError(f"--group {number}: {result.path} has no such group: {there}")


def group_records(
    result: ComparisonResult, group: Group, top: int, show: str | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the likest members of a group and the likest others, with the columns of the samples.

    Parameters
    ----------
    result : the result
    group : one of its groups
    top : members, and as many others
    show : as in :func:`specscale.cli.members.members_of`

    Returns
    -------
    members, near : list of dict
        Each likest first.

    Raises
    ------
    OptionError
        When there is no such column.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from specscale.results.group_files import MEMBER, NEAR, samples_table

    table = samples_table(result)
    chosen = pc.and_(pc.equal(table.column("group"), group.group), pc.less_equal(table.column("rank"), top))
    kinds = [
        table.filter(pc.and_(chosen, pc.equal(table.column("kind"), kind))).sort_by("rank") for kind in (MEMBER, NEAR)
    ]
    # Columns of the samples may be called as these two are, too.
    records = described_records(result, pa.concat_tables(kinds).drop_columns(["group", "kind"]), show)
    return records[: len(kinds[0])], records[len(kinds[0]) :]


def group_json(
    result: ComparisonResult, group: Group, about: About | None, top: int | None, show: str | None
) -> dict[str, Any]:
    """Return a group as plain values.

    Parameters
    ----------
    result : the result
    group : one of its groups
    about : what it is about; None where nothing is known of its members
    top, show : as in :func:`group_records`; without `top` no members are told
    """
    told = {name: value for name, value in vars(group).items() if name != "_result"}
    told["about"] = None if about is None else about.to_json()
    if top is None:
        return told
    told["members"], told["near"] = group_records(result, group, top, show)
    return told


def print_group(result: ComparisonResult, group: Group, about: About | None, top: int, show: str | None = None) -> None:
    """Print a group's numbers, its likest members and, below them, the likest rows that are none.

    Parameters
    ----------
    result : the result
    group : one of its groups
    about : what it is about; None where nothing is known of its members
    top, show : as in :func:`group_records`
    """
    members, near = group_records(result, group, top, show)
    for line in _numbers(result, group, about):
        first, *rest = wrapped(line, width_of(sys.stdout) - 2)
        print("\n".join([first, *(f"  {one}" for one in rest)]))
    table = MemberTable([*members, *near], OF_GROUPS)
    if members and show is None and not set(members[0]) - set(OWN) and (why := why_no_columns(result)):
        print(f"the samples' columns are not shown: {why}")
    if table.left_out:
        print(f"no room for {', '.join(map(flowing, table.left_out))}: choose columns with --show")
    for heading, records in (
        (f"members from the core outwards, {len(members):,} of {group.size:,}", members),
        ("near misses: the likest rows that are no members, whose likeness is below 0.5", near),
    ):
        if records:
            print(f"\n{heading}")
            table.print_heading()
            table.print(records)


def _numbers(result: ComparisonResult, group: Group, about: About | None) -> list[str]:
    """What is known of a group, a line for each kind of number."""
    names, compared = called(result), result.record.rows.compared
    own, other = (group.grouped_by, "B" if group.grouped_by == "A" else "A")
    lines = [
        f"{verdict_of(group)} {group.group}, held together by {names[own]} ({own}), not by {names[other]} ({other})",
        f"{size_of(group)} rows, {percent(group.share)} of {compared:,}; {_edge(group)}{_distinct(group)}",
        f"similarity of two members: {_similarity(group, 'a')} in {names['A']}, {_similarity(group, 'b')} in "
        f"{names['B']}{_estimate(group)}; of any two rows {group.background_a:.3f} and {group.background_b:.3f}",
        f"contrast {_with_error(group.contrast, group.contrast_se)}: by how much more than any two rows "
        f"{names[own]} finds two members alike than {names[other]} does",
        f"evidence: {_evidence(result, group)}",
    ]
    if group.auc_a is not None and group.auc_b is not None:
        lines.append(
            f"similarity to the core tells members from all other rows with AUC {group.auc_a:.3f} in {names['A']}, "
            f"{group.auc_b:.3f} in {names['B']} (members were chosen by it)"
        )
    if group.found_in:
        merged = f", with {', '.join(map(flowing, group.merged))} merged into it" if group.merged else ""
        lines.append(f"found in tails of rotated modes: {', '.join(map(flowing, group.found_in))}{merged}")
    if about is not None and (told := about.line(_ALL)):
        lines.append(f"about: {flowing(told)}")
    return lines


def _edge(group: Group) -> str:
    """Where the group ends."""
    if verdict_of(group) == "theme":
        return "no edge, so its size is a convention; "
    valley = "" if group.edge is None else f" (its valley is {group.edge:.2f}, where 0 is deep and 1 none)"
    return f"an edge{valley}; " if verdict_of(group) == "group" else ""


def _distinct(group: Group) -> str:
    """How many distinct rows the members are worth."""
    told = f"worth {group.distinct:,.0f} distinct rows"
    return f"{told}: near-duplicates make it" if group.distinct < _FEW_DISTINCT * group.size else told


def _similarity(group: Group, which: str) -> str:
    return _with_error(getattr(group, f"similarity_{which}"), getattr(group, f"similarity_{which}_se"))


def _estimate(group: Group) -> str:
    return f" (measured on some members, ± {group.estimate_error:.3f})" if group.estimate_error else ""


def _evidence(result: ComparisonResult, group: Group) -> str:
    """What the half of the rows says that the group was not found in."""
    half = f"{count_of(group.held_out_size, 'member')} in the half of the rows that it was not found in"
    if group.held_out_contrast is None or group.held_out_se is None:
        return f"none: {half}"
    against = [] if group.null_contrast is None else [f"{group.null_contrast:.3f} where there is nothing to find"]
    names, eta = called(result), result.record.options["eta"]
    if group.grouped_by == "A":
        other, shared = names["B"], eta * (group.similarity_b - group.background_b)
    else:
        other, shared = names["A"], group.similarity_a - group.background_a
    if shared > 0:
        against.append(f"{shared:.3f} by which {other} finds them alike too")
    held = f", held against {' and '.join(against)}" if against else ""
    return f"contrast {_with_error(group.held_out_contrast, group.held_out_se)} of {half}{held}"


def _with_error(value: float, error: float) -> str:
    return f"{value:.3f} ± {error:.3f}"
