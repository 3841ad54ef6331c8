"""The exact operator on a card: its modes, and a step of it that refines those of landmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.gpu_card import bearing
from bench.gpu_state import Bench, Compared, Row, Skipped
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.embeddings.rows import Block
from specscale.features.kernel import ExactKernel
from specscale.kernels.precision import PRECISIONS
from specscale.passes.products import Held, products
from specscale.passes.stripes import STRIPE_ROWS
from specscale.spectral.lanczos import GUARD

ATTAINED = 0.5  # of the rate of a large product, where no sweep has been measured
SWEEPS = 2  # of one step of refinement
FIXED, A_ROW = 20.0, 25e-6  # seconds beside the sweeps: planting, bandwidths, maps, the approximate modes


def exact(bench: Bench) -> list[Row]:
    """Exact modes from nothing, to convergence."""
    bench.needs(25)
    made = bench.compared(bench.shape.exact, features="exact", certify=0)
    return [*_sweeps(bench, made, "exact"), *_stripes(bench, made)]


def refine(bench: Bench) -> list[Row]:
    """`--refine 1` at as many rows as the time that is left allows."""
    wanted = bench.shape.refined
    n = rows_that_fit(bench, wanted)
    made = bench.compared(n, features="landmarks", size=bench.shape.landmarks // 2, refine=1, certify=0)
    rows = _sweeps(bench, made, "refine")
    step = made.seconds["refine"]
    rows.append({"what": "--refine 1, measured", "rows": n, "seconds": step})
    if n < wanted:
        more = visits(wanted) / visits(n)
        rows.append({"what": "--refine 1, EXTRAPOLATED by visits", "rows": wanted, "seconds": step * more})
    return rows


def visits(n: int) -> int:
    """Kernel values that one sweep evaluates: of each stripe with the rows from its first on."""
    return sum(min(STRIPE_ROWS, n - low) * (n - low) for low in range(0, n, STRIPE_ROWS))


def operations(n: int, dimensions: tuple[int, ...], block: int) -> float:
    """Those of one sweep: the Gram products, and each kernel value times both blocks of vectors."""
    return 2 * visits(n) * (sum(dimensions) + 2 * len(dimensions) * block)


def rows_that_fit(bench: Bench, wanted: int) -> int:
    """Rows, in whole chunks, whose refinement ends in the time that is left; not fewer than one chunk."""
    measured = [row["TFLOP/s"] * 1e12 for row in bench.found.get("exact", []) if "TFLOP/s" in row]
    rate = measured[0] if measured else ATTAINED * bench.rate
    n = wanted
    while n > CHUNK_ROWS and _expected(bench, n, rate) > bench.left:
        n = (n - 1) // CHUNK_ROWS * CHUNK_ROWS
    if _expected(bench, n, rate) > bench.left:
        raise Skipped(f"{max(bench.left, 0):.0f} s are left, {n:,} rows take {_expected(bench, n, rate):.0f} s")
    return n


def _expected(bench: Bench, n: int, rate: float) -> float:
    return FIXED + A_ROW * n + SWEEPS * operations(n, bench.shape.dimensions, _block(bench)) / rate


def _block(bench: Bench) -> int:
    """Vectors of one block: those wanted in both directions and the guard."""
    return 2 * (bench.modes + GUARD)


def _stripes(bench: Bench, made: Compared) -> list[Row]:
    """One stripe in every precision, whether or not it bears it."""
    paired = bench.paired(bench.shape.exact)
    sigmas = [one["sigma"] for one in made.summary["bandwidths"].values()]
    kernels = [ExactKernel(np.zeros(p), False, sigma) for p, sigma in zip(bench.shape.dimensions, sigmas, strict=True)]
    anchors = Held(paired.take(np.arange(min(STRIPE_ROWS, paired.n))))
    V = np.random.default_rng(0).standard_normal((paired.n, _block(bench)))

    def vectors(block: Block) -> NDArray[np.float64]:
        return V[block.start : block.stop]

    rows: list[Row] = []
    for precision in PRECISIONS:
        with bearing(precision, "exact"):
            work = products("exact", tuple(kernels), anchors, vectors, V.shape[1], paired.n, product="exact")
            took = min(bench.timed(work, paired, bench.card.kernels(precision)) for _ in range(2))
        first = rows[0]["seconds"] if rows else took
        what = f"a stripe's own products in {precision}"
        rows.append({"what": what, "rows": paired.n, "seconds": took, "of float32's time": took / first})
    return rows


def _sweeps(bench: Bench, made: Compared, step: str) -> list[Row]:
    """The sweeps of a step, together."""
    n = made.summary["rows"]["compared"]
    took = [seconds for name, seconds in made.seconds.items() if name.startswith(f"{step}, sweep ")]
    one = sum(took) / len(took)
    rate = operations(n, bench.shape.dimensions, _block(bench)) / one
    return [
        {
            "what": f"a sweep, mean of {len(took)}",
            "rows": n,
            "seconds": one,
            "TFLOP/s": 1e-12 * rate,
            "of gemm": rate / bench.rate,
        },
        {"what": f"{step}, whole step", "rows": n, "seconds": made.seconds[step]},
    ]
