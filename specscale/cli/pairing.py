"""How rows were paired, in a line."""

from __future__ import annotations

import textwrap
from typing import Any

from specscale.cli.inert import flowing

_WIDTH = 118
_OF_ALL = "not in the sample"


def print_pairing(summary: dict[str, Any]) -> None:
    """Print how the rows of a result were paired, how many matched, and how many of each side were left out and why."""
    rows = summary["rows"]
    line = f"rows paired by {rows['matched_by']}{_by(rows)}: {rows['matched']:,} matched"
    told = left_out(summary)
    if told:
        line += f"; left out: {', '.join(told)}"
    print("\n".join(textwrap.wrap(line, _WIDTH, subsequent_indent="  ", break_long_words=False)))


def _by(rows: dict[str, Any]) -> str:
    remarks = []
    if rows.get("column") is not None:
        remarks.append(flowing(rows["column"]))
    if rows.get("confirmed_by") is not None:
        remarks.append(f"confirmed by column {flowing(rows['confirmed_by'])}")
    if rows.get("unlike"):
        remarks.append(f"column {', '.join(map(flowing, rows['unlike']))} has other values on each side")
    if rows.get("id_of"):
        remarks.append(f"only {', '.join(map(flowing, rows['id_of']))} has a column id")
    return f" ({'; '.join(remarks)})" if remarks else ""


def left_out(summary: dict[str, Any]) -> list[str]:
    """How many rows of each side were left out, with the reasons, as "2 of lsa (no partner)"."""
    names = [one.get("name", key) for key, one in summary["inputs"].items()]
    counts: list[dict[str, int]] = list(summary["rows"].get("left_out", {}).values())
    told = []
    for key, name, reasons in zip(summary["inputs"], names, counts, strict=False):
        called = flowing(name if names.count(name) == 1 else f"{key.upper()} ({name})" if key in "ab" else key)
        told += [f"{count:,} of {called} ({reason})" for reason, count in reasons.items() if reason != _OF_ALL]
    sampled = max((reasons.get(_OF_ALL, 0) for reasons in counts), default=0)
    return [*told, f"{sampled:,} ({_OF_ALL})"] if sampled else told
