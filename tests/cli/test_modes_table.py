"""The tables of members and of rows: headings, nulls, long texts, widths, and the columns that are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Pair, command
from rich.cells import cell_len

from specscale.cli.columns import cut, padded, shared, text_of
from specscale.cli.members import OF_TAILS, MemberTable

Said = Callable[..., str]

LONG = "a photograph of a family on the beach in summer, taken at sunset with a very old camera by someone who left"
WIDE = "一只红色的狐狸跳过懒狗的背上然后跑进森林里去了再也没有回来过一只红色的狐狸跳过懒狗"
COLUMNS = ["text", "label", "big", *(f"extra{i}" for i in range(9))]


@pytest.fixture
def said(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """What a command says on standard output, which ends with status 0, or another that is given."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: object, status: int = 0) -> str:
        capsys.readouterr()
        assert command(monkeypatch, *arguments) == status
        out, err = capsys.readouterr()
        return err if status else out

    return run


@pytest.fixture
def result(said: Said, pair: Pair) -> str:
    """A comparison whose A has twelve columns."""
    n = len(pair[0])
    for name, array in zip("ab", pair, strict=True):
        np.save(f"{name}.npy", array)
    columns: dict[str, Any] = {
        "text": [(LONG, WIDE, "short\n  text", None)[row % 4] for row in range(n)],
        "label": [None if row % 3 else "dog" for row in range(n)],
        "big": [10**18 + row for row in range(n)],
        **{f"extra{i}": [f"the value {i} of row {row}" for row in range(n)] for i in range(9)},
    }
    pq.write_table(pa.table(columns), "m.parquet")
    said("ingest", "a.npy", "a.zarr", "--metadata", "m.parquet")
    small = ("--size", 30, "--modes", 2, "--sigma-a", 2, "--sigma-b", 2, "--top", 30, "--certify", 0)
    said("compare", "a.zarr", "b.npy", "-o", "o.spec", *small)
    return "o.spec"


def table_of(out: str) -> list[str]:
    """The lines of the members of mode 0, with their heading."""
    lines = next(part for part in out.split("\n\n") if part.startswith("mode 0, ")).splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith("  tail")) :]


