"""Which labels are enriched among the members of each group, or of each tail of a mode."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from specscale.errors import OptionError
from specscale.insight.labels import Labels, label_column, labels_of
from specscale.insight.members import Members, members_of
from specscale.insight.tails import Tail, opened, tails_of
from specscale.places.files import Location
from specscale.results.comparison import ComparisonResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Enrichment", "Explanation", "benjamini_hochberg", "explain", "log_upper_tail"]

_LN_10 = math.log(10)


@dataclass(frozen=True)
class Enrichment:
    """One label in one group.

    Attributes
    ----------
    group : number of the group; None of a tail of a mode
    mode, tail : the tail; None of a group
    grouped_by : "A" or "B", the embedding that holds it together
    label : the label
    count, members : members of the group with this label, and with any
    rows, compared : compared rows with this label, and with any
    fold : (count / members) / (rows / compared)
    p : probability of as many or more among as many rows drawn at random, the upper tail of the hypergeometric law
    q : the least false discovery rate at which this label is among the discoveries
    enriched : q ≤ alpha
    log10_p, log10_q : decimal logarithms of p and q, which themselves are 0 below 5e-324
    """

    group: int | None
    mode: int | None
    tail: str | None
    grouped_by: str
    label: Any
    count: int
    members: int
    rows: int
    compared: int
    fold: float
    p: float
    q: float
    enriched: bool
    log10_p: float
    log10_q: float


@dataclass(frozen=True)
class Explanation:
    """The labels of the groups of a result.

    Attributes
    ----------
    column : the column of labels
    alpha : the false discovery rate of what counts as enriched
    compared, unlabelled : compared rows with a label, and without, which are left out
    labels : distinct labels among the compared rows
    tests : tests made, one for each label and each group with a labelled member
    groups : the groups, or the tails
    unlabelled_members : members without a label, for each group
    found : the labels that occur in each group, by ascending p within it
    """

    column: str
    alpha: float
    compared: int
    unlabelled: int
    labels: int
    tests: int
    groups: Sequence[Members | Tail]
    unlabelled_members: list[int]
    found: list[list[Enrichment]]

    def to_pandas(self) -> pd.DataFrame:
        """Return one line for each label that occurs in a group."""
        import pandas as pd

        lines = [vars(one) for labels in self.found for one in labels]
        return pd.DataFrame(lines, columns=list(Enrichment.__dataclass_fields__))

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        fields = ("label", "count", "rows", "fold", "p", "q", "enriched", "log10_p", "log10_q")
        return {
            "column": self.column,
            "alpha": self.alpha,
            "compared": self.compared,
            "unlabelled": self.unlabelled,
            "labels": self.labels,
            "tests": self.tests,
            "groups": [
                {
                    **group.to_json(),
                    "members": len(group.rows) - unlabelled,
                    "unlabelled": unlabelled,
                    "labels": [{name: getattr(one, name) for name in fields} for one in found],
                }
                for group, unlabelled, found in zip(self.groups, self.unlabelled_members, self.found, strict=True)
            ],
        }


def explain(
    result: ComparisonResult | str | Location,
    labels: str = "label",
    top: int | None = None,
    alpha: float = 0.05,
    *,
    modes: bool = False,
) -> Explanation:
    """Find the labels that are more frequent in a group than among all compared rows.

    Each label in each group is tested against a draw without replacement (the hypergeometric law), and the false
    discovery rate is controlled over all labels and groups (Benjamini and Hochberg 1995). Rows without a label are
    left out of both sides.

    Groups and themes are those that the result's evidence holds for, with every member. Where there are none, or where
    modes are asked for, it is the tails of the modes whose kept members are looked at.

    Parameters
    ----------
    result : a result, or its directory
    labels : a column of A's store, or else of B's, one label for each row
    top : the likest members of each group, or the first of each tail; by default all there are
    alpha : the false discovery rate of what counts as enriched
    modes : whether the tails of the modes are looked at where there are groups

    Returns
    -------
    Explanation

    Raises
    ------
    OptionError
        When `top` or `alpha` is out of range.
    InputError
        When A is no store that can be read, has no such column, or the column holds no labels.
    ChangedError
        When the store is no longer the one that was compared.
    """
    if not 0 < alpha <= 1:
        raise OptionError(f"--alpha is a false discovery rate between 0 and 1, not {alpha:g}")
    result = opened(result)
    column = label_column(result, labels)
    groups: Sequence[Members | Tail] = [] if modes else members_of(result, top)
    groups = groups or tails_of(result, top)
    if not groups:
        return Explanation(labels, alpha, 0, 0, 0, 0, [], [], [])
    counted = labels_of(result, column, np.concatenate([one.rows for one in groups]))
    parts = list(_split(counted.of_members, groups))
    tests = int(np.count_nonzero(counted.rows)) * sum(bool((codes >= 0).any()) for codes in parts)
    tables = [_tabled(codes, counted) for codes in parts]
    log_q = benjamini_hochberg(np.concatenate([log_p for _, _, log_p in tables]), tests)
    ends = np.cumsum([len(log_p) for _, _, log_p in tables])
    found = [
        [
            _enrichment(group, codes, counted, int(code), int(count), float(one), float(rate), alpha)
            for code, count, one, rate in zip(*table, rates, strict=True)
        ]
        for group, codes, table, rates in zip(groups, parts, tables, np.split(log_q, ends[:-1]), strict=True)
    ]
    return Explanation(
        labels,
        alpha,
        int(counted.rows.sum()),
        counted.unlabelled,
        int(np.count_nonzero(counted.rows)),
        tests,
        groups,
        [int(np.count_nonzero(codes < 0)) for codes in parts],
        found,
    )


def log_upper_tail(count: int, drawn: int, rows: int, total: int) -> float:
    """Return ln P(X ≥ count) of the hypergeometric law, as exact where P is below every float as elsewhere.

    P(X = k) is C(drawn, k) times a product of `drawn` ratios, whose logarithms are added; the terms after the first
    follow from ratios P(X = j + 1) / P(X = j), so that nothing is the difference of large numbers.

    Parameters
    ----------
    count : k
    drawn : rows drawn without replacement
    rows, total : rows of the kind that is counted, and all rows
    """
    least, most = max(0, drawn - (total - rows)), min(rows, drawn)
    if count <= least:
        return 0.0
    if count > most:
        return -math.inf
    chosen, others = np.arange(count), np.arange(drawn - count)
    first = float(
        np.log(drawn - chosen).sum()
        - np.log(chosen + 1).sum()
        + np.log((rows - chosen) / (total - chosen)).sum()
        + np.log((total - rows - others) / (total - count - others)).sum()
    )
    after = np.arange(count, most)
    ratios = (rows - after) * (drawn - after) / ((after + 1.0) * (total - rows - drawn + after + 1))
    return min(0.0, first + float(logsumexp(np.append(0.0, np.cumsum(np.log(ratios))))))


def benjamini_hochberg(log_p: NDArray[np.float64], tests: int) -> NDArray[np.float64]:
    """Adjust p-values for the false discovery rate (Benjamini and Hochberg 1995), in logarithms.

    Parameters
    ----------
    log_p : ln p
    tests : tests made; those whose p-values are not in `log_p` had p = 1

    Returns
    -------
    ndarray
        ln q
    """
    order = np.argsort(log_p, kind="stable")
    scaled = log_p[order] + np.log(tests / np.arange(1, len(log_p) + 1))
    log_q = np.empty(len(log_p))
    log_q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 0.0)
    return log_q


def _split(codes: NDArray[np.int64], groups: Sequence[Members | Tail]) -> Iterator[NDArray[np.int64]]:
    start = 0
    for group in groups:
        yield codes[start : start + len(group.rows)]
        start += len(group.rows)


def _tabled(
    codes: NDArray[np.int64], counted: Labels
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The labels of a group's members, how many have each, and ln p; by ascending p."""
    labels, counts = np.unique(codes[codes >= 0], return_counts=True)
    total, drawn = int(counted.rows.sum()), int(counts.sum())
    kinds = list(zip(counts.tolist(), counted.rows[labels].tolist(), strict=True))
    log_of = {(count, rows): log_upper_tail(count, drawn, rows, total) for count, rows in set(kinds)}
    log_p = np.array([log_of[one] for one in kinds], dtype=np.float64)
    order = np.lexsort((-counts, log_p))
    return labels[order], counts[order], log_p[order]


def _enrichment(
    group: Members | Tail,
    codes: NDArray[np.int64],
    counted: Labels,
    code: int,
    count: int,
    log_p: float,
    log_q: float,
    alpha: float,
) -> Enrichment:
    members, rows, compared = int(np.count_nonzero(codes >= 0)), int(counted.rows[code]), int(counted.rows.sum())
    q = math.exp(log_q)
    number, mode, tail = (group.group, None, None) if isinstance(group, Members) else (None, group.mode, group.tail)
    return Enrichment(
        number,
        mode,
        tail,
        group.grouped_by,
        counted.values[code],
        count,
        members,
        rows,
        compared,
        count * compared / (members * rows),
        math.exp(log_p),
        q,
        q <= alpha,
        log_p / _LN_10,
        log_q / _LN_10,
    )
