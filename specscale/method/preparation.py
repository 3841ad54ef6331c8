"""From paired rows to a problem: repeated rows, bandwidths and feature maps, each a step of the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.base import Embedding
from specscale.embeddings.dropped import numbered
from specscale.embeddings.duplicates import MOST_ROWS, Duplicates, duplicates_cost, find_duplicates
from specscale.embeddings.reordered import origin_of
from specscale.embeddings.rows import PairedRows
from specscale.embeddings.store import EmbeddingStore
from specscale.features.bandwidth import SAMPLE_ROWS, bandwidth_cost
from specscale.features.base import FeatureMap
from specscale.features.landmarks import LandmarkMap, landmarks_cost
from specscale.features.registry import chosen_maps
from specscale.features.survey import Geometry, affine_of, survey
from specscale.method.options import Options
from specscale.method.problem import Problem
from specscale.method.run import Run
from specscale.method.sizing import chosen_landmarks
from specscale.method.steps import ProblemSize, Step
from specscale.runtime.events import Noted
from specscale.sources.choosing import describe

__all__ = ["Preparation", "choosing", "looking"]

_MANY_DUPLICATES = 0.01  # of the rows: more are worth a warning


class Preparation:
    """Paired rows of which a problem is being made.

    Parameters
    ----------
    run : the run
    rows : the paired rows
    options : what is to be computed
    most : the size of the maps, or the largest one where the size is still to be chosen

    Attributes
    ----------
    duplicates : the rows of each embedding that repeat others; none where nobody looked
    """

    geometries: tuple[Geometry, ...]
    positions: NDArray[np.int64]
    sample: tuple[NDArray[Any], ...]

    def __init__(self, run: Run, rows: PairedRows, options: Options, most: int) -> None:
        self.run, self.rows, self.options, self.most = run, rows, options, most
        self.duplicates: tuple[Duplicates, ...] = ()
        self._maps: tuple[FeatureMap, ...] = ()
        self._landmarks = ""

    def look(self, steps: Sequence[Step[Preparation]]) -> None:
        """Take the steps that look at all rows, or say that none does."""
        if not steps and self.rows.n_kept > MOST_ROWS:
            self.run.notify(Noted(f"repeated rows are not looked for among more than {MOST_ROWS:,}"))
        self.run.go(steps, self)

    def choose(self, steps: Sequence[Step[Preparation]]) -> Problem:
        """Take the steps that choose bandwidths and maps: the problem."""
        self.run.go(steps, self)
        return self._problem()

    def find_duplicates(self) -> None:
        """Verify the rows, and find those of each embedding that repeat others; all rows are read once."""
        threads = self.run.pool.count
        self.duplicates = tuple(find_duplicates(one, self.rows.kept, threads) for one in self.rows.embeddings)
        self.rows = replace(self.rows, verified=True)

    def choose_bandwidths(self) -> None:
        """Look at a seeded sample of the rows."""
        options = self.options
        self.positions, self.sample = self.rows.sample(SAMPLE_ROWS, options.seed)
        self.geometries = tuple(
            survey(
                raw,
                one.name,
                gaussian=options.kernel == "gaussian",
                rule=rule,
                unit=options.normalize == "unit",
                kernels=self.run.kernels.host,
                affine=affine_of(raw, options.normalize),
            )
            for raw, one, rule in zip(self.sample, self.rows.embeddings, options.rules, strict=True)
        )
        for geometry in self.geometries:
            for warning in geometry.warnings:
                self.run.warn(warning)

    def choose_landmarks(self) -> None:
        """Draw as many landmarks as the sample asks for and make their maps."""
        size = _size_taken_up(self.run.place.interrupted())
        exact, sampled = tuple(one.kernel for one in self.geometries), (self.positions, self.sample)
        landmarks = chosen_landmarks(
            self.rows, exact, self.options, self.most, sampled, self.run.kernels.host, self.run.pool.run, size
        )
        self._maps, self._landmarks = landmarks.maps, str(landmarks)

    def _problem(self) -> Problem:
        """The problem, when all that its steps choose is chosen."""
        options, rows, run = self.options, self.rows, self.run
        choice = [
            f"vectors of {one.name}: {describe(store.vectors)}"
            for one in rows.embeddings
            if isinstance(store := origin_of(one), EmbeddingStore) and store.source != store.path and store.vectors
        ]
        for one, geometry in zip(rows.embeddings, self.geometries, strict=True):
            if geometry.bandwidth:
                choice.append(f"σ of {one.name} {geometry.bandwidth.describe()}")
            if geometry.note:
                choice.append(geometry.note)
        exact, maps = tuple(one.kernel for one in self.geometries), self._maps
        if self._landmarks:
            choice.append(self._landmarks)
        elif options.features != "exact":
            maps = chosen_maps(exact, features=options.features, size=self.most, seed=options.seed)
        for one, found in zip(rows.embeddings, self.duplicates, strict=bool(self.duplicates)):
            if found.rows > _MANY_DUPLICATES * rows.n_kept or found.zeros > 1:
                run.warn(_said(found, one))
            elif found.rows:
                choice.append(_said(found, one))
        bandwidths = tuple(one.bandwidth for one in self.geometries)
        return Problem(
            options, rows, exact, maps, bandwidths, self.positions, self.sample, "; ".join(choice), self.duplicates
        )


def looking(extent: ProblemSize) -> tuple[Step[Preparation], ...]:
    """The step that finds repeated rows; none beyond a number of rows."""
    if extent.n_kept > MOST_ROWS:
        return ()
    return (Step(duplicates_cost(extent.n_kept, extent.read, extent.threads), Preparation.find_duplicates),)


def choosing(extent: ProblemSize) -> tuple[Step[Preparation], ...]:
    """The steps that choose bandwidths and feature maps."""
    options = extent.options
    gaussian = options.kernel == "gaussian"
    cost = bandwidth_cost(extent.dimensions, extent.sample) if gaussian else Cost("bandwidth", memory=0)
    steps = [Step(cost, Preparation.choose_bandwidths)]
    if options.features == "landmarks":
        size = max(len(one.rows) for one in extent.maps if isinstance(one, LandmarkMap))
        steps.append(Step(landmarks_cost(size, len(extent.maps), extent.threads), Preparation.choose_landmarks))
    return tuple(steps)


def _size_taken_up(interrupted: dict[str, Any] | None) -> int | None:
    """The size of the maps of an interrupted run, which other modes or another η would not have chosen."""
    maps = (interrupted or {}).get("maps")
    return maps[0].get("size") if maps else None


def _said(found: Duplicates, one: Embedding) -> str:
    """The repeated rows of an embedding, its rows by their numbers in the source where these are known."""
    numbers = numbered(one, np.array(found.example, dtype=np.int64))
    known = (numbers >= 0).all()
    return replace(found, example=tuple(numbers.tolist()) if known else found.example).describe(one.name)
