"""What is said of groups: which candidates are one, how alike their members are, and what holds on rows held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.rows import PairedRows
from specscale.grouping.edge import HAS_EDGE, valley
from specscale.grouping.merging import merged_into
from specscale.grouping.pool import Pool, weights_of
from specscale.grouping.verdict import Evidence
from specscale.grouping.within import PairMean, pair_mean
from specscale.kernels.base import Kernels
from specscale.method.problem import Problem
from specscale.passes.membership import Core
from specscale.passes.tallies import LEAST_LIKENESS, LIKENESS_EDGES, Memberships, auc
from specscale.results.group_files import DRAWN as DRAWN_KIND
from specscale.results.group_files import DRAWN_NEAR, MEMBER, NEAR
from specscale.results.group_writer import FoundGroup
from specscale.results.schema import GroupRecord

__all__ = ["DRAWN", "Background", "Candidate", "Judge"]

DRAWN = 256  # members of each half on which their similarity is measured
_TWINS = 1e-3  # by which the kernel of two rows that all but repeat one another falls short of 1, at most
_VERDICTS = ("group", "theme", "noise")


@dataclass(frozen=True)
class Candidate:
    """A core, and the tails that led to it.

    Attributes
    ----------
    core : its rows
    found_in : the names of the tails
    """

    core: Core
    found_in: tuple[str, ...]


@dataclass(frozen=True)
class Background:
    """What groups stand out from.

    Attributes
    ----------
    pairs : the mean kernel of any two rows in each embedding
    null : what the search finds in clouds without groups, for A's and for B's
    """

    pairs: tuple[PairMean, PairMean]
    null: tuple[float, float]


class _Measured(NamedTuple):
    """The kernels of some members, in each embedding, and which of them are of the second half."""

    kernels: tuple[NDArray[Any], NDArray[Any]]
    second: NDArray[np.bool_]


class Judge:
    """Says what candidates are.

    Parameters
    ----------
    problem : what is compared
    kernels : a backend
    background : what groups stand out from
    """

    def __init__(self, problem: Problem, kernels: Kernels, background: Background) -> None:
        self._problem, self._kernels, self._background = problem, kernels, background
        self._eta = problem.options.eta

    def groups(self, candidates: Sequence[Candidate], found: Memberships) -> list[FoundGroup]:
        """The candidates that are not one another, A's first and then B's, strongest first."""
        edges = [valley(one, LIKENESS_EDGES) for one in found.histogram]
        order = sorted(range(len(candidates)), key=lambda one: (edges[one] > HAS_EDGE, -candidates[one].core.level))
        directions = [one.core.direction for one in candidates]
        least = self._problem.options.least_group
        into = merged_into(order, found.shared, directions, [one <= HAS_EDGE for one in edges], least)
        kept = [one for one in order if into[one] == one]
        curves = auc(found.similarities)
        groups = []
        for one, measured in zip(kept, self._measured(found, kept), strict=True):
            merged = [name for other in order if into[other] == one != other for name in candidates[other].found_in]
            record = self._record(candidates[one], found.sizes[one], measured, edges[one])
            record = replace(record, merged=merged, auc_a=_number(curves[one, 0]), auc_b=_number(curves[one, 1]))
            samples = {
                MEMBER: found.closest.rows[one],
                NEAR: found.near.rows[one],
                DRAWN_KIND: np.sort(found.drawn[one].ravel()),
                DRAWN_NEAR: np.sort(found.drawn_near[one]),
            }
            groups.append(FoundGroup(record, one, samples))
        groups.sort(key=lambda one: _rank(one.record))
        return [replace(one, record=replace(one.record, group=number)) for number, one in enumerate(groups)]

    def _measured(self, found: Memberships, kept: Sequence[int]) -> list[_Measured]:
        """The kernels of the members that were drawn, as many of each half as its share of all members."""
        drawn = [_proportionate(found.drawn[one], found.sizes[one]) for one in kept]
        rows = np.unique(np.concatenate([np.empty(0, np.int64), *(np.concatenate(halves) for halves in drawn)]))
        pool = Pool(
            self._problem.exact, self._problem.rows.take(_positions(self._problem.rows, rows)), self._eta, self._kernels
        )
        measured = []
        for halves in drawn:
            places = np.searchsorted(rows, np.concatenate(halves))
            second = np.repeat([False, True], [len(half) for half in halves])
            measured.append(_Measured((pool.kernel(0, places, places), pool.kernel(1, places, places)), second))
        return measured

    def _record(self, one: Candidate, sizes: NDArray[np.int64], measured: _Measured, edge: float) -> GroupRecord:
        core, size = one.core, int(sizes.sum())
        own = 0 if core.direction > 0 else 1
        similar = [_Estimate.of(kernel, size) for kernel in measured.kernels]
        second = np.ix_(measured.second, measured.second)
        held_out = self._contrast([kernel[second] for kernel in measured.kernels], core.direction)
        whole = self._contrast(measured.kernels, core.direction)
        count = int(np.count_nonzero(measured.second))
        other = pair_mean(measured.kernels[1 - own][second]).mean - self._background.pairs[1 - own].mean
        weight = abs(weights_of(core.direction, self._eta)[1 - own])
        evidence = Evidence(count, *held_out, weight * other, self._background.null[own], core.level, edge)
        verdict = evidence.verdict
        a, b = self._background.pairs
        return GroupRecord(
            group=0,
            grouped_by="AB"[own],  # type: ignore[arg-type]
            verdict=verdict,
            certified=verdict != "noise",
            found_in=list(one.found_in),
            size=size,
            share=size / self._problem.rows.n_kept,
            core=self._problem.rows.numbers(core.positions).tolist(),
            background=core.background,
            level=core.level,
            threshold=core.background + LEAST_LIKENESS * core.level,
            similarity_a=similar[0].mean,
            similarity_a_se=similar[0].se,
            similarity_b=similar[1].mean,
            similarity_b_se=similar[1].se,
            estimate_error=max(one.error for one in similar),
            background_a=a.mean,
            background_b=b.mean,
            contrast=whole[0],
            contrast_se=whole[1],
            auc_a=None,
            auc_b=None,
            held_out_size=int(sizes[1]),
            held_out_contrast=held_out[0] if count > 1 else None,
            held_out_se=held_out[1] if count > 1 else None,
            null_contrast=evidence.null,
            distinct=_distinct(measured.kernels[own], size),
            edge=edge,
            merged=[],
        )

    def _contrast(self, kernels: Sequence[NDArray[Any]], direction: int) -> tuple[float, float]:
        """The similarity of members above the background, of one embedding less η times the other's; its error."""
        weights = weights_of(direction, self._eta)
        members = pair_mean(sum(w * kernel for w, kernel in zip(weights, kernels, strict=True)))  # type: ignore[arg-type]
        background = self._background.pairs
        low = sum(w * one.mean for w, one in zip(weights, background, strict=True))
        error = sum((w * one.se) ** 2 for w, one in zip(weights, background, strict=True))
        return members.mean - low, float(np.sqrt(members.se**2 + error))


