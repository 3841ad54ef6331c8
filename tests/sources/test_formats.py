"""A format is one file and one line of the registry, and names its options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import specscale.sources as sources
from specscale.errors import OptionError
from specscale.sources.arrays import ArrayShard, Extent, ExtentShard, ReadRows
from specscale.sources.base import Format
from specscale.sources.batches import BatchShard
from specscale.sources.parquet import PARQUET

ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)


class Raw(ExtentShard):
    """Numbers and nothing else, whose dimensions and first row the user names."""

    def __init__(self, path: str, width: str = "4", skip: str = "0") -> None:
        size = Path(path).stat().st_size
        offset = int(skip) * 4 * int(width)
        shape = ((size - offset) // (4 * int(width)), int(width))
        super().__init__(path, Extent(shape, False, np.dtype("<f4"), offset), size, path)


class Halves(ArrayShard):
    """A NumPy file under another name, whose rows are divided by two."""

    def __init__(self, path: str) -> None:
        self._rows = np.load(path)
        super().__init__(path, self._rows.shape, self._rows.dtype, path)

    @contextmanager
    def reading(self) -> Iterator[ReadRows]:
        yield lambda low, high: self._rows[low:high] / 2


class Stream(BatchShard):
    """A stream of Arrow."""

    def __init__(self, path: str, vector: str | None = None) -> None:
        self._table = pa.ipc.open_stream(path).read_all()
        super().__init__(path, self._table.schema, self._table.num_rows, path, vector)

    def read(self, columns: Any, start: int, rows: int) -> Iterator[pa.RecordBatch]:
        return iter(self._table.select(columns).slice(start).to_batches(max_chunksize=rows))


@pytest.fixture(autouse=True)
def formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    more = (
        Format("raw", (".raw32",), Raw, frozenset({"width", "skip"})),
        Format("halves", (".half",), Halves),
        Format("Arrow", (".arrows",), Stream, frozenset({"vector"})),
    )
    monkeypatch.setattr(sources, "FORMATS", (*sources.FORMATS, *more))


def read(path: str, start: int = 0, **options: str) -> Any:
    return np.concatenate([batch.vectors for batch in sources.open_source([path], **options).batches(start)])


def test_a_format_of_arrays_has_options_of_its_own() -> None:
    ROWS.tofile("a.raw32")
    np.testing.assert_array_equal(read("a.raw32"), ROWS)
    np.testing.assert_array_equal(read("a.raw32", width="8", skip="1"), ROWS.reshape(3, 8)[1:])
    np.testing.assert_array_equal(read("a.raw32", 4), ROWS[4:])
    with pytest.raises(OptionError, match=r"--vector does not apply to a\.raw32, a raw file"):
        read("a.raw32", vector="x")


def test_a_format_reads_rows_in_its_own_way() -> None:
    with Path("a.half").open("wb") as file:
        np.save(file, ROWS)
    np.testing.assert_array_equal(read("a.half", 2), ROWS[2:] / 2)


def test_a_format_of_tables_shares_what_parquet_does() -> None:
    table = pa.table({"word": list("abcdef"), "emb": ROWS.tolist(), **{f"x{i}": ROWS[:, i] for i in range(4)}})
    with pa.OSFile("a.arrows", "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    pq.write_table(table, "a.parquet")
    for path in ("a.arrows", "a.parquet"):
        for vector in ("emb", "x0..x3"):
            np.testing.assert_array_equal(read(path, vector=vector), ROWS)
        source = sources.open_source([path], vector="x0..x3")
        assert source.offered == ["word", "emb"]
        (batch,) = source.batches(3)
        assert batch.columns is not None
        assert batch.columns.column("word").to_pylist() == ["d", "e", "f"]
    assert PARQUET.matches("a.PQ")
