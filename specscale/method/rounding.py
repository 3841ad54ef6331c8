"""How far the rounding of tensor cores moves the modes of a result, by the passes that made it on the seeded sample."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.rows import Block
from specscale.kernels.base import Kernels
from specscale.method.problem import Problem
from specscale.method.run import Run
from specscale.method.steps import ProblemSize
from specscale.passes.base import Pass
from specscale.passes.covariance import covariance, covariance_cost
from specscale.passes.products import Held, products, products_cost
from specscale.passes.scores import MappedScores, score, score_cost
from specscale.results.schema import RoundingRecord
from specscale.spectral.difference import Modes
from specscale.spectral.lanczos import VectorModes

__all__ = ["rounding", "rounding_cost"]

R = TypeVar("R")
_Moves = tuple[NDArray[np.float64], NDArray[np.float64]]


def rounding(
    run: Run, problem: Problem, modes: Modes | VectorModes, pairs: Sequence[tuple[int, int]]
) -> RoundingRecord | None:
    """Measure what the precision that was asked for changes of some modes; None where there are no modes.

    The passes are made twice over the sample, which stands for all rows: as they were made over these, and in float32
    throughout. Of each mode as it was found the Rayleigh quotients zᵀCDCz / zᵀCz are compared, or those of the exact
    operator, and what they differ by is held against λ; and the scores, or the products of the operator with them,
    by the length of their difference. A mode of which the sample has less weighs less; errors that average out over
    many rows look larger in few.

    Parameters
    ----------
    run : the run
    problem : what is compared
    modes : its modes, k of them
    pairs : the two embeddings of each mode, by their numbers
    """
    if not len(modes.eigenvalues):
        return None
    if isinstance(modes, VectorModes):
        eigenvalues, scores = _of_the_operator(run, problem, modes)
    else:
        eigenvalues, scores = _of_maps(run, problem, modes, _signs(problem, modes, pairs))
    return RoundingRecord(
        rows=len(problem.positions), eigenvalues=float(np.abs(eigenvalues).max()), scores=float(scores.max())
    )


def _signs(problem: Problem, modes: Modes, pairs: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """The diagonal of D for each mode, (d, k): 0 for the features of embeddings that it is not of."""
    edges = [0, *accumulate(one.dim for one in problem.maps)]
    signs = np.zeros(modes.coefficients.shape)
    for mode, (first, second) in enumerate(pairs):
        signs[edges[first] : edges[first + 1], mode] = 1
        signs[edges[second] : edges[second + 1], mode] = -np.broadcast_to(modes.eta, len(pairs))[mode]
    return signs


def _of_maps(run: Run, problem: Problem, modes: Modes, signs: NDArray[np.float64]) -> _Moves:
    z, squares, quotients, scores = modes.coefficients, [], [], []
    for kernels in (run.kernels, run.kernels.unrounded):
        w = _swept(covariance(problem.maps), run, problem, kernels).matmul(z, run.pool.run)
        squares.append(np.einsum("dk,dk->k", z, w))
        quotients.append(np.einsum("dk,dk->k", w, signs * w) / np.maximum(squares[-1], np.finfo(np.float64).tiny))
        scores.append(_scores(run, problem, modes, kernels))
    moved = (quotients[0] - quotients[1]) * squares[0] / modes.eigenvalues  # of all rows the square is 1
    return moved, np.linalg.norm(scores[0] - scores[1], axis=0)


def _scores(run: Run, problem: Problem, modes: Modes, kernels: Kernels) -> NDArray[np.float64]:
    """Scores of the sample (s, k), whose length is 1 in the mean over samples."""
    s, k, found = len(problem.positions), len(modes.eigenvalues), []

    def write(start: int, scores: NDArray[np.float32]) -> None:
        found.append(scores.astype(np.float64))

    source = MappedScores(problem.maps, modes.coefficients, s)
    _swept(score(source, np.eye(k), n=s, top=0, chunk_rows=s, write=write), run, problem, kernels)
    return found[0]


def _of_the_operator(run: Run, problem: Problem, modes: VectorModes) -> _Moves:
    s = len(problem.positions)
    u = modes.vectors[problem.positions] * np.sqrt(problem.rows.n_kept / s)
    work = products("precision", problem.exact, Held(problem.sample), lambda block: u, u.shape[1], s, product="exact")
    a, b = _swept(work, run, problem, run.kernels) - _swept(work, run, problem, run.kernels.unrounded)
    moved = (a - modes.eta * b) / modes.eigenvalues  # Λu / λ is u
    return np.einsum("sk,sk->k", u, moved), np.linalg.norm(moved, axis=0)


def _swept(work: Pass[R], run: Run, problem: Problem, kernels: Kernels) -> R:
    """The result of a pass over the sample, which is one block."""
    host = Block(0, len(problem.positions), problem.sample, None, 0)
    inputs = {name: kernels.put(rows(host)) for name, rows in work.inputs.items()}
    block = host._replace(raw=tuple(map(kernels.put, problem.sample)), inputs=inputs)
    room = {name: kernels.empty(*layout) for name, layout in work.room(kernels).items()}
    total, loaded = work.create(kernels), work.load(kernels)
    kernels.run(loaded.prepare(block, room), run.pool.run)
    kernels.run(loaded.append(total, block, room), run.pool.run)
    loaded.look(total, block, room)()
    found = work.finalize({name: kernels.get(one) for name, one in total.items()})
    run.kernels.release()
    return found


def rounding_cost(extent: ProblemSize, k: int, maps: bool, before: Sequence[Cost]) -> Cost:
    """State what :func:`rounding` takes.

    Parameters
    ----------
    extent : what the costs of the steps follow from
    k : modes
    maps : whether the modes are those of maps, not of the exact operator
    before : the costs of the passes that may be the last one before, whose rooms stay
    """
    s, threads, precision = extent.sample, extent.threads, extent.precision
    if maps:
        passes = [
            covariance_cost(extent.maps, s, 0, 0, threads, 0, precision),
            score_cost(extent.maps, s, s, 0, k, s, threads, 0, precision),
        ]
    else:
        passes = [extent.slowed(products_cost("", extent.dimensions, s, k, s, 0, threads, "exact", precision))]
    return Cost(
        "precision",
        memory=max(one.memory for one in passes) + max(one.memory for one in before),
        operations=2 * sum(one.operations for one in passes),
        elementary=2 * sum(one.elementary for one in passes),
        device_memory=max(one.device_memory for one in passes) + max(one.device_memory for one in before),
    )
