"""Orders: a pass and its rows, written down for other processes, and the nodes of its tree that these compute."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from typing import Any

import cloudpickle

from specscale.embeddings.rows import PairedRows
from specscale.errors import InputError, SpecscaleError
from specscale.passes.base import Accumulator, Pass
from specscale.places.files import Location, read_into, write_whole
from specscale.runtime.checkpoints import Node, NodeFolder, Parts, children, is_covered
from specscale.runtime.spans import Span
from specscale.runtime.sweeper import Sweeper

__all__ = ["Done", "Order", "OrderFile"]


@dataclass(frozen=True)
class Done:
    """What a task says of a node: the bytes it moved between processes and the work directory, or why it gave up.

    Attributes
    ----------
    node : the node
    written, read : bytes of partial results
    rows : rows that the node stands for, of a single span
    device_memory : the most bytes of a card's memory that its worker took so far; None where it has no card
    error : what the user can mend; None where all went well
    """

    node: Node
    written: int = 0
    read: int = 0
    rows: int = 0
    device_memory: int | None = None
    error: SpecscaleError | None = None


@dataclass(frozen=True)
class OrderFile:
    """Where an order is written, and what its bytes must be.

    Attributes
    ----------
    place : the file
    digest : of its bytes; a worker runs nothing else
    """

    place: Location
    digest: str

    def load(self) -> Order:
        """Read the order.

        Raises
        ------
        InputError
            When the file is not there, not what was written, or an embedding cannot be opened here.
        """
        size = int(self.digest.partition("-")[0])
        content = bytearray(size)
        try:
            count = read_into(self.place, 0, memoryview(content))
        except FileNotFoundError:
            raise InputError(f"{self.place}: this worker does not see the work directory") from None
        if count != size or _digest(content) != self.digest:
            raise InputError(f"{self.place}: damaged: run the command again with --resume")
        order = pickle.loads(content)
        assert isinstance(order, Order)
        return order


def _digest(content: bytes | bytearray) -> str:
    return f"{len(content)}-{hashlib.blake2b(content, digest_size=16).hexdigest()}"


@dataclass(frozen=True)
class Order:
    """A pass over rows, cut into spans.

    Attributes
    ----------
    work : the pass
    rows : the paired rows
    spans : all spans
    folder : keeps the partial results, where all workers see it; None where they are returned
    parts : keeps those that outlast the run
    """

    work: Pass[Any]
    rows: PairedRows
    spans: list[Span]
    folder: Location | None
    parts: Parts | None

    def save(self, place: Location) -> OrderFile:
        """Write the order to a file."""
        content = self.dump()
        write_whole(place, content)
        return OrderFile(place, _digest(content))

    def dump(self) -> bytes:
        """Return the order as bytes."""
        return bytes(cloudpickle.dumps(self, protocol=pickle.HIGHEST_PROTOCOL))

    def accumulate(self, span: int, sweeper: Sweeper) -> Accumulator:
        """Compute the accumulator of one span."""
        found: list[Accumulator] = []
        sweeper.sweep(self.work, self.rows, [self.spans[span]], lambda rows: None, lambda _, total: found.append(total))
        return found[0]

    def make(self, node: Node, sweeper: Sweeper) -> Done:
        """See to it that the folder holds a node, or one that it is part of; nothing is computed twice.

        Whoever runs this, and however often, the same bytes are written. Children that are missing or damaged are made
        anew.
        """
        assert self.folder is not None
        files = NodeFolder(self.folder)
        if not is_covered(node, files.nodes()):
            arrays = self._obtain(node, files, sweeper)
            files.save(node, arrays)
            if node[0]:
                for child in children(node, len(self.spans)):
                    files.remove(child)
        rows = 0 if node[0] else self.spans[node[1]].stop - self.spans[node[1]].start
        return Done(node, files.written, files.read, rows)

    def _obtain(self, node: Node, files: NodeFolder, sweeper: Sweeper) -> Accumulator:
        """Compute a node from its children, or from the rows."""
        if not node[0]:
            total = self.accumulate(node[1], sweeper)
        else:
            first, second = (
                files.load(child) or self._obtain(child, files, sweeper) for child in children(node, len(self.spans))
            )
            self.work.combine(first, second)
            total = first
        if self.parts:
            self.parts.keep(node, total)
        return total
