"""Columns of every type that Arrow has, however the files pack them, reach the store as they are or are named."""

from __future__ import annotations

import datetime
import itertools
import json
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specscale.embeddings.store import EmbeddingStore
from specscale.errors import InputError
from specscale.stores.ingest import ingest
from specscale.tables.types import plain_array, plain_type

UUIDS = [uuid.UUID(int=i + 1) for i in range(3)]


SEEDS = itertools.count()


def vectors(n: int) -> pa.Array:
    """Vectors that no other file has."""
    values = np.random.default_rng(next(SEEDS)).normal(size=(n, 2)).astype("f4")
    return pa.array(values.tolist(), pa.list_(pa.float32()))


def write(path: str, *, beside: bool = False, **columns: Any) -> str:
    """A Parquet file of columns; beside vectors unless it is to lie `beside` them."""
    n = len(next(iter(columns.values())))
    pq.write_table(pa.table(columns if beside else {**columns, "emb": vectors(n)}), path)
    return path


def rows_of(store: str = "s.zarr") -> pa.Table:
    opened = EmbeddingStore(store)
    table = opened.rows(range(opened.n))
    assert table is not None
    return table


def read_back(*sources: str, **options: Any) -> pa.Table:
    ingest(list(sources), "s.zarr", overwrite=True, **options)
    return rows_of()


def refused(*sources: str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        ingest(list(sources), "bad.zarr", **options)
    assert "\n" not in str(caught.value)
    assert not [path for path in Path().iterdir() if path.name.startswith("bad.zarr") and path.suffix != ".lock"]
    return str(caught.value)


def extension(kind: pa.DataType, values: list[Any]) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


TEXT = ["a", None, "ß" * 40, ""]
MATRIX: dict[str, tuple[pa.Array, pa.DataType, list[Any]]] = {
    "string": (pa.array(TEXT), pa.string(), TEXT),
    "large string": (pa.array(TEXT, pa.large_string()), pa.large_string(), TEXT),
    "string view": (pa.array(TEXT, pa.string_view()), pa.string(), TEXT),
    "binary view": (pa.array([b"a", None], pa.binary_view()), pa.binary(), [b"a", None]),
    "dictionary": (pa.array(TEXT).dictionary_encode(), pa.string(), TEXT),
    "integers by dictionary": (pa.array([7, None, 7]).dictionary_encode(), pa.int64(), [7, None, 7]),
    "uuid": (extension(pa.uuid(), [UUIDS[0].bytes, None]), pa.string(), [str(UUIDS[0]), None]),
    "json": (extension(pa.json_(), ['{"a": 1}', None]), pa.string(), ['{"a": 1}', None]),
    "bool8": (extension(pa.bool8(), [1, 0, None]), pa.bool_(), [True, False, None]),
    "only nulls": (pa.nulls(3), pa.null(), [None] * 3),
    "int64": (pa.array([2**53 + 1, None]), pa.int64(), [2**53 + 1, None]),
    "uint64": (pa.array([2**64 - 1, None], pa.uint64()), pa.uint64(), [2**64 - 1, None]),
    "decimal": (pa.array([Decimal("1.10"), None]), pa.decimal128(3, 2), [Decimal("1.10"), None]),
    "bool": (pa.array([True, None]), pa.bool_(), [True, None]),
    "date": (pa.array([datetime.date(2020, 1, 2), None]), pa.date32(), [datetime.date(2020, 1, 2), None]),
    "zoned": (
        pa.array([0, None], pa.timestamp("us", "Europe/Berlin")),
        pa.timestamp("us", "Europe/Berlin"),
        [datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC), None],
    ),
    "half": (pa.array([1.5, None], pa.float16()), pa.float16(), [1.5, None]),
}
NESTED: dict[str, tuple[pa.Array, pa.DataType, list[Any]]] = {
    "list": (pa.array([["a"], None, []]), pa.list_(pa.string()), [["a"], None, []]),
    "list of views": (pa.array([["a"], None], pa.list_(pa.string_view())), pa.list_(pa.string()), [["a"], None]),
    "list view": (pa.array([[1], None, [2, 3]], pa.list_view(pa.int32())), pa.list_(pa.int32()), [[1], None, [2, 3]]),
    "list of a dictionary": (
        pa.array([["a"], None], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        pa.list_(pa.string()),
        [["a"], None],
    ),
    "lists of lists": (pa.array([[["a"]], [], None]), pa.list_(pa.list_(pa.string())), [[["a"]], [], None]),
    "struct": (
        pa.array([{"k": "a"}, None], pa.struct([("k", pa.string_view())])),
        pa.struct([("k", pa.string())]),
        [{"k": "a"}, None],
    ),
    "map": (
        pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        pa.map_(pa.string(), pa.int64()),
        [[("k", 1)], None],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MATRIX, *NESTED])
@pytest.mark.parametrize("place", ["metadata", "appended", "shards"])
def test_every_type_rides_along(here: Path, name: str, place: str) -> None:
    column, kind, values = {**MATRIX, **NESTED}[name]
    options: dict[str, Any] = {"columns": "c"} if name in NESTED else {}
    whole = write("a.parquet", c=column)
    if place == "metadata":
        write("m.parquet", beside=True, c=column)
        np.save("a.npy", np.ones((len(column), 2), "f4"))
        table = read_back("a.npy", metadata="m.parquet", **options)
        kind = pa.string() if pa.types.is_null(kind) else kind
    elif place == "appended":
        read_back(whole, **options)
        ingest(write("b.parquet", c=column), "s.zarr", append=True, **options)
        table, values = rows_of(), values * 2
    else:
        table = read_back(whole, write("b.parquet", c=column), **options)
        values = values * 2
    assert table.schema.field("c").type.equals(kind)
    assert table.column("c").to_pylist() == values


@pytest.mark.parametrize(
    "array",
    [
        pc.run_end_encode(pa.array(["a", "a", None, "b"])),
        pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 0]), pa.array(["a", "b"], pa.string_view())),
        pa.array([[1.0], None, [], [2.0, 3.0]], pa.large_list_view(pa.float32())),
        pa.array([["a", "b"], None, [None, "c"]], pa.list_(pa.string_view(), 2)),
        pa.array([[("k", "v")], None, []], pa.map_(pa.string_view(), pa.string_view())),
    ],
    ids=lambda array: str(array.type),
)
def test_plain_arrays_have_the_same_values(array: pa.Array) -> None:
    for part in (array, array.slice(1), array.slice(1, 1), array.slice(0, 0)):
        plain = plain_array(part)
        plain.validate(full=True)
        assert plain.type == plain_type(array.type)
        assert plain.to_pylist() == part.to_pylist()


