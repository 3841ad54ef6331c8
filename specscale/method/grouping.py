"""From modes to groups: cores at their ends, the likeness of all rows to these, and what holds on rows held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from specscale import seeds
from specscale.cost import Cost
from specscale.embeddings.layout import CHUNK_ROWS, chunk_runs
from specscale.embeddings.rows import PairedRows
from specscale.features.kernel import ExactKernel
from specscale.grouping.clouds import CLOUD_ROWS, cloud_contrast
from specscale.grouping.cores import CORE_ROWS, CORES, FoundCore, find_cores
from specscale.grouping.merging import TILE_ROWS, distinct_cores
from specscale.grouping.pool import Pool
from specscale.grouping.tails import MOST_MODES, TAIL_ROWS, Scored, Tail, tails_of
from specscale.grouping.within import pair_mean
from specscale.method.certifying import ReadScores
from specscale.method.deflation import Rest, masks_held, rest_steps, step_of_round
from specscale.method.group_records import DRAWN, Background, Candidate, Judge
from specscale.method.problem import Problem
from specscale.method.run import Run
from specscale.method.steps import ProblemSize, Step, held_beside
from specscale.passes.membership import Core, membership, membership_cost
from specscale.passes.tallies import LEAST_LIKENESS, Memberships, side_by_side, tallies_size
from specscale.places.files import Location
from specscale.results.group_writer import FoundGroup, likeness_of_rows
from specscale.results.schema import GroupRecord
from specscale.results.writing import Writer
from specscale.runtime.row_arrays import RowArray
from specscale.runtime.spans import Span
from specscale.spectral.difference import LEAST_EIGENVALUE, Modes
from specscale.spectral.lanczos import VectorModes
from specscale.spectral.varimax import rotation_of

__all__ = ["GroupSearch", "further_rounds", "groups_cost"]

_NAME = "groups"
_DISTINCT = 0.5  # of the cores at most, as a rule: several ends of modes lead to the same
SAMPLE_ROWS = 4096  # of which one half has the background, the other what the evidence is held against


@dataclass(frozen=True)
class _Found:
    """Candidates of a round, and the likeness of the rows that take part to them."""

    candidates: list[Candidate]
    likeness: RowArray


class GroupSearch:
    """The search for the groups of a comparison: around the ends of its modes, and then of those of what is left.

    Each round adds candidates to those before; all are judged together.

    Parameters
    ----------
    run : the run
    problem : what is compared
    spans : the runs of rows that are checkpointed
    folder : keeps what is in progress; by default one of its name

    Attributes
    ----------
    rest : the rows that are of no group so far; None where no round has found any since they were looked through
    """

    rest: Rest | None = None
    _together: Memberships

    def __init__(self, run: Run, problem: Problem, spans: list[Span], folder: Location | None = None) -> None:
        self._run, self._problem, self._spans = run, problem, spans
        self._exact: tuple[ExactKernel, ...] = problem.exact
        self._eta = problem.options.eta
        self._folder = folder or run.place.folder / _NAME
        self._positions, self._raw = problem.rows.sample(SAMPLE_ROWS, problem.options.seed, seeds.GROUPS)
        self._second = _halves(problem.rows, problem.options.seed, self._positions)
        self._grouped = np.zeros(problem.rows.n, np.bool_)
        self._rounds: list[_Found] = []
        self._found: list[FoundGroup] = []

    @property
    def records(self) -> list[GroupRecord]:
        """What is said of the groups."""
        return [one.record for one in self._found]

    def write(self, writer: Writer, pair: str = "") -> None:
        """Write the groups; `pair` ends the names of what is written of a pair of a matrix."""
        writer.groups(self._found, self._problem.rows, likeness_of_rows(self._likeness, self._problem.rows), pair)

    def find(self, modes: Modes | VectorModes, read: ReadScores, number: int = 1) -> None:
        """Find groups around the ends of modes.

        Parameters
        ----------
        modes : the modes, of all rows or of some
        read : gives their scores, NaN where a row does not take part
        number : of the round
        """
        tails = self._tails(modes, read)
        candidates = self._candidates(tails, number) if tails else []
        if not candidates:
            return
        found, likeness = self._memberships(candidates, number)
        self._rounds.append(_Found(candidates, likeness))
        self._together = side_by_side(self._together, found, self._shared(likeness)) if len(self._rounds) > 1 else found
        every = [candidate for one in self._rounds for candidate in one.candidates]
        self._found = Judge(self._problem, self._run.kernels, self._background).groups(every, self._together)

    def leave_out(self, number: int) -> None:
        """Leave the groups found so far out of the rows that a round looks through.

        Where there are none that it has not left out before, or too few rows are left, it has nothing to look for.
        """
        problem, before = self._problem, self._grouped
        columns = [one.column for one in self._found if one.record.certified]
        read, self._grouped = likeness_of_rows(self._likeness, problem.rows), np.zeros_like(before)
        for start, stop in chunk_runs(problem.rows.n) if columns else ():
            self._grouped[start:stop] = (read(start, stop)[:, columns] >= LEAST_LIKENESS).any(axis=1)
        rest = Rest(self._run, problem, self._spans, self._grouped, number, self._folder / str(number))
        enough = rest.rows.n_kept >= problem.options.least_group
        self.rest = rest if enough and not np.array_equal(before, self._grouped) else None

    def find_more(self, number: int) -> None:
        """Find groups around the ends of the modes of what is left."""
        if self.rest:
            self.find(self.rest.modes, self.rest.read, number)

    def _likeness(self, low: int, high: int) -> NDArray[np.float32]:
        """The likeness of rows at positions ``low:high``, of those that take part, to the candidates of all rounds."""
        return np.concatenate([one.likeness.read(low, high) for one in self._rounds], axis=1)

    def _shared(self, last: RowArray) -> NDArray[np.int64]:
        """How many rows are members of a candidate of the rounds before, and of one of the last."""
        (new,) = last.shape
        shared: NDArray[np.int64] = np.zeros((len(self._together.shared), new), np.int64)
        for low, high in pairwise(last.edges):
            # The products are exact for the rows of a chunk, and fast.
            members = (self._likeness(low, high) >= LEAST_LIKENESS).astype(np.float32)
            shared += (members[:, :-new].T @ members[:, -new:]).astype(np.int64)
        return shared

    def _scored(self, read: ReadScores) -> Iterator[tuple[Scored, NDArray[np.bool_]]]:
        """The scores of the rows that have some, a chunk at a time, and which rows are of the second half."""
        rows, offset = self._problem.rows, 0
        for start, stop in chunk_runs(rows.n):
            kept = slice(None) if rows.kept is None else np.flatnonzero(rows.kept[start:stop])
            scores = read(start, stop)[kept].astype(np.float64)
            second = seeds.half_of(self._problem.options.seed, start, stop)[kept]
            there = np.flatnonzero(~np.isnan(scores).any(axis=1))
            yield Scored(offset + there, scores[there]), second[there]
            offset += len(scores)

    def _tails(self, modes: Modes | VectorModes, read: ReadScores) -> list[Tail]:
        """The ends of modes, rotated by varimax over a sample, among the first half of the rows."""
        parts = [scores[np.isin(positions, self._positions)] for (positions, scores), _ in self._scored(read)]
        rotation = rotation_of(modes, np.concatenate(parts), MOST_MODES)
        first = (Scored(one.positions[~second], one.scores[~second]) for one, second in self._scored(read))
        return tails_of(first, rotation, modes.eigenvalues)

    def _candidates(self, tails: Sequence[Tail], number: int) -> list[Candidate]:
        """The cores at these ends that are not one another's."""
        rows, first = self._problem.rows, self._positions[~self._second]
        suffix = "" if number == 1 else f" round {number}"
        positions = np.unique(np.concatenate([first, *(one.positions for one in tails)]))
        pool = Pool(self._exact, rows.take(positions), self._eta, self._run.kernels)
        sample = np.searchsorted(positions, first)
        found: list[list[FoundCore]] = [[]] * len(tails)

        def look(which: int) -> None:
            tail = tails[which]
            found[which] = find_cores(pool, np.searchsorted(positions, tail.positions), sample, tail.direction)

        self._run.pool.run([lambda which=which: look(which) for which in range(len(tails))])  # type: ignore[misc]
        there = [(tail, core) for tail, cores in zip(tails, found, strict=True) for core in cores if _stands_out(core)]
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
                tuple(
                    dict.fromkeys(
                        f"{there[other][0].name}{suffix}" for other in range(len(there)) if same[other] == one
                    )
                ),
            )
            for one, (tail, core) in enumerate(there)
            if same[one] == one
        ]

    def _memberships(self, candidates: list[Candidate], number: int) -> tuple[Memberships, RowArray]:
        """How all rows stand to candidates, and their likeness to these, which is in the work directory."""
        rows, options, folder = self._problem.rows, self._problem.options, self._folder / str(number) / "memberships"
        edges = (*(rows.kept_before(start) for start, _ in chunk_runs(rows.n)), rows.n_kept)
        likeness = RowArray(folder, edges, (len(candidates),), "float32")
        work = membership(
            self._exact,
            [one.core for one in candidates],
            eta=self._eta,
            seed=options.seed,
            top=min(options.top, rows.n_kept),
            sample=DRAWN,
            likeness=likeness,
        )
        work = replace(work, name=step_of_round(_NAME, number))
        return self._run.sweep_beside(work, rows, self._spans, folder, likeness), likeness

    @cached_property
    def _background(self) -> Background:
        """The kernels of any two rows, and what clouds without groups would show."""
        kernels, seed = self._run.kernels, self._problem.options.seed
        few = tuple(one[self._second][:CLOUD_ROWS] for one in self._raw)
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


