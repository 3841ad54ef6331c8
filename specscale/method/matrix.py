"""Many embeddings at once: pair → plan → one covariance → a solve for each pair → scores of all pairs → result."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, combinations, pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from specscale.cost import Cost
from specscale.embeddings.rows import PairedRows
from specscale.errors import OptionError
from specscale.features.bandwidth import parse_rule
from specscale.grid import BLOCK_ROWS
from specscale.method.execution import Execution
from specscale.method.inputs import Input, check_names
from specscale.method.job import Job
from specscale.method.judging import certain_modes, warn_unsettled
from specscale.method.keywords import keywords, taken
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
from specscale.pictures.plots import plot_matrix
from specscale.results.matrix import MatrixResult
from specscale.results.schema import MatrixRecord, PairRecord
from specscale.results.writing import Writer, members_table
from specscale.spectral.difference import Modes, check_possible, solve_cost, solve_difference
from specscale.spectral.tiles import TiledSymmetric

__all__ = ["compare_many"]


@keywords("matrix", Options, Execution)
def compare_many(embeddings: Sequence[Input], **given: Any) -> MatrixResult:
    """Compare every pair of some embeddings of the same samples, in two passes for all of them together.

    The covariance of all feature maps side by side holds that of each pair as blocks, so one pass serves every pair;
    its modes are those of :func:`specscale.compare` of the two (with the same rows, `size` and bandwidths). There is
    no certificate: a pair of interest is then compared by itself.

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
    """

    C: TiledSymmetric
    solved: list[Modes]
    modes: Modes
    tails: ScoreSummary

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
        self.writer = _MatrixWriter(run.place.result)
        self.writer.covariance(self.C)
        del self.C
        source = MappedScores(problem.maps, self.modes.coefficients, rows.n_kept)
        top = min(problem.options.top, rows.n_kept)
        work = score(
            source,
            self.modes.action,
            n=rows.n,
            top=top,
            chunk_rows=BLOCK_ROWS,
            write=lambda start, scores: None,
        )
        tails = run.sweep(work, rows, self.plan.spans)
        if not tails.normed:
            factors = 1 / np.sqrt(tails.squares)
            self.modes, tails = self.modes.scaled(factors), tails.scaled(factors)
        self.tails = tails

    def finish(self) -> None:
        """Take all steps, write what they have found and give the result its name."""
        self.compute()
        run, rows, modes, tails, names, blocks = (
            self.run, self.problem.rows, self.modes, self.tails, self.names, self.blocks
        )  # fmt: skip
        records = mode_records(modes, tails, standard_errors(modes, tails, rows.n_kept), None)
        edges = list(accumulate((len(one.eigenvalues) for one in self.solved), initial=0))
        columns = [slice(*ends) for ends in pairwise(edges)]
        for (i, j), part in zip(self.pairs, columns, strict=True):
            here = np.concatenate([modes.coefficients[blocks[i], part], modes.coefficients[blocks[j], part]])
            self.writer.coefficients(f"coefficients_{i}_{j}", here)
        self.writer.members(tails, rows, [(names[i], names[j]) for i, j in self.pairs], columns)
        found = [
            PairRecord(
                a=names[i],
                b=names[j],
                spec_diff=one.spec_diff,
                modes=[replace(record, mode=number) for number, record in enumerate(records[part])],
            )
            for (i, j), part, one in zip(self.pairs, columns, self.solved, strict=True)
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
    cost = score_cost(
        *(extent.maps, extent.n, extent.n_kept, extent.read, k, BLOCK_ROWS, extent.threads, extent.top),
        extent.precision,
    )
    cost = replace(cost, memory=cost.memory + tails_held(k, extent.top), disk=0)
    # The buffers of features are the same ones; the scratch of the covariance pass is still there.
    return held_beside(cost, extent.features - feature_cost(extent.maps, 0) + 8 * k * (extent.d + k))


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


class _MatrixWriter(Writer):
    """Writes the result of a matrix."""

    def coefficients(self, name: str, coefficients: NDArray[np.float64]) -> None:
        """Write the modes of a pair in the features of its embeddings, (d, k)."""
        self._coefficients(name, coefficients)

    def members(
        self, tails: ScoreSummary, rows: PairedRows, pairs: list[tuple[str, str]], columns: list[slice]
    ) -> None:
        """Write modes.parquet: the top members of both tails of every mode of every pair."""
        table = members_table(tails, rows)
        number = table.column("mode").to_numpy()
        starts = np.array([part.start for part in columns], dtype=np.int64)
        which = np.searchsorted([part.stop for part in columns], number, side="right")
        table = table.set_column(0, "mode", pa.array(number - starts[which], pa.int32()))
        for position, name in enumerate("ab"):
            of_pair = pa.array([pair[position] for pair in pairs], pa.string())
            table = table.add_column(position, name, of_pair.take(pa.array(which, pa.int64())))
        self._members(table, rows, [str(number) for number in range(len(rows.embeddings))])

    def picture(self, names: list[str], differences: list[float]) -> list[str]:
        """Draw SPEC-diff of the pairs, and return the names in the order of the picture."""
        values = np.zeros((len(names), len(names)))
        for (i, j), one in zip(combinations(range(len(names)), 2), differences, strict=True):
            values[i, j] = values[j, i] = one
        order = _clustered(values)
        called = [names[i] for i in order]
        with tempfile.TemporaryDirectory() as here:
            drawn = plot_matrix(called, values[np.ix_(order, order)], Path(here) / "matrix.png")
            (self.folder / "matrix.png").write_bytes(drawn.read_bytes())
        return called


def _clustered(values: NDArray[np.float64]) -> list[int]:
    """The order in which alike embeddings are neighbours: hierarchical clustering with optimal leaf order.

    Average linkage; leaves as Bar-Joseph, Gifford and Jaakkola (2001) order them.

    Parameters
    ----------
    values : (m, m) symmetric, SPEC-diff of each pair
    """
    tree = linkage(squareform(values), method="average", optimal_ordering=True)
    return [int(i) for i in leaves_list(tree)]
