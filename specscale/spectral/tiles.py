"""A symmetric matrix held as the tiles of its lower triangle, in one flat buffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from specscale.kernels.base import RunTasks

__all__ = ["TILE", "TiledSymmetric", "tile_edges"]

TILE = 1400
_MIRROR = 128


def tile_edges(d: int) -> list[int]:
    """Cut d columns into tiles of nearly equal width, at most TILE.

    A matter of d alone, never of the threads. Wide tiles are faster each (at 1,400 columns within a tenth of a large
    product's rate), several of them keep the threads busy.
    """
    count = max(-(-d // TILE), 2 if d >= 256 else 1)
    return [d * i // count for i in range(count + 1)]


class TiledSymmetric:
    """The lower-triangle tiles of a symmetric d × d matrix.

    Half the memory of the square matrix, one array to write to a checkpoint, and independent pieces for the threads
    that accumulate it and multiply by it.

    Parameters
    ----------
    d : order of the matrix
    buffer : (TiledSymmetric.size(d),) float64, zeros by default
    """

    def __init__(self, d: int, buffer: NDArray[np.float64] | None = None) -> None:
        self.d = d
        self.edges = tile_edges(d)
        self.buffer = np.zeros(self.size(d)) if buffer is None else buffer
        self._tiles: dict[tuple[int, int], NDArray[np.float64]] = {}
        offset = 0
        bounds = list(pairwise(self.edges))
        for i, (a, b) in enumerate(bounds):
            for j, (c, e) in enumerate(bounds[: i + 1]):
                length = (b - a) * (e - c)
                self._tiles[i, j] = self.buffer[offset : offset + length].reshape(b - a, e - c)
                offset += length

    @staticmethod
    def size(d: int) -> int:
        """Numbers in the buffer."""
        widths = np.diff(tile_edges(d))
        return int((widths.sum() ** 2 + (widths**2).sum()) // 2)

    def tiles(self) -> Iterator[tuple[slice, slice, NDArray[np.float64]]]:
        """Yield the row range, the column range and the array of every tile, the full square ones first."""
        for i, j in sorted(self._tiles, key=lambda ij: ij[0] == ij[1]):
            yield slice(*self.edges[i : i + 2]), slice(*self.edges[j : j + 2]), self._tiles[i, j]

    def mirror(self) -> None:
        """Complete the diagonal tiles, of which only the lower triangle was accumulated."""
        for i in range(len(self.edges) - 1):
            tile = self._tiles[i, i]
            for low in range(0, len(tile), _MIRROR):
                high = low + _MIRROR
                tile[low:high, high:] = tile[high:, low:high].T
                corner = tile[low:high, low:high]
                corner[...] = np.tril(corner) + np.tril(corner, -1).T

    def matmul(self, x: NDArray[np.float64], run: RunTasks) -> NDArray[np.float64]:
        """Multiply by x (d, k): the product (d, k), each range of rows a task of its own."""
        y = np.empty_like(x)
        count = len(self.edges) - 1
        parts = [x[a:b] for a, b in pairwise(self.edges)]

        def rows(i: int) -> None:
            total = self._tiles[i, i] @ parts[i]
            for j in range(i):
                total += self._tiles[i, j] @ parts[j]
            for j in range(i + 1, count):
                total += self._tiles[j, i].T @ parts[j]
            y[self.edges[i] : self.edges[i + 1]] = total

        run([lambda i=i: rows(i) for i in range(count)])  # type: ignore[misc]
        return y

    def _copy(self, rows: slice, columns: slice, out: NDArray[np.float64]) -> None:
        """Write the entries of some rows and columns of the square matrix into `out`."""
        for down, across, tile in self.tiles():
            for high, wide, values in ((down, across, tile), (across, down, tile.T)):
                top, bottom = max(high.start, rows.start), min(high.stop, rows.stop)
                left, right = max(wide.start, columns.start), min(wide.stop, columns.stop)
                if top < bottom and left < right:
                    out[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = values[
                        top - high.start : bottom - high.start, left - wide.start : right - wide.start
                    ]

    def band(self, start: int, stop: int) -> NDArray[np.float64]:
        """Rows ``start:stop`` of the square matrix, (stop − start, d)."""
        out = np.empty((stop - start, self.d))
        self._copy(slice(start, stop), slice(0, self.d), out)
        return out

    def sub(self, ranges: Sequence[slice]) -> TiledSymmetric:
        """The matrix of some rows and the same columns.

        Parameters
        ----------
        ranges : disjoint ranges, in the order that their rows and columns will have
        """
        starts = np.cumsum([0, *(one.stop - one.start for one in ranges)]).tolist()
        small = TiledSymmetric(starts[-1])

        def parts(of: slice) -> Iterator[tuple[slice, slice]]:
            """Where a range of the small matrix lies in this one, piece by piece."""
            for one, start in zip(ranges, starts, strict=False):
                low, high = max(of.start, start), min(of.stop, start + one.stop - one.start)
                if low < high:
                    yield (
                        slice(low - of.start, high - of.start),
                        slice(one.start + low - start, one.start + high - start),
                    )

        for rows, columns, tile in small.tiles():
            for into_rows, from_rows in parts(rows):
                for into_columns, from_columns in parts(columns):
                    self._copy(from_rows, from_columns, tile[into_rows, into_columns])
        return small

    def dense(self) -> NDArray[np.float64]:
        """The square matrix, (d, d)."""
        return self.band(0, self.d)

    @classmethod
    def from_dense(cls, matrix: NDArray[np.float64]) -> TiledSymmetric:
        """Take the lower triangle of a symmetric matrix."""
        tiled = cls(matrix.shape[0])
        for rows, columns, tile in tiled.tiles():
            tile[...] = matrix[rows, columns]
        return tiled
