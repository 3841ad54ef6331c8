"""The covariance pass: G = Σ φ(x_i) φ(x_i)ᵀ over the concatenated features of all embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.rows import Block
from specscale.features.fourier import FeatureMap
from specscale.kernels import Kernels
from specscale.kernels.scratch import Scratch
from specscale.passes.base import Accumulator, FeatureBuffers, Pass, Task, feature_cost, map_slice, slices
from specscale.spectral.tiles import TiledSymmetric, tile_edges

__all__ = ["covariance", "covariance_cost"]


def covariance(
    maps: tuple[FeatureMap, ...], kernels: Kernels, buffers: FeatureBuffers | None = None
) -> Pass[NDArray[Any], TiledSymmetric]:
    """Make the covariance pass.

    Every block's features are mapped into one buffer; then each lower-triangle tile of G is a product of two column
    ranges in the backend's precision, added to float64.

    Parameters
    ----------
    maps : the feature map of each embedding
    kernels : the backend
    buffers : where features are put, by default made for this pass

    Returns
    -------
    Pass
        Its result is C = G / n (d × d).
    """
    d = sum(one.dim for one in maps)
    scratch = Scratch()
    buffers = buffers or FeatureBuffers(kernels, maps)
    for one in maps:
        one.prepare(kernels)

    def prepare(block: Block, features: NDArray[Any]) -> list[Task]:
        return [
            lambda which=which, part=part: map_slice(kernels, maps, which, block, part, features)  # type: ignore[misc]
            for which in range(len(maps))
            for part in slices(block)
        ]

    def create() -> Accumulator:
        return {"gram": np.zeros(TiledSymmetric.size(d)), "rows": np.zeros(1, dtype=np.int64)}

    def append(total: Accumulator, block: Block, features: NDArray[Any]) -> list[Task]:
        count = len(block.raw[0])
        total["rows"] += count
        used = features[:count]

        def add(rows: slice, columns: slice, tile: NDArray[np.float64]) -> None:
            product = scratch.array(tile.shape, kernels.real)
            kernels.gram_tile(used[:, rows], used[:, columns], product, tile)

        if count == 0:
            return []
        return [
            lambda rows=rows, columns=columns, tile=tile: add(rows, columns, tile)  # type: ignore[misc]
            for rows, columns, tile in TiledSymmetric(d, total["gram"]).tiles()
        ]

    def combine(first: Accumulator, second: Accumulator) -> None:
        first["gram"] += second["gram"]
        first["rows"] += second["rows"]

    def finalize(total: Accumulator) -> TiledSymmetric:
        total["gram"] /= int(total["rows"][0])
        matrix = TiledSymmetric(d, total["gram"])
        matrix.mirror()
        return matrix

    return Pass("covariance", buffers.take, prepare, create, append, combine, finalize, verifies=True)


def covariance_cost(maps: tuple[FeatureMap, ...], n_kept: int, read: int, spans: int, threads: int) -> Cost:
    """State what the pass takes.

    Parameters
    ----------
    maps : the feature map of each embedding
    n_kept : rows that take part
    read : bytes of the embeddings
    spans : number of spans
    threads : threads that compute
    """
    d = sum(one.dim for one in maps)
    tiles = 8 * TiledSymmetric.size(d)
    widest = int(np.diff(tile_edges(d)).max())
    return Cost(
        "covariance",
        memory=3 * tiles  # one accumulates while another is merged with its sibling
        + feature_cost(maps, threads)
        + threads * widest**2 * 4,
        operations=n_kept * (d * (d + 1.0) + sum(one.operations for one in maps)),
        elementary=n_kept * sum(one.elementary for one in maps),
        read=read,
        disk=tiles * spans.bit_length(),
        partial=tiles,
    )
