"""The grid of rows: blocks and slices are cut at the same rows wherever and however rows are read."""

from __future__ import annotations

__all__ = ["ANCHOR_TILE", "BLOCK_ROWS", "SLICE_ROWS"]

BLOCK_ROWS = 8192  # rows that are read and accumulated at once
SLICE_ROWS = 1024  # rows of a block that one task maps to features; constants, so that products have the same bits
ANCHOR_TILE = 512  # anchors whose kernel with a slice of rows is held at once, in a core's cache
