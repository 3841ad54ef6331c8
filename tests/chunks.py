"""Stores of many small chunks."""

from __future__ import annotations

import pytest

import specscale.stores.beginning as beginning_module
import specscale.stores.writer as writer_module
from specscale.embeddings import layout
from specscale.sources import base

CHUNK = 8  # rows


def shrink_grid(patch: pytest.MonkeyPatch) -> None:
    """A grid of cells of few rows."""
    for module in (layout, writer_module, beginning_module):
        patch.setattr(module, "CHUNK_ROWS", CHUNK)


def shrink_chunks(patch: pytest.MonkeyPatch) -> None:
    """Chunks of few rows, which sources hand over in batches of fewer still."""
    shrink_grid(patch)
    patch.setattr(base, "BATCH_BYTES", 5 * 12)
