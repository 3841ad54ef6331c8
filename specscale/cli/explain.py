"""The command that names the groups of a result by the labels of their members."""

from __future__ import annotations

from typing import Annotated

import typer

from specscale.cli import options as o
from specscale.cli.json_output import inputs_of, print_json


def explain(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A result directory.", show_default=False)],
    labels: Annotated[
        str,
        typer.Option(
            metavar="COL", help="The column of A's store, or else of B's, that holds the labels.", show_default=False
        ),
    ],
    top: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="The likest members of each, as far as they were kept; by default all there are."
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="False discovery rate of the labels that are shown.")] = 0.05,
    modes: Annotated[bool, typer.Option("--modes", help="Of the tails of modes, also where there are groups.")] = False,
    fetch: o.Fetch = False,
    json: o.Json = False,
) -> None:
    """Show which labels are enriched among the members of each group."""
    from specscale.insight.enrichment import explain as run
    from specscale.method.result import open_result

    result = open_result(out, fetch=fetch)
    explanation = run(result, labels, top, alpha, modes=modes)
    if json:
        print_json({**inputs_of(result), **explanation.to_json()})
    else:
        from specscale.cli.insight_tables import print_explanation

        print_explanation(result, explanation)
