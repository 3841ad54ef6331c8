"""Rules over groups: what they count, and what is said of the groups that made them hold."""

from __future__ import annotations

import operator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_type_hints

import pytest
from conftest import command
from grouped import record
from hypothesis import given
from hypothesis import strategies as st
from told import TRUTH, compared, text_of

from specscale.cli.group_table import HEADINGS
from specscale.cli.overview import print_causes
from specscale.errors import OptionError
from specscale.insight.gate import FIELDS_OF_GROUPS, Rule
from specscale.method.result import Result, open_result
from specscale.results.groups import Group
from specscale.results.schema import GroupRecord

OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


def result_of(*fields: dict[str, Any], looked_for: bool = True) -> Result:
    """As much of a result as a gate looks at."""
    groups = [
        Group(**vars(record(number, **{"size": 50, **one})), _result=cast(Any, None))
        for number, one in enumerate(fields)
    ]
    options = SimpleNamespace(options={"certify": 0})
    of = SimpleNamespace(groups=groups, looked_for_groups=looked_for, record=options, path=Path("o.spec"), modes=[])
    return cast(Result, of)


THEME = {"verdict": "theme"}
NOISE = ({"verdict": "noise"}, {"certified": False}, {"verdict": "theme", "certified": False})


def test_groups_and_themes_whose_evidence_holds_are_counted() -> None:
    result = result_of({}, *NOISE, THEME, {"grouped_by": "B"})
    verdict = Rule.parse("groups>0").check(result)
    assert (verdict.holds, verdict.value, verdict.groups, verdict.modes) == (True, 3, (0, 4, 5), ())
    assert str(verdict) == "groups>0 holds: groups is 3, groups 0, 4 and 5"
    assert not Rule.parse("groups>3").check(result).holds
    assert Rule.parse("groups>3").check(result).groups == ()
    assert str(Rule.parse("groups>=1").check(result_of({}))) == "groups>=1 holds: groups is 1, group 0"
    assert str(Rule.parse("groups<1").check(result_of(*NOISE))) == "groups<1 holds: groups is 0"
    many = str(Rule.parse("groups>0").check(result_of(*[{}] * 30)))
    assert many == "groups>0 holds: groups is 30, groups 0, 1, 2, 3, 4, 5, 6, 7 and 22 more"


@given(data=st.data())
def test_a_rule_over_a_field_holds_when_any_group_meets_it(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(FIELDS_OF_GROUPS))
    fields = [name.removeprefix("group_")] if name != "group_auc" else ["auc_a", "auc_b"]
    known = st.integers(0, 1000) if fields[0] in ("size", "held_out_size") else st.floats(0, 1)
    may_lack = fields[0] in ("auc_a", "auc_b", "held_out_contrast", "held_out_se", "edge")
    one = st.fixed_dictionaries(
        {**dict.fromkeys(fields, st.none() | known if may_lack else known), "grouped_by": st.sampled_from("AB")}
    )
    groups = data.draw(st.lists(one, max_size=6))
    noise = data.draw(st.sets(st.integers(0, 5)))
    result = result_of(*(one | {"certified": number not in noise} for number, one in enumerate(groups)))

    def value_of(group: dict[str, Any]) -> Any:
        return group[f"auc_{group['grouped_by'].lower()}" if name == "group_auc" else fields[0]]

    values = {number: value_of(one) for number, one in enumerate(groups) if number not in noise}
    values = {number: value for number, value in values.items() if value is not None}
    op, number = data.draw(st.sampled_from(sorted(OPERATORS))), data.draw(st.floats(0, 2))
    number = data.draw(st.sampled_from(sorted(values.values()))) if values and data.draw(st.booleans()) else number
    verdict = Rule(name, op, float(number)).check(result)
    assert set(verdict.groups) == {one for one, value in values.items() if OPERATORS[op](value, number)}
    assert verdict.holds == bool(verdict.groups)
    assert verdict.modes == ()
    assert verdict.value == ((max if op[0] == ">" else min)(values.values()) if values else None)
    if verdict.groups:
        assert values[verdict.groups[0]] == verdict.value
        assert f"in group {verdict.groups[0]}" in str(verdict)


def test_every_number_of_a_group_has_its_rule() -> None:
    kinds = get_type_hints(GroupRecord)
    numbers = {name for name, kind in kinds.items() if kind in (int, float, int | None, float | None)}
    # Where the likeness begins and ends says nothing of what was found, and the backgrounds are the whole result's.
    told = numbers - {"group", "background", "level", "threshold", "background_a", "background_b"}
    told -= {"estimate_error", "null_contrast"}  # how the others were measured
    assert {f"group_{name}" for name in told} | {"group_auc"} == set(FIELDS_OF_GROUPS)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Groups > 0", "groups"), ("share>0.02", "group_share"), ("group share>0.02", "group_share"),
        ("rows>=500", "group_size"), ("group-size>=500", "group_size"), ("in A>0.5", "group_similarity_a"),
        ("in B>0.5", "group_similarity_b"), ("AUC>0.9", "group_auc"), ("a>0.1", "a"),
    ],
)  # fmt: skip
def test_names_are_as_the_table_of_groups_has_them(text: str, name: str) -> None:
    assert Rule.parse(text).name == name


def test_every_number_that_the_table_heads_has_its_rule() -> None:
    for name in set(HEADINGS) - {"group", "verdict"}:
        assert Rule.parse(f"{name}>0.5").of_groups


def test_a_result_without_groups_is_no_result_with_none() -> None:
    for rule in ("groups>0", "groups<1", "group_share>0.1"):
        with pytest.raises(OptionError, match=r"needs groups.*o\.spec was made: compare again"):
            Rule.parse(rule).check(result_of(looked_for=False))
    assert Rule.parse("group_share>0").check(result_of()).value is None


def test_rules_that_no_search_answers_are_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rule, status in (("groups>0", 1), ("modes>0", 1)):
        given = ("--rounds", 0, "--fail-on", rule)
        assert command(monkeypatch, "compare", "a", "b", "-o", "o.spec", *given) == status
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert ("which --rounds 0 leaves out" in error) == (rule == "groups>0")


@pytest.mark.slow
def test_the_groups_that_made_a_rule_hold_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compared(tmp_path)
    result = open_result(tmp_path / "r.spec")
    verdicts = [Rule.parse(text).check(result) for text in ("group_share>0.2", "group_share>0.9", "modes>=1")]
    print_causes(result, verdicts[:2])
    out, err = capsys.readouterr()
    assert out == ""
    heading, line, *members = err.strip("\n").splitlines()
    assert heading.split()[0] == "group"
    assert line.split()[:2] == ["2", f"~{len(TRUTH[2])}"]
    assert [one.split()[2] for one in members] == ["k150", "k151", "k152"]
    assert all(text_of(150 + number) in one for number, one in enumerate(members))
    print_causes(result, verdicts)
    err = capsys.readouterr().err
    assert err.index("theme") < err.index("effective size")
    result.record = replace(result.record, groups=[])
    print_causes(result, [])
    assert capsys.readouterr().err == ""
