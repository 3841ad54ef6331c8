"""The covariance pass against the sgemm rate of the same process, reading, projection and trigonometry included."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from bench.common import gemm_rate, report, text_stores, workspace
from specscale.kernels import load_kernels
from specscale.options import Options
from specscale.passes.covariance import covariance
from specscale.passes.record import FeatureBuffers
from specscale.problem import pair_inputs, pose
from specscale.runtime.events import silent
from specscale.runtime.local import LocalExecutor
from specscale.runtime.spans import cut_spans
from specscale.runtime.threads import Threads, single_threaded_blas
from specscale.stores.layout import CHUNK_ROWS

ROUNDS = 7


def run() -> None:
    kernels = load_kernels("cpu")
    kernels.warm_up()
    pool = Threads()
    rows_out = []
    with workspace() as folder:
        a, b, what = text_stores(folder)
        options = Options(normalize="unit", on_bad="drop", sigma=(0.68, 0.67))
        rows = pair_inputs(a, b, options, folder)
        for size in (500, 1000):
            with single_threaded_blas():
                problem = pose(rows, options, size, kernels, print)
            d = sum(one.dim for one in problem.maps)
            buffers = FeatureBuffers(kernels, problem.maps)
            ratios, seconds, rates = [], [], []
            for _ in range(ROUNDS):
                # The rate before and after each run, so that a busy neighbour weighs on both alike.
                before = gemm_rate()
                with single_threaded_blas():
                    began = time.perf_counter()
                    LocalExecutor(pool).run(
                        covariance(problem.maps, kernels, buffers),
                        rows,
                        cut_spans(rows.n, d, CHUNK_ROWS),
                        Path(tempfile.mkdtemp(dir=folder)),
                        silent,
                    )
                    seconds.append(time.perf_counter() - began)
                rates.append((before + gemm_rate()) / 2)
                ratios.append(rows.n_kept * d * (d + 1) / seconds[-1] / rates[-1])
            projected = sum(one.operations for one in problem.maps) / (d * (d + 1))
            rows_out.append(
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
        rows_out,
        f"{what} pair, orthogonal maps; ratio = n·d·(d+1) operations over wall time over the sgemm rate, median of "
        f"{ROUNDS}; 'with projection' also counts the products with the frequencies",
    )
