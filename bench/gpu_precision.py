"""Which products bear the rounding of tensor cores, and how near the card's answers are to those of the cores."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from bench.gpu_card import bearing
from bench.gpu_data import rotated, widened
from bench.gpu_state import Bench, Row
from specscale.cost import Cost
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.embeddings.rows import PairedRows
from specscale.embeddings.store import EmbeddingStore
from specscale.kernels.base import Kernels, Product
from specscale.kernels.precision import PRODUCTS, Precision
from specscale.method.execution import Execution
from specscale.method.inputs import pair_inputs
from specscale.method.options import Options
from specscale.method.preparation import Preparation
from specscale.method.problem import Problem
from specscale.method.run import running
from specscale.method.steps import Step
from specscale.passes.covariance import covariance
from specscale.passes.products import Held, products
from specscale.passes.scores import MappedScores, ScoreSummary, score
from specscale.spectral.difference import Modes, difference_signs, solve_difference
from specscale.spectral.lanczos import exact_modes, random_start
from specscale.spectral.tiles import TiledSymmetric

MODES = 4  # of each direction: planted groups whose λ lie far apart
LARGEST_NULL, LARGEST_MOVE = 1e-5, 1e-4  # beyond which a product does not bear a precision
PRECISIONS: tuple[Precision, ...] = ("tf32", "3xtf32")
OF_MAPS: tuple[Product, ...] = ("landmarks", "map", "covariance")
MAGNIFIED = 1e3  # λ of a null comparison, so that those below the least that is a result are seen
STEPS = 8
LEAST = 15.0  # seconds that judging one more product takes at most
DROP = 1e-7  # of the largest eigenvalue of C: smaller directions are rounding

Array = NDArray[np.float64]


def precision(bench: Bench) -> list[Row]:
    """Each product apart in each precision of tensor cores, against float32 throughout."""
    bench.needs(40)
    rows = []
    for product, precision, null, moved in _judged(bench):
        bears = bool(null <= LARGEST_NULL and moved <= LARGEST_MOVE)
        rows.append(
            {"product": product, "precision": precision, "null |λ|": null, "λ moves by": moved, "bears it": bears}
        )
    measured = {row["product"] for row in rows}
    for name in PRECISIONS:
        borne = [row["product"] for row in rows if row["precision"] == name and row["bears it"]]
        rows.append({"product": ", ".join(borne) or "none", "precision": f"{name} is borne by"})
    if missed := [product for product in PRODUCTS if product not in measured]:
        rows.append({"product": ", ".join(missed), "precision": "not measured: the time is over"})
    return rows


def _judged(bench: Bench) -> Iterator[tuple[str, str, float, float]]:
    """Product, precision, the largest |λ| of a null comparison and the largest relative move of λ."""
    count, size, few = bench.shape.judged
    options = Options(features="landmarks", size=size, n_modes=MODES, certify=0)
    turned, apart = _pairs(bench, count, options)
    waves = _posed(bench, apart.rows, replace(options, features="fourier", size=size // 2))
    mapped = partial(_values_of_maps, bench)
    plain = bench.card.kernels()
    of_landmarks, of_waves = mapped(apart, plain), mapped(waves, plain)
    null = _null_of_maps(bench, turned, plain)
    yield "none", "float32", null, 0.0
    for product, name in itertools.product(OF_MAPS, PRECISIONS):
        if bench.left < LEAST:
            return
        kernels = bench.card.kernels(name)
        with bearing(name, product):
            moves = [_move(mapped(apart, kernels), of_landmarks)]
            if product != "landmarks":
                moves.append(_move(mapped(waves, kernels), of_waves))
            found = _null_of_maps(bench, turned, kernels)
        yield product, name, found, max(moves)
    if bench.left < LEAST:
        return
    modes = _solved(bench, apart, plain)
    expected = _scored(bench, apart, modes, plain)
    for name in PRECISIONS:
        with bearing(name, "scores"):
            scored = _scored(bench, apart, modes, bench.card.kernels(name))
        # The pass finds no λ: it is that of its scores, which goes with their squared length.
        yield "scores", name, null, _move(scored.squares, expected.squares)
    if bench.left < LEAST:
        return
    turned, apart = _pairs(bench, few, replace(options, features="exact", size=None))
    exact = _exact(bench, apart, plain, 1.0)
    for name in PRECISIONS:
        kernels = bench.card.kernels(name)
        with bearing(name, "exact"):
            found = float(np.abs(_exact(bench, turned, kernels, MAGNIFIED)).max(initial=0.0)) / MAGNIFIED
            moved = _move(_exact(bench, apart, kernels, 1.0), exact)
        yield "exact", name, found, moved


def _pairs(bench: Bench, rows: int, options: Options) -> tuple[Problem, Problem]:
    """An embedding against its own rotation, in float32, which holds a rotation to rounding; and against another."""
    folder = bench.fresh("precision")
    folder.mkdir()
    a = EmbeddingStore(bench.pair(rows)[0])
    same = widened(folder / "same.zarr", a, bench.threads), rotated(folder / "turned.zarr", a, bench.threads)
    apart = _posed(bench, bench.paired(rows), options)
    assert apart.bandwidths[0] is not None
    sigma = apart.bandwidths[0].sigma
    null = replace(pair_inputs(same, options, folder), verified=True)
    return _posed(bench, null, replace(options, sigma=(sigma, sigma))), apart


def _posed(bench: Bench, rows: PairedRows, options: Options) -> Problem:
    """Kernels and maps, chosen on the host as a comparison does."""
    with running(Execution(device="cpu")) as run:
        preparation = Preparation(run, rows, options, options.size or 0)
        steps = [Step(Cost("bandwidth", 0), Preparation.choose_bandwidths)]
        if options.features == "landmarks":
            steps.append(Step(Cost("landmarks", 0), Preparation.choose_landmarks))
        problem = preparation.choose(steps)
        run.place.leave()
        return problem


def _covariance(bench: Bench, problem: Problem, kernels: Kernels) -> TiledSymmetric:
    d = sum(one.dim for one in problem.maps)
    found: TiledSymmetric = bench.sweep(covariance(problem.maps), problem.rows, kernels, d)
    return found


def _solved(bench: Bench, problem: Problem, kernels: Kernels) -> Modes:
    return solve_difference(_covariance(bench, problem, kernels), problem.d_a, 1.0, MODES, bench.threads.run)


def _values_of_maps(bench: Bench, problem: Problem, kernels: Kernels) -> Array:
    return _solved(bench, problem, kernels).eigenvalues


def _null_of_maps(bench: Bench, problem: Problem, kernels: Kernels) -> float:
    """The largest |λ|, also where it is too small to be a result."""
    C = _covariance(bench, problem, kernels)
    D = difference_signs(problem.d_a, C.d - problem.d_a, 1.0)
    e, q = scipy.linalg.eigh(C.dense(), driver="evd")
    keep = e > DROP * e[-1]
    root = q[:, keep] * np.sqrt(e[keep])
    return float(np.abs(scipy.linalg.eigvalsh(root.T @ (D[:, None] * root), driver="evd")).max())


def _scored(bench: Bench, problem: Problem, modes: Modes, kernels: Kernels) -> ScoreSummary:
    n = problem.rows.n
    source = MappedScores(problem.maps, modes.coefficients, n)
    work = score(source, modes.action, n=n, top=1, chunk_rows=CHUNK_ROWS, write=lambda start, scores: None)
    found: ScoreSummary = bench.sweep(work, problem.rows, kernels)
    return found


def _exact(bench: Bench, problem: Problem, kernels: Kernels, magnified: float) -> Array:
    """Eigenvalues of the exact operator, times a number."""
    n = problem.rows.n
    held = Held(problem.rows.take(np.arange(n)))

    def multiply(block: Array, number: int) -> Array:
        def vectors(rows: Any) -> Array:
            return block[rows.start : rows.stop]

        work = products("exact", problem.exact, held, vectors, block.shape[1], n, product="exact")
        found: Array = bench.sweep(work, problem.rows, kernels)
        return magnified * found

    return exact_modes(multiply, random_start(n, MODES), 1.0, MODES, STEPS, bench.threads.run).eigenvalues


def _move(found: Array, expected: Array) -> float:
    """The largest relative difference of numbers that come in the same order; 1 where some are gone."""
    if len(found) != len(expected):
        return 1.0
    return float(np.abs(found / expected - 1).max(initial=0.0))


def agreement(bench: Bench) -> list[Row]:
    """The same comparisons on the card and on the cores: eigenvalues, and the spaces of scores."""
    bench.needs(40)
    n = bench.shape.agreed
    cases: list[dict[str, Any]] = [
        {"features": "landmarks", "size": bench.shape.landmarks // 2},
        {"features": "fourier", "size": bench.shape.frequencies // 6},
    ]
    rows = []
    for case in cases:
        card, cores = (bench.compared(n, device, n_modes=MODES, **case) for device in (bench.device, "cpu"))
        u, v = (np.asarray(one.result.scores[:], dtype=np.float64) for one in (card, cores))
        sines = [largest_sine(u[:, part], v[:, part]) for part in (slice(MODES), slice(MODES, None))]
        rows.append(
            {
                "maps": case["features"],
                "rows": n,
                "λ differs by": _move(card.result.eigenvalues, cores.result.eigenvalues),
                "sine of scores": max(sines),
                "card s": sum(card.seconds.get(name, 0.0) for name in ("covariance", "scores", "certificate")),
                "cores s": sum(cores.seconds.get(name, 0.0) for name in ("covariance", "scores", "certificate")),
            }
        )
    return rows


def largest_sine(u: Array, v: Array) -> float:
    """Of the largest angle between the spaces of the columns of two matrices."""
    q, r = np.linalg.qr(u)[0], np.linalg.qr(v)[0]
    return float(np.linalg.norm(r - q @ (q.T @ r), ord=2))
