"""One JSON object on standard output."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from specscale.masking import masked

if TYPE_CHECKING:
    from specscale.results.comparison import ComparisonResult


def print_json(value: dict[str, Any]) -> None:
    """Print an object as one line of JSON, in ASCII, which every locale can print, without control characters.

    What JSON does not know becomes what it does: NaN and infinities null, arrays lists, decimals, dates and bytes
    text.
    """
    print(json.dumps(plain(value), allow_nan=False).replace("\x7f", "\\u007f"))


def inputs_of(result: ComparisonResult) -> dict[str, Any]:
    """Return what the summary of a result says of its embeddings; earlier versions kept their addresses whole."""
    return {which: {**one, "source": masked(one["source"])} for which, one in result.summary["inputs"].items()}


def plain(value: Any) -> Any:
    """Return a value in types that JSON has."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value if value is None or isinstance(value, bool | int | str) else str(value)
