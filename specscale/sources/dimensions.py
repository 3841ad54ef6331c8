"""Which of a table's columns are the dimensions of a vector."""

from __future__ import annotations

import shlex
from typing import NamedTuple

import pyarrow as pa

from specscale.errors import InputError
from specscale.sources.choosing import NUMBERED, describe, expand_names, listed
from specscale.tables.types import plain_type

__all__ = ["element_type", "find_vector", "name_vector", "widest_run"]

_NUMBERS = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
_NAMED = 12
_TEXT = "numbers written as text become lists with [json.loads(one) for one in column.to_pylist()]"
_BYTES = "float32 numbers as bytes become lists with [numpy.frombuffer(one, '<f4') for one in column.to_pylist()]"
_CALLED = ("embedding", "embeddings", "vector", "vectors", "emb")  # what people call a column of vectors
_UNPACKED = {pa.string(): _TEXT, pa.large_string(): _TEXT, pa.binary(): _BYTES, pa.large_binary(): _BYTES}


class _Run(NamedTuple):
    """Columns of floats whose names differ in one number, by that number."""

    names: list[str]
    numbers: list[int]

    @property
    def whole(self) -> bool:
        return self.numbers == list(range(self.numbers[0], self.numbers[0] + len(self.numbers)))

    @property
    def fault(self) -> str:
        """What keeps the numbers from running."""
        before, after = next(
            (index, index + 1) for index, number in enumerate(self.numbers) if self.numbers[index + 1] != number + 1
        )
        if self.numbers[before] == self.numbers[after]:
            return f"{self.names[before]} and {self.names[after]} have one number"
        return f"there is nothing between {self.names[before]} and {self.names[after]}"


