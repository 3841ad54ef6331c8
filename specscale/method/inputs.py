"""What a run is given: embeddings, files or arrays, opened, named and paired."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from numpy.typing import ArrayLike
from upath import UPath

from specscale.embeddings.base import Embedding
from specscale.embeddings.coercion import is_lazy, taken
from specscale.embeddings.opening import open_embedding
from specscale.embeddings.pairing import pair_many
from specscale.embeddings.rows import PairedRows
from specscale.embeddings.screening import screen
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import InputError, OptionError
from specscale.method.options import Options
from specscale.places.files import Location, located, unchained
from specscale.sources.naming import check_name, distinct_names, letters, model_name
from specscale.sources.paths import is_source
from specscale.stores.ingest import ingest

__all__ = ["Input", "check_names", "opened", "pair_inputs"]

Input = str | Path | UPath | ArrayLike | Embedding


def pair_inputs(
    inputs: Sequence[Input], options: Options, work: Location, names: Sequence[str | None] | None = None
) -> PairedRows:
    """Open embeddings, pair their rows and leave out those that cannot be compared.

    Parameters
    ----------
    inputs : two or more stores, arrays, embeddings, or files that ingest reads
    options : how rows are matched and which are dropped
    work : a folder for what has to be rewritten first
    names : what to call them; by default, and where one is None, as their stores, and so that no two are called alike
    """
    check_names(names, len(inputs))
    embeddings = [opened(one, letters(number).lower(), work, options.on_bad) for number, one in enumerate(inputs)]
    embeddings = _called(embeddings, names if names is not None else [None] * len(inputs))
    rows = pair_many(embeddings, match=options.match, work=work, min_matched=options.min_matched)
    return screen(rows, directions=options.lengths, on_bad=options.on_bad, sample=options.sample, seed=options.seed)


def check_names(names: Sequence[str | None] | None, count: int) -> None:
    """Raise OptionError when names are not different ones, one for each embedding or None."""
    if names is None:
        return
    given = [] if isinstance(names, str) else [one for one in names if one is not None]
    if isinstance(names, str) or len(names) != count or len(set(given)) < len(given):
        raise OptionError(f"names are {count} different ones, --name-a and --name-b of two embeddings, not {names!r}")
    for one in given:
        check_name(one)


def _called(embeddings: Sequence[Embedding], names: Sequence[str | None]) -> list[Embedding]:
    """Embeddings under names that differ; those of the caller keep theirs."""
    wanted = [one.name if name is None else name for one, name in zip(embeddings, names, strict=True)]
    fixed = [name is not None for name in names]
    out = []
    for one, name in zip(embeddings, distinct_names(wanted, [one.source for one in embeddings], fixed), strict=True):
        if one.name != name:
            renamed = object.__new__(type(one))
            renamed.__dict__.update(one.__dict__)
            renamed.name, one = name, renamed
        out.append(one)
    return out


def opened(given: Input, name: str, work: Location, on_bad: str = "error") -> Embedding:
    """Open what is given as an embedding; files that ingest reads, and Dask arrays, become a store in `work` first."""
    given = unchained(taken(given, name.upper()))
    store = work / f"{name}.zarr"
    if is_lazy(given):
        ingest(cast(Any, given), store, name=name.upper(), on_bad="keep", overwrite=True)
        computed = EmbeddingStore(store)
        computed.source = name.upper()
        return computed
    if isinstance(given, str) and given.startswith("file://"):
        given = str(located(given))
    if not isinstance(given, (str, Path, UPath)) or not is_source(str(given)):
        return open_embedding(given, name.upper())
    report = ingest(str(given), store, name=model_name([str(given)]), on_bad="keep", overwrite=True)
    if report.absent and on_bad == "error":
        raise InputError(f"{report.absent[0]}: restore these, or leave such rows out with --on-bad drop")
    opened = EmbeddingStore(store)
    opened.source = str(given)
    return opened
