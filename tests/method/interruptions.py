"""Comparisons that are interrupted where a step begins."""

from __future__ import annotations

from collections.abc import Callable

from specscale.runtime.events import Event, Stage

__all__ = ["Interruption", "stop_at"]


class Interruption(Exception):
    pass


def stop_at(name: str) -> Callable[[Event], None]:
    def progress(event: Event) -> None:
        if isinstance(event, Stage) and event.name == name:
            raise Interruption

    return progress
