"""Values of the samples' columns, of every type, in each place where they are shown."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Pair, command

import specscale as ss
from specscale.stores.ingest import ingest
from specscale.tables.values import frame, python_values

BIG, BIGGER = 1_500_000_000_000_000_001, 2**64 - 1
ROWS = 40
BERLIN = dt.timezone(dt.timedelta(hours=2))

TEXT = object()  # in JSON, as what terminals show

# A type, the value of the even rows, and what terminals and JSON show of it; odd rows hold None unless `whole`.
CASES: dict[str, tuple[pa.DataType, Any, str, Any]] = {
    "int64": (pa.int64(), BIG, str(BIG), BIG),
    "uint64": (pa.uint64(), BIGGER, str(BIGGER), BIGGER),
    "int8": (pa.int8(), 0, "0", 0),
    "boolean": (pa.bool_(), False, "False", False),
    "float32": (pa.float32(), 0.1, "0.1", 0.1),
    "float16": (pa.float16(), np.float16(0.1), "0.1", 0.1),
    "float64": (pa.float64(), 0.1234567890123, "0.1234567890123", 0.1234567890123),
    "not a number": (pa.float64(), float("nan"), "nan", None),
    "decimal": (pa.decimal128(38, 10), Decimal("123456789012345678.1234567890"), "123456789012345678.1234567890", TEXT),
    "tiny decimal": (pa.decimal128(38, 10), Decimal("0E-10"), "0.0000000000", TEXT),
    "late": (pa.timestamp("us"), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), "9999-12-31 23:59:59.999999", TEXT),
    "later": (pa.timestamp("s"), 1 << 40, "36812-02-20 00:36:16", TEXT),
    "nanoseconds": (pa.timestamp("ns"), BIG, "2017-07-14 02:40:00.000000001", TEXT),
    "zone": (pa.timestamp("us", "+02:00"), dt.datetime(2020, 1, 2, tzinfo=BERLIN), "2020-01-02 00:00:00+02:00", TEXT),
    "later zone": (pa.timestamp("s", "+02:00"), 1 << 40, "36812-02-20 00:36:16+00:00", TEXT),
    "date": (pa.date32(), dt.date(1999, 1, 2), "1999-01-02", TEXT),
    "late date": (pa.date32(), 1 << 30, "2941775-04-07", TEXT),
    "time": (pa.time64("ns"), 1_234_567_891, "00:00:01.234567891", TEXT),
    "duration": (pa.duration("us"), dt.timedelta(days=1, microseconds=1), "1 day, 0:00:00.000001", TEXT),
    "binary": (pa.binary(), b"\x00\x1b", r"b'\x00\x1b'", TEXT),
    "text": (pa.string(), "1500000000000000001", "1500000000000000001", TEXT),
    "list": (pa.list_(pa.int64()), [BIG, None], f"[{BIG}, null]", [BIG, None]),
    "struct": (
        pa.struct([("n", pa.int64()), ("f", pa.float32())]), {"n": BIG, "f": 0.1}, f'{{"n": {BIG}, "f": 0.1}}',
        {"n": BIG, "f": 0.1},
    ),
}  # fmt: skip
WIDEST = max(map(len, CASES))


def column(name: str, whole: bool = False) -> pa.Array:
    kind, value = CASES[name][:2]
    return pa.array([value if whole or row % 2 == 0 else None for row in range(ROWS)], kind)


@pytest.fixture(scope="module", params=[False, True], ids=["nulls", "whole"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, make_pair: Callable[..., Pair]
) -> tuple[Path, bool]:
    """A folder with a store of all these columns, a comparison and a matrix of it; and whether they have no nulls."""
    folder, vectors = tmp_path_factory.mktemp("values"), make_pair(ROWS)
    np.save(folder / "a.npy", vectors[0])
    pq.write_table(pa.table({name: column(name, request.param) for name in CASES}), folder / "m.parquet")
    ingest(folder / "a.npy", folder / "a.zarr", metadata=folder / "m.parquet")
    options: dict[str, Any] = {"size": 8, "top": 10, "n_modes": 1}
    ss.compare_many([folder / "a.zarr", vectors[1]], names=["x", "y"], out=folder / "m.spec", sigma=2.0, **options)
    ss.compare(folder / "a.zarr", vectors[1], out=folder / "o.spec", sigma=(2.0, 2.0), certify=0, **options)
    return folder, request.param


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_value_is_shown_as_it_is(
    made: tuple[Path, bool], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    _, _, text, in_json = CASES[name]
    folder, whole = made
    in_json = text if in_json is TEXT else in_json

    def said(*arguments: object) -> str:
        capsys.readouterr()
        assert command(monkeypatch, *arguments) == 0
        return capsys.readouterr().out

    def is_there(row: int) -> bool:
        return whole or row % 2 == 0

    told = json.loads(said("modes", folder / "o.spec", "--show", name, "--json"), parse_constant=pytest.fail)
    members = [one for mode in told["modes"] for one in mode["members"]]
    assert {is_there(one["row"]) for one in members} == {True, whole}
    for one in members:
        expected = in_json if is_there(one["row"]) else None
        assert (type(one[name]), one[name]) == (type(expected), expected)
    lines = [line.split(maxsplit=4) for line in said("modes", folder / "o.spec", "--show", name).splitlines()]
    lines = [line for line in lines if line and line[0] in ("+", "-")]
    assert len(lines) == len(members)
    assert all(line[4:] == ([text] if is_there(int(line[3])) else []) for line in lines)
    described = json.loads(said("info", folder / "a.zarr", "--rows", "2", "--json"))["rows"]
    assert [one["columns"][name] for one in described] == [in_json, in_json if whole else None]
    blocks = said("info", folder / "a.zarr", "--rows", "2").split("\n\n")[1:]
    shown = [
        line[WIDEST + 2 :].strip()
        for block in blocks
        for line in block.splitlines()
        if line[2 : WIDEST + 2].rstrip() == name
    ]
    assert shown == [text, text if whole else ""]


FRAMES: dict[str, tuple[str, Any]] = {
    "int64": ("Int64", BIG),
    "uint64": ("UInt64", BIGGER),
    "int8": ("Int8", 0),
    "boolean": ("boolean", False),
    "decimal": ("object", CASES["decimal"][1]),
    "late": ("datetime64[us]", pd.Timestamp(CASES["late"][1])),
    "later": ("datetime64[ms]", np.datetime64(1 << 40, "s")),
    "nanoseconds": ("datetime64[ns]", pd.Timestamp(BIG)),
    "zone": ("datetime64[us, UTC+02:00]", pd.Timestamp(CASES["zone"][1])),
    "later zone": ("object", "36812-02-20 00:36:16+00:00"),
    "date": ("object", dt.date(1999, 1, 2)),
    "late date": ("object", "2941775-04-07"),
    "time": ("object", "00:00:01.234567891"),
    "text": ("str", "1500000000000000001"),
    "list": ("object", [BIG, None]),
    "struct": ("object", {"n": BIG, "f": 0.1}),
}


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("made", [False], indirect=True, ids=["nulls"])
@pytest.mark.slow
def test_frames_keep_values(made: tuple[Path, bool], name: str) -> None:
    dtype, value = FRAMES[name]
    result, many = ss.open_result(made[0] / "o.spec"), ss.open_matrix(made[0] / "m.spec")
    for members in (result.modes[0].top(10), many.top("x", "y", 0, 10), result.described(result.members())):
        assert str(members[name].dtype) == dtype
        assert {row % 2 for row in members["row"]} == {0, 1}
        for row, one in zip(members["row"], members[name], strict=True):
            assert one is None or pd.isna(one) if row % 2 else one == value
        assert str(members["row"].dtype) == "int64"


def test_columns_without_nulls_are_what_they_were() -> None:
    table = pa.table({"n": [1, 2], "x": [0.5, None], "t": [True, False], "l": [[1.0, 2.0], [3.0]], "s": ["a", None]})
    found = frame(table)
    assert [str(one) for one in found.dtypes] == ["int64", "float64", "bool", "object", "str"]
    assert found["l"][0].tolist() == [1.0, 2.0]
    assert isinstance(found["l"][0], np.ndarray)


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        (pa.array([BIG, None]).dictionary_encode(), [BIG, None]),
        (pa.array([[0.1], None], pa.list_(pa.float32())), [[0.1], None]),
        (pa.array([[9.0], [0.1], None], pa.list_(pa.float32())).slice(1), [[0.1], None]),
        (pa.array([{"a": [{"b": 0.1}]}, None], pa.struct({"a": pa.list_(pa.struct({"b": pa.float32()}))})), [
            {"a": [{"b": 0.1}]}, None
        ]),
        (pa.array([{"a": 1}, {"a": 2}, None]).slice(1), [{"a": 2}, None]),
        (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())), [[["k", 1]], None]),
        (pa.array([b"\xff\xfea", None]).view(pa.string()), [r"\xff\xfea", None]),
        (pa.array([10], pa.timestamp("s", "Mars/Olympus")), ["1970-01-01 00:00:10+00:00"]),
        (pa.array([1 << 60, None], pa.duration("s")), ["1152921504606846976 seconds", None]),
        (pa.array([1000, 1001], pa.time64("ns")), [dt.time(0, 0, 0, 1), "00:00:00.000001001"]),
        (pa.array([bytes(16), None], pa.uuid()), [uuid.UUID(int=0), None]),
        (pa.nulls(2), [None, None]),
    ],
    ids=lambda one: str(one.type) if isinstance(one, pa.Array) else "",
)  # fmt: skip
def test_values_of_unusual_types(array: pa.Array, values: list[Any]) -> None:
    assert python_values(array) == python_values(pa.chunked_array([array])) == values
    assert len(frame(pa.table({"x": array}))["x"].tolist()) == len(values)


def test_labels_are_as_the_column_has_them(pair: Pair, make_store: Callable[..., Path]) -> None:
    values = pa.array([0.1 if row % 3 else 0.2 for row in range(len(pair[0]))], pa.float32())
    store = make_store("a", pair[0], columns={"label": values})
    found = ss.explain(ss.compare(store, pair[1], size=20, n_modes=1, sigma=(2.0, 2.0)), "label")
    assert {one.label for labels in found.found for one in labels} == {0.1, 0.2}


def test_a_column_named_as_one_of_ours_keeps_apart(pair: Pair, make_store: Callable[..., Path]) -> None:
    columns = {name: [f"{name} {row}" for row in range(len(pair[0]))] for name in ("row", "row_of_row", "source_row")}
    result = ss.compare(make_store("a", pair[0], columns=columns), pair[1], size=20, n_modes=1, sigma=(2.0, 2.0))
    top = result.modes[0].top(2)
    assert list(top.columns[-3:]) == ["row_of_row", "row_of_row_of_row", "source_row_of_row"]
    for row, first, second, third in zip(top["row"], *(top[name] for name in top.columns[-3:]), strict=True):
        assert [first, second, third] == [f"row {row}", f"row_of_row {row}", f"source_row {row}"]
