"""Reading runs of rows out of a chunked Zarr array, several at once where it is remote."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec
from zarr.storage import FsspecStore, LocalStore

from specscale.embeddings.holes import PresentRows
from specscale.embeddings.trusted import ScreenedStore
from specscale.errors import InputError
from specscale.places.files import Location, located, reaching, read_into

__all__ = ["READERS", "RowChunks"]

READERS = 32  # small requests under way at once to a remote store; more are bound by this process, not the network

_KEPT = 2  # decoded chunks; blocks that are read ahead lie in one chunk or in two that follow each other
_DAMAGE = (KeyError, ValueError, TypeError, RuntimeError, OSError, zarr.errors.BaseZarrError)


class RowChunks:
    """The rows of a Zarr array whose chunks hold whole rows.

    An uncompressed chunk is a plain file, and the rows asked for are read straight into place; any other chunk goes
    through zarr, which decodes whole chunks, and the last ones are kept because the next run of rows is mostly in
    them. Any number of threads may read.

    A plain chunk that was replaced by one of more rows, the first of which are the same, is read as before.

    Parameters
    ----------
    array : zarr array (n, p), chunks (c, p), or of n numbers, chunks (c,)
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array = array
        self.rows_per_chunk = array.chunks[0]
        self._place = _place(array)
        self._folder = self._place / "c" if self._place is not None and _plain(array) else None
        self._present = None if self._folder is not None else PresentRows(array)
        self._most_kept = 1 if isinstance(self._place, Path) else _KEPT
        self._kept: dict[int, Future[NDArray[Any]]] = {}
        self._lock = threading.Lock()

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return rows ``start:stop`` in the array's dtype, in `out` where it is given.

        Raises
        ------
        InputError
            When a chunk is missing or damaged, or the object store cannot be reached.
        """
        if out is None:
            out = np.empty((stop - start, *self.array.shape[1:]), dtype=self.array.dtype)
        c = self.rows_per_chunk
        for index in range(start // c, -(-stop // c)):
            low, high = max(start, index * c), min(stop, (index + 1) * c)
            into = out[low - start : high - start]
            if self._folder is not None:
                self._read_file(index, low - index * c, into)
            else:
                into[...] = self._decoded(index)[low - index * c : high - index * c]
        return out

    def _read_file(self, index: int, offset: int, into: NDArray[Any]) -> None:
        assert self._folder is not None
        path = self._folder.joinpath(str(index), *["0"] * (into.ndim - 1))
        view = into.reshape(-1).view(np.uint8).data
        try:
            count = read_into(path, offset * into[:1].nbytes, view)
        except FileNotFoundError:
            raise InputError(f"{path}: the chunk is missing: ingest the embedding again") from None
        if count < len(view):
            raise InputError(f"{path}: the chunk is truncated: ingest the embedding again")

    def _decoded(self, index: int) -> NDArray[Any]:
        """The rows of a chunk; threads that want the same one wait for the first of them."""
        with self._lock:
            chunk = self._kept.get(index)
            mine = chunk is None
            if chunk is None:
                chunk = self._kept[index] = Future()
                if len(self._kept) > self._most_kept:
                    del self._kept[next(iter(self._kept))]
        if mine:
            try:
                chunk.set_result(self._decode(index))
            except BaseException as error:
                with self._lock:
                    self._kept.pop(index, None)  # a fault may pass
                chunk.set_exception(error)
        return chunk.result()

    def _decode(self, index: int) -> NDArray[Any]:
        assert self._present is not None
        start, stop = index * self.rows_per_chunk, min((index + 1) * self.rows_per_chunk, self.array.shape[0])
        place = self._place or self.array.store_path
        try:
            with reaching(self._place):
                rows, absent = self._present.read(start, stop)
        except _DAMAGE as error:
            raise InputError(
                f"{place}: rows {start} to {stop - 1} are damaged "
                f"({' '.join(str(error).split()) or type(error).__name__}): ingest the embedding again"
            ) from None
        if absent is not None:
            raise InputError(f"{place}: the chunk of rows {start} to {stop - 1} is missing: ingest the embedding again")
        return rows


def _place(array: zarr.Array[Any]) -> Location | None:
    """The folder of an array, if its store is on a file system."""
    store = array.store.inner if isinstance(array.store, ScreenedStore) else array.store
    if isinstance(store, LocalStore):
        return Path(store.root) / array.path
    if isinstance(store, FsspecStore):
        return located(store.fs.unstrip_protocol(store.path)) / array.path
    return None


def _plain(array: zarr.Array[Any]) -> bool:
    """Whether the files of the chunks hold nothing but the array's own bytes."""
    codecs = getattr(array.metadata, "codecs", None)
    return (
        codecs is not None
        and len(codecs) == 1
        and isinstance(codecs[0], BytesCodec)
        and array.dtype.byteorder in ("=", "<", "|")
        and array.chunks[1:] == array.shape[1:]
        and array.metadata.chunk_key_encoding.encode_chunk_key((0,) * array.ndim)  # type: ignore[union-attr]
        == "/".join(["c", *["0"] * array.ndim])
    )
