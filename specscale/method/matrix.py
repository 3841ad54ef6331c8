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
from specscale.features.bandwidth import SAMPLE_ROWS, parse_rule
from specscale.features.base import FeatureMap
from specscale.grid import BLOCK_ROWS
from specscale.method.how import How
from specscale.method.job import certain_modes, claim, warn_unsettled
from specscale.method.option import keywords, taken
from specscale.method.options import Options
from specscale.method.planning import Planner
from specscale.method.problem import Input, Problem, check_names, looked_through, pair_inputs, pose
from specscale.method.run import Run, running
from specscale.method.summary import how_it_went, mode_records, standard_errors, what_was_compared
from specscale.passes.covariance import covariance, covariance_cost
from specscale.passes.mapping import feature_cost
from specscale.passes.scores import MappedScores, ScoreSummary, score, score_cost
from specscale.pictures.plots import plot_matrix
from specscale.results.matrix import MatrixResult
from specscale.results.schema import MatrixRecord, PairRecord
from specscale.results.workplace import Workplace
from specscale.results.writing import Writer, members_table
from specscale.runtime.events import Noted
from specscale.runtime.machine import Machine, Plan
from specscale.spectral.difference import Modes, check_possible, solve_cost, solve_difference
from specscale.spectral.tiles import TiledSymmetric

__all__ = ["compare_many"]


