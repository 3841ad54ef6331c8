"""What a result says beyond its modes: labels, overlap, agreement, and equal rows in the embeddings."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import chain, repeat
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.distance import squareform
from sklearn.cluster import KMeans
from sklearn.metrics import (
    adjusted_mutual_info_score,
    normalized_mutual_info_score,
    pairwise_distances,
    silhouette_score,
)

import specscale as ss
from specscale.cli.app import main
from specscale.cli.insight_tables import _probability, print_explanation
from specscale.embeddings import duplicates
from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.duplicates import find_duplicates
from specscale.embeddings.opening import open_embedding
from specscale.errors import ChangedError, InputError, OptionError
from specscale.insight import labels
from specscale.insight import measures as agreement
from specscale.insight.enrichment import benjamini_hochberg, log_upper_tail
from specscale.insight.measures import measures
from specscale.insight.overlap import overlap
from specscale.method.result import Result

Pair = tuple[NDArray[Any], NDArray[Any]]
MakeStore = Callable[..., Path]

SMALL: dict[str, Any] = {"size": 30, "n_modes": 3, "sigma": (2.0, 2.0), "top": 25, "rounds": 0}
GROUP = ["zero", "one", "two", "three", "four", "rest"]


def compare(a: Any, b: Any, **options: Any) -> Result:
    return ss.compare(a, b, **{**SMALL, **options})


def true_groups(n: int) -> list[str]:
    """The groups that the fixture `pair` was made of."""
    generator = np.random.default_rng(0)
    return [GROUP[one] for one in generator.choice(6, size=n, p=[0.22, 0.15, 0.09, 0.18, 0.11, 0.25])]


def members_of(*groups: tuple[int, str, list[int]], scores: list[list[float]] | None = None) -> pa.Table:
    """Members as a result has them: mode, tail and rows of each group."""
    parts = []
    for i, (mode, tail, rows) in enumerate(groups):
        u = scores[i] if scores else [1.0] * len(rows)
        ranks = range(1, len(rows) + 1)
        parts.append(pd.DataFrame({"mode": mode, "tail": tail, "rank": ranks, "row": rows, "id": None, "score": u}))
    return pa.Table.from_pandas(pd.concat(parts, ignore_index=True), preserve_index=False)


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in the test's folder: its status, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["specscale", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def labelled(pair: Pair, make_store: MakeStore) -> Callable[..., Result]:
    """Compare the pair as stores, A with columns: ``labelled({"label": …}, top=10)``."""

    def make(columns: dict[str, Any], a: NDArray[Any] | None = None, **options: Any) -> Result:
        first = make_store("a", pair[0] if a is None else a, columns=columns, on_bad="keep")
        return compare(str(first), str(make_store("b", pair[1])), **options)

    return make


# --- enrichment


def true_enrichment(result: Result, values: list[Any], compared: NDArray[np.bool_]) -> tuple[pd.DataFrame, int]:
    """Every test by exact fractions, and q by the definition: the least rate at which a test is a discovery."""
    everyone = Counter(value for value, here in zip(values, compared, strict=True) if here and value is not None)
    total = sum(everyone.values())
    tests = []
    for (mode, tail), members in result.members().groupby(["mode", "tail"]):
        here = Counter(values[row] for row in members["row"] if values[row] is not None)
        drawn = sum(here.values())
        for label, rows in everyone.items():
            ways = sum(comb(rows, k) * comb(total - rows, drawn - k) for k in range(here[label], min(rows, drawn) + 1))
            p = float(Fraction(ways, comb(total, drawn)))
            fold = here[label] / drawn / (rows / total)
            tests.append({"mode": mode, "tail": tail, "label": label, "count": here[label], "rows": rows} | {"p": p})
            tests[-1] |= {"members": drawn, "compared": total, "fold": fold}
    p_values = sorted(one["p"] for one in tests)
    for one in tests:
        rates = [p * len(tests) / rank for rank, p in enumerate(p_values, 1) if p >= one["p"]]
        one["q"] = min(1.0, *rates)
    return pd.DataFrame([one for one in tests if one["count"]]), len(tests)


@pytest.mark.parametrize("kind", ["text", "integer", "float", "truth"])
@pytest.mark.slow
def test_every_label_is_tested_against_all_compared_rows(
    pair: Pair, labelled: Callable[..., Result], kind: str
) -> None:
    names = true_groups(700)
    of_kind: dict[str, Callable[[str], Any]] = {
        "text": str,
        "integer": GROUP.index,
        "float": lambda name: GROUP.index(name) / 2,
        "truth": lambda name: name in GROUP[:2],
    }
    values: list[Any] = [of_kind[kind](name) for name in names]
    for row in (3, 50, *range(300, 340)):
        values[row] = None
    a = pair[0].copy()
    a[[10, 11, 500]] = 0
    result = labelled({"label": values}, a, kernel="cosine", size=None, on_bad="drop")
    found = ss.explain(result, "label", alpha=0.01)
    kept = np.ones(700, dtype=bool)
    kept[[10, 11, 500]] = False
    truth, tests = true_enrichment(result, values, kept)
    assert (found.tests, found.unlabelled) == (tests, 42)
    assert found.compared == 700 - 3 - 42
    table = found.to_pandas()
    keys = ["mode", "tail", "label"]
    both = truth.merge(table, on=keys, suffixes=("", "_found"), validate="one_to_one")
    assert len(both) == len(truth) == len(table)
    for name in ("count", "rows", "members", "compared"):
        assert (both[name] == both[f"{name}_found"]).all()
    for name in ("p", "q", "fold"):
        np.testing.assert_allclose(both[f"{name}_found"], both[name], rtol=1e-7)
    assert (table["enriched"] == (table["q"] <= 0.01)).all()
    assert 0 < table["enriched"].sum() < len(table)
    assert (table["p"].diff()[table[["mode", "tail"]].eq(table[["mode", "tail"]].shift()).all(axis=1)] >= 0).all()


@pytest.mark.slow
def test_p_is_the_upper_tail_of_the_hypergeometric_law(labelled: Callable[..., Result]) -> None:
    for one in ss.explain(labelled({"label": true_groups(700)}), "label").to_pandas().itertuples():
        truth = scipy.stats.hypergeom(one.compared, one.rows, one.members).pmf(range(one.count, one.members + 1)).sum()
        assert one.p == pytest.approx(truth, rel=1e-9)


@pytest.mark.slow
def test_a_group_that_only_a_sees_is_named(labelled: Callable[..., Result]) -> None:
    found = ss.explain(labelled({"label": true_groups(700)}, size=300), "label")
    group, (best, *_) = found.groups[0], found.found[0]
    assert (group.name, group.grouped_by) == ("0+", "A")
    assert best.label in GROUP[:3]
    assert best.count >= 0.9 * best.members
    assert best.q < 1e-6


def test_fewer_members_and_a_sample_of_the_rows_are_what_is_counted(labelled: Callable[..., Result]) -> None:
    result = labelled({"label": true_groups(700)}, sample=333)
    found = ss.explain(str(result.path), "label", top=7)
    assert found.compared == 333
    assert {len(group.rows) for group in found.groups} == {7}
    assert found.to_pandas()["members"].max() == 7


@given(
    st.lists(st.one_of(st.just(1.0), st.floats(0, 1, allow_subnormal=False)), min_size=1, max_size=20),
    st.integers(0, 30),
)
def test_tests_that_found_nothing_count_without_being_listed(p: list[float], others: int) -> None:
    truth = scipy.stats.false_discovery_control([*p, *[1.0] * others])[: len(p)]
    with np.errstate(divide="ignore"):
        log_q = benjamini_hochberg(np.log(p), len(p) + others)
    np.testing.assert_allclose(np.exp(log_q), truth, rtol=1e-12)


def true_log_p(count: int, drawn: int, rows: int, total: int) -> float:
    """ln P(X ≥ count), by whole numbers."""
    ways = sum(comb(rows, k) * comb(total - rows, drawn - k) for k in range(count, min(rows, drawn) + 1))
    with localcontext() as context:
        context.prec = 50
        return float((Decimal(ways) / Decimal(comb(total, drawn))).ln())


@pytest.mark.parametrize(
    ("count", "drawn", "rows", "total"),
    [
        (100, 100, 100, 10_000_000),  # 1e-542
        (100, 100, 101, 10_000_000),
        (90, 100, 1000, 2**31),
        (900, 1000, 2000, 1_000_000),
        (55, 100, 500, 1000),
        (50, 100, 999_000, 1_000_000),
        (1, 5, 3, 10),
        (2, 5, 7, 10),
        (3, 5, 7, 10),
    ],
)
def test_p_below_every_float_is_as_exact_as_others(count: int, drawn: int, rows: int, total: int) -> None:
    truth = true_log_p(count, drawn, rows, total)
    assert log_upper_tail(count, drawn, rows, total) == pytest.approx(truth, rel=1e-13, abs=1e-12)
    assert log_upper_tail(count, drawn, rows, total) <= 0


def test_labels_below_every_float_do_not_tie(monkeypatch: pytest.MonkeyPatch, capsys: Any, pair: Pair) -> None:
    result = compare(*pair)
    rows = np.array([100, 99, 9_999_801])
    counted = labels.Labels(["x", "y", "z"], rows, 0, np.repeat([0, 1], [100, 99]))
    monkeypatch.setattr("specscale.insight.enrichment.label_column", lambda *_: None)
    monkeypatch.setattr("specscale.insight.enrichment.labels_of", lambda *_: counted)
    groups = members_of((0, "+", [*range(100)]), (0, "-", [*range(99)]))
    monkeypatch.setattr(Result, "members_table", lambda self: groups)
    found = ss.explain(result, "label")
    x, y = found.found[0][0], found.found[1][0]
    assert (x.label, x.p, x.q, y.label, y.p) == ("x", 0.0, 0.0, "y", 0.0)
    log_x, log_y = (true_log_p(n, n, n, 10_000_000) / np.log(10) for n in (100, 99))
    assert x.log10_p == pytest.approx(log_x, rel=1e-12)
    assert y.log10_p == pytest.approx(log_y, rel=1e-12)
    assert x.log10_q == pytest.approx(log_x + np.log10(6), rel=1e-12)
    assert y.log10_q == pytest.approx(log_y + np.log10(6 / 2), rel=1e-12)
    assert x.enriched
    said = found.to_json()["groups"][0]["labels"][0]
    assert (said["log10_p"], said["log10_q"]) == (x.log10_p, x.log10_q)
    print_explanation(result, found)
    out = capsys.readouterr().out
    exponent = int(np.floor(log_x))
    assert f"  {10 ** (log_x - exponent):.1f}e{exponent}  " in out


@pytest.mark.parametrize(
    ("log10", "text"),
    [(-411.4948, "3.2e-412"), (-400.00001, "1.0e-400"), (-2.0, "0.01"), (0.0, "1"), (-299.5, "3.2e-300")],
)
def test_probabilities_are_two_digits_at_any_size(log10: float, text: str) -> None:
    assert _probability(log10) == text


def test_groups_without_a_label_make_no_test(labelled: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    values = [None, None, *["x", "y", "y"] * 100, *[None] * 398]
    result = labelled({"label": values})
    monkeypatch.setattr(Result, "members_table", lambda self: members_of((0, "+", [0, 1]), (1, "-", [2, 1, 5])))
    found = ss.explain(result, "label")
    assert (found.tests, found.labels, found.unlabelled_members) == (2, 2, [2, 1])
    (one,) = found.found[1]
    assert (one.label, one.count, one.members, one.rows, one.compared) == ("x", 2, 2, 100, 300)
    assert one.p == pytest.approx(100 * 99 / (300 * 299))
    assert one.q == pytest.approx(2 * one.p)


@pytest.mark.slow
def test_labels_are_counted_across_batches(monkeypatch: pytest.MonkeyPatch, labelled: Callable[..., Result]) -> None:
    result = labelled({"label": true_groups(700)}, on_bad="drop", sample=600)
    whole = ss.explain(result, "label").to_pandas()
    monkeypatch.setattr(labels, "CHUNK_ROWS", 64)
    pd.testing.assert_frame_equal(ss.explain(result, "label").to_pandas(), whole)


@pytest.mark.slow
def test_a_column_is_refused_in_one_line_that_says_why(labelled: Callable[..., Result]) -> None:
    result = labelled(
        {
            "label": true_groups(700),
            "name": [f"n{i}" for i in range(700)],
            "empty": [None] * 699 + [float("nan")],
            "tags": [["a", "b"]] * 700,
        }
    )
    source = result.summary["inputs"]["a"]["source"]
    for column, what in {
        "nope": f"{source}: there is no column 'nope'; there are label, name, empty, tags",
        "name": "700 values in 700 rows, so it names rows",
        "empty": "'empty' is empty in all compared rows",
        "tags": "column 'tags' holds list<",
    }.items():
        with pytest.raises(InputError) as caught:
            ss.explain(result, column)
        assert what in str(caught.value)
        assert "\n" not in str(caught.value)
    for options, name in (({"alpha": 0.0}, "--alpha"), ({"alpha": float("nan")}, "--alpha"), ({"top": 0}, "--top")):
        with pytest.raises(OptionError, match=name):
            ss.explain(result, "label", **options)


@pytest.mark.slow
def test_a_column_of_very_many_labels_is_given_up_early(
    labelled: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "CHUNK_ROWS", 50)
    monkeypatch.setattr(labels, "_MOST_LABELS", 60)
    with pytest.raises(InputError, match="100 values in 100 rows"):
        ss.explain(labelled({"label": [*range(150), *[0] * 550]}), "label")


@pytest.mark.slow
def test_labels_are_read_only_from_the_store_that_was_compared(
    pair: Pair, make_store: MakeStore, labelled: Callable[..., Result], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"A was an array.*ingest"):
        ss.explain(compare(*pair), "label")
    np.save(tmp_path / "files.npy", pair[0])
    with pytest.raises(InputError, match=r"files\.npy: labels are read from a store"):
        ss.explain(compare(str(tmp_path / "files.npy"), pair[1]), "label")
    with pytest.raises(InputError, match="no columns: ingest it again with --metadata"):
        ss.explain(compare(str(make_store("bare", pair[0])), pair[1]), "label")
    result = labelled({"label": true_groups(700)})
    store = Path(result.summary["inputs"]["a"]["source"])
    store.rename(tmp_path / "elsewhere.zarr")
    with pytest.raises(InputError, match=r"a\.zarr: A's store is no longer there"):
        ss.explain(result, "label")
    make_store("a", pair[0] + 1, columns={"label": true_groups(700)})
    with pytest.raises(ChangedError, match="no longer the embedding that was compared"):
        ss.explain(result, "label")


@pytest.mark.slow
def test_ids_that_were_replaced_are_a_change(pair: Pair, make_store: MakeStore) -> None:
    columns = {"label": true_groups(700)}
    first, second = (make_store(name, x, range(700), columns) for name, x in zip("ab", pair, strict=True))
    result = compare(str(first), str(second))
    assert ss.explain(result, "label").tests
    make_store("a", pair[0], ids=range(700, 1400), columns=columns, overwrite=True)
    with pytest.raises(ChangedError, match="no longer the embedding"):
        ss.explain(result, "label")


# --- overlap


def test_shared_members_are_counted_for_every_two_groups(pair: Pair) -> None:
    result = compare(*pair, top=150)
    found = overlap(result)
    groups = {key: set(part["row"]) for key, part in result.members().groupby(["mode", "tail"])}
    assert [(one.mode, one.tail) for one in found.groups] == sorted(groups, key=lambda key: (key[0], key[1] == "-"))
    for i, first in enumerate(found.groups):
        for j, second in enumerate(found.groups):
            mine, other = groups[first.mode, first.tail], groups[second.mode, second.tail]
            assert found.counts[i, j] == len(mine & other)
            assert found.shares[i, j] == pytest.approx(len(mine & other) / len(mine))
    pairs = found.pairs(0.05)
    assert {(min(one.first, one.second), max(one.first, one.second)) for one in pairs} == {
        (i, j) for j in range(len(groups)) for i in range(j) if max(found.shares[i, j], found.shares[j, i]) >= 0.05
    }
    assert [one.share for one in pairs] == sorted((one.share for one in pairs), reverse=True)
    assert pairs
    assert overlap(result, top=5).counts.max() == 5


def test_of_two_groups_the_one_that_shares_more_of_itself_comes_first(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = compare(*pair)
    groups = members_of((0, "+", [*range(20)]), (1, "-", [0, 1, 2, 90]), (2, "+", [19, *range(100, 119)]))
    monkeypatch.setattr(Result, "members_table", lambda self: groups)
    (one,) = overlap(result).pairs()
    assert (one.first, one.second, one.members, one.share, one.back) == (1, 0, 3, 0.75, 0.15)
    said = overlap(result).to_json()
    assert said["shares"] == [[1.0, 0.15, 0.05], [0.75, 1.0, 0.0], [0.05, 0.0, 1.0]]
    assert len(overlap(result).pairs(0.05)) == 2


# --- agreement


def true_agreement(x: NDArray[Any], groups: NDArray[Any], seed: int) -> dict[str, float]:
    clusters = KMeans(len(set(groups)), n_init=10, random_state=seed).fit_predict(x)
    distances = pairwise_distances(x)
    same = squareform(groups[:, None] == groups, checks=False).astype(bool)
    intra, inter = (squareform(distances, checks=False)[chosen].mean() for chosen in (same, ~same))
    return {
        "nmi": normalized_mutual_info_score(groups, clusters),
        "ami": adjusted_mutual_info_score(groups, clusters),
        "silhouette": silhouette_score(x, groups),
        "intra": intra,
        "inter": inter,
        "ratio": intra / inter,
    }


@pytest.mark.parametrize("options", [{}, {"normalize": "unit"}, {"kernel": "cosine", "size": None}], ids=str)
@pytest.mark.slow
def test_measures_are_those_of_the_members_in_both_embeddings(pair: Pair, options: dict[str, Any]) -> None:
    result = compare(pair[0] + 5, pair[1] + 3, seed=4, **options)
    dense = {"A": pair[0].astype(float) + 5, "B": pair[1].astype(float) + 3}
    if options:
        dense = {name: x / np.linalg.norm(x, axis=1)[:, None] for name, x in dense.items()}
    members = result.members()
    modes = {mode.mode: mode.grouped_by for mode in result.modes}
    found = measures(result)
    assert [(one.grouped_by, one.embedding) for one in found] == [("A", "A"), ("A", "B"), ("B", "A"), ("B", "B")]
    for one in found:
        mine = members[members["mode"].map(modes) == one.grouped_by].copy()
        mine["strength"] = mine["score"].abs()
        mine = mine.sort_values("strength", ascending=False).drop_duplicates("row").sort_values("row")
        groups = (2 * mine["mode"] + (mine["tail"] == "-")).to_numpy()
        assert (one.members, one.groups, one.note) == (len(mine), len(set(groups)), None)
        for name, value in true_agreement(dense[one.embedding][mine["row"]], groups, 4).items():
            assert getattr(one, name) == pytest.approx(value, rel=1e-4), name


def test_each_embedding_agrees_with_its_own_groups(pair: Pair) -> None:
    a_in_a, a_in_b, b_in_a, b_in_b = measures(compare(*pair, n_modes=2))
    assert a_in_a.nmi > a_in_b.nmi  # type: ignore[operator]
    assert b_in_b.nmi > b_in_a.nmi  # type: ignore[operator]
    assert a_in_a.ratio < a_in_b.ratio  # type: ignore[operator]
    assert b_in_b.ratio < b_in_a.ratio  # type: ignore[operator]


def test_a_row_of_several_groups_counts_where_its_score_is_largest(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    result = compare(*pair)
    groups = members_of((0, "+", [7, 3, 5]), (1, "-", [3, 9, 5]), scores=[[0.5, 0.2, 0.1], [-0.3, -0.2, -0.1]])
    monkeypatch.setattr(Result, "members_table", lambda self: groups)
    seen: list[Any] = []
    monkeypatch.setattr(agreement, "measure", lambda *given: seen.append(given))
    measures(result)
    _, _, vectors, numbers, _ = seen[0]
    np.testing.assert_array_equal(vectors, pair[0][[3, 5, 7, 9]].astype(float))
    assert numbers.tolist() == [1, 0, 0, 1]
    np.testing.assert_array_equal(seen[1][2], pair[1][[3, 5, 7, 9]].astype(float))


@pytest.mark.slow
def test_measures_do_not_depend_on_the_order_of_b(pair: Pair, make_store: MakeStore, tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(700)
    drop = {"on_bad": "drop", "normalize": "unit"}
    a = pair[0].copy()
    a[[0, 20]] = 0
    straight = measures(compare(a, pair[1], **drop))
    first, second = make_store("a", a, ids=range(700)), make_store("b", pair[1][order], ids=order.tolist())
    result = compare(str(first), str(second), **drop, out=tmp_path / "out.spec")
    assert measures(ss.open_result(result.path)) == measures(result)
    for one, other in zip(measures(result), straight, strict=True):
        assert vars(one) == pytest.approx(vars(other))


def test_too_few_members_have_no_measures(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    result = compare(*pair)
    few = members_of((0, "+", [1, 2, 3, 4]), (4, "+", [1]), (4, "-", [2]))
    monkeypatch.setattr(Result, "members_table", lambda self: few)
    one, _, other, _ = measures(result)
    assert (one.nmi, one.silhouette, one.note) == (None, None, "fewer than two groups")
    assert (other.nmi, other.ratio, other.note) == (None, None, "fewer than three members")
    alone = members_of((0, "+", [1]), (1, "+", [2]), (2, "-", [3]))
    monkeypatch.setattr(Result, "members_table", lambda self: alone)
    one, _, none, _ = measures(result)
    assert (one.nmi, one.silhouette, one.intra, one.ratio) == (1.0, None, None, None)
    assert one.inter is not None
    assert one.note is not None
    assert none.groups == none.members == 0


def test_equal_members_are_measured_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    one = agreement.measure("A", "B", np.ones((30, 3)), np.arange(30) % 3, 0)
    assert (one.intra, one.inter, one.ratio) == (0.0, 0.0, None)
    assert one.nmi == pytest.approx(0.0, abs=1e-9)
    assert not recwarn.list


def test_distances_are_taken_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 4, size=2500)
    x = generator.normal(size=(2500, 3)) + 1e8 + 3 * groups[:, None]
    sizes = []
    plain = pairwise_distances
    monkeypatch.setattr(
        "sklearn.metrics.pairwise.euclidean_distances", lambda rows: sizes.append(rows.shape) or plain(rows)
    )
    one = agreement.measure("A", "A", x, groups, 3)
    assert sizes == [(2000, 3)]
    assert one.members == 2500
    assert one == agreement.measure("A", "A", x, groups, 3)
    assert one.silhouette == pytest.approx(silhouette_score(x - x.mean(axis=0), groups), abs=0.02)
    assert one.silhouette != agreement.measure("A", "A", x, groups, 5).silhouette


@pytest.mark.slow
def test_measures_need_the_embeddings_that_were_compared(pair: Pair, make_store: MakeStore) -> None:
    arrays_of_another_process = ss.open_result(compare(*pair, out=make_store("a", pair[0]).with_name("o.spec")).path)
    with pytest.raises(InputError, match=r"o\.spec: A was an array"):
        measures(arrays_of_another_process)
    result = compare(str(make_store("b", pair[0])), pair[1])
    make_store("b", pair[0] + 1, overwrite=True)
    with pytest.raises(ChangedError, match=r"b\.zarr: no longer the embedding"):
        measures(result)


# --- results with nothing in them


def test_a_result_without_modes_has_nothing_to_explain(
    make_store: MakeStore, pair: Pair, cli: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    store = str(make_store("a", pair[0], columns={"label": true_groups(700)}))
    result = compare(store, store, out=tmp_path / "out.spec")
    assert result.modes == []
    assert ss.explain(result, "label").to_pandas().empty
    assert overlap(result).pairs() == []
    assert {one.note for one in measures(result)} == {"fewer than two groups"}
    status, said, complaints = cli("explain", "out.spec", "--labels", "label")
    assert (status, complaints) == (0, "")
    assert "no mode" in said


@pytest.mark.slow
def test_a_result_that_kept_no_members_says_so(labelled: Callable[..., Result]) -> None:
    result = labelled({"label": true_groups(700)}, top=0)
    for asked in (lambda: ss.explain(result, "label"), lambda: overlap(result), lambda: measures(result)):
        with pytest.raises(InputError, match=r"no members were kept.*--top"):
            asked()


# --- the command line


@pytest.mark.slow
def test_the_commands_print_what_the_functions_return(
    labelled: Callable[..., Result], cli: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    result = labelled(
        {"label": [one if i else None for i, one in enumerate(true_groups(700))]}, out=tmp_path / "o.spec"
    )

    def said(*arguments: str) -> dict[str, Any]:
        status, text, complaints = cli(*arguments, "--json")
        assert (status, complaints) == (0, "")
        answer: dict[str, Any] = json.loads(text)
        return answer

    explained = said("explain", "o.spec", "--labels", "label", "--top", "9", "--alpha", "0.2")
    assert (explained["a"]["name"], explained["compared"], explained["unlabelled"]) == ("a", 699, 1)
    truth = ss.explain(result, "label", top=9, alpha=0.2).to_json()
    assert {name: explained[name] for name in truth} == json.loads(json.dumps(truth))
    both = said("modes", "o.spec", "--overlap", "--measures")
    assert both["overlap"] == json.loads(json.dumps(overlap(result).to_json()))
    assert [one["nmi"] for one in both["measures"]] == pytest.approx([one.nmi for one in measures(result)])
    assert "members" in said("modes", "o.spec", "--top", "1")["modes"][0]


@pytest.mark.slow
def test_the_tables_name_counts_shares_and_measures(
    labelled: Callable[..., Result], cli: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    result = labelled({"label": true_groups(700)}, out=tmp_path / "o.spec", top=150)
    _, table, _ = cli("explain", "o.spec", "--labels", "label")
    best = max(ss.explain(result, "label").to_pandas().itertuples(), key=lambda one: one.enriched * one.fold)
    (line,) = {one for one in table.splitlines() if f"{best.count:,} of {best.members}" in one and best.label in one}
    assert f"{best.rows:,} of 700" in line
    pairs = overlap(result).pairs()
    lines = cli("modes", "o.spec", "--overlap")[1].splitlines()
    assert len(lines) == 3 + len(pairs)
    assert f"{pairs[0].share:.0%}" in lines[3]
    lines = cli("modes", "o.spec", "--measures")[1].splitlines()
    assert f"{measures(result)[3].ami:.3f}" in lines[6]
    status, said, complaint = cli("explain", "o.spec", "--labels", "nope")
    assert (status, said) == (1, "")
    assert complaint.startswith("specscale: ")
    assert complaint.count("\n") == 1


def test_groups_of_modes_that_failed_their_certificate_are_marked(
    labelled: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    from specscale.cli.insight_tables import print_explanation

    result = labelled({"label": true_groups(700)})
    verdicts = chain((True, False), repeat(None))
    modes = [replace(mode, certified=verdict) for mode, verdict in zip(result.record.modes, verdicts, strict=False)]
    result.record = replace(result.record, modes=modes)
    found = ss.explain(result, "label")
    print_explanation(result, found)
    lines = [line for line in capsys.readouterr().out.splitlines() if "not certified" in line]
    assert [line.split(",")[0] for line in lines] == ["mode 1+", "mode 1-"]
    assert [one["certified"] for one in found.to_json()["groups"]][:5] == [True, True, False, False, None]
    assert [one["certified"] for one in overlap(result).to_json()["groups"]][:5] == [True, True, False, False, None]


def test_very_many_enriched_labels_are_cut_in_the_table_alone(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], labelled: Callable[..., Result]
) -> None:
    from specscale.cli.insight_tables import print_explanation

    values = [f"pair {i // 2}" if i < 40 else "rest" for i in range(700)]
    result = labelled({"label": values})
    monkeypatch.setattr(Result, "members_table", lambda self: members_of((0, "+", [*range(40)])))
    found = ss.explain(result, "label")
    assert sum(one.enriched for one in found.found[0]) == 20
    print_explanation(result, found)
    assert "… and 10 more" in capsys.readouterr().out


# --- duplicates

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 5))
DTYPES = st.sampled_from(["float16", "float32"])


def true_duplicates(x: NDArray[Any], kept: NDArray[np.bool_]) -> tuple[int, int, int]:
    counts = Counter((row + x.dtype.type(0)).tobytes() for row in x[kept])
    repeated = [count for count in counts.values() if count > 1]
    return sum(repeated) - len(repeated), len(repeated), max(repeated, default=0)


@pytest.mark.parametrize(("words", "window"), [(1 << 17, 1 << 16), (8, 5), (1, 1)])
@given(data=st.data())
def test_equal_rows_are_counted_and_named(data: st.DataObject, words: int, window: int) -> None:
    x = data.draw(DTYPES.flatmap(lambda dtype: arrays(dtype, SHAPES, elements=st.sampled_from([0.0, -0.0, 1.0, 1e-7]))))
    kept = data.draw(arrays(bool, len(x)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_WORDS", words)
        patch.setattr(duplicates, "_WINDOW", window)
        found = find_duplicates(ArrayEmbedding(x), kept)
        assert find_duplicates(
            ArrayEmbedding(x[kept]) if kept.any() else ArrayEmbedding(x), None if kept.any() else kept
        )
    assert (found.rows, found.groups, found.largest) == true_duplicates(x, kept)
    rows = np.array(found.example, dtype=int)
    assert len(rows) == min(5, found.largest)
    if len(rows):
        same = np.flatnonzero((x == x[rows[0]]).all(axis=1) & kept)
        assert rows.tolist() == same[:5].tolist()
        assert len(same) == found.largest


def test_rows_are_found_across_chunks(monkeypatch: pytest.MonkeyPatch, make_store: MakeStore) -> None:
    x = np.random.default_rng(0).normal(size=(200, 7)).astype(np.float16)
    x[[190, 31]] = x[5]
    monkeypatch.setattr("specscale.embeddings.store.CHUNK_ROWS", 30)
    for embedding in (open_embedding(make_store("a", x)), ArrayEmbedding(x)):
        found = find_duplicates(embedding)
        assert (found.rows, found.groups, found.largest, found.example) == (2, 1, 3, (5, 31, 190))


def test_rows_that_differ_in_few_bits_are_not_taken_for_equal() -> None:
    generator = np.random.default_rng(0)
    base = generator.normal(size=24).astype(np.float16).view(np.uint16)
    flips = 1 << generator.permuted(np.tile(np.arange(16), (24, 1)), axis=1)
    rows = [base]
    for i in range(24):
        for j in range(i, 24):  # one bit, or one bit of each of two numbers, which weights alone may not tell apart
            for bit in range(16):
                changed = base.copy()
                changed[i] ^= flips[i, bit]
                if j > i:
                    changed[j] ^= flips[i, bit]
                rows.append(changed)
    embedding = ArrayEmbedding(np.array(rows).view(np.float16))
    assert find_duplicates(embedding).rows == 0
    for half in duplicates._digests(embedding, None, 1).view(np.uint32).reshape(-1, 2).T:
        assert len(np.unique(half)) == len(rows)


def test_only_rows_that_were_read_and_found_equal_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    x[3] = x[0]
    monkeypatch.setattr(duplicates, "_digests", lambda embedding, kept, threads: np.zeros(6, dtype=np.uint64))
    assert find_duplicates(ArrayEmbedding(x)).example == (0, 3)


def test_an_array_is_left_as_it_was() -> None:
    x = np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, 1.0]], dtype=np.float32)
    before = x.tobytes()
    assert find_duplicates(ArrayEmbedding(x)).example == (0, 1)
    assert x.tobytes() == before


def test_duplicates_are_described_in_a_line() -> None:
    x = np.arange(1300, dtype=np.float32)[:, None] * [1, 2]
    x[[9, 1200]] = x[7]
    few = find_duplicates(ArrayEmbedding(x.astype(np.float32)))
    assert few.describe("clip") == (
        "clip: 2 rows repeat another row (largest group 3, rows 7, 9, 1200): equal rows make groups of their own"
    )
    x[100:] = 0
    many = find_duplicates(ArrayEmbedding(x.astype(np.float32)))
    assert many.describe("clip").startswith(
        "clip: 1,201 rows repeat another row (largest group 1,201, rows 0, 100, 101, 102, 103, …)"
    )
    assert find_duplicates(ArrayEmbedding(x[:5].astype(np.float32))).describe("clip") == "clip: no row repeats another"


@pytest.mark.parametrize("threads", [1, 6])
def test_sixteen_bytes_a_row_are_held(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    import tracemalloc

    x = np.zeros((300_000, 2), dtype=np.float16)
    x[::2] = np.random.default_rng(0).normal(size=(150_000, 2))
    embedding = ArrayEmbedding(x)
    monkeypatch.setattr(duplicates, "_WINDOW", 1 << 12)
    monkeypatch.setattr(duplicates, "_WORDS", 1 << 12)
    tracemalloc.start()
    try:
        find_duplicates(embedding, None, threads)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 16 * len(x) < peak < duplicates.duplicates_cost(len(x), x.nbytes, threads).memory


def test_the_zero_rows_of_wordnet_are_among_its_duplicates(wordnet: tuple[Path, ...]) -> None:
    x = np.load(next(path for path in wordnet if path.stem == "lsa"))
    found = find_duplicates(ArrayEmbedding(x))
    assert (found.rows, found.groups, found.largest) == true_duplicates(x, np.ones(len(x), dtype=bool))
    assert found.rows >= 14
    assert len({x[row].tobytes() for row in found.example}) == 1
