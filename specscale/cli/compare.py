"""The commands that compare two embeddings, and plan it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from specscale.cli import options as o
from specscale.cli.executor import earlier_result, executor_of, was_given
from specscale.cli.inert import complain, inert
from specscale.cli.json_output import print_json
from specscale.cli.progress import run_progress
from specscale.cli.signature import taking
from specscale.method.execution import Execution
from specscale.method.options import Options

if TYPE_CHECKING:
    from specscale.insight.gate import Rule

GATE_STATUS = 3


@taking(answer=Options, execution=Execution)
def compare(
    ctx: typer.Context,
    a: o.A,
    b: o.B,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="The result directory, or a URL as s3://…; with --update by default that result.",
            show_default=False,
        ),
    ] = None,
    name_a: o.NameA = None,
    name_b: o.NameB = None,
    *,
    answer: dict[str, Any],
    execution: dict[str, Any],
    update: o.Update = None,
    fail_on: o.FailOn = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Find the groups of samples that one embedding holds together and the other does not.

    Exit status 3 when a rule of --fail-on holds.
    """
    rules = _rules(fail_on or [], answer)
    if out is None and update is None:
        raise typer.BadParameter("say where the result goes", param_hint="'--out' / '-o'")
    from specscale.method.compare import compare as run
    from specscale.method.update import compare_grown

    workers, scheduler = execution.pop("executor")
    with (
        run_progress(quiet, bars=not json) as progress,
        executor_of(workers, scheduler, execution["threads"], execution["device"]) as executor,
    ):
        execution |= {
            "executor": executor,
            "progress": progress,
            "names": (name_a, name_b) if name_a or name_b else None,
        }
        if update is None:
            result = run(a, b, out=out, **execution, **answer)
        else:
            before = earlier_result(ctx, update, answer)
            share = answer["min_matched"] if was_given(ctx, "min_matched") else None
            execution["overwrite"] |= out in (None, update)
            result = compare_grown(before, a, b, out=out or update, min_matched=share, **execution)
    verdicts = [rule.check(result) for rule in rules]
    if json:
        print_json({**result.summary, **({"gate": [one.to_json() for one in verdicts]} if rules else {})})
    elif not quiet:
        from specscale.cli.overview import print_overview
        from specscale.cli.pairing import print_pairing

        print_pairing(result.record)
        if update is not None and result is before:
            print(f"nothing is new: {inert(update)} compares all rows of {inert(a)} and {inert(b)}, and stays as it is")
        else:
            print_overview(result)
    holding = [one for one in verdicts if one.holds]
    if holding:
        for one in holding:
            complain(str(one))
        if not quiet:
            from specscale.cli.overview import print_causes

            print_causes(result, holding)
        raise typer.Exit(GATE_STATUS)


@taking(answer=Options, execution=Execution)
def plan(
    a: o.A,
    b: o.B,
    name_a: o.NameA = None,
    name_b: o.NameB = None,
    *,
    answer: dict[str, Any],
    execution: dict[str, Any],
    rows: o.Rows = None,
    workers: o.Workers = None,
    rate: o.Rate = None,
    json: o.Json = False,
) -> None:
    """Print what a comparison would take: spans, memory, disk, operations and time. No pass is made."""
    from specscale.method.compare import plan as make

    planned, machine = make(a, b, rows=rows, workers=workers, rate=rate, names=(name_a, name_b), **execution, **answer)
    if json:
        print_json(planned.to_json(machine))
    elif planned.workers or planned.rows_given:
        from specscale.cli.tables import print_projection

        print_projection(planned, machine)
    else:
        from specscale.cli.tables import print_plan

        print_plan(planned, machine)


def _rules(texts: list[str], answer: dict[str, Any]) -> list[Rule]:
    """The rules of --fail-on, before any work."""
    from specscale.errors import OptionError
    from specscale.insight.gate import Rule

    try:
        rules = [Rule.parse(text) for text in texts]
    except OptionError as error:
        raise typer.BadParameter(str(error), param_hint="--fail-on") from None
    for rule in rules:
        rule.check_certificate(answer["certify"])
        rule.check_rounds(answer["rounds"])
    return rules
