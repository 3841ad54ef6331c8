"""A run that has begun: its problem and plan, and the steps of that plan which find its result."""

from __future__ import annotations

from specscale.method.prologue import Begun
from specscale.method.rounding import rounding
from specscale.method.run import Run
from specscale.results.schema import RoundingRecord
from specscale.spectral.difference import Modes
from specscale.spectral.lanczos import VectorModes

__all__ = ["Job"]


class Job:
    """What the steps of a plan add to, one after another.

    Parameters
    ----------
    run : the run
    begun : its problem and plan

    Attributes
    ----------
    modes : what it finds
    rounding : how far tensor cores move them; None where none multiplied
    """

    modes: Modes | VectorModes
    rounding: RoundingRecord | None = None

    def __init__(self, run: Run, begun: Begun) -> None:
        self.run, self.problem, self.plan, self.machine = run, begun.problem, begun.plan, begun.machine

    def compute(self) -> None:
        """Take all steps that are planned; there are no others."""
        self.run.go(self.plan.sequence.computing, self)

    def measure_rounding(self) -> None:
        """Measure what the precision changes."""
        self.rounding = rounding(self.run, self.problem, self.modes, self.pairs_of_modes())

    def pairs_of_modes(self) -> list[tuple[int, int]]:
        """The two embeddings of each mode, by their numbers."""
        return [(0, 1)] * len(self.modes.eigenvalues)
