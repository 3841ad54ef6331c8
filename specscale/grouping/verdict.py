"""What is made of a candidate: a group, a theme, or noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from specscale.grouping.edge import HAS_EDGE

__all__ = ["Evidence", "Verdict"]

Verdict = Literal["group", "theme", "noise"]

_ERRORS = 3.0  # standard errors by which the contrast exceeds what it is held against
_MARGIN = 1.2  # times what the search finds in clouds without groups, where no edge speaks for a candidate as well
_SPREAD = 1.1  # times the core's level: members that are more alike than that are several groups around it
_LEAST = 10  # rows that a contrast is measured on


@dataclass(frozen=True)
class Evidence:
    """What is known of a candidate from rows that its core and threshold were not found on.

    Attributes
    ----------
    rows : members that the contrast was measured on
    contrast, se : similarity of two of them above that of any two rows, where they are held together less η times that
        in the other embedding; and its standard error
    other : that excess in the other embedding alone, times the weight of its kernel
    null : what the same search finds in clouds without groups
    level : likeness of the core's rows to the core above that of any row
    edge : depth of the valley in the density
    """

    rows: int
    contrast: float
    se: float
    other: float
    null: float
    level: float
    edge: float

    @property
    def verdict(self) -> Verdict:
        """What holds.

        Two embeddings that are one and the same but for noise differ in every group that both have, by what the noise
        of the members that were chosen happens to be: the contrast counts as far as it exceeds what both hold.
        """
        if self.rows < _LEAST or self.contrast > _SPREAD * self.level:
            return "noise"
        edged = self.edge <= HAS_EDGE
        least = (1 if edged else _MARGIN) * self.null + max(self.other, 0.0)
        if self.contrast - _ERRORS * self.se <= least:
            return "noise"
        return "group" if edged else "theme"
