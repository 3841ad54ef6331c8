"""The covariance pass against the sgemm rate of the same process, reading, projection and trigonometry included."""

from __future__ import annotations

import statistics

from bench.common import ORTHOGONAL, gemm_rate, report, rig, text_stores
from specscale.method.inputs import pair_inputs
from specscale.passes.covariance import covariance

ROUNDS = 7


def run(sizes: tuple[int, ...] = (500, 1000)) -> None:
    table = []
    with rig() as bench:
        *stores, what = text_stores(bench.folder)
        rows = pair_inputs(stores, ORTHOGONAL, bench.folder)
        for size in sizes:
            problem = bench.pose(rows, ORTHOGONAL, size)
            d = sum(one.dim for one in problem.maps)
            ratios, seconds, rates = [], [], []
            for _ in range(ROUNDS):
                # The rate before and after each run, so that a busy neighbour weighs on both alike.
                before = gemm_rate()
                _, took = bench.sweep(covariance(problem.maps), problem)
                seconds.append(took)
                rates.append((before + gemm_rate()) / 2)
                ratios.append(rows.n_kept * d * (d + 1) / took / rates[-1])
            projected = sum(one.operations for one in problem.maps) / (d * (d + 1))
            table.append(
                {
                    "m": size,
                    "d": d,
                    "rows": rows.n_kept,
                    "seconds": statistics.median(seconds),
                    "gemm GFLOP/s": statistics.median(rates) / 1e9,
                    "ratio": statistics.median(ratios),
                    "best ratio": max(ratios),
                    "with projection": statistics.median(ratios) * (1 + projected),
                }
            )
    report(
        "covariance",
        table,
        f"{what} pair, orthogonal maps; ratio = n·d·(d+1) operations over wall time over the sgemm rate, median of "
        f"{ROUNDS}; 'with projection' also counts the products with the frequencies",
    )
