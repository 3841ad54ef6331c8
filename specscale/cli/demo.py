"""The command that shows the whole method on data which every installation has."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from specscale.cli.options import Quiet
from specscale.cli.progress import run_progress
from specscale.cli.signature import taking
from specscale.method.execution import Execution
from specscale.method.options import Options


class Kind(StrEnum):
    """Demonstrations."""

    digits = "digits"
    text = "text"
    planted = "planted"


@taking(answer=Options, execution=Execution)
def demo(
    kind: Annotated[
        Kind,
        typer.Option(
            help="digits: edges against shades of grey of handwritten digits, with a picture; text: words against "
            "characters of Python's own documentation; planted: whether groups put into random vectors are found."
        ),
    ] = Kind.digits,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="OUT", help="A directory; by default specscale-demo-KIND.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(metavar="N", help="Rows of planted (by default 100,000), or at most so many texts.")
    ] = None,
    *,
    answer: dict[str, Any],
    execution: dict[str, Any],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier demo left in OUT.")] = False,
    quiet: Quiet = False,
) -> None:
    """Ingest two embeddings, compare them and show their groups, on data that is already here.

    The status is 1 when a planted group is not found.
    """
    from specscale.cli.overview import print_overview, print_strongest
    from specscale.demo import place
    from specscale.errors import OptionError

    Options(**answer)  # refuses what the comparison would refuse, before anything is written
    if kind is Kind.digits and rows is not None:
        raise OptionError("--rows does not go with --kind digits, whose rows are 1,797 images")
    say = place.quiet if quiet else print
    with run_progress(quiet) as progress:
        given = place.Demo(Path(out or f"specscale-demo-{kind.value}"), say, execution["threads"], overwrite, progress)
        match kind:
            case Kind.digits:
                from specscale.demo.digits import run_digits

                result = run_digits(given, seed=answer["seed"])
            case Kind.text:
                from specscale.demo.text import run_text

                result = run_text(given, rows=rows, seed=answer["seed"])
            case Kind.planted:
                from specscale.demo.planted import ROWS, run_planted

                result = run_planted(given, rows=ROWS if rows is None else rows, seed=answer["seed"])
    if quiet:
        return
    print()
    print_overview(result)
    if kind is Kind.text:
        print_strongest(result, 5)
