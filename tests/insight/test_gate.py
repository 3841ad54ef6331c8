"""Rules that stop a pipeline: their grammar, what they find in results, the exit status of ``compare --fail-on``."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from conftest import command
from hypothesis import given
from hypothesis import strategies as st

import specscale as ss
from specscale.errors import OptionError
from specscale.insight.gate import CERTIFICATE, FIELDS, FIELDS_OF_GROUPS, OF_ALL, Rule
from specscale.results.comparison import Mode

MakePair = Callable[..., Any]
MakeStore = Callable[..., Path]
OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
FAST = ("--size", "40", "--modes", "2", "--top", "5", "--threads", "2")


@pytest.fixture(scope="module")
def result(make_pair: MakePair) -> ss.Result:
    a, b = make_pair(500)
    return ss.compare(a, b, size=40, n_modes=3, top=5, threads=2)


# --- the grammar


@given(
    name=st.sampled_from(OF_ALL + FIELDS_OF_GROUPS + FIELDS),
    op=st.sampled_from(sorted(OPERATORS)),
    number=st.floats(0, allow_infinity=False, allow_nan=False),
    blanks=st.lists(st.sampled_from(["", " ", "  "]), min_size=4, max_size=4),
)
def test_a_rule_is_read_as_it_was_meant(name: str, op: str, number: float, blanks: list[str]) -> None:
    rule = Rule.parse(f"{blanks[0]}{name}{blanks[1]}{op}{blanks[2]}{number!r}{blanks[3]}")
    assert rule == Rule(name, op, number)
    assert Rule.parse(str(rule)) == rule


@pytest.mark.parametrize(
    "text",
    [
        "", "spec_diff", "spec_diff>", ">0.05", "spec_diff=0.05", "spec_diff==0.05", "spec_diff>0.05>0", "mode>0",
        "|a|>0.1", "lam>0.1", "spec_diff>nan", "spec_diff>inf", "spec_diff>1e999", "spec_diff>0x1",
        "spec_diff>5%", "eigenvalue<-0.03", "spec_diff>0.05; modes>1", "spec_diff > > 1", "spec_diff>.", "a>1 or b>1",
        "a>1\nb>1", "a!=1", "spec_diff>1_0", "grouped_by>0", "_result>0",
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused_with_what_is_legal(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        Rule.parse(text)
    assert len(str(caught.value).splitlines()) == 1
    for name in (*OF_ALL, *FIELDS_OF_GROUPS, *FIELDS, ">=", "quotes"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("λ > 0.03", "eigenvalue"), ("Λ>0", "eigenvalue"), ("|λ|>0", "eigenvalue"), ("lambda>0", "eigenvalue"),
        ("exact λ>0", "rayleigh"), ("Exact Lambda>0", "rayleigh"), ("exact |λ|>0", "rayleigh"),
        ("exact λ se>0", "rayleigh_se"), ("exact-se>0", "rayleigh_se"), ("effective size<9", "effective_size"),
        ("Effective_Size<9", "effective_size"), ("effective-size<9", "effective_size"), ("Residual>0", "residual"),
        ("SE>0", "se"), ("SPEC-diff>0", "spec_diff"), ("spec diff>0", "spec_diff"), ("spec\u2011diff>0", "spec_diff"),
        ("A>0", "a"), ("b >= 1", "b"), ("η>1", "eta"), ("exact a>0", "exact_a"), ("Certified>0", "certified"),
    ],
)  # fmt: skip
def test_names_are_as_people_see_them(text: str, name: str) -> None:
    assert Rule.parse(text).name == name


def test_every_number_that_the_table_heads_has_its_rule(
    stores: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "compare", *stores, "-o", tmp_path / "out", *FAST) == 0
    capsys.readouterr()
    assert command(monkeypatch, "modes", tmp_path / "out", "--top", 0) == 0
    out = capsys.readouterr().out
    (heading,) = (line for line in out.splitlines() if line.startswith("mode "))
    names = re.split(r" {2,}| ± ", heading)
    assert names == [
        "mode", "grouped by", "λ", "se", "a", "b", "effective size", "exact λ", "se", "residual", "verdict"
    ]  # fmt: skip
    for name in {*names} - {"mode", "grouped by", "verdict"} | {"SPEC-diff"}:
        assert name in out
        assert Rule.parse(f"{name}>0.5").number == 0.5


def test_every_numeric_field_of_a_mode_has_its_rule() -> None:
    kinds = get_type_hints(Mode)
    numeric = [name for name, kind in kinds.items() if kind in (float, float | None)]
    assert sorted(numeric) == sorted(FIELDS)
    with_certificate = [name for name, kind in kinds.items() if type(None) in get_args(kind)]
    assert sorted(with_certificate) == sorted(CERTIFICATE)


def test_a_rule_is_written_as_people_write_it() -> None:
    assert [str(Rule.parse(text)) for text in ("spec_diff > 0.05", "certified>0", "a>=1e-7")] == [
        "spec_diff>0.05",
        "certified>0",
        "a>=1e-07",
    ]


# --- what rules find


def expected_value(mode: Mode, name: str) -> float:
    value = getattr(mode, name)
    return abs(value) if name in ("eigenvalue", "rayleigh") else value


@given(data=st.data())
def test_a_rule_over_modes_holds_when_any_mode_meets_it(result: ss.Result, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(FIELDS))
    op = data.draw(st.sampled_from(sorted(OPERATORS)))
    values = {mode.mode: expected_value(mode, name) for mode in result.modes}
    number = data.draw(st.sampled_from([max(one, 0.0) for one in values.values()]) | st.floats(0, 2))
    verdict = Rule(name, op, number).check(result)
    meeting = {mode for mode, value in values.items() if OPERATORS[op](value, number)}
    assert verdict.holds == bool(meeting)
    assert set(verdict.modes) == meeting
    assert verdict.value == (max if op[0] == ">" else min)(values.values())
    if meeting:
        assert values[verdict.modes[0]] == verdict.value


def test_groups_of_b_count_by_their_size(result: ss.Result) -> None:
    strongest = max(-mode.eigenvalue for mode in result.modes if mode.grouped_by == "B")
    verdict = Rule("eigenvalue", ">=", strongest).check(result)
    assert verdict.holds
    assert any(result.modes[number].grouped_by == "B" for number in verdict.modes)


def test_rules_over_the_result(result: ss.Result) -> None:
    count, real = len(result.modes), [mode.mode for mode in result.modes if mode.certified]
    assert real
    assert result.spec_diff == max(abs(mode.eigenvalue) for mode in result.modes)
    strongest = max(result.modes, key=lambda mode: abs(mode.eigenvalue)).mode

    exceeded = Rule("spec_diff", ">=", result.spec_diff).check(result)
    assert (exceeded.holds, exceeded.value, exceeded.modes) == (True, result.spec_diff, (strongest,))
    assert not Rule("spec_diff", ">", result.spec_diff).check(result).holds
    assert Rule("spec_diff", "<", 1.0).check(result).modes == (strongest,)
    every = Rule("spec_diff", ">", 0.0).check(result).modes
    assert sorted(every) == list(range(count))

    assert sorted(Rule("certified", ">", 0).check(result).modes) == real
    assert Rule("certified", ">", len(real)).check(result).to_json() == {
        "rule": f"certified>{len(real)}",
        "holds": False,
        "value": len(real),
        "modes": [],
        "groups": [],
    }
    noise = Rule("certified", "<=", len(real)).check(result)
    assert noise.holds
    assert sorted(noise.modes) == sorted(set(range(count)) - set(real))
    assert Rule("modes", ">=", count).check(result).holds
    assert not Rule("modes", "<", count).check(result).holds


def test_a_verdict_says_the_value_and_where(result: ss.Result) -> None:
    number = result.spec_diff * (1 - 1e-12)
    verdict = Rule("spec_diff", ">", number).check(result)
    assert str(verdict) == f"{Rule('spec_diff', '>', number)} holds: spec_diff is {result.spec_diff!r}"
    mode = max(result.modes, key=lambda mode: mode.a)
    assert f"a is {mode.a:.6g} in mode {mode.mode}, and " in str(Rule("a", ">", 0).check(result))


def test_without_a_mode_no_mode_meets_a_rule(make_pair: MakePair) -> None:
    a, _ = make_pair(300)
    nothing = ss.compare(a, a, size=30, n_modes=2)
    assert not nothing.modes
    for op in OPERATORS:
        verdict = Rule("eigenvalue", op, 0.0).check(nothing)
        assert (verdict.holds, verdict.value, verdict.modes) == (False, None, ())
    assert Rule("modes", "<", 1).check(nothing).holds
    assert not Rule("certified", ">", 0).check(nothing).holds
    assert Rule("spec_diff", "<=", 0).check(nothing).modes == ()


def test_a_rotated_result_has_a_cause_though_no_mode_is_as_strong(make_pair: MakePair) -> None:
    a, b = make_pair(500)
    rotated = ss.compare(a, b, size=40, n_modes=3, rotate="varimax")
    strongest = max(rotated.modes, key=lambda mode: abs(mode.eigenvalue))
    assert abs(strongest.eigenvalue) < rotated.spec_diff
    verdict = Rule("spec_diff", ">", (abs(strongest.eigenvalue) + rotated.spec_diff) / 2).check(rotated)
    assert verdict.holds
    assert verdict.modes == (strongest.mode,)


def test_what_the_certificate_says_needs_one(make_pair: MakePair) -> None:
    a, b = make_pair(300)
    plain = ss.compare(a, b, size=30, n_modes=2, certify=0)
    for name in CERTIFICATE:
        with pytest.raises(OptionError, match=r"--certify 256"):
            Rule(name, ">", 0).check(plain)
    assert Rule("spec_diff", ">", 0).check(plain).holds


# --- the command


@pytest.fixture
def stores(make_pair: MakePair, make_store: MakeStore) -> tuple[Path, Path]:
    a, b = make_pair(400)
    texts = {"text": [f"sample number {i}" for i in range(len(a))]}
    return make_store("a", a, ids=[f"id-{i}" for i in range(len(a))], columns=texts), make_store(
        "b", b, ids=[f"id-{i}" for i in range(len(b))]
    )


@pytest.mark.slow
def test_a_rule_that_holds_ends_with_3_after_the_result_is_written(
    stores: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    rules = ["spec_diff>0.01", "effective_size<1", "certified > 0"]
    given = [word for rule in rules for word in ("--fail-on", rule)]
    assert command(monkeypatch, "compare", *stores, "-o", out, *FAST, *given) == 3
    done = capsys.readouterr()
    found = ss.open_result(out)
    lines = [line for line in done.err.splitlines() if " holds: " in line]
    assert lines == [
        f"specscale: spec_diff>0.01 holds: spec_diff is {found.spec_diff:.6g}",
        f"specscale: certified>0 holds: certified is {sum(bool(mode.certified) for mode in found.modes)}",
    ]
    assert "verdict" in done.err
    for mode in found.modes:
        assert f"{mode.eigenvalue:+.5f} ± {mode.se:.5f}" in done.err
        top = mode.top(4, "+")
        shown = [re.search(rf" {row.id} +sample number {row.row}\n", done.err) is not None for row in top.itertuples()]
        assert shown[:3] == [True] * 3
    members = [line for line in done.err.splitlines() if "sample number" in line]
    assert len(members) == 6 * len(found.modes)


@pytest.mark.slow
def test_a_rule_that_holds_is_all_that_is_said_under_quiet(
    stores: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = ("--fail-on", "modes>=1", "--fail-on", "spec_diff>0.9")
    assert command(monkeypatch, "compare", *stores, "-o", tmp_path / "out", *FAST, *rules, "--quiet") == 3
    done = capsys.readouterr()
    assert done.out == ""
    assert done.err.startswith("specscale: modes>=1 holds: modes is ")
    assert len(done.err.splitlines()) == 1


@pytest.mark.slow
def test_the_table_shows_the_modes_that_caused_it_alone(
    stores: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ss.compare(*stores, size=40, n_modes=2, top=5)
    sizes = sorted(abs(mode.eigenvalue) for mode in first.modes)
    rule = f"eigenvalue>{(sizes[-1] + sizes[-2]) / 2}"
    assert command(monkeypatch, "compare", *stores, "-o", tmp_path / "out", *FAST, "--fail-on", rule) == 3
    done = capsys.readouterr()
    (strongest,) = (mode for mode in first.modes if abs(mode.eigenvalue) == sizes[-1])
    shown = [line.split()[0] for line in done.err.splitlines() if " ± " in line and "λ" not in line]
    assert shown == [str(strongest.mode)]
    assert "SPEC-diff" in done.out


def test_rules_that_do_not_hold_end_with_0(
    stores: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = ["compare", *stores, *FAST]
    assert command(monkeypatch, *plain, "-o", tmp_path / "x", "--fail-on", "spec_diff>1", "--fail-on", "modes>99") == 0
    assert " holds" not in capsys.readouterr().err


@pytest.mark.slow
def test_json_says_what_every_rule_found(
    stores: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    rules = ("--fail-on", "modes>=1", "--fail-on", "spec_diff>0.9", "--normalize", "unit")
    assert command(monkeypatch, "compare", *stores, "-o", out, *FAST, *rules, "--json") == 3
    done = capsys.readouterr()
    assert done.err.startswith("specscale: modes>=1 holds: modes is ")
    assert "spec_diff>0.9" not in done.err
    told = json.loads(done.out)
    found = ss.open_result(out)
    assert {key: told[key] for key in told if key != "gate"} == found.summary
    assert [set(one) for one in told["gate"]] == [{"rule", "holds", "value", "modes", "groups"}] * 2
    assert told["gate"][0] == {
        "rule": "modes>=1",
        "holds": True,
        "value": len(found.modes),
        "modes": told["gate"][0]["modes"],
        "groups": [],
    }
    assert sorted(told["gate"][0]["modes"]) == list(range(len(found.modes)))
    assert told["gate"][1] == {
        "rule": "spec_diff>0.9",
        "holds": False,
        "value": found.spec_diff,
        "modes": [],
        "groups": [],
    }
    assert command(monkeypatch, "compare", *stores, "-o", tmp_path / "plain", *FAST, "--json") == 0
    assert "gate" not in json.loads(capsys.readouterr().out)


def test_what_cannot_be_checked_is_refused_before_any_work(
    stores: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = sorted(tmp_path.iterdir())
    plain = ["compare", *stores, "-o", tmp_path / "out"]
    assert command(monkeypatch, *plain, "--fail-on", "modes>1", "--fail-on", "lam>0.1") == 2
    error = capsys.readouterr().err
    assert "--fail-on" in error
    assert all(name in error for name in OF_ALL + FIELDS)
    assert command(monkeypatch, *plain, "--certify", "0", "--fail-on", "certified>0") == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "--certify" in error
    assert sorted(tmp_path.iterdir()) == there
