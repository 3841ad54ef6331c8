"""The eigensolver against the dense symmetric route, C^{1/2} D C^{1/2} by scipy.linalg.eigh."""

from __future__ import annotations

import time

import numpy as np
import scipy.linalg

from bench.common import ORTHOGONAL, report, rig, text_stores
from specscale.method.inputs import pair_inputs
from specscale.passes.covariance import covariance
from specscale.runtime.threads import single_threaded_blas
from specscale.spectral.difference import difference_signs, solve_difference

MODES = 10


def run(sizes: tuple[int, ...] = (1000, 3000)) -> None:
    table = []
    with rig() as bench:
        *stores, what = text_stores(bench.folder)
        rows = pair_inputs(stores, ORTHOGONAL, bench.folder)
        for size in sizes:
            problem = bench.pose(rows, ORTHOGONAL, size)
            C, _ = bench.sweep(covariance(problem.maps), problem)
            with single_threaded_blas():
                began = time.perf_counter()
                modes = solve_difference(C, problem.d_a, 1.0, MODES, bench.pool.run)
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
