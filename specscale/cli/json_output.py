"""One JSON object on standard output."""

from __future__ import annotations

import json
import math
from typing import Any


def print_json(value: dict[str, Any]) -> None:
    """Print an object as one line of JSON, in ASCII, which every locale can print.

    What JSON does not know becomes what it does: NaN and infinities null, arrays lists, dates and bytes text.
    """
    print(json.dumps(_plain(value), allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
