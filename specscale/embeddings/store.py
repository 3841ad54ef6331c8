"""An embedding store: rows that are read in runs and one by one."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray

from specscale.embeddings.attributes import StoreRecord
from specscale.embeddings.base import read_norms, readers
from specscale.embeddings.chunks import RowChunks
from specscale.embeddings.dropped import Ids, NumberedRows
from specscale.embeddings.layout import (
    ATTRIBUTE,
    CHUNK_ROWS,
    FEATURES,
    FORMAT,
    NORMS,
    ROWS,
    chunk_number,
    chunk_runs,
    features_digest,
    store_attributes,
)
from specscale.embeddings.trusted import opened_group
from specscale.errors import ChangedError, InputError
from specscale.masking import masked
from specscale.places.ahead import read_ahead
from specscale.places.files import Location, absolute, await_answer, exists, is_local, located, reaching, unchained
from specscale.places.records import faulty_fields, needed
from specscale.tables.parquet import open_parquet, take_rows
from specscale.wording import one_line

__all__ = ["EmbeddingStore", "Ids", "is_store"]

_DAMAGE = (KeyError, ValueError, TypeError, OSError, zarr.errors.BaseZarrError)
_LOST = "missing or damaged"
_AGAIN = "ingest the embedding again"


class EmbeddingStore(NumberedRows):
    """An embedding store on any file system, as ``specscale ingest`` writes it.

    It is sent to other processes as its place and its digests: they open it there.

    Parameters
    ----------
    path : str or path
        The path or URL of the store's Zarr group.

    Attributes
    ----------
    n, p : int
        Rows and dimensions.
    dtype : numpy.dtype
        float16 or float32.
    digest : str
        Digest of the features.
    chunk_digests : sequence of str
        Those of the rows of each chunk, in order, or none.
    ids : Ids or None
        The id column.
    columns : list of str
        Names of the user's columns.
    vectors : tuple of str
        Names of the columns that the vectors came from, where they did.
    zero_norm : int
        Rows without a direction.
    dropped : int
        How many rows ingest left out.
    dropped_rows : numpy.ndarray or None
        Which of the source they are; None where they are not known.
    remote : bool
        Whether it is on another file system than this machine's.

    Raises
    ------
    InputError
        When `path` is not an embedding store, or one of a newer format, or cannot be reached.
    """

    def __init__(self, path: str | Location) -> None:
        self.path = str(path).rstrip("/")
        self._place = located(unchained(path))
        self.remote = not is_local(self._place)
        await_answer(self._place / "zarr.json")
        group, attributes = _open_group(self._place)
        self.name: str = attributes["name"]
        self.source = self.path
        self.n: int = attributes["n"]
        self.p: int = attributes["p"]
        self.dtype = np.dtype(attributes["dtype"])
        self.digest: str = attributes["digest"]
        ids = attributes["ids"]
        self.ids = self._declared = None if ids is None else Ids(ids["column"], ids["digest"])
        self.columns: list[str] = list(attributes["columns"])
        self.vectors: tuple[str, ...] = tuple(attributes.get("vectors", ()))
        self.zero_norm: int = attributes["zero_norm"]
        self.dropped: int = attributes["dropped"]
        self._named = attributes.get("dropped_rows", [])
        self._dropped_digest = attributes.get("dropped_digest")
        self._norms = RowChunks(self._array(group, NORMS, (self.n,), np.dtype(np.float32)))
        self._features = RowChunks(self._array(group, FEATURES, (self.n, self.p), self.dtype))
        self.chunk_digests = self._digests(attributes.get("chunk_digests"))

    def _array(self, group: zarr.Group, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> zarr.Array[Any]:
        try:
            with reaching(self._place):
                array = group[name]
        except _DAMAGE as error:
            raise InputError(f"{self.path}/{name}: {_LOST} ({one_line(error)}): {_AGAIN}") from None
        whole = isinstance(array, zarr.Array) and array.ndim == len(shape) and self._has_rows(array.shape[0])
        if not isinstance(array, zarr.Array) or not whole or array.shape[1:] != shape[1:] or array.dtype != dtype:
            raise InputError(f"{self.path}/{name}: not the array that was ingested: {_AGAIN}")
        return array

    def _digests(self, listed: Any) -> Sequence[str]:
        """The digests of the chunks; none in a store of an earlier version, or where chunks have other rows."""
        try:
            if listed is None:
                return ()
            if features_digest(self.dtype.name, self.n, self.p, listed) == self.digest:
                return tuple(listed) if len(listed) == chunk_number(self.n - 1) + 1 else ()
        except (TypeError, ValueError):
            pass
        raise InputError(f"{self.path}/zarr.json: damaged, its digests contradict one another: {_AGAIN}")

    def _has_rows(self, count: int) -> bool:
        """Whether so many rows hold the store's: in an object store some may just be being appended."""
        return count == self.n or (self.remote and count > self.n)

    def check(self) -> None:
        """Look for files that are missing or were written over, without reading all of them.

        Of every chunk the first row must have the norm that it had when it was ingested.

        Raises
        ------
        InputError
            When a file is missing or damaged.
        """
        for start, found, expected in read_ahead(self._first_norms, chunk_runs(self.n), readers(self)):
            if not np.isclose(found, expected, rtol=1e-4, equal_nan=True):
                raise InputError(
                    f"{self.path}: row {start} has norm {found:.5g}, {expected:.5g} when it was ingested: its "
                    f"chunk was written over, {_AGAIN}"
                )
        if self.columns:
            with open_parquet(self._place / ROWS) as file:
                if not self._has_rows(file.metadata.num_rows):
                    raise InputError(f"{self.path}/{ROWS}: {file.metadata.num_rows} rows, not {self.n}: {_AGAIN}")

    def _first_norms(self, run: tuple[int, int]) -> tuple[int, float, float]:
        """The first row of a chunk, its norm now and when it was ingested."""
        return run[0], float(read_norms(self, run[0], run[0] + 1)[0]), float(self.norms(*run)[0])

    def __repr__(self) -> str:
        return f"<EmbeddingStore {masked(self.path)}: {self.n:,} × {self.p} {self.dtype}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened_elsewhere, (absolute(self._place), self.source, self.digest, self._declared, self.ids)

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return rows ``start:stop``, shape (stop − start, p)."""
        return self._features.read(start, stop, out)

    def norms(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the Euclidean norms of rows ``start:stop``."""
        norms = np.empty(stop - start, dtype=np.float32)
        parts = (slice(low, min(low + CHUNK_ROWS, stop)) for low in range(start, stop, CHUNK_ROWS))
        for part, values in read_ahead(lambda one: (one, self._norms.read(one.start, one.stop)), parts, readers(self)):
            norms[part.start - start : part.stop - start] = values
        return norms

    def rows(self, indices: Sequence[int], columns: Sequence[str] | None = None) -> pa.Table | None:
        """Return the user's columns of some rows, in the order asked for; None where the store has none."""
        if not self.columns:
            return None
        try:
            return take_rows(self._place / ROWS, indices, columns)
        except (pa.ArrowException, OSError, LookupError) as error:
            raise InputError(f"{self._place / ROWS}: {_LOST} ({one_line(error)}): {_AGAIN}") from None

    def check_unchanged(self) -> None:
        """Raise ChangedError when the store at this path is no longer the one that was opened."""
        try:
            digest = _open_group(self._place)[1]["digest"]
        except InputError as error:
            raise ChangedError(f"{self.path}: the store went away during the work ({error})") from None
        if digest != self.digest:
            raise ChangedError(
                f"{self.path}: the store changed during the work (digest {digest}, at first {self.digest}): "
                "run the comparison again from the start with --overwrite"
            )