class Celsius(pa.ExtensionType):
    """A type that only its writer knows."""

    def __init__(self) -> None:
        super().__init__(pa.int32(), "test.celsius")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> Celsius:
        return cls()


@pytest.mark.parametrize("known", [True, False])
def test_extension_types_are_read_as_they_are_stored(here: Path, known: bool) -> None:
    pa.register_extension_type(Celsius())
    try:
        write("a.parquet", c=extension(Celsius(), [3, None]), d=pa.array([[1], None]))
        if not known:
            pa.unregister_extension_type("test.celsius")
        table = read_back("a.parquet")
    finally:
        if known:
            pa.unregister_extension_type("test.celsius")
    assert table.schema.field("c").type == pa.int32()
    assert table.column("c").to_pylist() == [3, None]


def test_structs_without_fields_are_left_out_and_named(here: Path) -> None:
    Path("m.jsonl").write_text('{"meta": {}, "more": [{}], "label": "a"}\n' * 3)
    np.save("a.npy", np.ones((3, 2), "f4"))
    report = ingest("a.npy", "s.zarr", metadata="m.jsonl")
    assert (report.columns, report.left_out) == (("label",), ("meta", "more"))


NAN = float("nan")
FAR = datetime.datetime(9999, 12, 31)
BIG = 2**53 + 1
JOINED: dict[str, tuple[pa.Array, pa.Array, pa.DataType, list[Any]]] = {
    "nulls and text": (pa.nulls(2), pa.array(["a"]), pa.string(), [None, None, "a"]),
    "text and views": (pa.array(["a"]), pa.array(["b"], pa.string_view()), pa.string(), ["a", "b"]),
    "text and dictionary": (pa.array(["a"]), pa.array(["b"]).dictionary_encode(), pa.string(), ["a", "b"]),
    "int32 and int64": (pa.array([1], pa.int32()), pa.array([BIG]), pa.int64(), [1, BIG]),
    "uint32 and int32": (pa.array([2**32 - 1], pa.uint32()), pa.array([-1], pa.int32()), pa.int64(), [2**32 - 1, -1]),
    "uint64 and int64": (pa.array([BIG], pa.uint64()), pa.array([-1]), pa.int64(), [BIG, -1]),
    "large uint64 and int64": (pa.array([2**64 - 1], pa.uint64()), pa.array([1]), pa.uint64(), [2**64 - 1, 1]),
    "int64 and floats of pandas": (pa.array([BIG]), pa.array([NAN, 12.0, None]), pa.int64(), [BIG, None, 12, None]),
    "int64 and only NaN": (pa.array([BIG]), pa.array([NAN]), pa.int64(), [BIG, None]),
    "int64 and fractions": (pa.array([2**53, None]), pa.array([0.5]), pa.float64(), [2.0**53, None, 0.5]),
    "int16 and float32": (pa.array([3], pa.int16()), pa.array([0.5], pa.float32()), pa.float32(), [3.0, 0.5]),
    "int16 and halves": (pa.array([2**12 + 1], pa.int16()), pa.array([0.5], pa.float16()), pa.float32(), [4097.0, 0.5]),
    "int8 and whole halves": (pa.array([1], pa.int8()), pa.array([2.0, NAN], pa.float16()), pa.int8(), [1, 2, None]),
    "float32 and float64": (pa.array([0.5], pa.float32()), pa.array([0.1]), pa.float64(), [0.5, 0.1]),
    "units": (
        pa.array([1_000], pa.timestamp("ns")),
        pa.array([FAR], pa.timestamp("us")),
        pa.timestamp("us"),
        [datetime.datetime(1970, 1, 1, 0, 0, 0, 1), FAR],
    ),
    "zones": (
        pa.array([0], pa.timestamp("ms", "Europe/Berlin")),
        pa.array([1], pa.timestamp("us", "UTC")),
        pa.timestamp("us", "UTC"),
        [datetime.datetime(1970, 1, 1, 0, 0, 0, one, tzinfo=datetime.UTC) for one in (0, 1)],
    ),
    "durations": (
        pa.array([1], pa.duration("s")),
        pa.array([5], pa.duration("us")),
        pa.duration("us"),
        [datetime.timedelta(seconds=1), datetime.timedelta(microseconds=5)],
    ),
    "decimals": (
        pa.array([Decimal("1.5")], pa.decimal128(5, 1)),
        pa.array([Decimal("2.125")], pa.decimal128(20, 3)),
        pa.decimal128(20, 3),
        [Decimal("1.500"), Decimal("2.125")],
    ),
    "structs": (
        pa.array([{"a": 1}]),
        pa.array([{"b": "x", "a": 2}]),
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
        [{"a": 1, "b": None}, {"a": 2, "b": "x"}],
    ),
    "lists": (pa.array([[1]], pa.list_(pa.int32())), pa.array([[BIG]]), pa.list_(pa.int64()), [[1], [BIG]]),
}


