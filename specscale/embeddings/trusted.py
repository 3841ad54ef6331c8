"""What of a Zarr group is believed: its metadata is looked at before zarr makes codecs and arrays from it.

Stores and results may come from anybody, and metadata names code that is run on every chunk. Those that specscale
writes have uncompressed arrays of a few types and nothing else, in all versions; people's own arrays may be packed in
any way but for objects of Python, which run code when they are unpacked.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import zarr
from zarr.abc.store import RangeByteRequest
from zarr.storage import LocalStore, WrapperStore

from specscale.embeddings.layout import CHUNK_ROWS
from specscale.errors import InputError
from specscale.places.documents import parse_json
from specscale.places.files import Location, zarr_store

__all__ = ["ScreenedStore", "WholeStore", "check_foreign", "check_own", "opened_group"]

_MOST_BYTES = 16 << 20  # of metadata; the digests of a billion rows are a megabyte
_MOST_CHUNKS = 1 << 22
_MOST_ROWS = 1 << 53
_MOST_ELEMENTS = 1 << 30  # of a chunk that is decoded whole
_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
_TYPES = ("float16", "float32", "float64", "int64", "bool")
_GROUP = {"attributes", "consolidated_metadata", "node_type", "zarr_format"}
_ARRAY = {
    *("attributes", "chunk_grid", "chunk_key_encoding", "codecs", "data_type", "dimension_names", "fill_value"),
    *("node_type", "shape", "storage_transformers", "zarr_format"),
}
_KEYS = {"name": "default", "configuration": {"separator": "/"}}
_CODECS = [{"name": "bytes", "configuration": {"endian": "little"}}]
_CODECS_OF_BYTES = [{"name": "bytes"}]  # which have no order
_PICKLE = "pickle"

Check = Callable[[str, dict[str, Any]], str | None]
"""From the key of some metadata and what it holds to what is wrong with it, None where nothing is."""


def check_own(key: str, metadata: dict[str, Any]) -> str | None:
    """Say what of some metadata is not as specscale writes it."""
    if not key.endswith("zarr.json") or metadata.get("zarr_format") != 3:
        return "its format is not Zarr 3"
    if metadata.get("node_type") == "group":
        wrong = sorted(metadata.keys() - _GROUP) or metadata.get("consolidated_metadata") is not None
        return "the group holds more than attributes" if wrong else None
    if metadata.get("node_type") != "array" or metadata.keys() - _ARRAY or metadata.get("storage_transformers"):
        return "no array as specscale writes it"
    kind = metadata.get("data_type")
    if kind not in _TYPES:
        return f"its type is none of {', '.join(_TYPES)}"
    codecs = _CODECS_OF_BYTES if kind == "bool" else _CODECS
    if metadata.get("codecs") != codecs or metadata.get("chunk_key_encoding") != _KEYS:
        return "its chunks are not plain ones, as specscale writes them"
    if metadata.get("fill_value") not in ("NaN", -1, 0) or metadata.get("dimension_names") is not None:
        return "no array as specscale writes it"
    return _wrong_shape(metadata.get("shape"), _chunk_of(metadata.get("chunk_grid")))


def _wrong_shape(shape: Any, chunk: Any) -> str | None:
    if not (_are_sizes(shape) and _are_sizes(chunk) and len(shape) == len(chunk) and 0 not in chunk):
        return "its shape or its chunks are not as specscale writes them"
    if chunk[0] > max(shape[0], CHUNK_ROWS) or any(map(operator.gt, chunk[1:], (max(one, 1) for one in shape[1:]))):
        return f"its chunks {tuple(chunk)} are larger than the array {tuple(shape)}"
    if math.prod(-(-size // cell) for size, cell in zip(shape, chunk, strict=True)) > _MOST_CHUNKS:
        return f"its shape {tuple(shape)} would be too many chunks"
    return None


def _chunk_of(grid: Any) -> Any:
    """The shape of the chunks of a regular grid, None of anything else."""
    settings = grid.get("configuration") if isinstance(grid, dict) and grid.get("name") == "regular" else None
    return settings.get("chunk_shape") if isinstance(settings, dict) else None


def _are_sizes(sizes: Any) -> bool:
    return isinstance(sizes, list) and 1 <= len(sizes) <= 3 and all(map(_is_count, sizes))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST_ROWS


def check_foreign(key: str, metadata: dict[str, Any]) -> str | None:
    """Say why some metadata of people's own arrays is not read: it asks for Python's objects, or for giant chunks."""
    packed = [metadata.get("compressor"), *_listed(metadata.get("filters")), *_listed(metadata.get("codecs"))]
    names = [str(one.get("id", one.get("name"))) for one in packed if isinstance(one, dict)]
    kind = metadata.get("dtype", metadata.get("data_type"))
    if any(name.rpartition(".")[2].startswith(_PICKLE) for name in names) or _has_objects(kind):
        return "it holds Python objects, which may run code and are never loaded"
    chunk = metadata.get("chunks", _chunk_of(metadata.get("chunk_grid")))
    sharded = any(name == "sharding_indexed" for name in names)
    if chunk and _are_sizes(chunk) and not sharded and math.prod(chunk) > _MOST_ELEMENTS:
        return f"a chunk of it, {tuple(chunk)}, has more than {_MOST_ELEMENTS:,} numbers: write it in smaller chunks"
    return None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _has_objects(kind: Any) -> bool:
    """Whether a type of NumPy, or one of its fields, is of Python's objects."""
    if isinstance(kind, list):
        return any(_has_objects(one) for field in kind if isinstance(field, list) for one in field[1:])
    return isinstance(kind, str) and kind.lstrip("|<>=") in ("O", "O4", "O8", "object")


