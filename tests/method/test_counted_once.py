"""Rows that take part are counted once: no pass, draw or start is quadratic in the number of chunks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.embeddings.rows import Match, PairedRows
from specscale.grid import BLOCK_ROWS
from specscale.kernels.base import load_kernels
from specscale.method.certifying import _draw
from specscale.method.refining import start_vectors
from specscale.passes.scores import KnownScores
from specscale.runtime.events import silent
from specscale.runtime.local import LocalExecutor
from specscale.runtime.spans import cut_spans
from specscale.runtime.threads import Threads

N = 24 * CHUNK_ROWS + 5


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many numbers each count looked at."""
    looked_at: list[int] = []
    count = np.count_nonzero

    def listening(values: Any, *arguments: Any, **options: Any) -> Any:
        looked_at.append(np.size(values))
        return count(values, *arguments, **options)

    monkeypatch.setattr(np, "count_nonzero", listening)
    return looked_at


def some_rows(n: int = N) -> PairedRows:
    kept = np.ones(n, dtype=np.bool_)
    kept[:: n // 7] = False
    return PairedRows((ArrayEmbedding(np.zeros((n, 1), np.float16), "a"),), kept, Match("position", n, 0, 0))


def test_however_often_the_rows_are_asked_for_they_are_counted_once(counted: list[int]) -> None:
    rows = some_rows()
    assert {rows.n_kept for _ in range(100)} == {N - 8}
    assert sum(counted) == N


def test_a_pass_knows_what_lies_before_each_span(counted: list[int]) -> None:
    rows, spans = some_rows(), cut_spans(N, 10_000, CHUNK_ROWS)
    assert len(spans) == 25
    for span in spans:  # each by itself, as the workers of a cluster are given them
        blocks = list(rows.blocks([(span.start, span.stop)], BLOCK_ROWS, 3))
        assert rows.kept is not None
        assert blocks[0].offset == int(rows.kept[: span.start].sum())
    assert sum(counted) <= 2 * N


def test_a_draw_counts_the_rows_once(counted: list[int]) -> None:
    rows = some_rows()
    problem: Any = SimpleNamespace(rows=rows, options=SimpleNamespace(seed=0))

    def read(start: int, stop: int) -> NDArray[np.float32]:
        return np.full((stop - start, 1), 0.001, dtype=np.float32)

    found = _draw(problem, read, 64, np.empty(0, dtype=np.int64))
    assert len(found.positions) > 32
    assert sum(counted) <= 2 * N


def positions_of(block: Any) -> NDArray[np.float32]:
    """The positions of a block's rows, for their scores."""
    return np.arange(block.offset, block.offset + len(block.raw[0]), dtype=np.float32)[:, None]


@pytest.fixture
def sweeping(tmp_path: Path) -> Iterator[Any]:
    """As much of a run as the start takes."""
    with closing(Threads(1)) as pool:
        kernels = load_kernels("reference")
        executor = LocalExecutor(pool, kernels=kernels)

        def sweep(work: Any, rows: PairedRows, spans: Any) -> Any:
            return executor.run(work, rows, spans, tmp_path / "start", silent)

        yield SimpleNamespace(place=SimpleNamespace(folder=tmp_path), kernels=kernels, sweep=sweep)


def test_a_start_counts_the_rows_once(counted: list[int], sweeping: Any) -> None:
    rows = some_rows()
    problem: Any = SimpleNamespace(rows=rows)
    vectors = start_vectors(sweeping, problem, KnownScores(1, positions_of), cut_spans(N, 10_000, CHUNK_ROWS))
    np.testing.assert_array_equal(vectors[:, 0], np.arange(rows.n_kept))
    assert sum(counted) <= 2 * N


@given(st.data())
def test_rows_are_found_at_their_positions(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 400))
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specscale.embeddings.rows._COUNTED", data.draw(st.sampled_from([1, 7, 64, 1000])))
        x = np.arange(n, dtype=np.float32)[:, None]
        rows = PairedRows((ArrayEmbedding(x, "a"),), kept, Match("position", n, 0, 0))
        assert rows.n_kept == kept.sum()
        assert [rows.kept_before(row) for row in range(n + 1)] == [int(kept[:row].sum()) for row in range(n + 1)]
        positions = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1)))), dtype=np.int64)
        positions = positions[positions < kept.sum()]
        np.testing.assert_array_equal(rows.take(positions)[0], x[np.flatnonzero(kept)[positions]])
