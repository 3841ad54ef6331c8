"""Checksums of arrays that are written and read back."""

from __future__ import annotations

from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

__all__ = ["crc32c"]


def crc32c(array: NDArray[Any], before: int = 0) -> int:
    """The CRC-32C of an array's bytes in C order, after those that gave the checksum `before`."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    flat.flags.writeable = False  # google_crc32c takes read-only buffers alone
    return int(google_crc32c.extend(before, flat))
