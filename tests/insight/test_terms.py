from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom, norm

from specscale.insight.terms import LEAST, LEAST_SHARE, Term, contrasting_terms, exact_z
from specscale.insight.words import BREAK, spelled, words_of

COMMON = ["the", "of", "a", "in", "to", "and", "that", "is", "for", "with", "as", "by", "on", "it", "from", "at"]
RARER = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("alo", "eri", "imu", "ona", "usi")]

cells = st.one_of(
    st.none(),
    st.floats(),
    st.integers(),
    st.binary(),
    st.lists(st.text()),
    st.text(),
    st.lists(st.sampled_from([*COMMON[:4], "plant", "Plant", "genus", "植物", "ไทย", "…", "re-use"]), max_size=6).map(
        " ".join
    ),
)


def texts(seed: int, count: int, words: int = 20) -> list[str]:
    """Texts of words that are frequent in all, and of rarer ones."""
    chance = random.Random(seed)
    return [" ".join(chance.choices(COMMON, k=words // 2) + chance.choices(RARER, k=words // 2)) for _ in range(count)]


def said_by(term: str, sides: list[Any]) -> float:
    """The share of the texts that say a term, by reading them."""
    spaced = [f" {spelled(words)} " for words in map(words_of, sides) if any(words)]
    return sum(f" {term} " in one for one in spaced) / len(spaced)


def names(found: list[Term]) -> list[str]:
    return [one.term for one in found]


# --- words


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("The re-use of O'Neil’s snake_case", ["the", "re-use", "of", "o'neil's", "snake", "case"]),
        ("plant, genus; 3 Ａ", ["plant", BREAK, "genus", BREAK, "3", "a"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("caf\u00e9 cafe\u0301 co\u00adoperate", ["café", "café", "cooperate"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("iPhone手机", ["iphone", "手", "机"]),
        ("한국어 텍스트", ["한국어", "텍스트"]),
        ("- ' --", [BREAK] * 4),
        ("\ud800", [BREAK]),
        ("", []),
        (None, []),
        (float("nan"), []),
        (b"bytes", []),
        (["a", "list"], []),
    ],
)
def test_words_are_those_of_any_script(cell: object, words: list[str]) -> None:
    assert words_of(cell) == words


@given(st.text())
def test_words_have_words_of_their_own(text: str) -> None:
    words = [word for word in words_of(text) if word != BREAK]
    assert words_of(" ".join(words)) == words
    assert not any(char.isspace() for word in words for char in word)


def test_characters_of_scripts_without_blanks_are_written_without() -> None:
    assert spelled(["of", "植", "物", "in", "ที่", "นี้", "two", "words"]) == "of 植物 in ที่นี้ two words"


def test_of_a_book_the_beginning_is_read() -> None:
    assert len(words_of("word " * 100_000)) == 200


# --- z


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_z_has_the_upper_tail_of_the_hypergeometric_law(said: int, silent: int, other_said: int, other: int) -> None:
    texts, other_texts = said + silent, other_said + other
    z = exact_z(said, texts, other_said, other_texts)
    if other_texts and said * other_texts > other_said * texts:
        law = hypergeom(texts + other_texts, said + other_said, texts)
        assert norm.sf(z) == pytest.approx(law.sf(said - 1), rel=1e-6)
        assert exact_z(other_said, other_texts, said, texts) == 0
    else:
        assert z == 0


def test_z_is_finite_where_p_is_below_every_float() -> None:
    n = 20_000
    assert exact_z(n, n, 0, n) == pytest.approx((2 * n * math.log(4)) ** 0.5, rel=1e-3)  # p is about 4⁻ⁿ
    assert 0 < exact_z(n - 1, n, 0, n) < exact_z(n, n, 0, n)


# --- terms


@given(st.lists(cells, max_size=30), st.lists(cells, max_size=30), st.integers(0, 7))
def test_no_cell_is_an_error(members: list[Any], others: list[Any], count: int) -> None:
    found = contrasting_terms(members * 3, others * 3, count)
    assert len(found) <= count
    assert all(one.z > 0 and 0 <= one.other_share < one.share <= 1 for one in found)
    assert [one.z for one in found] == sorted((one.z for one in found), reverse=True)


@settings(max_examples=6)
@given(st.randoms(use_true_random=False), st.integers(1, 5))
def test_shares_are_counted_and_the_order_of_rows_changes_nothing(chance: random.Random, planted: int) -> None:
    members, others = texts(chance.randrange(1 << 20), 60), texts(chance.randrange(1 << 20), 80)
    members = [f"{one} {' '.join(RARER[:planted])}" if chance.random() < 0.8 else one for one in members] + [None, "…"]
    found = contrasting_terms(members, others)
    assert found
    for one in found:
        assert one.share == said_by(one.term, members) >= max(LEAST, LEAST_SHARE * 60) / 60
        assert one.other_share == said_by(one.term, others)
    assert contrasting_terms(chance.sample(members, 62), chance.sample(others, 80)) == found


@pytest.mark.parametrize("planted", ["bamboo", "Bamboo", "of the of", "bam-boo", "竹", "竹林", "ไม้ไผ่"])
@pytest.mark.parametrize("share", [0.2, 1])
def test_a_planted_term_is_found(planted: str, share: float) -> None:
    members, others = texts(1, 200), texts(2, 200)
    members[: int(200 * share)] = [f"{planted}. {one}" for one in members[: int(200 * share)]]
    (first, *_) = contrasting_terms(members, others)
    assert first.term == planted.lower()
    assert first.share >= share
    assert first.other_share == said_by(planted.lower(), others)


def test_words_of_function_are_terms() -> None:
    members = [f"{one} of the {two}" for one, two in zip(RARER * 2, RARER[7:] * 3, strict=False)]
    others = [f"{one} {two}" for one, two in zip(RARER * 2, RARER[9:] * 3, strict=False)]
    (found,) = contrasting_terms(members, others)
    assert (found.term, found.share, found.other_share) == ("of the", 1, 0)


def test_a_phrase_is_told_once_and_whole() -> None:
    members = [f"of or relating to {word}" for word in RARER * 2] + [f"relating to {word}" for word in RARER]
    others = [f"{word} or {other}" for word, other in zip(RARER * 3, RARER[5:] * 4, strict=False)]
    assert names(contrasting_terms(members, others)) == ["relating to", "of"]  # two thirds are not more than that
    assert names(contrasting_terms(members[:120], others)) == ["of or relating to"]


def test_a_phrase_that_repeats_half_of_another_stays_a_word() -> None:
    members = [f"{word} state of grace" for word in RARER * 2] + [f"lack of {word}" for word in RARER]
    assert set(names(contrasting_terms(members, RARER * 3))) == {"of", "state of grace", "lack"}


def test_no_word_is_told_twice() -> None:
    for seed in range(5):
        members = [f"{one} {' '.join(random.Random(seed).sample(RARER, 6))}" for one in texts(seed, 100)]
        told = [word for term in names(contrasting_terms(members, texts(9, 100), 20)) for word in term.split()]
        assert len(told) > 5
        assert len(told) == len({*told})


def test_signs_part_phrases() -> None:
    members = [f"plant, genus {word}" for word in RARER]
    assert names(contrasting_terms(members, RARER)) == ["genus", "plant"]


def test_a_word_within_others_is_another_word() -> None:
    (found,) = contrasting_terms([f"cat {word}" for word in RARER], [f"category {word}" for word in RARER])
    assert (found.term, found.other_share) == ("cat", 0)


def test_constant_texts_contrast_with_others_alone() -> None:
    assert contrasting_terms(["a plant"] * 50, ["a plant"] * 80) == []
    assert names(contrasting_terms(["a plant"] * 50, ["a fish"] * 80)) == ["a plant"]


@pytest.mark.parametrize("nothing", [[], [None], ["", "  ", "?!"], [float("nan"), 3, b"plant", ["plant"]]])
def test_a_side_without_texts_tells_nothing(nothing: list[Any]) -> None:
    plants = [f"plant {word}" for word in RARER]
    assert contrasting_terms(plants, nothing) == contrasting_terms(nothing, plants) == []


def test_what_is_no_text_counts_as_none() -> None:
    plants, others = [f"plant {word}" for word in RARER], [f"fish {word}" for word in RARER]
    blank: list[Any] = [None, "", float("nan"), 7, b"fish", ["plant"]] * 40
    assert contrasting_terms(plants + blank, blank + others) == contrasting_terms(plants, others)


@pytest.mark.parametrize(
    ("said", "members", "other_said", "found"),
    [(4, 100, 1, []), (5, 100, 1, ["bamboo"]), (9, 1000, 0, []), (10, 1000, 0, ["bamboo"])],
)
def test_what_a_few_members_say_is_no_term(said: int, members: int, other_said: int, found: list[str]) -> None:
    first, second = (["bamboo"] * few + ["plain"] * many for few, many in ((said, members - said), (other_said, 9000)))
    assert names(contrasting_terms(first, second)) == found


@pytest.mark.parametrize("seed", range(3))
def test_what_is_above_the_bound_is_told(seed: int) -> None:
    chance = random.Random(seed)
    members = [" ".join(word for at, word in enumerate(RARER) if chance.random() < 0.2 + at / 300) for _ in range(90)]
    others = [" ".join(word for word in RARER if chance.random() < 0.2) for _ in range(110)]
    sides = [[f" {one} " for one in part] for part in (members, others)]
    assert all(members + others)
    looked_at = [*RARER, *(f"{first} {second}" for first in RARER for second in RARER)]
    counts = {term: [sum(f" {term} " in one for one in part) for part in sides] for term in looked_at}
    tests = sum(sum(pair) >= LEAST for pair in counts.values())
    said, other_said = np.array([*counts.values()]).T
    p = dict(zip(counts, hypergeom(200, said + other_said, 90).sf(said - 1), strict=True))
    found = contrasting_terms(members, others, 100)
    told = {word for one in found for word in one.term.split()}
    for term, (by_members, _) in counts.items():
        if by_members >= LEAST and p[term] <= 0.05 / tests:
            assert not told.isdisjoint(term.split())
    assert found
    assert all(norm.sf(one.z) <= 0.05 / tests for one in found)


def test_what_a_finding_grows_to_is_a_finding() -> None:
    usual = "one two three four five six seven eight nine"  # with three more, 20 terms: p up to 0.0025
    grove, alone, none = f"{usual}. bamboo grove", f"{usual}. bamboo", usual
    (found,) = contrasting_terms([grove] * 5 + [alone] + [none] * 24, [none] * 60)
    assert (found.term, found.share) == ("bamboo", 0.2)  # p is 0.00095, of the grove 0.0032
    (found,) = contrasting_terms([grove] * 6 + [none] * 24, [none] * 60)
    assert found.term == "bamboo grove"


def test_phrases_have_four_words_at_most_and_ties_an_order() -> None:
    for one in "acdefgh":  # words of which sets have orders of their own
        members = [f"o{one} p{one} b{one} q{one} r{one}"] * 20
        assert names(contrasting_terms(members, ["x"] * 20)) == [f"o{one}", f"p{one} b{one} q{one} r{one}"]


@pytest.mark.slow
@pytest.mark.parametrize(("members", "others"), [(150, 150), (60, 300), (300, 60)])
def test_halves_of_the_same_texts_have_no_terms(members: int, others: int) -> None:
    chance = random.Random(0)
    pool = texts(0, members + others)
    wrong = 0
    for _ in range(20):
        chance.shuffle(pool)
        wrong += bool(contrasting_terms(pool[:members], pool[members:]))
    assert wrong <= 3  # 1 at most on average
