"""The groups of a result as a table, a line each."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from specscale.cli.bars import bar_of, plain_bars
from specscale.cli.columns import GAP, cells, cut, padded, room_of, wrapped
from specscale.cli.findings import percent, sentence_of
from specscale.cli.heading import called
from specscale.cli.inert import flowing, place_of
from specscale.cli.members import why_no_columns
from specscale.insight.found import is_found, own_auc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from specscale.insight.about import About
    from specscale.results.comparison import ComparisonResult
    from specscale.results.groups import Group

WIDTH = 80
_BAR = 4  # cells
_LEAST_ABOUT = 8  # cells
HEADINGS = ("group", "rows", "share", "in A", "in B", "AUC", "verdict")
_RIGHT = (True, True, True, False, False, True, False)


def print_groups(result: ComparisonResult, about: Mapping[int, About], noise: bool = False) -> None:
    """Print what was found in a sentence, and the groups of a result, a line each.

    Parameters
    ----------
    result : the result
    about : what groups are about, by their numbers; none where nothing is known of their members
    noise : whether candidates that are noise are shown too
    """
    width = width_of(sys.stdout)
    print("\n".join(wrapped(sentence_of(result), width)))
    shown = [one for one in result.groups if noise or is_found(one)]
    if shown:
        _print_table(result, shown, about, width)
    ways = [f"members: specscale groups {place_of(result.path)} --group {one.group}" for one in shown[:1]]
    if result.modes:
        ways.append(f"modes: specscale modes {place_of(result.path)}")
    if ways:
        print("\n" + "\n".join(ways))


def group_lines(groups: Sequence[Group], about: Mapping[int, About], file: TextIO) -> list[str]:
    """Return the headings and a line for each of some groups, as wide as a file's lines are, 80 cells at most.

    Parameters
    ----------
    groups : the groups
    about : what they are about, by their numbers; what is long is cut
    file : where the lines will go
    """
    plain = plain_bars(file)
    wide = max(len(_similarity(value)) for one in groups for value in _similarities(one))
    table = [HEADINGS, *(_columns(one, wide, plain) for one in groups)]
    widths = [max(cells(line[place]) for line in table) for place in range(len(HEADINGS))]
    lines = [
        (" " * GAP).join(padded(text, width, right) for text, width, right in zip(line, widths, _RIGHT, strict=True))
        for line in table
    ]
    room = width_of(file) - sum(widths) - GAP * len(widths)
    told = [flowing(about[one.group].line(room)) if one.group in about else "" for one in groups]
    if not any(told) or room < _LEAST_ABOUT:
        return [line.rstrip() for line in lines]
    return [f"{line}{' ' * GAP}{cut(text, room)}".rstrip() for line, text in zip(lines, ["about", *told], strict=True)]


def width_of(file: TextIO) -> int:
    """The cells of a line of the table: 80, or what a narrower terminal has."""
    return min(room_of(file) or WIDTH, WIDTH)


def verdict_of(group: Group) -> str:
    """What a group is: a group, a theme, or noise."""
    return group.verdict if is_found(group) else "noise"


def size_of(group: Group) -> str:
    """The size of a group; that of a theme, which has no edge, is marked as a convention."""
    return f"{'~' * (group.verdict == 'theme')}{group.size:,}"


def _print_table(result: ComparisonResult, shown: Sequence[Group], about: Mapping[int, About], width: int) -> None:
    """Print the groups of each embedding, and what the columns mean."""
    names = called(result)
    lines = group_lines(shown, about, sys.stdout)
    for which, other in (("A", "B"), ("B", "A")):
        own = [line for line, one in zip(lines[1:], shown, strict=True) if one.grouped_by == which]
        if own:
            print(f"\n{cut(f'held together by {names[which]} ({which}), not by {names[other]} ({other})', width)}")
            print("\n".join([lines[0], *own]))
    print("\n" + "\n".join(wrapped(_legend(shown), width)))
    if not about and (why := why_no_columns(result)):
        print("\n".join(wrapped(f"what they are about is not shown: {why}", width)))


def _columns(group: Group, wide: int, plain: bool) -> tuple[str, ...]:
    auc = own_auc(group)
    return (
        str(group.group),
        size_of(group),
        percent(group.share),
        *(f"{_similarity(value):>{wide}} {bar_of(value, _BAR, plain)}" for value in _similarities(group)),
        "-" if auc is None else f"{auc:.2f}",
        verdict_of(group),
    )


def _similarities(group: Group) -> tuple[float, float]:
    return group.similarity_a, group.similarity_b


def _similarity(value: float) -> str:
    return f"{value:.2f}"


def _legend(groups: Sequence[Group]) -> str:
    first = groups[0]
    told = [
        f"in A, in B: mean similarity of two members (of any two rows {_similarity(first.background_a)} and "
        f"{_similarity(first.background_b)})",
        "AUC: how well that to the core, by which they were chosen, tells members from all other rows",
    ]
    if any(one.verdict == "theme" for one in groups):
        told.append("~: a theme has no edge, its size is a convention")
    if not all(map(is_found, groups)):
        told.append("noise: not to be believed")
    return "; ".join(told)
