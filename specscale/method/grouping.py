"""From modes to groups: cores at their ends, the likeness of all rows to these, and what holds on rows held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale import seeds
from specscale.cost import Cost
from specscale.embeddings.layout import chunk_runs
from specscale.embeddings.rows import PairedRows
from specscale.errors import InputError
from specscale.features.kernel import ExactKernel
from specscale.grouping.clouds import CLOUD_ROWS, cloud_contrast
from specscale.grouping.cores import CORE_ROWS, FoundCore, find_core
from specscale.grouping.merging import distinct_cores
from specscale.grouping.pool import Pool
from specscale.grouping.tails import MOST_MODES, TAIL_ROWS, Scored, Tail, tails_of
from specscale.grouping.within import pair_mean
from specscale.method.certifying import ReadScores
from specscale.method.group_records import DRAWN, Background, Candidate, Judge
from specscale.method.problem import Problem
from specscale.method.run import Run
from specscale.method.steps import ProblemSize, held_beside
from specscale.passes.membership import Core, membership, membership_cost
from specscale.passes.tallies import Memberships
from specscale.places.files import remove_tree
from specscale.results.group_writer import FoundGroup, likeness_of_rows
from specscale.results.schema import GroupRecord
from specscale.results.writing import ResultWriter
from specscale.runtime.row_arrays import RowArray
from specscale.runtime.spans import Span
from specscale.spectral.difference import LEAST_EIGENVALUE, Modes
from specscale.spectral.lanczos import VectorModes
from specscale.spectral.varimax import rotation_of

__all__ = ["GroupSearch", "groups_cost"]

_NAME = "groups"
SAMPLE_ROWS = 4096  # of which one half has the background, the other what the evidence is held against


class GroupSearch:
    """The search for the groups of a comparison whose modes are known.

    Parameters
    ----------
    run : the run
    problem : what is compared
    spans : the runs of rows that are checkpointed
    modes : the modes
    read : gives their scores
    """

    def __init__(
        self, run: Run, problem: Problem, spans: list[Span], modes: Modes | VectorModes, read: ReadScores
    ) -> None:
        self._run, self._problem, self._spans, self._modes, self._read = run, problem, spans, modes, read
        self._exact: tuple[ExactKernel, ...] = problem.exact
        self._eta = problem.options.eta
        self._folder = run.place.folder / _NAME
        self._found: list[FoundGroup] = []

    @property
    def records(self) -> list[GroupRecord]:
        """What is said of the groups."""
        return [one.record for one in self._found]

    def write(self, writer: ResultWriter) -> None:
        """Write the groups."""
        likeness = self._likeness
        writer.groups(self._found, self._problem.rows, likeness_of_rows(likeness.read, self._problem.rows))

    def find(self) -> None:
        """Find the groups."""
        rows, options = self._problem.rows, self._problem.options
        self._positions, raw = rows.sample(SAMPLE_ROWS, options.seed, seeds.GROUPS)
        second = _halves(rows, options.seed, self._positions)
        tails = self._tails(self._positions)
        candidates = self._candidates(tails, raw, second) if tails else []
        self._likeness = self._likeness_to(len(candidates))
        if not candidates:
            return
        found = self._memberships(candidates)
        judge = Judge(self._problem, self._run.kernels, self._background(tuple(one[second] for one in raw)))
        self._found = judge.groups(candidates, found)

    def _likeness_to(self, candidates: int) -> RowArray:
        """The likeness of the rows that take part to so many candidates, in the work directory."""
        rows = self._problem.rows
        edges = (*(rows.kept_before(start) for start, _ in chunk_runs(rows.n)), rows.n_kept)
        return RowArray(self._folder, edges, (candidates,), "float32")

    def _scored(self) -> Iterator[tuple[Scored, NDArray[np.bool_]]]:
        """The scores of the rows that take part, a chunk at a time, and which rows are of the second half."""
        rows, offset = self._problem.rows, 0
        for start, stop in chunk_runs(rows.n):
            kept = slice(None) if rows.kept is None else np.flatnonzero(rows.kept[start:stop])
            scores = self._read(start, stop)[kept].astype(np.float64)
            second = seeds.half_of(self._problem.options.seed, start, stop)[kept]
            yield Scored(np.arange(offset, offset + len(scores)), scores), second
            offset += len(scores)

    def _tails(self, sampled: NDArray[np.int64]) -> list[Tail]:
        """The ends of the modes, rotated by varimax over a sample, among the first half of the rows."""
        parts = []
        for (positions, scores), _ in self._scored():
            low, high = np.searchsorted(sampled, [positions[0], positions[-1] + 1]) if len(positions) else (0, 0)
            parts.append(scores[sampled[low:high] - (positions[0] if len(positions) else 0)])
        rotation = rotation_of(self._modes, np.concatenate(parts))
        first = (Scored(one.positions[~second], one.scores[~second]) for one, second in self._scored())
        return tails_of(first, rotation, self._modes.eigenvalues)

    def _candidates(
        self, tails: Sequence[Tail], raw: tuple[NDArray[Any], ...], second: NDArray[np.bool_]
    ) -> list[Candidate]:
        """The cores at these ends that are not one another's."""
        rows = self._problem.rows
        positions = np.unique(np.concatenate([self._positions[~second], *(one.positions for one in tails)]))
        pool = Pool(self._exact, rows.take(positions), self._eta, self._run.kernels)
        sample = np.searchsorted(positions, self._positions[~second])
        found: list[FoundCore | None] = [None] * len(tails)

        def look(number: int) -> None:
            tail = tails[number]
            found[number] = find_core(pool, np.searchsorted(positions, tail.positions), sample, tail.direction)

        self._run.pool.run([lambda number=number: look(number) for number in range(len(tails))])  # type: ignore[misc]
        there = [(tail, core) for tail, core in zip(tails, found, strict=True) if core and _stands_out(core)]
        if not there:
            return []
        same = distinct_cores(pool, [core for _, core in there], [tail.direction for tail, _ in there])
        return [
            Candidate(
                Core(
                    positions[core.rows],
                    pool.raw(core.rows),
                    tail.direction,
                    core.background,
                    core.level,
                ),
                tuple(there[other][0].name for other in range(len(there)) if same[other] == number),
            )
            for number, (tail, core) in enumerate(there)
            if same[number] == number
        ]

    def _memberships(self, candidates: Sequence[Candidate]) -> Memberships:
        """How all rows stand to the cores; their likeness is in the work directory then."""
        options = self._problem.options
        likeness = self._likeness
        work = membership(
            self._exact,
            [one.core for one in candidates],
            eta=self._eta,
            seed=options.seed,
            top=options.top,
            sample=DRAWN,
            likeness=likeness,
        )
        work = replace(work, name=_NAME)
        found = self._run.sweep(work, self._problem.rows, self._spans)
        try:
            for start, stop in chunk_runs(self._problem.rows.n):
                likeness.read(self._problem.rows.kept_before(start), self._problem.rows.kept_before(stop))
        except InputError:  # a power cut may have left it half written
            remove_tree(self._folder)
            found = self._run.sweep(work, self._problem.rows, self._spans)
        return found

    def _background(self, sample: tuple[NDArray[Any], ...]) -> Background:
        """The kernels of any two rows, and what clouds without groups would show."""
        kernels, seed = self._run.kernels, self._problem.options.seed
        few = tuple(one[:CLOUD_ROWS] for one in sample)
        pool = Pool(self._exact, few, self._eta, kernels)
        all_of_them = np.arange(len(pool))
        a, b = (pair_mean(pool.kernel(which, all_of_them, all_of_them)) for which in range(2))
        null = [0.0, 0.0]

        def cloud(which: int) -> None:
            null[which] = cloud_contrast(self._exact[which], few[which], seed, which, kernels)

        self._run.pool.run([lambda: cloud(0), lambda: cloud(1)])
        return Background((a, b), (null[0], self._eta * null[1]))


