"""What a device adds up itself is what the tree over spans adds up, and comes to the host as far as it is wanted."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specscale.passes.base import Accumulator, LoadedPass, Pass
from specscale.runtime.checkpoints import Node, Tree
from specscale.runtime.merging import Merging


def add(first: Accumulator, second: Accumulator) -> None:
    first["sum"] += second["sum"]


def leaf(span: int) -> Accumulator:
    return {"sum": np.random.default_rng(span).normal(size=5) * 10.0 ** (span % 7)}


def nothing(*given: Any) -> LoadedPass:
    raise AssertionError


WORK: Pass[Any] = Pass("sums", lambda kernels: {}, lambda kernels: {}, nothing, add, lambda total: total, sums=True)


def merged(merging: Merging, spans: list[int]) -> list[tuple[Node, Accumulator]]:
    given = [one for span in spans for one in merging.add(span, leaf(span))]
    return given + merging.rest()


def tree_of(folder: Path, count: int, nodes: list[tuple[Node, Accumulator]]) -> Accumulator:
    tree = Tree(folder, count, add, patience=1e9, held=64)
    for node, total in nodes:
        tree.push(node, total)
    root = tree.root()
    assert root is not None
    return root


@given(
    count=st.integers(1, 40),
    most=st.integers(0, 4),
    wanted=st.sets(st.tuples(st.integers(0, 3), st.integers(0, 39))),
    patience=st.sampled_from([0.0, math.inf]),
)
def test_the_tree_has_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, count: int, most: int, wanted: set[Node], patience: float
) -> None:
    spans = list(range(count))
    nodes = merged(Merging(WORK, spans, wanted, most, patience), spans)
    covered = [span for (level, index), _ in nodes for span in range(index << level, (index + 1) << level)]
    assert covered == spans  # each once, in the order of rows
    if patience and most == 4:  # no more levels than are held, so that all that is whole is made here
        whole = {node for node in wanted if (node[1] + 1) << node[0] <= count}
        assert {node for node, _ in nodes} >= {node for node in whole if not any(_under(one, node) for one in whole)}
    folder = tmp_path_factory.mktemp("nodes")
    one_by_one = tree_of(folder / "one", count, [((0, span), leaf(span)) for span in spans])
    assert tree_of(folder / "several", count, nodes)["sum"].tobytes() == one_by_one["sum"].tobytes()


def _under(node: Node, other: Node) -> bool:
    """Whether a node is below another, which is therefore put together on the host."""
    return node[0] < other[0] and node[1] >> (other[0] - node[0]) == other[1]


def test_few_nodes_come_to_the_host() -> None:
    spans = list(range(40))
    nodes = [node for node, _ in merged(Merging(WORK, spans, (), 3, math.inf), spans)]
    assert nodes == [(3, index) for index in range(5)]


def test_what_is_no_sum_is_not_added_up() -> None:
    spans = [0, 1, 2]
    nodes = [node for node, _ in merged(Merging(replace(WORK, sums=False), spans, (), 3, math.inf), spans)]
    assert nodes == [(0, 0), (0, 1), (0, 2)]


def test_only_spans_that_are_to_come_are_waited_for() -> None:
    merging = Merging(WORK, [1, 2, 3], (), 3, math.inf)
    assert [node for node, _ in merging.add(1, leaf(1))] == [(0, 1)]
    assert merging.add(2, leaf(2)) == []
    assert [node for node, _ in merging.add(3, leaf(3))] == [(1, 1)]
