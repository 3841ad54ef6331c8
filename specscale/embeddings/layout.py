"""The store on disk: names, chunking and digests, shared by its writer and its reader.

A store is a Zarr v3 group with the arrays ``features`` (n × p) and ``norms`` (n), one attribute that describes them,
and, when the samples have columns of their own, a row-aligned Parquet table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.places.documents import read_json
from specscale.places.files import Location, await_answer, reaching

FORMAT = 1
CHUNK_ROWS = 32_768  # the grid of rows that spans, blocks and digests are cut on; chunks of many rows are its cells
ATTRIBUTE = "specscale"
FEATURES = "features"
NORMS = "norms"
ROWS = "rows.parquet"

_DIGEST_BYTES = 16
_NORM_ROWS = 1024


def chunk_rows(n: int) -> int:
    """Rows of the chunks of arrays of many rows.

    Nothing that is computed depends on them: where there are as many as ``CHUNK_ROWS`` rows a chunk is a cell of that
    grid, and fewer rows lie in one chunk of little more than their number, because chunks are written whole.

    Parameters
    ----------
    n : rows of the array

    Returns
    -------
    int
        The smallest power of two that holds them, at most ``CHUNK_ROWS``.
    """
    return min(CHUNK_ROWS, 1 << max(n - 1, 0).bit_length())


def chunk_runs(n: int) -> Iterator[tuple[int, int]]:
    """The first and last row numbers of every chunk of n rows."""
    for start in range(0, n, CHUNK_ROWS):
        yield start, min(start + CHUNK_ROWS, n)


def chunk_of(row: int, n: int) -> tuple[int, int]:
    """The first and last row numbers of the chunk of n rows that a row is in."""
    start = row - row % CHUNK_ROWS
    return start, min(start + CHUNK_ROWS, n)


def chunk_number(row: int) -> int:
    """The number of the chunk that a row is in."""
    return row // CHUNK_ROWS


def row_norms(block: NDArray[Any]) -> NDArray[np.float32]:
    """Euclidean norms of rows.

    Parameters
    ----------
    block : b × p

    Returns
    -------
    ndarray
        b norms, summed in double precision; infinite above the largest float32.
    """
    norms = np.empty(len(block), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # damage makes signalling NaNs too
        for low in range(0, len(block), _NORM_ROWS):
            wide = block[low : low + _NORM_ROWS].astype(np.float64)
            norms[low : low + _NORM_ROWS] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    return norms


def chunk_digest(chunk: NDArray[Any] | bytes | bytearray | memoryview) -> str:
    """Digest of the rows of one cell of the grid.

    Parameters
    ----------
    chunk : the rows, b × p with b ≤ ``CHUNK_ROWS`` (the last cell has the rows there are, without padding), or their
        bytes in row order, little-endian

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    digest = ChunkDigest()
    digest.add(chunk)
    return digest.hexdigest()


class ChunkDigest:
    """The digest of the rows of one cell of the grid, which come one after the other."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)

    def add(self, rows: NDArray[Any] | bytes | bytearray | memoryview) -> None:
        """Add the next rows, or their bytes."""
        if isinstance(rows, np.ndarray):
            little_endian = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
            rows = np.ascontiguousarray(little_endian).reshape(-1).view(np.uint8).data
        self._digest.update(rows)

    def hexdigest(self) -> str:
        """Return the digest of the rows so far."""
        return self._digest.hexdigest()


def features_digest(dtype: str, n: int, p: int, chunk_digests: Sequence[str]) -> str:
    """Digest of a whole store's features.

    Parameters
    ----------
    dtype : ``"float16"`` or ``"float32"``
    n, p : rows and dimensions
    chunk_digests : the digests of the chunks, in order

    Returns
    -------
    str
        32 hexadecimal digits, independent of how the rows arrived.
    """
    digest = hashlib.blake2b(f"specscale {FORMAT} {dtype} {n} {p}\n".encode(), digest_size=_DIGEST_BYTES)
    for one in chunk_digests:
        digest.update(bytes.fromhex(one))
    return digest.hexdigest()


def ids_digest(arrays: Iterable[pa.Array]) -> str:
    """Digest of the ids of a store's rows, in order.

    Every id enters as the UTF-8 bytes of its text, preceded by their number (8 bytes, little-endian), so that neither
    the splitting into arrays nor the type of the column matters: the integer 7 and the text "7" are the same id.

    Parameters
    ----------
    arrays : arrays or chunked arrays of integers or text, without nulls

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for array in arrays:
        for piece in array.chunks if isinstance(array, pa.ChunkedArray) else [array]:
            for start in range(0, len(piece), CHUNK_ROWS):
                digest.update(_length_prefixed(piece.slice(start, CHUNK_ROWS).cast(pa.large_string())))
    return digest.hexdigest()


def _length_prefixed(texts: pa.LargeStringArray) -> memoryview:
    _, offset_buffer, data_buffer = texts.buffers()
    count = len(texts)
    offsets = np.frombuffer(offset_buffer, dtype="<i8", count=count + 1, offset=8 * texts.offset)
    lengths = np.diff(offsets)
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.zeros(0, np.uint8)
    starts = offsets[:-1] - offsets[0] + 8 * np.arange(count)
    out = np.empty(int(lengths.sum()) + 8 * count, np.uint8)
    prefixes = starts[:, None] + np.arange(8)
    is_text = np.ones(out.size, np.bool_)
    is_text[prefixes] = False
    out[prefixes] = lengths.astype("<i8")[:, None].view(np.uint8)
    out[is_text] = data[offsets[0] : offsets[-1]]
    return out.data


def store_attributes(path: Location) -> dict[str, Any] | None:
    """Describe the store at a path.

    Parameters
    ----------
    path : a path that may or may not be a store

    Returns
    -------
    dict or None
        The store's attribute; None where there is no store.

    Raises
    ------
    InputError
        When the object store cannot be reached, so that nobody knows.
    """
    await_answer(path / "zarr.json")
    try:
        with reaching(path):
            metadata = read_json(path / "zarr.json")
        attributes = metadata["attributes"][ATTRIBUTE]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return attributes if isinstance(attributes, dict) else None