class _Estimate(NamedTuple):
    """A mean kernel over pairs of members, of which some were measured.

    Attributes
    ----------
    mean : of those
    se : standard error over samples of rows
    error : standard error of having measured some
    """

    mean: float
    se: float
    error: float

    @classmethod
    def of(cls, kernel: NDArray[Any], size: int) -> _Estimate:
        found, measured = pair_mean(kernel), max(len(kernel), 1)
        unmeasured = max(1 - measured / max(size, 1), 0.0)
        sampling = found.se * np.sqrt(measured / max(size, 1))
        error = found.se * np.sqrt(unmeasured)
        return cls(found.mean, float(np.hypot(sampling, error)), float(error))


def _proportionate(drawn: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Of members (2, s) that were drawn from each half, −1 where there are fewer, as many as the halves' shares."""
    there = [half[half >= 0] for half in drawn]
    share = min((len(half) / size for half, size in zip(there, sizes, strict=True) if size), default=0.0)
    return [half[: round(share * size)] for half, size in zip(there, sizes, strict=True)]


def _positions(rows: PairedRows, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The positions of rows among those that take part."""
    if rows.kept is None:
        return numbers
    return np.array([rows.kept_before(int(row)) for row in numbers], dtype=np.int64)


def _distinct(kernel: NDArray[Any], size: int) -> float:
    """How many rows members are worth that repeat one another, or all but do: one over the chance that two do."""
    m = len(kernel)
    if m < 2:
        return float(size)
    pairs = (np.count_nonzero(kernel >= 1 - _TWINS) - np.count_nonzero(np.diagonal(kernel) >= 1 - _TWINS)) / (
        m * (m - 1)
    )
    return float(1 / (1 / size + (1 - 1 / size) * pairs))


def _rank(one: GroupRecord) -> tuple[Any, ...]:
    """A's before B's, groups before themes, and of each kind the strongest first."""
    return one.grouped_by, _VERDICTS.index(one.verdict), -one.share * one.contrast


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
