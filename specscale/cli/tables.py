"""Plans as text, and what passes ran on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from specscale.cli.inert import flowing

if TYPE_CHECKING:
    from specscale.cost import Cost
    from specscale.method.plan import Plan
    from specscale.results.schema import ComparisonRecord, MatrixRecord
    from specscale.runtime.machine import Machine


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
