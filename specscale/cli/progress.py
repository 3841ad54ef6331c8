"""A progress bar over rows, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def row_progress(label: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """
    Show how many rows are done, how fast, and how long it will take.

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

    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
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
