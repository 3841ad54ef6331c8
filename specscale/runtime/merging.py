"""Partial results that a device adds up itself, where they are: few of them come to the host."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Any

from specscale.passes.base import Accumulator, Pass
from specscale.runtime.checkpoints import Node, parent_of, sibling_of, spans_of

__all__ = ["Merging"]

Whole = list[tuple[Node, Accumulator]]


class Merging:
    """The newest nodes of a tree over spans, in the memory of a device; siblings become their parent there.

    What is added to what is as in :class:`specscale.runtime.checkpoints.Tree`, to which all nodes come in the end.

    Parameters
    ----------
    work : the pass; only sums are added up
    spans : numbers of the spans that are to come
    wanted : nodes that the host wants as they are
    most : how many nodes are held
    patience : seconds of work that may be held
    """

    def __init__(
        self, work: Pass[Any], spans: Iterable[int], wanted: Collection[Node], most: int, patience: float
    ) -> None:
        self._combine = work.combine
        self._spans = frozenset(spans)
        self._wanted = wanted
        self._most = most if work.sums else 0
        self._patience = patience
        self._held: dict[Node, Accumulator] = {}
        self._given = time.monotonic()

    def add(self, span: int, total: Accumulator) -> Whole:
        """Take the accumulator of a span, and return the nodes that the host is to have now, in the order of rows."""
        node = 0, span
        while node not in self._wanted and (sibling := sibling_of(node)) in self._held:
            other = self._held.pop(sibling)
            first, second = (other, total) if sibling < node else (total, other)
            self._combine(first, second)
            node, total = parent_of(node), first
        self._held[node] = total
        if node in self._wanted or not self._grows(node) or time.monotonic() - self._given >= self._patience:
            return self.rest()
        return self._take(list(self._held)[: max(len(self._held) - self._most, 0)])

    def rest(self) -> Whole:
        """Return all nodes that are held."""
        return self._take(list(self._held))

    def _grows(self, node: Node) -> bool:
        """Whether the spans to come hold its sibling."""
        return self._spans.issuperset(spans_of(sibling_of(node)))

    def _take(self, nodes: list[Node]) -> Whole:
        if nodes:
            self._given = time.monotonic()
        return [(node, self._held.pop(node)) for node in nodes]
