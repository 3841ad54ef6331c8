"""What a kernel is: a digest of its code and of everything of ours that is compiled into it.

Taken from what is loaded, not from files, which may have changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher

__all__ = ["identity"]

# Libraries of which the version says it all.
_VERSIONED = {"builtins", "llvmlite", "math", "numba", "numpy"}
_CODE = (
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_code",
    "co_exceptiontable",
    "co_name",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_consts",
)


def identity(kernel: Any) -> str:
    """Return a digest that is another one once a kernel is, or anything that it calls or reads.

    Parameters
    ----------
    kernel : a compiled function

    Returns
    -------
    str
        The same in every process that has the same code.

    Raises
    ------
    TypeError
        It reads something of which that cannot be said.
    """
    digest = hashlib.sha256()
    for part in _described(kernel, []):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _described(thing: Any, seen: list[Any]) -> Iterator[bytes]:
    """What makes a thing what it is, in a fixed order; functions that were seen before only by their number."""
    kind = type(thing)
    yield f"{kind.__module__}.{kind.__qualname__}".encode()
    if thing is None or thing is Ellipsis or kind in (bool, int, float, complex, str):
        yield repr(thing).encode()
    elif kind is bytes:
        yield thing
    elif kind in (tuple, list):
        yield from _all_described(thing, seen)
    elif kind in (set, frozenset):
        yield from _all_described(sorted(thing, key=repr), seen)
    elif kind is dict:
        yield from _all_described(sorted(thing.items(), key=repr), seen)
    elif isinstance(thing, np.generic):
        yield from (thing.dtype.str.encode(), thing.tobytes())
    elif kind is CodeType:
        # Of the flags those that the rest does not show: Numba changes others where a profiler watches a kernel run.
        yield str(thing.co_flags & (CO_VARARGS | CO_VARKEYWORDS)).encode()
        yield from _all_described([getattr(thing, name) for name in _CODE], seen)
    elif isinstance(thing, ModuleType) and _is_versioned(thing.__name__):
        yield thing.__name__.encode()
    elif _is_versioned(getattr(thing, "__module__", None)) and hasattr(thing, "__qualname__"):
        yield f"{thing.__module__}.{thing.__qualname__}".encode()
    elif any(thing is other for other in seen):
        yield str(next(place for place, other in enumerate(seen) if other is thing)).encode()
    elif kind is FunctionType:
        seen.append(thing)
        cells = [cell.cell_contents for cell in thing.__closure__ or ()]
        yield from _described((thing.__code__, thing.__defaults__, thing.__kwdefaults__, cells), seen)
        for name in _globals_of(thing.__code__):
            if name in thing.__globals__:
                yield name.encode()
                yield from _described(thing.__globals__[name], seen)
    elif isinstance(thing, Dispatcher):
        yield from _described((thing.targetoptions, thing.py_func), seen)
    elif isinstance(definition := getattr(thing, "_defn", None), FunctionType):  # what Numba makes of an intrinsic
        yield from _described(definition, seen)
    else:
        raise TypeError(f"a kernel reads {thing!r}, of which it cannot be said whether it is the same elsewhere")


def _all_described(things: Any, seen: list[Any]) -> Iterator[bytes]:
    yield str(len(things)).encode()
    for thing in things:
        yield from _described(thing, seen)


def _globals_of(code: CodeType) -> list[str]:
    """The names that a function and those within it look up, attributes among them."""
    inner = [name for const in code.co_consts if isinstance(const, CodeType) for name in _globals_of(const)]
    return sorted({*code.co_names, *inner})


def _is_versioned(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] in _VERSIONED
