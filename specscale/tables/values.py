"""Values of the samples' columns in Python and in pandas, each as the column has it.

Arrow's own conversions lose some: integers with nulls become floats in pandas, times their nanoseconds in Python, and
what Python's dates cannot hold is an error. What has no type to go to becomes text here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["frame", "numbers", "python_values", "records", "texts"]

_UNCONVERTIBLE = (pa.ArrowException, OverflowError, ValueError, NotImplementedError, KeyError)


def records(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a table, each as its values by column."""
    columns = [python_values(column) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def python_values(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    """Return the values of a column as Python has them, None for null.

    Numbers of 16 and 32 bits are the shortest that are read back as the same, so that 0.1 is 0.1; points and spans of
    time that Python's types do not hold are text.
    """
    pieces = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return [value for piece in pieces for value in _values(piece)]


def _values(array: pa.Array) -> list[Any]:
    kind, array = array.type, _plain(array)
    if isinstance(kind, pa.BaseExtensionType):
        return [_value(scalar) for scalar in array]
    kind = array.type
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        there, numbers = array.is_valid().to_pylist(), array.to_numpy(zero_copy_only=False)
        return [float(str(one)) if valid else None for one, valid in zip(numbers, there, strict=True)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return [None if scalar.values is None else _values(scalar.values) for scalar in array]
    if pa.types.is_struct(kind):
        fields = [_values(one) for one in array.flatten()]
        names = [field.name for field in kind]
        return [
            dict(zip(names, [one[row] for one in fields], strict=True)) if valid else None
            for row, valid in enumerate(array.is_valid().to_pylist())
        ]
    if pa.types.is_map(kind):
        return [
            None if scalar.values is None else [[one["key"], one["value"]] for one in _values(scalar.values)]
            for scalar in array
        ]
    try:
        if not pa.types.is_time64(kind):
            return list(array.to_pylist())
    except _UNCONVERTIBLE:
        pass
    return [_value(scalar) for scalar in array]


def _plain(array: pa.Array) -> pa.Array:
    """The values themselves of an array that repeats them by reference."""
    if pa.types.is_dictionary(array.type):
        return array.dictionary_decode()
    if pa.types.is_run_end_encoded(array.type):
        return pc.run_end_decode(array)
    return array


def _value(scalar: pa.Scalar) -> Any:
    if not scalar.is_valid:
        return None
    kind = scalar.type
    if pa.types.is_time64(kind) and scalar.value % 1000 and kind.unit == "ns":
        return str(scalar.cast(pa.string()))  # Python's times end at microseconds
    try:
        return scalar.as_py()
    except _UNCONVERTIBLE:
        pass
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return scalar.as_buffer().to_pybytes().decode(errors="backslashreplace")
    if pa.types.is_timestamp(kind):
        whole, _, part = str(np.datetime64(scalar.value, kind.unit)).replace("T", " ").partition(".")
        text = f"{whole}.{part}" if part.strip("0") else whole
        return text if kind.tz is None else f"{text}+00:00"
    if pa.types.is_date(kind):
        return str(np.datetime64(scalar.value, "D" if pa.types.is_date32(kind) else "ms").astype("datetime64[D]"))
    if pa.types.is_duration(kind):
        return str(np.timedelta64(scalar.value, kind.unit))
    return str(scalar)


def frame(table: pa.Table) -> pd.DataFrame:
    """Return a table for pandas, in types that keep its values.

    Integers and truths with nulls are of the nullable types ``Int64``, ``UInt8``, ``boolean``, … (without, of
    NumPy's); decimals, dates, times of day and nested values are objects, and so are points of time that pandas cannot
    hold; dictionaries are their values.
    """
    import pandas as pd

    return pd.DataFrame({name: _series(column) for name, column in zip(table.column_names, table.columns, strict=True)})


def _series(column: pa.ChunkedArray) -> pd.Series[Any]:
    import pandas as pd

    column = pa.chunked_array([_plain(one) for one in column.chunks], _plain(pa.nulls(0, column.type)).type)
    kind = column.type
    if column.null_count and (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        dtype: Any = pd.BooleanDtype() if pa.types.is_boolean(kind) else _nullable(kind)
        return pd.Series(dtype.__from_arrow__(column))
    if _keeps_in_pandas(column):
        try:
            column.validate(full=True)  # text that is not UTF-8 would be an error when it is looked at
            kept: pd.Series[Any] = column.to_pandas()
            return kept
        except _UNCONVERTIBLE:
            pass
    values = np.empty(len(column), dtype=object)
    for row, value in enumerate(python_values(column)):
        values[row] = value  # one by one, as lists of one length would become an array
    return pd.Series(values, dtype=object)


def _nullable(kind: pa.DataType) -> Any:
    import pandas as pd

    return pd.api.types.pandas_dtype(("UInt" if pa.types.is_unsigned_integer(kind) else "Int") + str(kind.bit_width))


def _keeps_in_pandas(column: pa.ChunkedArray) -> bool:
    """Whether pandas gets the values of a column as they are, and lists of numbers as arrays of them."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.types.is_primitive(kind.value_type) and not any(one.flatten().null_count for one in column.chunks)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return not any(isinstance(one, str) for one in python_values(column))  # pandas takes them and cannot show them
    return not pa.types.is_nested(kind) and not isinstance(kind, pa.BaseExtensionType)


def numbers(values: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return numbers as Arrow has them.

    Without pandas, which ``pa.array`` and ``pa.scalar`` import to ask whether what they are given is of it.

    Parameters
    ----------
    values : of one dimension
    missing : which are nulls
    """
    valid = None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))
    buffers = [valid, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def texts(values: Sequence[str]) -> pa.Array:
    """Return a few texts as Arrow has them, without pandas as well."""
    parts = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, parts)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(parts), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(parts))])
