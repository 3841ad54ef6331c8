"""Many embeddings at once: pair → plan → one covariance → a solve for each pair → scores of all pairs → result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, combinations, pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np

from specscale.cost import Cost
from specscale.embeddings.layout import CHUNK_ROWS, chunk_runs
from specscale.embeddings.rows import PairedRows
from specscale.errors import OptionError
from specscale.features.bandwidth import parse_rule
from specscale.grid import BLOCK_ROWS
from specscale.method.execution import Execution
from specscale.method.grouping import GroupSearch, groups_cost
from specscale.method.inputs import Input, check_names
from specscale.method.job import Job
from specscale.method.judging import certain_modes, warn_unsettled
from specscale.method.keywords import keywords, taken
from specscale.method.matrix_writer import MatrixWriter
from specscale.method.modes import oriented
from specscale.method.options import Options
from specscale.method.preparation import choosing, looking
from specscale.method.prologue import Asked, begun
from specscale.method.rounding import rounding_cost
from specscale.method.run import running
from specscale.method.steps import ProblemSize, Step, Steps, covariance_of_maps, held_beside, tails_held
from specscale.method.summary import how_it_went, mode_records, standard_errors, what_was_compared
from specscale.passes.covariance import covariance
from specscale.passes.mapping import feature_cost
from specscale.passes.scores import MappedScores, ScoreSummary, score, score_cost
from specscale.results.matrix import MatrixResult
from specscale.results.schema import GroupRecord, MatrixRecord, PairRecord
from specscale.runtime.row_arrays import RowArray
from specscale.spectral.difference import Modes, check_possible, solve_cost, solve_difference
from specscale.spectral.tiles import TiledSymmetric

__all__ = ["compare_many"]


@keywords("matrix", Options, Execution)
def compare_many(embeddings: Sequence[Input], **given: Any) -> MatrixResult:
    """Compare every pair of some embeddings of the same samples, in two passes for all of them together.

    The covariance of all feature maps side by side holds that of each pair as blocks, so one pass serves every pair;
    its modes are those of :func:`specscale.compare` of the two (with the same rows, `size` and bandwidths). There is
    no certificate: a pair of interest is then compared by itself. Groups are looked for where `rounds` is 1, in a pass
    more for each pair.

    Parameters
    ----------
    embeddings : two or more embeddings, each as in :func:`specscale.compare`
    **given : the fields of :class:`Options` and :class:`Execution`, but those of the certificate and of what it checks

    Returns
    -------
    MatrixResult
        SPEC-diff and the leading modes of every pair.

    Raises
    ------
    SpecscaleError
        As :func:`specscale.compare`.
    """
    inputs = [embeddings] if isinstance(embeddings, str | Path) else list(embeddings)
    if len(inputs) < 2:
        raise OptionError(f"a matrix takes at least two embeddings, not {len(inputs)}")
    given["sigma"] = _rules(given["sigma"], len(inputs))
    options, execution = taken(Options, {**given, "certify": 0}), taken(Execution, given)
    if options.features == "exact":
        raise OptionError(
            "--features exact does not go with a matrix, whose pairs come from one covariance: take landmarks, or "
            "compare a pair of interest with --features exact"
        )
    if options.rounds > 1:
        raise OptionError(
            f"--rounds {options.rounds} does not go with a matrix, which looks for groups once: take 1, or compare a "
            f"pair of interest with --rounds {options.rounds}"
        )
    check_names(execution.names, len(inputs))
    with running(execution, options.precision) as run:
        start = begun(run, Asked(inputs, options, _steps, names=execution.names, memory=execution.memory, beside=_who))
        if start:
            _Matrix(run, start).finish()
        return MatrixResult.of(run.place.out, temporary=run.place.temporary)


def _rules(sigma: str | float | Sequence[str | float], count: int) -> tuple[str | float, ...]:
    """The bandwidth rule of each embedding."""
    rules = (sigma,) if isinstance(sigma, str | float | int) else tuple(sigma)
    if len(rules) not in (1, count):
        raise OptionError(f"--sigma is one rule or one for each of the {count} embeddings, not {len(rules)}")
    for one in rules:
        parse_rule(one, "--sigma")
    return rules * count if len(rules) == 1 else rules


def _who(rows: PairedRows) -> dict[str, Any]:
    """The embeddings of a matrix, of which there may be more than two."""
    names = [one.name for one in rows.embeddings]
    digests = {f"digest of embedding {one.name}": one.digest for one in rows.embeddings}
    return {"names": names, **digests}


class _Matrix(Job):
    """A matrix that is under way.

    Attributes
    ----------
    C : the covariance of the features of all embeddings
    solved : the modes of each pair, in the features of its two embeddings
    modes : those of all pairs side by side, in the features of all embeddings
    tails : what the scores pass tells of each mode
    groups : what is said of the groups of each pair; None where they are not looked for
    scores : those of all modes, where groups are looked for
    """

    C: TiledSymmetric
    solved: list[Modes]
    modes: Modes
    tails: ScoreSummary
    groups: list[list[GroupRecord]] | None = None
    scores: RowArray

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The pairs of embeddings, by their numbers."""
        return list(combinations(range(len(self.problem.maps)), 2))

    @property
    def blocks(self) -> list[slice]:
        """Where the features of each embedding are among those of all."""
        return [slice(*edges) for edges in pairwise(accumulate((one.dim for one in self.problem.maps), initial=0))]

    @property
    def names(self) -> list[str]:
        """What the embeddings are called."""
        return [one.name for one in self.problem.rows.embeddings]

    def pairs_of_modes(self) -> list[tuple[int, int]]:
        """The pair of each mode."""
        return [pair for pair, one in zip(self.pairs, self.solved, strict=True) for _ in one.eigenvalues]

    def accumulate(self) -> None:
        """Find the covariance."""
        work = covariance(self.problem.maps)
        self.C = self.run.sweep(work, self.problem.rows, self.plan.spans)

    def solve(self) -> None:
        """Find the modes of each pair from its part of the covariance."""
        run, maps, options, blocks, names = self.run, self.problem.maps, self.problem.options, self.blocks, self.names
        solved = [
            solve_difference(
                self.C.sub([blocks[i], blocks[j]]), maps[i].dim, options.eta, options.n_modes, run.pool.run
            )
            for i, j in self.pairs
        ]
        for number, (i, j) in enumerate(self.pairs):
            pair = f"{names[i]} and {names[j]}: "
            solved[number] = certain_modes(run, solved[number], pair)
            check_possible(solved[number].eigenvalues, options.eta)
            warn_unsettled(run, solved[number], pair)
        self.solved = solved
        together = _together(solved, [(blocks[i], blocks[j]) for i, j in self.pairs])
        self.modes = cast(Modes, oriented(self.problem, together, run.kernels))

    def score(self) -> None:
        """Find the members of all modes."""
        run, problem, rows = self.run, self.problem, self.problem.rows
        self.writer = MatrixWriter(run.place.result)
        self.writer.covariance(self.C)
        del self.C
        source = MappedScores(problem.maps, self.modes.coefficients, rows.n_kept)
        top = min(problem.options.top, rows.n_kept)
        folder, edges = run.place.folder / "scores", (*(start for start, _ in chunk_runs(rows.n)), rows.n)
        self.scores = RowArray(folder, edges, (len(self.modes.eigenvalues),), "float32")
        kept = problem.options.rounds > 0
        work = score(
            source,
            self.modes.action,
            n=rows.n,
            top=top,
            chunk_rows=CHUNK_ROWS if kept else BLOCK_ROWS,
            write=self.scores.write if kept else lambda start, scores: None,
        )
        if kept:
            tails = run.sweep_beside(work, rows, self.plan.spans, folder, self.scores)
        else:
            tails = run.sweep(work, rows, self.plan.spans)
        if not tails.normed:
            factors = 1 / np.sqrt(tails.squares)
            self.modes, tails = self.modes.scaled(factors), tails.scaled(factors)
        self.tails = tails

    def group(self) -> None:
        """Find the groups around the ends of the modes of each pair, and write them."""
        self.groups = [self._grouped(*pair) for pair in zip(self.pairs, self.solved, self.columns, strict=True)]

    def _grouped(self, pair: tuple[int, int], modes: Modes, columns: slice) -> list[GroupRecord]:
        """Find and write the groups of a pair, the scores of whose modes are some columns of those of all."""
        run, problem, (i, j) = self.run, self.problem, pair
        rows = replace(problem.rows, embeddings=(problem.rows.embeddings[i], problem.rows.embeddings[j]))
        exact, maps = (problem.exact[i], problem.exact[j]), (problem.maps[i], problem.maps[j])
        of_two = replace(problem, rows=rows, exact=exact, maps=maps)
        search = GroupSearch(run, of_two, self.plan.spans, run.place.folder / "groups" / f"{i}-{j}")
        search.find(modes, lambda start, stop: self.scores.read(start, stop)[:, columns])
        search.write(self.writer, f"_{i}_{j}")
        return search.records

    @property
    def columns(self) -> list[slice]:
        """Where the modes of each pair are among those of all."""
        return [slice(*ends) for ends in pairwise(accumulate((len(one.eigenvalues) for one in self.solved), initial=0))]

    def finish(self) -> None:
        """Take all steps, write what they have found and give the result its name."""
        self.compute()
        run, rows, modes, tails, names, blocks, columns = (
            self.run, self.problem.rows, self.modes, self.tails, self.names, self.blocks, self.columns
        )  # fmt: skip
        records = mode_records(modes, tails, standard_errors(modes, tails, rows.n_kept), None)
        groups = [None] * len(self.pairs) if self.groups is None else self.groups
        for (i, j), part in zip(self.pairs, columns, strict=True):
            here = np.concatenate([modes.coefficients[blocks[i], part], modes.coefficients[blocks[j], part]])
            self.writer.coefficients(f"coefficients_{i}_{j}", here)
        self.writer.members(tails, rows, [(names[i], names[j]) for i, j in self.pairs], columns)
        found = [
            PairRecord(
                a=names[i],
                b=names[j],
                spec_diff=one.spec_diff,
                groups=of_pair,
                modes=[replace(record, mode=number) for number, record in enumerate(records[part])],
            )
            for (i, j), part, one, of_pair in zip(self.pairs, columns, self.solved, groups, strict=True)
        ]
        keys = [str(number) for number in range(len(names))]
        self.writer.maps(self.problem.parameters(), [one.arrays() for one in self.problem.maps], keys)
        order = self.writer.picture(names, [one.spec_diff for one in self.solved])
        self.writer.summary(
            MatrixRecord(
                **vars(what_was_compared(self.problem, names)),
                order=order,
                pairs=found,
                **vars(how_it_went(run, self.plan, self.machine, self.rounding)),
            )
        )
        run.place.publish(self.writer.folder)


