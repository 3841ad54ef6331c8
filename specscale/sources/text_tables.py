"""CSV and JSON lines as streams of tables, with types that hold for the whole file.

Readers that infer types from the first block fail, or change their minds, in a later one. Here the whole file is read
once to settle types and to count rows, and a second time with these types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.json as pc_json

from specscale.errors import InputError
from specscale.places.documents import parse_json
from specscale.places.files import located
from specscale.places.sequential import open_binary
from specscale.sources.paths import suffix
from specscale.stopping import check_signals
from specscale.tables.parquet import check_distinct
from specscale.tables.types import is_text
from specscale.wording import one_line

_BLOCK_BYTES = 8 << 20
_LONGEST = 32 << 20  # bytes of a line of JSON
_DEEP = 60  # brackets in one line
# A column holds numbers only if nothing is lost by it: "007", "+1" and 20-digit ids stay text.
_INTEGER = r"^-?(0|[1-9][0-9]{0,17})$"
_LONG = re.compile(rb"[\[\s:,]-?[0-9]{16,}[\]},\s]")  # an integer that a float may not hold
_NUMBER = r"^-?((0|[1-9][0-9]{0,14})(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?$"


class CsvTable:
    """A CSV file with a header, or one separated by tabs (``.tsv``).

    Parameters
    ----------
    path : the file

    Raises
    ------
    InputError
        When the file is not a CSV file with distinct column names.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with self._open(pc_csv.ConvertOptions()) as reader:
                names = reader.schema.names
            check_distinct(path, names)
            self.n, self.schema = self._settle(names)
        except pa.ArrowException as error:
            raise InputError(f"{path}: not a readable CSV file ({one_line(error)})") from error

    def tables(self, schema: pa.Schema, start: int = 0) -> Iterator[pa.Table]:
        """Yield rows in order.

        Parameters
        ----------
        schema : the columns wanted; columns that are wanted as text come as they are written, others in the file's
            types
        start : the first row

        Yields
        ------
        pyarrow.Table
            Non-empty tables.

        Raises
        ------
        InputError
            When the file is damaged, or has changed.
        """
        options = pc_csv.ConvertOptions(
            column_types={field.name: _read_as(self.schema, field) for field in schema}, include_columns=schema.names
        )
        skip = start
        try:
            with self._open(options) as reader:
                for batch in reader:
                    rest = batch.slice(skip)
                    skip = max(0, skip - batch.num_rows)
                    if rest.num_rows:
                        yield pa.Table.from_batches([rest])
        except pa.ArrowException as error:
            raise InputError(f"{self.path}: not a readable CSV file ({one_line(error)})") from error

    @contextmanager
    def _open(self, convert: pc_csv.ConvertOptions) -> Iterator[pc_csv.CSVStreamingReader]:
        options = (
            pc_csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
            pc_csv.ParseOptions(delimiter="\t" if suffix(self.path) == ".tsv" else ",", newlines_in_values=True),
            convert,
        )
        place = located(self.path)
        # A local file is read without Python, which may be ending when what was read ahead of an error comes.
        opened = nullcontext(pa.OSFile(str(place))) if isinstance(place, Path) else open_binary(self.path)
        with opened as file, pc_csv.open_csv(file, *options) as reader:
            yield reader

    def _settle(self, names: list[str]) -> tuple[int, pa.Schema]:
        nulls = pa.array(pc_csv.ConvertOptions().null_values)
        patterns = {name: [(_INTEGER, pa.int64()), (_NUMBER, pa.float64())] for name in names}
        filled = dict.fromkeys(names, False)
        n = 0
        with self._open(pc_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))) as reader:
            for batch in reader:
                n += batch.num_rows
                for name in names:
                    texts = batch.column(name)
                    texts = texts.filter(pc.invert(pc.is_in(texts, nulls)))
                    filled[name] |= len(texts) > 0
                    patterns[name] = [
                        (pattern, kind)
                        for pattern, kind in patterns[name]
                        if pc.all(pc.match_substring_regex(texts, pattern), min_count=0).as_py()
                    ]
        kinds = [
            (patterns[name][0][1] if patterns[name] else pa.string()) if filled[name] else pa.null() for name in names
        ]
        return n, pa.schema(list(zip(names, kinds, strict=True)))


