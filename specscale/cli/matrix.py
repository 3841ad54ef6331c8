"""The command that compares every pair of some embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from specscale.cli import options as o
from specscale.cli.columns import cells, cut, padded
from specscale.cli.inert import flowing, inert, place_of
from specscale.cli.json_output import print_json
from specscale.cli.pairing import print_pairing
from specscale.cli.progress import run_progress
from specscale.cli.signature import taking
from specscale.cli.tables import print_device
from specscale.method.execution import Execution
from specscale.method.options import Options

if TYPE_CHECKING:
    from specscale.results.matrix import MatrixResult
    from specscale.results.schema import GroupRecord, ModeRecord

_SHOWN = 3  # modes of a direction that fit in a line
_WIDEST = 24


@taking(answer=Options, execution=Execution)
def matrix(
    stores: Annotated[
        list[str], typer.Argument(metavar="STORE...", help="Stores, or files that ingest reads.", show_default=False)
    ],
    out: Annotated[str, typer.Option("--out", "-o", metavar="OUT", help="The result directory.", show_default=False)],
    answer: dict[str, Any],
    execution: dict[str, Any],
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Compare every pair of some embeddings from one covariance: SPEC-diff, leading modes, and a clustered heat map.

    The modes carry sampling errors but no certificate; compare a pair of interest with the command compare.
    """
    from specscale.method.matrix import compare_many as run

    with run_progress(quiet, bars=not json) as progress:
        result = run(stores, out=out, progress=progress, **execution, **answer)
    if json:
        print_json(result.summary)
    elif not quiet:
        _print(result)


def _print(result: MatrixResult) -> None:
    from specscale.results.comparison import LEFT_OUT

    record = result.record
    rows, maps = record.rows, record.maps
    left_out = rows.total - rows.compared
    note = f" ({left_out:,} left out)" if left_out else ""
    print_pairing(record)
    print(f"{len(result.names)} embeddings, {rows.compared:,} rows{note}, {record.options['kernel']} kernel")
    print(
        f"{maps.features} features of dimension {maps.dimension:,}",
        *map(inert, record.choice.split("; ")),
        sep="\n",
    )
    print_device(record)
    print("\nSPEC-diff")
    order = record.order
    names = {name: cut(flowing(name), _WIDEST) for name in order}
    wide = max(7, *(cells(name) for name in names.values()))
    table = result.spec_diff.loc[order, order].to_numpy()
    print(" " * wide + "".join(f"  {padded(names[name], wide, right=True)}" for name in order))
    for one, row in zip(order, table, strict=True):
        values = "".join(
            f"  {value:>{wide}.4f}" if other != one else f"  {'·':>{wide}}"
            for other, value in zip(order, row, strict=True)
        )
        print(f"{padded(names[one], wide)}{values}")
    for pair in record.pairs:
        print(f"\n{flowing(pair.a)} (A) against {flowing(pair.b)} (B): SPEC-diff {pair.spec_diff:.4f}")
        if not pair.modes:
            pair_of = f"{pair.a} and {pair.b}: "
            uncertain = any(one.startswith(pair_of) and LEFT_OUT in one for one in record.warnings)
            print("  no mode is certain" if uncertain else "  no mode: no |λ| exceeds 0.00001")
        for which in "AB":
            _print_direction(which, [one for one in pair.modes if one.grouped_by == which])
            _print_groups(which, [one for one in pair.groups or () if one.grouped_by == which and one.certified])
    print("\n± is the sampling of rows alone; a pair of interest, with a certificate: specscale compare A B")
    print(f"heat map: {place_of(result.path)}/matrix.png")


def _print_groups(which: str, groups: list[GroupRecord]) -> None:
    if groups:
        sizes = ", ".join(f"{one.size:,}" for one in groups[:_SHOWN])
        more = f", and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
        print(f"  {which}'s groups: {sizes} rows{more}")


def _print_direction(which: str, modes: list[ModeRecord]) -> None:
    if modes:
        values = ", ".join(f"{one.eigenvalue:+.5f} ± {one.se:.5f}" for one in modes[:_SHOWN])
        more = f", and {len(modes) - _SHOWN} more" if len(modes) > _SHOWN else ""
        print(f"  grouped by {which}: λ {values}{more}")
