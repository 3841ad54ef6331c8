"""Rows in memory among which cores of groups are looked for, and how like they are to one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.features.kernel import ExactKernel
from specscale.kernels.base import Kernels

__all__ = ["Pool", "weights_of"]

Rows = NDArray[np.int64]
Real = NDArray[np.floating[Any]]


def weights_of(direction: int, eta: float) -> tuple[float, float]:
    """What the kernels of A and of B weigh in the likeness of rows: a group of A's (1) is alike in A, one of B's in B.

    Parameters
    ----------
    direction : 1 for what A holds together, −1 for what B does
    eta : weight of B's kernel
    """
    return (1.0, -eta) if direction > 0 else (-1.0, eta)


class Pool:
    """Rows of both embeddings.

    Parameters
    ----------
    exact : the kernel of each embedding
    raw : rows (s, p) of each embedding, as they are stored
    eta : weight of B's kernel
    kernels : a backend of the host
    """

    def __init__(self, exact: Sequence[ExactKernel], raw: Sequence[NDArray[Any]], eta: float, kernels: Kernels) -> None:
        self.eta = eta
        self._exact, self._raw, self._kernels = exact, raw, kernels.host
        self._rows = [one.standardised(self._kernels, x)[0] for one, x in zip(exact, raw, strict=True)]

    def __len__(self) -> int:
        return len(self._raw[0])

    def raw(self, rows: Rows) -> tuple[NDArray[Any], ...]:
        """Some rows of each embedding, as they are stored."""
        return tuple(one[rows] for one in self._raw)

    def kernel(self, which: int, rows: Rows, anchors: Rows) -> Real:
        """The exact kernel of one embedding between some rows and others, (rows, anchors)."""
        against = self._exact[which].anchors(self._kernels, self._raw[which][anchors])
        out = np.empty((len(rows), len(anchors)), dtype=self._kernels.real)
        against.evaluate(self._kernels, self._rows[which][rows], slice(None), out)
        return out

    def likeness(self, rows: Rows, anchors: Rows, direction: int) -> Real:
        """How like rows are to others where the direction holds together, and not in the other embedding."""
        a, b = weights_of(direction, self.eta)
        out = self.kernel(0, rows, anchors)
        out *= a
        out += b * self.kernel(1, rows, anchors)
        return out
