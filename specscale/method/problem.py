"""What is compared: paired rows, the kernel of each embedding and its feature map."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.duplicates import Duplicates
from specscale.embeddings.rows import PairedRows
from specscale.features.bandwidth import Bandwidth
from specscale.features.base import FeatureMap
from specscale.features.kernel import ExactKernel
from specscale.method.options import Options

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """Paired rows, the kernels that are to be compared on them, and their feature maps.

    Attributes
    ----------
    options : what is computed
    rows : the paired rows
    exact : the kernel of each embedding
    maps : the feature map of each embedding; none where the kernels themselves are used
    bandwidths : the bandwidth of each embedding and where it came from; None where the kernel has none
    positions : (s,) int64, the seeded sample, as positions among the rows that take part
    sample : one array (s, p) for each embedding, the rows of the sample
    choice : what was chosen where the options left it open, for people
    duplicates : the rows of each embedding that repeat others
    """

    options: Options
    rows: PairedRows
    exact: tuple[ExactKernel, ...]
    maps: tuple[FeatureMap, ...]
    bandwidths: tuple[Bandwidth | None, ...]
    positions: NDArray[np.int64]
    sample: tuple[NDArray[Any], ...]
    choice: str
    duplicates: tuple[Duplicates, ...]

    @property
    def d_a(self) -> int:
        """Dimension of A's features."""
        return self.maps[0].dim

    @property
    def wide(self) -> bool:
        """Whether a kernel is evaluated in float64."""
        return any(one.wide for one in self.exact)

    @property
    def size(self) -> int | None:
        """Frequencies or landmarks of each map; None for maps without a size."""
        size: int | None = self.parameters()[0].get("size")
        return size

    def parameters(self) -> list[dict[str, Any]]:
        """Everything that defines the maps, or the kernels where there are none, but for arrays."""
        if self.maps:
            return [one.parameters() for one in self.maps]
        return [{"map": "exact", "p": one.p, **one.parameters()} for one in self.exact]

    def configuration(self) -> dict[str, Any]:
        """Everything that decides the answer, which an interrupted run must share to be taken up again."""
        return {
            **self.options.to_json(),
            "digest of A": self.rows.embeddings[0].digest,
            "digest of B": self.rows.embeddings[1].digest,
            "pairing": asdict(self.rows.match),
            "maps": self.parameters(),
            "version": version("specscale"),
        }
