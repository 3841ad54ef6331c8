"""The command that gives the model of a store another name."""

from __future__ import annotations

from typing import Annotated

import typer

from specscale.cli.json_output import print_json
from specscale.cli.options import Json, Quiet
from specscale.masking import masked


def rename(
    store: Annotated[str, typer.Argument(metavar="STORE", help="An embedding store.", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call its model.", show_default=False)],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Give the model of an embedding store another name; nothing else of the store changes."""
    from specscale.stores.renaming import rename as run

    before = run(store, name)
    if json:
        print_json({"store": masked(store), "name": name, "before": before})
    elif not quiet:
        print(f"{masked(store)}: {before} is called {name} now")