def element_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the type of the numbers of a column of vectors.

    Parameters
    ----------
    kind : any type

    Returns
    -------
    pyarrow.DataType or None
        None where the column holds no lists, or tensors of more than one dimension.
    """
    if isinstance(kind, pa.FixedShapeTensorType) and len([size for size in kind.shape[:-1] if size != 1]):
        return None
    plain = plain_type(kind)
    types = pa.types
    is_list = types.is_list(plain) or types.is_large_list(plain) or types.is_fixed_size_list(plain)
    return plain.value_type if is_list else None


def name_vector(path: str, schema: pa.Schema, vector: str) -> list[str]:
    """Find the columns that a user means.

    Parameters
    ----------
    path : the file, for messages
    schema : its columns
    vector : the name of a list column; or names of columns of floats, globs (in natural order) and ranges of numbered
        names (``x0..x31``), with commas between them

    Returns
    -------
    list of str
        One list column, or the columns of the dimensions, in order.

    Raises
    ------
    InputError
        When there is no such column, a column is named twice or does not hold floating-point numbers.
    """
    names, unknown = expand_names(vector, schema.names)
    if unknown or not names:
        raise InputError(f"{path}: no column {', '.join(unknown) or vector}; {_candidates(schema)}")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: --vector {vector} names {listed(repeated)} twice; name each dimension once")
    if len(names) > 1 and (whole := [name for name in names if _is_vector(schema.field(name).type)]):
        raise InputError(
            f"{path}: --vector {vector} names {listed(whole)}, which hold whole vectors; choose one column"
        )
    for name in names:
        kind = schema.field(name).type
        if pa.types.is_floating(kind) or _is_vector(kind):
            continue
        if conversion := _conversion(name, kind):
            raise InputError(f"{path}: column {name} holds {conversion}")
        what = f"column {name} holds {kind}, not vectors of floating-point numbers"
        if pa.types.is_integer(kind):
            raise InputError(f"{path}: {what}; convert it to float32 where the file is written, or leave it out")
        hint = _UNPACKED.get(plain_type(kind))
        raise InputError(f"{path}: {what}; {f'{hint}; or ' if hint else ''}{_candidates(schema)}")
    return names


def find_vector(path: str, schema: pa.Schema) -> list[str]:
    """Find the columns of the vectors where the user named none.

    Parameters
    ----------
    path : the file, for messages
    schema : its columns

    Returns
    -------
    list of str
        The only list of floats. Without any list, the columns of floats whose names differ in a number that runs
        without a gap; in its order.

    Raises
    ------
    InputError
        When there are no such columns, or several that it could be.
    """
    lists = [field.name for field in schema if _is_vector(field.type)]
    if (lists or _runs(schema)) and not any(name.lower() in _CALLED for name in lists):
        # Not what is beside them: boxes, scores.
        for field in schema:
            if field.name.lower() in _CALLED and (held := _held(field)):
                raise InputError(
                    f"{path}: column {field.name} is called as vectors are and holds {held}; {_candidates(schema)}"
                )
    if len(lists) == 1:
        return lists
    if lists:
        raise InputError(f"{path}: several columns could hold the vectors; {_candidates(schema)}")
    runs = sorted(_runs(schema), key=lambda run: -len(run.names))
    whole = [run for run in runs if run.whole]
    # Not the small run beside a larger one that lacks a number: that one is more likely what was meant.
    if len(whole) == 1 and whole[0] is runs[0]:
        _check_floats(path, schema, whole[0])
        return whole[0].names
    if not runs:
        raise InputError(f"{path}: no column holds vectors; {_refusal(schema)}")
    if len(whole) > 1 and whole[0] is runs[0]:
        found = " and ".join(describe(run.names) for run in whole[:_NAMED])
        raise InputError(f"{path}: several patterns of names could be the vectors: {found}; {_candidates(schema)}")
    _check_floats(path, schema, runs[0])
    raise InputError(
        f"{path}: {describe(runs[0].names)} could be the vectors, but {runs[0].fault}; {_candidates(schema)}"
    )


def widest_run(schema: pa.Schema) -> list[str]:
    """Return the longest run of numbered columns of floats.

    Parameters
    ----------
    schema : columns

    Returns
    -------
    list of str
        Empty where there are none.
    """
    return max((run.names for run in _runs(schema) if run.whole), key=len, default=[])


def _runs(schema: pa.Schema) -> list[_Run]:
    groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for field in schema:
        match = NUMBERED.fullmatch(field.name) if pa.types.is_floating(field.type) else None
        if match is not None:
            groups.setdefault((match[1], match[3]), []).append((int(match[2]), field.name))
    ordered = [sorted(group) for group in groups.values() if len(group) > 1]
    return [_Run([name for _, name in group], [number for number, _ in group]) for group in ordered]


def _check_floats(path: str, schema: pa.Schema, run: _Run) -> None:
    """Refuse a run that a column of another type, such as one of whole numbers, continues or interrupts."""
    first = NUMBERED.fullmatch(run.names[0])
    assert first is not None
    missing = {*range(run.numbers[0] - 1, run.numbers[-1] + 2)} - {*run.numbers}
    for field in schema:
        match = NUMBERED.fullmatch(field.name) if any(test(field.type) for test in _NUMBERS) else None
        if match is not None and match.group(1, 3) == first.group(1, 3) and int(match[2]) in missing:
            raise InputError(
                f"{path}: {describe(run.names)} could be the vectors, but column {field.name} belongs to them by its "
                f"name and holds {field.type}: convert it to float32, or leave it out with --vector "
                f"{shlex.quote(_spelled(run))}"
            )


def _spelled(run: _Run) -> str:
    """The names of a run as --vector takes them."""
    pieces: list[list[str]] = []
    for index, (name, number) in enumerate(zip(run.names, run.numbers, strict=True)):
        if index and number == run.numbers[index - 1] + 1:
            pieces[-1].append(name)
        else:
            pieces.append([name])
    return ",".join(f"{piece[0]}..{piece[-1]}" if len(piece) > 2 else ",".join(piece) for piece in pieces)


def _refusal(schema: pa.Schema) -> str:
    # Whole numbers last: lists of them are often tokens or tags.
    for field in sorted(schema, key=lambda field: pa.types.is_integer(element_type(field.type) or field.type)):
        if conversion := _conversion(field.name, field.type):
            return f"{field.name} ({field.type}) holds {conversion}"
    several = len([field for field in schema if pa.types.is_floating(field.type)]) > 1
    reason = "columns of floats are dimensions where numbers in their names count them; " if several else ""
    return reason + _candidates(schema)


def _held(field: pa.Field) -> str | None:
    """What a column holds that is almost one of vectors, and how to make vectors of it."""
    hint = _UNPACKED.get(plain_type(field.type))
    return _conversion(field.name, field.type) or (f"{field.type}; {hint}" if hint else None)


def _conversion(name: str, kind: pa.DataType) -> str | None:
    """What a column that is almost one of vectors holds, and how to make vectors of it; None for other columns."""
    element = element_type(kind)
    if isinstance(kind, pa.FixedShapeTensorType) and element is None:
        return f"tensors of shape {tuple(kind.shape)}, not vectors: write {name} as one list of floats a row"
    if element is not None and _is_vector(element):
        return f"matrices, not vectors: write {name} as one list of floats a row, of its means or flattened"
    if element is None or not pa.types.is_integer(element):
        return None
    advice = (
        f"lists of integers ({element}), as of a quantised embedding: convert {name} to float32 where the file is "
        "written, as with column.cast(pyarrow.list_(pyarrow.float32()))"
    )
    unpacked = {
        pa.uint8(): "numpy.unpackbits(codes, axis=1)",
        pa.int8(): "numpy.unpackbits((codes.astype('i2') + 128).astype('u1'), axis=1)",
    }
    return f"{advice}; where each byte packs eight bits, {unpacked[element]} first" if element in unpacked else advice


def _candidates(schema: pa.Schema) -> str:
    lists = [field.name for field in schema if _is_vector(field.type)]
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    if not lists and not floats:
        listing = listed([f"{field.name} ({field.type})" for field in schema])
        return f"there are no columns of floats or lists of floats, only {listing}"
    offer = ([f"lists of floats: {listed(lists)}"] if lists else []) + (
        [f"columns of floats: {listed(floats)}"] if floats else []
    )
    return (
        f"choose with --vector among {'; '.join(offer)}; as in --vector {shlex.quote(_example(schema, lists, floats))}"
    )


def _example(schema: pa.Schema, lists: list[str], floats: list[str]) -> str:
    if lists:
        return lists[0]
    runs = sorted(_runs(schema), key=lambda run: -len(run.names))
    if runs:
        return _spelled(runs[0])
    return ",".join(floats[:_NAMED])


def _is_vector(kind: pa.DataType) -> bool:
    element = element_type(kind)
    return element is not None and bool(pa.types.is_floating(element))
