"""The typer application and how its commands end.

Each command lives in a module of its own and imports the engine inside its function, so that ``specscale --help``
loads nothing but the parser.
"""

from __future__ import annotations

import errno
import sys

import typer

from specscale.cli.compare import compare, modes, plan
from specscale.cli.demo import demo
from specscale.cli.ingest import info, ingest
from specscale.errors import SpecscaleError

app = typer.Typer(
    name="specscale",
    help="Which groups of samples one embedding model holds together and another does not.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(ingest)
app.command()(info)
app.command()(compare)
app.command()(plan)
app.command()(modes)
app.command()(demo)


def main() -> None:
    """Run the command line; errors that the user can mend are one line on standard error and exit status 1."""
    try:
        app()
    except SpecscaleError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted", status=130)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        _fail(f"the disk is full{where}: free some space or choose another place, then run the same command again")


def _fail(message: str, status: int = 1) -> None:
    print(f"specscale: {message}", file=sys.stderr)
    sys.exit(status)
