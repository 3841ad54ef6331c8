"""The commands that compare two embeddings, and plan it."""

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
    certify: o.Certify = 256,
    refine: o.Refine = 0,
    rotate: o.RotateOption = o.Rotate.none,
    landmarks: o.LandmarksOption = o.Landmarks.uniform,
    memory: o.Memory = None,
    threads: o.ThreadsOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Take up an interrupted run in OUT.work.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the result if it exists.")] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Find the groups of samples that one embedding holds together and the other does not."""
    answer = _answer(locals())
    from specscale.comparison import compare as run

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
    certify: o.Certify = 256,
    refine: o.Refine = 0,
    rotate: o.RotateOption = o.Rotate.none,
    landmarks: o.LandmarksOption = o.Landmarks.uniform,
    memory: o.Memory = None,
    threads: o.ThreadsOption = None,
    json: o.Json = False,
) -> None:
    """Print what a comparison would take: spans, memory, disk, operations and time. No pass is made."""
    answer = _answer(locals())
    from specscale.comparison import plan as make

    planned, machine = make(a, b, memory=memory, threads=threads, **answer)
    if json:
        print_json(planned.to_json(machine))
    else:
        from specscale.cli.tables import print_plan

        print_plan(planned, machine)


def _answer(given: dict[str, Any]) -> dict[str, Any]:
    """Of a command's parameters those that decide the answer, as the Python functions name them."""
    names = (
        "kernel", "eta", "normalize", "on_bad", "sample", "features", "size", "top", "seed", "match", "certify",
        "refine", "rotate", "landmarks",
    )  # fmt: skip
    plain = {name: getattr(given[name], "value", given[name]) for name in names}
    return {**plain, "sigma": (given["sigma_a"], given["sigma_b"]), "n_modes": given["modes"]}
