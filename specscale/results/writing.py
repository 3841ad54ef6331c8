"""Writing a result: its arrays, members and summary, into a folder that is published when all is there."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray

from specscale.embeddings.base import Embedding
from specscale.embeddings.dropped import numbered
from specscale.embeddings.layout import chunk_rows
from specscale.embeddings.reordered import origin_of, rows_of_origin
from specscale.embeddings.rows import PairedRows, kept_digest
from specscale.embeddings.store import EmbeddingStore
from specscale.masking import masked
from specscale.method.problem import Problem
from specscale.method.run import Run
from specscale.passes.scores import ScoreSummary, WriteScores
from specscale.places.checksum import crc32c
from specscale.places.files import Location, reaching, remove_file, remove_tree, size_of_tree, write_whole, zarr_store
from specscale.results.comparison import MAPS_FILE, SCHEMA, TAILS
from specscale.results.described import KEPT_ROW, kept_columns, partners_name
from specscale.results.score_array import SCORES, ScoreArray
from specscale.runtime.machine import Machine, Plan
from specscale.runtime.memory import peak_memory
from specscale.spectral.certificate import Certificate
from specscale.spectral.difference import Modes
from specscale.spectral.lanczos import VectorModes
from specscale.spectral.tiles import TiledSymmetric
from specscale.tables.values import numbers, texts

__all__ = [
    "ResultWriter",
    "Writer",
    "checksum_of",
    "how_it_went",
    "members_table",
    "mode_records",
    "standard_errors",
    "what_was_compared",
]

_BAND_BYTES = 8 << 20
_ARRAYS = "spec.zarr"
_DAMAGE = (ValueError, KeyError, TypeError, zarr.errors.BaseZarrError)


class Writer:
    """Writes what the results of all commands have in common.

    Parameters
    ----------
    folder : where it is written; arrays that an interrupted run left there stay
    """

    def __init__(self, folder: Location) -> None:
        if isinstance(folder, Path):
            folder.mkdir(exist_ok=True)
        self.folder = folder
        with reaching(folder):
            self._arrays = _opened(folder / _ARRAYS)
        self._checksums: dict[str, int] = {}

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

    def _maps(self, problem: Problem, keys: Sequence[str]) -> None:
        """Write the parameters of the maps, and their arrays with a key for each embedding."""
        content = json.dumps(problem.parameters()).encode()
        write_whole(self.folder / MAPS_FILE, content)
        self._checksums[MAPS_FILE] = crc32c(np.frombuffer(content, np.uint8))
        for key, one in zip(keys, problem.maps, strict=False):
            for name, values in one.arrays().items():
                chunks = (max(1, min(len(values), _BAND_BYTES // max(1, values[:1].nbytes))), *values.shape[1:])
                self._whole(f"{name}_{key}", values, chunks)

    def _members(self, table: pa.Table, rows: PairedRows, keys: Sequence[str]) -> None:
        """Write modes.parquet, and what is needed to find the columns of the members, with a key for each embedding."""
        self._table("modes.parquet", table)
        members = np.unique(np.array(table.column("row").to_pylist(), np.int64))
        for key, one in zip(keys, rows.embeddings, strict=True):
            origin, partners, own = origin_of(one), rows_of_origin(one), members
            if partners is not None:
                array = self._array(partners_name(key), partners.shape, "int64", (chunk_rows(len(partners)),), fill=-1)
                with reaching(self.folder):
                    array[...] = partners
                own = partners[members]
            # Files that were compared as they are leave no store behind.
            if isinstance(origin, EmbeddingStore) and origin.source != origin.path:
                wanted = _described_by(one)
                found = origin.rows(own.tolist(), wanted) if wanted else None
                if found is not None:
                    self._table(kept_columns(key), found.append_column(KEPT_ROW, numbers(members)))

    def _table(self, name: str, table: pa.Table) -> None:
        content = pa.BufferOutputStream()  # Arrow takes no path that is not UTF-8
        pq.write_table(table, content, write_page_checksum=True)
        write_whole(self.folder / name, content.getvalue())

    def _summary(self, fields: dict[str, Any]) -> None:
        summary = {**fields, "checksums": self._checksums}
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

    def summary(
        self,
        run: Run,
        problem: Problem,
        tails: ScoreSummary,
        se: NDArray[np.float64],
        checks: Certificate | None,
        plan: Plan,
        machine: Machine,
        constraint: dict[str, Any] | None = None,
    ) -> None:
        """Write the maps and summary.json."""
        self._maps(problem, "ab")
        self._summary(
            {
                "schema_version": SCHEMA,
                **what_was_compared(problem, "ab"),
                "spec_diff": self._modes.spec_diff,
                "constraint": constraint,
                "modes": mode_records(self._modes, tails, se, checks),
                **how_it_went(run, plan, machine),
            }
        )


def _described_by(one: Embedding) -> list[str]:
    """Names of the samples' columns of an embedding, but for its ids."""
    columns = getattr(origin_of(one), "columns", [])
    return [name for name in columns if one.ids is None or name != one.ids.column]