def _steps(extent: ProblemSize) -> Steps:
    """The steps of a matrix: those of a comparison, with one solve and the modes of each pair."""
    scoring = _scoring(extent)
    computing: tuple[Step[_Matrix], ...] = (
        Step(covariance_of_maps(extent), _Matrix.accumulate),
        Step(_solving(extent), _Matrix.solve),
        Step(scoring, _Matrix.score),
    )
    if extent.options.rounds:
        computing += (Step(_grouping(extent), _Matrix.group),)
    if extent.precision != "float32":
        computing += (Step(rounding_cost(extent, _modes(extent), True, [scoring]), _Matrix.measure_rounding),)
    return Steps(looking(extent), choosing(extent), computing)


def _wanted(extent: ProblemSize) -> list[tuple[int, int]]:
    """Of each pair the dimension of its features, and its modes of each direction."""
    widths = [one.dim + other.dim for one, other in combinations(extent.maps, 2)]
    return [(width, min(extent.options.n_modes, width)) for width in widths]


def _modes(extent: ProblemSize) -> int:
    """Modes of both directions of all pairs."""
    return 2 * sum(count for _, count in _wanted(extent))


def _solving(extent: ProblemSize) -> Cost:
    wanted, d, sample = _wanted(extent), extent.d, extent.sample
    solves = [solve_cost(width, count) for width, count in wanted]
    k = _modes(extent)
    return Cost(
        "solve",
        memory=extent.features
        + extent.tiles
        + max(one.memory for one in solves)
        + 8 * k * (3 * d + 5 * k + 3 * sample),
        operations=sum(one.operations for one in solves) + 2.0 * sample * d * k,
        speed=min(one.speed for one in solves),
        disk=8 * d**2 + 16 * sum(width * count for width, count in wanted),
    )


