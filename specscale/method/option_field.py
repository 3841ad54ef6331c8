"""What an option is: told once, in a field of a dataclass, for Python functions and commands alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from operator import index
from typing import Any

from specscale.errors import OptionError

__all__ = ["Flag", "Option", "checked", "number", "option", "options_of", "whole"]

Check = Callable[[str, str, Any], Any]
_PARSED: dict[str, type] = {"int": int, "int | None": int, "float": float, "bool": bool}  # all else is text


@dataclass(frozen=True)
class Flag:
    """An option, or a part of one, as a command line takes it.

    Attributes
    ----------
    name : its name, with underscores
    help : what the command says of it
    type : what its text is read as
    metavar : what stands for its value
    choices : the values that it can have, where it can have only some
    many : whether it may be given several times
    default : what is taken where it is not given
    """

    name: str
    help: str
    type: type = str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    many: bool = False
    default: Any = None

    @property
    def written(self) -> str:
        """The flag as it is written."""
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option as one command, and the Python function of it, take it.

    Attributes
    ----------
    doc : what the function says of it
    help : what the command says of it; none where no command line takes it
    flag : its name on a command line, where that is another
    metavar : what stands there for its value
    choices : the values that it can have, where it can have only some
    spellings : other ways to write these
    many : whether it may be given several times
    parts : its parts, where a command line takes it as several
    check : makes a value legal: takes the name, the flag and the value
    default : its value where it is not given
    late : whether the covariance does not know it, so that an interrupted run can be taken up with another value
    annotation : its type in the signature of the function, where that is not the field's
    name : its name
    """

    doc: str
    help: str = ""
    flag: str = ""
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    spellings: Mapping[str, str] = field(default_factory=dict)
    many: bool = False
    parts: tuple[Flag, ...] = ()
    check: Check | None = None
    default: Any = None
    late: bool = False
    annotation: str = ""
    name: str = ""

    @property
    def flags(self) -> tuple[Flag, ...]:
        """What a command line takes."""
        if self.parts:
            defaults = self.default or (None,) * len(self.parts)
            return tuple(replace(one, default=default) for one, default in zip(self.parts, defaults, strict=True))
        if not self.help:
            return ()
        return (
            Flag(
                self.flag or self.name,
                self.help,
                _PARSED.get(self.annotation, str),
                self.metavar,
                (*self.choices, *self.spellings),
                self.many,
                None if self.many else self.default,
            ),
        )

    def checked(self, value: Any) -> Any:
        """The value as it is kept.

        Raises
        ------
        OptionError
            When it is illegal.
        """
        if value is None and self.default is None:
            return None
        flag = "--" + (self.flag or self.name).replace("_", "-")
        if self.check is not None:
            return self.check(self.name, flag, value)
        if self.choices:
            value = self.spellings.get(value, value) if isinstance(value, str) else value
            if value not in self.choices:
                raise OptionError(f"{flag} is {', '.join(self.choices[:-1])} or {self.choices[-1]}, not {value!r}")
        return value


def option(default: Any, *, commands: str, variants: Mapping[str, Mapping[str, Any]] | None = None, **told: Any) -> Any:
    """Return a dataclass field for an option.

    Parameters
    ----------
    default : its value where it is not given
    commands : the commands, and the Python functions of the same names, that take it
    variants : for a command that takes it in another way, those attributes of the :class:`Option` that differ
    **told : attributes of the :class:`Option`
    """
    usual = Option(default=default, **told)
    variants = variants or {}
    return field(
        default=default,
        metadata={"": usual, **{one: replace(usual, **variants.get(one, {})) for one in commands.split()}},
    )


def options_of(kind: type, command: str = "") -> Iterator[Option]:
    """The options among the fields of a dataclass, as a command takes them; by default all of them, as usual."""
    for one in fields(kind):
        said = one.metadata.get(command)
        if said is not None:
            yield replace(said, name=one.name, annotation=said.annotation or str(one.type))


def checked(given: Any) -> None:
    """Make each value of a frozen dataclass of options legal.

    Raises
    ------
    OptionError
        When one cannot be.
    """
    for one in options_of(type(given)):
        object.__setattr__(given, one.name, one.checked(getattr(given, one.name)))


def whole(least: int) -> Check:
    """A check for whole numbers."""

    def check(name: str, flag: str, value: Any) -> int:
        try:
            count = index(value)  # NumPy's numbers are taken too, and become Python's, which JSON knows
        except TypeError:
            raise OptionError(f"{name} is a whole number, not {value!r}") from None
        if count < least:
            raise OptionError(f"{flag} must be {f'at least {least}' if least else 'zero or positive'}, not {count}")
        return count

    return check


def number(least: float, most: float, says: str) -> Check:
    """A check for numbers in a range, and what it says of it."""

    def check(name: str, flag: str, value: Any) -> float:
        try:
            real = float(value)
        except (TypeError, ValueError):
            raise OptionError(f"{name} is a number, not {value!r}") from None
        if not least <= real <= most:
            raise OptionError(f"{flag} {says}, not {real:g}")
        return real

    return check