def _stands_out(core: FoundCore) -> bool:
    """Whether the core's rows are more alike than what is no eigenvalue."""
    return core.level > LEAST_EIGENVALUE


def _halves(rows: PairedRows, seed: int, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether rows at ascending positions among those that take part are of the second half."""
    found, low, offset = np.empty(len(positions), np.bool_), 0, 0
    for start, stop in chunk_runs(rows.n):
        kept = slice(None) if rows.kept is None else np.flatnonzero(rows.kept[start:stop])
        second = seeds.half_of(seed, start, stop)[kept]
        high = int(np.searchsorted(positions, offset + len(second)))
        found[low:high] = second[positions[low:high] - offset]
        low, offset = high, offset + len(second)
    return found


def groups_cost(extent: ProblemSize) -> Cost:
    """State what the search takes, with as many cores as there can be."""
    tails = 4 * min(extent.options.n_modes, MOST_MODES)
    p, core = sum(extent.dimensions), min(CORE_ROWS, extent.n_kept)
    cost = membership_cost(
        extent.dimensions,
        cores=tails,
        rows_of_cores=tails * core,
        n_kept=extent.n_kept,
        read=extent.read + 8 * extent.n * tails,
        threads=extent.threads,
        top=extent.top,
        sample=DRAWN,
        span_rows=extent.span_rows,
    )
    pool = min(SAMPLE_ROWS + tails * TAIL_ROWS, extent.n_kept)
    looking = 8 * pool * 2 * p + extent.threads * 24 * (SAMPLE_ROWS + TAIL_ROWS) * CORE_ROWS
    cloud = 2 * (8 * CLOUD_ROWS * (CLOUD_ROWS + max(extent.dimensions)))
    cost = replace(
        cost,
        name=_NAME,
        memory=max(cost.memory, looking, cloud) + 8 * tails * core * tails * core,
        operations=cost.operations + 2.0 * 3 * tails * SAMPLE_ROWS * core * p,
    )
    return held_beside(extent.slowed(cost), extent.features + extent.tiles)
