"""Progress bars over rows, on standard error and only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

    from specscale.runtime.events import Event, Notify


@contextmanager
def row_progress(label: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show how many rows are done, how fast, and how long it will take.

    Parameters
    ----------
    label
        What is being done.
    quiet
        Show nothing. Nothing is shown either where standard error is not a terminal.

    Yields
    ------
    callable
        To be called with the rows done and the rows in all.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with _bar() as bar:
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
def run_progress(quiet: bool = False) -> Iterator[Notify]:
    """Show the events of a run: a bar for each pass, the name of each other step, and every warning.

    Parameters
    ----------
    quiet
        Show the warnings alone. Bars are not shown either where standard error is not a terminal.

    Yields
    ------
    callable
        Takes the events.
    """
    from specscale.runtime.events import Noted, PassFinished, PassStarted, RowsDone, Stage, Warned

    if quiet or not sys.stderr.isatty():
        yield lambda event: _warn(event.message) if isinstance(event, Warned) else None
        return
    with _bar() as bar:
        task = bar.add_task("starting", total=None)

        def show(event: Event) -> None:
            nonlocal task
            match event:
                case Stage(name):
                    # A reset to no total would keep the last one: the stage would show the rows of the pass before.
                    bar.remove_task(task)
                    task = bar.add_task(name, total=None)
                case PassStarted(name, rows, done):
                    bar.reset(task, total=rows, completed=done, description=name)
                case RowsDone(_, rows):
                    bar.advance(task, rows)
                case PassFinished(name, seconds):
                    bar.console.print(f"{name}: {seconds:.1f} s", highlight=False)
                case Noted(message):
                    bar.console.print(message, highlight=False)
                case Warned(message):
                    _warn(message)

        yield show


def _warn(message: str) -> None:
    print(f"specscale: warning: {message}", file=sys.stderr)


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
        TextColumn("{task.description}"),
        BarColumn(),
        Rows(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
