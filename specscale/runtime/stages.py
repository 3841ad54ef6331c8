"""Threads that work ahead of one another: each hands on what it makes, in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["Stages"]

T = TypeVar("T")

_LAST = 1.0  # seconds for a read under way; one that stands still is left behind, and what is done is kept


class Stages:
    """Stages of a sweep, which end with the ``with`` statement that they were made in."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._under_way: list[tuple[queue.Queue[Any], threading.Thread]] = []

    def __enter__(self) -> Stages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for ready, thread in self._under_way:
            with suppress(queue.Full):  # whoever waits for the next item waits no longer
                ready.put_nowait(None)
            thread.join(_LAST)

    def ahead(self, name: str, items: Iterable[T], ready: int = 1) -> Iterator[T]:
        """Make items ahead of whoever takes them, in a thread of that name; its errors are raised to the taker.

        Parameters
        ----------
        name : of the thread
        items : the items
        ready : how many wait to be taken while another is made
        """
        made: queue.Queue[T | BaseException | None] = queue.Queue(maxsize=ready)
        thread = threading.Thread(target=self._make, args=(items, made), name=name, daemon=True)
        self._under_way.append((made, thread))
        thread.start()
        return _taken(made)

    def _make(self, items: Iterable[T], ready: queue.Queue[T | BaseException | None]) -> None:
        try:
            for item in items:
                self._hand_on(item, ready)
                if self._stop.is_set():
                    return
            self._hand_on(None, ready)
        except BaseException as error:  # handed to the thread that waits for the item
            self._hand_on(error, ready)

    def _hand_on(self, item: T | BaseException | None, ready: queue.Queue[T | BaseException | None]) -> None:
        while not self._stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue


def _taken(ready: queue.Queue[T | BaseException | None]) -> Iterator[T]:
    while (item := ready.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item
