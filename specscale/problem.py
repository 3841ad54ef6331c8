"""What is compared: paired rows of two embeddings and the feature map of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specscale.errors import ChangedError
from specscale.features.bandwidth import SAMPLE_ROWS, Bandwidth
from specscale.features.choose import chosen_maps, survey
from specscale.features.maps import FeatureMap, restored_map
from specscale.kernels import Kernels
from specscale.options import Options
from specscale.passes.record import SLICE_ROWS
from specscale.result import Result
from specscale.spectral.difference import Modes
from specscale.stores.embedding import Embedding, EmbeddingStore, is_store, open_embedding
from specscale.stores.ingest import ingest
from specscale.stores.pairing import pair
from specscale.stores.rows import PairedRows
from specscale.stores.screening import screen

__all__ = ["Input", "Problem", "pair_inputs", "pose", "pose_again"]

Input = str | Path | ArrayLike | Embedding


@dataclass(frozen=True)
class Problem:
    """Paired rows and the maps that are to be compared on them.

    Attributes
    ----------
    options : what is computed
    rows : the paired rows
    maps : the feature map of each embedding
    bandwidths : the bandwidth of each embedding and where it came from; None where the kernel has none
    sample : one array (s, p) for each embedding, the rows of the seeded sample
    """

    options: Options
    rows: PairedRows
    maps: tuple[FeatureMap, ...]
    bandwidths: tuple[Bandwidth | None, ...]
    sample: tuple[NDArray[Any], ...]

    @property
    def d_a(self) -> int:
        """Dimension of A's features."""
        return self.maps[0].dim

    def configuration(self) -> dict[str, Any]:
        """Everything that decides the answer, which an interrupted run must share to be taken up again."""
        return {
            **self.options.to_json(),
            "digest of A": self.rows.embeddings[0].digest,
            "digest of B": self.rows.embeddings[1].digest,
            "pairing": asdict(self.rows.match),
            "maps": [one.parameters() for one in self.maps],
            "version": version("specscale"),
        }

    def oriented(self, modes: Modes, kernels: Kernels) -> Modes:
        """Fix the sign of each mode by Σ u³ ≥ 0 over the sample."""
        weights = modes.coefficients.astype(kernels.real)
        for one in self.maps:
            one.prepare(kernels)
        cubes = np.zeros(weights.shape[1])
        for low in range(0, len(self.sample[0]), SLICE_ROWS):
            parts = []
            for one, raw in zip(self.maps, self.sample, strict=True):
                part = np.empty((len(raw[low : low + SLICE_ROWS]), one.dim), dtype=kernels.real)
                one.apply(kernels, raw[low : low + SLICE_ROWS], part)
                parts.append(part)
            cubes += ((np.concatenate(parts, axis=1) @ weights).astype(np.float64) ** 3).sum(axis=0)
        return replace(modes, coefficients=modes.coefficients * np.where(cubes < 0, -1.0, 1.0))


def pair_inputs(a: Input, b: Input, options: Options, work: Path) -> PairedRows:
    """Open two embeddings, pair their rows and leave out those that cannot be compared.

    Parameters
    ----------
    a, b : stores, arrays, embeddings, or files that ingest reads
    options : how rows are matched and which are dropped
    work : a folder for what has to be rewritten first
    """
    first, second = (_opened(one, name, work) for one, name in ((a, "a"), (b, "b")))
    rows = pair(first, second, match=options.match, work=work)
    return screen(rows, directions=options.directions, on_bad=options.on_bad, sample=options.sample, seed=options.seed)


def _opened(given: Input, name: str, work: Path) -> Embedding:
    ingestible = isinstance(given, (str, Path)) and (Path(given).exists() or any(sign in str(given) for sign in "*?["))
    if not ingestible or is_store(cast(str, given)):
        return open_embedding(given, name.upper())
    store = work / f"{name}.zarr"
    ingest(str(given), str(store), on_bad="keep", overwrite=True)
    opened = EmbeddingStore(store)
    opened.source = str(given)
    return opened


def pose(rows: PairedRows, options: Options, size: int, kernels: Kernels, warn: Callable[[str], None]) -> Problem:
    """Look at a seeded sample of the rows and make the feature maps.

    Parameters
    ----------
    rows : the paired rows
    options : kernel, bandwidth rules, normalisation and seed
    size : frequencies of a Fourier map
    kernels : the backend
    warn : takes what the user should know
    """
    unit = options.normalize == "unit"
    _, sample = rows.sample(SAMPLE_ROWS, options.seed)
    geometries = tuple(
        survey(raw, one.name, gaussian=options.kernel == "gaussian", rule=rule, unit=unit, kernels=kernels)
        for raw, one, rule in zip(sample, rows.embeddings, options.rules, strict=True)
    )
    for geometry in geometries:
        for warning in geometry.warnings:
            warn(warning)
    maps = chosen_maps(geometries, features=options.features, size=size, unit=unit, seed=options.seed)
    return Problem(options, rows, maps, tuple(one.bandwidth for one in geometries), sample)


def pose_again(rows: PairedRows, options: Options, before: Result) -> Problem:
    """Take the feature maps of an earlier result on the same rows.

    Raises
    ------
    ChangedError
        When an embedding is no longer the one that was compared.
    """
    for one, was in zip(rows.embeddings, before.summary["inputs"].values(), strict=True):
        if one.digest != was["digest"]:
            raise ChangedError(f"{one.source}: no longer the embedding that was compared: compare them anew")
    bandwidths = tuple(None if one is None else Bandwidth(**one) for one in before.summary["bandwidths"].values())
    _, sample = rows.sample(SAMPLE_ROWS, options.seed)
    return Problem(options, rows, tuple(restored_map(one) for one in before.maps), bandwidths, sample)
