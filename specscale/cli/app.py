"""The typer application and how its commands end.

Each command lives in a module of its own and imports the engine inside its function, so that ``specscale --help``
loads nothing but the parser.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback

import typer

from specscale.cli.bandwidth import bandwidth
from specscale.cli.compare import compare, plan
from specscale.cli.demo import demo
from specscale.cli.ending import ending
from specscale.cli.explain import explain
from specscale.cli.groups import groups
from specscale.cli.inert import complain, inert_streams
from specscale.cli.info import info
from specscale.cli.ingest import ingest
from specscale.cli.matrix import matrix
from specscale.cli.modes import modes
from specscale.cli.rename import rename
from specscale.cli.streams import standard_streams
from specscale.errors import SpecscaleError
from specscale.stopping import Stop

_KEEPING = ("ingest", "compare", "matrix")  # commands that take up what they had done

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
app.command()(rename)
app.command()(compare)
app.command()(plan)
app.command()(matrix)
app.command()(groups)
app.command()(modes)
app.command()(explain)
app.command()(bandwidth)
app.command()(demo)


def main() -> None:
    """Run the command line; errors that the user can mend are one line on standard error and exit status 1."""
    with standard_streams() as streams, inert_streams(), ending(_interrupted) as stop:
        status = 0
        try:
            status = streams.settle(_run(stop))
        except Exception:  # a defect, which is told as it is, but inert too and without the secrets of addresses
            status = 1
            if not stop.number:
                traceback.print_exc()
        except BaseException:  # a library may make something else of what stopped it
            if not stop.number:
                raise
        if stop.number:
            stop.last_word()
            streams.settle(stop.status)
            stop.end()
    sys.exit(status)


def _run(stop: Stop) -> int:
    """Run the command and return its exit status."""
    try:
        app()
    except SystemExit as end:
        broken = end.__context__  # a pipe to another machine: typer takes it for that of standard output
        if not isinstance(broken, OSError):
            return end.code if isinstance(end.code, int) else 0
        message = _complaint(broken)
    except SpecscaleError as error:
        message = str(error)
    except MemoryError as error:
        message = f"out of memory ({_first_line(error)}): take less with --size, --top, --modes or --sample"
    except OSError as error:
        message = _complaint(error)
    else:
        return 0
    if not stop.number:
        complain(message)
    return 1


def _interrupted() -> None:
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    on = ": the same command goes on from here (compare and matrix with --resume added)" if command in _KEEPING else ""
    complain(f"interrupted{on}")


def _complaint(error: OSError) -> str:
    """What the system refused, and the remedy."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}the disk is full: free some space or choose another place, then run the same command again"
    if error.errno is None:
        raise error
    what = os.strerror(error.errno).lower() if where else _first_line(error)
    return f"{where}{what}: check the path, its permissions and the disk, then run the same command again"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