def further_rounds(extent: ProblemSize) -> list[Step[GroupSearch]]:
    """The steps of the rounds after the first."""
    return [step for number in range(2, extent.options.rounds + 1) for step in _round(extent, number)]


def _round(extent: ProblemSize, number: int) -> list[Step[GroupSearch]]:
    def leaving_out(act: Callable[[Rest], None]) -> Callable[[GroupSearch], None]:
        def first(search: GroupSearch) -> None:
            search.leave_out(number)
            then(act)(search)

        return first

    def then(act: Callable[[Rest], None]) -> Callable[[GroupSearch], None]:
        return lambda search: act(search.rest) if search.rest else None

    first, *others = rest_steps(extent, number, _held(extent, number - 1))
    return [
        Step(first.cost, leaving_out(first.action)),
        *(Step(one.cost, then(one.action)) for one in others),
        Step(groups_cost(extent, number), lambda search: search.find_more(number)),
    ]


def _candidates(extent: ProblemSize) -> int:
    """Candidates of one round, at most."""
    return CORES * 4 * min(extent.modes, MOST_MODES)


def _held(extent: ProblemSize, rounds: int) -> int:
    """Bytes of what the search knows after some rounds."""
    candidates, row = rounds * _candidates(extent), -(-extent.read // extent.n)
    rows = min(SAMPLE_ROWS, extent.n_kept) + candidates * min(CORE_ROWS, extent.n_kept)
    return rows * row + 2 * tallies_size(candidates, extent.top, DRAWN)


def groups_cost(extent: ProblemSize, number: int = 1) -> Cost:
    """State what a round of the search takes: memory for as many cores as there can be, time for what is usual."""
    cores = _candidates(extent)
    tails = cores // CORES
    p, core = sum(extent.dimensions), min(CORE_ROWS, extent.n_kept)
    cost = membership_cost(
        extent.dimensions,
        cores=cores,
        rows_of_cores=cores * core,
        n_kept=extent.n_kept,
        read=extent.read + 8 * extent.n * tails,
        threads=extent.threads,
        top=extent.top,
        sample=DRAWN,
        span_rows=extent.span_rows,
    )
    passing, written = cost.memory, 5 * extent.n * cores + cost.partial * extent.spans.bit_length()
    pool = min(SAMPLE_ROWS + tails * TAIL_ROWS, extent.n_kept)
    looking = 8 * pool * 2 * p + extent.threads * 24 * (SAMPLE_ROWS + TAIL_ROWS) * CORE_ROWS
    same = 12 * TILE_ROWS * cores * core
    cloud = 2 * (8 * CLOUD_ROWS * (CLOUD_ROWS + max(extent.dimensions)))
    cost = replace(
        cost,
        name=step_of_round(_NAME, number),
        memory=passing + max(looking + same, cloud),
        operations=_DISTINCT * cost.operations + 2.0 * 3 * cores * SAMPLE_ROWS * core * p,
        elementary=_DISTINCT * cost.elementary,
        disk=int(_DISTINCT * (cost.disk + written)),
    )
    beside = extent.vectors + extent.features + extent.tiles
    if number > 1:
        beside += masks_held(extent) + 3 * 4 * CHUNK_ROWS * cores * number + _held(extent, number)
        beside += 0 if extent.maps else extent.vectors
    # The client of a cluster looks for cores, its workers make the pass.
    return replace(held_beside(extent.slowed(cost), beside), worker_memory=passing)
