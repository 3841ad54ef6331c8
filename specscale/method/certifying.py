"""The last passes: rows are drawn where modes are strong or maps may err; their exact kernels with all rows tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale import seeds
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.features.landmarks import LandmarkMap
from specscale.method.problem import Problem
from specscale.method.run import Run
from specscale.passes.base import Pass
from specscale.passes.products import Held, products
from specscale.passes.remainders import Drawn, Remainders, far_draws, remainders
from specscale.runtime.spans import Span
from specscale.spectral.certificate import Certificate, certificate
from specscale.spectral.difference import Modes
from specscale.spectral.lanczos import VectorModes

__all__ = ["certified", "far_rows"]

ReadScores = Callable[[int, int], NDArray[Any]]
"""The scores of some rows, (rows, k), with NaN where a row does not take part."""


def far_rows(run: Run, problem: Problem) -> Pass[Drawn] | None:
    """The pass that draws rows for a certificate by what landmarks leave of them; None where none are drawn so."""
    landmarks, draws = _landmarks(problem), _far(problem)
    if not draws:
        return None
    return remainders(Remainders.of(landmarks), draws, problem.options.seed)


def certified(
    run: Run,
    problem: Problem,
    spans: list[Span],
    modes: Modes | VectorModes,
    se: NDArray[np.float64],
    read: ReadScores,
    far: Drawn | None = None,
) -> Certificate | None:
    """Certify modes whose scores are known; None where there are none or no certificate is asked for.

    Parameters
    ----------
    run : the run
    problem : what is compared
    spans : the runs of rows that are checkpointed
    modes : the modes
    se : (k,) standard errors of λ
    read : gives the scores
    far : rows that `far_rows` has drawn
    """
    if not problem.options.certify or not len(modes.eigenvalues):
        return None
    drawn = _drawn(run, problem, read, far)
    work = products(
        "certificate",
        problem.exact,
        Held(problem.rows.take(drawn.positions)),
        lambda block: _compared(read(block.start, block.stop), block.kept),
        len(modes.eigenvalues),
        problem.rows.n_kept,
    )
    found = run.sweep(work, problem.rows, spans)
    checked = certificate(modes.eigenvalues, se, modes.eta, modes.action, drawn.scores, found, drawn.p, drawn.counts)
    if all(one.certain for one in problem.exact):
        return checked
    return replace(checked, certified=np.zeros_like(checked.certified))  # the kernels it rests on are rounding


@dataclass(frozen=True)
class _Drawn:
    """Rows drawn for the certificate.

    Attributes
    ----------
    positions : (s,) int64, distinct and ascending, among the rows that take part
    counts : (s,) how often each was drawn
    p : (s,) the probability of each in one draw, or None where they are all rows
    scores : (s, k)
    """

    positions: NDArray[np.int64]
    counts: NDArray[np.float64]
    p: NDArray[np.float64] | None
    scores: NDArray[np.float64]


def _compared(scores: NDArray[Any], kept: NDArray[np.int64] | None) -> NDArray[Any]:
    return scores if kept is None else scores[kept]


def _landmarks(problem: Problem) -> list[LandmarkMap]:
    return [one for one in problem.maps if isinstance(one, LandmarkMap)]


def _far(problem: Problem) -> int:
    """How many rows are drawn for each embedding by what its landmarks leave of them."""
    size = problem.options.certify
    return far_draws(size, len(problem.maps)) if _landmarks(problem) and problem.rows.n_kept > size else 0


def _drawn(run: Run, problem: Problem, read: ReadScores, far: Drawn | None) -> _Drawn:
    """Draw rows, with probabilities in proportion to 1/n + the mean of u² over the modes.

    Where the modes are those of Nyström maps, a third was drawn by the remainders of the maps instead: every estimate
    is the mean of what all draws say, with the mean of the probabilities that a row had in them.
    """
    size = problem.options.certify
    if far is None:
        return _draw(problem, read, size, np.empty(0, dtype=np.int64))
    lasting, draws = np.flatnonzero(far.totals), far.positions.shape[1]
    near = size - draws * len(lasting)
    drawn = _draw(problem, read, near, far.positions[lasting].ravel())
    assert drawn.p is not None
    expected = near * drawn.p
    raw = problem.rows.take(drawn.positions)
    source = Remainders.of(_landmarks(problem))
    for which in map(int, lasting):
        expected += draws * source.at(which, raw[which], run.kernels) / far.totals[which]
    return replace(drawn, p=expected / size)


def _draw(problem: Problem, read: ReadScores, size: int, others: NDArray[np.int64]) -> _Drawn:
    """Draw rows with replacement, with probabilities in proportion to 1/n + the mean of u² over the modes.

    Parameters
    ----------
    problem, read : as in `certified`
    size : how many to draw
    others : rows that were drawn otherwise, which are told the probabilities they have here
    """
    rows = problem.rows
    chunks = [(start, min(start + CHUNK_ROWS, rows.n)) for start in range(0, rows.n, CHUNK_ROWS)]
    every = rows.n_kept <= size
    parts, totals = [], []

    def compared(start: int, stop: int) -> NDArray[np.float64]:
        kept = None if rows.kept is None else np.flatnonzero(rows.kept[start:stop])
        return _compared(read(start, stop), kept).astype(np.float64)

    def measure(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(1 / rows.n_kept + (scores**2).mean(axis=1))

    for start, stop in chunks:
        scores = compared(start, stop)
        totals.append(float(measure(scores).sum()))
        if every:
            parts.append(scores)
    if every:
        return _Drawn(np.arange(rows.n_kept), np.ones(rows.n_kept), None, np.concatenate(parts))
    others = np.sort(others)
    edges = np.concatenate([[0.0], np.cumsum(totals)])
    generator = seeds.certificate_draws(problem.options.seed)
    draws = np.sort(generator.random(size)) * edges[-1]
    positions, chances, chosen = [], [], []
    offset = 0
    for i, (start, stop) in enumerate(chunks):
        inside = draws[(draws >= edges[i]) & (draws < edges[i + 1])]
        count = rows.kept_before(stop) - offset
        known = others[(others >= offset) & (others < offset + count)] - offset
        if len(inside) or len(known):
            scores = compared(start, stop)
            weight = measure(scores)
            local = np.minimum(np.searchsorted(np.cumsum(weight), inside - edges[i], side="right"), count - 1)
            local = np.concatenate([local, known])
            positions.append(offset + local)
            chances.append(weight[local] / edges[-1])
            chosen.append(scores[local])
        offset += count
    distinct, first, counts = np.unique(np.concatenate(positions), return_index=True, return_counts=True)
    return _Drawn(distinct, counts.astype(np.float64), np.concatenate(chances)[first], np.concatenate(chosen)[first])
