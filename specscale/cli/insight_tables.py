"""Labels of groups, and overlap and agreement of the tails of modes, as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from specscale.cli.columns import padded, text_of
from specscale.cli.heading import names_of
from specscale.cli.inert import flowing

if TYPE_CHECKING:
    from specscale.insight.enrichment import Explanation
    from specscale.insight.measures import Agreement
    from specscale.insight.members import Members
    from specscale.insight.overlap import Overlap
    from specscale.insight.tails import Tail
    from specscale.results.comparison import ComparisonResult

_MOST_LABELS = 10  # of one group
_WIDEST_LABEL = 32
_LEAST_LOG = -300  # below, floats lose digits


def print_explanation(result: ComparisonResult, explanation: Explanation) -> None:
    """Print the enriched labels of each group, a line each."""
    print(_heading(result))
    if not explanation.groups:
        print("no mode, and so no group to explain")
        return
    left_out = f", {explanation.unlabelled:,} without one left out" if explanation.unlabelled else ""
    print(
        f"{flowing(explanation.column)}: {explanation.labels:,} labels in {explanation.compared:,} compared rows"
        f"{left_out}\n"
        f"{explanation.tests:,} tests (hypergeometric); shown with a false discovery rate q ≤ {explanation.alpha:g} "
        "over all of them"
    )
    print(f"\n  {'label':<{_WIDEST_LABEL}}  {'in the group':>16}  {'of all rows':>24}  {'fold':>7}  {'p':>8}  {'q':>8}")
    for group, unlabelled, found in zip(
        explanation.groups, explanation.unlabelled_members, explanation.found, strict=True
    ):
        note = f", {unlabelled:,} more without a label" if unlabelled else ""
        print(_title(result, group, len(group.rows) - unlabelled, note))
        enriched = [one for one in found if one.enriched]
        for one in enriched[:_MOST_LABELS]:
            here, everywhere = f"{one.count:,} of {one.members:,}", f"{one.rows:,} of {one.compared:,}"
            print(
                f"  {_label(one.label)}  {here:>16}  {everywhere:>24}  {one.fold:>7.3g}  "
                f"{_probability(one.log10_p):>8}  {_probability(one.log10_q):>8}"
            )
        if not enriched:
            print("  no label is enriched")
        elif len(enriched) > _MOST_LABELS:
            print(f"  … and {len(enriched) - _MOST_LABELS:,} more (--json shows all)")


def print_overlap(result: ComparisonResult, overlap: Overlap) -> None:
    """Print the pairs of tails that share members."""
    pairs = overlap.pairs()
    print(f"{_heading(result)}; tails of modes that share a tenth of their members, of {len(overlap.groups):,}")
    if not pairs:
        print("no two groups do")
        return
    print(f"\n{'tail':>6}  {'and':>6}  {'in both':>8}  {'of the one':>10}  {'of the other':>12}")
    for pair in pairs:
        first, second = overlap.groups[pair.first], overlap.groups[pair.second]
        print(
            f"{_grouped(first):>6}  {_grouped(second):>6}  {pair.members:>8,}  {pair.share:>10.0%}  {pair.back:>12.0%}"
        )


def print_measures(result: ComparisonResult, agreements: list[Agreement]) -> None:
    """Print how each embedding agrees with the tails of each direction."""
    names = names_of(result)
    print(_heading(result))
    print(
        f"\n{'tails of':<9}  {'seen in':<7}  {'tails':>6}  {'members':>8}  {'NMI':>6}  {'AMI':>6}  "
        f"{'silhouette':>10}  {'intra':>8}  {'inter':>8}  {'ratio':>6}"
    )
    for one in agreements:
        print(
            f"{one.grouped_by:<9}  {one.embedding:<7}  {one.groups:>6,}  {one.members:>8,}  {_number(one.nmi, 6, 3)}  "
            f"{_number(one.ami, 6, 3)}  {_number(one.silhouette, 10, 3)}  {_number(one.intra, 8, 4)}  "
            f"{_number(one.inter, 8, 4)}  {_number(one.ratio, 6, 3)}" + (f"  {one.note}" if one.note else "")
        )
    print(
        f"\nNMI and AMI of the tails with K-means in {names['A']} (A) and {names['B']} (B); intra and inter: mean "
        "distance within a tail and between tails, ratio: the one over the other; silhouette: of the members, on a "
        "sample"
    )


def _heading(result: ComparisonResult) -> str:
    names = names_of(result)
    return f"A = {names['A']}, B = {names['B']}: {result.record.rows.compared:,} rows"


def _title(result: ComparisonResult, group: Members | Tail, members: int, note: str) -> str:
    """Which group it is, or which tail."""
    from specscale.insight.members import Members

    name, told = names_of(result)[group.grouped_by], f"{members:,} members{note}"
    if isinstance(group, Members):
        return f"{group.verdict} {group.group}, held together by {name}, {told}"
    doubt = ", of a mode that is not certified" if group.certified is False else ""
    return f"mode {group.name}, grouped by {name}, {told}{doubt}"


def _grouped(group: Tail) -> str:
    return f"{group.grouped_by} {group.name}"


def _label(label: Any) -> str:
    return padded(text_of(label) or repr(label), _WIDEST_LABEL)


def _probability(log10: float) -> str:
    """A probability of two digits, by its logarithm, as it may be below every float."""
    if log10 > _LEAST_LOG:
        return f"{10**log10:.2g}"
    exponent = math.floor(log10)
    mantissa = f"{10 ** (log10 - exponent):.1f}"
    return f"1.0e{exponent + 1}" if mantissa == "10.0" else f"{mantissa}e{exponent}"


def _number(value: float | None, width: int, digits: int) -> str:
    return f"{'–':>{width}}" if value is None else f"{value:>{width}.{digits}f}"
