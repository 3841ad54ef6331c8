"""Orders for other processes: a pass on the wire, and nodes that any worker may make at any time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_runtime import add, leaf, rows_of, same, total_pass

from specscale.errors import InputError
from specscale.kernels.base import load_kernels
from specscale.runtime.checkpoints import NodeFolder, Parts, Tree, children, is_covered, load_arrays, root_of
from specscale.runtime.cluster.orders import Order
from specscale.runtime.spans import Span
from specscale.runtime.sweeper import Sweeper
from specscale.runtime.threads import Threads

X = np.random.default_rng(1).standard_normal((500, 2)).astype(np.float32)


@contextmanager
def sweeper() -> Iterator[Sweeper]:
    with closing(Threads(1)) as threads:
        yield Sweeper(load_kernels("reference"), threads)


def order_of(folder: Path, spans: int = 7, full: int = 0) -> Order:
    runs = [Span(i, 10 * i, min(10 * i + 10, 10 * spans - 3)) for i in range(spans)]
    return Order(total_pass(), rows_of(X[: 10 * spans - 3]), runs, folder / "nodes", Parts(folder / "parts", full))


def test_an_order_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = order_of(tmp_path).save(tmp_path / "order.pickle")
    with sweeper() as one_thread:
        one, other = file.load().accumulate(3, one_thread), order_of(tmp_path).accumulate(3, one_thread)
        assert same(one, other)


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"x" + content[1:]])
def test_nothing_but_what_was_ordered_is_run(tmp_path: Path, damage: object) -> None:
    file = order_of(tmp_path).save(tmp_path / "order.pickle")
    assert callable(damage)
    (tmp_path / "order.pickle").write_bytes(damage((tmp_path / "order.pickle").read_bytes()))
    with pytest.raises(InputError, match=r"order\.pickle: damaged: run the command again with --resume"):
        file.load()
    (tmp_path / "order.pickle").unlink()
    with pytest.raises(InputError, match=r"order\.pickle: this worker does not see the work directory"):
        file.load()


@given(spans=st.integers(1, 200))
def test_every_node_is_made_of_two_and_all_of_the_spans(spans: int) -> None:
    def leaves(node: tuple[int, int]) -> list[int]:
        return [node[1]] if not node[0] else [leaf for child in children(node, spans) for leaf in leaves(child)]

    assert leaves(root_of(spans)) == list(range(spans))


@given(full=st.integers(0, 40), more=st.integers(0, 30), data=st.data())
def test_parts_are_what_a_longer_tree_goes_on_from(
    tmp_path_factory: pytest.TempPathFactory, full: int, more: int, data: st.DataObject
) -> None:
    """Nodes kept from the full spans of one tree stand for exactly these in any tree of more spans."""
    folder = tmp_path_factory.mktemp("parts")
    spans = full + data.draw(st.integers(0 if full else 1, 1))
    tree = Tree(
        folder / "tree",
        spans,
        add,
        patience=data.draw(st.sampled_from([0.0, 1e9])),
        parts=Parts(folder / "parts", full),
    )
    for span in range(spans):
        tree.push((0, span), leaf(span) if span < full else {name: -array for name, array in leaf(span).items()})
    tree.root()
    kept = NodeFolder(folder / "parts").nodes()
    assert [is_covered((0, span), kept) for span in range(full + 1)] == [True] * full + [False]
    total = full + more or 1
    grown = Tree(folder / "parts", total, add, parts=Parts(folder / "again", total))
    fresh = Tree(folder / "fresh", total, add)
    for span in range(total):
        if not grown.has(span):
            grown.push((0, span), leaf(span))
        fresh.push((0, span), leaf(span))
    assert same(grown.root(), fresh.root())
    again = NodeFolder(folder / "again")
    assert again.nodes() == Parts(folder / "again", total).nodes
    assert all(load_arrays(again.path(node)) is not None for node in again.nodes())


@settings(max_examples=40)
@given(
    st.integers(1, 13),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["make", "lose", "spoil"])), max_size=30),
)
@pytest.mark.slow
def test_nodes_may_be_made_in_any_order_again_and_again(spans: int, actions: list[tuple[int, str]]) -> None:
    """Whatever is repeated, lost or damaged between, the root has the same bits."""
    with tempfile.TemporaryDirectory() as folder, sweeper() as one_thread:
        order = order_of(Path(folder), spans)
        files = NodeFolder(Path(folder) / "nodes")
        for number, action in actions:
            level = number % (spans.bit_length() + 1)
            node = level, (number // 7) % max(1, -(-spans >> level))
            while node[0] and (2 * node[1] + 1) << (node[0] - 1) >= spans:
                node = node[0] - 1, 2 * node[1]
            if action == "make" and node[1] << node[0] < spans:
                order.make(node, one_thread)
            elif files.path(node).exists():
                files.path(node).write_bytes(b"" if action == "spoil" else files.path(node).read_bytes()[:-1])
        order.make(root_of(spans), one_thread)
        found = files.load(root_of(spans))
        if found is None:  # it was damaged after it was made, and is noticed by who reads it
            order.make(root_of(spans), one_thread)
            found = files.load(root_of(spans))
        tree = Tree(Path(folder) / "tree", spans, order.work.combine)
        for span in order.spans:
            tree.push((0, span.index), order.accumulate(span.index, one_thread))
        assert same(found, tree.root())
