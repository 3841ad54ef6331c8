"""Sizes and rates as people write and read them."""

from __future__ import annotations

import math
import re

from specscale.errors import OptionError

__all__ = ["format_bytes", "parse_bytes", "parse_rows"]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


_THOUSANDS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


_MOST_ROWS = 10**10  # of a plan, whose spans are listed


def parse_bytes(text: str | int) -> int:
    """Read a size such as ``8G``, ``512M`` or a number of bytes.

    Raises
    ------
    OptionError
        When it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", str(text), re.IGNORECASE)
    if not found or float(found[1]) == 0:
        raise OptionError(f"--memory is a size such as 8G or 512M, not {text!r}")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def parse_rows(text: str | float) -> int:
    """Read a number of rows such as ``1e9``, ``1_000_000_000`` or 1000000000.

    Raises
    ------
    OptionError
        When it is no whole number, or there would be nothing to compare or more than can be planned.
    """
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = math.nan
    if not number.is_integer():
        raise OptionError(f"--rows is a whole number such as 1e9 or 1000000, not {text!r}")
    if not 2 <= number <= _MOST_ROWS:
        raise OptionError(f"--rows lies between 2 and {_MOST_ROWS:,}, it is not {text!r}")
    return int(number)


def _parse_rate(text: str | float) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*([KMGTP]?)\s*", str(text), re.IGNORECASE)
    rate = float(found[1]) * _THOUSANDS[found[2].upper()] if found else 0.0
    if not 0 < rate < math.inf:
        raise OptionError(f"--rate is a number of operations a second such as 30T or 5e12, not {text!r}")
    return rate


def format_bytes(count: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("B", "KB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GB" if count < 999.5 else f"{count:,.0f} GB"
