"""Why few ids of two embeddings match: examples of both, and the likely reason, found by looking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from specscale.embeddings.keys import Index, hashes_of
from specscale.embeddings.store import EmbeddingStore

__all__ = ["examples", "likely_reason"]

_EXAMPLES = 3
_SAMPLE = 1000
_LOOKED_THROUGH = 32  # pieces of some thousands of ids
_WIDEST = 60

_Change = Callable[[pa.ChunkedArray], pa.ChunkedArray]

_CHANGES: dict[str, _Change] = {
    "blanks around them": lambda ids: pc.utf8_trim_whitespace(ids),
    "quotes around them": lambda ids: pc.utf8_trim(ids, "\"'"),
    "numbers written as 1.0 on one side": lambda ids: pc.replace_substring_regex(ids, r"^([+-]?\d+)\.0+$", r"\1"),
    "letter case": lambda ids: pc.utf8_lower(ids),
    "zeros before numbers": lambda ids: pc.replace_substring_regex(ids, r"(^|\D)0+(\d)", r"\1\2"),
    "the folders before a file name": lambda ids: pc.replace_substring_regex(ids, r"^.*[/\\]", ""),
    "the extension of a file name": lambda ids: pc.replace_substring_regex(ids, r"\.[A-Za-z][A-Za-z0-9]{0,4}$", ""),
}


def examples(store: EmbeddingStore) -> str:
    """The first ids of a store, written so that blanks, quotes and control characters are seen."""
    first = next(store.id_arrays()).slice(0, _EXAMPLES).to_pylist()
    shown = [repr(one) for one in first]
    return ", ".join(one if len(one) <= _WIDEST else f"{one[:_WIDEST]}…" for one in shown)


def likely_reason(a: EmbeddingStore, b: EmbeddingStore) -> str | None:
    """What the ids of two stores differ in: the change, of several that are tried, under which most of them match.

    Of B's first thousand ids those that do not match are looked for among the first million of A's.
    """
    sample = next(_texts(b)).slice(0, _SAMPLE)
    sample = sample.filter(pa.array(~_found(a, sample, [])))
    if not len(sample):
        return None
    changes = {**_CHANGES, "a beginning or an end that all ids of one side share": _without_ends(a, b, sample)}
    for name, change in changes.items():
        if _match(a, sample, [change]):
            return name
    if not _match(a, sample, list(changes.values())):
        return None
    for name in reversed(list(changes)):  # those that are not needed go, and the least telling first
        rest = [change for other, change in changes.items() if other != name]
        if _match(a, sample, rest):
            del changes[name]
    *names, last = changes
    return f"{', '.join(names)} and {last}"


def _texts(store: EmbeddingStore) -> Iterator[pa.ChunkedArray]:
    return (ids.cast(pa.large_string()).drop_null() for ids in store.id_arrays())


def _match(a: EmbeddingStore, sample: pa.ChunkedArray, changes: list[_Change]) -> bool:
    """Whether most of the sample is among A's ids when both are changed."""
    return 2 * int(np.count_nonzero(_found(a, sample, changes))) > len(sample)


def _found(a: EmbeddingStore, sample: pa.ChunkedArray, changes: list[_Change]) -> NDArray[np.bool_]:
    """Which ids of the sample are among A's when both are changed."""

    def changed(ids: pa.ChunkedArray) -> pa.ChunkedArray:
        return reduce(lambda now, change: change(now), changes, ids)

    index = Index.of(hashes_of(map(changed, islice(_texts(a), _LOOKED_THROUGH))))
    found = index.rows_with(hashes_of([changed(sample)])) >= 0
    # Ids that a change makes equal tell nothing apart.
    return found & (index.distinct or not changes)


def _without_ends(a: EmbeddingStore, b: EmbeddingStore, sample: pa.ChunkedArray) -> _Change:
    """Takes away what all ids of a side begin or end with, as far as the other side has it not."""
    sides = [next(_texts(a)).slice(0, _SAMPLE).to_pylist(), sample.to_pylist()]
    # Digits that some ids share with their neighbours are their own.
    begins = [_beginning(side).rstrip("0123456789") for side in sides]
    ends = [_beginning([one[::-1] for one in side])[::-1].lstrip("0123456789") for side in sides]

    def stripped(ids: pa.ChunkedArray) -> pa.ChunkedArray:
        for text in begins:
            if text and pc.all(pc.starts_with(ids, text)).as_py():
                ids = pc.utf8_slice_codeunits(ids, len(text))
        for text in ends:
            if text and pc.all(pc.ends_with(ids, text)).as_py():
                ids = pc.utf8_slice_codeunits(ids, 0, -len(text))
        return ids

    return stripped


def _beginning(texts: list[str]) -> str:
    """What all texts begin with."""
    first, last = min(texts), max(texts)
    same = (i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(same, min(len(first), len(last)))]