def _scoring(extent: ProblemSize) -> Cost:
    k = _modes(extent)
    kept = extent.options.rounds > 0
    cost = score_cost(
        *(extent.maps, extent.n, extent.n_kept, extent.read, k, CHUNK_ROWS if kept else BLOCK_ROWS),
        *(extent.threads, extent.top, extent.precision),
    )
    cost = replace(cost, memory=cost.memory + tails_held(k, extent.top), disk=cost.disk if kept else 0)
    # The buffers of features are the same ones; the scratch of the covariance pass is still there.
    return held_beside(cost, extent.features - feature_cost(extent.maps, 0) + 8 * k * (extent.d + k))


def _grouping(extent: ProblemSize) -> Cost:
    """What the search for the groups of all pairs takes, one pair after another."""
    costs = []
    for i, j in combinations(range(len(extent.maps)), 2):
        p = [extent.dimensions[i], extent.dimensions[j]]
        read = extent.read * sum(p) // sum(extent.dimensions)
        costs.append(groups_cost(replace(extent, maps=(extent.maps[i], extent.maps[j]), dimensions=p, read=read)))
    k = _modes(extent)
    scores, matrices = 4 * CHUNK_ROWS * k, 8 * k * (extent.d + k)
    largest = max(costs, key=lambda one: one.memory)
    return replace(
        largest,
        memory=largest.memory + extent.features + scores + matrices,
        operations=sum(one.operations for one in costs),
        elementary=sum(one.elementary for one in costs),
        read=sum(one.read for one in costs),
        disk=sum(one.disk for one in costs),
        passes=len(costs),
    )


def _together(solved: list[Modes], blocks: list[tuple[slice, slice]]) -> Modes:
    """The modes of all pairs side by side, as modes in the features of all embeddings.

    Parameters
    ----------
    solved : the modes of each pair, in the features of its two embeddings
    blocks : for each pair where these features are among those of all embeddings
    """
    edges = list(accumulate((len(one.eigenvalues) for one in solved), initial=0))
    d, k = max(second.stop for _, second in blocks), edges[-1]
    coefficients, split = np.zeros((d, k)), np.zeros((2, k, k))
    for one, (first, second), ends in zip(solved, blocks, pairwise(edges), strict=True):
        part = slice(*ends)
        d_a = first.stop - first.start
        coefficients[first, part], coefficients[second, part] = one.coefficients[:d_a], one.coefficients[d_a:]
        split[:, part, part] = one.split
    values, a, b, residuals = (
        np.concatenate([getattr(one, name) for one in solved]) for name in ("eigenvalues", "a", "b", "residuals")
    )
    return Modes(values, a, b, coefficients, residuals, solved[0].eta, split, max(one.spec_diff for one in solved))
