"""Modes as text: a line each, and the members of their tails."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from specscale.cli.heading import heading_of, names_of, no_mode
from specscale.cli.inert import flowing
from specscale.cli.json_output import inputs_of
from specscale.cli.members import OF_TAILS, OWN, MemberTable, members_of, why_no_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from specscale.results.comparison import ComparisonResult, Mode

_SHOWN = 3  # members of each tail of a mode that made a rule hold


def print_modes(result: ComparisonResult, top: int, show: str | None = None) -> None:
    """Print a result's modes in a table, then each with the top members of its tails.

    Parameters
    ----------
    result : the result
    top : members of each tail; with 0 the table is all
    show : the columns of the samples, as in :func:`specscale.cli.members.members_of`
    """
    members = members_of(result, top, show)
    print(heading_of(result))
    if not result.modes:
        print(no_mode(result))
        return
    _print_table(result)
    if not top:
        return
    names, average = names_of(result), result.record.rows.compared**-0.5
    print(f"\na member's score is u; an average row has ±{average:.5f}, and a tail of little more is no group")
    table = MemberTable(members, OF_TAILS)
    if members and show is None and not set(members[0]) - set(OWN) and (why := why_no_columns(result)):
        print(f"the samples' columns are not shown: {why}")
    if table.left_out:
        print(f"no room for {', '.join(map(flowing, table.left_out))}: choose columns with --show")
    for mode in result.modes:
        print(
            f"\nmode {mode.mode}, grouped by {names[mode.grouped_by]} more than by "
            f"{names['B' if mode.grouped_by == 'A' else 'A']}\n  λ {mode.eigenvalue:+.5f} ± {mode.se:.5f}, "
            f"a {mode.a:.5f}, b {mode.b:.5f}, effective size {mode.effective_size:,.0f}{_certificate(mode)}"
        )
        here = [one for one in members if one["mode"] == mode.mode]
        if here:
            table.print_heading()
        for tail in "+-":
            table.print([one for one in here if one["tail"] == tail])


def print_causing_modes(result: ComparisonResult, numbers: Sequence[int]) -> None:
    """Print to standard error the modes that made rules hold, with some of their members."""
    modes = [mode for mode in result.modes if mode.mode in numbers]
    if not modes:
        return
    members = [one for one in members_of(result, _SHOWN) if one["mode"] in numbers]
    table = MemberTable(members, OF_TAILS, sys.stderr)
    print(f"\n{_table_heading(modes[0].certified is not None)}", file=sys.stderr)
    for mode in modes:
        print(_line(mode), file=sys.stderr)
        table.print([one for one in members if one["mode"] == mode.mode])


def modes_json(result: ComparisonResult, top: int, show: str | None = None) -> dict[str, Any]:
    """Return a result's modes and their members as plain values."""
    members = members_of(result, top, show)
    return {
        **inputs_of(result),
        "spec_diff": result.spec_diff,
        "modes": [
            {
                **_fields(mode),
                "members": [
                    {name: value for name, value in one.items() if name != "mode"}
                    for one in members
                    if one["mode"] == mode.mode
                ],
            }
            for mode in result.modes
        ],
    }


def _print_table(result: ComparisonResult) -> None:
    checked = result.modes[0].certified is not None
    print(f"\n{_table_heading(checked)}")
    for mode in result.modes:
        print(_line(mode))
    print("\n" + _legend(result, checked))


def _table_heading(checked: bool) -> str:
    more = f"  {'exact λ ± se':>20}  {'residual':>8}  verdict" if checked else ""
    return f"{'mode':>4}  {'grouped by':<10}  {'λ':>9} ± {'se':<8}  {'a':>8}  {'b':>8}  {'effective size':>14}{more}"


def _line(mode: Mode) -> str:
    more = ""
    if mode.certified is not None:
        more = f"  {mode.rayleigh:>+10.5f} ± {mode.rayleigh_se:.5f}  {mode.residual:>8.5f}  {mode.verdict}"
    return (
        f"{mode.mode:>4}  {mode.grouped_by:<10}  {mode.eigenvalue:>+9.5f} ± {mode.se:<8.5f}  {mode.a:>8.5f}  "
        f"{mode.b:>8.5f}  {mode.effective_size:>14,.0f}{more}"
    )


def _legend(result: ComparisonResult, checked: bool) -> str:
    if checked:
        rows = min(result.record.options["certify"], result.record.rows.compared)
        return (
            f"± of λ is the sampling of rows; exact λ is uᵀΛu under the exact kernels, with the error of estimating it "
            f"from {rows:,} rows,\nand the residual is how far the mode is from an exact one; noise: not to be believed"
        )
    return (
        "± is the sampling of rows alone; what the feature maps make approximate is seen by a certificate (--certify)"
    )


def _certificate(mode: Mode) -> str:
    if mode.certified is None:
        return ""
    return (
        f"\n  {mode.verdict}: under the exact kernels λ {mode.rayleigh:+.5f} ± {mode.rayleigh_se:.5f}, "
        f"residual {mode.residual:.5f}"
    )


def _fields(mode: Mode) -> dict[str, Any]:
    return {name: value for name, value in vars(mode).items() if name != "_result"}
