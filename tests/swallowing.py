"""Signals that arrive while a library's callback runs, where Python forgets what their handlers raise."""

from __future__ import annotations

import ctypes
import signal
import weakref
from collections.abc import Callable
from typing import Any


class _Thing:
    pass


class _Finalized:
    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def __del__(self) -> None:
        self._act()


def _weakref(act: Callable[[], None]) -> None:
    thing = _Thing()
    kept = weakref.ref(thing, lambda _: act())
    del thing
    assert kept() is None


def _finalizer(act: Callable[[], None]) -> None:
    _Finalized(act)


def _compiled(act: Callable[[], None]) -> None:
    ctypes.CFUNCTYPE(None)(act)()


def _caught(act: Callable[[], None]) -> None:
    try:
        act()
    except BaseException:
        return


SWALLOWED: dict[str, Callable[[Callable[[], None]], None]] = {
    "weak reference": _weakref,
    "finalizer": _finalizer,
    "compiled code": _compiled,
    "caught": _caught,
}


class Swallowed:
    """A function that once, before what it does, is sent a signal inside a callback.

    Parameters
    ----------
    function : the function
    number : the signal
    kind : of the callback
    call : at which call, from 1; 0 for none

    Attributes
    ----------
    calls : how often it was called
    """

    def __init__(self, function: Callable[..., Any], number: int, kind: str, call: int) -> None:
        self._function, self._number, self._kind, self._call = function, number, kind, call
        self.calls = 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls == self._call:
            SWALLOWED[self._kind](lambda: signal.raise_signal(self._number))
        return self._function(*arguments, **options)

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else lambda *arguments, **options: self(owner, *arguments, **options)
