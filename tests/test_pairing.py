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

from specscale.errors import PairingError
from specscale.stores import pairing
from specscale.stores.embedding import EmbeddingStore
from specscale.stores.ids import id_hashes
from specscale.stores.ingest import ingest
from specscale.stores.pairing import pair

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
            patch.setattr(pairing, "id_hashes", weak_hashes)
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
