"""Writing a result: its arrays, members and summary, into a folder that is renamed into place when all is there."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray

from specscale.passes.scores import ScoreSummary
from specscale.planning import Sized
from specscale.problem import Problem
from specscale.result import SCHEMA, TAILS
from specscale.running import Run
from specscale.runtime.plan import peak_memory
from specscale.spectral.difference import Modes
from specscale.spectral.tiles import TiledSymmetric
from specscale.stores.layout import CHUNK_ROWS
from specscale.stores.rows import PairedRows

__all__ = ["ResultWriter"]

_BAND_BYTES = 8 << 20


class ResultWriter:
    """Writes one result.

    Parameters
    ----------
    folder : where it is written; scores that an interrupted run left there stay
    n : rows of A
    modes : the modes
    """

    def __init__(self, folder: Path, n: int, modes: Modes) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._modes = modes
        d, k = modes.coefficients.shape
        self._arrays = zarr.open_group(str(folder / "spec.zarr"), mode="a")
        self._array("eigenvalues", (k,), "float64", (max(k, 1),))[...] = modes.eigenvalues
        self._array("coefficients", (d, k), "float64", (d, max(k, 1)))[...] = modes.coefficients
        self._scores = self._array("scores", (n, k), "float32", (CHUNK_ROWS, max(k, 1)))

    def _array(self, name: str, shape: tuple[int, ...], dtype: str, chunks: tuple[int, ...]) -> zarr.Array[Any]:
        return self._arrays.require_array(
            name, shape=shape, dtype=dtype, chunks=chunks, compressors=None, fill_value=np.nan, exact=True
        )

    def covariance(self, C: TiledSymmetric) -> None:
        """Write the covariance, a band of rows at a time."""
        height = max(1, min(C.d, _BAND_BYTES // (8 * C.d)))
        array = self._array("covariance", (C.d, C.d), "float64", (height, C.d))
        for start in range(0, C.d, height):
            stop = min(start + height, C.d)
            array[start:stop] = C.band(start, stop)

    def scores(self, start: int, scores: NDArray[np.float32]) -> None:
        """Write the scores of the rows from `start` on, whole chunks (rows, k)."""
        if scores.shape[1]:
            self._scores[start : start + len(scores)] = scores

    def members(self, tails: ScoreSummary, rows: PairedRows) -> None:
        """Write modes.parquet: the top members of both tails of every mode."""
        count, k, top = tails.rows.shape
        mode, tail, rank = (index.ravel() for index in np.meshgrid(range(k), range(count), range(top), indexing="ij"))
        numbers = tails.rows.transpose(1, 0, 2).ravel()
        there = numbers >= 0
        numbers = numbers[there]
        table = pa.table(
            {
                "mode": pa.array(mode[there], pa.int32()),
                "tail": pa.array(np.array(TAILS)[tail[there].astype(int)], pa.string()),
                "rank": pa.array(rank[there] + 1, pa.int32()),
                "row": pa.array(numbers, pa.int64()),
                "id": _ids(rows, numbers.tolist()),
                "score": pa.array(tails.scores.transpose(1, 0, 2).ravel()[there], pa.float64()),
            }
        )
        with (self.folder / "modes.parquet").open("wb") as file:  # Arrow takes no path that is not UTF-8
            pq.write_table(table, file)

    def summary(self, run: Run, problem: Problem, tails: ScoreSummary, sized: Sized) -> None:
        """Write maps.json and summary.json."""
        options, rows = problem.options, problem.rows
        maps = [one.parameters() for one in problem.maps]
        (self.folder / "maps.json").write_text(json.dumps(maps), encoding="utf-8")
        bandwidths = [None if one is None else vars(one) for one in problem.bandwidths]
        match = rows.match
        summary = {
            "schema_version": SCHEMA,
            "options": options.to_json(),
            "inputs": {
                which: {
                    "name": one.name,
                    "source": os.path.abspath(one.source) if os.path.exists(one.source) else one.source,
                    "rows": one.n,
                    "dimension": one.p,
                    "dtype": one.dtype.name,
                    "digest": one.digest,
                }
                for which, one in zip("ab", rows.embeddings, strict=True)
            },
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
            },
            "maps": {"features": options.features, "size": maps[0].get("size"), "dimension": sized.plan.d},
            "bandwidths": dict(zip("ab", bandwidths, strict=True)),
            "spec_diff": self._modes.spec_diff,
            "modes": mode_records(self._modes, tails, rows.n_kept),
            "warnings": run.warnings,
            "plan": sized.plan.to_json(sized.machine),
            "measured": {
                "seconds": run.seconds,
                "peak_memory": peak_memory(),
                "disk": sum(file.stat().st_size for file in run.place.work.rglob("*") if file.is_file()),
                "threads": run.pool.count,
            },
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("specscale", "numpy", "scipy", "numba", "zarr")},
            },
        }
        (self.folder / "summary.json").write_text(json.dumps(summary, indent=1, allow_nan=False), encoding="utf-8")


def mode_records(modes: Modes, tails: ScoreSummary, n: int) -> list[dict[str, Any]]:
    """Return the fields of every mode.

    With u of unit norm, se(λ) = |λ| √(Σu⁴ − 1/n), from dλ/dweight_i = λ (n u_i² − 1), and the effective size is 1/Σu⁴.
    """
    records: list[dict[str, Any]] = []
    for i, value in enumerate(modes.eigenvalues):
        fourth = float(tails.fourths[i] / tails.squares[i] ** 2)
        records.append(
            {
                "mode": i,
                "grouped_by": "A" if value > 0 else "B",
                "eigenvalue": float(value),
                "a": float(modes.a[i]),
                "b": float(modes.b[i]),
                "se": float(abs(value) * np.sqrt(max(fourth - 1 / n, 0.0))),
                "effective_size": 1 / fourth,
                "rayleigh": None,
                "rayleigh_se": None,
                "residual": None,
                "certified": None,
            }
        )
    return records


def _ids(rows: PairedRows, numbers: Sequence[int]) -> pa.Array:
    """The ids of some rows of A, nulls without ids."""
    a = rows.embeddings[0]
    table = None if a.ids is None else a.rows(numbers, [a.ids.column])
    return pa.nulls(len(numbers), pa.string()) if table is None else table.column(0).combine_chunks()
