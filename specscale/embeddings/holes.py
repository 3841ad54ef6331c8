"""Chunks of Zarr arrays that are not there: zarr reads them as the fill value, as if somebody had written it.

Writers leave chunks out that hold nothing but the fill value, but so do writers that died, copies that broke off and
disks that lost a file. Nobody can tell these apart, so what is in no chunk is never taken for numbers unasked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

__all__ = ["Absent", "PresentRows"]

# NaNs that no arithmetic makes, and integers that are seldom met; of each two, because any of them may be met.
_MARKS = {
    "f": {2: (0x7F5A, 0x7EA6), 4: (0x7FE5CA1E, 0x7FD0B51F), 8: (0x7FF9_E5CA_1E5C_A1E5, 0x7FFB_D0B5_1FD0_B51F)},
    "iu": {
        1: (0x5A, 0x26),
        2: (0x5A26, 0x2D71),
        4: (0x5A26_2D71, 0x1C5A_262D),
        8: (0x5A26_2D71_1C5A, 0x2D71_1C5A_262D),
    },
}


@dataclass(frozen=True)
class Absent:
    """Elements of some rows of an array that are in no chunk of it.

    Attributes
    ----------
    elements : b × p flags
    start : the first of the rows, counted over the array
    fill : what they read as
    """

    elements: NDArray[np.bool_]
    start: int
    fill: float

    @property
    def rows(self) -> NDArray[np.bool_]:
        """Rows that lack an element, b flags."""
        return np.asarray(self.elements.any(axis=1))

    def part(self, low: int, high: int) -> Absent | None:
        """The same of the rows ``low:high`` of these; None where they lack nothing."""
        elements = self.elements[low:high]
        return Absent(elements, self.start + low, self.fill) if elements.any() else None


class PresentRows:
    """The rows of an array, and what of them is in no chunk.

    Zarr is asked to read with a fill value of our own: what comes out as that is absent, whatever the version of the
    format, the names of chunks, shards and codecs are. Where a number of the array happens to be the same, a second
    fill value tells.

    Parameters
    ----------
    array : a Zarr array of floating-point numbers or integers, its rows first

    Attributes
    ----------
    fill : what absent elements read as
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.fill = 0 if array.metadata.fill_value is None else array.metadata.fill_value
        self._bits = np.dtype(f"u{array.dtype.itemsize}")
        kind = array.dtype.newbyteorder("=")
        self._marked = [
            (mark, _filled_with(array, np.array(mark, self._bits).view(kind)[()]))
            for mark in _MARKS["f" if kind.kind == "f" else "iu"][kind.itemsize]
        ]
        self._array = array

    def read(self, start: int, stop: int) -> tuple[NDArray[Any], Absent | None]:
        """Read rows.

        Parameters
        ----------
        start, stop : the rows

        Returns
        -------
        values : ndarray
            Rows ``start:stop``, the fill value where they are absent.
        absent : Absent or None
            What is absent; None where nothing is.
        """
        values, absent = self._read(start, stop)
        return values, None if absent is None else Absent(absent.reshape(len(values), -1), start, float(self.fill))

    def read_finished(self, start: int, stop: int) -> tuple[NDArray[Any], Absent | None]:
        """Read rows, as `read` does, and call absent too what a writer that died has left of a chunk.

        These are the rows of the fill value in a chunk that holds other rows, up to one that is not there.
        """
        values, absent = self._read(start, stop)
        tall = int(self._array.chunks[0])
        flat = values.reshape(len(values), -1)
        gaps = np.zeros(flat.shape, np.bool_) if absent is None else absent.reshape(flat.shape)
        found: list[slice] = []
        for low in range(start // tall * tall, stop, tall):
            begin, end = max(low, start) - start, min(low + tall, stop) - start
            for edge, beyond, step in ((end - 1, low + tall, 1), (begin, low - 1, -1)):
                if (flat[edge] == self.fill).all() and not gaps[edge].any() and self._lacks(beyond):
                    unlike = np.flatnonzero((flat[begin:end] != self.fill).any(axis=1))
                    if len(unlike):
                        found.append(
                            slice(begin + unlike[-1] + 1, end) if step == 1 else slice(begin, begin + unlike[0])
                        )
        for rows in found:
            gaps[rows] = True
        return values, Absent(gaps, start, float(self.fill)) if gaps.any() else None

    def _lacks(self, row: int) -> bool:
        """Whether all of a row is absent."""
        if not 0 <= row < self._array.shape[0]:
            return False
        absent = self._read(row, row + 1)[1]
        return absent is not None and bool(absent.all())

    def _read(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        absent: Any = None
        for mark, array in self._marked:
            values = np.asarray(array[start:stop])
            found = values.astype(values.dtype.newbyteorder("="), copy=False).view(self._bits) == mark
            absent = found if absent is None else absent & found
            if not absent.any():
                return values, None
        return np.where(absent, np.asarray(self.fill, values.dtype), values), absent


def _filled_with(array: zarr.Array[Any], fill: Any) -> zarr.Array[Any]:
    """The same array with another fill value, in this process alone."""
    inner = array.async_array
    metadata: Any = replace(inner.metadata, fill_value=fill)
    return zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=inner.store_path, config=inner.config))
