"""Rows are the same samples: by their numbers in the source where ingest dropped some, by ids, never by chance."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import command, structured
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import Truth, difference, gaussian_kernel

import specscale as ss
from specscale.cli.pairing import print_pairing
from specscale.embeddings import dropped as dropped_module
from specscale.embeddings import layout
from specscale.embeddings.dropped import source_rows, store_rows
from specscale.embeddings.layout import store_attributes
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import PairingError
from specscale.stores import beginning, draft, journal, writer
from specscale.stores.ingest import ingest

N = 60
EXACT: dict[str, Any] = {"features": "exact", "sigma": (3.0, 2.0), "n_modes": 2, "certify": 0, "top": 5, "rounds": 0}
NAMES = itertools.count()
MakeStore = Callable[..., Path]


def parquet(path: Path, x: NDArray[Any], columns: dict[str, Sequence[Any]] | None = None) -> Path:
    """A Parquet file of vectors and columns of the samples."""
    vectors = pa.array(list(x), pa.list_(pa.float32()))
    pq.write_table(pa.table({**(columns or {}), "vector": vectors}), path)
    return path


def without(x: NDArray[Any], bad: Sequence[int]) -> NDArray[Any]:
    """Vectors that a model could not make for some samples."""
    x = x.copy()
    x[list(bad)] = np.nan
    return x


def dropped(folder: Path, x: NDArray[Any], bad: Sequence[int], columns: dict[str, Any] | None = None) -> Path:
    """A store that ingest dropped these rows from."""
    path = folder / f"{next(NAMES)}"
    ingest(parquet(path.with_suffix(".parquet"), without(x, bad), columns), path, on_bad="drop")
    return path


def check_modes(result: ss.Result, a: NDArray[Any], b: NDArray[Any], rows: Sequence[int]) -> None:
    """Assert that a result is what NumPy finds on some rows of the arrays, in this order."""
    chosen = list(rows)
    truth = Truth.of_matrix(difference(gaussian_kernel(a[chosen], 3.0), gaussian_kernel(b[chosen], 2.0), 1.0))
    scores = np.asarray(result.scores[:])
    kept = ~np.isnan(scores).any(axis=1)
    assert int(kept.sum()) == len(chosen)
    truth.check(result.eigenvalues, scores[kept], 2)


# --- numbers


@given(st.sets(st.integers(0, 80)), st.integers(1, 80))
def test_numbers_in_a_store_and_in_its_source_are_each_others_inverse(gone: set[int], n: int) -> None:
    rows = np.array(sorted(gone), dtype=np.int64)
    expected = [row for row in range(n + 81) if row not in gone][:n]
    np.testing.assert_array_equal(source_rows(np.arange(n), rows), expected)
    back = store_rows(np.arange(expected[-1] + 1), rows)
    assert back.tolist() == [-1 if row in gone else expected.index(row) for row in range(expected[-1] + 1)]


def test_a_store_knows_every_row_that_was_dropped(tmp_path: Path) -> None:
    x = structured(700)[0]
    bad = list(range(3, 603, 2))  # the attribute lists a hundred
    store = EmbeddingStore(dropped(tmp_path, x, bad))
    assert store.dropped_rows is not None
    assert store.dropped_rows.tolist() == bad
    kept = np.delete(np.arange(700), bad)
    np.testing.assert_array_equal(store.source_rows(range(store.n)), kept)
    assert EmbeddingStore(dropped(tmp_path, x, [])).source_rows([5]).tolist() == [5]


def test_a_store_of_an_earlier_version_knows_the_numbers_it_lists(tmp_path: Path) -> None:
    x, y = structured(700)
    bad = list(range(3, 603, 2))
    path = dropped(tmp_path, x, bad)
    shutil.rmtree(path / "dropped_rows")
    document = json.loads((path / "zarr.json").read_text())
    del document["attributes"]["specscale"]["dropped_digest"]
    (path / "zarr.json").write_text(json.dumps(document))
    store = EmbeddingStore(path)
    assert store.dropped_rows is None
    assert store.source_rows([0, 2, 3, 101, 102, 103, 399]).tolist() == [0, 2, 4, 200, -1, -1, -1]
    with pytest.raises(
        PairingError, match=r"dropped 300 rows, and this store of an earlier version does not say which"
    ):
        ss.compare(path, dropped(tmp_path, y, bad), **EXACT)
    shutil.rmtree(short := dropped(tmp_path, x, bad[:100]) / "dropped_rows")
    assert EmbeddingStore(short.parent).source_rows([599]).tolist() == [699]


@pytest.mark.slow
def test_a_store_made_of_stores_counts_what_they_dropped(tmp_path: Path) -> None:
    x, y = structured(700)
    x[300] = 1e5  # beyond float16
    bad = [0, 10, *range(20, 260, 2), 699]
    one, other = dropped(tmp_path, x, bad), dropped(tmp_path, y[:, :1].repeat(x.shape[1], axis=1), [3])
    ingest(one, narrow := tmp_path / "narrow.zarr", dtype="float16", on_bad="drop")
    store = EmbeddingStore(narrow)
    assert store.dropped == len(bad) + 1
    assert store.dropped_rows is not None
    assert store.dropped_rows.tolist() == sorted([*bad, 300])
    assert store.source_rows([0, store.n - 1]).tolist() == [1, 698]
    ingest([one, other], both := tmp_path / "both.zarr")
    joined = EmbeddingStore(both)
    assert joined.dropped_rows is not None
    assert joined.dropped_rows.tolist() == [*bad, 703]
    result = ss.compare(narrow, dropped(tmp_path, y, [5]), **EXACT)
    with np.errstate(over="ignore"):
        half = x.astype(np.float16).astype(np.float64)
    check_modes(result, half, y, np.setdiff1d(np.arange(700), [*bad, 300, 5]).tolist())


@pytest.mark.parametrize("cut", [0, 1, 2, None])
@pytest.mark.slow
def test_appending_and_resuming_drop_rows_as_one_ingest_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int | None
) -> None:
    for module in (layout, beginning, writer):
        monkeypatch.setattr(module, "CHUNK_ROWS", 16)
    monkeypatch.setattr(journal, "NAMED_ROWS", 4)
    monkeypatch.setattr(writer, "NAMED_ROWS", 4)
    x = structured(150)[0]
    bad = [0, 15, 16, 17, *range(30, 60), 89, 90, 91, 148, 149]
    np.save(tmp_path / "all.npy", without(x, bad))
    ingest(tmp_path / "all.npy", tmp_path / "whole", on_bad="drop", name="m")
    for name, part in (("old", slice(0, 90)), ("new", slice(90, 150))):
        np.save(tmp_path / f"{name}.npy", without(x, bad)[part])
    ingest(tmp_path / "old.npy", tmp_path / "grown", on_bad="drop", name="m")
    write, count = draft.Draft.write, itertools.count()

    def fail(self: Any, *arguments: Any) -> int:
        if next(count) == cut:
            raise KeyboardInterrupt
        return write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(draft.Draft, "write", fail)
        if cut is not None:
            with pytest.raises(KeyboardInterrupt):
                ingest(tmp_path / "new.npy", tmp_path / "grown", on_bad="drop", append=True)
    ingest(tmp_path / "new.npy", tmp_path / "grown", on_bad="drop", append=True)
    grown = EmbeddingStore(tmp_path / "grown")
    assert grown.dropped_rows is not None
    assert grown.dropped_rows.tolist() == bad
    files = [path for path in (tmp_path / "whole").rglob("*") if path.is_file() and path.name != "zarr.json"]
    assert any("dropped_rows" in path.parts for path in files)
    for path in files:
        assert path.read_bytes() == (tmp_path / "grown" / path.relative_to(tmp_path / "whole")).read_bytes(), path
    ours, theirs = (store_attributes(tmp_path / name) or {} for name in ("grown", "whole"))
    assert {**ours, "source": []} == {**theirs, "source": []}


def test_a_store_in_an_object_store_knows_them_too(tmp_path: Path, s3: str) -> None:
    a, b = structured(N)
    np.save(tmp_path / "old.npy", without(a, [3])[:40])
    np.save(tmp_path / "new.npy", without(a, [41, 59])[40:])
    ingest(tmp_path / "old.npy", f"{s3}/a.zarr", on_bad="drop")
    before = EmbeddingStore(f"{s3}/a.zarr")
    ingest(tmp_path / "new.npy", f"{s3}/a.zarr", on_bad="drop", append=True)
    assert before.source_rows([3, 38]).tolist() == [4, 39]  # who opened it goes on with its old rows
    result = ss.compare(f"{s3}/a.zarr", b, **EXACT)
    check_modes(result, a, b, np.delete(np.arange(N), [3, 41, 59]))
    parquet(tmp_path / "c.parquet", b[ORDER], {"id": [f"doc-{i}" for i in ORDER]})
    parquet(tmp_path / "d.parquet", a, {"id": [f"doc-{i}" for i in range(N)]})
    for name in "cd":
        ingest(tmp_path / f"{name}.parquet", f"{s3}/{name}.zarr")
    check_modes(ss.compare(f"{s3}/d.zarr", f"{s3}/c.zarr", **EXACT), a, b, np.arange(N))


# --- by position


def test_rows_dropped_on_either_side_do_not_shift_the_others(tmp_path: Path) -> None:
    a, b = structured(N)
    stores = dropped(tmp_path, a, [4]), dropped(tmp_path, b, [50, 51])
    result = ss.compare(*stores, **EXACT, out=tmp_path / "o")
    check_modes(result, a, b, np.delete(np.arange(N), [4, 50, 51]))
    rows = result.summary["rows"]
    assert [rows[name] for name in ("matched_by", "matched", "only_a", "only_b")] == ["position", 57, 2, 1]
    assert rows["left_out"] == {
        "a": {"dropped at ingest": 1, "partner dropped at ingest": 2},
        "b": {"dropped at ingest": 2, "partner dropped at ingest": 1},
    }
    members = result.members()
    assert (members["source_row"] == members["row"] + (members["row"] >= 4)).all()
    assert not set(members["source_row"]) & {4, 50, 51}


@pytest.mark.slow
def test_rows_dropped_alike_leave_the_stores_as_they_are(tmp_path: Path) -> None:
    a, b = structured(N)
    kept = np.delete(np.arange(N), [4, 9])
    result = ss.compare(dropped(tmp_path, a, [4, 9]), dropped(tmp_path, b, [4, 9]), **EXACT)
    plain = ss.compare(a[kept], b[kept], **EXACT)
    np.testing.assert_array_equal(result.scores[:], plain.scores[:])
    assert result.summary["rows"]["matched"] == 58
    assert result.array_if_any("b_rows") is None


@pytest.mark.slow
def test_an_array_beside_a_store_that_dropped_rows(tmp_path: Path) -> None:
    a, b = structured(N)
    store = dropped(tmp_path, a, [0, 7])
    kept = np.delete(np.arange(N), [0, 7])
    check_modes(ss.compare(store, b, **EXACT), a, b, kept)
    swapped = ss.compare(b, store, **{**EXACT, "sigma": (2.0, 3.0)})
    np.testing.assert_allclose(
        swapped.eigenvalues[[2, 0]], -ss.compare(store, b, **EXACT).eigenvalues[[0, 2]], rtol=1e-4
    )
    check_modes(ss.compare(store, da.from_array(b, chunks=17), **EXACT), a, b, kept)
    with pytest.raises(PairingError, match=r"has 58 rows \(2 of 60 dropped at ingest\) and B has 58 rows: rows are"):
        ss.compare(store, b[kept], **EXACT)


@pytest.mark.slow
def test_a_matrix_of_three_stores_with_different_drops(tmp_path: Path) -> None:
    a, b = structured(N)
    c = structured(N, seed=1)[1]
    gone = ([1, 2], [40], [2, 59])
    stores = [dropped(tmp_path, x, bad) for x, bad in zip((a, b, c), gone, strict=True)]
    options: dict[str, Any] = {"sigma": 2.5, "size": 40, "n_modes": 2}
    result = ss.compare_many(stores, **options)
    kept = np.delete(np.arange(N), [1, 2, 40, 59])
    plain = ss.compare_many([x[kept] for x in (a, b, c)], **options)
    assert [one["spec_diff"] for one in result.pairs] == pytest.approx(
        [one["spec_diff"] for one in plain.pairs], rel=1e-5
    )
    rows = result.summary["rows"]
    assert [rows[name] for name in ("matched", "only_a", "only_b")] == [56, 2, 5]


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_and_any_drops_give_the_modes_of_the_common_rows(tmp_path: Path, data: st.DataObject) -> None:
    a, b = structured(N)
    gone = [data.draw(st.lists(st.integers(0, N - 1), max_size=8, unique=True)) for _ in range(2)]
    by_id = data.draw(st.booleans())
    order = np.array(data.draw(st.permutations(range(N)))) if by_id else np.arange(N)
    columns = [{"id": [f"doc-{i}" for i in rows]} if by_id else None for rows in (np.arange(N), order)]
    stores = [
        dropped(tmp_path, a, gone[0], columns[0]),
        dropped(tmp_path, b[order], [int(np.flatnonzero(order == row)[0]) for row in gone[1]], columns[1]),
    ]
    result = ss.compare(*stores, **EXACT)
    check_modes(result, a, b, [row for row in range(N) if row not in gone[0] and row not in gone[1]])


# --- against ids that are there


def both(folder: Path, first: dict[str, Any], second: dict[str, Any], order: NDArray[np.int64]) -> list[Path]:
    """Two Parquet files, the second in another order; the columns are as given."""
    a, b = structured(N)
    number = next(NAMES)
    return [
        parquet(folder / f"a{number}.parquet", a, first),
        parquet(folder / f"b{number}.parquet", b[order], second),
    ]


ORDER = np.random.default_rng(5).permutation(N)


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("id", lambda i: f"doc-{i}"),
        ("ID", lambda i: int(i) + 10**15),
        ("doc_id", lambda i: f"{i:04d}"),
        ("key", lambda i: f"{i}".encode() + b"\xff"),
    ],
)
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.slow
def test_a_shared_column_in_another_order_is_what_rows_are_paired_by(
    tmp_path: Path, name: str, of: Callable[[int], Any], stored: bool
) -> None:
    inputs = both(tmp_path, {name: [of(i) for i in range(N)]}, {name: [of(i) for i in ORDER]}, ORDER)
    if stored:
        for path in inputs:
            ingest(path, path.with_suffix(".zarr"))
        inputs = [path.with_suffix(".zarr") for path in inputs]
    result = ss.compare(*map(str, inputs), **EXACT, out=tmp_path / "o")
    check_modes(result, *structured(N), np.arange(N))
    rows = result.summary["rows"]
    assert [rows[key] for key in ("matched_by", "matched", "column", "confirmed_by")] == ["id", N, name, None]
    ids = result.members()[["row", "id"]].to_numpy().tolist()
    assert ids
    assert all(one == of(row) for row, one in ids)


def test_integer_and_text_ids_and_other_names_of_id_meet(tmp_path: Path) -> None:
    inputs = both(tmp_path, {"id": list(range(N))}, {"Id": [str(i) for i in ORDER]}, ORDER)
    result = ss.compare(*map(str, inputs), **EXACT)
    check_modes(result, *structured(N), np.arange(N))
    assert result.summary["rows"]["column"] == "id = Id"


@pytest.mark.slow
def test_columns_that_agree_with_the_positions_confirm_them(tmp_path: Path) -> None:
    same, a_b = np.arange(N), structured(N)
    texts, labels = [f"text {i}" for i in range(N)], ["x", "y"] * (N // 2)
    inputs = both(tmp_path, {"text": texts, "label": labels}, {"text": texts, "label": labels[::-1]}, same)
    result = ss.compare(*map(str, inputs), **EXACT)
    plain = ss.compare(*a_b, **EXACT)
    np.testing.assert_array_equal(result.scores[:], plain.scores[:])
    assert result.summary["rows"]["matched_by"] == "position"
    assert result.summary["rows"]["confirmed_by"] == "text"
    edited = ["an edited text", *texts[1:]]
    inputs = both(tmp_path, {"text": texts}, {"text": edited}, same)
    result = ss.compare(*map(str, inputs), **EXACT)
    assert [result.summary["rows"][key] for key in ("matched_by", "matched")] == ["position", N]
    counter = list(range(N))
    inputs = both(tmp_path, {"index": counter}, {"index": counter}, same)
    assert ss.compare(*map(str, inputs), **EXACT).summary["rows"]["confirmed_by"] is None


@pytest.mark.slow
def test_columns_that_contradict_one_another_are_a_question(tmp_path: Path) -> None:
    counter, names = list(range(N)), [f"doc-{i}" for i in range(N)]
    moved = [f"doc-{i}" for i in ORDER]
    other = [f"doc-{i}" for i in ORDER[::-1]]
    for first, second, said in (
        ({"index": counter, "name": names}, {"index": counter, "name": moved}, r"columns name and index say different"),
        ({"id": names, "name": names}, {"id": moved, "name": other}, r"columns id and name say different things"),
        ({"id": names, "name": names}, {"id": moved, "name": names}, r"columns id and name say different things"),
        ({"id": [*names[:-1], "doc-0"]}, {"id": [*moved[:-1], "doc-0"]}, r"column id holds other values at the same"),
        ({"id": names}, {"id": [i.upper() for i in moved]}, r"column id holds .* \(they differ in letter case\)"),
    ):
        with pytest.raises(PairingError, match=said) as error:
            ss.compare(*map(str, both(tmp_path, first, second, ORDER)), **EXACT)
        assert "\n" not in str(error.value)
        assert "row 0 is 'doc-0' in" in str(error.value)
        assert "ingest with --id COLUMN, or say how with --match id or --match position" in str(error.value)
    inputs = both(tmp_path, {"index": counter, "id": names}, {"index": counter, "id": moved}, ORDER)
    check_modes(ss.compare(*map(str, inputs), **EXACT), *structured(N), np.arange(N))  # id is what it is called
    inputs = both(tmp_path, {"index": counter, "name": names}, {"index": counter, "name": moved}, ORDER)
    by_position = ss.compare(*map(str, inputs), match="position", **EXACT)
    check_modes(by_position, structured(N)[0], structured(N)[1][ORDER], np.arange(N))


@pytest.mark.slow
def test_whole_numbers_that_are_not_called_id_are_a_question(tmp_path: Path) -> None:
    same, labels = np.arange(N), ["x", "y"] * (N // 2)
    ranks = [[int(i) for i in np.random.default_rng(seed).permutation(N)] for seed in (1, 2)]
    inputs = both(tmp_path, *({"rank": one, "label": labels} for one in ranks), same)
    with pytest.raises(PairingError, match=r"column rank holds the same whole numbers on both sides, in another order"):
        ss.compare(*map(str, inputs), **EXACT)
    check_modes(ss.compare(*map(str, inputs), match="position", **EXACT), *structured(N), same)


@pytest.mark.parametrize("name", ["index", "id", "Unnamed: 0"])
@pytest.mark.parametrize("begin", [0, 1])
@pytest.mark.slow
def test_counters_pair_no_rows_of_sources_of_other_lengths(tmp_path: Path, name: str, begin: int) -> None:
    a, b = structured(N)
    counted = [
        parquet(tmp_path / f"{number}.parquet", x, {name: list(range(begin, begin + len(x)))})
        for number, x in enumerate((a, np.delete(b, [3, 40, 41], axis=0)))
    ]
    with pytest.raises(PairingError, match=r"rows are paired by position only when the counts are equal"):
        ss.compare(*map(str, counted), **EXACT)


@pytest.mark.slow
def test_values_that_tell_nothing_apart_confirm_nothing(tmp_path: Path) -> None:
    same, documents = np.arange(N), [f"doc-{i // 10}" for i in range(N)]
    for column in ({"id": ["one"] * N}, {"id": documents}):
        rows = ss.compare(*map(str, both(tmp_path, column, column, same)), **EXACT).summary["rows"]
        assert [rows[key] for key in ("matched_by", "confirmed_by")] == ["position", None]


def test_a_missing_value_does_not_silence_a_column(tmp_path: Path) -> None:
    paths: list[Any] = [f"{i}.jpg" for i in range(N)]
    paths[5] = None
    floats = [float("nan"), *map(float, range(1, N))]
    for name, values in (("path", paths), ("id", floats)):
        moved = [values[i] for i in ORDER]
        with pytest.raises(PairingError, match=rf"column {name} holds other values .*\(some rows have no value\)"):
            ss.compare(*map(str, both(tmp_path, {name: values}, {name: moved}, ORDER)), **EXACT)
    halves = [i + 0.5 for i in range(N)]
    moved = [halves[i] for i in ORDER]
    with pytest.raises(PairingError, match=r"column id: double values do not tell rows apart: ingest with --id COLUMN"):
        ss.compare(*map(str, both(tmp_path, {"id": halves}, {"id": moved}, ORDER)), **EXACT)


@pytest.mark.slow
def test_keys_that_are_written_in_two_ways_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths, others = [f"img/{i}.jpg" for i in range(N)], [f"{i}.jpg" for i in ORDER]
    with pytest.raises(PairingError, match=r"column path tells rows apart, and only 0 of .* the folders before a file"):
        ss.compare(*map(str, both(tmp_path, {"path": paths}, {"path": others}, ORDER)), **EXACT)
    words = [[f"{model} says {i * 7919 % 1000}" for i in range(N)] for model in ("one", "two")]
    rows = ss.compare(
        *map(str, both(tmp_path, {"note": words[0]}, {"note": [one[::-1] for one in words[1]]}, np.arange(N))), **EXACT
    ).summary["rows"]
    assert [rows[key] for key in ("matched_by", "unlike")] == ["position", ["note"]]
    inputs = both(tmp_path, {"id": paths}, {"note": words[0]}, np.arange(N))
    result = ss.compare(*map(str, inputs), **EXACT)
    assert result.summary["rows"]["id_of"] == [result.summary["inputs"]["a"]["name"]]
    print_pairing(result.record)
    assert f"(only {result.summary['inputs']['a']['name']} has a column id)" in capsys.readouterr().out


def test_a_column_with_a_few_equal_values_says_what_the_ids_say(tmp_path: Path) -> None:
    names, texts = [f"doc-{i}" for i in range(N)], ["a text", "a text", *(f"text {i}" for i in range(2, N))]
    first, second = {"id": names, "text": texts}, {"id": [names[i] for i in ORDER], "text": [texts[i] for i in ORDER]}
    result = ss.compare(*map(str, both(tmp_path, first, second, ORDER)), **EXACT)
    check_modes(result, *structured(N), np.arange(N))
    with pytest.raises(
        PairingError, match=r"column text holds other values at the same positions, and the rows cannot"
    ):
        ss.compare(*map(str, both(tmp_path, {"text": texts}, {"text": second["text"]}, ORDER)), **EXACT)


@pytest.mark.slow
def test_match_id_takes_the_shared_column(tmp_path: Path) -> None:
    names = [f"doc-{i}" for i in range(N)]
    inputs = both(tmp_path, {"name": names}, {"name": [names[i] for i in ORDER]}, ORDER)
    result = ss.compare(*map(str, inputs), match="id", **EXACT)
    check_modes(result, *structured(N), np.arange(N))
    with pytest.raises(PairingError, match=r"has no ids to match by: ingest it with --id COLUMN"):
        ss.compare(*structured(N), match="id", **EXACT)
    ingest(inputs[0], tmp_path / "a.zarr", id_column="name")
    with pytest.raises(PairingError, match=r"has ids and \S+ has none, though its column name may hold them"):
        ss.compare(tmp_path / "a.zarr", str(inputs[1]), **EXACT)
    check_modes(ss.compare(tmp_path / "a.zarr", str(inputs[1]), match="id", **EXACT), *structured(N), np.arange(N))


# --- few matches


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda i: f"{i}.0", "numbers written as 1.0 on one side"),
        (lambda i: f"{i:05d}", "zeros before numbers"),
        (lambda i: f" {i}", "blanks around them"),
        (lambda i: f'"{i}"', "quotes around them"),
        (lambda i: f"doc-{i}", "a beginning or an end that all ids of one side share"),
        (lambda i: f"data/{i}", "the folders before a file name"),
        (lambda i: f"{i}.jpg", "the extension of a file name"),
        (
            lambda i: f"data/{i:05d}.JPG",
            "zeros before numbers, the folders before a file name and the extension of a file",
        ),
        (lambda i: f"{i + 1000}", None),
    ],
)
@pytest.mark.slow
def test_few_matches_are_an_error_that_says_why(
    make_store: MakeStore, change: Callable[[int], str], reason: str | None
) -> None:
    a, b = structured(N)
    first = make_store("a", a, ids=[str(i) for i in range(N)])
    second = make_store("b", b, ids=[change(i) for i in range(N)])
    with pytest.raises(PairingError) as error:
        ss.compare(first, second, **EXACT)
    said = str(error.value)
    assert f"'0', '1', '2', …) is among those of {second} (column key: {change(0)!r}, {change(1)!r}" in said
    assert (f"they differ in {reason}" if reason else "check the columns given with --id") in said
    assert "\n" not in said


def test_so_few_may_be_accepted(make_store: MakeStore) -> None:
    a, b = structured(N)
    ids = [str(i) for i in range(N)]
    first = make_store("a", a, ids=ids)
    second = make_store("b", b, ids=[*ids[:20], *(f"\x1b[2J{i}" for i in range(20, N))])
    with pytest.raises(
        PairingError, match=r"only 20 of 60 ids are in both, of .*accept so few with --min-matched 0\.333"
    ):
        ss.compare(first, second, **EXACT)
    check_modes(ss.compare(first, second, min_matched=0.333, **EXACT), a, b, np.arange(20))


# --- what is said


@pytest.mark.slow
def test_every_command_says_how_rows_were_paired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    a, b = structured(N)
    names = [f"doc-{i}" for i in range(N)]
    parquet(Path("minilm.parquet"), without(a, [3]), {"doc_id": names})
    parquet(Path("lsa.parquet"), b[ORDER], {"doc_id": [*(names[i] for i in ORDER[:-1]), "another"]})
    for name in ("minilm", "lsa"):
        ingest(f"{name}.parquet", f"{name}.zarr", on_bad="drop", id_column="doc_id")
    options = ("--size", 20, "--sigma-a", 3, "--sigma-b", 2, "--certify", 0)
    assert command(monkeypatch, "compare", "minilm.zarr", "lsa.zarr", "-o", "o.spec", *options) == 0
    line = (
        "rows paired by id (doc_id): 58 matched; left out: 1 of minilm (dropped at ingest), 1 of minilm (no partner), "
        "2 of lsa\n  (no partner)\n"
    )
    assert capsys.readouterr().out.startswith(line)
    assert command(monkeypatch, "matrix", "minilm.zarr", "lsa.zarr", "-o", "all", "--size", 20) == 0
    assert line in capsys.readouterr().out
    assert command(monkeypatch, "compare", "minilm.zarr", "lsa.zarr", "--update", "o.spec") == 0
    assert "nothing is new: o.spec compares all rows of minilm.zarr and lsa.zarr" in capsys.readouterr().out
    assert command(monkeypatch, "compare", "minilm.zarr", "lsa.zarr", "-o", "q.spec", "--quiet", *options) == 0
    assert "paired" not in capsys.readouterr().out
    a[5] = 0
    np.save("a.npy", a)
    np.save("b.npy", b)
    extra = ("--normalize", "unit", "--on-bad", "drop", "--sample", 50, "--size", 20, "--certify", 0)
    assert command(monkeypatch, "compare", "a.npy", "b.npy", "-o", "s.spec", *extra) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "rows paired by position: 60 matched; left out: 1 of a (no usable vector), 9 (not in the sample)\n"
    )


def test_a_bad_row_is_named_by_its_number_in_the_source(tmp_path: Path) -> None:
    a, b = structured(N)
    a[30] = 0
    store = dropped(tmp_path, a, [2, 5])
    with pytest.raises(ss.SpecscaleError, match=r"row 30 of its source \(row 28 of the store\) is of zero norm"):
        ss.compare(store, b, kernel="cosine", certify=0)
    with pytest.raises(ss.SpecscaleError, match=r"row 30 of its source \(row 28 of the store\) is of zero norm"):
        ss.compare(b, store, kernel="cosine", certify=0)


@pytest.mark.slow
def test_repeated_rows_are_named_by_their_numbers_in_the_source(tmp_path: Path) -> None:
    a, b = structured(400)
    b[[7, 350]] = b[300]
    result = ss.compare(dropped(tmp_path, a, [0, 320]), dropped(tmp_path, b, [2]), **EXACT)
    assert "2 rows repeat another row (largest group 3, rows 7, 300, 350)" in result.summary["choice"]
    assert result.summary["duplicates"][1]["example"] == [6, 299, 348]


@pytest.mark.slow
def test_rows_at_the_end_that_are_all_zero_are_told(tmp_path: Path) -> None:
    a, b = structured(N)
    b[N - 30 :] = 0
    result = ss.compare(a, b, **EXACT)
    assert any("the last 30 rows are all zero: was it written to its end?" in one for one in result.summary["warnings"])
    assert result.summary["duplicates"][1]["zeros"] == 30
    b[N - 1] = 1
    assert ss.compare(a, b, **EXACT).summary["duplicates"][1]["zeros"] == 0


def test_a_column_that_is_no_key_further_down_is_no_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropped_module, "CHUNK_ROWS", 16)
    prices = [float(i) for i in ORDER]
    prices[-1] = 0.5
    inputs = both(tmp_path, {"price": prices}, {"price": prices[::-1]}, np.arange(N))
    assert ss.compare(*map(str, inputs), **EXACT).summary["rows"]["matched_by"] == "position"
