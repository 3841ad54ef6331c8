"""Results of rows that are in another order in B: gone on from, described, and their groups named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clusters import assert_same
from conftest import command, structured
from numpy.typing import NDArray

import specscale as ss
import specscale.runtime.spans as spans_module
from specscale.errors import ChangedError, InputError
from specscale.method.update import compare_grown
from specscale.runtime.cluster.connecting import local_cluster
from specscale.stores.ingest import ingest

CHUNK = 32_768
SETTINGS: dict[str, Any] = {"size": 20, "certify": 0, "top": 6, "sigma": (3.0, 2.0), "n_modes": 2, "rounds": 0}
SMALL: dict[str, Any] = {**SETTINGS, "features": "exact", "size": None}


def grow(store: Path, x: NDArray[Any], columns: dict[str, Any] | None = None, id_column: str | None = None) -> Path:
    """Write a store, or add rows to it."""
    append = store.exists()
    source = store.with_name(f"{store.name}-{append}")
    np.save(source.with_suffix(".npy"), x)
    metadata = None
    if columns is not None:
        pq.write_table(pa.table(columns), metadata := source.with_suffix(".parquet"))
    ingest(
        source.with_suffix(".npy"), store, metadata=metadata, id_column=None if append else id_column, append=append,
        on_bad="drop", name=None if append else store.name,
    )  # fmt: skip
    return store


def fresh(earlier: ss.Result, stores: tuple[Path, Path], place: Path) -> ss.Result:
    """All rows with the maps of an earlier result, none of whose sums are taken up."""
    shutil.copytree(str(earlier.path), place)
    shutil.rmtree(place / "parts", ignore_errors=True)
    return compare_grown(ss.open_result(place), *stores, out=place.with_suffix(".full"))


# --- updates


@pytest.fixture
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans_module, "_MOST_CHUNKS", 1)


@pytest.mark.slow
def test_an_update_of_rows_in_another_order_is_the_comparison_of_all(tmp_path: Path, short_spans: None) -> None:
    n, more = CHUNK + 300, 2 * CHUNK + 50
    a, b = structured(more, 4, 3)
    order = np.random.default_rng(0).permutation(n)
    later = n + np.random.default_rng(1).permutation(more - n)
    stores = tmp_path / "a", tmp_path / "b"
    grow(stores[0], a[:n], {"key": np.arange(n)}, "key")
    grow(stores[1], b[order[5:]], {"key": order[5:]}, "key")  # five rows of A have no partner
    earlier = ss.compare(*stores, out=tmp_path / "o", **SETTINGS)
    assert earlier.summary["rows"]["matched"] == n - 5
    grow(stores[0], a[n:], {"key": np.arange(n, more)})
    grow(stores[1], b[later], {"key": later})
    grown = compare_grown(earlier, *stores, out=tmp_path / "grown")
    assert grown.summary["rows"]["matched"] == more - 5
    assert_same(grown, fresh(earlier, stores, tmp_path / "bare"))
    again = compare_grown(grown, *stores, out=tmp_path / "grown", overwrite=True)
    assert again is grown
    assert not (tmp_path / "grown.work").exists()


@pytest.mark.slow
def test_a_new_row_that_completes_an_old_one_is_no_update(tmp_path: Path) -> None:
    a, b = structured(90, 4, 3)
    stores = grow(tmp_path / "a", a[:60], {"key": np.arange(60)}, "key"), tmp_path / "b"
    grow(stores[1], b[np.arange(2, 60)[::-1]], {"key": np.arange(2, 60)[::-1]}, "key")
    earlier = ss.compare(*stores, out=tmp_path / "o", **SETTINGS)
    grow(stores[1], b[[1]], {"key": [1]})
    with pytest.raises(ChangedError, match=r"of its 60 rows others take part now: new rows are partners of old ones"):
        compare_grown(earlier, *stores, out=tmp_path / "grown")


@pytest.mark.slow
def test_an_update_of_stores_that_dropped_rows(tmp_path: Path, short_spans: None) -> None:
    n, more = CHUNK + 40, 2 * CHUNK + 100
    a, b = structured(more, 4, 3)
    a[[7, n + 1]] = np.nan
    b[[9, CHUNK + 2, n + 5]] = np.nan
    stores = grow(tmp_path / "a", a[:n]), grow(tmp_path / "b", b[:n])
    earlier = ss.compare(*stores, out=tmp_path / "o", **SETTINGS)
    for store, x in zip(stores, (a, b), strict=True):
        grow(store, x[n:])
    grown = compare_grown(earlier, *stores, out=tmp_path / "grown")
    assert grown.summary["rows"]["matched"] == more - 5
    assert_same(grown, fresh(earlier, stores, tmp_path / "bare"))
    kept = np.isfinite(a).all(1) & np.isfinite(b).all(1)
    plain = compare_grown(ss.compare(a[:9], b[:9], on_bad="drop", **{**SETTINGS, "size": 4}), a[:9], b[:9])
    assert plain.summary["rows"]["compared"] == 8
    members = grown.members()
    assert kept[members["source_row"]].all()


@pytest.mark.slow
def test_results_of_an_earlier_version_are_opened_and_gone_on_from(tmp_path: Path) -> None:
    a, b = structured(80, 4, 3)
    names, order = np.arange(80), np.random.default_rng(0).permutation(60)
    stores = grow(tmp_path / "a", a[:60], {"key": names[:60]}, "key"), tmp_path / "b"
    same = grow(tmp_path / "c", b[:60], {"key": names[:60]}, "key")
    grow(stores[1], b[order], {"key": order}, "key")
    results = [ss.compare(stores[0], one, out=tmp_path / f"{one.name}.spec", **SETTINGS) for one in (stores[1], same)]
    expected = results[0].with_eta(2.0).eigenvalues
    for one in results:
        summary = json.loads((Path(one.path) / "summary.json").read_text())
        for key in ("column", "confirmed_by", "left_out", "kept_digest"):
            del summary["rows"][key]
        for described in summary["inputs"].values():
            del described["ids_column"], described["ids_digest"], described["columns"], described["dropped"]
        (Path(one.path) / "summary.json").write_text(json.dumps(summary))
    shutil.rmtree(tmp_path / "b.spec" / "spec.zarr" / "b_rows")
    np.testing.assert_array_equal(ss.open_result(tmp_path / "b.spec").with_eta(2.0).eigenvalues, expected)
    grow(stores[0], a[60:], {"key": names[60:]})
    grow(stores[1], b[60:], {"key": names[60:]})
    grow(same, b[60:], {"key": names[60:]})
    with pytest.raises(ChangedError, match="earlier version, which does not say which rows of B it paired"):
        compare_grown(ss.open_result(tmp_path / "b.spec"), *stores)
    old = ss.open_result(tmp_path / "c.spec")
    assert old.modes[0].top(2).shape[0] == 4
    grown = compare_grown(old, stores[0], same, out=tmp_path / "grown")
    assert_same(grown, fresh(old, (stores[0], same), tmp_path / "bare"))


@pytest.mark.slow
def test_another_eta_is_not_found_for_rows_that_are_paired_otherwise(tmp_path: Path) -> None:
    a, b = structured(60, 4, 3)
    names = [f"doc-{i}" for i in range(60)]
    stores = grow(tmp_path / "a", a, {"id": names}), grow(tmp_path / "b", b[::-1], {"id": names[::-1]})
    result = ss.compare(*stores, match="position", out=tmp_path / "o", **SETTINGS)
    assert result.with_eta(2.0).summary["rows"]["matched_by"] == "position"
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    summary["options"]["match"] = None  # as an earlier version paired them without a word
    (tmp_path / "o" / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ChangedError, match="its rows were paired by position, and are by id now: compare afresh"):
        ss.open_result(tmp_path / "o").with_eta(2.0)


# --- texts


def texts(rows: Any) -> list[str]:
    return [f"text of {row}" for row in rows]


@pytest.mark.slow
def test_a_result_whose_stores_grew_shows_its_texts(tmp_path: Path) -> None:
    a, b = structured(90, 4, 3)
    stores = grow(tmp_path / "a", a[:60], {"text": texts(range(60))}), grow(tmp_path / "b", b[:60])
    result = ss.compare(*stores, out=tmp_path / "o", **SMALL)
    grow(stores[0], a[60:], {"text": texts(range(60, 90))})
    top = result.modes[0].top(5)
    assert top["text"].tolist() == texts(top["row"])
    grow(tmp_path / "c", a[30:], {"text": texts(range(60))})
    shutil.rmtree(stores[0])
    (tmp_path / "c").rename(stores[0])
    assert "text" not in result.modes[0].top(5)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.slow
def test_texts_that_only_b_has_are_shown_and_name_the_groups(tmp_path: Path, stored: bool) -> None:
    a, b = structured(200, 4, 3)
    order = np.random.default_rng(2).permutation(200)
    group = np.where(np.abs(a).sum(1) < np.median(np.abs(a).sum(1)), "near", "far")
    names = [f"doc-{i}" for i in range(200)]
    grow(tmp_path / "a", a, {"key": names}, "key")
    columns = {"key": [names[i] for i in order], "text": texts(order), "label": group[order]}
    if stored:
        second = grow(tmp_path / "b", b[order], columns, "key")
        again = grow(tmp_path / "again", a, columns | {"key": names, "text": texts(range(200)), "label": group}, "key")
    else:
        second = tmp_path / "b.parquet"
        vectors = pa.array(list(b[order]), pa.list_(pa.float32()))
        pq.write_table(pa.table({**columns, "vector": vectors}), second)
    result = ss.compare(tmp_path / "a", str(second), match="id", out=tmp_path / "o", **SMALL)
    top = result.modes[0].top(6)
    assert top["text"].tolist() == texts(top["row"])
    assert top["id"].tolist() == [names[row] for row in top["row"]]
    if stored:
        named = ss.explain(result, labels="label")
        expected = ss.explain(ss.compare(again, second, **SMALL), labels="label")
        assert named.found == expected.found
        assert named.compared == 200
        with pytest.raises(InputError, match=r"there is no column 'nothing'; there are key"):
            ss.explain(result, labels="nothing")


@pytest.mark.slow
def test_files_that_are_compared_as_they_are_leave_their_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    a, b = structured(60, 4, 3)
    order = np.random.default_rng(2).permutation(60)
    for name, x, rows in (("a", a, np.arange(60)), ("b", b, order)):
        vectors = pa.array(list(x[rows]), pa.list_(pa.float32()))
        table = {"id": [f"doc-{i}" for i in rows], "text": texts(rows), "big": [2**60 + int(i) for i in rows]}
        pq.write_table(pa.table({**table, "vector": vectors}), f"{name}.parquet")
    result = ss.compare("a.parquet", "b.parquet", out="o.spec", **SMALL)
    for one in ("a.parquet", "b.parquet"):
        Path(one).unlink()
    top = ss.open_result("o.spec").modes[1].top(6)
    assert top["text"].tolist() == texts(top["row"])
    assert top["big"].tolist() == [2**60 + row for row in top["row"]]
    assert top["id"].tolist() == [f"doc-{row}" for row in top["row"]]
    assert command(monkeypatch, "modes", "o.spec", "--json") == 0
    modes = json.loads(capsys.readouterr().out)["modes"]
    assert all(one["text"] == f"text of {one['row']}" for mode in modes for one in mode["members"])
    assert sorted(path.name for path in Path(result.path).glob("*.parquet")) == [
        "columns_a.parquet", "columns_b.parquet", "modes.parquet",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_members_of_a_matrix_keep_their_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a, b = structured(60, 4, 3)
    order = np.random.default_rng(2).permutation(60)
    columns = [{"id": [f"doc-{i}" for i in rows], "text": texts(rows)} for rows in (order, np.arange(60))]
    for name, x, one in (("b", b[order], columns[0]), ("c", b[:, ::-1], columns[1])):
        pq.write_table(pa.table({**one, "vector": pa.array(list(x), pa.list_(pa.float32()))}), f"{name}.parquet")
    grow(tmp_path / "a", a, {"id": [f"doc-{i}" for i in range(60)]})
    result = ss.compare_many(["a", "b.parquet", "c.parquet"], sigma=3.0, size=20, n_modes=1, out="all")
    assert result.summary["rows"]["column"] == "id"
    top = result.top("a", "c", 0, 5)
    assert top["text"].tolist() == texts(top["row"])


# --- clusters


@pytest.mark.cluster
def test_workers_read_what_was_put_in_another_order(tmp_path: Path) -> None:
    a, b = structured(300, 4, 3)
    order = np.random.default_rng(2).permutation(300)
    for name, x, rows in (("a", a, np.arange(300)), ("b", b, order)):
        grow(tmp_path / name, x[rows], {"id": [f"doc-{i}" for i in rows]})
    holed = a.copy()
    holed[5] = np.nan
    grow(tmp_path / "holed", holed)
    with local_cluster(2) as client:
        for number, inputs in enumerate(((tmp_path / "a", tmp_path / "b"), (tmp_path / "holed", b))):
            alone = ss.compare(*inputs, out=tmp_path / f"alone{number}", **SETTINGS)
            together = ss.compare(*inputs, out=tmp_path / f"together{number}", executor=client, **SETTINGS)
            assert_same(alone, together)
            assert alone.array_if_any("b_rows") is not None
