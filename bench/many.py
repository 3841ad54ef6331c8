"""A matrix of four embeddings from one covariance against the six comparisons of their pairs."""

from __future__ import annotations

import statistics
import time
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

import specscale as ss
from bench.common import report, text_sample, workspace
from specscale.method.result import Result
from specscale.results.matrix import MatrixResult

ROUNDS, MODES, TOP = 3, 5, 20
PASSES = ("covariance", "solve", "scores")


def run(n: int = 20_000, sizes: tuple[int, ...] = (500, 1000), rounds: int = ROUNDS) -> None:
    with workspace() as folder:
        x, y, _, what = text_sample(folder, n)
    halves = [np.ascontiguousarray(one[:, : one.shape[1] // 2]) for one in (x, y)]
    embeddings = {"A": x, "B": y, "half of A": halves[0], "half of B": halves[1]}
    options: dict[str, Any] = {"normalize": "unit", "features": "landmarks", "n_modes": MODES, "top": TOP}
    # This comparison compiles the kernels, which no measured one then waits for.
    ss.compare(x, y, size=sizes[0], certify=0, **options)
    table = [_line(embeddings, size, options, rounds) for size in sizes]
    report(
        "many",
        table,
        f"{n:,} rows of the {what} pair, both whole and the first half of the dimensions of each, σ by auto, "
        f"{MODES} + {MODES} modes of each pair, no certificate, all in one process; seconds of the calls, and of the "
        f"{', '.join(PASSES)} steps alone, median of {rounds}; the difference of the eigenvalues is the largest over "
        "all pairs, as a share of the pair's SPEC-diff",
    )


def _line(embeddings: dict[str, NDArray[Any]], size: int, options: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Both ways in turn, so that a busy neighbour weighs on both alike."""
    together, apart, passes_together, passes_apart = [], [], [], []
    for _ in range(rounds):
        began = time.perf_counter()
        matrix = ss.compare_many(list(embeddings.values()), names=list(embeddings), size=size, **options)
        together.append(time.perf_counter() - began)
        passes_together.append(_passes(matrix))
        began = time.perf_counter()
        pairs = {
            (i, j): ss.compare(embeddings[i], embeddings[j], size=size, certify=0, **options)
            for i, j in combinations(embeddings, 2)
        }
        apart.append(time.perf_counter() - began)
        passes_apart.append(sum(_passes(one) for one in pairs.values()))
    return {
        "landmarks": size,
        "d": matrix.summary["maps"]["dimension"],
        "pairs": len(pairs),
        "matrix seconds": statistics.median(together),
        "pairs' seconds": statistics.median(apart),
        "ratio": statistics.median(one / other for one, other in zip(together, apart, strict=True)),
        "matrix passes": statistics.median(passes_together),
        "pairs' passes": statistics.median(passes_apart),
        "ratio of passes": statistics.median(
            one / other for one, other in zip(passes_together, passes_apart, strict=True)
        ),
        "eigenvalues apart": max(_apart(matrix, pair, result) for pair, result in pairs.items()),
    }


def _passes(result: MatrixResult | Result) -> float:
    seconds = result.summary["measured"]["seconds"]
    return float(sum(seconds[step] for step in PASSES))


def _apart(matrix: MatrixResult, pair: tuple[str, str], result: Result) -> float:
    """The largest difference of an eigenvalue of a pair; infinite where there are not as many."""
    modes = next(one["modes"] for one in matrix.pairs if (one["a"], one["b"]) == pair)
    if len(modes) != len(result.eigenvalues):
        return float("inf")
    found = np.array([mode["eigenvalue"] for mode in modes])
    return float(np.abs(found - result.eigenvalues).max() / result.spec_diff)
