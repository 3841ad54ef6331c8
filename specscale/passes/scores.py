"""The scores pass: every mode mapped back over all rows, with its fourth moments and the members of its tails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.rows import Block
from specscale.features.fourier import FeatureMap
from specscale.kernels import Kernels
from specscale.passes.base import (
    BLOCK_ROWS,
    Accumulator,
    FeatureBuffers,
    Pass,
    RowInput,
    Task,
    feature_cost,
    map_slice,
    slices,
)
from specscale.places.checksum import crc32c

__all__ = ["KnownScores", "MappedScores", "ScoreSource", "ScoreSummary", "WriteScores", "score", "score_cost"]

WriteScores = Callable[[int, NDArray[np.float32]], None]
"""Store the scores of whole chunks: the first row, and (rows, k) with NaN where a row does not take part."""

_UNIT = 1e-5  # by which Σu² may differ from 1: what products in float32 leave in that of most modes is a tenth


@dataclass(frozen=True)
class ScoreSummary:
    """What the scores pass learns about k modes besides the scores themselves.

    Attributes
    ----------
    squares, fourths : (k,) Σu² and Σu⁴
    skewed, mixed : (k,) Σu³v and Σu²v² with v = Λu
    rows : (2, k, top) int64, the rows at the two ends of each mode, strongest first; −1 where there are fewer
    scores : (2, k, top) float64, their scores; the second tail's are negative
    checksums : (chunks,) uint32, the CRC-32C of each chunk of scores that was written
    """

    squares: NDArray[np.float64]
    fourths: NDArray[np.float64]
    skewed: NDArray[np.float64]
    mixed: NDArray[np.float64]
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    checksums: NDArray[np.uint32]

    @property
    def normed(self) -> bool:
        """Whether the scores are of unit length, which the rounding of C can keep them from."""
        return bool((np.abs(self.squares - 1) <= _UNIT).all())

    def scaled(self, factors: NDArray[np.float64]) -> ScoreSummary:
        """What the pass would learn about the modes times some factors (k,)."""
        return ScoreSummary(
            self.squares * factors**2,
            self.fourths * factors**4,
            self.skewed * factors**4,
            self.mixed * factors**4,
            self.rows,
            self.scores * factors[:, None],
            self.checksums,
        )


_NONE = np.zeros(0, dtype=np.uint32)


class ScoreSource(Protocol):
    """Where the scores of a block come from."""

    @property
    def k(self) -> int:
        """Number of modes."""
        ...

    @property
    def inputs(self) -> Mapping[str, RowInput]:
        """Arrays whose rows it reads."""
        ...

    def room(self) -> Any:
        """Make scratch for one block."""
        ...

    def fill(self, block: Block, part: slice, room: Any, out: NDArray[Any]) -> None:
        """Write the scores of some kept rows of a block into `out` (b, k)."""
        ...


class MappedScores:
    """Scores u = φᵀz / √n_kept of modes in feature space.

    Parameters
    ----------
    maps : the feature map of each embedding
    kernels : the backend
    coefficients : (d, k), the modes z with zᵀ C z = 1
    n_kept : rows that take part
    buffers : where features are put, by default made for this pass
    lengths : (k,) lengths of the scores, by which they are divided: not the coefficients, of which large ones cancel
    """

    def __init__(
        self,
        maps: tuple[FeatureMap, ...],
        kernels: Kernels,
        coefficients: NDArray[np.float64],
        n_kept: int,
        buffers: FeatureBuffers | None = None,
        lengths: NDArray[np.float64] | None = None,
    ) -> None:
        self.k = coefficients.shape[1]
        self.inputs: Mapping[str, RowInput] = {}
        edges = np.cumsum([0, *(one.dim for one in maps)])
        scoring = [one.scoring(coefficients[low:high]) for one, (low, high) in zip(maps, pairwise(edges), strict=True)]
        self._maps = tuple(one for one, _ in scoring)
        weights = np.concatenate([weights for _, weights in scoring]) / np.sqrt(n_kept)
        self._kernels = kernels
        self._factors = None if lengths is None else (1 / lengths).astype(kernels.real)
        self._weights = np.ascontiguousarray(weights, dtype=kernels.real)
        self._buffers = buffers or FeatureBuffers(kernels, maps)
        for one in self._maps:
            one.prepare(kernels)

    def room(self) -> NDArray[Any]:
        """Take a feature buffer."""
        return self._buffers.take()

    def fill(self, block: Block, part: slice, room: NDArray[Any], out: NDArray[Any]) -> None:
        """Map the rows and project their features."""
        for which in range(len(self._maps)):
            map_slice(self._kernels, self._maps, which, block, part, room)
        self._kernels.project(room[part, : len(self._weights)], self._weights, out)
        if self._factors is not None:
            out *= self._factors


class KnownScores:
    """Scores that are in an array.

    Parameters
    ----------
    k : number of modes
    vectors : gives the scores of a block
    """

    def __init__(self, k: int, vectors: RowInput) -> None:
        self.k = k
        self.inputs = {"vectors": vectors}

    def room(self) -> None:
        """Nothing is needed."""

    def fill(self, block: Block, part: slice, room: None, out: NDArray[Any]) -> None:
        """Copy the rows."""
        out[...] = block.beside["vectors"][part]


class _Chunk:
    """A chunk of scores that is being filled; it travels to other processes empty."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._array: NDArray[np.float32] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_array": None}

    @property
    def array(self) -> NDArray[np.float32]:
        if self._array is None:
            self._array = np.empty(self._shape, dtype=np.float32)
        return self._array


