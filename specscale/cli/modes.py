"""The command that shows the modes of a result."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from specscale.cli import options as o
from specscale.cli.json_output import inputs_of, print_json

_TOP = 20


def modes(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A result directory.", show_default=False)],
    top: Annotated[
        int | None,
        typer.Option(
            min=0,
            help=f"Members of each tail of a mode; by default {_TOP} to show, for overlap and measures all there are.",
            show_default=False,
        ),
    ] = None,
    overlap: Annotated[bool, typer.Option("--overlap", help="Which tails share members, and how many.")] = False,
    measures: Annotated[
        bool, typer.Option("--measures", help="How well each embedding tells the tails apart: NMI, silhouette, ….")
    ] = False,
    show: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="The columns of the samples to show beside id or row and score, as text,label; none for none of them.",
            show_default=False,
        ),
    ] = None,
    fetch: o.Fetch = False,
    json: o.Json = False,
) -> None:
    """Show the modes of a result, the directions that its groups were found in, with the members of their tails."""
    from specscale.method.result import open_result

    if show is not None and (overlap or measures):
        raise typer.BadParameter("goes with the members, not with --overlap or --measures", param_hint="'--show'")
    result = open_result(out, fetch=fetch)
    if not (overlap or measures):
        shown = _TOP if top is None else top
        if json:
            from specscale.cli.mode_tables import modes_json

            print_json(modes_json(result, shown, show))
        else:
            from specscale.cli.mode_tables import print_modes

            print_modes(result, shown, show)
        return
    from specscale.cli import insight_tables as tables

    said: dict[str, Any] = {}
    if overlap:
        from specscale.insight.overlap import overlap as count

        shared = count(result, top)
        said["overlap"] = shared.to_json()
        if not json:
            tables.print_overlap(result, shared)
    if measures:
        from specscale.insight.measures import measures as measure

        agreements = measure(result, top)
        said["measures"] = [vars(one) for one in agreements]
        if not json:
            tables.print_measures(result, agreements)
    if json:
        print_json({**inputs_of(result), **said})