@keywords("matrix", Options, How)
def compare_many(embeddings: Sequence[Input], **given: Any) -> MatrixResult:
    """Compare every pair of some embeddings of the same samples, in two passes for all of them together.

    The covariance of all feature maps side by side holds that of each pair as blocks, so one pass serves every pair;
    its modes are those of :func:`specscale.compare` of the two (with the same rows, `size` and bandwidths). There is
    no certificate: a pair of interest is then compared by itself.

    Parameters
    ----------
    embeddings : two or more embeddings, each as in :func:`specscale.compare`
    **given : the fields of :class:`Options` and :class:`How`, but those of the certificate and of what it checks

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
    options, how = taken(Options, {**given, "certify": 0}), taken(How, given)
    if options.features == "exact":
        raise OptionError(
            "--features exact does not go with a matrix, whose pairs come from one covariance: take landmarks, or "
            "compare a pair of interest with --features exact"
        )
    check_names(how.names, len(inputs))
    place = Workplace(how.out, resume=how.resume, overwrite=how.overwrite)
    with running(place, how.threads, how.executor, how.progress) as run:
        with run.step("pairing"):
            rows = pair_inputs(inputs, options, run.place.folder, how.names)
        # The machine is measured before workers begin to compile.
        planner = _MatrixPlanner.of(rows, options, how.memory, run.pool, run.executor.crew)
        rows = run.executor.ready(rows, run.place.folder, temporary=run.place.temporary)
        most = planner.largest_size()
        rows, duplicates = looked_through(rows, run)
        problem = pose(rows, options, most, run, duplicates)
        plan = planner.plan(problem.maps, problem.wide)
        plan.check_disk(run.place.folder)
        run.notify(Noted(problem.choice))
        called = [one.name for one in rows.embeddings]
        digests = {f"digest of embedding {name}": one.digest for name, one in zip(called, rows.embeddings, strict=True)}
        claim(run, problem, {"names": called, **digests})
        if run.place.done:
            run.place.leave()
            return MatrixResult.of(run.place.out, temporary=False)
        return _found(run, problem, plan, planner.machine, called)


def _rules(sigma: str | float | Sequence[str | float], count: int) -> tuple[str | float, ...]:
    """The bandwidth rule of each embedding."""
    rules = (sigma,) if isinstance(sigma, str | float | int) else tuple(sigma)
    if len(rules) not in (1, count):
        raise OptionError(f"--sigma is one rule or one for each of the {count} embeddings, not {len(rules)}")
    for one in rules:
        parse_rule(one, "--sigma")
    return rules * count if len(rules) == 1 else rules


class _MatrixPlanner(Planner):
    """Plans a matrix."""

    def plan(self, maps: tuple[FeatureMap, ...], wide: bool = False) -> Plan:
        """The plan with some feature maps: the steps of a comparison, with one solve and the modes of each pair."""
        plan = super().plan(maps, wide)
        options, d, n_kept = self.options, plan.d, self.rows.n_kept
        steps = {step.name: step for step in plan.steps}
        beside = steps["solve"].memory - solve_cost(d, min(options.n_modes, d)).memory  # rows, and buffers of features
        pairs = [one.dim + other.dim for one, other in combinations(maps, 2)]
        wanted = [min(options.n_modes, width) for width in pairs]
        solves = [solve_cost(width, count) for width, count in zip(pairs, wanted, strict=True)]
        k = 2 * sum(wanted)
        sampled = min(SAMPLE_ROWS, n_kept)
        steps["solve"] = Cost(
            "solve",
            memory=beside
            + 8 * TiledSymmetric.size(d)
            + max(one.memory for one in solves)
            + 8 * k * (3 * d + 5 * k + 3 * sampled),
            operations=sum(one.operations for one in solves) + 2.0 * sampled * d * k,
            speed=min(one.speed for one in solves),
            disk=8 * d**2 + 16 * sum(width * count for width, count in zip(pairs, wanted, strict=True)),
        )
        read = steps["covariance"].read
        covariance = covariance_cost(maps, n_kept, read, len(plan.spans), self.machine.threads)
        top = min(options.top, n_kept)
        scores = score_cost(maps, self.rows.n, n_kept, read, k, BLOCK_ROWS, self.machine.threads, top)
        tails = 6 * 2 * k * top * 16  # of a few spans at once, while they are merged
        memory = beside + scores.memory - feature_cost(maps, 0) + tails + 8 * k * (d + k)  # the buffers are the same
        blocks = steps["covariance"].worker_memory - covariance.memory
        steps["scores"] = replace(scores, memory=memory, disk=0, worker_memory=scores.memory + tails + blocks)
        return replace(plan, steps=list(steps.values()))


def _found(run: Run, problem: Problem, plan: Plan, machine: Machine, names: list[str]) -> MatrixResult:
    """Compute the modes of all pairs and write the result."""
    rows, maps, kernels, options = problem.rows, problem.maps, run.kernels, problem.options
    C = run.sweep(covariance(maps), rows, plan.spans)
    pairs = list(combinations(range(len(maps)), 2))
    with run.step("solve"):
        blocks = [slice(*edges) for edges in pairwise(accumulate((one.dim for one in maps), initial=0))]
        solved = [
            solve_difference(C.sub([blocks[i], blocks[j]]), maps[i].dim, options.eta, options.n_modes, run.pool.run)
            for i, j in pairs
        ]
        for number, (i, j) in enumerate(pairs):
            solved[number] = certain_modes(run, solved[number], f"{names[i]} and {names[j]}: ")
            check_possible(solved[number].eigenvalues, options.eta)
            warn_unsettled(run, solved[number], f"{names[i]} and {names[j]}: ")
        modes = cast(Modes, problem.oriented(_together(solved, [(blocks[i], blocks[j]) for i, j in pairs]), kernels))
    writer = _MatrixWriter(run.place.result)
    writer.covariance(C)
    del C
    source = MappedScores(maps, modes.coefficients, rows.n_kept)
    top = min(options.top, rows.n_kept)
    work = score(source, modes.action, n=rows.n, top=top, chunk_rows=BLOCK_ROWS, write=lambda start, scores: None)
    tails = run.sweep(work, rows, plan.spans)
    if not tails.normed:
        factors = 1 / np.sqrt(tails.squares)
        modes, tails = modes.scaled(factors), tails.scaled(factors)
    records = mode_records(modes, tails, standard_errors(modes, tails, rows.n_kept), None)
    edges = list(accumulate((len(one.eigenvalues) for one in solved), initial=0))
    columns = [slice(*ends) for ends in pairwise(edges)]
    for (i, j), part in zip(pairs, columns, strict=True):
        here = np.concatenate([modes.coefficients[blocks[i], part], modes.coefficients[blocks[j], part]])
        writer.coefficients(f"coefficients_{i}_{j}", here)
    writer.members(tails, rows, [(names[i], names[j]) for i, j in pairs], columns)
    found = [
        PairRecord(
            a=names[i],
            b=names[j],
            spec_diff=one.spec_diff,
            modes=[replace(record, mode=number) for number, record in enumerate(records[part])],
        )
        for (i, j), part, one in zip(pairs, columns, solved, strict=True)
    ]
    keys = [str(number) for number in range(len(names))]
    writer.maps(problem.parameters(), [one.arrays() for one in maps], keys)
    order = writer.picture(names, [one.spec_diff for one in solved])
    writer.summary(
        MatrixRecord(
            **vars(what_was_compared(problem, names)),
            order=order,
            pairs=found,
            **vars(how_it_went(run, plan, machine)),
        )
    )
    run.place.publish(writer.folder)
    return MatrixResult.of(run.place.out, temporary=run.place.temporary)


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
