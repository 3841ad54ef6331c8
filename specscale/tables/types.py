"""The types that a store keeps columns in: what the values are, not how a file packs them."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["is_text", "is_writable", "plain_array", "plain_schema", "plain_type"]


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that a store keeps a column in: one that says what the values are and not how they are packed.

    Parameters
    ----------
    kind : any type: views, dictionaries, run-end encoded columns, extension types, whether or not inside others

    Returns
    -------
    pyarrow.DataType
        UUIDs and JSON are text, other extension types what they are stored as.
    """
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        if isinstance(kind, pa.UuidType):
            return pa.string()
        return pa.bool_() if isinstance(kind, pa.Bool8Type) else plain_type(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if types.is_struct(kind):
        return pa.struct([_plain_field(field) for field in kind])
    if types.is_map(kind):
        return pa.map_(_plain_field(kind.key_field), _plain_field(kind.item_field), kind.keys_sorted)
    if types.is_fixed_size_list(kind):
        return pa.list_(_plain_field(kind.value_field), kind.list_size)
    if types.is_list(kind) or types.is_list_view(kind):
        return pa.list_(_plain_field(kind.value_field))
    if types.is_large_list(kind) or types.is_large_list_view(kind):
        return pa.large_list(_plain_field(kind.value_field))
    return kind


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema of plain types and without the metadata of the program that wrote it.

    Parameters
    ----------
    schema : any schema

    Returns
    -------
    pyarrow.Schema
        The same columns; dictionaries differ from file to file, their values do not.
    """
    return pa.schema([pa.field(field.name, plain_type(field.type)) for field in schema])


def plain_array(array: pa.Array) -> pa.Array:
    """Bring an array into its plain type.

    Parameters
    ----------
    array : any array

    Returns
    -------
    pyarrow.Array
        The same values.
    """
    kind, types = array.type, pa.types
    target = plain_type(kind)
    if kind == target:
        return array
    if isinstance(kind, pa.BaseExtensionType):
        if isinstance(kind, pa.UuidType):
            ids = array.storage.to_pylist()
            return pa.array([None if one is None else str(uuid.UUID(bytes=one)) for one in ids], target)
        return plain_array(array.storage).cast(target)
    if types.is_run_end_encoded(kind):
        return plain_array(pc.run_end_decode(array))
    if types.is_dictionary(kind):
        # Of the values first: a dictionary of views cannot be taken from.
        return plain_array(array.dictionary).take(array.indices)
    if types.is_struct(kind):
        children = [plain_array(array.field(index)) for index in range(kind.num_fields)]
        return pa.StructArray.from_arrays(children, fields=list(target), mask=array.is_null())
    if types.is_map(kind):
        offsets = _offsets(array)
        return pa.MapArray.from_arrays(offsets, plain_array(array.keys), plain_array(array.items), target)
    if types.is_fixed_size_list(kind):
        size = kind.list_size
        values = plain_array(array.values.slice(array.offset * size, len(array) * size))
        return pa.FixedSizeListArray.from_arrays(values, type=target, mask=array.is_null())
    if types.is_list(kind) or types.is_large_list(kind):
        return type(array).from_arrays(_offsets(array), plain_array(array.values), type=target)
    if types.is_list_view(kind) or types.is_large_list_view(kind):
        # The cast of pyarrow makes arrays with too few offsets; flatten() follows the views and leaves out nulls.
        large = types.is_large_list_view(kind)
        lengths = pc.fill_null(pc.list_value_length(array), 0)
        ends = pc.cumulative_sum(lengths.cast(pa.int64()))
        offsets = pa.concat_arrays([pa.array([0], pa.int64()), ends]).cast(pa.int64() if large else pa.int32())
        offsets = _with_nulls(offsets, array)
        return (pa.LargeListArray if large else pa.ListArray).from_arrays(
            offsets, plain_array(array.flatten()), type=target
        )
    return array.cast(target)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text.

    Parameters
    ----------
    kind : any type

    Returns
    -------
    bool
        True for text of any length.
    """
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_writable(kind: pa.DataType) -> bool:
    """Whether Parquet has such columns.

    Parameters
    ----------
    kind : a plain type

    Returns
    -------
    bool
        False for structs without fields, wherever they are, and for intervals.
    """
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all(is_writable(field.type) for field in kind)
    if pa.types.is_map(kind):
        return is_writable(kind.key_type) and is_writable(kind.item_type)
    return is_writable(kind.value_type) if pa.types.is_nested(kind) else not pa.types.is_interval(kind)


def _plain_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, plain_type(field.type), field.nullable)


def _offsets(array: pa.Array) -> pa.Array:
    return _with_nulls(array.offsets, array)


def _with_nulls(offsets: pa.Array, array: pa.Array) -> pa.Array:
    if not array.null_count:
        return offsets
    present = pa.concat_arrays([array.is_valid(), pa.array([True])])
    return pc.if_else(present, offsets, pa.scalar(None, offsets.type))
