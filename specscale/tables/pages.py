"""Pages of Parquet files: how large each claims to be, which nobody is told before it is unpacked.

A page is unpacked whole, and a few kilobytes can be two gigabytes of zeros. Writers make pages of about a megabyte.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import IO, Any

import pyarrow.parquet as pq

__all__ = ["check_pages"]

_MOST_PAGE = 256 << 20  # bytes of a page that is packed more than so often
_MOST_RATIO = 64
_HEADER = 1 << 16  # more than the header of any page, which may hold the smallest and the largest value
# How often a codec packs a byte at most; what is not here is taken for what packs best.
_RATIOS = MappingProxyType({"UNCOMPRESSED": 1, "SNAPPY": 24, "LZ4": 256, "LZ4_RAW": 256, "GZIP": 1100, "ZSTD": 33_000})
_BEST = 1_000_000
# Types of Thrift's compact protocol.
_FLAGS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, 12
_DEEPEST = 8


def check_pages(file: IO[bytes], metadata: pq.FileMetaData, columns: Sequence[str]) -> None:
    """Refuse pages that would fill the memory.

    Parameters
    ----------
    file : a Parquet file
    metadata : its footer
    columns : the columns that are going to be read

    Raises
    ------
    OSError
        When a page unpacks to far more than pages are, or its header is damaged.
    """
    wanted = set(columns)
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for place in range(metadata.num_columns):
            column = row_group.column(place)
            packed = column.total_compressed_size
            is_wanted = column.path_in_schema in wanted or column.path_in_schema.partition(".")[0] in wanted
            if is_wanted and packed * _RATIOS.get(column.compression, _BEST) > _MOST_PAGE:
                _check_chunk(file, column)


def _check_chunk(file: IO[bytes], column: Any) -> None:
    begin = column.data_page_offset
    if column.has_dictionary_page and 0 < (column.dictionary_page_offset or 0) < begin:
        begin = column.dictionary_page_offset
    end = begin + column.total_compressed_size
    while begin < end:
        file.seek(begin)
        header = _Header(file.read(min(_HEADER, end - begin)))
        unpacked, packed, length = header.sizes()
        if packed < 0 or (unpacked > _MOST_PAGE and unpacked > _MOST_RATIO * packed):
            raise OSError(f"a page of {packed:,} bytes would become one of {unpacked:,}")
        begin += length + packed


class _Header:
    """The header of a page, in Thrift's compact protocol."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def sizes(self) -> tuple[int, int, int]:
        """Bytes of the page unpacked and packed, and of the header."""
        try:
            fields = self._struct(0)
            return fields[2], fields[3], self._at
        except (IndexError, KeyError):
            raise OSError("the header of a page is damaged") from None

    def _struct(self, depth: int) -> dict[int, int]:
        if depth > _DEEPEST:
            raise IndexError
        fields: dict[int, int] = {}
        field = 0
        while kind := self._byte():
            field = field + (kind >> 4) if kind >> 4 else self._number()
            fields[field] = self._value(kind & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> int:
        if kind in _INTEGERS:
            return self._number()
        if kind == _STRUCT:
            self._struct(depth + 1)
        elif kind == _BINARY:
            length = self._varint()
            self._at += length
        elif kind in (_BYTE, _DOUBLE):
            self._at += 1 if kind == _BYTE else 8
        elif kind not in _FLAGS:  # there are no lists
            raise IndexError
        return 0

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift

    def _byte(self) -> int:
        self._at += 1
        return self._content[self._at - 1]
