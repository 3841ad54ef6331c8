"""Which columns of a table are the vector, which ride along, and that both are said."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specscale.embeddings.store import EmbeddingStore
from specscale.errors import InputError, OptionError
from specscale.sources import open_source
from specscale.stores.ingest import IngestReport, ingest

N = 20
VALUES = np.random.default_rng(0).normal(size=(N, 12)).astype("f4")
PRICE = np.arange(N) * 100.0
Cli = Callable[..., CompletedProcess[str]]


def wide(names: list[str], values: np.ndarray = VALUES) -> dict[str, Any]:
    return {name: values[:, index] for index, name in enumerate(names)}


def write(path: str, **columns: Any) -> None:
    pq.write_table(pa.table(columns), path)


def stored(*sources: str, **options: Any) -> tuple[IngestReport, np.ndarray]:
    report = ingest(list(sources), "s.zarr", overwrite=True, **options)
    return report, EmbeddingStore("s.zarr").read(0, report.n)


def refused(*sources: str, error: type[Exception] = InputError, **options: Any) -> str:
    with pytest.raises(error) as caught:
        stored(*sources, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        [str(j) for j in range(12)],
        [f"x{j}" for j in range(12)],
        [f"dim_{j:03d}" for j in range(12)],
        [f"emb_{j}" for j in range(1, 13)],
        [f"('emb', {j})" for j in range(12)],
        [f"v[{j}]" for j in range(12)],
        [f"clip.{j}" for j in range(12)],
    ],
    ids=lambda names: names[0],
)
@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.slow
def test_one_pattern_of_names_is_the_vector_in_the_order_of_its_numbers(
    here: Path, names: list[str], seed: int | None
) -> None:
    columns = {"sku": [f"s{i}" for i in range(N)], **wide(names), "price": PRICE, "score2": PRICE, "n": range(N)}
    order = list(columns)
    if seed is not None:
        np.random.default_rng(seed).shuffle(order)
    write("a.parquet", **{name: columns[name] for name in order})
    report, rows = stored("a.parquet")
    assert report.vectors == tuple(names)
    assert set(report.columns) == {"sku", "price", "score2", "n"}
    assert report.left_out == ()
    np.testing.assert_array_equal(rows, VALUES)
    table = EmbeddingStore("s.zarr").rows([3], ["price", "score2"])
    assert table is not None
    assert table.to_pylist() == [{"price": 300.0, "score2": 300.0}]


def test_columns_without_a_pattern_are_not_dimensions(here: Path) -> None:
    write("a.parquet", sepal=PRICE, petal=PRICE, name=["x"] * N)
    message = refused("a.parquet")
    assert "a.parquet: no column holds vectors" in message
    assert "sepal, petal" in message
    assert message.endswith("as in --vector sepal,petal")
    report, rows = stored("a.parquet", vector="sepal,petal")
    assert report.vectors == ("sepal", "petal")
    np.testing.assert_array_equal(rows, np.stack([PRICE, PRICE], axis=1))


@pytest.mark.parametrize(
    ("columns", "needles"),
    [
        (wide(["x0", "x1", "x2", "y0", "y1"]), ["several patterns", "3 columns x0, x1, x2", "2 columns y0, y1"]),
        (wide(["x0", "x1", "x2", "x3", "x5"]), ["nothing between x3 and x5"]),
        (wide(["x0", "x1", "x2", "x3", "x5"]) | {"lat1": PRICE, "lat2": PRICE}, ["nothing between x3 and x5"]),
        (wide(["x0", "x1", "x01", "x2"]), ["x01 and x1 have one number"]),
        (wide(["x0", "x1", "x3"]) | {"x2": range(N)}, ["column x2", "int64", "convert it to float32"]),
        (wide(["x0", "x1", "x2"]) | {"x3": range(N)}, ["column x3", "int64", "convert it to float32"]),
        (wide(["x0", "x1", "x2"]) | {"x3": pa.nulls(N)}, ["column x3", "null", "convert it to float32"]),
    ],
    ids=[
        "two patterns",
        "gap",
        "gap beside a small pattern",
        "one number twice",
        "integers",
        "integers at the end",
        "nulls",
    ],
)
def test_what_is_not_clear_is_asked_and_the_example_works(
    here: Path, columns: dict[str, Any], needles: list[str]
) -> None:
    write("a.parquet", **columns)
    message = refused("a.parquet")
    assert all(needle in message for needle in ["a.parquet", *needles]), message
    (vector,) = shlex.split(message.rpartition("--vector ")[2])
    report, rows = stored("a.parquet", vector=vector)
    assert len(report.vectors) >= 3
    np.testing.assert_array_equal(rows, np.stack([columns[name] for name in report.vectors], axis=1))


def test_a_list_beside_more_columns_than_it_has_dimensions_is_asked_for(here: Path) -> None:
    boxes = [[0.0, 0.0, 1.0, 1.0]] * N
    write("a.parquet", bbox=boxes, **wide([f"e{j}" for j in range(12)]))
    message = refused("a.parquet")
    assert "column bbox of 4 dimensions or 12 columns e0 … e11" in message
    assert stored("a.parquet", vector="e0..e11")[0].vectors == tuple(f"e{j}" for j in range(12))
    write("b.parquet", emb=list(VALUES), umap_0=PRICE, umap_1=PRICE)
    report, rows = stored("b.parquet")
    assert report.vectors == ("emb",)
    assert report.columns == ("umap_0", "umap_1")
    np.testing.assert_array_equal(rows, VALUES)


NAMES = [f"x{j}" for j in range(10)]


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ("x0..x9", NAMES),
        ("x3..x1", ["x3", "x2", "x1"]),
        ("x[0-3]", NAMES[:4]),
        ("x*", NAMES),
        ("x9,x0", ["x9", "x0"]),
        ("x7..x9, x0..x1,x5", ["x7", "x8", "x9", "x0", "x1", "x5"]),
        ("x9,x[01]", ["x9", "x0", "x1"]),
        ("w,0", ["w,0"]),
        ("x1,w,0,v[0]", ["x1", "w,0", "v[0]"]),
        ("v[0]", ["v[0]"]),
    ],
)
@pytest.mark.slow
def test_vector_takes_names_globs_and_ranges(here: Path, vector: str, expected: list[str]) -> None:
    columns = wide([*NAMES, "w,0", "v[0]"])
    write("a.parquet", **{name: columns[name] for name in reversed(columns)})
    report, rows = stored("a.parquet", vector=vector)
    assert list(report.vectors) == expected
    np.testing.assert_array_equal(rows, np.stack([columns[name] for name in expected], axis=1))


@pytest.mark.parametrize(
    ("vector", "needles"),
    [
        ("x0,x1,x0", ["x0 twice"]),
        ("x*,x0..x2", ["x0, x1, x2 twice"]),
        ("x0..x12", ["no column x0..x12"]),
        ("x0..y3", ["no column x0..y3"]),
        ("x0,nothing,y*", ["no column nothing, y*"]),
        ("x0,label", ["column label holds string"]),
        ("x0,count", ["column count holds int64", "convert it to float32"]),
        ("", ["no column"]),
    ],
)
def test_vector_names_what_it_does_not_find(here: Path, vector: str, needles: list[str]) -> None:
    write("a.parquet", **wide(NAMES), label=["x"] * N, count=range(N))
    message = refused("a.parquet", vector=vector)
    assert all(needle in message for needle in ["a.parquet", *needles]), message


@given(
    numbers=st.lists(st.integers(0, 30), min_size=2, max_size=8, unique=True),
    data=st.data(),
)
def test_a_range_is_the_columns_of_its_numbers(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], data: st.DataObject
) -> None:
    low, high = min(numbers), max(numbers)
    names = data.draw(st.permutations([f"d{number:02d}" for number in range(low, high + 1)]))
    path = str(tmp_path_factory.mktemp("range") / "a.parquet")
    write(path, **{name: np.full(2, int(name[1:]), "f4") for name in names})
    source = open_source([path], vector=f"d{low:02d}..d{high:02d}")
    (batch,) = source.batches()
    np.testing.assert_array_equal(batch.vectors[0], range(low, high + 1))


TYPES = {
    "list": pa.list_(pa.float32()),
    "large": pa.large_list(pa.float32()),
    "fixed": pa.list_(pa.float32(), 12),
    "view": pa.list_view(pa.float32()),
    "large view": pa.large_list_view(pa.float32()),
    "tensor": pa.fixed_shape_tensor(pa.float32(), (12,)),
    "tensor of one row": pa.fixed_shape_tensor(pa.float32(), (1, 12)),
}


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_of_list_is_a_vector(here: Path, kind: str) -> None:
    rows = [None if i == 4 else row.tolist() for i, row in enumerate(VALUES)]
    if isinstance(TYPES[kind], pa.BaseExtensionType):
        column = pa.ExtensionArray.from_storage(TYPES[kind], pa.array(rows, TYPES[kind].storage_type))
    else:
        column = pa.array(rows, TYPES[kind])
    pq.write_table(pa.table({"emb": column, "i": range(N)}), "a.parquet", row_group_size=7)
    report, kept = stored("a.parquet", on_bad="drop")
    assert (report.vectors, report.dropped_places) == (("emb",), ("a.parquet, row 4",))
    np.testing.assert_array_equal(kept, np.delete(VALUES, 4, axis=0))


def test_tensors_of_more_dimensions_are_no_vectors(here: Path) -> None:
    column = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), (3, 4)), pa.array(VALUES.tolist(), pa.list_(pa.float32(), 12))
    )
    write("a.parquet", emb=column)
    assert "emb" in refused("a.parquet")
    assert "tensors of shape (3, 4)" in refused("a.parquet")
    assert "one list of floats a row" in refused("a.parquet", vector="emb")


def test_vectors_as_text_or_bytes_are_converted_as_the_message_says(here: Path) -> None:
    write("a.parquet", text=[json.dumps(row.tolist()) for row in VALUES], raw=[row.tobytes() for row in VALUES])
    for name in ("text", "raw"):
        message = refused("a.parquet", vector=name)
        code = message.partition("become lists with ")[2].partition("; or")[0]
        column = pq.read_table("a.parquet").column(name)
        write("b.parquet", emb=eval(code, {"json": json, "numpy": np, "column": column}))
        np.testing.assert_array_equal(stored("b.parquet")[1], VALUES)


def test_matrices_are_no_vectors(here: Path) -> None:
    write("a.parquet", tokens=[[1, 2]] * N, emb=[[row.tolist()] for row in VALUES])
    assert "emb (list<element: list<element: double>>) holds matrices" in refused("a.parquet")


@pytest.mark.parametrize("vector", [None, "emb"])
def test_lists_of_integers_are_refused_with_the_conversion(here: Path, vector: str | None) -> None:
    codes = np.round(VALUES * 30).astype("i1")
    for kind, unpack in (
        ("int8", "unpackbits((codes.astype('i2') + 128)"),
        ("uint8", "unpackbits(codes"),
        ("int64", ""),
    ):
        column = pa.array(codes.astype("u1" if kind == "uint8" else kind).tolist(), pa.list_(getattr(pa, kind)()))
        write("a.parquet", emb=column)
        message = refused("a.parquet", vector=vector)
        assert f"lists of integers ({kind})" in message
        assert "column.cast(pyarrow.list_(pyarrow.float32()))" in message
        assert unpack in message
        assert ("unpackbits" in message) == bool(unpack)
    write("a.parquet", emb=pa.array(codes.tolist(), pa.list_(pa.int8())).cast(pa.list_(pa.float32())))
    np.testing.assert_array_equal(stored("a.parquet")[1], codes)


def test_packed_bits_are_unpacked_as_the_message_says(here: Path) -> None:
    bits = VALUES[:, :8] > 0
    packed = np.packbits(bits, axis=1)
    signed = (packed.astype("i2") - 128).astype("i1")  # as encoders write them
    np.testing.assert_array_equal(np.unpackbits(packed, axis=1), bits)
    np.testing.assert_array_equal(np.unpackbits((signed.astype("i2") + 128).astype("u1"), axis=1), bits)


def table(path: str) -> None:
    write(
        path,
        id=[f"{path}{i}" for i in range(N)],
        emb=list(VALUES),
        tags=[["a"]] * N,
        meta=[{"k": 1}] * N,
        text=["t"] * N,
        label=["l"] * N,
        label_2=["m"] * N,
    )


@pytest.mark.parametrize(
    ("columns", "riding"),
    [
        (None, ["id", "text", "label", "label_2"]),
        ("none", []),
        ("text", ["text"]),
        ("label*", ["label", "label_2"]),
        ("label_2,text", ["text", "label_2"]),
        ("tags,meta", ["tags", "meta"]),
        ("*", ["id", "tags", "meta", "text", "label", "label_2"]),
        (["label_2", "text"], ["text", "label_2"]),
        ([], []),
    ],
)
@pytest.mark.parametrize("by_id", [False, True])
@pytest.mark.slow
def test_columns_choose_what_rides_along(
    here: Path, columns: str | list[str] | None, riding: list[str], by_id: bool
) -> None:
    table("a.parquet")
    report, _ = stored("a.parquet", columns=columns, id_column="id" if by_id else None)
    expected = ["id", *riding] if by_id and "id" not in riding else riding
    assert list(report.columns) == expected
    assert set(report.left_out) == {"id", "tags", "meta", "text", "label", "label_2"} - {*expected}
    store = EmbeddingStore("s.zarr")
    assert list(store.columns) == expected
    if expected:
        rows = store.rows([2])
        assert rows is not None
        values = {"id": "a.parquet2", "tags": ["a"], "meta": {"k": 1}, "text": "t", "label": "l", "label_2": "m"}
        assert rows.to_pylist() == [{name: values[name] for name in expected}]


def test_columns_of_metadata_are_chosen_too(here: Path) -> None:
    np.save("a.npy", VALUES)
    Path("m.csv").write_text("id,text,label\n" + "".join(f"{i},t{i},l\n" for i in range(N)))
    report, _ = stored("a.npy", metadata="m.csv", columns="label", id_column="id")
    assert (report.columns, report.left_out, report.vectors) == (("id", "label"), ("text",), ())
    message = refused("a.npy", metadata="m.csv", columns="label,colour")
    assert message == "--columns label,colour: no column colour; there are id, text, label"


def test_columns_of_a_store_are_chosen_too(here: Path) -> None:
    table("a.parquet")
    ingest("a.parquet", "from.zarr")
    report, rows = stored("from.zarr", columns="label", id_column="id")
    assert (report.columns, report.left_out) == (("id", "label"), ("text", "label_2"))
    np.testing.assert_array_equal(rows, VALUES)


@pytest.mark.parametrize(
    ("columns", "riding"),
    [
        (None, ["id", "text", "label", "label_2", "year"]),
        ("tags,year", ["tags", "year"]),
        ("meta", ["meta"]),
        ("none", []),
    ],
)
def test_columns_of_partitions_are_chosen_too(here: Path, columns: str | None, riding: list[str]) -> None:
    for year in ("2023", "2024"):
        Path(f"set/year={year}").mkdir(parents=True)
        table(f"set/year={year}/0.parquet")
    report, rows = stored("set", columns=columns)
    assert (list(report.columns), report.vectors) == (riding, ("emb",))
    np.testing.assert_array_equal(rows, np.tile(VALUES, (2, 1)))
    found = EmbeddingStore("s.zarr").rows([N])
    assert (found.column_names if found is not None else []) == riding
    if "year" in riding:
        assert found is not None
        assert found.column("year").to_pylist() == ["2024"]


def test_columns_that_do_not_exist(here: Path) -> None:
    table("a.parquet")
    assert "no column colour; there are id, tags, meta" in refused("a.parquet", columns="colour")
    assert "emb is part of the vectors" in refused("a.parquet", columns="emb,text")


def test_a_column_that_is_left_out_cannot_conflict(here: Path) -> None:
    write("1.parquet", emb=list(VALUES), a=["x"] * N, b=range(N))
    write("2.parquet", emb=list(VALUES), a=range(N), b=range(N))
    assert "2.parquet: column a holds int64" in refused("1.parquet", "2.parquet")
    report, _ = stored("1.parquet", "2.parquet", columns="b")
    assert (report.columns, report.left_out) == (("b",), ("a",))


def test_shards_of_other_vectors_do_not_go_together(here: Path) -> None:
    write("1.parquet", clip=list(VALUES))
    write("2.parquet", dino=list(VALUES))
    message = refused("1.parquet", "2.parquet")
    assert "2.parquet: its vectors are in column dino, those of 1.parquet in column clip" in message


def test_wide_shards_are_read_by_name(here: Path) -> None:
    columns = wide(NAMES)
    write("1.parquet", **columns)
    write("2.parquet", **{name: columns[name] for name in reversed(NAMES)})
    np.testing.assert_array_equal(stored("1.parquet", "2.parquet")[1], np.tile(VALUES[:, :10], (2, 1)))


def test_appended_rows_take_the_dimensions_of_the_store(here: Path) -> None:
    columns = wide(["z", "x", "y"])
    write("1.parquet", **columns)
    ingest("1.parquet", "s.zarr", vector="z,x,y")
    write("2.parquet", **{name: columns[name] + 1 for name in ("x", "y", "z")})
    report = ingest("2.parquet", "s.zarr", append=True)
    assert report.vectors == ("z", "x", "y")
    expected = np.concatenate([VALUES[:, :3], VALUES[:, :3] + 1])
    np.testing.assert_array_equal(EmbeddingStore("s.zarr").read(0, 2 * N), expected)
    with pytest.raises(OptionError, match="its dimensions in the order z, x, y; leave --vector out"):
        ingest("2.parquet", "s.zarr", append=True, vector="x,y,z")
    np.save("3.npy", VALUES[:, :3] + 2)
    assert ingest("3.npy", "s.zarr", append=True).n == 3 * N


def test_appended_rows_with_more_columns_are_chosen_from(here: Path) -> None:
    write("1.parquet", emb=list(VALUES), label=["l"] * N)
    ingest("1.parquet", "s.zarr")
    write("2.parquet", emb=list(VALUES + 1), label=["l"] * N, extra=["e"] * N)
    with pytest.raises(InputError, match="no column extra; remove it, leave it out with --columns"):
        ingest("2.parquet", "s.zarr", append=True)
    assert ingest("2.parquet", "s.zarr", append=True, columns="label").columns == ("label",)


def test_another_choice_does_not_continue_interrupted_work(here: Path) -> None:
    table("a.parquet")

    def stop(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest("a.parquet", "s.zarr", columns="text", progress=stop)
    assert ingest("a.parquet", "s.zarr", columns="label").columns == ("label",)


def test_the_command_says_what_was_taken(here: Path, run_cli: Cli) -> None:
    write("a.parquet", sku=["s"] * N, **wide([str(j) for j in range(12)]), price=PRICE, tags=[["a"]] * N)
    done = run_cli("ingest", "a.parquet", "s.zarr")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [
        "vectors: 12 columns 0 … 11",
        "columns: sku, price",
        "left out: tags; --columns takes them along",
    ]
    done = run_cli("ingest", "a.parquet", "t.zarr", "--vector", "0..3", "--columns", "price,tags", "--json")
    report = json.loads(done.stdout)
    assert report["vectors"] == ["0", "1", "2", "3"]
    assert report["columns"] == ["price", "tags"]
    assert report["left_out"] == ["sku", *(str(j) for j in range(4, 12))]
    table("b.parquet")
    done = run_cli("ingest", "b.parquet", "u.zarr", "--columns", "none")
    assert done.stdout.splitlines()[1:] == [
        "vectors: column emb",
        "columns: none",
        "left out: id, tags, meta, text, label, label_2",
    ]


@pytest.mark.parametrize(
    "kept",
    [
        pa.array([[1, 2, 3, 4, 5, 6]] * 4, pa.list_(pa.int8())),
        pa.array(["[0.1, 0.2, 0.3]"] * 4),
        pa.array([b"\0" * 12] * 4),
    ],
    ids=["codes", "text", "bytes"],
)
def test_what_is_called_embedding_is_not_passed_over(tmp_path: Path, kept: pa.Array) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"embedding": kept, "bbox": pa.array([[0.0, 1.0]] * 4, pa.list_(pa.float32()))}), path)
    with pytest.raises(InputError, match=r"column embedding is called as vectors are and holds .*--vector"):
        ingest(path, tmp_path / "x.zarr")
    assert ingest(path, tmp_path / "x.zarr", vector="bbox").p == 2


def test_an_empty_list_is_no_vector(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"v": pa.array([[0.0, 1.0], [], [2.0, 3.0]], pa.list_(pa.float32()))}), path)
    with pytest.raises(InputError, match=r"x.parquet, row 1, column v\[0\]: null; drop such rows"):
        ingest(path, tmp_path / "x.zarr")
    assert ingest(path, tmp_path / "x.zarr", on_bad="drop").n == 2


def test_several_lists_are_one_too_many(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    lists = pa.array([[0.0, 1.0]] * 3, pa.list_(pa.float32()))
    pq.write_table(pa.table({"emb_img": lists, "emb_txt": lists}), path)
    with pytest.raises(InputError, match=r"names emb_img, emb_txt, which hold whole vectors; choose one"):
        ingest(path, tmp_path / "x.zarr", vector="emb_*")
