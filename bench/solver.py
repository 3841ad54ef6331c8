"""The eigensolver against the dense symmetric route, C^{1/2} D C^{1/2} by scipy.linalg.eigh."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.linalg

from bench.common import report, text_stores, workspace
from specscale.kernels import load_kernels
from specscale.options import Options
from specscale.passes.covariance import covariance
from specscale.problem import pair_inputs, pose
from specscale.runtime.events import silent
from specscale.runtime.local import LocalExecutor
from specscale.runtime.spans import cut_spans
from specscale.runtime.threads import Threads, single_threaded_blas
from specscale.spectral.difference import difference_signs, solve_difference
from specscale.stores.layout import CHUNK_ROWS

MODES = 10


def run() -> None:
    kernels = load_kernels("cpu")
    kernels.warm_up()
    pool = Threads()
    table = []
    with workspace() as folder:
        a, b, what = text_stores(folder)
        options = Options(normalize="unit", on_bad="drop", sigma=(0.68, 0.67))
        rows = pair_inputs(a, b, options, folder)
        for size in (1000, 3000):
            with single_threaded_blas():
                problem = pose(rows, options, size, kernels, print)
                spans = cut_spans(rows.n, 4 * size, CHUNK_ROWS)
                place = Path(tempfile.mkdtemp(dir=folder))
                C = LocalExecutor(pool).run(covariance(problem.maps, kernels), rows, spans, place, silent)
                began = time.perf_counter()
                modes = solve_difference(C, problem.d_a, 1.0, MODES, pool.run)
                ours = time.perf_counter() - began
            dense = C.dense()
            D = difference_signs(problem.d_a, C.d - problem.d_a, 1.0)
            del C
            began = time.perf_counter()
            e, q = scipy.linalg.eigh(dense, overwrite_a=True)
            root = (q * np.sqrt(np.maximum(e, 0))) @ q.T
            del q
            values = scipy.linalg.eigh(root @ (D[:, None] * root), overwrite_a=True)[0]
            theirs = time.perf_counter() - began
            expected = np.concatenate([values[::-1][:MODES], values[:MODES]])
            table.append(
                {
                    "d": 4 * size,
                    "seconds": ours,
                    "dense seconds": theirs,
                    "ratio": theirs / ours,
                    "eigenvalue error / max": float(
                        np.abs(modes.eigenvalues - expected).max() / np.abs(expected).max()
                    ),
                    "largest residual": float(modes.residuals.max()),
                }
            )
    report(
        "solver",
        table,
        f"{MODES} + {MODES} modes of the {what} pair; the dense route is scipy.linalg.eigh of C and of C^½ D C^½, "
        "BLAS on all cores",
    )
