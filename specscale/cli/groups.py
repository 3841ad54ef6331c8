"""The command that shows the groups of a result."""

from __future__ import annotations

from typing import Annotated

import typer

from specscale.cli import options as o
from specscale.cli.executor import was_given
from specscale.cli.inert import place_of
from specscale.cli.json_output import inputs_of, print_json
from specscale.cli.members import why_no_columns_of_all
from specscale.masking import masked


def groups(
    ctx: typer.Context,
    out: Annotated[str, typer.Argument(metavar="OUT", help="A result directory.", show_default=False)],
    group: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="Show this group: its numbers, members and near misses.", show_default=False
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Members, and near misses, that --group shows.")] = 20,
    noise: Annotated[bool, typer.Option("--noise", help="Show candidates too whose evidence fails.")] = False,
    show: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="The columns of the samples that --group shows, as text,label; none for none of them.",
            show_default=False,
        ),
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write every member of the groups, or of the one of --group, to a .csv or .parquet file.",
            show_default=False,
        ),
    ] = None,
    fetch: o.Fetch = False,
    json: o.Json = False,
) -> None:
    """Show the groups that one embedding holds together and the other does not: how large, how sure, about what."""
    from specscale.cli.findings import count_of
    from specscale.cli.group_members import group_json, group_numbered, print_group
    from specscale.cli.group_table import print_groups
    from specscale.cli.heading import heading_of
    from specscale.cli.overview import subjects
    from specscale.insight.export import check_export, export_members
    from specscale.insight.found import is_found
    from specscale.method.result import open_result

    for option in ("show", "top"):
        if group is None and was_given(ctx, option):
            raise typer.BadParameter("goes with --group", param_hint=f"'--{option}'")
    if export is not None:
        check_export(export)
    result = open_result(out, fetch=fetch)
    if group is None:
        shown = [one for one in result.groups if noise or is_found(one)]
    else:
        shown = [group_numbered(result, group)]
    exported = None if export is None else export_members(result, [one.group for one in shown], export)
    about = subjects(result, shown)
    if json:
        told = [group_json(result, one, about.get(one.group), None if group is None else top, show) for one in shown]
        more = {} if exported is None else {"exported": {"file": masked(export), **vars(exported)}}
        print_json({**inputs_of(result), "looked_for_groups": result.looked_for_groups, "groups": told, **more})
        return
    if group is None:
        print(heading_of(result) + "\n")
        print_groups(result, about, noise)
    else:
        print_group(result, shown[0], about.get(group), top, show)
    if exported is not None:
        print(f"\n{place_of(export)}: {count_of(exported.members, 'member')} of {count_of(len(shown), 'group')}")
        if exported.members and not exported.columns and (why := why_no_columns_of_all(result)):
            print(f"without the samples' columns: {why}")
