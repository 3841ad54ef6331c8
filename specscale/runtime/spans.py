"""Spans: contiguous runs of whole chunks, the unit of work, of checkpoints and of repetition."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Span", "cut_spans", "full_spans"]

_OPERATIONS = 2e12  # of one span's covariance: seconds of work, against which writing its partial result is little
_MOST_CHUNKS = 8


@dataclass(frozen=True)
class Span:
    """Rows ``start:stop``, number `index` of the pass."""

    index: int
    start: int
    stop: int


def cut_spans(n: int, d: int, chunk_rows: int) -> list[Span]:
    """Cut n rows into spans whose length depends on d alone.

    Never on n, the memory, the device or the number of workers: the partial results of the spans are combined in a
    fixed tree, so the answer has the same bits wherever it is computed, and old spans stay valid when rows are
    appended.

    Parameters
    ----------
    n : rows
    d : dimension of the concatenated features
    chunk_rows : rows of one chunk
    """
    length = _length(d, chunk_rows)
    return [Span(i, start, min(start + length, n)) for i, start in enumerate(range(0, n, length))]


def full_spans(n: int, d: int, chunk_rows: int) -> int:
    """Number of spans that rows appended later do not change; parameters as in `cut_spans`."""
    return n // _length(d, chunk_rows)


def _length(d: int, chunk_rows: int) -> int:
    chunks = 1
    while chunks < _MOST_CHUNKS and 2 * chunks * chunk_rows * d**2 <= 1.5 * _OPERATIONS:
        chunks *= 2
    return chunks * chunk_rows