@pytest.mark.parametrize("name", JOINED)
@pytest.mark.parametrize(("turned", "place"), [(False, "source"), (True, "source"), (False, "metadata")])
@pytest.mark.slow
def test_types_are_widened_without_loss(here: Path, name: str, turned: bool, place: str) -> None:
    first, second, kind, values = JOINED[name]
    if turned:
        first, second, values = second, first, [*values[len(first) :], *values[: len(first)]]
    n = len(first) + len(second)
    Path("m").mkdir()
    beside = place == "metadata"
    paths = [write(f"m/{i}.parquet", beside=beside, c=one) for i, one in enumerate((first, second))]
    np.save("a.npy", np.ones((n, 2), "f4"))
    table = read_back("a.npy", metadata="m", columns="c") if beside else read_back(*paths, columns="c")
    if name == "structs" and turned:
        kind = pa.struct([("b", pa.string()), ("a", pa.int64())])
    assert table.schema.field("c").type.equals(kind)
    assert table.column("c").to_pylist() == values


@pytest.mark.parametrize(
    ("first", "second", "needles"),
    [
        (pa.array([BIG]), pa.array([0.5]), ["1.parquet: column c holds double", "up to 9007199254740993"]),
        (pa.array([BIG]), pa.array([2.0**60]), ["1.parquet: column c holds double", "beyond 2^53"]),
        (pa.array([-1]), pa.array([2**63], pa.uint64()), ["1.parquet: column c holds uint64", "text does"]),
        (
            pa.array([1], pa.timestamp("ns")),
            pa.array([FAR]),
            ["1.parquet: column c holds timestamp[us]", "no one unit"],
        ),
        (pa.array([1], pa.timestamp("ns")), pa.array([1], pa.timestamp("ns", "UTC")), ["1.parquet", "time zone"]),
        (pa.array([1], pa.date32()), pa.array([1], pa.timestamp("ns")), ["1.parquet: column c holds timestamp[ns]"]),
        (pa.array([Decimal("0.1")]), pa.array([0.1]), ["1.parquet: column c holds double", "decimal128"]),
        (pa.array(["a"]), pa.array([1]), ["1.parquet: column c holds int64", "0.parquet, where it holds string"]),
        (pa.array([True]), pa.array([1]), ["1.parquet: column c holds int64"]),
        (
            pa.array([[BIG]]),
            pa.array([[0.5]]),
            ["0.parquet, row 0: column c holds list<element: int64>, here [9007199254740993]"],
        ),
    ],
    ids=str,
)
def test_what_no_type_holds_is_one_line(here: Path, first: pa.Array, second: pa.Array, needles: list[str]) -> None:
    paths = [write(f"{i}.parquet", c=one) for i, one in enumerate((first, second))]
    message = refused(*paths, columns="c", vector="emb")
    assert all(needle in message for needle in [*needles, "convert"]), message


