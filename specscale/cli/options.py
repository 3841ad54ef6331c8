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
    centre = "centre"
    standardise = "standardise"
    american_centre = "center"
    american_standardise = "standardize"


class Features(StrEnum):
    """Feature maps."""

    auto = "auto"
    landmarks = "landmarks"
    fourier = "fourier"
    orthogonal = "orthogonal"
    linear = "linear"
    exact = "exact"


class Rotate(StrEnum):
    """Rotations of the modes of one direction."""

    none = "none"
    varimax = "varimax"


class Landmarks(StrEnum):
    """Ways to draw landmark rows."""

    uniform = "uniform"
    pivoted = "pivoted"


class MatchBy(StrEnum):
    """Ways to pair rows."""

    id = "id"
    position = "position"


_SIGMA = "Bandwidth of {}: auto, median, 0.5*median, top=0.14 or a number."

A = Annotated[str, typer.Argument(metavar="A", help="A store, or files that ingest reads.", show_default=False)]
B = Annotated[str, typer.Argument(metavar="B", help="The same samples in another embedding.", show_default=False)]
NameA = Annotated[str | None, typer.Option("--name-a", metavar="NAME", help="What to call A; by default as its store.")]
NameB = Annotated[str | None, typer.Option("--name-b", metavar="NAME", help="What to call B; by default as its store.")]
KernelOption = Annotated[Kernel, typer.Option("--kernel", help="The kernel of both embeddings.")]
SigmaA = Annotated[str, typer.Option("--sigma-a", help=_SIGMA.format("A"))]
SigmaB = Annotated[str, typer.Option("--sigma-b", help=_SIGMA.format("B"))]
Eta = Annotated[float, typer.Option(help="Weight of B's kernel.")]
NormalizeOption = Annotated[
    Normalize,
    typer.Option(
        "--normalize",
        metavar="none|unit|centre|standardise",
        help="Compare directions alone with unit; take the mean off with centre (cosine kernel); divide each dimension "
        "by its standard deviation with standardise.",
    ),
]
GaussianNormalize = Annotated[
    Normalize,
    typer.Option(
        "--normalize",
        metavar="none|unit|standardise",
        help="Compare directions alone with unit; divide each dimension by its standard deviation with standardise.",
    ),
]
OnBadOption = Annotated[OnBad, typer.Option("--on-bad", help="Rows with NaN, infinity or no direction.")]
Sample = Annotated[int | None, typer.Option(metavar="N", help="Compare N rows drawn at random.")]
FeaturesOption = Annotated[
    Features, typer.Option("--features", help="The feature map; auto is landmarks, or linear for cosine.")
]
Size = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Landmarks (by default as a sample asks for, up to 2000) or frequencies (1000), as --memory allows.",
    ),
]
ModesOption = Annotated[int, typer.Option("--modes", help="Modes in each direction.")]
Top = Annotated[int, typer.Option(help="Members kept of each tail of a mode.")]
Seed = Annotated[int, typer.Option(help="Seed of frequencies and samples.")]
Match = Annotated[
    MatchBy | None,
    typer.Option(
        "--match",
        help="How rows are paired; by id when both have ids, or share a column that could be ids; position takes them "
        "as they stand.",
    ),
]
MinMatched = Annotated[
    float,
    typer.Option(
        "--min-matched", metavar="SHARE", help="The least share of the smaller side's rows that must match by id."
    ),
]
Certify = Annotated[
    int, typer.Option(metavar="ROWS", help="Rows from which each mode is held against the exact kernels; 0 for none.")
]
Refine = Annotated[
    int, typer.Option(metavar="N", help="Steps of the exact operator from the modes found; time grows as rows squared.")
]
RotateOption = Annotated[Rotate, typer.Option("--rotate", help="Rotate the modes of a direction to localised groups.")]
LandmarksOption = Annotated[
    Landmarks, typer.Option("--landmarks", help="Draw landmarks uniformly or by randomly pivoted Cholesky.")
]
Memory = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="What the process may hold, e.g. 8G; by default most of what is free."),
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", metavar="N", help="Threads; all cores by default.")]
FailOn = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        metavar="RULE",
        help="Exit with status 3 when the rule holds, as 'spec_diff>0.05', 'certified>0' or, of any mode, "
        "'eigenvalue>0.03'; may be given several times.",
        show_default=False,
    ),
]
Rows = Annotated[
    str | None, typer.Option("--rows", metavar="N", help="Plan for N rows like those of A and B, e.g. 1e9.")
]
Workers = Annotated[int | None, typer.Option("--workers", metavar="N", help="Plan for a cluster of N workers.")]
LocalWorkers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", help="Start N worker processes here, which share the cores."),
]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler."),
]
Update = Annotated[
    str | None,
    typer.Option(
        "--update",
        metavar="OUT",
        help="Go on from this result after rows were appended to A and B: its options, bandwidths and maps are kept.",
    ),
]
Rate = Annotated[
    str | None,
    typer.Option(
        metavar="RATE", help="Operations a second of one worker, e.g. 30T; by default what this machine does."
    ),
]
Fetch = Annotated[
    bool,
    typer.Option("--fetch", help="Read the embeddings from the addresses that the result names on other servers."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
