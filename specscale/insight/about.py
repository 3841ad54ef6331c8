"""What the members of a group are about: the terms of their texts, and their labels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from specscale.errors import InputError
from specscale.insight.enrichment import benjamini_hochberg, log_upper_tail
from specscale.insight.roles import cells_of, filled, label_columns, text_column
from specscale.insight.terms import Term, contrasting_terms
from specscale.wording import shown, some

__all__ = ["About", "EnrichedLabel", "about"]

ALPHA = 0.05  # the false discovery rate of labels
LONGEST = 30  # characters of a label in a line


@dataclass(frozen=True)
class EnrichedLabel:
    """A label that is more frequent among members than elsewhere.

    Attributes
    ----------
    column, label : the label
    count, members : members with it, and with any of its column
    share : count / members
    other_share : the share elsewhere, of the near non-members or of all rows with any label of the column
    lift : share / other_share; infinite where none elsewhere has it
    p : probability of as many or more among as many rows drawn at random, the upper tail of the hypergeometric law
    q : the least false discovery rate at which this label is among the discoveries
    """

    column: str
    label: Any
    count: int
    members: int
    share: float
    other_share: float
    lift: float
    p: float
    q: float

    def __str__(self) -> str:
        name = self.label if isinstance(self.label, str) else f"{self.column} {self.label}"
        lift = "∞" if math.isinf(self.lift) else f"{self.lift:.1f}".removesuffix(".0")
        return f"{shown(_flat(name), LONGEST)} {self.share:.0%} ({lift}×)"


@dataclass(frozen=True)
class About:
    """What members are about, as their columns tell; names, terms and labels as the user has them.

    Attributes
    ----------
    text : the column that the terms are of; None where there is no text
    terms : what members say that others do not, strongest first
    labels : their enriched labels, of every column, by ascending p
    """

    text: str | None
    terms: list[Term]
    labels: list[EnrichedLabel]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values; an infinite lift is None."""
        labels = [asdict(one) | {"lift": one.lift if math.isfinite(one.lift) else None} for one in self.labels]
        return {"text": self.text, "terms": list(map(asdict, self.terms)), "labels": labels}

    def line(self, width: int) -> str:
        """Return as many terms and labels as a line has room for, two terms for each label; empty for neither.

        Parameters
        ----------
        width : cells of a terminal
        """
        from rich.cells import cell_len, set_cell_size

        terms, labels = [_flat(one.term) for one in self.terms], list(map(str, self.labels))
        for pieces in range(len(terms) + len(labels), 0, -1):
            last = min(len(labels), max((pieces + 1) // 3, pieces - len(terms)))
            line = " · ".join(", ".join(part) for part in (terms[: pieces - last], labels[:last]) if part)
            if cell_len(line) <= width:
                return line
        first = (terms or labels or [""])[0]
        return set_cell_size(first, max(width - 1, 0)).rstrip() + "…" if first and width > 0 else ""


def about(
    members: pa.Table,
    others: pa.Table,
    rows: Mapping[str, Mapping[Any, int]] | None = None,
    text: str | None = None,
    labels: Sequence[str] | None = None,
    count: int = 5,
) -> About:
    """Say what members are about: terms by contrast of their texts, and enriched labels.

    Labels are tested one by one against a draw without replacement, from all rows where their counts are given and
    else from members and near non-members together, and the false discovery rate is held at 0.05 over all columns.

    Parameters
    ----------
    members, others : the user's columns of members of a group, and of near non-members
    rows : how many of all rows, members included, have each label, for each column of labels that was counted
    text : the column of texts, by default the one that :func:`~specscale.insight.roles.text_column` finds
    labels : columns of labels, by default those that :func:`~specscale.insight.roles.label_columns` finds, and those
        that were counted among all rows
    count : terms that are returned at most

    Returns
    -------
    About

    Raises
    ------
    InputError
        When a column that is named is not there, or holds neither texts nor numbers nor truths.
    ValueError
        When members are not among the rows that were counted.
    """
    columns, rows = cells_of(members, others), rows or {}
    for name in (*([] if text is None else [text]), *(labels or [])):
        if name not in columns:
            there = f"there are {some(list(columns))}" if columns else "there are none"
            raise InputError(f"there is no column {shown(name)!r} of texts, numbers or truths; {there}")
    text = text_column(columns) if text is None else text
    if labels is None:
        labels = [*label_columns(columns), *(name for name in rows if name in columns)]
    parted = {name: (cells[: members.num_rows], cells[members.num_rows :]) for name, cells in columns.items()}
    terms = [] if text is None else contrasting_terms(*parted[text], count)
    counted = [_Counted(name, *parted[name], rows.get(name)) for name in dict.fromkeys(labels)]
    return About(text, terms, _enriched(counted))


class _Counted:
    """Labels of a column: how many members have each, how many elsewhere, and how many of those drawn from."""

    def __init__(
        self, name: str, members: Sequence[Any], others: Sequence[Any], rows: Mapping[Any, int] | None
    ) -> None:
        self.name = name
        self.members = Counter(filled(members))
        if rows is None:
            self.elsewhere = Counter(filled(others))
            self.pool = self.members + self.elsewhere
        else:
            self.pool = self.elsewhere = Counter({label: int(rows[label]) for label in filled(rows)})
        if not self.members <= self.pool:
            raise ValueError(f"column {name!r}: the counts of all rows leave members out")

    def tested(self) -> Iterator[tuple[float, EnrichedLabel]]:
        """Ln p of each label that is more frequent among members, and what is known of it but for q."""
        drawn, total, outside = self.members.total(), self.pool.total(), self.elsewhere.total()
        for label, count in self.members.items():
            share = count / drawn
            other_share = self.elsewhere[label] / outside if outside else share
            if share > other_share:
                log_p = log_upper_tail(count, drawn, self.pool[label], total)
                lift = share / other_share if other_share else math.inf
                p = math.exp(log_p)
                yield log_p, EnrichedLabel(self.name, label, count, drawn, share, other_share, lift, p, p)


def _enriched(columns: list[_Counted]) -> list[EnrichedLabel]:
    """The discoveries over all columns; labels that are no more frequent among members are tests that found nothing."""
    tested = [one for column in columns for one in column.tested()]
    tests = sum(len(column.pool) for column in columns if column.members)
    log_q = benjamini_hochberg(np.array([log_p for log_p, _ in tested]), tests)
    found = [(log_p, replace(one, q=math.exp(rate))) for (log_p, one), rate in zip(tested, log_q, strict=True)]
    found.sort(key=lambda pair: (pair[0], -pair[1].count, pair[1].column, repr(pair[1].label)))
    return [one for _, one in found if one.q <= ALPHA]


def _flat(text: str) -> str:
    return " ".join(text.split())