@pytest.mark.parametrize(
    ("stored", "new", "expected"),
    [
        (pa.array([BIG]), pa.array([3.0, NAN]), [BIG, 3, None]),
        (pa.array([0.5]), pa.array([2**53, 3]), [0.5, 2.0**53, 3.0]),
        (pa.array([1], pa.int32()), pa.array([2]), [1, 2]),
        (pa.array(["a"]), pa.array(["b"], pa.string_view()), ["a", "b"]),
        (pa.array([1_000], pa.timestamp("ns")), pa.array([2], pa.timestamp("us")), None),
    ],
    ids=str,
)
@pytest.mark.slow
def test_appended_rows_take_the_types_of_the_store(
    here: Path, stored: pa.Array, new: pa.Array, expected: list[Any] | None
) -> None:
    ingest(write("0.parquet", c=stored), "s.zarr")
    ingest(write("1.parquet", c=new), "s.zarr", append=True)
    table = rows_of()
    assert table.schema.field("c").type == stored.type
    both = expected or [*stored.to_pylist(), *new.cast(stored.type).to_pylist()]
    assert table.column("c").to_pylist() == both


@pytest.mark.parametrize(
    ("stored", "new", "needle"),
    [
        (pa.array([1]), pa.array([3.0, 0.5]), "row 1: column c holds double, here 0.5; elsewhere it holds int64"),
        (pa.array([0.5]), pa.array([BIG]), f"row 0: column c holds int64, here {BIG}; elsewhere it holds double"),
        (pa.array([1], pa.int8()), pa.array([1, 1, 300]), "row 2: column c holds int64, here 300"),
        (pa.array([1], pa.timestamp("ns")), pa.array([FAR]), "row 0: column c holds timestamp[us], here 9999-12-31"),
    ],
    ids=str,
)
def test_appended_values_that_do_not_fit_are_named(here: Path, stored: pa.Array, new: pa.Array, needle: str) -> None:
    ingest(write("0.parquet", c=stored), "s.zarr")
    digest = EmbeddingStore("s.zarr").digest
    write("1.parquet", c=new)
    write("m.parquet", beside=True, c=new)
    np.save("n.npy", np.array(vectors(len(new)).to_pylist(), "f4"))
    for source, place, options in (("1.parquet", "1.parquet", {}), ("n.npy", "m.parquet", {"metadata": "m.parquet"})):
        with pytest.raises(InputError) as caught:
            ingest(source, "s.zarr", append=True, **options)
        assert str(caught.value).startswith(f"{place}, {needle}")
        assert "\n" not in str(caught.value)
    assert EmbeddingStore("s.zarr").digest == digest
    assert rows_of().column("c").to_pylist() == stored.to_pylist()


def test_shards_without_rows_or_types_take_part_in_nothing(here: Path) -> None:
    write("0.parquet", beside=True, emb=pa.nulls(0), label=pa.nulls(0))
    write("1.parquet", label=["a", "b"])
    assert read_back("0.parquet", "1.parquet").column("label").to_pylist() == ["a", "b"]


