"""Waiting for what may never answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from specscale.errors import SilenceError

__all__ = ["begun", "within"]

R = TypeVar("R")


def begun(call: Callable[[], R]) -> Future[R]:
    """Begin a call, in a thread that does not outlive the process."""
    answer: Future[R] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="specscale-waited-for", daemon=True).start()
    return answer


def within(seconds: float, call: Callable[[], R]) -> R:
    """Return what a call returns; one that takes too long is left behind.

    Each second of waiting counts for one, so that a process that was stopped meanwhile still hears what has come in.

    Parameters
    ----------
    seconds : to wait for it
    call : without arguments

    Raises
    ------
    SilenceError
        When it has not ended by then.
    """
    answer = begun(call)
    left = seconds
    while left > 0 and not wait([answer], timeout=min(left, 1.0)).done:
        left -= 1.0
    if not answer.done():
        raise SilenceError(f"no answer for {seconds:.0f} s")
    return answer.result()
