"""Records in JSON: the types of a dataclass say what each of its fields can be, as anybody may have written them.

A field with a default is one that earlier versions did not write. Fields that the dataclass does not have are let pass.
"""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

__all__ = [
    "Count",
    "Lenient",
    "NotNegative",
    "Number",
    "Positive",
    "Rare",
    "Said",
    "Seed",
    "fault",
    "faulty_fields",
    "needed",
    "read_record",
    "to_json",
]

T = TypeVar("T")
_MOST_ROWS = 1 << 53


@dataclasses.dataclass(frozen=True)
class _Where:
    """What a value is beyond its type."""

    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


Count = Annotated[int, _Where(lambda value: type(value) is int and 0 <= value <= _MOST_ROWS)]
Seed = Annotated[int, _Where(lambda value: type(value) is int and 0 <= value < 1 << 63)]
Number = Annotated[float, _Where(_is_number)]
Positive = Annotated[float, _Where(lambda value: _is_number(value) and value > 0)]
NotNegative = Annotated[float, _Where(lambda value: _is_number(value) and value >= 0)]

_SAID, _RARE, _LENIENT = "said", "rare", "lenient"
Said = Annotated[T | None, _SAID]
"""What is None where an earlier version did not write it, and never null."""
Rare = Annotated[T | None, _RARE]
"""What is None where there is none, and then is not written."""
Lenient = Annotated[T | None, _LENIENT]
"""What is read as None where it is not what is written now."""


_Check = Callable[[Any], str | None]
"""From a value to the way to what cannot be in it: "" for the value itself, None for nothing."""


def fault(kind: Any, value: Any) -> str | None:
    """Return the way to the first thing that cannot be in a value of some type, as ``.modes[0].eigenvalue``.

    Parameters
    ----------
    kind : the type, as a record's class
    value : what JSON holds

    Returns
    -------
    str or None
        Nothing, "", for the value itself; None where all can be.
    """
    return _check_of(kind)(value)


@cache
def _check_of(kind: Any) -> _Check:
    inner, mark = _unmarked(kind)
    if isinstance(mark, _Where):
        return lambda value: None if mark.holds(value) else ""
    if mark == _LENIENT or inner is Any:
        return lambda value: None
    if mark in (_SAID, _RARE):
        return _check_of(_not_null(inner))
    if mark is not None:  # the fields of a dictionary
        return _check_of(mark)
    if _is_record(inner):
        names, checks = needed(inner), {name: _check_of(one) for name, one in _types(inner).items()}
        return lambda value: _fault_of_record(value, names, checks)
    origin, arguments = get_origin(inner), get_args(inner)
    if origin is Literal:
        return lambda value: None if isinstance(value, str) and value in arguments else ""
    if origin in (Union, types.UnionType):
        each = [_check_of(one) for one in arguments]
        return lambda value: _fault_of_union(value, each)
    if origin in (list, dict):
        of_member = _check_of(arguments[-1])
        return lambda value: _fault_of_members(value, of_member) if isinstance(value, origin) else ""
    return lambda value: None if isinstance(value, inner) else ""


def _fault_of_record(value: Any, names: tuple[str, ...], checks: dict[str, _Check]) -> str | None:
    if not isinstance(value, dict):
        return ""
    for name in names:
        if name not in value:
            return f".{name}"
    for name, check in checks.items():
        if name in value and (way := check(value[name])) is not None:
            return f".{name}{way}"
    return None


def _fault_of_union(value: Any, checks: list[_Check]) -> str | None:
    """What is wrong with the value as one of the first type, where it is of none of them."""
    found = [check(value) for check in checks]
    return None if None in found else found[0]


def _fault_of_members(value: Any, check: _Check) -> str | None:
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        if (way := check(one)) is not None:
            return f".{key}{way}" if isinstance(value, dict) else f"[{key}]{way}"
    return None


def faulty_fields(kind: Any, fields: dict[str, Any]) -> list[str]:
    """Return the names of those fields that cannot be in a record, in alphabetical order."""
    known = _types(kind)
    return sorted(name for name, value in fields.items() if name in known and fault(known[name], value) is not None)


def needed(kind: Any) -> tuple[str, ...]:
    """Return the names of the fields that all versions have written."""
    missing = dataclasses.MISSING
    return tuple(
        one.name for one in dataclasses.fields(kind) if one.default is missing and one.default_factory is missing
    )


def read_record(kind: type[T], value: Any) -> T:
    """Return the record that JSON holds, in which :func:`fault` found nothing."""
    read: T = _read(kind, value)
    return read


def _read(kind: Any, value: Any) -> Any:
    inner, mark = _unmarked(kind)
    if mark == _LENIENT and fault(_not_null(inner), value) is not None:
        return None
    if _is_record(inner):
        known = _types(inner)
        return inner(**{name: _read(known[name], one) for name, one in value.items() if name in known})
    origin, arguments = get_origin(inner), get_args(inner)
    if origin in (Union, types.UnionType):
        return _read(next(one for one in arguments if fault(one, value) is None), value)
    if origin is list:
        return [_read(arguments[0], one) for one in value]
    if origin is dict:
        return {key: _read(arguments[1], one) for key, one in value.items()}
    return value


def to_json(value: Any) -> Any:
    """Return a record, or what holds some, as plain values, with the fields in their order."""
    if dataclasses.is_dataclass(value):
        kinds: dict[str, Any] = _types(cast(Any, type(value)))
        written = {name: getattr(value, name) for name in kinds}
        rare = {name for name, kind in kinds.items() if _unmarked(kind)[1] == _RARE}
        return {name: to_json(one) for name, one in written.items() if one is not None or name not in rare}
    if isinstance(value, dict):
        return {key: to_json(one) for key, one in value.items()}
    return [to_json(one) for one in value] if isinstance(value, list | tuple) else value


def _is_record(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind)


def _unmarked(kind: Any) -> tuple[Any, Any]:
    """A type without its mark, and the mark; None for none."""
    return (kind.__origin__, kind.__metadata__[0]) if get_origin(kind) is Annotated else (kind, None)


def _not_null(union: Any) -> Any:
    """A type without the None that it may also be."""
    return Union[tuple(one for one in get_args(union) if one is not types.NoneType)]  # noqa: UP007


@cache
def _types(kind: Any) -> dict[str, Any]:
    """The types of a record's fields."""
    hints = get_type_hints(kind, include_extras=True)
    return {one.name: hints[one.name] for one in dataclasses.fields(kind)}
