"""Writing a result: its arrays, members and summary, into a folder that is published when all is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray

from specscale.embeddings.dropped import numbered
from specscale.embeddings.layout import chunk_rows, chunk_runs
from specscale.embeddings.reordered import origin_of, rows_of_origin
from specscale.embeddings.rows import PairedRows
from specscale.embeddings.store import EmbeddingStore
from specscale.passes.scores import ScoreSummary, WriteScores
from specscale.passes.tallies import LEAST_LIKENESS
from specscale.places.ahead import read_ahead
from specscale.places.checksum import crc32c
from specscale.places.files import (
    Location,
    is_local,
    make_folder,
    reaching,
    remove_file,
    remove_tree,
    write_whole,
    zarr_store,
)
from specscale.places.records import to_json
from specscale.results.comparison import MAPS_FILE, TAILS
from specscale.results.described import KEPT_ROW, kept_columns, partners_name, sample_columns
from specscale.results.group_files import GROUPS_FILE, LIKENESS, MEMBERS, SAMPLES_FILE, of_pair
from specscale.results.group_writer import FoundGroup, ReadLikeness, SampledRows, groups_table
from specscale.results.schema import ComparisonRecord, MatrixRecord
from specscale.results.score_array import SCORES, ScoreArray
from specscale.spectral.difference import Modes
from specscale.spectral.lanczos import VectorModes
from specscale.spectral.tiles import TiledSymmetric
from specscale.stopping import check_signals
from specscale.tables.values import numbers, texts

__all__ = ["ResultWriter", "Writer", "checksum_of", "members_table"]

_BAND_BYTES = 8 << 20
_WRITERS = 4  # chunks under way at once to a remote result
_ARRAYS = "spec.zarr"
_DAMAGE = (ValueError, KeyError, TypeError, zarr.errors.BaseZarrError)


class Writer:
    """Writes what the results of all commands have in common.

    Parameters
    ----------
    folder : where it is written; arrays that an interrupted run left there stay
    """

    def __init__(self, folder: Location) -> None:
        make_folder(folder)
        self.folder = folder
        with reaching(folder):
            self._arrays = _opened(folder / _ARRAYS)
        self._checksums: dict[str, int] = {}
        self._shown: list[NDArray[np.int64]] = []

    def _array(
        self, name: str, shape: tuple[int, ...], dtype: str, chunks: tuple[int, ...], fill: float = np.nan
    ) -> zarr.Array[Any]:
        with reaching(self.folder):
            if not _is_readable(self._arrays, name):
                remove_file(self.folder / _ARRAYS / name / "zarr.json")  # the chunks stay
            array = self._arrays.require_array(
                name, shape=shape, dtype=dtype, chunks=chunks, compressors=None, fill_value=fill, exact=True
            )
        # A chunk of nothing but the fill value is written too, so that one that is missing was lost.
        return array.with_config({"write_empty_chunks": True})

    def _whole(self, name: str, values: NDArray[Any], chunks: tuple[int, ...]) -> None:
        """Write an array that is in memory."""
        array = self._array(name, values.shape, values.dtype.name, chunks)
        with reaching(self.folder):
            array[...] = values
        self._checksums[name] = crc32c(values)

    def covariance(self, C: TiledSymmetric) -> None:
        """Write the covariance, a band of rows at a time."""
        array = self._array("covariance", (C.d, C.d), "float64", (_band_height(C.d), C.d))
        with reaching(self.folder):
            checksum = 0
            for start, stop, band in _bands(C):
                array[start:stop] = band
                checksum = crc32c(band, checksum)
        self._checksums["covariance"] = checksum

    def _coefficients(self, name: str, coefficients: NDArray[np.float64]) -> None:
        d, k = coefficients.shape
        self._whole(name, coefficients, (d, max(k, 1)))

    def maps(
        self, parameters: list[dict[str, Any]], arrays: Sequence[Mapping[str, NDArray[Any]]], keys: Sequence[str]
    ) -> None:
        """Write the parameters of the maps, and the arrays of each map that has some.

        Parameters
        ----------
        parameters : of each map, or of each kernel where there are no maps
        arrays : of each map, by name
        keys : what names the arrays of each embedding
        """
        content = json.dumps(parameters).encode()
        write_whole(self.folder / MAPS_FILE, content)
        self._checksums[MAPS_FILE] = crc32c(np.frombuffer(content, np.uint8))
        for key, of_map in zip(keys, arrays, strict=False):
            for name, values in of_map.items():
                chunks = (max(1, min(len(values), _BAND_BYTES // max(1, values[:1].nbytes))), *values.shape[1:])
                self._whole(f"{name}_{key}", values, chunks)

    def groups(self, found: Sequence[FoundGroup], rows: PairedRows, read: ReadLikeness, pair: str = "") -> None:
        """Write groups.parquet, members.parquet, and which rows are members of which groups, a chunk at a time.

        Before the members of modes, with which the columns of what is in members.parquet are kept as well. What is
        there of an interrupted run is written over by the same bytes.

        Parameters
        ----------
        found : the groups, in the order of their numbers
        rows : the paired rows
        read : reads the likeness of rows to every candidate
        pair : ends the names of the files and arrays of a pair of a matrix, as "_0_1"
        """
        sampled = SampledRows(found)
        if found:
            self._likeness(found, rows.n, read, sampled, pair)
        self._table(of_pair(GROUPS_FILE, pair), groups_table([one.record for one in found]))
        self._table(of_pair(SAMPLES_FILE, pair), sampled.table(rows, _ids(rows, sampled.rows.tolist())))
        self._shown.append(sampled.rows)

    def _likeness(
        self, found: Sequence[FoundGroup], n: int, read: ReadLikeness, sampled: SampledRows, pair: str
    ) -> None:
        """Write the likeness of all rows to the groups, and which are members."""
        count = len(found)
        likeness = self._array(of_pair(LIKENESS, pair), (n, count), "float32", (chunk_rows(n), count))
        members = self._array(of_pair(MEMBERS, pair), (n, count), "bool", (chunk_rows(n), count), fill=False)
        columns, sizes = [one.column for one in found], np.zeros(count, np.int64)
        checksums = {LIKENESS: 0, MEMBERS: 0}

        def copy(run: tuple[int, int]) -> tuple[int, dict[str, NDArray[Any]]]:
            values = np.ascontiguousarray(read(*run)[:, columns], np.float32)
            parts = {LIKENESS: values, MEMBERS: values >= LEAST_LIKENESS}
            with reaching(self.folder):
                likeness[slice(*run)], members[slice(*run)] = parts[LIKENESS], parts[MEMBERS]
            return run[0], parts

        for start, parts in read_ahead(copy, chunk_runs(n), 1 if is_local(self.folder) else _WRITERS):
            check_signals()
            checksums = {name: crc32c(part, checksums[name]) for name, part in parts.items()}
            sizes += np.count_nonzero(parts[MEMBERS], axis=0)
            sampled.pick_up(start, parts[LIKENESS])
        assert sizes.tolist() == [one.record.size for one in found], "members that were counted are not those written"
        self._checksums.update({of_pair(name, pair): value for name, value in checksums.items()})

    def _members(self, table: pa.Table, rows: PairedRows, keys: Sequence[str]) -> None:
        """Write modes.parquet, and what is needed to find the columns of all that is shown, by each embedding's key."""
        self._table("modes.parquet", table)
        shown = np.unique(np.concatenate([np.array(table.column("row").to_pylist(), np.int64), *self._shown]))
        for key, one in zip(keys, rows.embeddings, strict=True):
            origin, partners, own = origin_of(one), rows_of_origin(one), shown
            if partners is not None:
                array = self._array(partners_name(key), partners.shape, "int64", (chunk_rows(len(partners)),), fill=-1)
                with reaching(self.folder):
                    array[...] = partners
                own = partners[shown]
            # Files that were compared as they are leave no store behind.
            if isinstance(origin, EmbeddingStore) and origin.source != origin.path:
                wanted = sample_columns(one)
                found = origin.rows(own.tolist(), wanted) if wanted else None
                if found is not None:
                    self._table(kept_columns(key), found.append_column(KEPT_ROW, numbers(shown)))

    def _table(self, name: str, table: pa.Table) -> None:
        content = pa.BufferOutputStream()  # Arrow takes no path that is not UTF-8
        pq.write_table(table, content, write_page_checksum=True)
        write_whole(self.folder / name, content.getvalue())

    def summary(self, record: ComparisonRecord | MatrixRecord) -> None:
        """Write summary.json, with the checksums of what has been written."""
        summary = to_json(replace(record, checksums=self._checksums))
        write_whole(self.folder / "summary.json", json.dumps(summary, indent=1, allow_nan=False).encode())


