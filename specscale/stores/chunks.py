"""Reading runs of rows out of a chunked Zarr array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec
from zarr.storage import LocalStore

from specscale.errors import InputError

__all__ = ["RowChunks"]


class RowChunks:
    """The rows of a 2-D Zarr array whose chunks hold whole rows.

    An uncompressed local chunk is a plain file, and the rows asked for are read straight into place; any other chunk
    goes through zarr, which decodes whole chunks, and the last one is kept because the next run of rows is mostly in
    it.

    Parameters
    ----------
    array : zarr array (n, p), chunks (c, p)
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array = array
        self.rows_per_chunk = array.chunks[0]
        self._folder = _plain_folder(array)
        self._kept: tuple[int, NDArray[Any]] | None = None

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return rows ``start:stop`` (b, p) in the array's dtype, in `out` where it is given."""
        if out is None:
            out = np.empty((stop - start, self.array.shape[1]), dtype=self.array.dtype)
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
        path = self._folder / str(index) / "0"
        view = into.reshape(-1).view(np.uint8).data
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(offset * into.shape[1] * into.itemsize)
                done = 0
                while done < len(view):
                    count = file.readinto(view[done:])
                    if not count:
                        raise InputError(f"{path}: the chunk is truncated: ingest the embedding again")
                    done += count
        except FileNotFoundError:
            raise InputError(f"{path}: the chunk is missing: ingest the embedding again") from None

    def _decoded(self, index: int) -> NDArray[Any]:
        if self._kept is None or self._kept[0] != index:
            c = self.rows_per_chunk
            self._kept = index, np.asarray(self.array[index * c : (index + 1) * c])
        return self._kept[1]


def _plain_folder(array: zarr.Array[Any]) -> Path | None:
    """The folder of chunk files that hold nothing but the array's own bytes, if there is one."""
    store = array.store
    metadata = array.metadata
    codecs = getattr(metadata, "codecs", None)
    plain = (
        isinstance(store, LocalStore)
        and codecs is not None
        and len(codecs) == 1
        and isinstance(codecs[0], BytesCodec)
        and array.dtype.byteorder in ("=", "<", "|")
        and array.chunks[1] == array.shape[1]
        and array.metadata.chunk_key_encoding.encode_chunk_key((0, 0)) == "c/0/0"  # type: ignore[union-attr]
    )
    return Path(store.root) / array.path / "c" if plain and isinstance(store, LocalStore) else None