@dataclass
class _Room:
    """Scratch of one block: its source's, its scores, Λ times them, and the sums of each of its slices."""

    source: Any
    scores: NDArray[Any]
    acted: NDArray[Any]
    sums: list[NDArray[np.float64]]


def score(
    source: ScoreSource,
    kernels: Kernels,
    action: NDArray[np.float64],
    *,
    n: int,
    top: int,
    chunk_rows: int,
    write: WriteScores,
) -> Pass[_Room, ScoreSummary]:
    """Make the scores pass.

    Parameters
    ----------
    source : where scores come from; they are of unit norm over the rows that take part, to rounding
    kernels : the backend
    action : (k, k), ΛU = U action
    n : rows
    top : how many members of each tail to keep
    chunk_rows : rows of one chunk of scores; a span holds whole chunks
    write : stores a finished chunk of scores; the same chunk may be written twice with the same bytes

    Returns
    -------
    Pass
        Its result is a ScoreSummary.
    """
    k = source.k
    action = np.ascontiguousarray(action, dtype=kernels.real)
    chunk = _Chunk((min(chunk_rows, n), k))

    def room() -> _Room:
        scores, acted = (np.empty((BLOCK_ROWS, k), dtype=kernels.real) for _ in range(2))
        return _Room(source.room(), scores, acted, [])

    def prepare(block: Block, room: _Room) -> list[Task]:
        parts = slices(block)
        room.sums = [np.zeros((4, k)) for _ in parts]

        def one(part: slice, sums: NDArray[np.float64]) -> None:
            source.fill(block, part, room.source, room.scores[part])
            kernels.project(room.scores[part], action, room.acted[part])
            kernels.moments(room.scores[part], room.acted[part], sums)

        return [
            lambda part=part, sums=sums: one(part, sums)  # type: ignore[misc]
            for part, sums in zip(parts, room.sums, strict=True)
        ]

    def create() -> Accumulator:
        return {
            "moments": np.zeros((4, k)),
            "strengths": np.zeros((2, k, top)),
            "rows": np.full((2, k, top), -1, dtype=np.int64),
            "checksums": _NONE,
        }

    def append(total: Accumulator, block: Block, room: _Room) -> list[Task]:
        def fold() -> None:
            for sums in room.sums:
                total["moments"] += sums
            positions = np.arange(block.stop - block.start) if block.kept is None else block.kept
            scores = room.scores[: len(positions)]
            kernels.keep_tails(scores, block.start + positions, total["strengths"], total["rows"])
            store(block, scores, total)

        return [fold]

    def store(block: Block, scores: NDArray[Any], total: Accumulator) -> None:
        begin = block.start - block.start % chunk_rows
        out = chunk.array[block.start - begin : block.stop - begin]
        if block.kept is None:
            out[...] = scores
        else:
            out[...] = np.nan
            out[block.kept] = scores
        if block.stop % chunk_rows == 0 or block.stop == n:
            finished = chunk.array[: block.stop - begin]
            write(begin, finished)
            total["checksums"] = np.append(total["checksums"], np.uint32(crc32c(finished)))

    def combine(first: Accumulator, second: Accumulator) -> None:
        first["moments"] += second["moments"]
        first["checksums"] = np.concatenate([one.get("checksums", _NONE) for one in (first, second)])
        strengths = np.concatenate([first["strengths"], second["strengths"]], axis=2)
        rows = np.concatenate([first["rows"], second["rows"]], axis=2)
        # Of equals the lower row, which is the first's.
        best = np.argsort(-strengths, axis=2, kind="stable")[:, :, :top]
        first["strengths"][...] = np.take_along_axis(strengths, best, axis=2)
        first["rows"][...] = np.take_along_axis(rows, best, axis=2)

    def finalize(total: Accumulator) -> ScoreSummary:
        signs = np.array([1.0, -1.0])[:, None, None]
        squares, fourths, skewed, mixed = total["moments"]
        tails = total["rows"], signs * total["strengths"]
        return ScoreSummary(squares, fourths, skewed, mixed, *tails, total.get("checksums", _NONE))

    inputs = source.inputs
    return Pass("scores", room, prepare, create, append, combine, finalize, shares=True, verifies=True, inputs=inputs)


def score_cost(
    maps: tuple[FeatureMap, ...], n: int, n_kept: int, read: int, k: int, chunk_rows: int, threads: int, top: int = 0
) -> Cost:
    """State what the pass takes.

    Parameters
    ----------
    maps : the feature map of each embedding; none for scores that are known
    n, n_kept : rows, and rows that take part
    read : bytes of the embeddings
    k : modes
    chunk_rows : rows of one chunk of scores
    threads : threads that compute
    top : members kept of each tail, for the size of partial results
    """
    scoring = [one.scoring(np.empty((one.dim, 0)))[0] for one in maps]
    d = sum(one.dim for one in scoring)
    return Cost(
        "scores",
        memory=feature_cost(maps, threads) + 4 * BLOCK_ROWS * k * 4 + 2 * min(n, chunk_rows) * k * 4,
        operations=n_kept * (2.0 * (d + k) * k + sum(one.operations for one in scoring)),
        elementary=n_kept * sum(one.elementary for one in scoring),
        read=read,
        disk=n * k * 4,
        partial=(4 * k + 4 * k * top) * 8,
    )
