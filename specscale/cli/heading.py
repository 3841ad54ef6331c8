"""The first lines of what is printed of a result: what was compared with what, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from specscale.cli.columns import cut
from specscale.cli.inert import flowing

if TYPE_CHECKING:
    from specscale.results.comparison import ComparisonResult
    from specscale.results.schema import MapsRecord

_WIDEST_NAME = 28


def heading_of(result: ComparisonResult) -> str:
    """Return what was compared, with what kernels and maps."""
    names, rows = names_of(result), result.record.rows
    left_out = rows.total - rows.compared
    note = f" ({left_out:,} left out)" if left_out else ""
    options = result.record.options
    bandwidths = [one for one in result.record.bandwidths.values() if one]
    sigma = f", σ {' and '.join(format(one.sigma, '.4g') for one in bandwidths)}" if bandwidths else ""
    unit = {"unit": ", rows of unit norm", "centre": ", centred rows", "standardise": ", standardised dimensions"}.get(
        options["normalize"], ""
    )
    constraint = result.record.constraint
    of = f"groups of A with b ≤ {constraint.epsilon:g}, " if constraint else ""
    eta = "" if options["eta"] == 1 else f"{options['eta']:g} "
    return (
        f"A = {names['A']}, B = {names['B']}: {rows.compared:,} rows{note}, SPEC-diff {result.spec_diff:.4f}\n"
        f"{of or f'λ = a − {eta}b, '}{options['kernel']} kernel{sigma}{unit}, {_maps(result.record.maps)}"
        f"{', refined' if options['refine'] else ''}{', rotated' if options['rotate'] != 'none' else ''}"
    )


def no_mode(result: ComparisonResult) -> str:
    """Return what it means that a result has no mode."""
    if result.uncertain:
        return "no mode is certain: those with |λ| above 0.00001 were left out, as rounding may have made them"
    return "no mode: no |λ| exceeds 0.00001, the two embeddings hold the same groups together"


def names_of(result: ComparisonResult) -> dict[str, str]:
    """Return the names of both embeddings, on one line each."""
    return {which.upper(): flowing(one.name) for which, one in result.record.inputs.items()}


def called(result: ComparisonResult) -> dict[str, str]:
    """Return what both embeddings are called within a sentence: short, and each something else."""
    names = {which: cut(name, _WIDEST_NAME) for which, name in names_of(result).items()}
    return names if names["A"] != names["B"] else {"A": "A", "B": "B"}


def _maps(maps: MapsRecord) -> str:
    if maps.features == "exact":
        return "exact"
    return f"{maps.features} features of dimension {maps.dimension:,}"
