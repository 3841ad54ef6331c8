"""Tables of the samples' own columns, read a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from specscale.errors import InputError

_PAGE_BUFFER = 64 << 10  # one for every column, and there may be thousands


class RowCursor:
    """
    Takes any number of rows at a time from a stream of tables.

    Parameters
    ----------
    tables
        Tables of one schema, in row order.
    """

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self._rest: pa.Table | None = None

    def take(self, count: int) -> pa.Table:
        """
        Return the next rows.

        Parameters
        ----------
        count
            How many; at least 1.

        Returns
        -------
        pyarrow.Table
            The rows, fewer than `count` only where the stream ends.
        """
        pieces: list[pa.Table] = []
        missing = count
        while missing > 0:
            if self._rest is None or self._rest.num_rows == 0:
                self._rest = next(self._tables, None)
                if self._rest is None:
                    break
            pieces.append(self._rest.slice(0, missing))
            self._rest = self._rest.slice(pieces[-1].num_rows)
            missing -= pieces[-1].num_rows
        return pa.concat_tables(pieces)


def open_parquet(path: str) -> pq.ParquetFile:
    """
    Open a Parquet file for streaming.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    pyarrow.parquet.ParquetFile
        Set up to read page by page, so that one large row group does not fill the memory.

    Raises
    ------
    InputError
        The file is not a Parquet file.
    """
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=_PAGE_BUFFER)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({one_line(error)})") from error


def parquet_rows(path: str, columns: Sequence[str], start: int, step: int) -> Iterator[pa.RecordBatch]:
    """
    Read rows of a Parquet file in order.

    Parameters
    ----------
    path
        The file.
    columns
        The columns to read; at least one.
    start
        The first row.
    step
        At most so many rows at a time.

    Yields
    ------
    pyarrow.RecordBatch
        Non-empty batches.

    Raises
    ------
    InputError
        The file is damaged.
    """
    with open_parquet(path) as file:
        skip, first = start, 0
        while first < file.num_row_groups and skip >= file.metadata.row_group(first).num_rows:
            skip -= file.metadata.row_group(first).num_rows
            first += 1
        groups = list(range(first, file.num_row_groups))
        try:
            # Threads would decode every column ahead and multiply the memory.
            for batch in file.iter_batches(step, row_groups=groups, columns=list(columns), use_threads=False):
                rest = batch.slice(skip)
                skip = max(0, skip - batch.num_rows)
                if rest.num_rows:
                    yield rest
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: the Parquet file is damaged ({one_line(error)})") from error


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """
    Return a schema without dictionary types and without the metadata of the program that wrote it.

    Parameters
    ----------
    schema
        Any schema.

    Returns
    -------
    pyarrow.Schema
        The same columns; dictionaries differ from file to file, their values do not.
    """
    return pa.schema(
        [
            pa.field(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)
            for field in schema
        ]
    )


def common_schema(schemas: Sequence[tuple[str, pa.Schema]]) -> pa.Schema:
    """
    Find the one schema that several files share.

    Parameters
    ----------
    schemas
        For each file its path and its schema; at least one.

    Returns
    -------
    pyarrow.Schema
        The first file's columns, in its order, with types that hold the values of all files.

    Raises
    ------
    InputError
        A file has other columns than the first, or a type that does not go with the others'.
    """
    first_path, common = schemas[0]
    for path, schema in schemas[1:]:
        different = set(common.names) ^ set(schema.names)
        if different:
            raise InputError(
                f"{path}: its columns differ from those of {first_path} in {', '.join(sorted(different))};"
                " all files need the same columns"
            )
        try:
            common = pa.unify_schemas([common, schema], promote_options="permissive")
        except pa.ArrowException as error:
            raise InputError(
                f"{path}: a column has another type than in the files before it ({one_line(error)})"
            ) from error
    return common


def check_distinct(path: str, names: Sequence[str]) -> None:
    """
    Refuse columns that share a name.

    Parameters
    ----------
    path
        The file, for the message.
    names
        Its columns.

    Raises
    ------
    InputError
        A name occurs twice.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: several columns are named {', '.join(repeated)}; rename them")


def one_line(error: Exception) -> str:
    """
    Return the first line of an error's message.

    Parameters
    ----------
    error
        Any exception.

    Returns
    -------
    str
        One line, without the full stop.
    """
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
