"""What an earlier result gives a run that goes on from it: its kernels and maps, its covariance, its names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from specscale.embeddings.duplicates import Duplicates
from specscale.embeddings.rows import PairedRows
from specscale.errors import ChangedError
from specscale.features.bandwidth import SAMPLE_ROWS, Bandwidth
from specscale.features.base import FeatureMap
from specscale.features.kernel import ExactKernel
from specscale.features.registry import restored_map
from specscale.method.options import Options
from specscale.method.problem import Problem
from specscale.results.comparison import ComparisonResult
from specscale.results.pairs import check_pairs
from specscale.results.writing import checksum_of
from specscale.spectral.tiles import TiledSymmetric

__all__ = ["Earlier", "check_inputs", "covariance_of", "names_of"]


@dataclass(frozen=True)
class Earlier:
    """An earlier result whose kernels and feature maps are taken.

    Attributes
    ----------
    result : the result
    choice : what was chosen, for people
    duplicates : the rows of each embedding that repeat others, where these are not looked for again
    """

    result: ComparisonResult
    choice: str
    duplicates: tuple[Duplicates, ...] = ()

    @classmethod
    def on_the_same_rows(cls, result: ComparisonResult) -> Earlier:
        """Take all that the result says of its rows."""
        found = tuple(Duplicates(**vars(one)) for one in result.record.duplicates)
        return cls(result, result.record.choice, found)

    @property
    def size(self) -> int:
        """The size of its maps, 0 for maps without a size."""
        return self.result.record.maps.size or 0

    def problem(self, rows: PairedRows, options: Options, duplicates: tuple[Duplicates, ...]) -> Problem:
        """Pose the problem on rows that may be others.

        Parameters
        ----------
        rows : the paired rows
        options : those of the result, but for what does not concern the maps
        duplicates : what was found in these rows; none where nobody looked

        Raises
        ------
        InputError
            When the maps of the result are damaged.
        """
        before = self.result
        positions, sample = rows.sample(SAMPLE_ROWS, options.seed)
        maps: tuple[FeatureMap, ...] = ()
        try:
            bandwidths = tuple(
                None if one is None else Bandwidth(**vars(one)) for one in before.record.bandwidths.values()
            )
            exact = tuple(ExactKernel.restored(one) for one in before.maps)
            if options.features != "exact":
                arrays = [before.map_arrays(i) for i in range(len(before.maps))]
                if not all(np.isfinite(one).all() for arrays_of_map in arrays for one in arrays_of_map.values()):
                    raise ValueError  # written over
                maps = tuple(restored_map(*both) for both in zip(before.maps, arrays, strict=True))
        except (KeyError, TypeError, ValueError):
            raise before.damaged("the feature maps are") from None
        found = duplicates or self.duplicates
        return Problem(options, rows, exact, maps, bandwidths, positions, sample, self.choice, found)


def check_inputs(rows: PairedRows, before: ComparisonResult) -> None:
    """Raise ChangedError when embeddings are not those that an earlier result compared, or are paired otherwise."""
    for one, was in zip(rows.embeddings, before.record.inputs.values(), strict=True):
        if one.digest != was.digest:
            raise ChangedError(f"{one.source}: no longer the embedding that was compared: compare them anew")
    check_pairs(rows, before)


def covariance_of(result: ComparisonResult) -> TiledSymmetric:
    """The covariance that a result keeps."""
    try:
        C = TiledSymmetric.from_dense(cast(Any, result.covariance))
    except (OSError, ValueError):
        raise result.damaged("the covariance is") from None
    if not np.isfinite(C.buffer.sum()):  # written over
        raise result.damaged("the covariance is")
    result.verify("covariance", checksum_of(C))
    return C


def names_of(result: ComparisonResult, given: Sequence[str | None] | None = None) -> Sequence[str | None] | None:
    """What to call A and B; in results of old versions both may have one name."""
    before = [one.name for one in result.record.inputs.values()]
    kept: list[str | None] = [*before] if len(set(before)) == len(before) else [None] * len(before)
    if given is None or isinstance(given, str) or len(given) != len(kept):
        return kept if given is None else given
    return [old if new is None else new for old, new in zip(kept, given, strict=True)]
