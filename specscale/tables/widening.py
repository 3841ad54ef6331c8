"""One schema for several files: types that hold the values of all of them as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from specscale.errors import InputError

__all__ = ["Columns", "common_schema", "converted"]

_EXACT = {pa.float16(): 11, pa.float32(): 24, pa.float64(): 53}  # bits: integers up to 2^bits are exact
_ROUNDED = 2.0**53  # floats of this size and above may stand for other integers
_UNITS = ("ns", "us", "ms", "s")


@dataclass(frozen=True)
class Columns:
    """The columns of one file.

    Attributes
    ----------
    path : the file
    schema : its columns
    read : yields the values of a column, from its first row; None for rows whose types are not to change
    """

    path: str
    schema: pa.Schema
    read: Callable[[str], Iterable[pa.ChunkedArray]] | None = None


def common_schema(files: Sequence[Columns]) -> pa.Schema:
    """Find the one schema that several files share.

    Parameters
    ----------
    files : at least one; values are read only of columns whose types alone do not tell

    Returns
    -------
    pyarrow.Schema
        The first file's columns, in its order, with types that hold the values of all files as they are.

    Raises
    ------
    InputError
        When a file has other columns than the first, or a type that does not go with the others'.
    """
    first = files[0]
    for file in files[1:]:
        different = set(first.schema.names) ^ set(file.schema.names)
        if different:
            raise InputError(
                f"{file.path}: its columns differ from those of {first.path} in {', '.join(sorted(different))};"
                " all files need the same columns"
            )
    return pa.schema([pa.field(name, _common_type(files, name)) for name in first.schema.names])


def converted(table: pa.Table, schema: pa.Schema, locate: Callable[[int], str]) -> pa.Table:
    """Bring a table's columns into the order and the types of a schema.

    Parameters
    ----------
    table : rows with at least the columns of `schema`, in plain types
    schema : the columns wanted
    locate : says where a row of the table comes from

    Returns
    -------
    pyarrow.Table
        The same values. What is NaN in a column of floats is null in one of integers.

    Raises
    ------
    InputError
        When a value does not fit.
    """
    columns = []
    for field in schema:
        column = table.column(field.name)
        try:
            columns.append(_cast(column, field.type))
        except (pa.ArrowException, OverflowError):
            low, high = 0, len(column)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if not _fits(column.slice(low, middle - low), field.type) else (middle, high)
            raise InputError(
                f"{locate(low)}: column {field.name} holds {column.type}, here {_shown(column[low])}; elsewhere it "
                f"holds {field.type}, which does not take this value; convert it to one type in all files"
            ) from None
    return pa.table(columns, schema=schema)


def _common_type(files: Sequence[Columns], name: str) -> pa.DataType:
    types = pa.types
    with_values = [(file, file.schema.field(name).type) for file in files]
    with_values = [(file, kind) for file, kind in with_values if not types.is_null(kind)]
    kinds = list(dict.fromkeys(kind for _, kind in with_values))
    if len(kinds) <= 1:
        return kinds[0] if kinds else pa.null()
    if all(types.is_integer(kind) or types.is_floating(kind) for kind in kinds):
        return _common_number(with_values, kinds, name)
    if all(types.is_timestamp(kind) for kind in kinds) or all(types.is_duration(kind) for kind in kinds):
        return _common_time(with_values, kinds, name)
    common = kinds[0]
    path = with_values[0][0].path
    for file, kind in with_values[1:]:
        both = (common, kind)
        try:
            if any(map(types.is_decimal, both)) and any(map(types.is_floating, both)):
                raise pa.ArrowTypeError
            common = _unified(common, kind)
        except pa.ArrowException:
            raise _mixed(file.path, name, kind, path, common) from None
    return common


def _unified(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    schemas = [pa.schema([("x", kind)]) for kind in (one, other)]
    return pa.unify_schemas(schemas, promote_options="permissive").field("x").type


def _mixed(path: str, name: str, kind: pa.DataType, before: str, common: pa.DataType, why: str = "") -> InputError:
    return InputError(
        f"{path}: column {name} holds {kind}, another type than in {before}, where it holds {common}{why}; convert it "
        "to one type in all files"
    )


def _common_number(files: Sequence[tuple[Columns, pa.DataType]], kinds: list[pa.DataType], name: str) -> pa.DataType:
    floats = [(file, kind) for file, kind in files if pa.types.is_floating(kind)]
    integers = [(file, kind) for file, kind in files if pa.types.is_integer(kind)]
    if not integers:
        return max(kinds, key=_EXACT.__getitem__)
    whole = True
    for file, kind in floats:
        for values in _read(file, name):
            values = values.cast(pa.float64())
            values = values.filter(pc.invert(pc.is_nan(values)))
            if not pc.all(pc.equal(pc.floor(values), values), min_count=0).as_py():
                whole = False
            elif pc.any(pc.greater_equal(pc.abs(values), _ROUNDED), min_count=0).as_py():
                raise _mixed(
                    file.path, name, kind, integers[0][0].path, integers[0][1],
                    ", and whole numbers beyond 2^53, which floats round",
                )  # fmt: skip
    if whole:
        return _common_integer(integers, name)
    common = max((kind for _, kind in floats), key=_EXACT.__getitem__)
    for kind in kinds:
        common = _unified(common, kind)
    for file, kind in integers:
        low, high = _range(file, name, kind)
        largest = max(-low, high)
        if largest > 2 ** _EXACT[pa.float64()]:
            raise _mixed(
                floats[0][0].path, name, floats[0][1], file.path, kind, f", up to {largest}, which floats would round"
            )
        if largest > 2 ** _EXACT[common]:
            common = pa.float64()
    return common


def _common_integer(files: Sequence[tuple[Columns, pa.DataType]], name: str) -> pa.DataType:
    kinds = {kind for _, kind in files}
    common = files[0][1]
    for kind in kinds:
        common = _unified(common, kind)
    if pa.uint64() not in kinds or common == pa.uint64():
        return common
    # pyarrow takes uint64 and int64 as int64.
    ranges = [_range(file, name, kind) for file, kind in files]
    if max(high for _, high in ranges) < 2**63:
        return pa.int64()
    if min(low for low, _ in ranges) >= 0:
        return pa.uint64()
    (file, kind), *_ = [one for one in files if one[1] == pa.uint64()]
    (other, before), *_ = [one for one in files if one[1] != pa.uint64()]
    raise _mixed(file.path, name, kind, other.path, before, "; no integer type holds both, text does")


def _common_time(files: Sequence[tuple[Columns, pa.DataType]], kinds: list[pa.DataType], name: str) -> pa.DataType:
    timed = pa.types.is_timestamp(kinds[0])
    zones = {kind.tz for kind in kinds} if timed else {None}
    if None in zones and len(zones) > 1:
        aware, bare = (next(one for one in files if (one[1].tz is None) == naive) for naive in (False, True))
        raise _mixed(aware[0].path, name, aware[1], bare[0].path, bare[1], " without a time zone")
    zone = zones.pop() if len(zones) == 1 else "UTC"
    for unit in sorted({kind.unit for kind in kinds}, key=_UNITS.index):
        common = pa.timestamp(unit, zone) if timed else pa.duration(unit)
        if all(_fits(values, common) for file, kind in files if kind.unit != unit for values in _read(file, name)):
            return common
    file, kind = max(files, key=lambda one: _UNITS.index(one[1].unit))
    other, finest = min(files, key=lambda one: _UNITS.index(one[1].unit))
    raise _mixed(file.path, name, kind, other.path, finest, "; no one unit holds the values of both")


def _read(file: Columns, name: str) -> Iterator[pa.ChunkedArray]:
    yield from file.read(name) if file.read is not None else ()


def _range(file: Columns, name: str, kind: pa.DataType) -> tuple[int, int]:
    """The smallest and the largest integer of a column."""
    if kind.bit_width <= 16:
        return (-(2 ** (kind.bit_width - 1)), 2**kind.bit_width)
    ends = [pc.min_max(values).as_py() for values in _read(file, name)]
    return (
        min((one["min"] for one in ends if one["min"] is not None), default=0),
        max((one["max"] for one in ends if one["max"] is not None), default=0),
    )


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if column.type == kind:
        return column
    if pa.types.is_floating(column.type) and pa.types.is_integer(kind):
        column = column.cast(pa.float64())
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        if pc.any(pc.greater_equal(pc.abs(column), _ROUNDED), min_count=0).as_py():
            raise pa.ArrowInvalid("beyond 2^53, where floats round")
    return column.cast(kind)


def _fits(column: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        _cast(column, kind)
    except pa.ArrowException:
        return False
    return True


def _shown(value: pa.Scalar) -> str:
    try:
        text = str(value.as_py())
    except (ValueError, OverflowError):  # a time that Python cannot tell
        text = str(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:59]}…"