def is_store(path: str | Location) -> bool:
    """Whether there is an embedding store at `path`, damaged or not."""
    return store_attributes(located(path)) is not None


def _opened_elsewhere(
    place: Location, source: str, digest: str, declared: Ids | None, ids: Ids | None
) -> EmbeddingStore:
    """Open a store that another process has opened, and make sure that it is the same one."""
    try:
        store = EmbeddingStore(place)
    except InputError as error:
        raise InputError(
            f"{error} (on {platform.node()}; every process of a run reads the stores itself, from a file system that "
            "all machines share or an object store)"
        ) from None
    if (store.digest, store.ids) != (digest, declared):
        raise ChangedError(
            f"{place}: another store, seen from {platform.node()}, than the one that the run began with (digest "
            f"{store.digest}, there {digest}): run the comparison again from the start with --overwrite"
        )
    store.source, store.ids = source, ids
    return store


def _open_group(path: Location) -> tuple[zarr.Group, dict[str, Any]]:
    try:
        with reaching(path):
            group = opened_group(path, _AGAIN)
    except FileNotFoundError:
        with reaching(path):
            there = path.exists()
        if there and (path / "summary.json").exists():
            raise InputError(f"{path}: a result, not an embedding store: `specscale modes {path}` shows it") from None
        if there:
            raise InputError(f"{path}: not an embedding store: make one with `specscale ingest {path} STORE`") from None
        if exists(path.with_name(f"{path.name}.partial")):
            raise InputError(f"{path}: an ingest of it was interrupted: give the same command again") from None
        raise InputError(f"{path}: no such embedding store: `specscale ingest SOURCE {path}` makes one") from None
    except _DAMAGE as error:
        raise InputError(f"{path}: cannot be opened as an embedding store ({one_line(error)})") from None
    attributes = group.attrs.asdict().get(ATTRIBUTE)
    if not isinstance(attributes, dict):
        raise InputError(f"{path}: a Zarr group, but not an embedding store: make one with `specscale ingest`")
    if type(attributes.get("format")) is not int:
        raise InputError(f"{path}/zarr.json: damaged, format cannot be: {_AGAIN}")
    if attributes.get("format") != FORMAT:
        raise InputError(f"{path}: a store of format {attributes.get('format')}, this version reads format {FORMAT}")
    if lost := sorted(set(needed(StoreRecord)) - attributes.keys()):
        raise InputError(f"{path}/zarr.json: damaged, {', '.join(lost)} is not there: {_AGAIN}")
    if wrong := faulty_fields(StoreRecord, attributes):
        raise InputError(f"{path}/zarr.json: damaged, {', '.join(wrong)} cannot be: {_AGAIN}")
    return group, attributes