class JsonLines:
    """A file of JSON objects, one a line.

    Parameters
    ----------
    path : the file

    Raises
    ------
    InputError
        When a line is not an object, or a field holds values of several kinds.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.n = 0
        self.schema = pa.schema([])
        long = False
        for line, block in self._blocks():
            table = self._parse(line, block, None)
            schema = pa.schema([pa.field(field.name, _as_written(field.type)) for field in table.schema])
            long |= _LONG.search(block) is not None
            try:
                self.schema = pa.unify_schemas([self.schema, schema], promote_options="permissive")
            except pa.ArrowException as error:
                raise InputError(
                    f"{path}, after line {line}: a field holds another kind of value than before ({one_line(error)})"
                ) from error
            self.n += table.num_rows
        if long:
            self._keep_integers()

    def tables(self, schema: pa.Schema, start: int = 0) -> Iterator[pa.Table]:
        """Yield rows in order.

        Parameters
        ----------
        schema : the columns wanted, which come in the file's types
        start : the first row

        Yields
        ------
        pyarrow.Table
            Non-empty tables; a field that a line does not have is null.

        Raises
        ------
        InputError
            When the file is damaged, or has changed.
        """
        schema = pa.schema([(field.name, _read_as(self.schema, field)) for field in schema])
        yield from self._read(schema, start)

    def _read(self, schema: pa.Schema, start: int) -> Iterator[pa.Table]:
        skip = start
        for line, block in self._blocks():
            table = self._parse(line, block, schema)
            rest = table.slice(skip)
            skip = max(0, skip - table.num_rows)
            if rest.num_rows:
                yield rest.select(schema.names)

    def _keep_integers(self) -> None:
        """Take columns of integers beyond int64 as uint64; refuse integers that floats would round."""
        checked: set[str] = set()
        for line, block in self._blocks():
            lines = enumerate(block.split(b"\n"), line) if _LONG.search(block) is not None else ()
            for number, text in lines:
                if _LONG.search(text) is None:
                    continue
                for name, value in json.loads(text).items():
                    lost = _lost(value, self.schema.field(name).type)
                    if lost is None or name in checked:
                        continue
                    checked.add(name)
                    whole = pa.schema([(name, pa.uint64())])
                    if not isinstance(value, int) or not self._reads(whole):
                        raise InputError(
                            f"{self.path}, line {number}: column {name} holds {lost}, which no 64-bit number holds "
                            "beside the other values of this column; write it as text, in quotes"
                        )
                    self.schema = self.schema.set(self.schema.get_field_index(name), whole.field(0))

    def _reads(self, schema: pa.Schema) -> bool:
        try:
            for _ in self._read(schema, 0):
                pass
        except InputError:
            return False
        return True

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        line = 0
        with open_binary(self.path) as opened:
            # A remote file reads lines of any length alone.
            file = BufferedReader(cast(RawIOBase, opened), _BLOCK_BYTES)
            while block := file.read(_BLOCK_BYTES):
                check_signals()
                block += file.readline(_LONGEST)
                if len(block) >= _LONGEST:
                    raise InputError(
                        f"{self.path}, after line {line}: a line of more than {_LONGEST >> 20} MB; expected one JSON "
                        "object a line"
                    )
                self._check_nesting(line, block)
                if block.strip():
                    yield line, block
                line += block.count(b"\n")

    def _check_nesting(self, line: int, block: bytes) -> None:
        """Refuse what lies so deep that Arrow's reader would end the process."""
        for number, text in enumerate(block.split(b"\n"), line):
            if text.count(b"[") + text.count(b"{") > _DEEP:
                try:
                    parse_json(text)
                except ValueError as error:
                    raise InputError(
                        f"{self.path}, after line {number}: expected one JSON object a line ({error})"
                    ) from None

    def _parse(self, line: int, block: bytes, schema: pa.Schema | None) -> pa.Table:
        try:
            return pc_json.read_json(
                BytesIO(block),
                pc_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
                pc_json.ParseOptions(
                    explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "ignore"
                ),
            )
        except pa.ArrowException as error:
            raise InputError(
                f"{self.path}, after line {line}: expected one JSON object a line ({one_line(error)})"
            ) from error


def _as_written(kind: pa.DataType) -> pa.DataType:
    # Text that looks like a date in one block need not in the next; text stays text.
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _as_written(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_as_written(kind.value_type))
    return pa.string() if pa.types.is_timestamp(kind) else kind


def _read_as(own: pa.Schema, wanted: pa.Field) -> pa.DataType:
    """The type to read a column in, so that nothing is lost before it is converted."""
    kind = own.field(wanted.name).type
    return wanted.type if pa.types.is_null(kind) or is_text(wanted.type) else kind


def _lost(value: Any, kind: pa.DataType) -> int | None:
    """An integer in a JSON value that its type rounds, or None."""
    if isinstance(value, dict):
        found = (_lost(value[field.name], field.type) for field in kind if field.name in value)
        return next((one for one in found if one is not None), None)
    if isinstance(value, list):
        return next((one for each in value if (one := _lost(each, kind.value_type)) is not None), None)
    exact = not isinstance(value, int) or not pa.types.is_floating(kind) or abs(value) <= 2**53
    return None if exact else value
