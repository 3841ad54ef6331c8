"""Arrays of rows in the work directory, and passes that read and write them."""

from __future__ import annotations

from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_runtime import rows_of

from specscale.embeddings.rows import Block
from specscale.errors import InputError
from specscale.kernels.base import Kernels
from specscale.passes.base import Accumulator, LoadedPass, Pass, Room, Task
from specscale.runtime.events import Event, RowsDone
from specscale.runtime.local import LocalExecutor
from specscale.runtime.row_arrays import RowArray
from specscale.runtime.spans import Span
from specscale.runtime.threads import Threads

X = np.random.default_rng(0).normal(size=(20_000, 3))


@given(
    edges=st.lists(st.integers(0, 60), min_size=2, max_size=9).map(sorted),
    data=st.data(),
)
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, edges: list[int], data: st.DataObject
) -> None:
    begin, end = edges[0], edges[-1]
    array = RowArray(tmp_path_factory.mktemp("rows"), tuple(edges), (3,), "float64")
    for low, high in pairwise(edges):
        array.write(low, X[low:high])
    low = data.draw(st.integers(begin, end))
    high = data.draw(st.integers(low, end))
    np.testing.assert_array_equal(array.read(low, high), X[low:high])


def test_an_array_is_written_whole(tmp_path: Path) -> None:
    array = RowArray.written(tmp_path / "x", X)
    np.testing.assert_array_equal(array.read(0, len(X)), X)
    np.testing.assert_array_equal(array.read(8190, 8195), X[8190:8195])
    assert len(list((tmp_path / "x").iterdir())) == 3


@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_damaged_rows_are_not_read(tmp_path: Path, damage: str) -> None:
    array = RowArray.written(tmp_path, X)
    path = tmp_path / "1.rows"
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if damage == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    np.testing.assert_array_equal(array.read(0, 8192), X[:8192])
    with pytest.raises(InputError, match=r"1\.rows: damaged or gone: run the command again with --resume"):
        array.read(8000, 8200)


def doubling(given: RowArray, made: RowArray) -> Pass[float]:
    """Write twice what is read, and add up what is read."""

    def load(kernels: Kernels) -> LoadedPass:
        def prepare(block: Block, room: Room) -> list[Task]:
            def double() -> None:
                block.outputs["made"][...] = 2 * kernels.get(block.inputs["given"])
                room["sum"][...] = kernels.get(block.inputs["given"]).sum()

            return [double]

        def append(total: Accumulator, block: Block, room: Room) -> list[Task]:
            def add() -> None:
                total["sum"] += room["sum"]

            return [add]

        return LoadedPass(prepare, append)

    def combine(first: Accumulator, second: Accumulator) -> None:
        first["sum"] += second["sum"]

    return Pass(
        "doubling",
        lambda kernels: {"sum": ((1,), np.float64)},
        lambda kernels: {"sum": np.zeros(1)},
        load,
        combine,
        lambda total: float(total["sum"][0]),
        inputs={"given": given.of},
        outputs={"made": made},
    )


@pytest.mark.parametrize("kept", [None, 0.6])
def test_a_pass_reads_and_writes_rows(tmp_path: Path, kept: float | None) -> None:
    n, bounds = len(X), [0, 300, 9000, 9001, 19_000, len(X)]
    mask: NDArray[Any] | None = None if kept is None else np.random.default_rng(1).random(n) < kept
    if mask is not None:
        mask[:300] = False  # a span of which no row takes part
    values = X if mask is None else X[mask]
    edges = bounds if mask is None else [int(np.count_nonzero(mask[:bound])) for bound in bounds]
    spans = [Span(i, *run) for i, run in enumerate(pairwise(bounds))]
    made = RowArray(tmp_path / "made", tuple(edges), (3,), "float64")
    made.folder.mkdir()
    work = doubling(RowArray.written(tmp_path / "given", values), made)
    rows = rows_of(X.astype(np.float32), kept=mask)
    events: list[Event] = []
    with closing(Threads(2)) as threads:
        executor = LocalExecutor(threads, patience=0.0)
        total = executor.run(work, rows, spans, tmp_path / "work", events.append)
        assert total == pytest.approx(values.sum())
        np.testing.assert_array_equal(made.read(0, len(values)), 2 * values)
        before = {path: path.stat().st_mtime_ns for path in made.folder.iterdir()}
        events.clear()
        assert executor.run(work, rows, spans, tmp_path / "work", events.append) == total
    assert not [event for event in events if isinstance(event, RowsDone)]
    assert before == {path: path.stat().st_mtime_ns for path in made.folder.iterdir()}
