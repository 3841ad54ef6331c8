"""Progress bars over rows, on standard error and only on a terminal."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from specscale.cli.inert import commanding, complain, inert_streams, place_of

if TYPE_CHECKING:
    from rich.progress import Progress

    from specscale.runtime.events import Event, Notify

_TOLD = "PYTHONWARNINGS"


@contextmanager
def row_progress(label: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show how many rows are done, how fast, and how long it will take.

    Parameters
    ----------
    label
        What is being done.
    quiet
        Show nothing, and let no library say anything. No bar is shown either where standard error is not a terminal.

    Yields
    ------
    callable
        To be called with the rows done and the rows in all.
    """
    if quiet:
        with _silence():
            yield lambda done, total: None
        return
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with _bar() as bar, inert_streams():
        task = bar.add_task(label, total=0)
        begun = False

        def progress(done: int, total: int) -> None:
            nonlocal begun
            if not begun:
                # Rows that an earlier run did say nothing about the speed of this one.
                bar.reset(task, total=total, completed=done)
                begun = True
            bar.update(task, total=total, completed=done)

        yield progress


@contextmanager
def run_progress(quiet: bool = False, bars: bool = True) -> Iterator[Notify]:
    """Show the events of a run: a bar for each pass, the name of each other step, and every warning.

    Parameters
    ----------
    quiet
        Show nothing, and let no library say anything.
    bars
        Show more than the warnings. Bars are not shown either where standard error is not a terminal.

    Yields
    ------
    callable
        Takes the events.
    """
    from specscale.runtime.events import Noted, PassFinished, PassStarted, RowsDone, Stage, Warned

    if quiet:
        with _silence():
            yield lambda event: None
        return
    if not (bars and sys.stderr.isatty()):
        yield lambda event: _warn(event.message) if isinstance(event, Warned) else None
        return
    with _bar() as bar, inert_streams():
        task = bar.add_task("starting", total=None)

        def tell(message: str) -> None:
            bar.console.print(place_of(message), markup=False, emoji=False, highlight=False)

        def show(event: Event) -> None:
            nonlocal task
            match event:
                case Stage(name):
                    # A reset to no total would keep the last one: the stage would show the rows of the pass before.
                    bar.remove_task(task)
                    task = bar.add_task(place_of(name), total=None)
                case PassStarted(name, rows, done):
                    bar.reset(task, total=rows, completed=done, description=name)
                case RowsDone(_, rows):
                    bar.advance(task, rows)
                case PassFinished(name, seconds):
                    tell(f"{name}: {seconds:.1f} s")
                case Noted(message):
                    tell(message)
                case Warned(message):
                    _warn(message)

        yield show


def _warn(message: str) -> None:
    complain(f"warning: {message}")


@contextmanager
def _silence() -> Iterator[None]:
    """Let libraries, in this process and in those that it starts, neither warn nor log below errors that end them."""
    disabled, told = logging.root.manager.disable, os.environ.get(_TOLD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        os.environ[_TOLD] = "ignore"
        try:
            yield
        finally:
            logging.disable(disabled)
            if told is None:
                del os.environ[_TOLD]
            else:
                os.environ[_TOLD] = told


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rows(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.completed:,.0f} of {task.total:,.0f} rows" if task.total else "")

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} rows/s" if task.speed and task.total else "")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        Rows(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(file=commanding(sys.stderr)),
        transient=True,
    )