def test_every_column_has_its_heading_and_nulls_are_nothing(said: Said, result: str) -> None:
    heading, *lines = table_of(said("modes", result, "--top", 12))
    assert heading.split() == ["tail", "rank", "score", "row", *COLUMNS]
    assert len(lines) == 24
    starts = {name: cell_len(heading[: heading.index(name)]) for name in COLUMNS}
    for line in lines:
        row = int(line.split()[3])
        assert "None" not in line
        assert "nan" not in line
        place = line.index(str(10**18 + row))  # right in its column, which is as wide as its numbers
        assert cell_len(line[:place]) == starts["big"] - len(str(10**18)) + len("big")
        assert ("dog" in line) == (row % 3 == 0)
        text = line[: line.index(str(10**18 + row))]
        expected = {0: cut(LONG, 60), 1: cut(WIDE, 60), 2: "short text", 3: ""}[row % 4]
        assert text.split(maxsplit=4)[4:] in ([expected], [expected, "dog"]) or expected in text
        assert all(f"the value {i} of row {row}" in line for i in range(9))


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_on_a_terminal_lines_fit_and_what_does_not_is_said(
    said: Said, result: str, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = said("modes", result, "--top", 12)
    heading, *lines = table_of(out)
    assert all(cell_len(line) <= columns for line in [heading, *lines])
    shown = heading.split()[4:]
    assert shown == COLUMNS[: len(shown)]
    left_out = COLUMNS[len(shown) :]
    assert (f"no room for {', '.join(left_out)}: choose columns with --show" in out) == bool(left_out)
    assert all(str(10**18 + int(line.split()[3])) in line for line in lines) or "big" in left_out


def test_columns_are_chosen_in_order(said: Said, result: str) -> None:
    assert table_of(said("modes", result, "--show", "label,big"))[0].split()[4:] == ["label", "big"]
    assert table_of(said("modes", result, "--show", " big , text,big"))[0].split()[4:] == ["big", "text"]
    assert table_of(said("modes", result, "--show", "none"))[0].split() == ["tail", "rank", "score", "row"]
    alone = said("modes", result, "--show", "text")
    assert LONG in alone
    assert WIDE in alone
    own = ["tail", "rank", "row", "id", "score", "source_row"]
    for show, columns in (("extra3,text", ["extra3", "text"]), ("none", []), (None, COLUMNS)):
        given = () if show is None else ("--show", show)
        told = json.loads(said("modes", result, "--json", *given))
        assert {tuple(one) for mode in told["modes"] for one in mode["members"]} == {(*own, *columns)}


def test_a_column_that_is_not_there_is_a_line_with_those_that_are(said: Said, result: str) -> None:
    for more in ((), ("--json",)):
        error = said("modes", result, "--show", "text,colour", *more, status=1)
        assert error.startswith(
            "specscale: --show: the samples of o.spec have no column 'colour': there are text, label"
        )
        assert len(error.splitlines()) == 1
    assert "--show" in said("modes", result, "--show", "text", "--overlap", status=2)


@pytest.mark.slow
def test_a_column_may_be_called_anything(said: Said, pair: Pair) -> None:
    for name, array in zip("ab", pair, strict=True):
        np.save(f"{name}.npy", array)
    pq.write_table(pa.table({"none": ["n"] * len(pair[0]), "a,b": ["c"] * len(pair[0])}), "m.parquet")
    said("ingest", "a.npy", "a.zarr", "--metadata", "m.parquet")
    said("compare", "a.zarr", "b.npy", "-o", "o.spec", "--size", 20, "--modes", 1, "--sigma-a", 2, "--sigma-b", 2)
    for name in ("none", "a,b"):
        assert table_of(said("modes", "o.spec", "--show", name))[0].split()[4:] == [name]
    said("compare", "a.npy", "b.npy", "-o", "p.spec", "--size", 20, "--modes", 1, "--sigma-a", 2, "--sigma-b", 2)


def test_ids_are_shown_in_place_of_rows(capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        {"mode": 0, "tail": "+", "rank": 1, "row": 3, "id": "x\x1b", "score": 0.5, "text": "t"},
        {"mode": 0, "tail": "-", "rank": 1, "row": 4, "id": "longer", "score": -0.25, "text": None},
    ]
    table = MemberTable(records, OF_TAILS)
    table.print_heading()
    table.print(records)
    assert capsys.readouterr().out.splitlines() == [
        "  tail  rank     score  id      text",
        r"  +        1  +0.50000  x\x1b   t",
        "  -        1  -0.25000  longer",
    ]


def test_rows_are_the_sources_where_some_were_dropped(
    said: Said, capsys: pytest.CaptureFixture[str], pair: Pair
) -> None:
    records = [{"mode": 0, "tail": "+", "rank": 1, "row": 3, "source_row": 5, "id": None, "score": 0.5}]
    MemberTable(records, OF_TAILS).print(records)
    assert capsys.readouterr().out.split() == ["+", "1", "+0.50000", "5"]
    records[0]["source_row"] = None
    MemberTable(records, OF_TAILS).print(records)
    assert capsys.readouterr().out.split(maxsplit=3) == ["+", "1", "+0.50000", "3 of the store\n"]
    a = pair[0].copy()
    a[[0, 2, 600]] = np.nan
    np.save("a.npy", a)
    said("ingest", "a.npy", "a.zarr", "--on-bad", "drop")
    described = json.loads(said("info", "a.zarr", "--rows", 3, "--json"))
    assert [(one["row"], one["source_row"]) for one in described["rows"]] == [(0, 1), (1, 3), (2, 4)]
    shown = said("info", "a.zarr", "--rows", 3).split("\n\n")[1].splitlines()
    assert [line.split()[0] for line in shown] == ["row", "1", "3", "4"]
    last = json.loads(said("info", "a.zarr", "--rows", 700, "--json"))["rows"][-1]
    assert (last["row"], last["source_row"]) == (696, 699)


@pytest.mark.parametrize(("columns", "as_table"), [(80, False), (None, False), (300, True)])
def test_info_with_twelve_columns_is_readable(
    said: Said, result: str, monkeypatch: pytest.MonkeyPatch, columns: int | None, as_table: bool
) -> None:
    if columns is not None:
        monkeypatch.setenv("COLUMNS", str(columns))
    out = said("info", "a.zarr", "--rows", 4)
    _, *blocks = out.split("\n\n")
    if as_table:
        (block,) = blocks
        assert block.splitlines()[0].split() == ["row", "norm", *COLUMNS]
        assert len(block.splitlines()) == 5
        assert all(str(10**18 + row) in line for row, line in enumerate(block.splitlines()[1:]))
    else:
        assert len(blocks) == 4
        for row, block in enumerate(blocks):
            first, *lines = block.splitlines()
            assert first.startswith(f"row {row}, norm ")
            assert [line.split()[0] for line in lines] == COLUMNS
            assert lines[2].split() == ["big", str(10**18 + row)]
            assert lines[1].split()[1:] == (["dog"] if row % 3 == 0 else [])
    assert all(cell_len(line) <= (columns or 240) for block in blocks for line in block.splitlines())
    assert (LONG in out) == (columns is None)


def test_texts_are_cut_at_words_and_by_cells() -> None:
    assert cut("short", 5) == "short"
    assert cut("one two three", 10) == "one two…"
    assert cut("one two", 4) == "one…"
    assert cut("abcdefghij", 6) == "abcde…"
    assert cut("一二三四五", 6) == "一二…"
    assert cell_len(padded("一二三四五", 6)) == 6
    assert padded("e\u0301", 3) == "e\u0301  "
    assert padded("7", 3, right=True) == "  7"
    assert cut("e\u0301" * 10, 5) == "e\u0301" * 4 + "…"


def test_of_a_book_the_beginning_is_looked_at() -> None:
    assert text_of("word " * 400) == ("word " * 400).strip()
    assert cut(text_of("x" * 10**7), 10) == "x" * 9 + "…"
    assert len(text_of([b"x" * 10**6])) == 2001


def test_widths_are_shared_fairly() -> None:
    assert shared([5, 50, 50], [True] * 3, 45) == [5, 20, 20]
    assert shared([19, 50, 50], [False, True, True], 45) == [19, 13, 13]
    assert shared([5, 6], [True, True], 100) == [5, 6]


def test_nothing_is_printed_where_the_output_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    records = [{"mode": 0, "tail": "+", "rank": 1, "row": 3, "id": None, "score": 0.5, "text": "t"}]
    table = MemberTable(records, OF_TAILS)
    table.print_heading()
    table.print(records)
    assert table.left_out == []


def test_it_is_said_where_the_columns_are_gone(said: Said, result: str) -> None:
    assert "columns are not shown" not in said("modes", result)
    source = json.loads((Path(result) / "summary.json").read_text())["inputs"]["a"]["source"]
    Path(source).rename(f"{source}.elsewhere")
    assert "the samples' columns are not shown: no store of them is any more where it was" in said("modes", result)
    assert "columns are not shown" not in said("modes", result, "--show", "none")


def test_a_result_is_no_store_and_a_store_no_result(said: Said, result: str) -> None:
    assert f"a result, not an embedding store: `specscale modes {result}`" in said("info", result, status=1)
    source = json.loads((Path(result) / "summary.json").read_text())["inputs"]["a"]["source"]
    assert f"an embedding store, no result: `specscale info {source}`" in said("modes", source, status=1)
