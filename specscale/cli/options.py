"""The options that ``compare`` and ``plan`` share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class OnBad(StrEnum):
    """What to do with rows that cannot be used."""

    error = "error"
    drop = "drop"


class Kernel(StrEnum):
    """Kernels."""

    gaussian = "gaussian"
    cosine = "cosine"


class Normalize(StrEnum):
    """Normalisations of rows."""

    none = "none"
    unit = "unit"


class Features(StrEnum):
    """Feature maps."""

    auto = "auto"
    fourier = "fourier"
    orthogonal = "orthogonal"
    linear = "linear"


class MatchBy(StrEnum):
    """Ways to pair rows."""

    id = "id"
    position = "position"


_SIGMA = "Bandwidth of {}: auto, median, 0.5*median, top=0.14 or a number."

A = Annotated[str, typer.Argument(metavar="A", help="A store, or files that ingest reads.", show_default=False)]
B = Annotated[str, typer.Argument(metavar="B", help="The same samples in another embedding.", show_default=False)]
KernelOption = Annotated[Kernel, typer.Option("--kernel", help="The kernel of both embeddings.")]
SigmaA = Annotated[str, typer.Option("--sigma-a", help=_SIGMA.format("A"))]
SigmaB = Annotated[str, typer.Option("--sigma-b", help=_SIGMA.format("B"))]
Eta = Annotated[float, typer.Option(help="Weight of B's kernel.")]
NormalizeOption = Annotated[Normalize, typer.Option("--normalize", help="Compare directions alone with unit.")]
OnBadOption = Annotated[OnBad, typer.Option("--on-bad", help="Rows with NaN, infinity or no direction.")]
Sample = Annotated[int | None, typer.Option(metavar="N", help="Compare N rows drawn at random.")]
FeaturesOption = Annotated[Features, typer.Option("--features", help="The feature map; auto is orthogonal or linear.")]
Size = Annotated[
    int | None,
    typer.Option(metavar="N", help="Frequencies of a Fourier map; by default 1000, or what fits in --memory."),
]
ModesOption = Annotated[int, typer.Option("--modes", help="Modes in each direction.")]
Top = Annotated[int, typer.Option(help="Members kept of each tail of a mode.")]
Seed = Annotated[int, typer.Option(help="Seed of frequencies and samples.")]
Match = Annotated[MatchBy | None, typer.Option("--match", help="How rows are paired; by id when both have ids.")]
Certify = Annotated[int, typer.Option(metavar="N", hidden=True)]
Memory = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="What the process may hold, e.g. 8G; by default most of what is free."),
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", metavar="N", help="Threads; all cores by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress and print no summary.")]
