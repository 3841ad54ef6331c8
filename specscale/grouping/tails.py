"""The ends of rotated modes: the rows that cores are looked for among."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_MODES", "TAIL_ROWS", "Scored", "Tail", "tails_of"]

TAIL_ROWS = 200  # of a tail
MOST_MODES = 16  # of each direction, the leading ones


class Scored(NamedTuple):
    """Scores of some rows that follow one another.

    Attributes
    ----------
    positions : (b,) int64, among the rows that take part
    scores : (b, k)
    """

    positions: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class Tail:
    """One end of a rotated mode.

    Attributes
    ----------
    name : as "A3+"
    direction : 1 where A holds it together, −1 where B does
    positions : (t,) int64 among the rows that take part, strongest first
    """

    name: str
    direction: int
    positions: NDArray[np.int64]


def tails_of(rows: Iterator[Scored], rotation: NDArray[np.float64], eigenvalues: NDArray[np.float64]) -> list[Tail]:
    """The rows at both ends of the leading modes of each direction.

    Parameters
    ----------
    rows : scores of the modes
    rotation : (k, k), which makes them those of rotated modes
    eigenvalues : (k,) of the modes; A's are positive
    """
    chosen = [one for sign in (1, -1) for one in np.flatnonzero(np.sign(eigenvalues) == sign)[:MOST_MODES]]
    best = [_Best() for _ in range(2 * len(chosen))]
    for positions, scores in rows:
        turned = scores @ rotation[:, chosen]
        for number, one in enumerate(best):
            one.add(positions, turned[:, number // 2] * (1 - 2 * (number % 2)))
    tails, numbers = [], {1: 0, -1: 0}
    for column, mode in enumerate(chosen):
        direction = 1 if eigenvalues[mode] > 0 else -1
        for end in range(2):
            name = f"{'A' if direction > 0 else 'B'}{numbers[direction]}{'+-'[end]}"
            tails.append(Tail(name, direction, best[2 * column + end].positions))
        numbers[direction] += 1
    return tails


class _Best:
    """The rows of the largest scores so far, strongest first; of equals the lower."""

    def __init__(self) -> None:
        self.positions = np.empty(0, np.int64)
        self._scores = np.empty(0)

    def add(self, positions: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        """Take more rows, which come after those before."""
        if len(self._scores) == TAIL_ROWS:
            better = scores > self._scores[-1]
            positions, scores = positions[better], scores[better]
        positions, scores = np.concatenate([self.positions, positions]), np.concatenate([self._scores, scores])
        order = np.argsort(-scores, kind="stable")[:TAIL_ROWS]
        self.positions, self._scores = positions[order], scores[order]
