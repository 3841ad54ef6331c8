"""The end of a comparison as text: what was chosen, what was found, and what made rules hold."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from specscale.cli.group_table import group_lines, print_groups
from specscale.cli.heading import heading_of
from specscale.cli.inert import inert
from specscale.cli.members import OF_GROUPS, MemberTable
from specscale.cli.mode_tables import print_causing_modes, print_modes
from specscale.cli.tables import print_device

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from specscale.insight.about import About
    from specscale.insight.gate import Verdict
    from specscale.results.comparison import ComparisonResult
    from specscale.results.groups import Group

_SHOWN = 3  # members of a group that made a rule hold


def print_overview(result: ComparisonResult) -> None:
    """Print what was chosen, and a result's groups, a line each."""
    from specscale.insight.found import found_groups

    print(heading_of(result))
    for choice in result.record.choice.split("; "):
        print(inert(choice))
    print_device(result.record)
    print()
    print_groups(result, subjects(result, found_groups(result)))


def print_strongest(result: ComparisonResult, top: int) -> None:
    """Print the strongest group of each embedding, with its likest members; without any the modes' tails."""
    from specscale.cli.group_members import print_group
    from specscale.insight.found import found_groups

    first = [found[0] for which in "AB" if (found := found_groups(result, which))]
    about = subjects(result, first)
    for group in first:
        print()
        print_group(result, group, about.get(group.group), top)
    if not first:
        print()
        print_modes(result, top)


def print_causes(result: ComparisonResult, verdicts: Sequence[Verdict]) -> None:
    """Print to standard error the groups and the modes that made rules hold, with some of their members."""
    from specscale.cli.group_members import group_records

    numbers = {number for one in verdicts for number in one.groups}
    groups = [one for one in result.groups if one.group in numbers]
    if groups:
        lines = group_lines(groups, subjects(result, groups), sys.stderr)
        members = {one.group: group_records(result, one, _SHOWN, None)[0] for one in groups}
        table = MemberTable([one for some in members.values() for one in some], OF_GROUPS, sys.stderr)
        print(f"\n{lines[0]}", file=sys.stderr)
        for line, group in zip(lines[1:], groups, strict=True):
            print(line, file=sys.stderr)
            table.print(members[group.group])
    print_causing_modes(result, [number for one in verdicts for number in one.modes])


def subjects(result: ComparisonResult, groups: Sequence[Group]) -> Mapping[int, About]:
    """What groups are about, by their numbers."""
    if not groups:
        return {}
    from specscale.insight.subjects import subjects_of

    return subjects_of(result, groups)