def what_was_compared(problem: Problem, keys: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a summary that say what was compared, with a key for each embedding."""
    options, rows, match = problem.options, problem.rows, problem.rows.match
    bandwidths = [None if one is None else vars(one) for one in problem.bandwidths]
    inputs = [
        {
            "name": one.name,
            "source": os.path.abspath(one.source) if os.path.exists(one.source) else masked(one.source),
            "rows": origin_of(one).n,
            "dimension": one.p,
            "dtype": one.dtype.name,
            "digest": one.digest,
            "ids_column": None if one.ids is None else one.ids.column,
            "ids_digest": None if one.ids is None else one.ids.digest,
            "columns": _described_by(one),
            "dropped": getattr(origin_of(one), "dropped", 0),
        }
        for one in rows.embeddings
    ]
    left_out = match.left_out or ({},) * len(inputs)
    return {
        "options": options.to_json(),
        "inputs": dict(zip(keys, inputs, strict=True)),
        "rows": {
            "total": rows.n,
            "compared": rows.n_kept,
            "matched_by": match.by,
            "matched": match.matched,
            "only_a": match.only_a,
            "only_b": match.only_b,
            "dropped": match.dropped,
            "sampled": match.sampled,
            "ids_digest": match.ids_digest,
            "kept_digest": kept_digest(rows.kept, rows.n),
            "column": match.column,
            "confirmed_by": match.confirmed_by,
            "unlike": list(match.unlike),
            "id_of": list(match.id_of),
            "left_out": dict(zip(keys, left_out, strict=True)),
        },
        "maps": {
            "features": options.features,
            "size": problem.size,
            "dimension": sum(one.dim for one in problem.maps),
        },
        "choice": masked(problem.choice),
        "bandwidths": dict(zip(keys, bandwidths, strict=True)),
        "duplicates": [vars(one) for one in problem.duplicates],
    }


def how_it_went(run: Run, plan: Plan, machine: Machine) -> dict[str, Any]:
    """Return the fields of a summary that say what was planned and what was measured."""
    return {
        "warnings": list(map(masked, run.warnings)),
        "plan": plan.to_json(machine),
        "measured": {
            "seconds": run.seconds,
            "moved": run.moved,
            "peak_memory": peak_memory(),
            "disk": size_of_tree(run.place.work),
            "threads": run.pool.count,
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("specscale", "numpy", "scipy", "numba", "zarr")},
        },
    }


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


def standard_errors(modes: Modes | VectorModes, tails: ScoreSummary, n: int) -> NDArray[np.float64]:
    """Standard errors of λ over samples of n rows.

    A unit vector u with Λu = v has dλ/dweight_i = n (2 u_i v_i − λ u_i²) − λ, so se² = Σ (2uv − λu²)² − λ²/n: for
    eigenvectors |λ| √(Σu⁴ − 1/n).
    """
    value, squares = modes.eigenvalues, tails.squares
    sums = 4 * tails.mixed - 4 * value * tails.skewed + value**2 * tails.fourths
    return np.asarray(np.sqrt(np.maximum(sums / squares**2 - value**2 / n, 0)))


def mode_records(
    modes: Modes | VectorModes, tails: ScoreSummary, se: NDArray[np.float64], checks: Certificate | None
) -> list[dict[str, Any]]:
    """Return the fields of every mode; the effective size is 1 / Σu⁴."""
    records: list[dict[str, Any]] = []
    etas = np.broadcast_to(modes.eta, modes.eigenvalues.shape)
    for i, value in enumerate(modes.eigenvalues):
        records.append(
            {
                "mode": i,
                "grouped_by": "A" if value > 0 else "B",
                "eigenvalue": float(value),
                "eta": float(etas[i]),
                "a": float(modes.a[i]),
                "b": float(modes.b[i]),
                "se": float(se[i]),
                "effective_size": float(tails.squares[i] ** 2 / tails.fourths[i]),
                "rayleigh": None if checks is None else float(checks.rayleigh[i]),
                "rayleigh_se": None if checks is None else float(checks.rayleigh_se[i]),
                "residual": None if checks is None else float(checks.residual[i]),
                "exact_a": None if checks is None else float(checks.a[i]),
                "exact_b": None if checks is None else float(checks.b[i]),
                "certified": None if checks is None else bool(checks.certified[i]),
            }
        )
    return records


def _ids(rows: PairedRows, numbers: Sequence[int]) -> pa.Array:
    """The ids of some rows of A, nulls without ids."""
    a = rows.embeddings[0]
    table = None if a.ids is None else a.rows(numbers, [a.ids.column])
    return pa.nulls(len(numbers), pa.string()) if table is None else table.column(0).combine_chunks()
