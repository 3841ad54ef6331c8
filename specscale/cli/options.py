"""The parameters that commands share, beside the options of a comparison."""

from __future__ import annotations

from typing import Annotated

import typer

A = Annotated[str, typer.Argument(metavar="A", help="A store, or files that ingest reads.", show_default=False)]
B = Annotated[str, typer.Argument(metavar="B", help="The same samples in another embedding.", show_default=False)]
NameA = Annotated[str | None, typer.Option("--name-a", metavar="NAME", help="What to call A; by default as its store.")]
NameB = Annotated[str | None, typer.Option("--name-b", metavar="NAME", help="What to call B; by default as its store.")]
FailOn = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        metavar="RULE",
        help="Exit with status 3 when the rule holds, as 'groups>0', 'group_share>0.02', 'spec_diff>0.05' or, of any "
        "mode, 'eigenvalue>0.03'; may be given several times.",
        show_default=False,
    ),
]
Rows = Annotated[
    str | None, typer.Option("--rows", metavar="N", help="Plan for N rows like those of A and B, e.g. 1e9.")
]
Workers = Annotated[int | None, typer.Option("--workers", metavar="N", help="Plan for a cluster of N workers.")]
Update = Annotated[
    str | None,
    typer.Option(
        "--update",
        metavar="OUT",
        help="Go on from this result after rows were appended to A and B: its options, bandwidths and maps are kept.",
    ),
]
Rate = Annotated[
    str | None,
    typer.Option(
        metavar="RATE", help="Operations a second of one worker, e.g. 30T; by default what this machine does."
    ),
]
Fetch = Annotated[
    bool,
    typer.Option("--fetch", help="Read the embeddings from the addresses that the result names on other servers."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
