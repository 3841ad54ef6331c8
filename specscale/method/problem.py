"""What is compared: paired rows of two embeddings and the feature map of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from upath import UPath

from specscale import seeds
from specscale.embeddings.arrays import is_lazy, taken
from specscale.embeddings.base import Embedding
from specscale.embeddings.dropped import numbered
from specscale.embeddings.duplicates import MOST_ROWS, Duplicates, find_duplicates
from specscale.embeddings.pairing import pair_many
from specscale.embeddings.reordered import origin_of
from specscale.embeddings.rows import PairedRows
from specscale.embeddings.screening import screen
from specscale.embeddings.store import EmbeddingStore, open_embedding
from specscale.errors import ChangedError, InputError, OptionError
from specscale.features.bandwidth import SAMPLE_ROWS, Bandwidth
from specscale.features.base import FeatureMap
from specscale.features.kernel import ExactKernel
from specscale.features.registry import chosen_maps, restored_map
from specscale.features.survey import affine_of, survey
from specscale.kernels.base import Kernels
from specscale.method.options import Options
from specscale.method.run import Run
from specscale.method.sizing import chosen_landmarks
from specscale.passes.mapping import LoadedMaps
from specscale.places.files import Location, located, unchained
from specscale.results.comparison import ComparisonResult
from specscale.results.pairs import check_pairs
from specscale.runtime.events import Noted
from specscale.sources.choosing import describe
from specscale.sources.naming import check_name, distinct_names, letters, model_name
from specscale.sources.paths import is_source
from specscale.spectral.difference import Modes
from specscale.spectral.lanczos import VectorModes
from specscale.spectral.varimax import rotation_of
from specscale.stores.ingest import ingest

__all__ = [
    "Input",
    "Problem",
    "check_inputs",
    "check_names",
    "looked_through",
    "opened",
    "pair_inputs",
    "pose",
    "pose_again",
    "pose_alike",
]

Input = str | Path | UPath | ArrayLike | Embedding
Scores = NDArray[np.float64]

_MANY_DUPLICATES = 0.01  # of the rows: more are worth a warning
_VARIMAX_ROWS = 32_768


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

    def scores_of(self, coefficients: NDArray[np.float64], raw: Sequence[NDArray[Any]], kernels: Kernels) -> Scores:
        """Scores √n u of some rows under modes in feature space, (s, k)."""
        host = kernels.host
        weights = coefficients.astype(host.real)
        out = np.empty((len(raw[0]), weights.shape[1]), dtype=host.real)
        loaded, bad = LoadedMaps.of(self.maps, host), np.full(1, -1, dtype=np.int64)
        for low in range(0, len(out), host.slice_rows):
            part = slice(low, low + host.slice_rows)
            features = np.empty((len(out[part]), len(weights)), dtype=host.real)
            for one, columns, x in zip(loaded.maps, loaded.columns, raw, strict=True):
                one.apply(x[part], features[:, columns], bad)
            host.project(features, weights, out[part])
        return out.astype(np.float64)

    def oriented(self, modes: Modes | VectorModes, kernels: Kernels) -> Modes | VectorModes:
        """Fix the sign of each mode by Σ u³ ≥ 0 over the sample."""
        sampled = self._sampled_scores(modes, self.positions, self.sample, kernels)
        return modes.turned(np.diag(np.where((sampled**3).sum(axis=0) < 0, -1.0, 1.0)))

    def localised(self, modes: Modes | VectorModes, kernels: Kernels) -> Modes | VectorModes:
        """Rotate the modes of each direction by varimax over a sample of their scores."""
        positions, raw = self.rows.sample(_VARIMAX_ROWS, self.options.seed, seeds.VARIMAX)
        return modes.turned(rotation_of(modes, self._sampled_scores(modes, positions, raw, kernels)))

    def _sampled_scores(
        self, modes: Modes | VectorModes, positions: NDArray[np.int64], raw: Sequence[NDArray[Any]], kernels: Kernels
    ) -> Scores:
        if isinstance(modes, VectorModes):
            return np.asarray(modes.vectors[positions])
        return self.scores_of(modes.coefficients, raw, kernels)


def pair_inputs(
    inputs: Sequence[Input], options: Options, work: Location, names: Sequence[str | None] | None = None
) -> PairedRows:
    """Open embeddings, pair their rows and leave out those that cannot be compared.

    Parameters
    ----------
    inputs : two or more stores, arrays, embeddings, or files that ingest reads
    options : how rows are matched and which are dropped
    work : a folder for what has to be rewritten first
    names : what to call them; by default, and where one is None, as their stores, and so that no two are called alike
    """
    check_names(names, len(inputs))
    embeddings = [opened(one, letters(number).lower(), work, options.on_bad) for number, one in enumerate(inputs)]
    embeddings = _called(embeddings, names if names is not None else [None] * len(inputs))
    rows = pair_many(embeddings, match=options.match, work=work, min_matched=options.min_matched)
    return screen(rows, directions=options.lengths, on_bad=options.on_bad, sample=options.sample, seed=options.seed)


def check_names(names: Sequence[str | None] | None, count: int) -> None:
    """Raise OptionError when names are not different ones, one for each embedding or None."""
    if names is None:
        return
    given = [] if isinstance(names, str) else [one for one in names if one is not None]
    if isinstance(names, str) or len(names) != count or len(set(given)) < len(given):
        raise OptionError(f"names are {count} different ones, --name-a and --name-b of two embeddings, not {names!r}")
    for one in given:
        check_name(one)


def _called(embeddings: Sequence[Embedding], names: Sequence[str | None]) -> list[Embedding]:
    """Embeddings under names that differ; those of the caller keep theirs."""
    wanted = [one.name if name is None else name for one, name in zip(embeddings, names, strict=True)]
    fixed = [name is not None for name in names]
    out = []
    for one, name in zip(embeddings, distinct_names(wanted, [one.source for one in embeddings], fixed), strict=True):
        if one.name != name:
            renamed = object.__new__(type(one))
            renamed.__dict__.update(one.__dict__)
            renamed.name, one = name, renamed
        out.append(one)
    return out


def opened(given: Input, name: str, work: Location, on_bad: str = "error") -> Embedding:
    """Open what is given as an embedding; files that ingest reads, and Dask arrays, become a store in `work` first."""
    given = unchained(taken(given, name.upper()))
    store = work / f"{name}.zarr"
    if is_lazy(given):
        ingest(cast(Any, given), store, name=name.upper(), on_bad="keep", overwrite=True)
        computed = EmbeddingStore(store)
        computed.source = name.upper()
        return computed
    if isinstance(given, str) and given.startswith("file://"):
        given = str(located(given))
    if not isinstance(given, (str, Path, UPath)) or not is_source(str(given)):
        return open_embedding(given, name.upper())
    report = ingest(str(given), store, name=model_name([str(given)]), on_bad="keep", overwrite=True)
    if report.absent and on_bad == "error":
        raise InputError(f"{report.absent[0]}: restore these, or leave such rows out with --on-bad drop")
    opened = EmbeddingStore(store)
    opened.source = str(given)
    return opened


def looked_through(rows: PairedRows, run: Run) -> tuple[PairedRows, tuple[Duplicates, ...]]:
    """Verify the rows, and find those of each embedding that repeat others; beyond a number of rows neither.

    All rows are read once. What is not verified here the passes verify that read all rows for the first time.
    """
    if rows.n_kept > MOST_ROWS:
        run.notify(Noted(f"repeated rows are not looked for among more than {MOST_ROWS:,}"))
        return rows, ()
    with run.step("duplicates"):
        found = tuple(find_duplicates(one, rows.kept) for one in rows.embeddings)
    return replace(rows, verified=True), found


def pose(rows: PairedRows, options: Options, most: int, run: Run, duplicates: tuple[Duplicates, ...] = ()) -> Problem:
    """Look at a seeded sample of the rows, choose bandwidths and make the feature maps.

    Parameters
    ----------
    rows : the paired rows
    options : kernel, bandwidth rules, normalisation, maps and seed
    most : the size of the maps, or the largest one where the size is still to be chosen
    run : the run, whose steps these are
    duplicates : the rows of each embedding that repeat others; none where nobody looked, as for a plan
    """
    with run.step("bandwidth"):
        unit = options.normalize == "unit"
        positions, sample = rows.sample(SAMPLE_ROWS, options.seed)
        geometries = tuple(
            survey(
                raw,
                one.name,
                gaussian=options.kernel == "gaussian",
                rule=rule,
                unit=unit,
                kernels=run.kernels.host,
                affine=affine_of(raw, options.normalize),
            )
            for raw, one, rule in zip(sample, rows.embeddings, options.rules, strict=True)
        )
    choice = [
        f"vectors of {one.name}: {describe(store.vectors)}"
        for one in rows.embeddings
        if isinstance(store := origin_of(one), EmbeddingStore) and store.source != store.path and store.vectors
    ]
    for one, geometry in zip(rows.embeddings, geometries, strict=True):
        for warning in geometry.warnings:
            run.warn(warning)
        if geometry.bandwidth:
            choice.append(f"σ of {one.name} {geometry.bandwidth.describe()}")
        if geometry.note:
            choice.append(geometry.note)
    exact = tuple(one.kernel for one in geometries)
    maps: tuple[FeatureMap, ...] = ()
    if options.features == "landmarks":
        with run.step("landmarks"):
            size = _size_taken_up(run.place.interrupted())
            sampled = (positions, sample)
            landmarks = chosen_landmarks(rows, exact, options, most, sampled, run.kernels.host, run.pool.run, size)
        maps = landmarks.maps
        choice.append(str(landmarks))
    elif options.features != "exact":
        maps = chosen_maps(exact, features=options.features, size=most, seed=options.seed)
    for one, found in zip(rows.embeddings, duplicates, strict=bool(duplicates)):
        if found.rows > _MANY_DUPLICATES * rows.n_kept or found.zeros > 1:
            run.warn(_said(found, one))
        elif found.rows:
            choice.append(_said(found, one))
    bandwidths = tuple(one.bandwidth for one in geometries)
    return Problem(options, rows, exact, maps, bandwidths, positions, sample, "; ".join(choice), duplicates)


def _size_taken_up(interrupted: dict[str, Any] | None) -> int | None:
    """The size of the maps of an interrupted run, which other modes or another η would not have chosen."""
    maps = (interrupted or {}).get("maps")
    return maps[0].get("size") if maps else None


def _said(found: Duplicates, one: Embedding) -> str:
    """The repeated rows of an embedding, its rows by their numbers in the source where these are known."""
    numbers = numbered(one, np.array(found.example, dtype=np.int64))
    known = (numbers >= 0).all()
    return replace(found, example=tuple(numbers.tolist()) if known else found.example).describe(one.name)


def check_inputs(rows: PairedRows, before: ComparisonResult) -> None:
    """Raise ChangedError when embeddings are not those that an earlier result compared, or are paired otherwise."""
    for one, was in zip(rows.embeddings, before.record.inputs.values(), strict=True):
        if one.digest != was.digest:
            raise ChangedError(f"{one.source}: no longer the embedding that was compared: compare them anew")
    check_pairs(rows, before)


def pose_again(rows: PairedRows, options: Options, before: ComparisonResult) -> Problem:
    """Take the kernels and feature maps of an earlier result on the same rows.

    Raises
    ------
    ChangedError
        When an embedding is no longer the one that was compared.
    InputError
        When the maps of the result are damaged.
    """
    check_inputs(rows, before)
    duplicates = tuple(Duplicates(**vars(one)) for one in before.record.duplicates)
    return pose_alike(rows, options, before, before.record.choice, duplicates)


def pose_alike(
    rows: PairedRows, options: Options, before: ComparisonResult, choice: str, duplicates: tuple[Duplicates, ...]
) -> Problem:
    """Take the kernels and feature maps of an earlier result on other rows.

    Parameters
    ----------
    rows : the paired rows
    options : those of the earlier result, but for what does not concern the maps
    before : the earlier result
    choice : what was chosen, for people
    duplicates : the rows of each embedding that repeat others

    Raises
    ------
    InputError
        When the maps of the result are damaged.
    """
    positions, sample = rows.sample(SAMPLE_ROWS, options.seed)
    maps: tuple[FeatureMap, ...] = ()
    try:
        bandwidths = tuple(None if one is None else Bandwidth(**vars(one)) for one in before.record.bandwidths.values())
        exact = tuple(ExactKernel.restored(one) for one in before.maps)
        if options.features != "exact":
            arrays = [before.map_arrays(i) for i in range(len(before.maps))]
            if not all(np.isfinite(one).all() for arrays_of_map in arrays for one in arrays_of_map.values()):
                raise ValueError  # written over
            maps = tuple(restored_map(*both) for both in zip(before.maps, arrays, strict=True))
    except (KeyError, TypeError, ValueError):
        raise before.damaged("the feature maps are") from None
    return Problem(options, rows, exact, maps, bandwidths, positions, sample, choice, duplicates)
