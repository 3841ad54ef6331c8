from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DATA
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from scipy.stats import false_discovery_control, hypergeom

from specscale.errors import InputError
from specscale.insight.about import About, EnrichedLabel, about
from specscale.insight.roles import cells_of, label_columns, text_column
from specscale.insight.terms import Term

WORDS = ["small", "large", "red", "old", "quiet", "loud", "round", "flat", "sweet", "bitter", "warm", "cold"]
KINDS = ["animal", "food", "person", "tool"]


def sentences(count: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    return [f"{' '.join(chance.sample(WORDS, 5))} thing {number}" for number in range(count)]


def table(**columns: Any) -> pa.Table:
    return pa.table(columns)


def planted(members: int = 80, others: int = 120) -> tuple[pa.Table, pa.Table]:
    """Plants, of which four in five are labelled so, and what are none."""
    kinds = [None if row % 10 == 0 else "food" if row % 5 == 0 else "plant" for row in range(members)]
    first = table(text=[f"a green plant, {one}" for one in sentences(members)], kind=kinds)
    second = table(text=sentences(others, 1), kind=[KINDS[row % 4] for row in range(others)])
    return first, second


# --- which columns


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"id": [f"{row:06}-n" for row in range(40)], "lemma": WORDS * 4, "gloss": sentences(40)}, "gloss"),
        ({"path": [f"/data/My Images/img {row}.jpg" for row in range(40)]}, None),
        ({"url": [f"https://a.example/{row}/some title" for row in range(40)], "title": sentences(40)}, "title"),
        ({"note": sentences(40), "caption": [one.replace("thing ", "") for one in sentences(40)]}, "caption"),
        ({"lemma": [f"{first}{second}" for first in WORDS for second in WORDS]}, None),
        ({"note": sentences(40), "alt": sentences(40, 1)}, "note"),
        ({"title": sentences(40), "review": [f"{one}. {one}. {one}" for one in sentences(40)]}, "review"),
        ({"image_description": [f"{one} {row}" for row, one in enumerate(WORDS)]}, "image_description"),
        ({"text": WORDS * 4}, "text"),
        ({"kind": ["a red thing", "a blue thing"] * 20}, None),
        ({"text": ["all the same"] * 40}, None),
        ({"text": [None, "", " "] * 10}, None),
        ({"text": [f"{row:x}f3" for row in range(40)]}, None),
        ({"文": [f"植物の一種{row}" for row in range(40)]}, "文"),
        ({"text": list(range(40)), "vectors": [[1.0, 2.0]] * 40, "bytes": [b"some bytes"] * 40}, None),
        ({}, None),
    ],
)
def test_the_text_is_what_says_most_in_words(columns: dict[str, Any], text: str | None) -> None:
    columns = {name: values[: min(map(len, columns.values()))] for name, values in columns.items()}
    assert text_column(cells_of(pa.table(columns))) == text


def test_labels_are_few_distinct_strings_integers_and_truths() -> None:
    n = 60
    columns = {
        "text": sentences(n),
        "word": ["plant", None, "food"] * 20,
        "code": pa.array([1, None, 2] * 20, pa.int8()),
        "float": [1.0, float("nan"), 2.0] * 20,
        "truth": [True, False, None] * 20,
        "packed": pa.array(["x", "y", None] * 20).dictionary_encode(),
        "constant": ["x"] * n,
        "share": [0.5, 0.25, 1.0] * 20,
        "number": range(n),
        "empty": pa.nulls(n, pa.string()),
        "blank": ["", " "] * 30,
        "none": pa.nulls(n),
        "list": [["x"]] * n,
        "bytes": [b"x"] * n,
    }
    assert label_columns(cells_of(pa.table(columns))) == ["word", "code", "float", "truth", "packed", "constant"]


def test_a_thousand_values_are_labels() -> None:
    columns = {"thousand": [*range(1000)] * 3, "more": [*range(1001), *range(1001), *[0] * 998]}
    assert label_columns(columns) == ["thousand"]


def test_cells_are_those_of_columns_that_every_table_has_once() -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array(["x"])], ["a", "a", "b"])
    assert cells_of(twice) == {"b": ["x"]}
    assert cells_of(twice, table(b=pa.array(["y"]).dictionary_encode(), a=[1])) == {"b": ["x", "y"]}
    assert cells_of(table(a=[1], b=[2]), table(b=[3])) == {"b": [2, 3]}


# --- what members are about


def test_terms_and_labels_are_named() -> None:
    found = about(*planted())
    assert found.text == "text"
    assert found.terms[0].term == "a green plant"
    assert found.labels[0].label == "plant"
    (plant,) = found.labels
    assert (plant.column, plant.count, plant.members, plant.other_share) == ("kind", 64, 72, 0)
    assert plant.lift == math.inf
    assert found.line(80) == "a green plant · plant 89% (∞×)"