def test_columns_whose_names_have_dots(here: Path) -> None:
    columns = {"a": ["x", "y"], "a.b": [1, 2], "s": [{"t": 5}, {"t": 6}], "s.t": [3, 4]}
    write("0.parquet", **columns)
    write("1.parquet", **dict(reversed(columns.items())))
    table = read_back("0.parquet", "1.parquet", columns="*")
    assert table.to_pydict() == {name: values * 2 for name, values in columns.items()}


PACKED: dict[str, list[Callable[[list[Any]], pa.Array]]] = {
    "text": [
        pa.array,
        lambda values: pa.array(values, pa.string_view()),
        lambda values: pa.array(values, pa.large_string()),
        lambda values: pa.array(values, pa.string()).dictionary_encode(),
    ],
    "number": [
        lambda values: pa.array(values, pa.int64()),
        lambda values: pa.array([NAN if one is None else float(one) for one in values]),
        lambda values: pa.array(values, pa.int32()),
    ],
    "time": [lambda values, unit=unit: pa.array(values, pa.timestamp(unit)) for unit in ("ms", "us", "ns")],
}


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_split_into_shards_reads_back_the_same_values(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, 12))
    some = {
        "text": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        "number": st.none() | st.integers(-(2**31), 2**31 - 1),
        "time": st.none() | st.integers(0, 2**40).map(lambda ms: datetime.datetime(1970, 1, 1) + ms * MILLISECOND),
    }
    values = {name: data.draw(st.lists(one, min_size=n, max_size=n)) for name, one in some.items()}
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=3)))
    folder = tmp_path_factory.mktemp("split")
    embedded = vectors(n)
    for number, (low, high) in enumerate(itertools.pairwise([0, *cuts, n])):
        columns = {name: data.draw(st.sampled_from(PACKED[name]))(values[name][low:high]) for name in values}
        columns["emb"] = embedded.slice(low, high - low)
        order = data.draw(st.permutations(list(columns)))
        pq.write_table(pa.table({name: columns[name] for name in order}), folder / f"{number}.parquet")
    store = str(folder / "s.zarr")
    ingest(str(folder / "*.parquet"), store)
    table = rows_of(store)
    for name, expected in values.items():
        found = table.column(name).to_pylist()
        if pa.types.is_floating(table.schema.field(name).type):  # all shards have it as floats: NaN is what they say
            expected = [NAN if one is None else float(one) for one in expected]
            np.testing.assert_array_equal(found, expected)
        else:
            assert [one.to_pydatetime() if isinstance(one, pd.Timestamp) else one for one in found] == expected
    np.testing.assert_array_equal(EmbeddingStore(store).read(0, n), np.array(embedded.to_pylist(), "f4"))


MILLISECOND = datetime.timedelta(milliseconds=1)

