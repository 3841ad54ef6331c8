"""What happens during a run, as values: the engine prints nothing, its callers may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Event", "Moved", "Noted", "Notify", "PassFinished", "PassStarted", "RowsDone", "Stage", "Warned", "silent"]


@dataclass(frozen=True)
class Stage:
    """A step that is not a pass has begun."""

    name: str


@dataclass(frozen=True)
class Warned:
    """Something the user should know; the run goes on."""

    message: str


@dataclass(frozen=True)
class Noted:
    """What was chosen where the user left it open."""

    message: str


@dataclass(frozen=True)
class PassStarted:
    """A pass over `rows` rows has begun, `done` of which an earlier run had finished."""

    name: str
    rows: int
    done: int


@dataclass(frozen=True)
class RowsDone:
    """`rows` more rows are in the accumulator."""

    name: str
    rows: int


@dataclass(frozen=True)
class Moved:
    """A task of a pass wrote and read so many bytes of partial results."""

    name: str
    written: int
    read: int


@dataclass(frozen=True)
class PassFinished:
    """A pass is over."""

    name: str
    seconds: float


Event = Stage | Warned | Noted | PassStarted | RowsDone | Moved | PassFinished
Notify = Callable[[Event], None]


def silent(event: Event) -> None:
    """Take an event and do nothing."""