class ScreenedStore(WrapperStore[Any]):
    """A store whose metadata zarr gets only after it was looked at.

    Parameters
    ----------
    store : the store that is read
    place : where it is, for messages
    remedy : what to do where the metadata is refused, for messages
    check : what is asked of the metadata
    """

    def __init__(self, store: Any, place: str, remedy: str, check: Check = check_own) -> None:
        super().__init__(LocalStore(store, read_only=True) if isinstance(store, str) else store)
        self._place = place
        self._remedy = remedy
        self._check = check

    def _with_store(self, store: Any) -> ScreenedStore:
        return type(self)(store, self._place, self._remedy, self._check)

    @property
    def inner(self) -> Any:
        """The store that is read."""
        return self._store

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Return what is under a key; None where there is nothing."""
        if key.rpartition("/")[2] not in _METADATA:
            return await self._store.get(key, prototype, byte_range)
        found = await self._store.get(key, prototype, RangeByteRequest(0, _MOST_BYTES + 1))
        if found is not None:
            self._screen(key, found.to_bytes())
        return found

    def _screen(self, key: str, content: bytes) -> None:
        try:
            if len(content) > _MOST_BYTES:
                raise ValueError(f"longer than {_MOST_BYTES >> 20} MB")
            metadata = parse_json(content)
        except ValueError as error:
            raise InputError(f"{self._place}/{key}: damaged ({error}): {self._remedy}") from None
        wrong = self._check(key, metadata) if isinstance(metadata, dict) else "no metadata of Zarr"
        if wrong is not None:
            raise InputError(f"{self._place}/{key}: {wrong}: {self._remedy}")


class WholeStore(ScreenedStore):
    """A store whose arrays have all of their chunks, so that one that is missing was lost."""

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Return what is under a key; None where there is no such array."""
        found = await super().get(key, prototype, byte_range)
        if found is None and "c" in key.split("/"):
            raise InputError(f"{self._place}/{key}: the chunk is missing: {self._remedy}")
        return found


def opened_group(place: Location, remedy: str, kind: type[ScreenedStore] = ScreenedStore) -> zarr.Group:
    """Open a group that specscale wrote.

    Parameters
    ----------
    place : the group
    remedy : what to do where it is not as it was written, for messages
    kind : how it is read

    Returns
    -------
    zarr.Group
        To be read.

    Raises
    ------
    InputError
        When its metadata, or later that of one of its arrays, is not as specscale writes it.
    FileNotFoundError
        When there is none.
    """
    store = kind(zarr_store(place, read_only=True), str(place), remedy)
    # Looking for other formats too would leave requests behind where a store does not answer.
    return zarr.open_group(store, mode="r", zarr_format=3)