RAW = [one.bytes for one in UUIDS]
IDS: dict[str, tuple[pa.Array, list[str]]] = {
    "float": (pa.array([0.0, 1.0, 2.0]), ["not double", "column.cast('int64')", "astype('Int64')", "missing value"]),
    "fraction": (pa.array([0.5, 1.0, 2.0]), ["not double", "fractions"]),
    "16 bytes": (pa.array(RAW, pa.binary(16)), ["fixed_size_binary[16]", "str(uuid.UUID(bytes=one))"]),
    "bytes": (pa.array([b"a", b"b", b"c"]), ["not binary", "column.cast('string')", "one.hex()"]),
    "binary view": (pa.array([b"a", b"b", b"c"], pa.binary_view()), ["not binary", "one.hex()"]),
    "bool": (pa.array([True, False, None]), ["not bool"]),
    "date": (pa.array([1, 2, 3], pa.date32()), ["not date32", "column.cast('string')"]),
    "time": (pa.array([1, 2, 3], pa.timestamp("ns")), ["not timestamp", "column.cast('string')"]),
    "decimal": (pa.array([Decimal(i) for i in range(3)]), ["not decimal128", "column.cast('string')"]),
    "list": (pa.array([[1], [2], [3]]), ["not list", "json.dumps(one)"]),
    "struct": (pa.array([{"k": i} for i in range(3)]), ["not struct", "json.dumps(one)"]),
}


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("place", ["source", "metadata"])
def test_ids_of_other_types_are_refused_with_the_conversion(here: Path, name: str, place: str) -> None:
    ids, needles = IDS[name]
    np.save("a.npy", np.ones((3, 2), "f4"))
    if place == "source":
        message = refused(write("a.parquet", key=ids), id_column="key")
    else:
        write("a.parquet", beside=True, key=ids)
        message = refused("a.npy", metadata="a.parquet", id_column="key")
    assert message.startswith("a.parquet, row 0, column key: ids are text or integers, ")
    assert all(needle in message for needle in [*needles, "convert"]), message


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (extension(pa.uuid(), RAW), [str(one) for one in UUIDS]),
        (pa.array([str(one) for one in UUIDS], pa.string_view()), [str(one) for one in UUIDS]),
        (pa.array(["a", "b", "c"]).dictionary_encode(), ["a", "b", "c"]),
        (pa.array([2**64 - 1, 0, 2**63], pa.uint64()), [2**64 - 1, 0, 2**63]),
        (pa.array(list("abc"), pa.large_string()), ["a", "b", "c"]),
    ],
    ids=str,
)
@pytest.mark.slow
def test_ids_of_any_text_and_any_integers_pair_rows(here: Path, ids: pa.Array, expected: list[Any]) -> None:
    from specscale import compare

    table = read_back(write("a.parquet", key=ids), id_column="key")
    assert table.column("key").to_pylist() == expected
    turned = pa.concat_arrays([ids.slice(index, 1) for index in (2, 1, 0)])
    ingest(write("b.parquet", key=turned), "b.zarr", id_column="key")
    result = compare("s.zarr", "b.zarr", out="o.spec", kernel="cosine", certify=0)
    assert result.summary["rows"]["matched_by"] == "id"
    assert result.summary["rows"]["compared"] == 3


def test_uuids_and_their_text_are_the_same_ids(here: Path) -> None:
    ingest(write("a.parquet", key=extension(pa.uuid(), RAW)), "a.zarr", id_column="key")
    ingest(write("b.parquet", key=[str(one) for one in UUIDS]), "b.zarr", id_column="key")
    a, b = EmbeddingStore("a.zarr").ids, EmbeddingStore("b.zarr").ids
    assert a is not None
    assert a == b
    ingest(write("c.parquet", key=extension(pa.uuid(), [uuid.UUID(int=9).bytes])), "b.zarr", append=True)
    assert rows_of("b.zarr").column("key").to_pylist() == [str(one) for one in [*UUIDS, uuid.UUID(int=9)]]


def test_ids_that_are_floats_in_one_shard_are_the_integers_of_the_other(here: Path) -> None:
    paths = [write("0.parquet", key=[BIG, 1]), write("1.parquet", key=[2.0, 3.0])]
    assert read_back(*paths, id_column="key").column("key").to_pylist() == [BIG, 1, 2, 3]
    write("1.parquet", key=[2.0, NAN])
    assert "1.parquet, row 1, column key: the id is missing" in refused(*paths, id_column="key")
    write("1.parquet", key=[2.0, 2.0**54])
    assert "1.parquet: column key holds double" in refused(*paths, id_column="key")


def test_appended_ids_that_are_floats_are_the_integers_of_the_store(here: Path) -> None:
    ingest(write("0.parquet", key=[BIG, 1]), "s.zarr", id_column="key")
    ingest(write("1.parquet", key=[2.0, 3.0]), "s.zarr", append=True)
    assert rows_of().column("key").to_pylist() == [BIG, 1, 2, 3]
    with pytest.raises(InputError, match=r"2\.parquet, row 1: column key holds double, here 1\.8"):
        ingest(write("2.parquet", key=[4.0, 2.0**54]), "s.zarr", append=True)


def test_ids_in_an_archive_or_a_coordinate_are_named_with_the_conversion(here: Path) -> None:
    values, ids = np.ones((3, 2), "f4"), np.array(["a", "b", "c"])
    np.savez("a.npz", emb=values, key=ids)
    message = refused("a.npz", key="emb", id_column="key")
    assert "--metadata key.parquet --id key" in message
    group = zarr.open_group("g.zarr", mode="w")
    group.create_array("emb", data=values)
    group.create_array("key", data=np.arange(3))
    for source, command in (("a.npz", message), ("g.zarr", ""), ("g.zarr/emb", "")):
        command = command or refused(source, id_column="key")
        code = command.partition("convert it with ")[2].partition(" and give")[0]
        exec("import pyarrow, pyarrow.parquet, numpy, zarr\n" + code)
        options = {"key": "emb"} if source == "a.npz" else {}
        table = read_back(source, metadata="key.parquet", id_column="key", **options)
        assert table.column("key").to_pylist() == (ids.tolist() if source == "a.npz" else [0, 1, 2])
    assert "there are none" in refused("a.npz", key="emb", id_column="other")


