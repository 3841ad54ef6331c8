"""Two queues of work that is asked for and not done, and legal orders in which it may be done after all."""

from __future__ import annotations

import itertools
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from specscale.kernels.device import Queue

__all__ = ["Event", "Order", "Queues", "at_once", "drawn", "late", "shuffled"]

Order = Callable[[int], int]
"""Draws a whole number below some bound: how many steps are taken beyond what must be done, whenever something is asked
for or waited for, and which queue each step is of where both may go on."""

_STEPS = 4  # the bound of steps


def late(bound: int) -> int:
    """Nothing is done before it must be."""
    return 0


def at_once(bound: int) -> int:
    """Everything is done as soon as it may be."""
    return bound - 1


def shuffled(seed: int) -> Order:
    """An order drawn from a seed."""
    return random.Random(seed).randrange


def drawn(numbers: Sequence[int]) -> Order:
    """An order of numbers, over and over."""
    turns = itertools.cycle(numbers)
    return lambda bound: next(turns) % bound


class Event(NamedTuple):
    """The first `count` things that were asked of a queue."""

    queue: Queue
    count: int


class _Line:
    """One queue: what was asked of it, work or an event to wait for, and how much of it is done."""

    def __init__(self) -> None:
        self.asked: deque[Callable[[], None] | Event] = deque()
        self.done = 0


class Queues:
    """The queues of a device, asked from any thread.

    Parameters
    ----------
    order : what is done when
    """

    def __init__(self, order: Order) -> None:
        self._lock = threading.RLock()
        self._lines: dict[Queue, _Line] = {"compute": _Line(), "copy": _Line()}
        self._order = order

    def ask(self, queue: Queue, work: Callable[[], None] | Event) -> None:
        """Put work at the end of a queue, or an event that what follows waits for."""
        with self._lock:
            self._lines[queue].asked.append(work)
            self._go_on()

    def record(self, queue: Queue) -> Event:
        """The present end of a queue."""
        with self._lock:
            line = self._lines[queue]
            return Event(queue, line.done + len(line.asked))

    def wait(self, event: Event) -> None:
        """Do what an event needs."""
        with self._lock:
            self._go_on()
            self._complete(event)

    def wait_for_all(self) -> None:
        """Do everything."""
        for queue in self._lines:
            self.wait(self.record(queue))

    def _complete(self, event: Event) -> None:
        line = self._lines[event.queue]
        while line.done < event.count:
            first = line.asked[0]
            if isinstance(first, Event):
                self._complete(first)
            self._step(line)

    def _step(self, line: _Line) -> None:
        first = line.asked.popleft()
        line.done += 1
        if not isinstance(first, Event):
            first()

    def _go_on(self) -> None:
        """Take the steps that the order draws, as far as there are any."""
        for _ in range(self._order(_STEPS)):
            ready = [line for line in self._lines.values() if self._may_step(line)]
            if not ready:
                return
            self._step(ready[self._order(len(ready))])

    def _may_step(self, line: _Line) -> bool:
        first = line.asked[0] if line.asked else None
        return first is not None and (not isinstance(first, Event) or self._lines[first.queue].done >= first.count)
