"""The scores pass: every mode mapped back over all rows, with its fourth moments and the members of its tails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.rows import Block
from specscale.features.base import FeatureMap
from specscale.grid import BLOCK_ROWS
from specscale.kernels.base import Array, Kernels, Task
from specscale.kernels.precision import Precision, split_memory
from specscale.passes.base import FED_BLOCKS, Accumulator, Layout, LoadedPass, Pass, Room, RowInput
from specscale.passes.mapping import (
    LoadedMaps,
    feature_cost,
    feature_device_cost,
    feature_products,
    feature_room,
    feature_width,
    refusing_bad_rows,
    shares_across,
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


class LoadedScores(Protocol):
    """Where scores come from, with its arrays in the memory of a backend."""

    def fill(self, block: Block, number: int, part: slice, room: Room, out: Array) -> None:
        """Write the scores of some kept rows of a block, its `number`-th slice, into `out` (b, k)."""
        ...

    def look(self, block: Block, room: Room) -> Task:
        """Begin to look at a block; the task raises InputError where rows cannot be used."""
        ...


class ScoreSource(Protocol):
    """Where the scores of a block come from."""

    @property
    def k(self) -> int:
        """Number of modes."""
        ...

    @property
    def inputs(self) -> Mapping[str, RowInput]:
        """Arrays of which it needs the rows of each block."""
        ...

    def room(self, kernels: Kernels) -> Layout:
        """The scratch for one block."""
        ...

    def load(self, kernels: Kernels) -> LoadedScores:
        """Bring what is needed into the memory of a backend."""
        ...


class MappedScores:
    """Scores u = φᵀz / √n_kept of modes in feature space.

    Parameters
    ----------
    maps : the feature map of each embedding
    coefficients : (d, k), the modes z with zᵀ C z = 1
    n_kept : rows that take part
    lengths : (k,) lengths of the scores, by which they are divided: not the coefficients, of which large ones cancel
    """

    def __init__(
        self,
        maps: tuple[FeatureMap, ...],
        coefficients: NDArray[np.float64],
        n_kept: int,
        lengths: NDArray[np.float64] | None = None,
    ) -> None:
        self.k = coefficients.shape[1]
        self.inputs: Mapping[str, RowInput] = {}
        edges = np.cumsum([0, *(one.dim for one in maps)])
        scoring = [one.scoring(coefficients[low:high]) for one, (low, high) in zip(maps, pairwise(edges), strict=True)]
        self._maps = tuple(one for one, _ in scoring)
        self._width = feature_width(maps)
        self._weights = np.concatenate([weights for _, weights in scoring]) / np.sqrt(n_kept)
        self._factors = None if lengths is None else 1 / lengths

    def room(self, kernels: Kernels) -> Layout:
        """The features of a block, in as many columns as those of the covariance take."""
        return feature_room(self._width, len(self._maps), kernels)

    def load(self, kernels: Kernels) -> _LoadedMappedScores:
        """Load the maps and the coefficients."""
        weights = np.ascontiguousarray(self._weights, dtype=kernels.real)
        factors = None if self._factors is None else kernels.put(self._factors.astype(kernels.real))
        maps, bearing = LoadedMaps.of(self._maps, kernels), kernels.bearing("scores")
        return _LoadedMappedScores(kernels, bearing, maps, kernels.put(weights), factors)


@dataclass(frozen=True)
class _LoadedMappedScores:
    """Maps, coefficients (d, k) and factors (k,) in the memory of a backend, and this in the precision of scores."""

    kernels: Kernels
    bearing: Kernels
    maps: LoadedMaps
    weights: Array
    factors: Array | None

    def fill(self, block: Block, number: int, part: slice, room: Room, out: Array) -> None:
        """Map the rows and project their features."""
        for share in shares_across(block, number, part):
            self.maps.apply(block, share, room["features"], room["bad"])
        self.bearing.project(room["features"][part, : len(self.weights)], self.weights, out)
        if self.factors is not None:
            out *= self.factors

    def look(self, block: Block, room: Room) -> Task:
        """Look at the rows that were mapped."""
        parts = enumerate(slices(block, self.kernels.slice_rows))
        shares = [share for number, part in parts for share in shares_across(block, number, part)]
        return refusing_bad_rows(self.kernels, block, shares, room["bad"])


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

    def room(self, kernels: Kernels) -> Layout:
        """Nothing is needed."""
        return {}

    def load(self, kernels: Kernels) -> _LoadedKnownScores:
        """They come with each block."""
        return _LoadedKnownScores()


class _LoadedKnownScores:
    """Scores that come with each block."""

    def fill(self, block: Block, number: int, part: slice, room: Room, out: Array) -> None:
        """Copy the rows."""
        out[...] = block.inputs["vectors"][part]

    def look(self, block: Block, room: Room) -> Task:
        """No row is mapped."""
        return lambda: None


def score(
    source: ScoreSource,
    action: NDArray[np.float64],
    *,
    n: int,
    top: int,
    chunk_rows: int,
    write: WriteScores,
) -> Pass[ScoreSummary]:
    """Make the scores pass.

    Parameters
    ----------
    source : where scores come from; they are of unit norm over the rows that take part, to rounding
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

    def room(kernels: Kernels) -> Layout:
        sums = (-(-BLOCK_ROWS // kernels.slice_rows), 4, k), np.float64
        own = {"scores": ((BLOCK_ROWS, k), kernels.real), "acted": ((BLOCK_ROWS, k), kernels.real), "sums": sums}
        return {**source.room(kernels), **own}

    def create(kernels: Kernels) -> Accumulator:
        return {
            "moments": kernels.zeros((4, k), np.float64),
            "strengths": kernels.zeros((2, k, top), np.float64),
            "rows": kernels.put(np.full((2, k, top), -1, dtype=np.int64)),
            "checksums": _NONE,
        }

    def load(kernels: Kernels) -> LoadedPass:
        loaded = source.load(kernels)
        acting = kernels.put(np.ascontiguousarray(action, dtype=kernels.real))
        chunk = kernels.pinned((min(chunk_rows, n), k), np.float32)

        def prepare(block: Block, room: Room) -> list[Task]:
            def one(number: int, part: slice) -> None:
                scores, acted = room["scores"][part], room["acted"][part]
                loaded.fill(block, number, part, room, scores)
                kernels.project(scores, acting, acted)
                kernels.moments(scores, acted, room["sums"][number])

            return [partial(one, number, part) for number, part in enumerate(slices(block, kernels.slice_rows))]

        def append(total: Accumulator, block: Block, room: Room) -> list[Task]:
            def fold() -> None:
                for number in range(len(slices(block, kernels.slice_rows))):
                    total["moments"] += room["sums"][number]
                positions = np.arange(block.stop - block.start) if block.kept is None else block.kept
                scores = room["scores"][: len(positions)]
                kernels.keep_tails(scores, kernels.put(block.start + positions), total["strengths"], total["rows"])

            return [fold]

        def look(total: Accumulator, block: Block, room: Room) -> Task:
            refuse, scores = loaded.look(block, room), kernels.fetch(room["scores"][: len(block.raw[0])])

            def see() -> None:
                refuse()
                store(block, scores(), total)

            return see

        def store(block: Block, scores: NDArray[Any], total: Accumulator) -> None:
            begin = block.start - block.start % chunk_rows
            out = chunk[block.start - begin : block.stop - begin]
            if block.kept is None:
                out[...] = scores
            else:
                out[...] = np.nan
                out[block.kept] = scores
            if block.stop % chunk_rows == 0 or block.stop == n:
                finished = chunk[: block.stop - begin]
                write(begin, finished)
                total["checksums"] = np.append(total["checksums"], np.uint32(crc32c(finished)))

        return LoadedPass(prepare, append, look)

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
    return Pass("scores", room, create, load, combine, finalize, shares=True, verifies=True, inputs=inputs)


def score_cost(
    maps: tuple[FeatureMap, ...],
    n: int,
    n_kept: int,
    read: int,
    k: int,
    chunk_rows: int,
    threads: int,
    top: int = 0,
    precision: Precision = "float32",
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
    precision : that is asked for
    """
    scoring = [one.scoring(np.empty((one.dim, 0)))[0] for one in maps]
    d = sum(one.dim for one in scoring)
    multiplied = [*feature_products(scoring), ("scores", BLOCK_ROWS, d, k)]
    return Cost(
        "scores",
        memory=feature_cost(maps, threads) + 4 * BLOCK_ROWS * k * 4 + 2 * min(n, chunk_rows) * k * 4,
        operations=n_kept * (2.0 * (d + k) * k + sum(one.operations for one in scoring)),
        elementary=n_kept * sum(one.elementary for one in scoring),
        read=read,
        disk=n * k * 4,
        partial=(4 * k + 4 * k * top) * 8,
        device_memory=feature_device_cost(maps)
        + 4 * BLOCK_ROWS * k * 4
        + 4 * (d + k) * k
        + 8 * BLOCK_ROWS * FED_BLOCKS * (1 if maps else k)  # numbers of rows, or the scores that come with them
        + 4 * (4 * k + 4 * k * top) * 8  # tails twice, found and sorted once
        + split_memory(multiplied, precision),
    )
