"""What groups are about, from whatever columns their rows have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import command
from told import ROWS, TRUTH, compared, label_of

import specscale as ss
from specscale.errors import OptionError
from specscale.insight.enrichment import Enrichment, explain
from specscale.insight.members import members_of
from specscale.insight.subjects import subjects_of


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ss.Result:
    return compared(tmp_path_factory.mktemp("subjects"))


def test_terms_are_those_of_members_and_labels_are_counted_over_all_rows(result: ss.Result) -> None:
    about = subjects_of(result, result.groups)
    assert about.keys() == {0, 1, 2}
    assert about[0].text == "text"
    assert about[0].terms[0].term == "relating to"
    assert not about[2].terms
    (plant,) = about[2].labels
    everyone = [label_of(row) for row in range(ROWS)]
    inside = [label_of(row) for row in TRUTH[2]]
    assert (plant.column, plant.label) == ("label", "plant")
    assert plant.share == inside.count("plant") / len(inside)
    assert plant.other_share == everyone.count("plant") / ROWS
    assert plant.lift == pytest.approx(plant.share / plant.other_share)


def test_only_the_groups_that_are_asked_for_are_looked_at(result: ss.Result) -> None:
    assert subjects_of(result, result.groups[2:]).keys() == {2}
    assert subjects_of(result, []) == {}


@pytest.mark.slow
def test_columns_that_tell_nothing_are_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns: dict[str, Any] = {
        "text": [None] * ROWS,
        "constant": ["the same text each time"] * ROWS,
        "number": np.arange(ROWS) / 7,
        "nested": [["a", "b"]] * ROWS,
        "label": [None if row % 2 else ("x" if row in TRUTH[0] else "y") for row in range(ROWS)],
        "blank": ["", " "] * (ROWS // 2),
    }
    result = compared(tmp_path, columns)
    about = subjects_of(result, result.groups)
    assert not any(one.terms for one in about.values())
    (label,) = about[0].labels
    assert (label.label, label.members) == ("x", len(TRUTH[0]) // 2)
    for group in range(3):
        assert command(monkeypatch, "groups", result.path, "--group", group) == 0


@pytest.mark.slow
def test_without_columns_nothing_is_known(tmp_path: Path) -> None:
    result = compared(tmp_path, {"key": [f"k{row}" for row in range(ROWS)]})
    assert subjects_of(result, result.groups) == {}


# --- labels of exact members


def test_members_are_those_of_the_groups_that_hold(result: ss.Result) -> None:
    everyone = members_of(result)
    assert [(one.group, one.verdict, one.grouped_by) for one in everyone] == [(0, "group", "A"), (2, "theme", "B")]
    for one in everyone:
        assert one.rows.tolist() == list(TRUTH[one.group])
    for one in members_of(result, 7):
        assert one.rows.tolist() == list(TRUTH[one.group])[:7]
    with pytest.raises(OptionError, match="--top"):
        members_of(result, 0)


def test_labels_are_explained_of_every_member(result: ss.Result) -> None:
    found = explain(result, "label")
    table = found.to_pandas()
    assert list(table.columns) == list(Enrichment.__dataclass_fields__)
    inside = [label_of(row) for row in TRUTH[2]]
    (plant,) = (one for one in found.found[1] if one.label == "plant")
    assert (plant.group, plant.mode, plant.tail, plant.count, plant.members) == (
        2, None, None, inside.count("plant"), len(inside),
    )  # fmt: skip
    assert plant.enriched
    assert found.to_json()["groups"][1]["group"] == 2
    assert found.tests == 2 * 3
    of_modes = explain(result, "label", modes=True)
    assert {one.to_json()["mode"] for one in of_modes.groups} == {0, 1, 2, 3}
    assert all(one.group is None for labels in of_modes.found for one in labels)
    assert {one.members for labels in explain(result, "label", top=7).found for one in labels} == {7}


def test_without_groups_it_is_the_tails_that_are_explained(result: ss.Result) -> None:
    again = ss.open_result(result.path)
    again.record = replace(again.record, groups=[])
    assert explain(again, "label").to_json() == explain(result, "label", modes=True).to_json()
