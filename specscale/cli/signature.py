"""Commands whose parameters are made of the options of a comparison."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any, TypeVar, cast

import typer

from specscale.method.option_field import Flag, Option, options_of

__all__ = ["taking"]

F = TypeVar("F", bound=Callable[..., None])


def taking(**kinds: type) -> Callable[[F], F]:
    """Let a command take options.

    Where the command names one of its parameters as `kinds` does, it takes the options of that dataclass instead, those
    which have a form on its command line; the parameter gets their values by the names of the Python functions. Its
    other parameters are typer's, as they are.

    Parameters
    ----------
    **kinds : for a parameter of the command, a dataclass of options
    """

    def decorate(command: F) -> F:
        own = inspect.signature(command, eval_str=True)
        takes = {part: list(options_of(kind, command.__name__)) for part, kind in kinds.items()}
        parameters: list[inspect.Parameter] = []
        for one in own.parameters.values():
            if one.name in takes:
                parameters += [_parameter(flag) for option in takes[one.name] for flag in option.flags]
            else:
                parameters.append(one.replace(kind=one.KEYWORD_ONLY))

        @wraps(command)
        def called(**given: Any) -> None:
            for part, options in takes.items():
                given[part] = {one.name: _value(one, given) for one in options if one.flags}
            command(**{name: given[name] for name in own.parameters})

        made = cast(Any, called)
        made.__signature__ = own.replace(parameters=parameters)
        made.__annotations__ = {one.name: one.annotation for one in parameters}
        return cast(F, called)

    return decorate


def _parameter(flag: Flag) -> inspect.Parameter:
    """A parameter that typer makes an option of."""
    read: Any = StrEnum(flag.name, {one: one for one in flag.choices}) if flag.choices else flag.type
    default = read(flag.default) if flag.choices and flag.default is not None else flag.default
    if flag.many:
        read = list[read]
    spelled = typer.Option(flag.written, metavar=flag.metavar, help=flag.help, show_default=not flag.many)
    return inspect.Parameter(
        flag.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[read if default is not None else read | None, spelled],
    )


def _value(option: Option, given: dict[str, Any]) -> Any:
    """The value of an option, from those of its parts."""
    values = [given[one.name] for one in option.flags]
    if option.many and not values[0]:
        return option.default
    plain = [one.value if isinstance(one, StrEnum) else one for one in values]
    return tuple(plain) if option.parts else plain[0]
