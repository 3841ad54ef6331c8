"""Plans and results as text."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from specscale.cli.inert import flowing, inert, place_of
from specscale.cli.json_output import inputs_of
from specscale.cli.members import OWN, MemberTable, members_of

if TYPE_CHECKING:
    from specscale.cost import Cost
    from specscale.insight.gate import Verdict
    from specscale.method.plan import Plan
    from specscale.results.comparison import ComparisonResult, Mode
    from specscale.results.schema import ComparisonRecord, MapsRecord, MatrixRecord
    from specscale.runtime.machine import Machine

_SHOWN = 3  # members of each tail of a mode that made a rule hold


def print_plan(plan: Plan, machine: Machine) -> None:
    """Print spans, memory, disk, operations and time."""
    from specscale.units import format_bytes

    spans = plan.spans
    seconds = plan.seconds(machine)
    print(f"{plan.n:,} rows, {plan.n_kept:,} compared, feature dimension {plan.d:,}")
    print(f"{len(spans):,} span{'s' * (len(spans) > 1)} of up to {spans[0].stop - spans[0].start:,} rows")
    print(
        f"this machine: {machine.gemm_rate / 1e9:,.0f} GFLOP/s on {machine.threads} threads, "
        f"reads {format_bytes(machine.read_rate)}/s"
    )
    _print_card(plan)
    print(f"\nthe process holds {format_bytes(plan.base)} before it begins; each step on top of that:")
    on_card = f"{'on the card':>13}" if plan.card else ""
    print(f"{'step':<12}{'memory':>11}{on_card}{'disk':>11}{'read':>11}{'GFLOP':>16}{'seconds':>13}")
    for step in plan.steps:
        print(
            f"{step.name:<12}{format_bytes(step.memory):>11}{_on_card(plan, step)}{format_bytes(step.disk):>11}"
            f"{format_bytes(step.read):>11}{step.operations / 1e9:>16,.0f}{seconds[step.name]:>13,.1f}"
        )
    allowed = "" if plan.memory is None else f" of {format_bytes(plan.memory)} allowed"
    print(
        f"\npeak memory {format_bytes(plan.peak)}{allowed}, {_peak_on_card(plan)}"
        f"disk {format_bytes(plan.disk)}, about {_duration(sum(seconds.values()))}"
    )


def _print_card(plan: Plan) -> None:
    """Print the rates of the card that the passes run on, where they do."""
    from specscale.units import format_bytes

    if plan.card:
        print(
            f"{flowing(plan.card.name)}: {plan.card.gemm_rate / 1e9:,.0f} GFLOP/s, copies "
            f"{format_bytes(plan.card.copy_rate)}/s, {format_bytes(plan.card.memory)} of its memory free"
        )


def _on_card(plan: Plan, step: Cost) -> str:
    """What a step holds of a card's memory, as a column."""
    from specscale.units import format_bytes

    if plan.card is None:
        return ""
    return f"{format_bytes(step.device_memory) if step.device_memory else '·':>13}"


def _peak_on_card(plan: Plan) -> str:
    from specscale.units import format_bytes

    if plan.card is None:
        return ""
    return f"{format_bytes(plan.device_peak)} of the card's {format_bytes(plan.card.memory)}, "


def print_projection(plan: Plan, machine: Machine) -> None:
    """Print the plan for another number of rows, or for the workers of a cluster, and what it takes for granted."""
    if plan.workers is None:
        print_plan(plan, machine)
    else:
        _print_cluster(plan, machine)
    print("\nassumed:")
    for line in _assumptions(plan, machine):
        print(f"- {line}")


def _print_cluster(plan: Plan, machine: Machine) -> None:
    from specscale.units import format_bytes

    told = plan.to_json(machine)
    workers, seconds, spans = told["workers"], told["seconds"], plan.spans
    print(f"{plan.n:,} rows, {plan.n_kept:,} compared, feature dimension {plan.d:,}")
    print(
        f"{len(spans):,} span{'s' * (len(spans) > 1)} of up to {told['span_rows']:,} rows for {workers['count']:,} "
        f"worker{'s' * (workers['count'] > 1)} of {workers['rate'] / 1e9:,.0f} GFLOP/s each"
    )
    _print_card(plan)
    print(f"\nevery process holds {format_bytes(plan.base)} before it begins; each step on top of that:")
    on_card = f"{'on its card':>13}" if plan.card else ""
    print(
        f"{'step':<12}{'done by':<9}{'a worker':>10}{on_card}{'client':>11}{'read':>11}{'moved':>11}{'GFLOP':>16}"
        f"{'seconds':>13}"
    )
    for step in plan.steps:
        done_by, held, moved = "client", "·", "·"
        if plan.shared(step):
            done_by, held, moved = "workers", format_bytes(plan.worker_memory(step)), format_bytes(plan.moved(step))
        print(
            f"{step.name:<12}{done_by:<9}{held:>10}{_on_card(plan, step)}{format_bytes(plan.client_memory(step)):>11}"
            f"{format_bytes(step.read):>11}{moved:>11}{step.operations / 1e9:>16,.0f}{seconds[step.name]:>13,.1f}"
        )
    allowed = "" if plan.memory is None else f" ({format_bytes(plan.memory)} allowed)"
    print(
        f"\npeak memory {format_bytes(workers['peak'])} of a worker and {format_bytes(workers['client_peak'])} of the "
        f"client{allowed}, {_peak_on_card(plan)}moved through the work directory {format_bytes(workers['moved'])}, "
        f"disk {format_bytes(plan.disk)}, about {_duration(sum(seconds.values()))}"
    )


