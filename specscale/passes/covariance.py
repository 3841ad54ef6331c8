"""The covariance pass: G = Σ φ(x_i) φ(x_i)ᵀ over the concatenated features of all embeddings."""

from __future__ import annotations

from functools import partial

import numpy as np

from specscale.cost import Cost
from specscale.embeddings.rows import Block
from specscale.features.base import FeatureMap
from specscale.grid import BLOCK_ROWS
from specscale.kernels.base import Array, Kernels, Task
from specscale.kernels.precision import Precision, split_memory
from specscale.passes.base import HELD_NODES, Accumulator, Layout, LoadedPass, Pass, Room
from specscale.passes.mapping import (
    LoadedMaps,
    feature_cost,
    feature_device_cost,
    feature_products,
    feature_room,
    feature_width,
    refusing_bad_rows,
    shares_of,
)
from specscale.spectral.tiles import TiledSymmetric, tile_edges

__all__ = ["covariance", "covariance_cost"]


def covariance(maps: tuple[FeatureMap, ...]) -> Pass[TiledSymmetric]:
    """Make the covariance pass.

    Every block's features are mapped into one buffer; then each lower-triangle tile of G is a product of two column
    ranges in the backend's precision, added to float64.

    Parameters
    ----------
    maps : the feature map of each embedding

    Returns
    -------
    Pass
        Its result is C = G / n (d × d).
    """
    d = sum(one.dim for one in maps)

    def create(kernels: Kernels) -> Accumulator:
        return {"gram": kernels.zeros((TiledSymmetric.size(d),), np.float64), "rows": np.zeros(1, dtype=np.int64)}

    def load(kernels: Kernels) -> LoadedPass:
        loaded, bearing = LoadedMaps.of(maps, kernels), kernels.bearing("covariance")

        def prepare(block: Block, room: Room) -> list[Task]:
            return [
                partial(loaded.apply, block, share, room["features"], room["bad"])
                for share in shares_of(block, kernels.slice_rows)
            ]

        def append(total: Accumulator, block: Block, room: Room) -> list[Task]:
            count = len(block.raw[0])
            total["rows"] += count
            used = room["features"][:count]

            def add(rows: slice, columns: slice, tile: Array) -> None:
                product = kernels.scratch("tile", tile.shape, kernels.real)
                left = used[:, rows]
                bearing.gram_tile(left, left if rows == columns else used[:, columns], product, tile)

            return [partial(add, *tile) for tile in TiledSymmetric(d, total["gram"]).tiles()] if count else []

        def look(total: Accumulator, block: Block, room: Room) -> Task:
            return refusing_bad_rows(kernels, block, shares_of(block, kernels.slice_rows), room["bad"])

        return LoadedPass(prepare, append, look)

    def combine(first: Accumulator, second: Accumulator) -> None:
        first["gram"] += second["gram"]
        first["rows"] += second["rows"]

    def finalize(total: Accumulator) -> TiledSymmetric:
        total["gram"] /= int(total["rows"][0])
        matrix = TiledSymmetric(d, total["gram"])
        matrix.mirror()
        return matrix

    def room(kernels: Kernels) -> Layout:
        return feature_room(feature_width(maps), len(maps), kernels)

    return Pass("covariance", room, create, load, combine, finalize, sums=True, verifies=True)


def covariance_cost(
    maps: tuple[FeatureMap, ...],
    n_kept: int,
    read: int,
    spans: int,
    threads: int,
    held: int = 1,
    precision: Precision = "float32",
) -> Cost:
    """State what the pass takes.

    Parameters
    ----------
    maps : the feature map of each embedding
    n_kept : rows that take part
    read : bytes of the embeddings
    spans : number of spans
    threads : threads that compute
    held : partial results that stay in memory
    precision : that is asked for
    """
    d = sum(one.dim for one in maps)
    tiles = 8 * TiledSymmetric.size(d)
    widest = int(np.diff(tile_edges(d)).max())
    multiplied = [*feature_products(maps), ("covariance", widest, BLOCK_ROWS, widest)]
    return Cost(
        "covariance",
        memory=(2 + held) * tiles  # one accumulates while another is merged with its sibling, which was held
        + feature_cost(maps, threads)
        + threads * widest**2 * 4,
        operations=n_kept * (d * (d + 1.0) + sum(one.operations for one in maps)),
        elementary=n_kept * sum(one.elementary for one in maps),
        read=read,
        disk=tiles * spans.bit_length(),
        partial=tiles,
        # One accumulates and another is on its way to the host beside those that are held.
        device_memory=(2 + min(HELD_NODES, spans.bit_length())) * tiles
        + feature_device_cost(maps)
        + widest**2 * 4
        + split_memory(multiplied, precision),
    )
