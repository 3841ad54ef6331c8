"""Writes a store chunk by chunk: resumable, and visible under its name only once it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specscale.embeddings.dropped import source_rows
from specscale.embeddings.layout import CHUNK_ROWS, FORMAT, chunk_digest, chunk_rows, features_digest, store_attributes
from specscale.errors import ExistsError, OptionError, SpecscaleError
from specscale.places.claim import claim_folder
from specscale.places.files import Location, exists, reaching
from specscale.stores.beginning import Beginning
from specscale.stores.draft import Draft
from specscale.stores.journal import NAMED_ROWS, Journal
from specscale.stores.publishing import MARK, Partial, finish_publishing, is_finished, publish

_NONE = np.zeros(0, dtype=np.int64)


def check_target(store: Location, overwrite: bool) -> None:
    """Refuse to write where something else is.

    Parameters
    ----------
    store : the store to be
    overwrite : whether a store there may be replaced

    Raises
    ------
    ExistsError
        When there is a store and `overwrite` is false, or something that is not a store.
    """
    if not exists(store):
        return
    if store_attributes(store) is None:
        raise ExistsError(
            f"{store}: exists and is not an embedding store, so it is never replaced; choose another name"
        )
    if not overwrite:
        raise ExistsError(f"{store}: exists; choose another name, or replace it with --overwrite")


class StoreWriter:
    """Fills a store from rows that come in order.

    Work happens in ``STORE.partial`` beside the store; what an interrupted run with the same `identity` left there is
    checked against its digests and continued.

    Parameters
    ----------
    store : the store to be
    identity : everything the result depends on
    n : rows to come, at most
    p : dimensions
    dtype : float16 or float32
    schema : the samples' own columns; None where there are none
    beginning : rows of `store` that the new ones follow; none by default
    dropped, dropped_rows : rows that were left out when the source was made, and their numbers in what it was made of,
        ascending; None where these are not known

    Attributes
    ----------
    journal : how far the work has come
    finished : whether an earlier run with the same `identity` was killed after all of its work: there is nothing to add

    Raises
    ------
    ExistsError
        When ``STORE.partial`` is something else, or in use by another process.
    InputError
        When the object store cannot be reached.
    OptionError
        When there is no such bucket.
    """

    def __init__(
        self,
        store: Location,
        identity: dict[str, Any],
        n: int,
        p: int,
        dtype: np.dtype[Any],
        schema: pa.Schema | None,
        beginning: Beginning | None = None,
        dropped: int = 0,
        dropped_rows: NDArray[np.int64] | None = _NONE,
    ) -> None:
        self._target = store
        self._partial = Partial(store)
        self._schema = schema
        self._beginning = beginning if beginning is not None else Beginning()
        self._earlier_dropped, self._earlier = dropped, dropped_rows
        # As for a store that is made of all rows of the sources at once.
        rows = chunk_rows(self._beginning.n + self._beginning.dropped + n)
        self._draft = Draft(self._partial, rows, p, dtype, schema)
        self._buffer = np.empty((min(self._beginning.n + n, CHUNK_ROWS), p), dtype)
        self._filled = 0
        self._tables: list[pa.Table] = []
        self._dropped: list[NDArray[np.int64]] = []
        self._kept = False
        try:
            self._claim = claim_folder(self._partial.folder, MARK)
        except FileNotFoundError:
            raise OptionError(f"{store}: there is no such bucket; make it first") from None
        try:
            with reaching(store):
                self._take_up(identity, self._beginning.n + n)
        except BaseException:
            self.close()
            raise

    def _take_up(self, identity: dict[str, Any], n: int) -> None:
        journal = Journal.load(self._partial.journal)
        if journal is not None and journal.result is not None:
            finish_publishing(self._partial, journal, self._claim)
        self.finished = journal is not None and is_finished(self._partial, identity)
        if journal is None or not (self.finished or self._continues(journal, identity)):
            journal = Journal(identity, self._beginning.digest)
            self._partial.put_back()
            self._draft.begin(n)
            if self._beginning.every_dropped is not None:
                self._draft.drop(0, self._beginning.every_dropped)
            journal.save(self._partial.journal)
        self.journal = journal
        if self.finished:
            return
        self._draft.open()
        try:
            self._beginning.place_chunks(self._partial.draft)
            if not journal.chunk_digests:
                self._begin_with_rest()
        except SpecscaleError:
            self.discard()  # the store that others are to follow is damaged
            raise

    def _begin_with_rest(self) -> None:
        rows, columns = self._beginning.rest(), self._beginning.rest_columns()
        if rows is not None:
            self._buffer[: len(rows)] = rows
            self._filled = len(rows)
        if columns is not None:
            self._tables.append(columns)

    def add(self, start: int, vectors: NDArray[Any], columns: pa.Table | None, keep: NDArray[np.bool_]) -> None:
        """Append rows.

        Parameters
        ----------
        start : number of the first row in the source
        vectors : b × p
        columns : the rows' own columns, b rows
        keep : b flags; the other rows are dropped and counted
        """
        with self._work():
            low = 0
            while low < len(vectors):
                room = CHUNK_ROWS - self._filled
                rows = low + np.flatnonzero(keep[low:])[:room]
                high = int(rows[-1]) + 1 if len(rows) == room else len(vectors)
                dropped = start + low + np.flatnonzero(~keep[low:high])
                self.journal.dropped += len(dropped)
                self._dropped.append(dropped)
                self.journal.dropped_rows += dropped[: NAMED_ROWS - len(self.journal.dropped_rows)].tolist()
                self._buffer[self._filled : self._filled + len(rows)] = vectors[rows]
                self._filled += len(rows)
                if columns is not None and len(rows):
                    self._tables.append(columns.take(pa.array(rows)))
                if self._filled == CHUNK_ROWS:
                    self._commit(start + high)
                low = high

    def finish(
        self,
        n_source: int,
        name: str,
        source: tuple[str, ...],
        id_column: str | None,
        vectors: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Write what remains and give the store its name.

        Parameters
        ----------
        n_source : rows of the source
        name : name of the model
        source : the files the new rows came from
        id_column : the column that holds the ids, if any
        vectors : the columns that the vectors came from, if they did

        Returns
        -------
        dict
            The store's attribute.
        """
        with self._work():
            if not self.finished:
                self._claim.check()
                self._beginning.check()
                if self._filled or self.journal.next_row < n_source:
                    self._commit(n_source)
                attributes = self._describe(n_source, name, source, id_column)
                if vectors:
                    attributes["vectors"] = list(vectors)
                self._draft.describe(attributes)
                self._beginning.check()
                self._claim.check()
                publish(self._partial, self.journal, attributes["digest"], self._claim)
            found = store_attributes(self._target)
            assert found is not None
        self.discard()
        return found

    def discard(self) -> None:
        """Remove the work in progress, unless it is kept, as where writing failed: another run can go on from it."""
        if not self._kept:
            self._partial.remove(self._claim)
        self.close()

    def keep(self) -> None:
        """Never discard the work in progress."""
        self._kept = True

    def close(self) -> None:
        """Let others continue the work in progress."""
        self._claim.close()

    @contextmanager
    def _work(self) -> Iterator[None]:
        try:
            with reaching(self._target):
                yield
        except BaseException:
            self.keep()
            raise

    def _describe(self, n_source: int, name: str, source: tuple[str, ...], id_column: str | None) -> dict[str, Any]:
        journal, before = self.journal, self._beginning
        n = before.n + n_source - journal.dropped
        written = range(before.chunks, before.chunks + len(journal.chunk_digests))
        ids = self._draft.finish(n, before.columns(), written, id_column)
        p, dtype = int(self._buffer.shape[1]), self._buffer.dtype.name
        digests = [*before.chunk_digests, *journal.chunk_digests]
        earlier = _NONE if self._earlier is None else self._earlier
        numbers = np.sort(np.concatenate([earlier, source_rows(np.array(journal.dropped_rows, np.int64), earlier)]))
        dropped_rows = [*before.dropped_rows, *(before.n + before.dropped + numbers).tolist()]
        dropped = before.dropped + journal.dropped + self._earlier_dropped
        beyond = {"dropped_digest": self._draft.dropped_digest(dropped)} if dropped > NAMED_ROWS else {}
        return {
            "format": FORMAT,
            "name": name,
            "n": n,
            "p": p,
            "dtype": dtype,
            "source": [*before.source, *source],
            "digest": features_digest(dtype, n, p, digests),
            "chunk_digests": digests,
            "zero_norm": before.zero_norm + journal.zero_norm,
            "dropped": dropped,
            "dropped_rows": dropped_rows[:NAMED_ROWS],
            **beyond,
            "ids": ids,
            "columns": self._schema.names if self._schema is not None else [],
        }

    def _commit(self, next_row: int) -> None:
        block = self._buffer[: self._filled]
        self._claim.check()
        if self._filled:
            index = self._beginning.chunks + len(self.journal.chunk_digests)
            self.journal.zero_norm += self._draft.write(index, block, self._tables)
            self.journal.chunk_digests.append(chunk_digest(block))
        self._write_dropped(next_row)
        self.journal.next_row = next_row
        self._claim.check()
        # Last: only chunks that are complete are ever relied on.
        self.journal.save(self._partial.journal)
        self._filled = 0
        self._tables = []

    def _write_dropped(self, next_row: int) -> None:
        before, new = self._beginning, np.concatenate([_NONE, *self._dropped])
        # What a store of an earlier version does not know cannot be made good by what is added to it.
        if before.every_dropped is not None and self._earlier is not None:
            low, high = self._earlier_before(self.journal.next_row), self._earlier_before(next_row)
            numbers = np.sort(np.concatenate([self._earlier[low:high], source_rows(new, self._earlier)]))
            begin = before.dropped + self.journal.dropped - len(new) + low
            if begin + len(numbers):
                self._draft.drop(begin, before.n + before.dropped + numbers)
        self._dropped = []

    def _earlier_before(self, next_row: int) -> int:
        """How many of the rows that the source was made without come before a row that is not committed."""
        if self._earlier is None or next_row == 0:
            return 0
        return int(np.searchsorted(self._earlier - np.arange(len(self._earlier)), next_row, side="right"))

    def _continues(self, journal: Journal, identity: dict[str, Any]) -> bool:
        if (journal.identity, journal.base, journal.result) != (identity, self._beginning.digest, None):
            return False
        rows = self._beginning.n + journal.next_row - journal.dropped
        known = self._beginning.every_dropped is not None and self._earlier is not None
        dropped = self._beginning.dropped + journal.dropped + self._earlier_before(journal.next_row) if known else 0
        return self._draft.has(self._beginning.chunks, journal.chunk_digests, rows) and self._draft.has_dropped(dropped)
