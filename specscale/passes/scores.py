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
from specscale.passes.record import BLOCK_ROWS, Accumulator, Pass, Task, feature_cost, feature_room, map_slice, slices
from specscale.stores.pairing import Block

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
    """Scratch of one block: features, scores, and for each slice its sums and the entries that may be in a tail."""

    features: NDArray[Any]
    scores: NDArray[Any]
    sums: list[NDArray[np.float64]]
    found: list[NDArray[np.int64]]


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

    Returns
    -------
    Pass
        Its result is a ScoreSummary.
    """
    k = coefficients.shape[1]
    weights = np.ascontiguousarray(coefficients / np.sqrt(n_kept), dtype=kernels.real)
    for one in maps:
        one.prepare(kernels)
    smallest = np.finfo(kernels.real).smallest_subnormal
    # What a score must reach to enter a tail. It only rises, and a stale value only lists more entries than needed.
    above, below = np.empty(k, kernels.real), np.empty(k, kernels.real)
    chunk = np.empty((min(chunk_rows, n), k), dtype=np.float32)

    def room() -> _Room:
        return _Room(feature_room(kernels, maps), np.empty((BLOCK_ROWS, k), dtype=kernels.real), [], [])

    def prepare(block: Block, room: _Room) -> list[Task]:
        parts = slices(block)
        room.sums = [np.zeros((2, k)) for _ in parts]
        room.found = [np.empty(0, dtype=np.int64) for _ in parts]

        def one(i: int, part: slice) -> None:
            for which in range(len(maps)):
                map_slice(kernels, maps, which, block, part, room.features)
            scores = room.scores[part]
            kernels.project(room.features[part], weights, scores)
            found = np.empty(scores.size, dtype=np.int64)
            count = kernels.moments(scores, above, below, room.sums[i], found)
            room.found[i] = found[:count] + part.start * k

        return [lambda i=i, part=part: one(i, part) for i, part in enumerate(parts)]  # type: ignore[misc]

    def create() -> Accumulator:
        above[:], below[:] = smallest, -smallest
        return {
            "squares": np.zeros(k),
            "fourths": np.zeros(k),
            "rows": np.full((2, k, top), -1, dtype=np.int64),
            "strengths": np.zeros((2, k, top)),
        }

    def append(total: Accumulator, block: Block, room: _Room) -> list[Task]:
        def fold() -> None:
            for sums in room.sums:
                total["squares"] += sums[0]
                total["fourths"] += sums[1]
            found = np.concatenate([np.empty(0, dtype=np.int64), *room.found])
            positions, modes = np.divmod(found, k)
            rows = block.start + (positions if block.kept is None else block.kept[positions])
            values = room.scores.reshape(-1)[found].astype(np.float64)
            for tail, sign in enumerate((1.0, -1.0)):
                for mode in np.unique(modes[sign * values > 0]):
                    mine = (modes == mode) & (sign * values > 0)
                    _merge(total, tail, int(mode), rows[mine], sign * values[mine])
            if top:
                above[:] = np.maximum(total["strengths"][0, :, -1], smallest)
                below[:] = -np.maximum(total["strengths"][1, :, -1], smallest)
            _flush(block, room)

        return [fold]

    def _flush(block: Block, room: _Room) -> None:
        begin = block.start - block.start % chunk_rows
        out = chunk[block.start - begin : block.stop - begin]
        if block.kept is None:
            out[...] = room.scores[: len(out)]
        else:
            out[...] = np.nan
            out[block.kept] = room.scores[: len(block.kept)]
        if block.stop % chunk_rows == 0 or block.stop == n:
            write(begin, chunk[: block.stop - begin])

    def combine(first: Accumulator, second: Accumulator) -> None:
        first["squares"] += second["squares"]
        first["fourths"] += second["fourths"]
        for tail in range(2):
            for mode in range(k):
                _merge(first, tail, mode, second["rows"][tail, mode], second["strengths"][tail, mode])

    def finalize(total: Accumulator) -> ScoreSummary:
        signs = np.array([1.0, -1.0])[:, None, None]
        return ScoreSummary(total["squares"], total["fourths"], total["rows"], signs * total["strengths"])

    return Pass("scores", room, prepare, create, append, combine, finalize)


def _merge(total: Accumulator, tail: int, mode: int, rows: NDArray[np.int64], strengths: NDArray[np.float64]) -> None:
    """Keep the strongest of the members so far and the new ones; of equals, the lower row."""
    kept_rows, kept_strengths = total["rows"][tail, mode], total["strengths"][tail, mode]
    all_rows = np.concatenate([kept_rows, rows])
    all_strengths = np.concatenate([kept_strengths, strengths])
    real = all_rows >= 0
    all_rows, all_strengths = all_rows[real], all_strengths[real]
    order = np.lexsort((all_rows, -all_strengths))[: len(kept_rows)]
    kept_rows[: len(order)] = all_rows[order]
    kept_strengths[: len(order)] = all_strengths[order]


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
    lists = BLOCK_ROWS * k * 40  # the first block lists every entry, with its row, mode and value
    return Cost(
        "scores",
        memory=feature_cost(maps, threads) + 2 * BLOCK_ROWS * k * 4 + 2 * min(n, chunk_rows) * k * 4 + lists,
        operations=n_kept * (2.0 * d * k + sum(one.operations for one in maps)),
        sines=n_kept * sum(one.dim / 2 for one in maps if one.operations),
        read=read,
        disk=n * k * 4,
    )
