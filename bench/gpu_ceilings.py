"""The card's own ceilings: what products, copies and solvers do alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg

from bench.gpu_card import bearing
from bench.gpu_state import Bench, Row
from specscale.grid import BLOCK_ROWS
from specscale.kernels.base import Array, Kernels
from specscale.kernels.precision import Precision
from specscale.runtime.threads import single_threaded_blas
from specscale.spectral.difference import solve_difference
from specscale.spectral.tiles import TiledSymmetric

MODES = 10


def card(bench: Bench) -> list[Row]:
    """What is measured, and with what."""
    return [{"what": name, "found": value} for name, value in bench.facts().items()]


def products(bench: Bench) -> list[Row]:
    """Matrix products of a covariance's tiles and of large square matrices, in every precision."""
    shape = bench.shape
    sizes = ((shape.block, shape.tile, shape.tile), (shape.order,) * 3)
    rows = [
        _product(bench, precision, *size) for precision in ("float32", "tf32", "3xtf32", "float64") for size in sizes
    ]
    top = max(row["TFLOP/s"] for row in rows if row["precision"] == "float32")
    rows.append(_syrk(bench, shape.block, shape.tile))
    return [{**row, "of float32": row["TFLOP/s"] / top} for row in rows]


def _product(bench: Bench, precision: str, inner: int, rows: int, columns: int) -> Row:
    """``leftᵀ right`` of (inner, rows) and (inner, columns)."""
    wide = precision == "float64"
    asked: Precision = "float32" if wide else precision  # type: ignore[assignment]
    kernels, dtype = bench.card.kernels(asked), np.float64 if wide else np.float32
    left = _put(kernels, (inner, rows), dtype)
    right = left if rows == columns else _put(kernels, (inner, columns), dtype)
    out = kernels.empty((rows, columns), dtype)
    with bearing(asked, "covariance"):
        multiply = kernels.device.multiply if wide else kernels.bearing("covariance").project
    seconds = bench.card.seconds(kernels, lambda: multiply(left.T, right, out))
    size = f"{inner:,} × {rows:,} × {columns:,}"
    rate = 2e-12 * inner * rows * columns / seconds
    return {"what": "product", "precision": precision, "size": size, "TFLOP/s": rate}


def _syrk(bench: Bench, inner: int, width: int) -> Row:
    kernels = bench.card.kernels()
    left = _put(kernels, (inner, width), np.float32)
    out = kernels.zeros((width, width), np.float32)
    seconds = bench.card.seconds(kernels, lambda: kernels.device.square(left, out))
    rate = 1e-12 * inner * width * (width + 1) / seconds
    return {"what": "syrk", "precision": "float32", "size": f"{inner:,} × {width:,}", "TFLOP/s": rate}


def _put(kernels: Kernels, shape: tuple[int, int], dtype: Any) -> Array:
    return kernels.put(np.random.default_rng(0).standard_normal(shape, dtype=np.float32).astype(dtype, copy=False))


def copies(bench: Bench) -> list[Row]:
    """Blocks of float16 rows from pinned memory to the card, and an accumulator of the covariance back."""
    kernels, shape = bench.card.kernels(), bench.shape
    device = kernels.device
    rows = []
    for what, count, dtype in (
        ("block to the card", BLOCK_ROWS * sum(shape.dimensions), np.float16),
        ("accumulator to the host", TiledSymmetric.size(4 * shape.frequencies), np.float64),
    ):
        there, here = kernels.zeros((count,), dtype), kernels.pinned((count,), dtype)
        here.fill(1)
        if "card" in what:
            copy = partial(device.upload, "compute", here, there)
        else:
            copy = partial(device.download, "compute", there, here)
        rows.append(
            {"what": what, "MB": here.nbytes / 1e6, "GB/s": 1e-9 * here.nbytes / bench.card.seconds(kernels, copy)}
        )
    return rows


def solves(bench: Bench) -> list[Row]:
    """The eigenproblem of a covariance: the project's solver and SciPy's on the host, cuSOLVER's on the card."""
    d = bench.shape.solved
    generator = np.random.default_rng(0)
    features = generator.standard_normal((2 * d, d)) * np.geomspace(1, 1e-3, d)
    dense = features.T @ features / (2 * d)
    held = np.zeros(TiledSymmetric.size(d))
    C = TiledSymmetric(d, held)
    for rows, columns, tile in C.tiles():
        tile[...] = dense[rows, columns]
    C.mirror()

    def ours() -> None:
        with single_threaded_blas():
            solve_difference(C, d // 2, 1.0, MODES, bench.threads.run)

    timings = {
        f"this project's {MODES} + {MODES} modes, on the host": _once(ours),
        "scipy.linalg.eigh, all eigenvectors, on the host": _once(lambda: scipy.linalg.eigh(dense, driver="evd")),
        "cupy.linalg.eigh, all eigenvectors, copies included": min(
            _once(lambda: bench.card.libraries.eigenvalues(dense)) for _ in range(2)
        ),
    }
    ours_took = next(iter(timings.values()))
    return [{"what": what, "d": d, "seconds": took, "times ours": took / ours_took} for what, took in timings.items()]


def _once(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
