"""What is written of a matrix: modes and members of every pair, and the picture of all of them."""

from __future__ import annotations

import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from specscale.embeddings.rows import PairedRows
from specscale.passes.scores import ScoreSummary
from specscale.pictures.plots import plot_matrix
from specscale.results.writing import Writer, members_table

__all__ = ["MatrixWriter"]


class MatrixWriter(Writer):
    """Writes the result of a matrix."""

    def coefficients(self, name: str, coefficients: NDArray[np.float64]) -> None:
        """Write the modes of a pair in the features of its embeddings, (d, k)."""
        self._coefficients(name, coefficients)

    def members(
        self, tails: ScoreSummary, rows: PairedRows, pairs: list[tuple[str, str]], columns: list[slice]
    ) -> None:
        """Write modes.parquet: the top members of both tails of every mode of every pair."""
        table = members_table(tails, rows)
        number = table.column("mode").to_numpy()
        starts = np.array([part.start for part in columns], dtype=np.int64)
        which = np.searchsorted([part.stop for part in columns], number, side="right")
        table = table.set_column(0, "mode", pa.array(number - starts[which], pa.int32()))
        for position, name in enumerate("ab"):
            of_pair = pa.array([pair[position] for pair in pairs], pa.string())
            table = table.add_column(position, name, of_pair.take(pa.array(which, pa.int64())))
        self._members(table, rows, [str(number) for number in range(len(rows.embeddings))])

    def picture(self, names: list[str], differences: list[float]) -> list[str]:
        """Draw SPEC-diff of the pairs, and return the names in the order of the picture."""
        values = np.zeros((len(names), len(names)))
        for (i, j), one in zip(combinations(range(len(names)), 2), differences, strict=True):
            values[i, j] = values[j, i] = one
        order = _clustered(values)
        called = [names[i] for i in order]
        with tempfile.TemporaryDirectory() as here:
            drawn = plot_matrix(called, values[np.ix_(order, order)], Path(here) / "matrix.png")
            (self.folder / "matrix.png").write_bytes(drawn.read_bytes())
        return called


def _clustered(values: NDArray[np.float64]) -> list[int]:
    """The order in which alike embeddings are neighbours: hierarchical clustering with optimal leaf order.

    Average linkage; leaves as Bar-Joseph, Gifford and Jaakkola (2001) order them.

    Parameters
    ----------
    values : (m, m) symmetric, SPEC-diff of each pair
    """
    tree = linkage(squareform(values), method="average", optimal_ordering=True)
    return [int(i) for i in leaves_list(tree)]
