"""The tails of the modes of a result: the top members of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.errors import InputError, OptionError
from specscale.places.files import Location, unchained
from specscale.results.comparison import TAILS, ComparisonResult
from specscale.results.directory import top_members

__all__ = ["Tail", "opened", "tails_of"]


@dataclass(frozen=True)
class Tail:
    """The members of one tail of one mode.

    Attributes
    ----------
    mode : number of the mode
    tail : "+" or "-"
    grouped_by : "A" or "B", the embedding that holds the mode together
    certified : the verdict of the mode's certificate; None without one
    rows : (s,) int64, rows of A, strongest first
    scores : (s,) float64, their scores
    """

    mode: int
    tail: str
    grouped_by: str
    certified: bool | None
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]

    @property
    def name(self) -> str:
        """A short name, as "3+"."""
        return f"{self.mode}{self.tail}"

    def to_json(self) -> dict[str, Any]:
        """Return which tail it is, as plain values."""
        return {name: getattr(self, name) for name in ("mode", "tail", "grouped_by", "certified")}


def opened(result: ComparisonResult | str | Location) -> ComparisonResult:
    """Return the result, opened where a path is given."""
    return result if isinstance(result, ComparisonResult) else ComparisonResult(unchained(result))


def tails_of(result: ComparisonResult, top: int | None = None) -> list[Tail]:
    """Return the tails of the modes of a result, mode by mode.

    Parameters
    ----------
    result : the result
    top : members of each tail, by default all that the result keeps

    Raises
    ------
    OptionError
        When `top` is less than one.
    InputError
        When the result keeps no members.
    """
    if top is not None and top < 1:
        raise OptionError(f"--top must be at least 1, not {top}")
    modes = result.modes
    members = result.members_table()
    if modes and not members.num_rows:
        raise InputError(f"{result.path}: no members were kept: compare again with --top 100")
    if top is not None:
        members = top_members(members, top)
    columns = {name: members.column(name).to_numpy() for name in ("mode", "tail", "rank", "row", "score")}
    tails = []
    for mode in modes:
        for tail in TAILS:
            here = np.flatnonzero((columns["mode"] == mode.mode) & (columns["tail"] == tail))
            here = here[np.argsort(columns["rank"][here])]
            if len(here):
                rows, scores = columns["row"][here], columns["score"][here].astype(np.float64)
                tails.append(Tail(mode.mode, tail, mode.grouped_by, mode.certified, rows, scores))
    return tails
