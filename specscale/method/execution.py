"""How and where a comparison runs, which does not decide its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specscale.method.option_field import Flag, checked, option

if TYPE_CHECKING:
    from specscale.runtime.events import Notify

__all__ = ["Execution"]

_RUNS = "compare matrix update"


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How and where, as opposed to what is computed; each field says all there is to it, as those of Options do.

    Raises
    ------
    OptionError
        When a value is illegal.
    """

    memory: str | int | None = option(
        None,
        commands=f"{_RUNS} plan",
        doc='what the process may hold, as "8G"; by default four fifths of what is free',
        help="What the process may hold, e.g. 8G; by default most of what is free.",
        metavar="SIZE",
        variants={
            "plan": {
                "doc": 'what the process, or each worker of a cluster, may hold, as "8G"; by default four '
                "fifths of what is free"
            }
        },
    )
    threads: int | None = option(
        None,
        commands=f"{_RUNS} plan demo",
        doc="threads that compute, all cores by default; the answer does not depend on it",
        help="Threads; all cores by default.",
        metavar="N",
        variants={"plan": {"doc": "threads that compute, of each worker of a cluster; all cores by default"}},
    )
    device: str = option(
        "cpu",
        commands=f"{_RUNS} plan",
        doc='what the passes run on: "cpu", or "cuda" for a card of NVIDIA; the answer is the same to rounding',
        help="What the passes run on: this machine's cores, or a card of NVIDIA.",
        choices=("cpu", "cuda"),
    )
    executor: Any = option(
        None,
        commands=_RUNS,
        doc="what runs the passes: a ``distributed.Client`` of a Dask cluster, or this process by default",
        parts=(
            Flag(
                "workers",
                "Start N worker processes here, which share the cores; on cards, one for each.",
                int,
                metavar="N",
            ),
            Flag("scheduler", "Run on the Dask cluster of this scheduler.", metavar="ADDRESS"),
        ),
        variants={"matrix": {"parts": ()}},
    )
    out: str | Path | None = option(
        None,
        commands=_RUNS,
        doc="the result directory; by default a temporary one, removed with the result object",
    )
    resume: bool = option(
        False,
        commands=_RUNS,
        doc="take up an interrupted run in ``OUT.work``",
        help="Take up an interrupted run in OUT.work.",
    )
    overwrite: bool = option(
        False,
        commands=_RUNS,
        doc="replace an existing result",
        help="Replace the result if it exists.",
    )
    progress: Notify | None = option(None, commands=f"{_RUNS} bandwidth", doc="takes the events of the run")
    names: Sequence[str | None] | None = option(
        None,
        commands=f"{_RUNS} plan",
        doc="what to call A and B; by default, and where one is None, as their stores",
        variants={
            "matrix": {
                "doc": "what to call the embeddings; by default, and where one is None, as their stores, and arrays A, "
                "B and so on"
            },
            "update": {"doc": "what to call A and B; by default, and where one is None, as in the result"},
        },
    )

    def __post_init__(self) -> None:
        checked(self)
