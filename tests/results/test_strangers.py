"""Stores, results and files of strangers run no code, contact nobody and fill no memory: they end in one line."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from conftest import Pair

import specscale as ss
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import InputError, SpecscaleError
from specscale.method.result import Result
from specscale.places.documents import parse_json, read_json
from specscale.runtime.checkpoints import load_arrays
from specscale.stores.ingest import ingest
from specscale.tables.pages import check_pages

Alter = Callable[[dict[str, Any]], None]
DEEP = b"[" * 1_000_000
HOW: dict[str, Any] = {"features": "landmarks", "size": 20, "n_modes": 2, "certify": 0, "rounds": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_pair: Callable[..., Pair]) -> Path:
    """Two stores with texts, and their comparison."""
    folder = tmp_path_factory.mktemp("made")
    pq.write_table(pa.table({"text": [f"text {row}" for row in range(200)]}), folder / "m.parquet")
    for name, array in zip("ab", make_pair(200), strict=True):
        ingest(array, folder / f"{name}.zarr", metadata=folder / "m.parquet")
    ss.compare(folder / "a.zarr", folder / "b.zarr", out=folder / "r.spec", **HOW)
    return folder


@pytest.fixture
def result(here: Path, made: Path) -> Path:
    """The result among a copy of these, in the working directory."""
    shutil.copytree(made, here, dirs_exist_ok=True)
    return here / "r.spec"


def change(file: Path, alter: Alter) -> None:
    document = json.loads(file.read_text())
    alter(document)
    file.write_text(json.dumps(document))


def set_to(**fields: Any) -> Alter:
    return lambda document: document.update(fields)


CODECS: list[Any] = [
    [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd", "configuration": {"level": 1}}],
    [{"name": "numcodecs.pickle", "configuration": {}}],
    [{"name": "bytes", "configuration": {"endian": "big"}}],
    [{"name": "sharding_indexed", "configuration": {"chunk_shape": [1, 1], "codecs": [], "index_codecs": []}}],
    "bytes",
    None,
]
ALTERED: list[Alter] = [
    *(set_to(codecs=codecs) for codecs in CODECS),
    *(
        set_to(data_type=kind)
        for kind in ("string", "object", "variable_length_bytes", {"name": "struct"}, "complex64")
    ),
    set_to(storage_transformers=[{"name": "x"}]),
    set_to(zarr_format=2),
    set_to(node_type="other"),
    set_to(chunk_key_encoding={"name": "v2", "configuration": {"separator": "."}}),
    set_to(chunk_grid={"name": "rectilinear", "configuration": {}}),
    set_to(chunk_grid={"name": "regular", "configuration": {"chunk_shape": [0, 12]}}),
    set_to(chunk_grid={"name": "regular", "configuration": {"chunk_shape": [10**18, 12]}}),
    set_to(shape=[10**18, 12]),
    set_to(shape=[200.0, 12]),
    set_to(shape="200"),
    set_to(unknown=1),
]


@pytest.mark.parametrize("alter", ALTERED)
def test_arrays_that_are_not_as_they_are_written(result: Path, alter: Alter) -> None:
    change(Path("a.zarr/features/zarr.json"), alter)
    change(Path("r.spec/spec.zarr/scores/zarr.json"), alter)
    with pytest.raises(InputError, match=r"a\.zarr/features/zarr\.json: .*: ingest the embedding again"):
        EmbeddingStore("a.zarr")
    with pytest.raises(InputError, match=r"spec\.zarr/scores/zarr\.json: .*: run the comparison again"):
        _ = Result(result).scores


def test_a_group_tells_nothing_of_its_arrays(result: Path) -> None:
    zarr.consolidate_metadata("a.zarr")
    with pytest.raises(InputError, match="the group holds more than attributes"):
        EmbeddingStore("a.zarr")


def test_arrays_of_an_older_format_are_not_looked_for(result: Path) -> None:
    """In the second version of Zarr objects of Python are unpickled, which runs what they say."""
    shutil.rmtree("a.zarr/features")
    made: Any = zarr.open_group("a.zarr", mode="a", zarr_format=3)
    assert made
    old: Any = zarr.create_array(
        "a.zarr/features", shape=(200, 12), chunks=(200, 12), dtype="f4", zarr_format=2, compressors=None
    )
    old[:] = 1
    with pytest.raises(InputError, match=r"a\.zarr/features: missing or damaged"):
        EmbeddingStore("a.zarr")


def test_a_source_of_objects_is_not_unpickled(here: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(here / "ran"),)

    Path("x.zarr").mkdir()
    fields: dict[str, Any] = {
        "zarr_format": 2, "shape": [1, 1], "chunks": [1, 1], "order": "C", "compressor": None, "fill_value": None,
    }  # fmt: skip
    packed = numcodecs.Pickle().encode(np.array([Evil()], dtype=object))
    shutil.rmtree(here / "ran", ignore_errors=True)
    Path("x.zarr/0.0").write_bytes(packed)
    for more in (
        {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}]},
        {"dtype": "<f4", "filters": [{"id": "pickle", "protocol": 5}]},
        {"dtype": "<f4", "filters": None, "compressor": {"id": "pickle", "protocol": 5}},
        {"dtype": [["a", "|O"]], "filters": [{"id": "pickle", "protocol": 5}]},
    ):
        Path("x.zarr/.zarray").write_text(json.dumps({**fields, **more}))
        with pytest.raises(InputError, match="it holds Python objects, which may run code and are never loaded"):
            ingest("x.zarr", "s.zarr")
    assert not (here / "ran").exists()


@pytest.mark.parametrize("name", ["o.npy", "o.npz"])
def test_pickles_are_not_loaded(here: Path, name: str) -> None:
    (np.save if name.endswith("y") else np.savez)(name, np.array([[{}]], dtype=object))  # type: ignore[operator]
    with pytest.raises(InputError, match="never loaded"):
        ingest(name, "s.zarr")


@pytest.mark.parametrize(
    ("field", "value"),
    [("n", 10**18), ("n", "200"), ("n", True), ("p", -1), ("dtype", "O"), ("dtype", {}), ("columns", {"text": 1}),
     ("ids", ["key"]), ("ids", {"column": 1, "digest": 2}), ("dropped_rows", ["x"]), ("name", 3), ("digest", None)],
)  # fmt: skip
def test_attributes_of_a_store(result: Path, field: str, value: Any) -> None:
    change(Path("a.zarr/zarr.json"), lambda document: document["attributes"]["specscale"].update({field: value}))
    with pytest.raises(InputError, match=r"a\.zarr.*(cannot be|not the array that was ingested)"):
        EmbeddingStore("a.zarr")


@pytest.mark.parametrize(
    "fields",
    [
        {"inputs": []},
        {"inputs": {"a": 1, "b": 2}},
        {"modes": [1]},
        {"modes": [{"x": 1}]},
        {"rows": None},
        {"options": 7},
    ],
)
def test_fields_of_a_summary(result: Path, fields: dict[str, Any]) -> None:
    change(result / "summary.json", set_to(**fields))
    with pytest.raises(InputError, match=r"summary\.json: damaged, [\w.\[\]]+ cannot be: run the comparison again"):
        _ = Result(result).modes


def put(way: str, value: Any) -> Alter:
    """Set what is at the end of a way as ``modes.0.eigenvalue``."""
    *ways, last = [int(one) if one.isdigit() else one for one in way.split(".")]

    def alter(document: Any) -> None:
        for one in ways:
            document = document[one]
        document[last] = value

    return alter


@pytest.mark.parametrize(
    ("way", "value"),
    [
        *(("modes.0.eigenvalue", value) for value in (None, "1", float("nan"), True)),
        ("modes.0.grouped_by", "C"),
        ("modes.0.effective_size", -1),
        ("modes.0.certified", 1),
        ("spec_diff", "abc"),
        ("spec_diff", float("inf")),
        ("options.eta", "x"),
        ("options.kernel", []),
        ("constraint", {"epsilon": "x"}),
        *(("inputs.a.rows", value) for value in (10**30, -5, 1e400, True)),
        ("inputs.a.columns", 5),
        *(("rows.total", value) for value in (-7, "x", 2 * 10**10, 199)),
        ("rows.compared", 201),
        ("rows.left_out", 5),
        ("bandwidths.a.sigma", -1),
        ("duplicates", 7),
        ("choice", 7),
        ("warnings", 5),
        ("checksums", 5),
    ],
)
def test_values_of_a_summary(
    result: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], way: str, value: Any
) -> None:
    from conftest import command

    change(result / "summary.json", put(way, value))
    assert command(monkeypatch, "explain", result, "--labels", "text") == 1
    (line,) = capsys.readouterr().err.splitlines()
    name = re.escape(re.sub(r"\.(\d+)", r"[\1]", way))
    assert re.search(rf"summary\.json: damaged, {name}[\w.]* cannot be: run the comparison again$", line)


@pytest.mark.parametrize(
    ("way", "value", "said"),
    [
        ("pairs.0.spec_diff", "x", "pairs[0].spec_diff"),
        ("pairs.0.modes", [{}], "pairs[0].modes[0].mode"),
        ("pairs.0.a", "c", "pairs"),
        ("order", ["a"], "order"),
        ("rows.total", 10**12, "rows.total"),
        ("inputs.a.rows", "200", "inputs.a.rows"),
        ("schema_version", "1", "schema_version"),
    ],
)
def test_values_of_the_summary_of_a_matrix(result: Path, way: str, value: Any, said: str) -> None:
    change(
        result / "summary.json",
        set_to(schema_version="matrix 1", order=["a", "b"], pairs=[{"a": "a", "b": "b", "spec_diff": 0, "modes": []}]),
    )
    ss.open_matrix(result)
    change(result / "summary.json", put(way, value))
    with pytest.raises(InputError, match=rf"damaged, {re.escape(said)} cannot be: run specscale matrix again$"):
        ss.open_matrix(result)


def test_rows_that_the_scores_have_not(result: Path) -> None:
    change(result / "summary.json", put("rows.total", 2 * 10**10))
    change(result / "summary.json", put("inputs.a.rows", 2 * 10**10))
    with pytest.raises(InputError, match="the array scores is damaged or gone: run the comparison again"):
        Result(result)


@pytest.mark.parametrize("schema", ["2", True, None, 2.0, [2]])
def test_schemas_that_cannot_be(result: Path, schema: Any) -> None:
    change(result / "summary.json", put("schema_version", schema))
    for opened in (ss.open_result, ss.open_matrix):
        with pytest.raises(InputError, match=r"summary\.json: damaged, schema_version cannot be: "):
            opened(result)


@pytest.mark.parametrize("format", ["1", True, None])
def test_formats_that_cannot_be(result: Path, format: Any) -> None:
    assert result.exists()
    change(Path("a.zarr/zarr.json"), put("attributes.specscale.format", format))
    with pytest.raises(InputError, match=r"a\.zarr/zarr\.json: damaged, format cannot be: "):
        EmbeddingStore("a.zarr")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("sigma", value) for value in ("x", -1, 0, None, 2.5)),
        ("map", "evil"),
        *(("centre", value) for value in (5, [1.0], [None] * 12)),
        *((name, 10**12) for name in ("size", "p", "dimension")),
        ("wide", "x"),
        ("affine", {"shift": [1]}),
        ("rows", [10**18]),
        ("rows", [200] * 20),
    ],
)
@pytest.mark.parametrize("vouched", [False, True])
@pytest.mark.slow
def test_parameters_of_maps(result: Path, name: str, value: Any, vouched: bool) -> None:
    change(result / "maps.json", put(f"0.{name}", value))
    if vouched:  # by an earlier version, which wrote no checksum, or by whoever made the result
        change(result / "summary.json", lambda summary: summary["checksums"].pop("maps.json"))
    expected = rf"\[0\]\.{name}[\w.\[\]]* cannot be" if vouched else r"maps\.json is damaged or gone"
    if vouched and name == "dimension":
        expected = "dimension cannot be"
    with pytest.raises(InputError, match=rf"{expected}: run the comparison again$"):
        Result(result).with_eta(2.0)


MANY = b"[" + b"[]," * 5_000_000 + b"1]"


@pytest.mark.parametrize(
    "content", [DEEP, b'{"a":' * 200_000, MANY, b"1" * 5000, b" " * (70 << 20), b"\xff", b""], ids=range(7)
)
@pytest.mark.slow
def test_documents_that_are_bombs(result: Path, content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # of JSON's reader too
        parse_json(content)
    for file in (result / "summary.json", Path("a.zarr/zarr.json"), Path("a.zarr/features/zarr.json")):
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"summary\.json: damaged"):
        Result(result)
    with pytest.raises(SpecscaleError):
        EmbeddingStore("a.zarr")
    Path("maps.json").write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011
        read_json(Path("maps.json"))


def test_a_pipe_is_not_waited_for(result: Path) -> None:
    (result / "summary.json").unlink()
    os.mkfifo(result / "summary.json")
    with pytest.raises(InputError, match="a pipe, no file"):
        Result(result)


@pytest.fixture
def run_limited(run_python: Callable[..., CompletedProcess[str]]) -> Callable[..., CompletedProcess[str]]:
    """Run a command where it gets little memory beyond what Python and its libraries take."""
    code = (
        "import resource, sys\n"
        "import pyarrow\n"
        "pyarrow.set_io_thread_count(1)\n"  # each would take its stack and its arena of the little there is
        "from specscale.cli import main\n"
        "import specscale.stores.ingest, specscale.embeddings.store\n"
        "import specscale.results.comparison, specscale.results.described\n"
        "def held(): return int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "limit = held() + (700 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "sys.argv = ['specscale', *sys.argv[1:]]\nmain()\n"
    )
    return lambda *arguments: run_python(code, *map(str, arguments))


def refused(done: CompletedProcess[str]) -> str:
    assert done.returncode == 1, (done.returncode, done.stderr)
    (line,) = done.stderr.splitlines()
    assert line.startswith("specscale: ")
    assert "out of memory" not in line
    return line


def saved_array(header: str) -> bytes:
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header.encode()


def nested_parquet(depth: int) -> bytes:
    """A footer, in Thrift's compact protocol, whose schema is a column in a column in a column."""

    def varint(number: int) -> bytes:
        return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)

    column = b"\x35\x02\x18\x01a\x15\x02\x00"
    schema = [b"\x35\x00\x18\x01s\x15\x02\x00", *[column] * depth, b"\x15\x02\x25\x02\x18\x01x\x00"]
    footer = b"\x15\x04\x19\xfc" + varint(len(schema)) + b"".join(schema) + b"\x16\x00\x19\x0c\x00"
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }\n"
FILES: dict[str, Callable[[Path], Any]] = {
    "length.npy": lambda path: path.write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31 - 1)),
    "minus.npy": lambda path: path.write_bytes(saved_array(HEADER % ("-" * 900_000 + "1, 2"))),
    "minus2.npy": lambda path: path.write_bytes(saved_array(HEADER % ("-" * 200_000 + "1, 2"))),
    "deep.npy": lambda path: path.write_bytes(saved_array(HEADER % ("(" * 200_000))),
    "long.npy": lambda path: path.write_bytes(saved_array(HEADER % ("1, " * 300_000))),
    "wide.npy": lambda path: path.write_bytes(saved_array(HEADER % f"1, {2**40}")),
    "deep.parquet": lambda path: path.write_bytes(nested_parquet(200_000)),
    "footer.parquet": lambda path: path.write_bytes(
        b"PAR1" + bytes(30 << 20) + struct.pack("<I", 30 << 20) + b"PAR1"
    ),
    "page.parquet": lambda path: pq.write_table(
        pa.table({"x0": np.ones(2, "f4"), "x1": np.ones(2, "f4"), "text": ["x" * 280_000_000, ""]}), path,
        compression="gzip", use_dictionary=False, write_statistics=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_bombs(here: Path, run_limited: Callable[..., CompletedProcess[str]], name: str) -> None:
    FILES[name](here / name)
    if name == "length.npy":
        os.truncate(name, 3 << 30)
    if name == "wide.npy":
        os.truncate(name, (here / name).stat().st_size + 2**42)
    assert name in refused(run_limited("ingest", name, "s.zarr"))


LINES: dict[str, bytes] = {
    "line.csv": b"a,b\n" + b"x" * (100 << 20),
    "quote.csv": b'a,b\n"' + b"x,\n " * (25 << 20),
    "line.jsonl": b'{"a": "' + b"x" * (200 << 20),
    "deep.jsonl": b'{"a":1}\n' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "lists.jsonl": DEEP,
}


@pytest.mark.parametrize("name", LINES)
def test_metadata_that_is_a_bomb(here: Path, run_limited: Callable[..., CompletedProcess[str]], name: str) -> None:
    np.save("x.npy", np.ones((2, 3), "f4"))
    Path(name).write_bytes(LINES[name])
    assert name in refused(run_limited("ingest", "x.npy", "s.zarr", "--metadata", name))


def archive(path: Path, members: int, method: int = zipfile.ZIP_DEFLATED) -> None:
    content = io.BytesIO()
    np.save(content, np.ones((2, 3), "f4"))
    with zipfile.ZipFile(path, "w", method) as made:
        for number in range(members):
            made.writestr(f"arr_{number}.npy", content.getvalue())


def test_archives_that_are_bombs(here: Path, run_limited: Callable[..., CompletedProcess[str]]) -> None:
    archive(here / "many.npz", 45_000, zipfile.ZIP_STORED)
    assert "directory of" in refused(run_limited("ingest", "many.npz", "s.zarr"))

    archive(here / "bz2.npz", 1, zipfile.ZIP_BZIP2)
    assert "as NumPy packs nothing" in refused(run_limited("ingest", "bz2.npz", "s.zarr"))

    archive(here / "claim.npz", 1)
    whole = (here / "claim.npz").read_bytes()
    entry = whole.rindex(b"PK\x01\x02")
    (here / "claim.npz").write_bytes(whole[: entry + 24] + struct.pack("<L", 2**31) + whole[entry + 28 :])
    assert "claims more" in refused(run_limited("ingest", "claim.npz", "s.zarr"))

    archive(here / "overlap.npz", 2)
    whole = (here / "overlap.npz").read_bytes()
    entry = whole.rindex(b"PK\x01\x02")
    (here / "overlap.npz").write_bytes(whole[: entry + 42] + struct.pack("<L", 0) + whole[entry + 46 :])
    assert "overlap" in refused(run_limited("ingest", "overlap.npz", "s.zarr", "--key", "arr_1"))


@pytest.mark.parametrize("compression", ["snappy", "gzip", "zstd", "brotli", "none"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_every_page_is_found(here: Path, monkeypatch: pytest.MonkeyPatch, compression: str, version: str) -> None:
    table = pa.table({
        "list": pa.FixedSizeListArray.from_arrays(pa.array(np.random.default_rng(0).normal(size=40_000)), 4),
        "text": [f"text {row} " * 3 for row in range(10_000)],
        "same": ["same"] * 10_000,
        "nested": [[{"a": 1, "b": "x"}]] * 10_000,
    })  # fmt: skip
    pq.write_table(table, "t.parquet", compression=compression, data_page_version=version, data_page_size=4096)
    metadata = pq.read_metadata("t.parquet")
    monkeypatch.setattr("specscale.tables.pages._MOST_PAGE", 1)
    monkeypatch.setattr("specscale.tables.pages._MOST_RATIO", 100_000)
    with Path("t.parquet").open("rb") as file:
        check_pages(file, metadata, table.column_names)
        monkeypatch.setattr("specscale.tables.pages._MOST_RATIO", 0)
        with pytest.raises(OSError, match=r"a page of [\d,]+ bytes would become one of [\d,]+"):
            check_pages(file, metadata, ["text"])


def test_a_summary_contacts_nobody(
    result: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from conftest import command

    asked: list[str] = []

    def contact(text: str, *_: Any, **__: Any) -> Any:
        if "://" in str(text):
            asked.append(str(text))
            raise InputError(f"{text}: contacted")
        return Path(text)

    place = "http://127.0.0.1:9/a.zarr"
    change(result / "summary.json", lambda summary: [one.update(source=place) for one in summary["inputs"].values()])
    monkeypatch.setattr("specscale.embeddings.store.located", contact)
    monkeypatch.setattr("specscale.insight.labels.located", contact)
    assert command(monkeypatch, "modes", result) == 0
    assert f"said to be at {place}; to have them read from there add --fetch" in capsys.readouterr().out
    assert command(monkeypatch, "explain", result, "--labels", "text") == 1
    assert re.search(rf"said to be at {place}: .* add --fetch", capsys.readouterr().err)
    assert command(monkeypatch, "modes", result, "--measures") == 1
    assert command(monkeypatch, "modes", result, "--json") == 0
    opened = ss.open_result(result)
    assert opened.modes[0].top().columns.tolist()[-1] == "source_row"
    for go_on in (lambda: opened.with_eta(2.0), lambda: opened.constrained(0.01), lambda: opened.with_eta(2.0, "r2")):
        with pytest.raises(InputError, match=rf"A is said to be at {place}: .*open_result\(…, fetch=True\)"):
            go_on()
    assert not [*Path().glob("r2*")]
    assert asked == []
    assert command(monkeypatch, "modes", result, "--fetch") == 0
    assert command(monkeypatch, "explain", result, "--labels", "text", "--fetch") == 1
    _ = ss.open_result(result, fetch=True).modes[0].top()
    assert place in asked
    with pytest.raises(InputError, match=rf"{place}.* cannot be reached"):
        ss.open_result(result, fetch=True).with_eta(2.0)


@pytest.mark.parametrize(
    ("at", "source", "may"),
    [
        ("s3://bucket/r.spec", "s3://bucket/a.zarr", True),
        ("s3://bucket/r.spec", "s3://other/a.zarr", False),
        ("s3://bucket/r.spec", "http://bucket/a.zarr", False),
        ("r.spec", "s3://bucket/a.zarr", False),
        ("r.spec", "/somewhere/a.zarr", True),
        ("r.spec", "file:///somewhere/a.zarr", True),
        ("r.spec", "//server/share/a.zarr", False),
        ("r.spec", r"\\server\share\a.zarr", False),
        ("s3://bucket/r.spec", "s3://***@bucket/a.zarr", False),
    ],
)
def test_whom_a_result_may_ask(at: str, source: str, may: bool) -> None:
    result = object.__new__(Result)
    result.fetch, result.path = False, at  # type: ignore[assignment]
    assert result.may_read(source) is may
    result.fetch = True
    assert result.may_read(source) is ("***" not in source)


def test_a_result_of_this_process_reads_what_it_was_given(
    s3: str, here: Path, make_pair: Callable[..., Pair], make_store: Callable[..., Path]
) -> None:
    """And later only where that is asked for, or where the result lies beside its stores."""
    texts = {"text": [f"text {row}" for row in range(200)]}
    for name, array in zip("ab", make_pair(200), strict=True):
        ingest(make_store(name, array, columns=texts), f"{s3}/{name}.zarr")
    stores = f"{s3}/a.zarr", f"{s3}/b.zarr"
    made = ss.compare(*stores, out=here / "r.spec", **HOW)
    assert "text" in made.modes[0].top()
    assert "text" not in ss.open_result(here / "r.spec").modes[0].top()
    assert "text" in ss.open_result(here / "r.spec", fetch=True).modes[0].top()
    ss.compare(*stores, out=f"{s3}/r.spec", **HOW)
    assert "text" in ss.open_result(f"{s3}/r.spec").modes[0].top()


@pytest.mark.parametrize("arrays", [[["C", "O", [1]]], [["C", "<f8", [10**12]]], "[" * 60_000])
def test_partial_sums(here: Path, arrays: Any) -> None:
    header = arrays if isinstance(arrays, str) else json.dumps({"arrays": arrays, "crc32c": 0})
    Path("0-0.node").write_bytes(b"%08x %s\n" % (google_crc32c.value(header.encode()), header.encode()) + bytes(8))
    assert load_arrays(Path("0-0.node")) is None
