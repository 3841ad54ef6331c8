"""The scores pass: every mode mapped back over all rows, with its fourth moments and the members of its tails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.features.maps import FeatureMap
from specscale.kernels import Kernels
from specscale.passes.record import BLOCK_ROWS, Accumulator, FeatureBuffers, Pass, Task, feature_cost, map_slice, slices
from specscale.stores.rows import Block

__all__ = ["ScoreSummary", "score", "score_cost"]

WriteScores = Callable[[int, NDArray[np.float32]], None]
"""Store the scores of whole chunks: the first row, and (rows, k) with NaN where a row does not take part."""


@dataclass(frozen=True)
class ScoreSummary:
    """What the scores pass learns about k modes besides the scores themselves.

    Attributes
    ----------
    squares, fourths : (k,) Σu² and Σu⁴
    rows : (2, k, top) int64, the rows at the two ends of each mode, strongest first; −1 where there are fewer
    scores : (2, k, top) float64, their scores; the second tail's are negative
    """

    squares: NDArray[np.float64]
    fourths: NDArray[np.float64]
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass
class _Room:
    """Scratch of one block: its features, its scores, and the sums of each of its slices."""

    features: NDArray[Any]
    scores: NDArray[Any]
    sums: list[NDArray[np.float64]]


def score(
    maps: tuple[FeatureMap, ...],
    kernels: Kernels,
    coefficients: NDArray[np.float64],
    *,
    n: int,
    n_kept: int,
    top: int,
    chunk_rows: int,
    write: WriteScores,
    buffers: FeatureBuffers | None = None,
) -> Pass[_Room, ScoreSummary]:
    """Make the scores pass.

    Parameters
    ----------
    maps : the feature map of each embedding
    kernels : the backend
    coefficients : (d, k), the modes z with zᵀ C z = 1
    n, n_kept : rows, and rows that take part; scores are u = φᵀz / √n_kept, of unit norm
    top : how many members of each tail to keep
    chunk_rows : rows of one chunk of scores; a span holds whole chunks
    write : stores a finished chunk of scores; the same chunk may be written twice with the same bytes
    buffers : where features are put, by default made for this pass

    Returns
    -------
    Pass
        Its result is a ScoreSummary.
    """
    k = coefficients.shape[1]
    weights = np.ascontiguousarray(coefficients / np.sqrt(n_kept), dtype=kernels.real)
    buffers = buffers or FeatureBuffers(kernels, maps)
    for one in maps:
        one.prepare(kernels)
    chunk = np.empty((min(chunk_rows, n), k), dtype=np.float32)

    def room() -> _Room:
        return _Room(buffers.take(), np.empty((BLOCK_ROWS, k), dtype=kernels.real), [])

    def prepare(block: Block, room: _Room) -> list[Task]:
        parts = slices(block)
        room.sums = [np.zeros((2, k)) for _ in parts]

        def one(part: slice, sums: NDArray[np.float64]) -> None:
            for which in range(len(maps)):
                map_slice(kernels, maps, which, block, part, room.features)
            kernels.project(room.features[part], weights, room.scores[part])
            kernels.moments(room.scores[part], sums)

        return [
            lambda part=part, sums=sums: one(part, sums)  # type: ignore[misc]
            for part, sums in zip(parts, room.sums, strict=True)
        ]

    def create() -> Accumulator:
        return {
            "squares": np.zeros(k),
            "fourths": np.zeros(k),
            "strengths": np.zeros((2, k, top)),
            "rows": np.full((2, k, top), -1, dtype=np.int64),
        }

    def append(total: Accumulator, block: Block, room: _Room) -> list[Task]:
        def fold() -> None:
            for sums in room.sums:
                total["squares"] += sums[0]
                total["fourths"] += sums[1]
            positions = np.arange(block.stop - block.start) if block.kept is None else block.kept
            scores = room.scores[: len(positions)]
            kernels.keep_tails(scores, block.start + positions, total["strengths"], total["rows"])
            store(block, scores)

        return [fold]

    def store(block: Block, scores: NDArray[Any]) -> None:
        begin = block.start - block.start % chunk_rows
        out = chunk[block.start - begin : block.stop - begin]
        if block.kept is None:
            out[...] = scores
        else:
            out[...] = np.nan
            out[block.kept] = scores
        if block.stop % chunk_rows == 0 or block.stop == n:
            write(begin, chunk[: block.stop - begin])

    def combine(first: Accumulator, second: Accumulator) -> None:
        first["squares"] += second["squares"]
        first["fourths"] += second["fourths"]
        strengths = np.concatenate([first["strengths"], second["strengths"]], axis=2)
        rows = np.concatenate([first["rows"], second["rows"]], axis=2)
        best = np.argsort(-strengths, axis=2, kind="stable")[
            :, :, :top
        ]  # of equals the lower row, which is the first's
        first["strengths"][...] = np.take_along_axis(strengths, best, axis=2)
        first["rows"][...] = np.take_along_axis(rows, best, axis=2)

    def finalize(total: Accumulator) -> ScoreSummary:
        signs = np.array([1.0, -1.0])[:, None, None]
        return ScoreSummary(total["squares"], total["fourths"], total["rows"], signs * total["strengths"])

    return Pass("scores", room, prepare, create, append, combine, finalize)


def score_cost(
    maps: tuple[FeatureMap, ...], n: int, n_kept: int, read: int, k: int, chunk_rows: int, threads: int
) -> Cost:
    """State what the pass takes for k modes; the other parameters as in `score`.

    Parameters
    ----------
    maps : the feature map of each embedding
    n, n_kept : rows, and rows that take part
    read : bytes of the embeddings
    k : modes
    chunk_rows : rows of one chunk of scores
    threads : threads that compute
    """
    d = sum(one.dim for one in maps)
    return Cost(
        "scores",
        memory=feature_cost(maps, threads) + 2 * BLOCK_ROWS * k * 4 + 2 * min(n, chunk_rows) * k * 4,
        operations=n_kept * (2.0 * d * k + sum(one.operations for one in maps)),
        sines=n_kept * sum(one.dim / 2 for one in maps if one.operations),
        read=read,
        disk=n * k * 4,
    )
