"""Plans and results as text."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from specscale.result import Mode, Result
    from specscale.runtime.plan import Machine, Plan

_WIDEST = 160


def print_plan(plan: Plan, machine: Machine) -> None:
    """Print spans, memory, disk, operations and time."""
    from specscale.runtime.plan import format_bytes

    spans = plan.spans
    seconds = plan.seconds(machine)
    print(f"{plan.n:,} rows, {plan.n_kept:,} compared, feature dimension {plan.d:,}")
    print(f"{len(spans)} span{'s' * (len(spans) > 1)} of up to {spans[0].stop - spans[0].start:,} rows")
    print(
        f"this machine: {machine.gemm_rate / 1e9:,.0f} GFLOP/s on {machine.threads} threads, "
        f"reads {format_bytes(machine.read_rate)}/s\n"
    )
    print(f"the process holds {format_bytes(plan.base)} before it begins; each step on top of that:")
    print(f"{'step':<12}{'memory':>10}{'disk':>10}{'read':>10}{'GFLOP':>10}{'seconds':>10}")
    for step in plan.steps:
        print(
            f"{step.name:<12}{format_bytes(step.memory):>10}{format_bytes(step.disk):>10}{format_bytes(step.read):>10}"
            f"{step.operations / 1e9:>10,.0f}{seconds[step.name]:>10.1f}"
        )
    print(
        f"\npeak memory {format_bytes(plan.peak)} of {format_bytes(plan.memory)} allowed, "
        f"disk {format_bytes(plan.disk)}, about {sum(seconds.values()):.0f} s"
    )


def print_overview(result: Result) -> None:
    """Print what was chosen, and a result's modes, a line each."""
    print(_heading(result))
    for choice in result.summary["choice"].split("; "):
        print(choice)
    if not result.modes:
        print("no mode: no |λ| exceeds 0.00001, the two embeddings hold the same groups together")
        return
    checked = result.modes[0].certified is not None
    more = f"  {'exact λ ± se':>20}  {'residual':>8}  verdict" if checked else ""
    print(f"\n{'mode':>4}  {'grouped by':<10}  {'λ':>9} ± {'se':<8}  {'a':>8}  {'b':>8}  {'effective size':>14}{more}")
    for mode in result.modes:
        more = ""
        if checked:
            more = f"  {mode.rayleigh:>+10.5f} ± {mode.rayleigh_se:.5f}  {mode.residual:>8.5f}  {mode.verdict}"
        print(
            f"{mode.mode:>4}  {mode.grouped_by:<10}  {mode.eigenvalue:>+9.5f} ± {mode.se:<8.5f}  {mode.a:>8.5f}  "
            f"{mode.b:>8.5f}  {mode.effective_size:>14,.0f}{more}"
        )
    print("\n" + _legend(result, checked))
    print(f"\nthe groups: specscale modes {result.path}")


def _legend(result: Result, checked: bool) -> str:
    if checked:
        rows = min(result.summary["options"]["certify"], result.summary["rows"]["compared"])
        return (
            f"± of λ is the sampling of rows; exact λ is uᵀΛu under the exact kernels, with the error of estimating it "
            f"from {rows:,} rows,\nand the residual is how far the mode is from an exact one; noise: not to be believed"
        )
    return (
        "± is the sampling of rows alone; what the feature maps make approximate is seen by a certificate (--certify)"
    )


def print_modes(result: Result, top: int) -> None:
    """Print a result's groups: each mode, then the top members of its tails."""
    members = result.described(result.members().query("rank <= @top"))
    print(_heading(result))
    if not result.modes:
        print("no mode: no |λ| exceeds 0.00001, the two embeddings hold the same groups together")
    else:
        average = result.summary["rows"]["compared"] ** -0.5
        print(f"a member's score is u; an average row has ±{average:.5f}, and a tail of little more is no group")
    names = _names(result)
    for mode in result.modes:
        print(
            f"\nmode {mode.mode}, grouped by {names[mode.grouped_by]} more than by "
            f"{names['B' if mode.grouped_by == 'A' else 'A']}\n  λ {mode.eigenvalue:+.5f} ± {mode.se:.5f}, "
            f"a {mode.a:.5f}, b {mode.b:.5f}, effective size {mode.effective_size:,.0f}{_certificate(mode)}"
        )
        for tail in "+-":
            _print_members(members[(members["mode"] == mode.mode) & (members["tail"] == tail)])


def _certificate(mode: Mode) -> str:
    if mode.certified is None:
        return ""
    return (
        f"\n  {mode.verdict}: under the exact kernels λ {mode.rayleigh:+.5f} ± {mode.rayleigh_se:.5f}, "
        f"residual {mode.residual:.5f}"
    )


def modes_json(result: Result, top: int) -> dict[str, Any]:
    """Return a result's groups as plain values."""
    members = result.described(result.members().query("rank <= @top"))
    return {
        "a": result.summary["inputs"]["a"],
        "b": result.summary["inputs"]["b"],
        "spec_diff": result.spec_diff,
        "modes": [
            {**_fields(mode), "members": members[members["mode"] == mode.mode].drop(columns="mode").to_dict("records")}
            for mode in result.modes
        ],
    }


def _fields(mode: Mode) -> dict[str, Any]:
    return {name: value for name, value in vars(mode).items() if name != "_result"}


def _heading(result: Result) -> str:
    names, rows = _names(result), result.summary["rows"]
    left_out = rows["total"] - rows["compared"]
    note = f" ({left_out:,} left out)" if left_out else ""
    options, maps = result.summary["options"], result.summary["maps"]
    bandwidths = [one for one in result.summary["bandwidths"].values() if one]
    sigma = f", σ {' and '.join(format(one['sigma'], '.4g') for one in bandwidths)}" if bandwidths else ""
    unit = ", rows of unit norm" if options["normalize"] == "unit" else ""
    constraint = result.summary["constraint"]
    of = f"groups of A with b ≤ {constraint['epsilon']:g}, " if constraint else ""
    eta = "" if options["eta"] == 1 else f"{options['eta']:g} "
    return (
        f"A = {names['A']}, B = {names['B']}: {rows['compared']:,} rows{note}, SPEC-diff {result.spec_diff:.4f}\n"
        f"{of or f'λ = a − {eta}b, '}{options['kernel']} kernel{sigma}{unit}, {_maps(maps)}"
        f"{', refined' if options['refine'] else ''}{', rotated' if options['rotate'] != 'none' else ''}"
    )


def _maps(maps: dict[str, Any]) -> str:
    if maps["features"] == "exact":
        return "exact"
    return f"{maps['features']} features of dimension {maps['dimension']:,}"


def _names(result: Result) -> dict[str, str]:
    inputs = result.summary["inputs"]
    return {"A": inputs["a"]["name"], "B": inputs["b"]["name"]}


def _print_members(members: pd.DataFrame) -> None:
    """Print one tail, a line each: rank, score, id or row, and the user's columns as far as they fit."""
    width = min(shutil.get_terminal_size().columns, _WIDEST) if sys.stdout.isatty() else sys.maxsize
    texts = [name for name in members.columns if name not in ("mode", "tail", "rank", "row", "id", "score")]
    for record in members.to_dict("records"):
        key = record["id"] if isinstance(record["id"], (str, int)) else f"row {record['row']}"
        line = f"  {record['tail']}{record['rank']:<4} {record['score']:+.5f}  {key}"
        rest = "  ".join(" ".join(str(record[name]).split()) for name in texts)
        line = f"{line}  {rest}" if rest else line
        print(line if len(line) <= width else line[: width - 1] + "…")
