"""What was found, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from specscale.cli.heading import called, no_mode
from specscale.insight.found import found_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from specscale.results.comparison import ComparisonResult
    from specscale.results.groups import Group

_FIRST_WITH_GROUPS = 3  # version of the schema


def sentence_of(result: ComparisonResult) -> str:
    """Return what a result says of groups, or why it says nothing."""
    if not result.modes:
        return f"{no_mode(result)}, so there is no group to tell"
    if not result.looked_for_groups:
        if result.record.schema_version < _FIRST_WITH_GROUPS:
            return "this result is of an earlier version, which did not look for groups: compare again to get them"
        return "groups were not looked for: compare again without --rounds 0 to get them"
    found, noise = found_groups(result), len(result.groups) - len(found_groups(result))
    told = [_of_direction(result, which, found) for which in directions(result)]
    if not found:
        told = [_nothing(result)]
    if noise:
        told.append(f"{count_of(noise, 'candidate')} {'is' if noise == 1 else 'are'} noise")
    return "; ".join(told) + "."


def directions(result: ComparisonResult) -> str:
    """The embeddings whose groups were looked for: A alone where B weighs nothing, or is to stay below a bound."""
    return "A" if result.record.constraint is not None or result.record.options["eta"] == 0 else "AB"


def percent(share: float) -> str:
    """Return a share of the rows with two digits or more."""
    if 0 < share < 0.0001:
        return "<0.01 %"
    return f"{share:.2%}".replace("%", " %") if share < 0.01 else f"{share:.1%}".replace("%", " %")


def count_of(number: int, noun: str) -> str:
    """Return how many there are of something."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _of_direction(result: ComparisonResult, which: str, found: Sequence[Group]) -> str:
    """What one embedding holds together and the other does not."""
    names, other = called(result), "B" if which == "A" else "A"
    own = [one for one in found if one.grouped_by == which]
    groups = [one for one in own if one.verdict == "group"]
    share = ""
    if groups:
        # A row may be in several, so that of several the sum is a bound.
        at_most = "at most " * (len(groups) > 1)
        share = f" ({at_most}{percent(min(1.0, sum(one.share for one in groups)))} of the rows)"
    verb = " holds together" if which == directions(result)[0] else ""
    themes = count_of(len(own) - len(groups), "theme")
    return f"{names[which]}{verb} {count_of(len(groups), 'group')}{share} and {themes} that {names[other]} does not"


def _nothing(result: ComparisonResult) -> str:
    """That no candidate is a finding."""
    names, reverse = called(result), ", nor the reverse" * (directions(result) == "AB")
    compared, least = result.record.rows.compared, result.record.options.get("least_group", 0)
    if compared < least:
        return f"no group was found: {count_of(compared, 'row')} are fewer than a group has, {least:,} (--least-group)"
    return (
        f"no group and no theme was found by {count_of(len(result.modes), 'mode')}: nothing that {names['A']} holds "
        f"together and {names['B']} does not{reverse}"
    )
