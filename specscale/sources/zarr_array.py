"""Zarr arrays of either version, alone or in a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import zarr

from specscale.embeddings.attributes import StoreRecord
from specscale.embeddings.dropped import every_dropped
from specscale.embeddings.holes import PresentRows
from specscale.embeddings.layout import CHUNK_ROWS, FEATURES, ROWS, store_attributes
from specscale.embeddings.trusted import ScreenedStore, check_foreign
from specscale.errors import InputError
from specscale.places.files import located, reaching, zarr_store
from specscale.places.listing import fingerprint, is_file, joined
from specscale.places.records import faulty_fields
from specscale.sources.arrays import ArrayShard
from specscale.sources.base import Batch, Format, batch_rows
from specscale.sources.choosing import Choice
from specscale.sources.conventions import Conventions
from specscale.tables.parquet import RowCursor, open_parquet, parquet_rows
from specscale.tables.types import plain_schema
from specscale.wording import one_line, some

_MARKERS = ("zarr.json", ".zarray", ".zgroup")


class ZarrShard(ArrayShard):
    """A Zarr array.

    Parameters
    ----------
    path : a directory: the array (also one inside a group), a group with exactly one two-dimensional array, or an
        embedding store, whose columns ride along

    Attributes
    ----------
    notes : what is done to the numbers of the array, as its attributes say

    Raises
    ------
    InputError
        When there is no such array, or it cannot be used.
    """

    def __init__(self, path: str) -> None:
        self._array = _open(path)
        self._conventions = Conventions(path, self._array)
        super().__init__(path, tuple(self._array.shape), self._conventions.dtype, fingerprint(path))
        self.notes = tuple(self._conventions.notes)
        self._present = PresentRows(self._array)
        self._rows = joined(path, ROWS)
        place = located(path)
        if (attributes := store_attributes(place)) is not None:
            if "dropped" not in attributes or faulty_fields(StoreRecord, attributes):
                raise InputError(f"{path}/zarr.json: damaged: ingest the embedding again")
            self.dropped = attributes["dropped"]
            self.dropped_rows = every_dropped(place, self.dropped, attributes.get("dropped_rows", []))
            if is_file(self._rows):
                with open_parquet(self._rows) as file:
                    self.offered = plain_schema(file.schema_arrow)
        self.ride(Choice())

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yield the rows in order.

        Parameters
        ----------
        start : the first row

        Yields
        ------
        Batch
            Rows in the type of the array, or in float32 where they are packed.

        Raises
        ------
        InputError
            When a chunk is damaged.
        """
        if self.p is None:
            return
        step = batch_rows(self.p, self.dtype)
        meant = self._conventions
        # A chunk is decoded whole, whatever is read of it: take its rows at once, then hand them on in small batches.
        tall = int(self._array.chunks[0])
        span = max(tall, step // tall * tall)
        cursor = RowCursor(self._tables(start)) if self.schema is not None else None
        low = start
        while low < self.n:
            stop = min((low // span + 1) * span, self.n)
            try:
                with reaching(self.path):
                    values, absent = self._present.read_finished(low, stop)
            except (MemoryError, InputError):
                raise
            except Exception as error:  # codecs raise what they like
                raise InputError(f"{self.path}, rows {low} to {stop - 1}: damaged ({one_line(error)})") from error
            block = values.reshape(stop - low, self.p)
            for begin in range(0, len(block), step):
                lacking = absent.part(begin, begin + step) if absent is not None else None
                vectors, null = meant.apply(block[begin : begin + step], lacking)
                columns = cursor.take(len(vectors)) if cursor is not None else None
                yield Batch(low + begin, vectors, columns, self.path, null, lacking, meant.missing)
            low = stop

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of all rows, in order, without reading the vectors."""
        for batch in parquet_rows(self._rows, columns, 0, CHUNK_ROWS):
            yield pa.Table.from_batches([batch])

    def _tables(self, start: int) -> Iterator[pa.Table]:
        assert self.schema is not None
        for batch in parquet_rows(self._rows, self.schema.names, start, CHUNK_ROWS):
            yield pa.Table.from_batches([batch])


def _open(path: str) -> zarr.Array[Any]:
    place = located(path)
    is_store = store_attributes(place) is not None
    try:
        # What was consolidated describes all arrays at once, and is refused whole where one of them is not known.
        with reaching(path):
            store = zarr_store(place / FEATURES if is_store else place, read_only=True)
            screened = ScreenedStore(store, path, "write the array again, as numbers in chunks", check_foreign)
            node = zarr.open(screened, mode="r", use_consolidated=False)
    except InputError:
        raise
    except Exception as error:  # types and codecs that zarr does not know come as errors of all kinds
        raise InputError(f"{path}: not a readable Zarr array ({one_line(error)})") from error
    if isinstance(node, zarr.Array):
        return node
    arrays, closed = _members(node, sorted(member.name for member in place.iterdir()))
    matrices = {name: array for name, array in arrays.items() if _is_matrix(array)}
    numbers = {name: array for name, array in matrices.items() if Conventions(path, array).dtype.kind == "f"}
    found = numbers or matrices
    widest = max((array.shape[1] for array in matrices.values()), default=0)
    # A few floats beside a wide matrix of integers are seldom the vectors.
    if len(found) != 1 or next(iter(found.values())).shape[1] < widest:
        listing = some([f"{name} {array.shape} {array.dtype}" for name, array in arrays.items()]) or "no arrays"
        if not found and closed:
            listing += "".join(f", {name}, which cannot be opened ({one_line(why)})" for name, why in closed.items())
        raise InputError(f"{path}: the group holds {listing}; name the array of the vectors, as in {path}/NAME")
    return next(iter(found.values()))


def _members(group: zarr.Group, names: Sequence[str]) -> tuple[dict[str, zarr.Array[Any]], dict[str, Exception]]:
    """The arrays of a group that can be opened, and why others cannot."""
    arrays: dict[str, zarr.Array[Any]] = {}
    closed: dict[str, Exception] = {}
    for name in names:
        try:
            member = group.get(name)
        except Exception as error:
            closed[name] = error
            continue
        if isinstance(member, zarr.Array):
            arrays[name] = member
    return arrays, closed


def _is_matrix(array: zarr.Array[Any]) -> bool:
    return array.ndim == 2 or (array.ndim == 3 and array.shape[1] == 1)


def is_zarr(path: str) -> bool:
    """Whether a directory is a Zarr array or group.

    Parameters
    ----------
    path : any path

    Returns
    -------
    bool
        True where the metadata of either version of Zarr is.
    """
    return any(is_file(joined(path, marker)) for marker in _MARKERS)


ZARR = Format("Zarr", (".zarr",), ZarrShard, is_folder=is_zarr)
