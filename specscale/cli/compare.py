"""The commands that compare two embeddings, plan it, and show what was found."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from specscale.cli import options as o
from specscale.cli.json_output import print_json
from specscale.cli.progress import run_progress


def compare(
    a: o.A,
    b: o.B,
    out: Annotated[str, typer.Option("--out", "-o", metavar="OUT", help="The result directory.", show_default=False)],
    kernel: o.KernelOption = o.Kernel.gaussian,
    sigma_a: o.SigmaA = "auto",
    sigma_b: o.SigmaB = "auto",
    eta: o.Eta = 1.0,
    normalize: o.NormalizeOption = o.Normalize.none,
    on_bad: o.OnBadOption = o.OnBad.error,
    sample: o.Sample = None,
    features: o.FeaturesOption = o.Features.auto,
    size: o.Size = None,
    modes: o.ModesOption = 10,
    top: o.Top = 100,
    seed: o.Seed = 0,
    match: o.Match = None,
    certify: o.Certify = 0,
    memory: o.Memory = None,
    threads: o.ThreadsOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Take up an interrupted run in OUT.work.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the result if it exists.")] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Find the groups of samples that one embedding holds together and the other does not."""
    from specscale.comparison import compare as run

    answer = _answer(
        kernel, sigma_a, sigma_b, eta, normalize, on_bad, sample, features, size, modes, top, seed, match, certify
    )
    with run_progress(quiet or json) as progress:
        result = run(
            a,
            b,
            memory=memory,
            threads=threads,
            out=out,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
            **answer,
        )
    if json:
        print_json(result.summary)
    elif not quiet:
        from specscale.cli.tables import print_overview

        print_overview(result)


def plan(
    a: o.A,
    b: o.B,
    kernel: o.KernelOption = o.Kernel.gaussian,
    sigma_a: o.SigmaA = "auto",
    sigma_b: o.SigmaB = "auto",
    eta: o.Eta = 1.0,
    normalize: o.NormalizeOption = o.Normalize.none,
    on_bad: o.OnBadOption = o.OnBad.error,
    sample: o.Sample = None,
    features: o.FeaturesOption = o.Features.auto,
    size: o.Size = None,
    modes: o.ModesOption = 10,
    top: o.Top = 100,
    seed: o.Seed = 0,
    match: o.Match = None,
    certify: o.Certify = 0,
    memory: o.Memory = None,
    threads: o.ThreadsOption = None,
    json: o.Json = False,
) -> None:
    """Print what a comparison would take: spans, memory, disk, operations and time. Nothing is run."""
    from specscale.comparison import plan as make

    answer = _answer(
        kernel, sigma_a, sigma_b, eta, normalize, on_bad, sample, features, size, modes, top, seed, match, certify
    )
    planned, machine = make(a, b, memory=memory, threads=threads, **answer)
    if json:
        print_json(planned.to_json(machine))
    else:
        from specscale.cli.tables import print_plan

        print_plan(planned, machine)


def modes(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A result directory.", show_default=False)],
    top: Annotated[int, typer.Option(min=0, help="Members to show of each tail of a mode.")] = 20,
    json: o.Json = False,
) -> None:
    """Show the groups of a result, with what is known of their members."""
    from specscale.result import open_result

    result = open_result(out)
    if json:
        from specscale.cli.tables import modes_json

        print_json(modes_json(result, top))
    else:
        from specscale.cli.tables import print_modes

        print_modes(result, top)


def _answer(
    kernel: o.Kernel,
    sigma_a: str,
    sigma_b: str,
    eta: float,
    normalize: o.Normalize,
    on_bad: o.OnBad,
    sample: int | None,
    features: o.Features,
    size: int | None,
    modes: int,
    top: int,
    seed: int,
    match: o.MatchBy | None,
    certify: int,
) -> dict[str, Any]:
    """The options that decide the answer, as the Python functions name them."""
    return {
        "kernel": kernel.value,
        "sigma": (sigma_a, sigma_b),
        "eta": eta,
        "normalize": normalize.value,
        "on_bad": on_bad.value,
        "sample": sample,
        "features": features.value,
        "size": size,
        "n_modes": modes,
        "top": top,
        "seed": seed,
        "match": match.value if match else None,
        "certify": certify,
    }
