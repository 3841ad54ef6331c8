"""The spectra of a kernel over a range of bandwidths, as they are printed and drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from specscale.features.bandwidth import SAMPLE_ROWS, Bandwidth
from specscale.features.spectrum import Spectrum

if TYPE_CHECKING:
    pass

__all__ = ["LEADING", "BandwidthLine", "StoreBandwidths"]

LEADING = 10  # eigenvalues in tables and JSON


@dataclass(frozen=True)
class BandwidthLine:
    """One bandwidth of one embedding.

    Attributes
    ----------
    sigma : the bandwidth
    rule : what to give as --sigma-a for it
    spectrum : all eigenvalues of the exact K/s on the sample
    """

    sigma: float
    rule: str
    spectrum: Spectrum

    def to_json(self) -> dict[str, Any]:
        """Return the line as plain values, with the leading eigenvalues."""
        found = self.spectrum
        return {
            "sigma": self.sigma,
            "rule": self.rule,
            "eigenvalues": found.eigenvalues[:LEADING].tolist(),
            "groups": found.groups,
            "rke": found.rke,
            "state": found.state,
        }


@dataclass(frozen=True)
class StoreBandwidths:
    """A range of bandwidths of one embedding.

    Attributes
    ----------
    name, source : the embedding
    rows : its rows, without those left out
    sampled : rows of the sample whose spectra these are
    auto : the bandwidth that a comparison takes by default, with the top eigenvalue on its own larger sample
    lines : the bandwidths, ascending
    """

    name: str
    source: str
    rows: int
    sampled: int
    auto: Bandwidth
    lines: tuple[BandwidthLine, ...]

    @property
    def why(self) -> str:
        """What auto takes, and why."""
        return f"auto takes {self.auto.describe()} on {min(self.rows, SAMPLE_ROWS):,} rows"

    def to_json(self) -> dict[str, Any]:
        """Return the range as plain values."""
        return {
            "store": self.name,
            "source": self.source,
            "rows": self.rows,
            "sampled": self.sampled,
            "auto": {**vars(self.auto), "why": self.why},
            "bandwidths": [one.to_json() for one in self.lines],
        }