def jsonl(path: str, *rows: dict[str, Any]) -> str:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([2**63, 1, 2**64 - 1], pa.uint64()),
        ([BIG, None, -(2**63)], pa.int64()),
        ([BIG, 0, 2**63 - 1], pa.int64()),
        ([0.1, 1e300, 12345678901234567.0], pa.float64()),
    ],
    ids=str,
)
def test_numbers_of_json_are_never_rounded(here: Path, values: list[Any], kind: pa.DataType) -> None:
    np.save("a.npy", np.ones((3, 2), "f4"))
    jsonl("m.jsonl", *({"key": value, "score": 0.5, "deep": {"a": [0.5]}} for value in values))
    table = read_back("a.npy", metadata="m.jsonl")
    assert table.schema.field("key").type == kind
    assert table.column("key").to_pylist() == values


@pytest.mark.parametrize(
    ("rows", "value"),
    [
        ([{"key": 1}, {"key": 2**64}], 2**64),
        ([{"key": -1}, {"key": 2**63}], 2**63),
        ([{"key": 0.5}, {"key": BIG}], BIG),
        ([{"key": BIG}, {"key": 0.5}], BIG),
        ([{"key": [0.5]}, {"key": [1, BIG]}], BIG),
        ([{"key": {"a": 0.5}}, {"key": {"a": BIG}}], BIG),
        ([{"key": 10**40}, {"key": 1}], 10**40),
    ],
    ids=str,
)
@pytest.mark.parametrize("block", [8 << 20, 20])
def test_numbers_that_json_would_round_are_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], value: int, block: int
) -> None:
    monkeypatch.setattr("specscale.sources.text_tables._BLOCK_BYTES", block)
    np.save("a.npy", np.ones((2, 2), "f4"))
    jsonl("m.jsonl", *rows)
    line = next(number for number, row in enumerate(rows) if str(value) in json.dumps(row))
    message = refused("a.npy", metadata="m.jsonl")
    assert message.startswith(f"m.jsonl, line {line}: column key holds {value}, ")
    assert "write it as text" in message


def test_ids_of_json_beyond_2_63_pair_by_their_digits(here: Path) -> None:
    np.save("a.npy", np.ones((2, 2), "f4"))
    ids = [2**63 + 1, 2**63 + 2]
    jsonl("m.jsonl", *({"key": one} for one in ids))
    assert read_back("a.npy", metadata="m.jsonl", id_column="key").column("key").to_pylist() == ids
    Path("m.csv").write_text("key\n" + "".join(f"{one}\n" for one in ids))
    assert read_back("a.npy", metadata="m.csv", id_column="key").column("key").to_pylist() == [str(one) for one in ids]


def test_text_files_settle_on_one_type_too(here: Path) -> None:
    np.save("a.npy", np.ones((4, 2), "f4"))
    Path("m").mkdir()
    Path("m/0.csv").write_text(f"n,w\n{BIG},007\n1,1\n")
    Path("m/1.csv").write_text("n,w\n3.0,5\n,6\n")
    table = read_back("a.npy", metadata="m")
    assert table.to_pydict() == {"n": [BIG, 1, 3, None], "w": ["007", "1", "5", "6"]}
    Path("m/1.csv").write_text("n,w\n3.5,5\n,6\n")
    assert "1.csv: column n holds double" in refused("a.npy", metadata="m")
    for path in Path("m").iterdir():
        path.unlink()
    jsonl("m/0.jsonl", {"n": 1, "t": ["2020-01-01"]}, {"n": None})
    jsonl("m/1.jsonl", {"n": 2.0}, {"n": 3.5, "t": ["soon"]})
    table = read_back("a.npy", metadata="m")
    assert table.to_pydict() == {"n": [1.0, None, 2.0, 3.5], "t": [["2020-01-01"], None, None, ["soon"]]}