def _duration(seconds: float) -> str:
    """Seconds, and what they come to where they are many."""
    for unit, size in (("years", 31_557_600), ("days", 86_400), ("hours", 3_600)):
        if seconds >= 2 * size:
            return f"{seconds:,.0f} s, {seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"


def _assumptions(plan: Plan, machine: Machine) -> list[str]:
    """What the seconds of a projected plan take for granted."""
    from specscale.runtime.memory import available_memory
    from specscale.units import format_bytes

    lines = []
    if plan.rows_given is not None:
        lines.append(
            f"rows like the {plan.rows_given:,} of A and B: the same dimensions and types, the same share compared, "
            "and the size of the maps that these ask for"
        )
    if plan.client_peak > plan.base + available_memory():
        lines.append(
            f"{format_bytes(plan.client_peak)} of memory for this process, of which this machine has "
            f"{format_bytes(available_memory())} to give now: with --memory the plan keeps within a size"
        )
    reads = f"{format_bytes(machine.read_rate)}/s, as measured here, likely from the page cache"
    if plan.card:
        lines.append(
            f"passes on {flowing(plan.card.name)} at the rates measured here, of which reading, copying and computing "
            "go on at once; between products and copies nothing is counted"
        )
    if plan.workers is None:
        return [*lines, f"reading at {reads}; {machine.gemm_rate / 1e9:,.0f} GFLOP/s, as measured here"]
    threads = f"{machine.threads} thread{'s' * (machine.threads > 1)}"
    if plan.card:
        measured = "measured on the card" if plan.workers.rate is None else "given, not measured"
        lines.append(f"every worker has a card like this one, its rate {measured}")
    elif plan.workers.rate is None:
        lines.append(f"rate of a worker measured on {threads} of this machine")
    else:
        lines.append(
            f"rate of a worker given, not measured (this machine does {machine.gemm_rate / 1e9:,.0f} GFLOP/s on "
            f"{threads}); its elementary functions are as much faster"
        )
    seconds = plan.seconds(machine)
    alone = [step.name for step in plan.steps if not plan.shared(step)]
    busy = min(plan.workers.count, len(plan.spans))
    lines += [
        f"each worker reads, and moves partial results, at {reads}: the store must give "
        f"{format_bytes(busy * machine.read_rate)}/s to all at once",
        "no worker is slower than the others or lost, none waits for the network, and scheduling takes no time",
        f"the client is this machine; {', '.join(alone)} run there one after another, "
        f"{sum(seconds[name] for name in alone):,.0f} s of the whole",
    ]
    if plan.workers.count > len(plan.spans):
        lines.append(f"only {len(plan.spans):,} of the {plan.workers.count:,} workers have a span to work on")
    return lines


def print_overview(result: ComparisonResult) -> None:
    """Print what was chosen, and a result's modes, a line each."""
    print(_heading(result))
    for choice in result.record.choice.split("; "):
        print(inert(choice))
    print_device(result.record)
    if not result.modes:
        print(_none(result))
        return
    checked = result.modes[0].certified is not None
    print(f"\n{_mode_heading(checked)}")
    for mode in result.modes:
        print(_mode_line(mode))
    print("\n" + _legend(result, checked))
    print(f"\nthe groups: specscale modes {place_of(result.path)}")


def print_device(record: ComparisonRecord | MatrixRecord) -> None:
    """Print what a result says of the card that its passes ran on, where they did."""
    from specscale.units import format_bytes

    if record.device is None:
        return
    peak = None if record.measured is None else record.measured.peak_device_memory
    took = "" if peak is None else f", of whose memory they took {format_bytes(peak)} at most"
    precision = flowing(record.options.get("precision", "float32"))
    print(f"passes on {flowing(record.device.card)} in {precision}{took}")
    if found := record.device.rounding:
        print(
            f"{precision} in place of float32 moves λ by {found.eigenvalues:.1e} of itself at most, and scores by "
            f"{found.scores:.1e} of their length (measured on {found.rows:,} of the rows)"
        )


def _none(result: ComparisonResult) -> str:
    """What it means that a result has no mode."""
    if result.uncertain:
        return "no mode is certain: those with |λ| above 0.00001 were left out, as rounding may have made them"
    return "no mode: no |λ| exceeds 0.00001, the two embeddings hold the same groups together"


def _mode_heading(checked: bool) -> str:
    more = f"  {'exact λ ± se':>20}  {'residual':>8}  verdict" if checked else ""
    return f"{'mode':>4}  {'grouped by':<10}  {'λ':>9} ± {'se':<8}  {'a':>8}  {'b':>8}  {'effective size':>14}{more}"