def checksum_of(C: TiledSymmetric) -> int:
    """The CRC-32C of a covariance, row by row, as its array has it."""
    checksum = 0
    for _, _, band in _bands(C):
        checksum = crc32c(band, checksum)
    return checksum


def _opened(place: Location) -> zarr.Group:
    """The group at a place, made where it is not there or its description cannot be read."""
    try:
        return zarr.open_group(zarr_store(place), mode="a")
    except _DAMAGE:
        remove_file(place / "zarr.json")
        return zarr.open_group(zarr_store(place), mode="a")


def _is_readable(group: zarr.Group, name: str) -> bool:
    """Whether an array is not there, or can be opened: a power cut may have left its description half written."""
    try:
        group.get(name)
    except _DAMAGE:
        return False
    return True


def _bands(C: TiledSymmetric) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
    """The rows of a covariance, a band at a time."""
    height = _band_height(C.d)
    for start in range(0, C.d, height):
        stop = min(start + height, C.d)
        yield start, stop, C.band(start, stop)


def _band_height(d: int) -> int:
    return max(1, min(d, _BAND_BYTES // (8 * d)))


class ResultWriter(Writer):
    """Writes the result of a comparison of two embeddings.

    Parameters
    ----------
    folder : where it is written; scores that an interrupted run left there stay
    n : rows of A
    modes : the modes
    """

    def __init__(self, folder: Location, n: int, modes: Modes | VectorModes) -> None:
        super().__init__(folder)
        self._modes = modes
        k = len(modes.eigenvalues)
        self._whole("eigenvalues", modes.eigenvalues, (max(k, 1),))
        if isinstance(modes, Modes):
            self.coefficients(modes)
        self._shape = (n, k)
        self._score_array()
        self._scores = ScoreArray(folder / _ARRAYS)

    def coefficients(self, modes: Modes) -> None:
        """Write the modes in the features of both embeddings."""
        self._coefficients("coefficients", modes.coefficients)

    @property
    def scores(self) -> WriteScores:
        """Writes scores, in any process."""
        return self._scores.write

    @property
    def read_scores(self) -> Callable[[int, int], NDArray[Any]]:
        """Reads them back."""
        return self._scores.read

    def holds(self, tails: ScoreSummary) -> bool:
        """Whether the scores are there, as the pass wrote them."""
        return self._scores.holds(tails.checksums)

    def clear_scores(self) -> None:
        """Remove the scores, to write them anew."""
        remove_tree(self.folder / _ARRAYS / SCORES)
        self._score_array()

    def _score_array(self) -> None:
        n, k = self._shape
        self._array(SCORES, (n, k), "float32", (chunk_rows(n), max(k, 1)))

    def members(self, tails: ScoreSummary, rows: PairedRows) -> None:
        """Write modes.parquet: the top members of both tails of every mode."""
        self._members(members_table(tails, rows), rows, "ab")


def members_table(tails: ScoreSummary, rows: PairedRows) -> pa.Table:
    """Return the top members of both tails of every mode: mode, tail, rank, row, id, score and source_row."""
    row = tails.rows.transpose(1, 0, 2)
    there = row >= 0
    mode, tail, rank = np.nonzero(there)
    row = row[there]
    source_row = numbered(rows.embeddings[0], row)
    return pa.table(
        {
            "mode": numbers(mode.astype(np.int32)),
            "tail": texts(TAILS).take(numbers(tail)),
            "rank": numbers((rank + 1).astype(np.int32)),
            "row": numbers(row),
            "id": _ids(rows, row.tolist()),
            "score": numbers(tails.scores.transpose(1, 0, 2)[there].astype(np.float64)),
            "source_row": numbers(source_row, source_row < 0),
        }
    )


def _ids(rows: PairedRows, numbers: Sequence[int]) -> pa.Array:
    """The ids of some rows of A, nulls without ids."""
    a = rows.embeddings[0]
    table = None if a.ids is None else a.rows(numbers, [a.ids.column])
    return pa.nulls(len(numbers), pa.string()) if table is None else table.column(0).combine_chunks()
