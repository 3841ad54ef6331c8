"""The table of groups, the sentence of what was found, one group's members, and what is written of all of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import Pair, command
from grouped import record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from test_inert import EVIL, UNSAFE
from told import ROWS, TRUTH, compared, label_of, likeness, text_of

from specscale.cli.bars import bar_of, plain_bars
from specscale.cli.columns import wrapped
from specscale.cli.findings import percent, sentence_of
from specscale.cli.group_members import print_group
from specscale.cli.group_table import group_lines, print_groups
from specscale.cli.members import OF_GROUPS
from specscale.insight.about import About
from specscale.insight.found import found_groups
from specscale.insight.terms import Term
from specscale.method.result import Result, open_result
from specscale.stores.ingest import ingest

Said = Callable[..., str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told")
    compared(folder)
    return folder


@pytest.fixture
def result(made: Path) -> Result:
    return open_result(made / "r.spec")


@pytest.fixture
def said(
    made: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What ``specscale groups`` says on standard output, or of what fails on standard error."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: object, status: int = 0, of: str = "groups") -> str:
        capsys.readouterr()
        assert command(monkeypatch, of, made / "r.spec", *arguments) == status
        out, err = capsys.readouterr()
        return err if status else out

    return run


def with_groups(result: Result, *fields: dict[str, Any], **summary: Any) -> Result:
    """The result with other groups in its summary."""
    records = [record(number, one.pop("size", 40), **one) for number, one in enumerate(map(dict, fields))]
    result.record = replace(result.record, groups=records, **summary)
    return result


A_GROUP: dict[str, Any] = {"share": 0.1}
A_THEME: dict[str, Any] = {"verdict": "theme", "edge": None}
NOISE: dict[str, Any] = {"verdict": "noise", "certified": False}
OF_B: dict[str, Any] = {"grouped_by": "B"}


# --- the sentence


def test_what_was_found_is_said_in_a_sentence(result: Result) -> None:
    assert sentence_of(result) == (
        "lsa holds together 1 group (15.0 % of the rows) and 0 themes that minilm does not; minilm 0 groups and "
        "1 theme that lsa does not; 1 candidate is noise."
    )
    many = with_groups(result, A_GROUP, A_GROUP, A_THEME, OF_B | A_THEME, OF_B | A_THEME, OF_B | NOISE, OF_B | NOISE)
    assert sentence_of(many) == (
        "lsa holds together 2 groups (at most 20.0 % of the rows) and 1 theme that minilm does not; minilm 0 groups "
        "and 2 themes that lsa does not; 2 candidates are noise."
    )
    assert "(at most 100.0 % of the rows)" in sentence_of(with_groups(result, {"share": 0.7}, {"share": 0.8}))


def test_nothing_found_is_said_too(result: Result) -> None:
    nothing = "nothing that lsa holds together and minilm does not, nor the reverse"
    none = f"no group and no theme was found by 4 modes: {nothing}"
    assert sentence_of(with_groups(result)) == f"{none}."
    assert sentence_of(with_groups(result, NOISE, NOISE)) == f"{none}; 2 candidates are noise."
    # What fails its evidence is noise, whatever its verdict is.
    assert sentence_of(with_groups(result, {"certified": False})) == f"{none}; 1 candidate is noise."
    one = with_groups(result, modes=result.record.modes[:1])
    assert sentence_of(one).startswith("no group and no theme was found by 1 mode: ")
    few = with_groups(result, options={**result.record.options, "least_group": ROWS + 1})
    assert sentence_of(few) == "no group was found: 400 rows are fewer than a group has, 401 (--least-group)."
    no_mode = sentence_of(with_groups(result, modes=[], spec_diff=0.0))
    assert no_mode.startswith("no mode: no |λ| exceeds 0.00001")
    assert no_mode.endswith("so there is no group to tell")


def test_of_b_nothing_is_said_where_nothing_was_looked_for(result: Result) -> None:
    alone = "lsa holds together 1 group (10.0 % of the rows) and 0 themes that minilm does not."
    options = {**result.record.options, "eta": 0.0}
    assert sentence_of(with_groups(result, A_GROUP, options=options)) == alone
    assert "reverse" not in sentence_of(with_groups(result))


def test_a_result_of_an_earlier_version_says_what_to_do(result: Result, capsys: pytest.CaptureFixture[str]) -> None:
    result.record = replace(result.record, groups=None, schema_version=2)
    print_groups(result, {})
    out = capsys.readouterr().out
    assert "of an earlier version" in out
    assert "compare again" in " ".join(out.split())
    assert f"modes: specscale modes {result.path}" in out
    result.record = replace(result.record, schema_version=3)
    assert sentence_of(result) == "groups were not looked for: compare again without --rounds 0 to get them"


def test_names_that_tell_nothing_apart_are_not_used(result: Result) -> None:
    inputs = {which: replace(one, name="model") for which, one in result.record.inputs.items()}
    assert sentence_of(with_groups(result, A_GROUP, inputs=inputs)).startswith("A holds together 1 group")
    inputs = {which: replace(one, name=f"{which}{'x' * 500}") for which, one in inputs.items()}
    assert cell_len(sentence_of(with_groups(result, inputs=inputs))) < 200


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.00 %"), (1e-9, "<0.01 %"), (0.00123, "0.12 %"), (0.018, "1.8 %"), (0.12345, "12.3 %"), (1.0, "100.0 %")],
)
def test_shares_have_two_digits(share: float, text: str) -> None:
    assert percent(share) == text


# --- the table


def lines_of(out: str) -> dict[str, list[str]]:
    """The lines of the table by the embedding that holds the groups together."""
    blocks = [part.splitlines() for part in out.split("\n\n") if part.startswith("held together by ")]
    return {"A" if "(A), not by " in block[0] else "B": block[1:] for block in blocks}


def test_a_line_for_each_group(said: Said) -> None:
    tables = lines_of(said())
    assert tables.keys() == {"A", "B"}
    for heading, *lines in tables.values():
        assert heading.split() == ["group", "rows", "share", "in", "A", "in", "B", "AUC", "verdict", "about"]
        assert len(lines) == 1
    assert tables["A"][1].split()[:9] == ["0", "60", "15.0", "%", "0.80", "███▎", "0.20", "▊", "0.99"]
    assert tables["A"][1].split(maxsplit=9)[9].startswith("group    relating to")
    assert tables["B"][1].split()[:10] == ["2", "~100", "25.0", "%", "0.15", "▋", "0.21", "▉", "0.93", "theme"]
    assert "plant 9" in tables["B"][1] or "plant 8" in tables["B"][1]


def test_noise_is_shown_where_it_is_asked_for(said: Said) -> None:
    assert "noise" not in "".join(lines_of(said())["A"])
    lines = lines_of(said("--noise"))["A"]
    assert [line.split()[0] for line in lines] == ["group", "0", "1"]
    assert lines[2].split()[9] == "noise"


@pytest.mark.parametrize("columns", [None, 200, 80, 60])
def test_lines_are_80_cells_at_most(said: Said, monkeypatch: pytest.MonkeyPatch, columns: int | None) -> None:
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
    out = said("--noise")
    lines = [line for line in out.splitlines() if not line.startswith(("A = ", "λ = ", "members: ", "modes: "))]
    assert max(map(cell_len, lines)) <= min(columns or 80, 80)
    assert ("about" in out) == (columns != 60)
    for group in TRUTH:
        numbers = said("--group", group).splitlines()
        assert max(map(cell_len, numbers[: numbers.index("")])) <= min(columns or 80, 80)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_groups_line_up(data: st.DataObject, result: Result) -> None:
    share, similarity = st.floats(0, 1), st.floats(-1, 1)
    fields = st.fixed_dictionaries(
        {
            "size": st.integers(0, 10**9), "share": share, "similarity_a": similarity, "similarity_b": similarity,
            "auc_a": st.none() | share, "verdict": st.sampled_from(["group", "theme", "noise"]),
        }
    )  # fmt: skip
    with_groups(result, *data.draw(st.lists(fields, min_size=1, max_size=6)))
    words = data.draw(st.lists(st.text(max_size=40), max_size=5))
    about = {0: About("text", [Term(word, 1.0, 0.0, 9.0) for word in words], [])}
    heading, *lines = group_lines(result.groups, about, io.StringIO())
    assert len(lines) == len(result.groups)
    assert max(map(cell_len, [heading, *lines])) <= 80
    assert not [one for one in UNSAFE if one in "".join(lines)]
    verdicts = {cell_len(line[: line.index(one.verdict)]) for line, one in zip(lines, result.groups, strict=True)}
    assert verdicts == {cell_len(heading[: heading.index("verdict")])}


@given(value=st.floats(-1, 2), width=st.integers(1, 20), plain=st.booleans())
def test_bars_are_as_long_as_their_numbers(value: float, width: int, plain: bool) -> None:
    bar = bar_of(value, width, plain)
    assert cell_len(bar) == width
    assert bar.isascii() == (plain or not bar.strip())
    assert bool(bar.strip()) == (value > 0)
    eighths = {"#": 8, **{one: number for number, one in enumerate(" ▏▎▍▌▋▊▉█")}}
    length = sum(eighths[one] for one in bar) / 8
    assert abs(length - min(max(value, 0), 1) * width) <= (1 if plain else 0.125) + 1e-9


@pytest.mark.parametrize(
    ("encoding", "plain"), [("ascii", True), ("latin-1", True), ("utf-8", False), ("nonsense", True), (None, False)]
)
def test_bars_are_of_ascii_where_the_encoding_has_no_blocks(result: Result, encoding: str | None, plain: bool) -> None:
    file = type("Stream", (io.StringIO,), {"encoding": encoding})()
    assert plain_bars(file) is plain
    (line,) = group_lines(result.groups[:1], {}, file)[1:]
    assert line.isascii() == plain
    assert ("0.80 ###" in line) == plain


def test_lines_break_between_words() -> None:
    assert wrapped("one two three", 7) == ["one two", "three"]
    assert wrapped("a /path/that/is/long b", 5) == ["a", "/path/that/is/long", "b"]
    assert wrapped("一二 三四", 5) == ["一二", "三四"]
    assert wrapped("", 5) == [""]


def test_it_is_said_why_nothing_is_known_of_them(made: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    store = made / "a.zarr"
    store.rename(made / "elsewhere.zarr")
    (made / "b.zarr").rename(made / "elsewhere-b.zarr")
    try:
        out = said()
        assert "about" not in lines_of(out)["A"][0]
        assert "what they are about is not shown: no store of them" in out
        assert "columns are not shown: no store" in said("--group", 0)
    finally:
        (made / "elsewhere.zarr").rename(store)
        (made / "elsewhere-b.zarr").rename(made / "b.zarr")


# --- one group


def test_a_group_shows_its_members_outwards_and_near_misses(said: Said) -> None:
    out = said("--group", 0, "--top", 4)
    numbers, members, near = out.split("\n\n")
    for told in (
        "group 0, held together by lsa (A), not by minilm (B)", "60 rows, 15.0 % of 400", "an edge (its valley is 0.10",
        "0.800 ± 0.010 in lsa", "0.200 ± 0.020 in minilm", "contrast 0.650 ± 0.030", "contrast 0.600 ± 0.040 of 30",
        "AUC 0.990 in lsa, 0.600 in minilm", "found in tails of rotated modes: A0+", "about: relating to",
    ):  # fmt: skip
        assert told in " ".join(numbers.split())
    title, heading, *lines = members.splitlines()
    assert title == "members from the core outwards, 4 of 60"
    assert heading.split() == ["rank", "likeness", "id", "text", "label"]
    z = likeness()[:, 0]
    for rank, line in enumerate(lines):
        assert line.split(maxsplit=3)[:3] == [str(rank + 1), OF_GROUPS["likeness"](z[rank]), f"k{rank}"]
        assert text_of(rank) in line
        assert line.endswith(label_of(rank))
    title, _, *lines = near.splitlines()
    assert "whose likeness is below 0.5" in title
    assert len(lines) == 4
    assert all(int(line.split()[2][1:]) not in TRUTH[0] for line in lines)
    assert OF_GROUPS["likeness"](max(z[len(TRUTH[0]) :])) in lines[0]


@given(st.floats(-2, 2))
def test_a_likeness_is_never_rounded_to_that_of_a_member(likeness: float) -> None:
    written = OF_GROUPS["likeness"](likeness)
    assert likeness - 0.001 <= float(written) <= likeness + 1e-12
    assert (float(written) >= 0.5) == (likeness >= 0.5)


def test_columns_of_members_are_chosen(said: Said) -> None:
    assert said("--group", 2, "--show", "label").split("\n\n")[1].splitlines()[1].split() == [
        "rank", "likeness", "id", "label",
    ]  # fmt: skip
    assert "have no column 'colour'" in said("--group", 2, "--show", "colour", status=1)
    assert "--show" in said("--show", "label", status=2)
    assert "--top" in said("--top", 3, status=2)
    assert "members from the core" not in said("--group", 0, "--top", 0)


def test_a_group_that_is_not_there_is_a_line_that_names_those_that_are(said: Said) -> None:
    error = said("--group", 3, status=1)
    assert error.startswith("specscale: --group 3: ")
    assert error.endswith("there are 0 to 2\n")
    assert error.count("\n") == 1


def test_themes_noise_and_near_duplicates_are_said_to_be_such(
    result: Result, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(**fields: Any) -> str:
        one = with_groups(result, {"size": 60, **fields})
        print_group(one, one.groups[0], None, 0)
        return " ".join(capsys.readouterr().out.split())

    assert "~60 rows, 10.0 % of 400; no edge, so its size is a convention" in told(**A_THEME)
    assert "noise 0, held" in told(**NOISE)
    assert "worth 60 distinct rows" in told()
    assert "near-duplicates" not in told()
    assert "worth 7 distinct rows: near-duplicates make it" in told(distinct=7.0)
    few = told(held_out_contrast=None, held_out_se=None, held_out_size=1, null_contrast=None)
    assert "evidence: none: 1 member in the half" in few
    assert "AUC" not in told(auc_a=None, auc_b=None)
    assert "(measured on some members, ± 0.004)" in told(estimate_error=0.004)
    assert "with 3+ round 2 merged into it" in told(merged=["3+ round 2"])


# --- JSON and files


def test_json_has_every_group_and_what_it_is_about(said: Said) -> None:
    told = json.loads(said("--json"))
    assert [one["group"] for one in told["groups"]] == [0, 2]
    assert told["groups"][0]["about"]["terms"][0]["term"] == "relating to"
    assert "members" not in told["groups"][0]
    (one,) = json.loads(said("--json", "--group", 1, "--top", 3))["groups"]
    assert (one["verdict"], one["size"], len(one["members"]), len(one["near"])) == ("noise", 20, 3, 3)
    assert one["members"][0]["id"] == "k80"
    assert one["members"][0]["text"] == text_of(80)


def lines_of_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_member_is_written(said: Said, here: Path) -> None:
    assert "x.csv: 160 members of 2 groups" in said("--export", "x.csv")
    lines = lines_of_csv(here / "x.csv")
    assert list(lines[0]) == ["group", "row", "id", "likeness", "source_row", "text", "label"]
    for group in (0, 2):
        rows = [int(line["row"]) for line in lines if line["group"] == str(group)]
        assert rows == list(TRUTH[group])
    for line in lines:
        row, group = int(line["row"]), int(line["group"])
        assert line["id"] == f"k{row}"
        assert float(line["likeness"]) == likeness()[row, group]
        assert (line["text"], line["label"]) == (text_of(row), label_of(row))
    told = json.loads(said("--json", "--group", 1, "--export", "x.parquet"))
    assert told["exported"] == {"file": "x.parquet", "members": 20, "columns": ["text", "label"]}
    assert pq.read_table("x.parquet").column("row").to_pylist() == list(TRUTH[1])
    assert "180 members of 3 groups" in said("--noise", "--export", "x.csv")  # what was there is replaced
    assert sorted(path.name for path in here.iterdir()) == ["x.csv", "x.parquet"]


@pytest.mark.parametrize("name", ["x.txt", "x", "missing/x.csv", "folder.csv"])
def test_what_cannot_be_written_is_refused_in_a_line(said: Said, here: Path, name: str) -> None:
    (here / "folder.csv").mkdir()
    error = said("--export", name, status=1)
    assert error.startswith(f"specscale: --export {name}: ")
    assert error.count("\n") == 1


def test_a_file_is_written_whole_or_not_at_all(said: Said, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "x.csv").write_text("mine")

    def failing(*_: Any) -> Any:
        yield pq.read_table(here / "some.parquet")
        raise OSError(28, "no space", "x.csv")

    assert "members" in said("--export", "some.parquet")
    monkeypatch.setattr("specscale.insight.export.every_member", failing)
    assert "the disk is full" in said("--export", "x.csv", status=1)
    assert (here / "x.csv").read_text() == "mine"
    assert sorted(path.name for path in here.iterdir()) == ["some.parquet", "x.csv"]


def test_a_file_without_members_has_its_columns(
    result: Result, said: Said, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Result, "groups", property(lambda self: []))
    for name in ("x.csv", "x.parquet"):
        assert f"{name}: 0 members of 0 groups" in said("--export", name)
    assert lines_of_csv(here / "x.csv") == []
    assert pq.read_table("x.parquet").column_names == ["group", "row", "id", "likeness", "source_row"]


# --- the other commands


def test_a_comparison_ends_with_groups(result: Result, said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    from specscale.cli.overview import print_overview

    print_overview(result)
    out = capsys.readouterr().out
    table = said()
    assert table.partition("\n\n")[2] == out.partition("\n\n")[2]
    assert out.splitlines()[-2:] == [
        f"members: specscale groups {result.path} --group 0",
        f"modes: specscale modes {result.path}",
    ]
    assert "effective size" not in out
    assert "effective size" in said(of="modes")


def test_labels_are_explained_of_groups_unless_modes_are_asked_for(said: Said, result: Result) -> None:
    out = said("--labels", "label", of="explain")
    assert "theme 2, held together by minilm, 100 members" in out
    assert "group 0, held together by lsa, 60 members\n  no label is enriched" in out
    assert "mode" not in out.partition("q ≤")[2]
    assert "mode 0+, grouped by lsa, 5 members" in said("--labels", "label", "--modes", of="explain")


@pytest.mark.slow
def test_what_users_wrote_is_inert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = {
        "key": [f"{row}{EVIL}" for row in range(ROWS)],
        f"text{EVIL}": [f"{text_of(row)} \n{EVIL}" + " said\x1b[1m" * (row in TRUTH[0]) for row in range(ROWS)],
        "label": [f"{row in TRUTH[2]}{EVIL}" for row in range(ROWS)],
    }
    compared(tmp_path, columns, (f"one{EVIL}", f"two{EVIL}"))
    for more in ((), ("--noise",), ("--group", 0), ("--group", 2, "--show", "label"), ("--group", 0, "--show", EVIL)):
        command(monkeypatch, "groups", tmp_path / "r.spec", *more)
        out, err = capsys.readouterr()
        assert not [one for one in UNSAFE if one != "\n" and one in out + err], more
    assert command(monkeypatch, "groups", tmp_path / "r.spec", "--json", "--group", 0) == 0
    told = capsys.readouterr().out
    assert all(" " <= one < "\x7f" for one in told.rstrip("\n"))
    assert json.loads(told)["groups"][0]["members"][0]["id"] == f"0{EVIL}"


@pytest.mark.slow
def test_from_two_files_to_counted_groups(
    here: Path, make_pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = np.random.default_rng(0).choice(6, size=1000, p=[0.22, 0.15, 0.09, 0.18, 0.11, 0.25])
    pq.write_table(pa.table({"kind": [f"kind {one}" for one in truth]}), "m.parquet")
    for name, array in zip("ab", make_pair(1000), strict=True):
        ingest(array, f"{name}.zarr", name=f"model {name}", metadata="m.parquet")
    how = ("--size", 100, "--modes", 4, "--sigma-a", 2, "--sigma-b", 2, "--certify", 0)
    rules = ("--fail-on", "groups>=5", "--fail-on", "group_share>0.19", "--fail-on", "groups>50")
    assert command(monkeypatch, "compare", "a.zarr", "b.zarr", "-o", "o.spec", *how, *rules) == 3
    out, err = capsys.readouterr()
    result = open_result("o.spec")
    found = found_groups(result)
    assert sentence_of(result) in " ".join(out.split())
    tables = lines_of(out)
    for which, kinds in (("A", {0, 1, 2}), ("B", {3, 4})):
        own = [one for one in found if one.grouped_by == which]
        assert {int(np.bincount(truth[one.rows()]).argmax()) for one in own} == kinds
        for line, one in zip(tables[which][1:], own, strict=True):
            assert line.split()[:2] == [str(one.group), f"{one.size:,}"]
            assert f"kind {np.bincount(truth[one.rows()]).argmax()} " in line
    first = max(found, key=lambda one: one.share).group
    lines = [line for line in err.splitlines() if " holds: " in line]
    assert lines[0] == "specscale: groups>=5 holds: groups is 5, groups 0, 1, 2, 3 and 4"
    assert lines[1].startswith(f"specscale: group_share>0.19 holds: group_share is {found[first].share:.6g} in group ")
    assert len(lines) == 2
    assert command(monkeypatch, "groups", "o.spec", "--group", 0, "--show", "kind") == 0
    assert "  rank  likeness  row  kind\n" in capsys.readouterr().out
    assert command(monkeypatch, "groups", "o.spec", "--export", "x.parquet") == 0
    table = pq.read_table("x.parquet")
    for one in found:
        rows = table.filter(pc.equal(table.column("group"), one.group)).column("row").to_pylist()
        assert rows == one.rows().tolist()


@pytest.mark.slow
def test_of_files_the_columns_of_all_members_are_not_there_which_is_said(
    here: Path, make_pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = make_pair(1000)
    pq.write_table(pa.table({"vector": list(a), "text": [text_of(row % ROWS) for row in range(1000)]}), "a.parquet")
    np.save("b.npy", b)
    how = ("--size", 100, "--modes", 4, "--sigma-a", 2, "--sigma-b", 2, "--certify", 0)
    assert command(monkeypatch, "compare", "a.parquet", "b.npy", "-o", "o.spec", *how) == 0
    capsys.readouterr()
    assert command(monkeypatch, "groups", "o.spec", "--group", 0, "--export", "x.csv") == 0
    out = capsys.readouterr().out
    assert "likeness  row  text" in out
    assert "without the samples' columns: of files the result keeps those of some members" in out
    assert list(lines_of_csv(here / "x.csv")[0]) == ["group", "row", "id", "likeness", "source_row"]
