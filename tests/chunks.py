"""Stores of many small chunks."""

from __future__ import annotations

import pytest

import specscale.stores.beginning as beginning_module
import specscale.stores.writer as writer_module
from specscale.stores.sources import base

CHUNK = 8  # rows


def shrink_chunks(patch: pytest.MonkeyPatch) -> None:
    """Chunks of few rows, which sources hand over in batches of fewer still."""
    patch.setattr(writer_module, "CHUNK_ROWS", CHUNK)
    patch.setattr(beginning_module, "CHUNK_ROWS", CHUNK)
    patch.setattr(base, "BATCH_BYTES", 5 * 12)
