"""Arrays of a row for each row that is compared, in the work directory: passes read and write them in any process."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.rows import Block, PairedRows
from specscale.errors import InputError
from specscale.grid import BLOCK_ROWS
from specscale.passes.base import Pass
from specscale.places.files import Location
from specscale.runtime.checkpoints import load_arrays, save_arrays
from specscale.runtime.spans import Span

__all__ = ["RowArray", "RowsBeside"]


@dataclass(frozen=True)
class RowArray:
    """An array of rows in chunks with checksums.

    Attributes
    ----------
    folder : where the chunks are; it exists where folders do
    edges : positions at which chunks begin, and the one after the last row
    shape : of one row
    dtype : its type
    """

    folder: Location
    edges: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def written(cls, folder: Location, values: NDArray[Any]) -> RowArray:
        """Write an array whole, in chunks of a block's rows."""
        folder.mkdir(parents=True, exist_ok=True)
        edges = (*range(0, len(values), BLOCK_ROWS), len(values))
        array = cls(folder, edges, values.shape[1:], values.dtype.name)
        array.write(0, values)
        return array

    def empty(self, rows: int) -> NDArray[Any]:
        """Memory for so many rows."""
        return np.empty((rows, *self.shape), self.dtype)

    def write(self, first: int, values: NDArray[Any]) -> None:
        """Write whole chunks, from the one that begins at position `first` on."""
        low = first
        while low < first + len(values):
            chunk = self._chunk_at(low)
            high = self.edges[chunk + 1]
            save_arrays(self._path(chunk), {"rows": values[low - first : high - first]})
            low = high

    def read(self, low: int, high: int) -> NDArray[Any]:
        """Read the rows at positions ``low:high``.

        Raises
        ------
        InputError
            When a chunk is damaged or gone.
        """
        if low == high:
            return self.empty(0)
        chunk = self._chunk_at(low)
        if high <= self.edges[chunk + 1]:
            return self._load(chunk)[low - self.edges[chunk] : high - self.edges[chunk]]
        out = self.empty(high - low)
        at = low
        while at < high:
            chunk = self._chunk_at(at)
            begin, end = self.edges[chunk], min(self.edges[chunk + 1], high)
            out[at - low : end - low] = self._load(chunk)[at - begin : end - begin]
            at = end
        return out

    def of(self, block: Block) -> NDArray[Any]:
        """Read the rows at the kept rows of a block."""
        return self.read(block.offset, block.offset + len(block.raw[0]))

    def _load(self, chunk: int) -> NDArray[Any]:
        path = self._path(chunk)
        try:
            arrays = load_arrays(path)
        except FileNotFoundError:
            arrays = None
        if arrays is None:
            raise InputError(f"{path}: damaged or gone: run the command again with --resume")
        rows: NDArray[Any] = arrays["rows"]
        return rows

    def _chunk_at(self, position: int) -> int:
        return bisect_right(self.edges, position) - 1  # the last that begins there: those before it are empty

    def _path(self, chunk: int) -> Location:
        return self.folder / f"{chunk}.rows"


class RowsBeside:
    """The rows of a pass's arrays, beside the blocks of its spans.

    Parameters
    ----------
    work : the pass
    rows : the paired rows
    spans : the spans that it passes over, in order
    """

    def __init__(self, work: Pass[Any], rows: PairedRows, spans: list[Span]) -> None:
        self._work, self._rows = work, rows
        self._starts = {span.start: span for span in spans}
        self._made: dict[int, tuple[int, dict[str, NDArray[Any]]]] = {}

    def added(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Yield the blocks of the spans with the rows that are to be read, and memory for those to be written."""
        first, made = 0, dict[str, NDArray[Any]]()
        for block in blocks:
            if span := self._starts.get(block.start):
                first, made = block.offset, self._empty(span)
                self._made[span.index] = first, made
            part = slice(block.offset - first, block.offset - first + len(block.raw[0]))
            inputs = {name: rows(block) for name, rows in self._work.inputs.items()}
            yield block._replace(inputs=inputs, outputs={name: one[part] for name, one in made.items()})

    def write(self, span: Span) -> None:
        """Write what was made of the rows of a span."""
        first, made = self._made.pop(span.index)
        for name, values in made.items():
            self._work.outputs[name].write(first, values)

    def _empty(self, span: Span) -> dict[str, NDArray[Any]]:
        count = self._rows.kept_before(span.stop) - self._rows.kept_before(span.start)
        return {name: one.empty(count) for name, one in self._work.outputs.items()}
