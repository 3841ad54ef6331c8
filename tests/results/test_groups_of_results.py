"""Groups as they are written and read back, whoever wrote them, and from results that had none."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import Pair
from grouped import found_groups, record, write_groups
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

import specscale as ss
from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.rows import Match, PairedRows
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import ChangedError, InputError, OptionError
from specscale.places.checksum import crc32c
from specscale.places.files import located, remove_file
from specscale.places.records import to_json
from specscale.results.group_files import group_runs, samples_table
from specscale.results.group_writer import FoundGroup, groups_table, likeness_of_rows
from specscale.results.members import every_member
from specscale.results.workplace import OURS
from specscale.stores.ingest import ingest

ROWS = 200
HOW: dict[str, Any] = {"features": "landmarks", "size": 20, "n_modes": 2, "top": 5, "certify": 0, "rounds": 0}
COLUMNS = (2, 0)  # of three candidates, one of which is left
Alter = Callable[[Path], Any]


def likeness(rows: int = ROWS, candidates: int = 3) -> NDArray[np.float32]:
    """Of all rows to candidates; the last of ten rows take no part."""
    z = np.random.default_rng(3).normal(0.2, 0.4, (rows, candidates)).astype(np.float32)
    z[9::10] = np.nan
    return z


def paired(*stores: object) -> PairedRows:
    kept = np.arange(ROWS) % 10 != 9
    return PairedRows(tuple(EmbeddingStore(str(one)) for one in stores), kept, Match("position", ROWS, 0, 0))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_pair: Callable[..., Pair]) -> Path:
    """Two stores with texts and ids, and their comparison, with two groups."""
    folder = tmp_path_factory.mktemp("groups")
    texts = pa.table({"key": [f"k{row}" for row in range(ROWS)], "text": [f"text {row}" for row in range(ROWS)]})
    pq.write_table(texts, folder / "m.parquet")
    for name, array in zip("ab", make_pair(ROWS), strict=True):
        ingest(array, folder / f"{name}.zarr", metadata=folder / "m.parquet", id_column="key")
    ss.compare(folder / "a.zarr", folder / "b.zarr", out=folder / "r.spec", **HOW)
    z = likeness()
    write_groups(folder / "r.spec", paired(folder / "a.zarr", folder / "b.zarr"), z, found_groups(z, COLUMNS))
    return folder


@pytest.fixture
def result(here: Path, made: Path) -> Path:
    """The result, in the working directory; the stores are where they were."""
    shutil.copytree(made / "r.spec", here / "r.spec")
    return here / "r.spec"


def members(column: int) -> NDArray[np.int64]:
    return np.flatnonzero(likeness()[:, column] >= 0.5)


def test_groups_are_read_as_they_were_written(result: Path) -> None:
    opened, z = ss.open_result(result), likeness()
    assert opened.looked_for_groups
    assert [(one.group, one.grouped_by, one.verdict) for one in opened.groups] == [(0, "A", "group"), (1, "B", "theme")]
    for group, column in zip(opened.groups, COLUMNS, strict=True):
        np.testing.assert_array_equal(group.rows(), members(column))
        assert group.rows().dtype == np.int64
        assert group.ids().tolist() == [f"k{row}" for row in members(column)]
    np.testing.assert_array_equal(opened.likeness[:], z[:, COLUMNS])
    np.testing.assert_array_equal(opened.memberships[:], z[:, COLUMNS] >= 0.5)
    assert opened.groups[0].similarity_a == 0.8
    table = opened.groups_to_pandas()
    assert table["size"].tolist() == [len(members(column)) for column in COLUMNS]
    assert len(opened.to_pandas()) == len(opened.modes)


def test_the_likest_members_come_with_what_is_known_of_them(result: Path) -> None:
    group, z = ss.open_result(result).groups[1], likeness()[:, COLUMNS[1]]
    top, near = group.top(3), group.top(near=True)
    assert top.columns.tolist() == ["group", "kind", "rank", "row", "id", "likeness", "source_row", "text"]
    assert top["rank"].tolist() == [1, 2, 3]
    assert top["row"].tolist() == np.argsort(np.where(np.isnan(z), np.inf, -z))[:3].tolist()
    assert top["likeness"].tolist() == z[top["row"]].tolist()
    assert top["text"].tolist() == [f"text {row}" for row in top["row"]]
    assert top["id"].tolist() == [f"k{row}" for row in top["row"]]
    assert near["kind"].tolist() == ["near"] * 5
    assert (near["likeness"] < 0.5).all()
    drawn = samples_table(ss.open_result(result)).filter(pc.field("kind") == "drawn")
    assert set(drawn.filter(pc.field("group") == 1)["row"].to_pylist()) <= set(members(COLUMNS[1]).tolist())


def test_the_table_of_groups_holds_what_is_one_value(result: Path) -> None:
    table = pq.read_table(result / "groups.parquet")
    (first, second), summary = table.to_pylist(), json.loads((result / "summary.json").read_text())["groups"]
    assert {name: summary[0][name] for name in first} == first
    assert {name: summary[1][name] for name in second} == second
    assert set(summary[0]) - set(first) == {"found_in", "core", "merged"}
    empty = record(0, 5, edge=None, auc_a=None, certified=False)
    assert groups_table([empty]).to_pylist()[0]["edge"] is None
    assert groups_table([empty]).to_pylist()[0]["certified"] is False
    assert groups_table([]).schema == table.schema


def test_every_member_comes_in_the_order_of_rows(result: Path) -> None:
    opened, z = ss.open_result(result), likeness()[:, COLUMNS]
    table = pa.concat_tables(every_member(opened))
    row, group = np.nonzero(z >= 0.5)
    assert table.column_names == ["group", "row", "id", "likeness", "source_row", "text"]
    assert table["row"].to_pylist() == row.tolist() == table["source_row"].to_pylist()
    assert table["group"].to_pylist() == group.tolist()
    assert table["likeness"].to_pylist() == z[row, group].astype(float).tolist()
    assert table["text"].to_pylist() == [f"text {one}" for one in row]
    assert table["id"].to_pylist() == [f"k{one}" for one in row]
    (one,) = every_member(opened, [1])
    assert one["row"].to_pylist() == members(COLUMNS[1]).tolist()
    assert [*every_member(opened, [])] == []
    for number in (2, -1):
        with pytest.raises(OptionError, match=rf"r\.spec: no group {number}: its groups are 0 to 1$"):
            next(every_member(opened, [0, number]))


def test_members_are_known_where_the_store_is_gone(result: Path) -> None:
    summary = json.loads((result / "summary.json").read_text())
    for one in summary["inputs"].values():
        one["source"] += ".gone"
    (result / "summary.json").write_text(json.dumps(summary))
    opened = ss.open_result(result)
    table = pa.concat_tables(every_member(opened))
    assert table.column_names == ["group", "row", "id", "likeness", "source_row"]
    assert table["id"].null_count == len(table)
    assert table["source_row"].to_pylist() == table["row"].to_pylist()  # ingest had dropped none
    assert opened.groups[0].top()["id"].notna().all()
    with pytest.raises(InputError, match=r"ids are read from a store"):
        opened.groups[0].ids()
    summary["inputs"]["a"]["dropped"] = 1
    (result / "summary.json").write_text(json.dumps(summary))
    table = pa.concat_tables(every_member(ss.open_result(result)))
    assert table["source_row"].null_count == len(table)


def test_ids_of_another_store_are_no_ids(result: Path) -> None:
    summary = json.loads((result / "summary.json").read_text())
    summary["inputs"]["a"]["source"] = summary["inputs"]["b"]["source"]
    (result / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ChangedError, match="no longer the embedding that was compared"):
        ss.open_result(result).groups[0].ids()
    summary["inputs"]["a"].update(ids_column=None)
    (result / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match=r"compared without ids: take their numbers, rows\(\)"):
        ss.open_result(result).groups[0].ids()


def test_columns_of_files_are_kept_for_what_is_shown(here: Path, make_pair: Callable[..., Pair]) -> None:
    for name, array in zip("ab", make_pair(ROWS), strict=True):
        columns = {f"x{i}": array[:, i] for i in range(array.shape[1])}
        pq.write_table(pa.table({**columns, "text": [f"text {row}" for row in range(ROWS)]}), f"{name}.parquet")
    z, kept = likeness(), {}

    def groups_too(writer: Any, tails: Any, rows: PairedRows) -> None:
        kept["rows"] = rows
        writer.groups(found_groups(z, COLUMNS), rows, lambda start, stop: z[start:stop])
        of_modes(writer, tails, rows)

    with pytest.MonkeyPatch.context() as patch:
        from specscale.results.writing import ResultWriter

        of_modes = ResultWriter.members
        patch.setattr(ResultWriter, "members", groups_too)
        ss.compare("a.parquet", "b.parquet", out="r.spec", **HOW)
    summary = json.loads(Path("r.spec/summary.json").read_text())
    summary["groups"] = [to_json(one.record) for one in found_groups(z, COLUMNS)]
    Path("r.spec/summary.json").write_text(json.dumps(summary))
    opened = ss.open_result("r.spec")
    for group in opened.groups:
        for near in (False, True):
            top = group.top(near=near)
            assert top["text"].tolist() == [f"text {row}" for row in top["row"]]
    assert (opened.modes[0].top()["text"] == [f"text {row}" for row in opened.modes[0].top()["row"]]).all()
    assert "text" not in pa.concat_tables(every_member(opened)).column_names
    unknown = pa.table({"row": np.setdiff1d(np.arange(ROWS), members(0))[-3:]})
    known = set(samples_table(opened)["row"].to_pylist()) | set(opened.members()["row"])
    texts = opened.described_table(unknown)["text"].to_pylist()
    assert texts == [f"text {row}" if row in known else None for row in unknown["row"].to_pylist()]
    columns = pq.read_table("r.spec/columns_a.parquet")
    pq.write_table(columns.drop_columns(["specscale_row"]), "r.spec/columns_a.parquet")
    with pytest.raises(InputError, match=r"columns_a\.parquet is damaged or gone: run the comparison again"):
        opened.groups[0].top()


def test_what_was_left_there_is_written_over_by_the_same_bytes(result: Path, made: Path) -> None:
    before = {path: path.read_bytes() for path in result.rglob("*") if path.is_file()}
    z, rows = likeness(), paired(made / "a.zarr", made / "b.zarr")
    for name in ("members/zarr.json", "members/c/0/0", "likeness/c/0/0"):
        os.truncate(result / "spec.zarr" / name, 3)
    write_groups(result, rows, z, found_groups(z, COLUMNS))
    assert {path: path.read_bytes() for path in result.rglob("*") if path.is_file()} == before


def test_members_that_were_counted_are_those_written(result: Path, made: Path) -> None:
    z, rows = likeness(), paired(made / "a.zarr", made / "b.zarr")
    first, *others = found_groups(z, COLUMNS)
    wrong = replace(first, record=replace(first.record, size=first.record.size + 1))
    with pytest.raises(AssertionError):
        write_groups(result, rows, z, [wrong, *others])


def test_one_chunk_is_in_memory_at_a_time(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from specscale.results.writing import ResultWriter

    n, runs = 70_000, []
    z = likeness(n, 2)
    rows = PairedRows((ArrayEmbedding(np.zeros((n, 1), np.float32), "a"),), None, Match("position", n, 0, 0))
    found = found_groups(z, [1])

    def read(start: int, stop: int) -> NDArray[np.float32]:
        runs.append((start, stop))
        return z[start:stop]

    modes: Any = SimpleNamespace(eigenvalues=np.zeros(0))
    writer = ResultWriter(tmp_path / "out", n, modes)
    writer.groups(found, rows, read)
    assert runs == [(0, 32_768), (32_768, 65_536), (65_536, n)]
    assert writer._checksums["likeness"] == crc32c(z[:, 1:])
    assert writer._checksums["members"] == crc32c(z[:, 1:] >= 0.5)
    written = pq.read_table(tmp_path / "out" / "members.parquet")
    assert written["likeness"].to_pylist() == z[written["row"].to_numpy(), 1].astype(float).tolist()
    assert written["source_row"].to_pylist() == written["row"].to_pylist()


@given(
    z=arrays(np.float32, st.tuples(st.integers(1, 30), st.integers(1, 3)), elements=st.floats(-2, 2, width=32)),
    data=st.data(),
)
def test_likeness_by_position_is_spread_over_the_rows(z: NDArray[np.float32], data: st.DataObject) -> None:
    n = len(z)
    kept = data.draw(st.none() | arrays(np.bool_, n))
    rows = PairedRows((ArrayEmbedding(np.zeros((n, 1), np.float32), "a"),), kept, Match("position", n, 0, 0))
    positions = z if kept is None else z[kept]
    expected = z if kept is None else np.where(kept[:, None], z, np.nan)
    start, stop = sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))
    read = likeness_of_rows(lambda low, high: positions[low:high], rows)
    np.testing.assert_array_equal(read(start, stop), expected[start:stop])


def test_results_without_groups_have_none(result: Path, made: Path) -> None:
    rows = paired(made / "a.zarr", made / "b.zarr")
    for name in ("groups.parquet", "members.parquet"):
        (result / name).unlink()
    for name in ("members", "likeness"):
        shutil.rmtree(result / "spec.zarr" / name)
    for found in (None, list[FoundGroup]()):
        opened = write_groups(result, rows, likeness(), found)
        assert opened.looked_for_groups is (found is not None)
        assert opened.groups == []
        assert opened.summary["groups"] == (None if found is None else [])
        assert len(opened.groups_to_pandas()) == len(samples_table(opened)) == 0
        assert [*every_member(opened)] == []
        assert not (result / "spec.zarr" / "members").exists()
        assert (result / "members.parquet").exists() is (found is not None)
        assert ("no groups" in opened._repr_html_()) is (found is not None)


def test_results_of_an_earlier_version_looked_for_no_groups(tmp_path: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parents[1] / "data" / "earlier.zip") as archive:
        archive.extractall(tmp_path)
    opened = ss.open_result(tmp_path / "ab.spec")
    assert opened.record.schema_version == 2
    assert not opened.looked_for_groups
    assert opened.groups == []
    assert len(opened.modes) == len(opened.to_pandas()) > 0
    with pytest.raises(InputError, match="the array members is damaged or gone: run the comparison again"):
        _ = opened.memberships


def test_the_page_of_a_notebook_leads_with_the_groups(result: Path) -> None:
    summary = json.loads((result / "summary.json").read_text())
    summary["inputs"]["a"]["name"] = "<b>"
    noise = {**summary["groups"][1], "group": 2, "verdict": "noise", "certified": False}
    summary["groups"].append(noise)
    (result / "summary.json").write_text(json.dumps(summary))
    page = ss.open_result(result)._repr_html_()
    assert page.index("<th>group</th>") < page.index("<th>mode</th>")
    assert "<td>theme</td>" in page
    assert "<td>noise</td>" not in page
    assert "&lt;b&gt;" in page
    assert "<td><b></td>" not in page


def test_the_files_of_groups_are_ours() -> None:
    for name in ("groups.parquet", "members.parquet", "spec.zarr/members/c/0/0", "spec.zarr/likeness/zarr.json"):
        assert OURS.files.fullmatch(name), name
    assert OURS.folders.fullmatch("spec.zarr/members/c")
    assert not OURS.files.fullmatch("spec.zarr/members/other")


# --- damage, and files of strangers


def summary_with(way: str, value: Any) -> Alter:
    *ways, last = [int(one) if one.isdigit() else one for one in way.split(".")]

    def alter(result: Path) -> None:
        document = json.loads((result / "summary.json").read_text())
        inner = document
        for one in ways:
            inner = inner[one]
        inner[last] = value
        (result / "summary.json").write_text(json.dumps(document))

    return alter


@pytest.mark.parametrize(
    ("way", "value", "said"),
    [
        ("groups", 5, "groups"),
        ("groups", [{}], r"groups\[0\].group"),
        ("groups.0.group", 1, r"groups\[0\].group"),
        ("groups.0.grouped_by", "C", r"groups\[0\].grouped_by"),
        ("groups.0.grouped_by", "B", None),
        ("groups.1.grouped_by", "A", None),
        ("groups.0.verdict", "x", r"groups\[0\].verdict"),
        ("groups.0.certified", None, r"groups\[0\].certified"),
        ("groups.0.size", ROWS, r"groups\[0\].size"),
        ("groups.0.size", 10**18, r"groups\[0\].size"),
        ("groups.0.held_out_size", ROWS, r"groups\[0\].held_out_size"),
        ("groups.1.core", [ROWS], r"groups\[1\].core"),
        ("groups.1.core", [-1], r"groups\[1\].core\[0\]"),
        ("groups.0.similarity_a", float("nan"), r"groups\[0\].similarity_a"),
        ("groups.0.edge", "deep", r"groups\[0\].edge"),
        ("groups.0.merged", "1+", r"groups\[0\].merged"),
    ],
)
def test_groups_of_a_summary_that_cannot_be(result: Path, way: str, value: Any, said: str | None) -> None:
    if way == "groups.0.size" and value == ROWS:
        summary_with("rows.compared", ROWS - 1)(result)
    summary_with(way, value)(result)
    if said is None:
        assert len(ss.open_result(result).groups) == 2
        return
    with pytest.raises(InputError, match=rf"summary\.json: damaged, {said} cannot be: run the comparison again$"):
        ss.open_result(result)


def test_groups_of_b_come_last(result: Path) -> None:
    summary_with("groups.0.grouped_by", "B")(result)
    summary_with("groups.1.grouped_by", "A")(result)
    with pytest.raises(InputError, match="damaged, groups cannot be"):
        ss.open_result(result)


def test_a_summary_of_this_version_says_whether_there_are_groups(result: Path) -> None:
    document = json.loads((result / "summary.json").read_text())
    del document["groups"]
    (result / "summary.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="damaged, groups cannot be"):
        ss.open_result(result)


@pytest.mark.parametrize("schema", [1, 4])
def test_schemas_that_are_not_read(result: Path, schema: int) -> None:
    summary_with("schema_version", schema)(result)
    with pytest.raises(InputError, match=f"a result of schema {schema}, this version reads 2 and 3$"):
        ss.open_result(result)


def flip(name: str) -> Alter:
    def alter(result: Path) -> None:
        path = result / "spec.zarr" / name / "c" / "0" / "0"
        content = bytearray(path.read_bytes())
        content[17] ^= 1
        path.write_bytes(content)

    return alter


def metadata(name: str, **fields: Any) -> Alter:
    def alter(result: Path) -> None:
        path = result / "spec.zarr" / name / "zarr.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return alter


def table(change: Callable[[pa.Table], pa.Table]) -> Alter:
    return lambda result: pq.write_table(
        change(pq.read_table(result / "members.parquet")), result / "members.parquet", write_page_checksum=True
    )


def column(name: str, values: Callable[[pa.ChunkedArray], Any]) -> Alter:
    return table(lambda one: one.set_column(one.column_names.index(name), name, values(one[name])))


DAMAGE: dict[str, Alter] = {
    "a bit of the members": flip("members"),
    "a bit of the likeness": flip("likeness"),
    "no chunk": lambda result: (result / "spec.zarr/members/c/0/0").unlink(),
    "half a chunk": lambda result: os.truncate(result / "spec.zarr/members/c/0/0", 50),
    "a longer chunk": lambda result: os.truncate(result / "spec.zarr/likeness/c/0/0", 10**6),
    "no members": lambda result: shutil.rmtree(result / "spec.zarr/members"),
    "no likeness": lambda result: shutil.rmtree(result / "spec.zarr/likeness"),
    "other shape": metadata("members", shape=[ROWS, 3]),
    "giant shape": metadata("likeness", shape=[10**15, 2]),
    "other type": metadata("members", data_type="float32"),
    "no type": metadata("members", data_type="object"),
    "garbage": lambda result: (result / "members.parquet").write_bytes(b"PAR1" * 9),
    "no table": lambda result: (result / "members.parquet").unlink(),
    "column gone": table(lambda one: one.drop_columns(["rank"])),
    "columns in another order": table(lambda one: one.select(one.column_names[::-1])),
    "texts for ranks": column("rank", lambda values: values.cast(pa.string())),
    "lists for rows": column("row", lambda values: pa.array([[one] for one in values.to_pylist()])),
    "no row": column("row", lambda values: pa.nulls(len(values), pa.int64())),
    "a row that is not there": column("row", lambda values: pc.add(values, ROWS)),
    "a row before the first": column("row", lambda values: pc.subtract(values, 10**6)),
    "source rows as texts": column("source_row", lambda values: values.cast(pa.string())),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_ends_in_one_line(result: Path, name: str) -> None:
    DAMAGE[name](result)
    opened = ss.open_result(result)

    def all_there_is() -> None:
        for group in opened.groups:
            group.rows()
            group.top()
        for _ in every_member(opened):
            pass

    with pytest.raises(InputError, match=r"r\.spec.*: run the comparison again$") as caught:
        all_there_is()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("byte", [2, 255])
def test_bytes_that_are_no_truth_values_are_no_rows_beyond_the_members(result: Path, byte: int) -> None:
    path = result / "spec.zarr/members/c/0/0"
    content = np.frombuffer(path.read_bytes(), np.uint8) * np.uint8(byte)
    path.write_bytes(content.tobytes())
    summary_with("checksums.members", crc32c(content[: 2 * ROWS]))(result)
    for group, column in zip(ss.open_result(result).groups, COLUMNS, strict=True):
        np.testing.assert_array_equal(group.rows(), members(column))


def test_members_are_as_many_as_the_summary_says(result: Path) -> None:
    summary_with("groups.0.size", 30)(result)
    summary_with("groups.0.held_out_size", 0)(result)
    with pytest.raises(InputError, match="the array members is damaged or gone"):
        ss.open_result(result).groups[0].rows()


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_byte_is_told_or_says_nothing(result: Path, data: st.DataObject) -> None:
    def read() -> Any:
        opened = ss.open_result(result)
        tops = [(one.rows().tolist(), one.top().to_json(), one.top(near=True).to_json()) for one in opened.groups]
        return tops, [one.to_pydict() for one in every_member(opened)]

    names = [f"spec.zarr/{name}/{part}" for name in ("members", "likeness") for part in ("zarr.json", "c/0/0")]
    path = result / data.draw(st.sampled_from(["members.parquet", *names]))
    whole, before = path.read_bytes(), read()
    at, byte = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.binary(max_size=2))
    try:
        path.write_bytes(whole[:at] + byte + whole[at + 1 :])
        try:
            found, told = read(), ""
        except InputError as error:
            found, told = before, str(error)
        assert found == before
        assert "\n" not in told
    finally:
        path.write_bytes(whole)


def test_groups_lie_in_an_object_store_as_well(s3: str, result: Path, made: Path) -> None:
    z, rows = likeness(), paired(made / "a.zarr", made / "b.zarr")
    place: Any = located(f"{s3}/r.spec")
    shutil.rmtree(result / "spec.zarr" / "members")
    place.fs.put(str(result), place.path, recursive=True)
    opened = write_groups(f"{s3}/r.spec", rows, z, found_groups(z, COLUMNS))
    np.testing.assert_array_equal(opened.groups[0].rows(), members(COLUMNS[0]))
    assert opened.groups[0].top()["id"].notna().all()
    remove_file(place / "spec.zarr/members/c/0/0")
    with pytest.raises(InputError, match=r"members/c/0/0: the chunk is missing: run the comparison again"):
        opened.groups[0].rows()


def test_a_reader_that_stops_early_is_told_nothing(result: Path) -> None:
    flip("members")(result)
    runs = group_runs(ss.open_result(result), "members")
    assert next(runs)[0] == 0
    with pytest.raises(InputError, match="the array members is damaged"):
        next(runs)
