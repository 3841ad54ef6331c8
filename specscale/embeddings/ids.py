"""Ids must be there and must be distinct."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from specscale.errors import InputError
from specscale.tables.types import is_text

_KEYS = ("specscale ids: 1", "specscale ids: 2")  # sixteen characters each, as SipHash takes them


def check_ids(
    column: str,
    n: int,
    arrays: Callable[[], Iterable[pa.ChunkedArray]],
    locate: Callable[[int], str],
) -> None:
    """Refuse ids that are missing or repeated.

    Eight bytes a row are held: hashes of the ids. Only if two hashes are equal are the ids read again.

    Parameters
    ----------
    column : name of the column, for messages
    n : rows
    arrays : begins to read the column from its first row
    locate : says where a row comes from

    Raises
    ------
    InputError
        When an id is null, two rows have the same id, or the column holds neither text nor integers.
    """
    hashes = np.empty(n, np.uint64)
    row = 0
    for array in arrays():
        if not (pa.types.is_integer(array.type) or is_text(array.type) or pa.types.is_null(array.type)):
            raise InputError(
                f"{locate(row)}, column {column}: ids are text or integers, not {array.type}; {_conversion(array)}"
            )
        if array.null_count:
            first = row + pc.index(pc.is_null(array), True).as_py()
            raise InputError(f"{locate(first)}, column {column}: the id is missing; every row needs one")
        hashes[row : row + len(array)] = _hash(array)
        row += len(array)
    ordered = np.sort(hashes)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if repeated.size:
        _name_duplicate(column, hashes, repeated, arrays(), locate)


def _conversion(array: pa.ChunkedArray) -> str:
    """What makes ids of a column that holds none."""
    kind, types = array.type, pa.types
    if types.is_floating(kind):
        present = array.drop_null()
        if not pc.all(pc.equal(pc.floor(present), present), min_count=0).as_py():
            return "these numbers have fractions, take another column or convert them to text"
        return (
            "a missing value makes floats of integers in pandas, and floats round those beyond 2^53: read the ids anew "
            "as text or 'Int64'; if all are below, convert the column with df[column].astype('Int64') in pandas or "
            "column.cast('int64') in pyarrow"
        )
    if types.is_fixed_size_binary(kind) and kind.byte_width == 16:
        return (
            "convert the bytes to the text of UUIDs, as with [str(uuid.UUID(bytes=one)) for one in column.to_pylist()]"
        )
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return (
            "convert the bytes to text, with column.cast('string') where they are characters, else as with "
            "[one.hex() for one in column.to_pylist()]"
        )
    if types.is_boolean(kind):
        return "two values do not tell rows apart, take another column or convert several to one text"
    if types.is_nested(kind):
        return "convert each value to one text, as with [json.dumps(one) for one in column.to_pylist()]"
    return "convert the column to text, as with column.cast('string')"


def _hash(array: pa.ChunkedArray) -> NDArray[np.uint64]:
    if pa.types.is_integer(array.type):
        integers: NDArray[np.uint64] = array.to_numpy().astype(np.uint64)  # distinct already
        return integers
    import pandas as pd

    return pd.util.hash_array(array.to_numpy(), categorize=False)


def _name_duplicate(
    column: str,
    hashes: NDArray[np.uint64],
    repeated: NDArray[np.uint64],
    arrays: Iterable[pa.ChunkedArray],
    locate: Callable[[int], str],
) -> None:
    # Different ids with the same hash pass: a few among billions.
    seen: dict[object, int] = {}
    row = 0
    for array in arrays:
        for index in np.flatnonzero(np.isin(hashes[row : row + len(array)], repeated)):
            value = array[int(index)].as_py()
            here = row + int(index)
            if value in seen:
                raise InputError(
                    f"column {column}: the id {value!r} is in two rows: {locate(seen[value])} and {locate(here)};"
                    " ids must be distinct"
                )
            seen[value] = here
        row += len(array)


def id_hashes(ids: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hash ids as text, twice.

    Parameters
    ----------
    ids : integers or text, without nulls

    Returns
    -------
    two arrays of uint64
        Independent hashes of each id.
    """
    import pandas as pd

    texts = ids.cast(pa.large_string()).to_numpy(zero_copy_only=False).astype(object)
    return tuple(pd.util.hash_array(texts, categorize=False, hash_key=key) for key in _KEYS)  # type: ignore[return-value]


def as_ids(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values of a column as ids: integers and text as they are, all others as their text.

    Parameters
    ----------
    values : a column; a floating-point one of whole numbers, as tables with missing values have, counts as integers,
        NaN as missing; bytes are text where they are UTF-8, else hexadecimal digits

    Raises
    ------
    InputError
        When the values are not what tells rows apart: truth values, lists, fractions.
    """
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return values
    try:
        if pa.types.is_floating(kind):
            return pc.if_else(pc.is_nan(values), pa.scalar(None, kind), values).cast(pa.int64())
        if not (pa.types.is_boolean(kind) or pa.types.is_null(kind) or pa.types.is_nested(kind)):
            return values.cast(pa.large_string())
    except pa.ArrowException:
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
            digits = [None if one is None else one.hex() for one in values.to_pylist()]
            return pa.chunked_array([pa.array(digits, pa.large_string())])
    raise InputError(f"{kind} values do not tell rows apart")
