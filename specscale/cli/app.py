"""The typer application and how its commands end.

Each command lives in a module of its own and imports the engine inside its function, so that ``specscale --help``
loads nothing but the parser.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from io import TextIOWrapper
from types import FrameType

import typer

from specscale.cli.bandwidth import bandwidth
from specscale.cli.compare import compare, plan
from specscale.cli.demo import demo
from specscale.cli.explain import explain
from specscale.cli.inert import complain, inert_streams
from specscale.cli.info import info
from specscale.cli.ingest import ingest
from specscale.cli.matrix import matrix
from specscale.cli.modes import modes
from specscale.cli.rename import rename
from specscale.errors import SpecscaleError

_INTERRUPTED = 130  # what typer makes of Ctrl-C
_TERMINATED = 143

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
app.command()(modes)
app.command()(explain)
app.command()(bandwidth)
app.command()(demo)


def main() -> None:
    """Run the command line; errors that the user can mend are one line on standard error and exit status 1."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # λ and σ, and the user's texts, where the locale lacks them
    with inert_streams():
        try:
            _run()
        except Exception:  # a defect, which is told as it is, but inert too and without the secrets of addresses
            traceback.print_exc()
            sys.exit(1)


def _run() -> None:
    """Run the command and end as it ends."""
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        app()
    except SpecscaleError as error:
        _fail(str(error))
    except SystemExit as end:
        if end.code in (_INTERRUPTED, _TERMINATED):
            complain("interrupted: the same command goes on from here (compare and matrix with --resume added)")
        raise
    except MemoryError as error:
        _fail(f"out of memory ({_first_line(error)}): take less with --size, --top, --modes or --sample")
    except OSError as error:
        _fail(_complaint(error))
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(signum: int, frame: FrameType | None) -> None:
    """End as on Ctrl-C, so that what is done is written."""
    raise SystemExit(_TERMINATED)


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


def _fail(message: str, status: int = 1) -> None:
    complain(message)
    sys.exit(status)
