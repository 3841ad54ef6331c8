"""Python functions that take options as keywords."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar, cast

from specscale.method.option_field import Option, options_of

__all__ = ["keywords", "taken"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_GIVEN = "**given :"  # where the docstring of a function names its options
_LINE = 112


def taken(kind: type[T], given: Mapping[str, Any]) -> T:
    """A dataclass of options, from those keywords that are its fields."""
    names = [one.name for one in fields(cast(Any, kind))]
    return kind(**{name: given[name] for name in names if name in given})


def keywords(command: str, *kinds: type) -> Callable[[F], F]:
    """Let a function take options as keywords: they are in its signature and in its docstring.

    The function gets them, with the defaults of its command, as ``**given``.

    Parameters
    ----------
    command : the command that takes the same options
    *kinds : dataclasses of options
    """
    options = [one for kind in kinds for one in options_of(kind, command)]
    defaults = {one.name: one.default for one in options}

    def taking(function: F) -> F:
        own = inspect.signature(function)
        parameters = [one for one in own.parameters.values() if one.kind is not one.VAR_KEYWORD]
        parameters += [
            inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.annotation)
            for one in options
        ]
        known = {one.name for one in parameters}

        @wraps(function)
        def called(*args: Any, **given: Any) -> Any:
            for name in given:
                if name not in known:
                    raise TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}")
            return function(*args, **{**defaults, **given})

        cast(Any, called).__signature__ = own.replace(parameters=parameters)
        called.__doc__ = _documented(function.__doc__, options)
        return cast(F, called)

    return taking


def _documented(text: str | None, options: list[Option]) -> str | None:
    """A docstring with a paragraph for each option where it names them together."""
    if text is None:  # as python -OO leaves it
        return None
    said = []
    for line in inspect.cleandoc(text).split("\n"):
        if line.startswith(_GIVEN):
            for one in options:
                said += textwrap.wrap(f"{one.name} : {one.doc}", _LINE, subsequent_indent="    ")
        else:
            said.append(line)
    return "\n".join(said)