@given(st.lists(st.sampled_from([*KINDS, None, ""]), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_labels_are_tested_against_those_beside(labels: list[str | None], chance: random.Random) -> None:
    cut = chance.randint(0, len(labels))
    found = about(table(kind=pa.array(labels[:cut], pa.string())), table(kind=pa.array(labels[cut:], pa.string())))
    members, others = (Counter(filter(None, part)) for part in (labels[:cut], labels[cut:]))
    pool = members + others
    if len(pool) * 2 > pool.total() or not members or not others:
        assert found.labels == []
        return
    law = {one: hypergeom(pool.total(), pool[one], members.total()).sf(members[one] - 1) for one in pool}
    rates = dict(zip(law, false_discovery_control([*law.values()]), strict=True))
    enriched = {one for one, rate in rates.items() if rate <= 0.05}
    assert {one.label for one in found.labels} == enriched
    for one in found.labels:
        assert one.p == pytest.approx(law[one.label])
        assert one.q == pytest.approx(rates[one.label])
        assert one.share == members[one.label] / members.total()
        assert one.other_share == others[one.label] / others.total()


def test_labels_are_tested_against_all_rows_where_they_were_counted() -> None:
    members, others = planted()
    counts = {"kind": Counter({"plant": 100, "food": 900, "": 7}), "elsewhere": Counter("x")}
    (plant,) = about(members, others, counts).labels
    assert (plant.label, plant.count, plant.members, plant.share) == ("plant", 64, 72, 64 / 72)
    assert (plant.other_share, plant.lift) == (0.1, pytest.approx(640 / 72))
    assert plant.p == pytest.approx(hypergeom(1000, 100, 72).sf(63), rel=1e-6)
    assert plant.q == pytest.approx(2 * plant.p)
    with pytest.raises(ValueError, match="leave members out"):
        about(members, others, {"kind": {"plant": 1, "food": 900}})


def test_what_members_share_with_those_beside_is_enriched_among_all_rows() -> None:
    kinds = table(kind=["plant"] * 30)
    assert about(kinds, kinds).labels == []
    (plant,) = about(kinds, kinds, {"kind": {"plant": 100, "food": 900}}).labels
    assert (plant.share, plant.lift) == (1, 10)
    assert about(kinds, table(kind=[None] * 30), {"kind": {"plant": 100, "food": 900}}).labels == [plant]


def test_columns_that_were_counted_are_labels_however_few_rows_there_are() -> None:
    members, others = table(kind=["plant", "plant", "food"]), table(kind=["animal"])
    assert label_columns(cells_of(members, others)) == []
    assert [one.label for one in about(members, others, {"kind": {"plant": 10, "food": 9000}}).labels] == ["plant"]


def test_columns_in_which_no_member_has_a_label_make_no_test() -> None:
    members, others = planted()
    beside = others.append_column("other", pa.array(KINDS * 30))
    assert about(members.append_column("other", pa.nulls(80)), beside).labels == about(members, others).labels


def test_random_labels_are_not_enriched() -> None:
    wrong = 0
    for seed in range(60):
        chance = np.random.default_rng(seed)
        drawn = [table(a=chance.choice(KINDS, 200), b=chance.integers(0, 10, 200)) for _ in range(2)]
        wrong += bool(about(*drawn).labels)
    assert wrong <= 6  # 3 at most on average


@settings(max_examples=5)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(chance: random.Random) -> None:
    members, others = planted()
    members = members.append_column("tied", pa.array(["x", "y"] * 40))
    others = others.append_column("tied", pa.array(["z"] * 120))
    shuffled = [part.take(chance.sample(range(len(part)), len(part))) for part in (members, others)]
    assert about(*shuffled) == about(members, others)
    assert [one.label for one in about(members, others).labels] == ["plant", "x", "y"]


columns_of = st.one_of(
    st.lists(st.one_of(st.none(), st.text(max_size=20), st.sampled_from(["a plant", "x"])), min_size=12, max_size=12),
    st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=12, max_size=12),
    st.lists(st.one_of(st.none(), st.floats()), min_size=12, max_size=12),
    st.lists(st.one_of(st.none(), st.booleans()), min_size=12, max_size=12),
    st.lists(st.one_of(st.none(), st.binary()), min_size=12, max_size=12),
    st.lists(st.one_of(st.none(), st.lists(st.integers(0, 3))), min_size=12, max_size=12),
)


@given(st.dictionaries(st.text(), columns_of, max_size=4), st.integers(0, 12), st.integers(-1, 90))
def test_no_column_is_an_error(columns: dict[str, Any], cut: int, width: int) -> None:
    rows = pa.table(columns)
    found = about(rows[:cut], rows[cut:])
    json.dumps(found.to_json(), allow_nan=False)
    line = found.line(width)
    assert cell_len(line) <= max(width, 0)
    assert len(line.splitlines()) <= 1


def test_columns_can_be_named() -> None:
    members, others = planted()
    assert about(members, others, text="kind", labels=[]).terms[0].term == "plant"
    named = about(members.append_column("n", pa.array([1.5] * 80)), others.append_column("n", pa.nulls(120)), labels=[])
    assert named.labels == []
    members, others = (part.append_column("v", pa.array([[1.0]] * len(part))) for part in (members, others))
    for options in ({"text": "nope"}, {"labels": ["kind", "nope"]}, {"text": "v"}):
        with pytest.raises(InputError, match=r"no column '\w+' of texts, numbers or truths; there are text, kind"):
            about(members, others, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="there are none"):
        about(members.select([]), others, text="text")


def test_a_named_column_that_is_no_text_has_no_terms() -> None:
    rows = table(number=list(range(50)))
    assert about(rows, rows, text="number") == About("number", [], [])


def test_without_columns_or_rows_there_is_nothing_to_say() -> None:
    members, others = planted()
    for first, second in ((members[:0], others), (members[:0], others[:0]), (members.select([]), others)):
        assert about(first, second).line(80) == ""
    assert about(members, others[:0]).labels == []


# --- a line of it


def label(name: Any, share: float = 0.59, lift: float = 8.0, column: str = "label") -> EnrichedLabel:
    return EnrichedLabel(column, name, 59, 100, share, share / lift, lift, 0.0, 0.0)


def test_a_line_holds_what_it_has_room_for() -> None:
    terms = [Term(name, 0.5, 0.1, 9.0) for name in ("plant", "genus", "shrubs", "leaves\nof", "tree")]
    found = About("text", terms, [label("noun.plant"), label(3, 0.14, 1.25), label(True, 0.1, math.inf, "wild")])
    whole = "plant, genus, shrubs, leaves of, tree · noun.plant 59% (8×), label 3 14% (1.2×), wild True 10% (∞×)"
    assert found.line(200) == whole
    assert found.line(80) == "plant, genus, shrubs, leaves of, tree · noun.plant 59% (8×), label 3 14% (1.2×)"
    assert found.line(45) == "plant, genus, shrubs · noun.plant 59% (8×)"
    assert found.line(30) == "plant · noun.plant 59% (8×)"
    assert found.line(10) == "plant"
    assert found.line(4) == "pla…"
    assert found.line(0) == ""


def test_a_line_of_either_alone() -> None:
    assert About("text", [Term("plant", 0.5, 0.1, 9.0)], []).line(80) == "plant"
    assert About(None, [], [label("plant"), label("food")]).line(80) == "plant 59% (8×), food 59% (8×)"
    assert About(None, [], [label("x" * 100)]).line(80) == f"{'x' * 29}… 59% (8×)"
    assert About(None, [], []).line(80) == ""


def test_wide_characters_take_two_cells() -> None:
    found = About("text", [Term("植物界", 0.5, 0.1, 9.0), Term("動物", 0.5, 0.1, 8.0)], [])
    assert [found.line(width) for width in (12, 11, 6, 5)] == ["植物界, 動物", "植物界", "植物界", "植物…"]


def test_json_has_plain_values() -> None:
    said = About("text", [Term("plant", 0.5, 0.25, 9.0)], [label("noun.plant", lift=math.inf)]).to_json()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said["terms"] == [{"term": "plant", "share": 0.5, "other_share": 0.25, "z": 9.0}]
    assert (said["labels"][0]["label"], said["labels"][0]["lift"]) == ("noun.plant", None)


# --- WordNet


@pytest.fixture(scope="module")
def definitions() -> pa.Table:
    path = Path(DATA, "wordnet", "rows.parquet")
    if not path.exists():
        pytest.skip("WordNet's definitions are not here")
    return pq.read_table(path)


def drawn(rows: pa.Table, like: str, count: int, but: str | None = None) -> pa.Table:
    kinds = rows["label"].to_numpy(zero_copy_only=False).astype(str)
    numbers = np.flatnonzero(np.char.startswith(kinds, like) & (kinds != but))
    return rows.take(np.random.default_rng(0).choice(numbers, count, replace=False))


@pytest.mark.data
@pytest.mark.slow
def test_plants_among_nouns_have_plant_words(definitions: pa.Table) -> None:
    members, others = drawn(definitions, "noun.plant", 1000), drawn(definitions, "noun", 1000, "noun.plant")
    counts = Counter(definitions["label"].to_pylist())
    found = about(members, others, {"label": counts})
    assert found.text == "text"
    assert {"flowers", "having", "leaves"} <= {one.term for one in found.terms}
    assert [(one.column, one.label, one.share) for one in found.labels] == [("label", "noun.plant", 1)]
    assert found.labels[0].lift == pytest.approx(len(definitions) / counts["noun.plant"])
    assert "flowers" in found.line(40)


@pytest.mark.data
@pytest.mark.slow
def test_relational_adjectives_are_a_phrase(definitions: pa.Table) -> None:
    found = about(drawn(definitions, "adj.pert", 1000), drawn(definitions, "adj", 1000, "adj.pert"))
    assert found.line(80).startswith("of or relating to, ")
    assert found.labels[0].label == "adj.pert"


@pytest.mark.data
@pytest.mark.slow
def test_halves_of_definitions_have_no_terms(definitions: pa.Table) -> None:
    texts = definitions["text"].to_pylist()
    wrong = 0
    for seed in range(20):
        half = random.Random(seed).sample(texts, 800)
        found = about(table(text=half[:400]), table(text=half[400:]))
        wrong += bool(found.terms)
    assert wrong <= 3  # 1 at most on average