def _mode_line(mode: Mode) -> str:
    more = ""
    if mode.certified is not None:
        more = f"  {mode.rayleigh:>+10.5f} ± {mode.rayleigh_se:.5f}  {mode.residual:>8.5f}  {mode.verdict}"
    return (
        f"{mode.mode:>4}  {mode.grouped_by:<10}  {mode.eigenvalue:>+9.5f} ± {mode.se:<8.5f}  {mode.a:>8.5f}  "
        f"{mode.b:>8.5f}  {mode.effective_size:>14,.0f}{more}"
    )


def print_causes(result: ComparisonResult, verdicts: Sequence[Verdict]) -> None:
    """Print to standard error the modes that made rules hold, with some of their members."""
    numbers = {number for one in verdicts for number in one.modes}
    modes = [mode for mode in result.modes if mode.mode in numbers]
    if not modes:
        return
    members = [one for one in members_of(result, _SHOWN) if one["mode"] in numbers]
    table = MemberTable(members, sys.stderr)
    print(f"\n{_mode_heading(modes[0].certified is not None)}", file=sys.stderr)
    for mode in modes:
        print(_mode_line(mode), file=sys.stderr)
        table.print([one for one in members if one["mode"] == mode.mode])


def _legend(result: ComparisonResult, checked: bool) -> str:
    if checked:
        rows = min(result.record.options["certify"], result.record.rows.compared)
        return (
            f"± of λ is the sampling of rows; exact λ is uᵀΛu under the exact kernels, with the error of estimating it "
            f"from {rows:,} rows,\nand the residual is how far the mode is from an exact one; noise: not to be believed"
        )
    return (
        "± is the sampling of rows alone; what the feature maps make approximate is seen by a certificate (--certify)"
    )


def print_modes(result: ComparisonResult, top: int, show: str | None = None) -> None:
    """Print a result's groups: each mode, then the top members of its tails, with the columns that `show` names."""
    members = members_of(result, top, show)
    print(_heading(result))
    if not result.modes:
        print(_none(result))
    else:
        average = result.record.rows.compared**-0.5
        print(f"a member's score is u; an average row has ±{average:.5f}, and a tail of little more is no group")
    names = _names(result)
    table = MemberTable(members)
    known = any(one.columns for one in result.record.inputs.values())
    if members and known and show is None and not set(members[0]) - set(OWN):
        print(f"the samples' columns are not shown: {_why_not(result)}")
    if table.left_out:
        print(f"no room for {', '.join(map(flowing, table.left_out))}: choose columns with --show")
    for mode in result.modes:
        print(
            f"\nmode {mode.mode}, grouped by {names[mode.grouped_by]} more than by "
            f"{names['B' if mode.grouped_by == 'A' else 'A']}\n  λ {mode.eigenvalue:+.5f} ± {mode.se:.5f}, "
            f"a {mode.a:.5f}, b {mode.b:.5f}, effective size {mode.effective_size:,.0f}{_certificate(mode)}"
        )
        here = [one for one in members if one["mode"] == mode.mode]
        if here:
            table.print_heading()
        for tail in "+-":
            table.print([one for one in here if one["tail"] == tail])


def _certificate(mode: Mode) -> str:
    if mode.certified is None:
        return ""
    return (
        f"\n  {mode.verdict}: under the exact kernels λ {mode.rayleigh:+.5f} ± {mode.rayleigh_se:.5f}, "
        f"residual {mode.residual:.5f}"
    )


def _why_not(result: ComparisonResult) -> str:
    """Why the samples' columns are not there."""
    from specscale.masking import is_masked, masked
    from specscale.results.described import unread

    places = unread(result)
    if not places:
        return "no store of them is any more where it was, as it was compared"
    where = flowing(masked(places[0]))
    if is_masked(places[0]):
        return f"they are at {where}, an address that was kept without its password and query"
    return f"they are said to be at {where}; to have them read from there add --fetch"


def modes_json(result: ComparisonResult, top: int, show: str | None = None) -> dict[str, Any]:
    """Return a result's groups as plain values."""
    members = members_of(result, top, show)
    return {
        **inputs_of(result),
        "spec_diff": result.spec_diff,
        "modes": [
            {
                **_fields(mode),
                "members": [
                    {name: value for name, value in one.items() if name != "mode"}
                    for one in members
                    if one["mode"] == mode.mode
                ],
            }
            for mode in result.modes
        ],
    }


def _fields(mode: Mode) -> dict[str, Any]:
    return {name: value for name, value in vars(mode).items() if name != "_result"}


def _heading(result: ComparisonResult) -> str:
    names, rows = _names(result), result.record.rows
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


def _maps(maps: MapsRecord) -> str:
    if maps.features == "exact":
        return "exact"
    return f"{maps.features} features of dimension {maps.dimension:,}"


def _names(result: ComparisonResult) -> dict[str, str]:
    return {which.upper(): flowing(one.name) for which, one in result.record.inputs.items()}
