"""Which row of B is the same sample as a row of A, by ids that are streamed and hashed."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from specscale.embeddings import keys
from specscale.embeddings.ids import id_hashes
from specscale.embeddings.pairing import pair, pair_many
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import PairingError
from specscale.stores.ingest import ingest

NAMES = itertools.count()


def store(folder: Path, ids: list[Any]) -> EmbeddingStore:
    """A store whose row with id i holds the number i."""
    path = folder / f"{next(NAMES)}"
    np.save(path.with_suffix(".npy"), np.array([[float(i)] for i in ids], dtype=np.float32))
    pq.write_table(pa.table({"key": ids}), path.with_suffix(".parquet"))
    ingest(path.with_suffix(".npy"), path, metadata=path.with_suffix(".parquet"), id_column="key")
    return EmbeddingStore(path)


def weak_hashes(ids: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    first, second = id_hashes(ids)
    return first % 3, second


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    a=st.lists(st.integers(0, 40), min_size=1, max_size=30, unique=True),
    b=st.lists(st.integers(0, 40), min_size=1, max_size=30, unique=True),
    weak=st.booleans(),
    text=st.booleans(),
)
def test_rows_with_one_id_meet(tmp_path: Path, a: list[int], b: list[int], weak: bool, text: bool) -> None:
    first, second = store(tmp_path, a), store(tmp_path, [str(i) for i in b] if text else b)
    with pytest.MonkeyPatch.context() as patch:
        if weak:  # many ids share their first hash
            patch.setattr(keys, "id_hashes", weak_hashes)
        if not set(a) & set(b):
            with pytest.raises(PairingError, match="no id of"):
                pair(first, second, work=tmp_path)
            return
        rows = pair(first, second, work=tmp_path)
    common = set(a) & set(b)
    assert rows.match.matched == len(common)
    assert (rows.match.only_a, rows.match.only_b) == (len(a) - len(common), len(b) - len(common))
    kept = np.arange(len(a)) if rows.kept is None else np.flatnonzero(rows.kept)
    assert [a[row] for row in kept] == [i for i in a if i in common]
    left, right = (one.read(0, len(a)) for one in rows.embeddings)
    np.testing.assert_array_equal(left[kept], right[kept])


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(several=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=12, unique=True), min_size=3, max_size=4))
@pytest.mark.slow
def test_rows_take_part_where_their_id_is_in_every_store(tmp_path: Path, several: list[list[int]]) -> None:
    stores = [store(tmp_path, ids) for ids in several]
    common = set.intersection(*map(set, several))
    work = tmp_path / f"work{next(NAMES)}"
    if not common:
        with pytest.raises(PairingError, match="no id"):
            pair_many(stores, work=work)
        return
    rows = pair_many(stores, work=work)
    first = several[0]
    kept = np.arange(len(first)) if rows.kept is None else np.flatnonzero(rows.kept)
    assert [first[row] for row in kept] == [i for i in first if i in common]
    for one in rows.embeddings:
        assert one.read(0, one.n)[kept, 0].tolist() == [i for i in first if i in common]
    assert rows.match.matched == len(common)
    assert rows.match.only_a == len(first) - len(common)
    assert rows.match.only_b == sum(len(ids) - len(common) for ids in several[1:])


def test_stores_in_one_order_are_read_where_they_are(tmp_path: Path) -> None:
    stores = [store(tmp_path, ids) for ids in ([1, 2, 3], [1, 2, 3], [3, 1, 2])]
    rows = pair_many(stores, work=tmp_path / "work")
    assert rows.embeddings[:2] == tuple(stores[:2])
    assert rows.kept is None
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["reordered-2.raw"]
