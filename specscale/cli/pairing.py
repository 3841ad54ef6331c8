"""How rows were paired, in a line."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from specscale.cli.inert import flowing

if TYPE_CHECKING:
    from specscale.results.schema import RowsRecord, WhatWasCompared

_WIDTH = 118
_OF_ALL = "not in the sample"


def print_pairing(record: WhatWasCompared) -> None:
    """Print how the rows of a result were paired, how many matched, and how many of each side were left out and why."""
    rows = record.rows
    line = f"rows paired by {rows.matched_by}{_by(rows)}: {rows.matched:,} matched"
    told = left_out(record)
    if told:
        line += f"; left out: {', '.join(told)}"
    print("\n".join(textwrap.wrap(line, _WIDTH, subsequent_indent="  ", break_long_words=False)))


def _by(rows: RowsRecord) -> str:
    remarks = []
    if rows.column is not None:
        remarks.append(flowing(rows.column))
    if rows.confirmed_by is not None:
        remarks.append(f"confirmed by column {flowing(rows.confirmed_by)}")
    if rows.unlike:
        remarks.append(f"column {', '.join(map(flowing, rows.unlike))} has other values on each side")
    if rows.id_of:
        remarks.append(f"only {', '.join(map(flowing, rows.id_of))} has a column id")
    return f" ({'; '.join(remarks)})" if remarks else ""


def left_out(record: WhatWasCompared) -> list[str]:
    """How many rows of each side were left out, with the reasons, as "2 of lsa (no partner)"."""
    names = [one.name for one in record.inputs.values()]
    counts = list((record.rows.left_out or {}).values())
    told = []
    for key, name, reasons in zip(record.inputs, names, counts, strict=False):
        called = flowing(name if names.count(name) == 1 else f"{key.upper()} ({name})" if key in "ab" else key)
        told += [f"{count:,} of {called} ({reason})" for reason, count in reasons.items() if reason != _OF_ALL]
    sampled = max((reasons.get(_OF_ALL, 0) for reasons in counts), default=0)
    return [*told, f"{sampled:,} ({_OF_ALL})"] if sampled else told
