"""Partial results on disk, combined in a fixed binary tree over span numbers."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import numpy as np

from specscale.passes.base import Accumulator
from specscale.places.checksum import crc32c
from specscale.places.documents import parse_json
from specscale.places.files import Location, reaching, read_into, remove_file, write_whole

__all__ = [
    "Node",
    "NodeFolder",
    "Parts",
    "Tree",
    "children",
    "is_covered",
    "load_arrays",
    "parent_of",
    "root_of",
    "save_arrays",
    "sibling_of",
    "spans_of",
]

Node = tuple[int, int]
"""Level and index: the node stands for spans index · 2^level up to (index + 1) · 2^level."""
Combine = Callable[[Accumulator, Accumulator], None]

_NODE = re.compile(r"(\d+)-(\d+)\.node", re.ASCII)
_HEADER = 1 << 16  # more than the first line of any file
_NUMBERS = "biuf"  # kinds of types


def save_arrays(path: Location, arrays: Accumulator) -> int:
    """Write named arrays to one file, whole or not at all; the bytes written.

    The file is a line with a CRC-32C and JSON (names, dtypes, shapes, CRC-32C of the bytes) and then the arrays' bytes.
    It is not written through to the disk: what a power cut leaves half written has a wrong checksum, and is made again.
    """
    parts = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    checksum = 0
    for part in parts.values():
        checksum = crc32c(part, checksum)
    layout = [[name, part.dtype.str, list(part.shape)] for name, part in parts.items()]
    header = json.dumps({"arrays": layout, "crc32c": checksum}).encode()
    line = b"%08x %s\n" % (google_crc32c.value(header), header)
    write_whole(path, line, *(part.reshape(-1).view(np.uint8).data for part in parts.values()))
    return len(line) + sum(part.nbytes for part in parts.values())


def load_arrays(path: Location) -> Accumulator | None:
    """Read what `save_arrays` wrote, or None where the file is truncated or a checksum is wrong.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    """
    start = bytearray(_HEADER)
    line = bytes(start[: read_into(path, 0, memoryview(start))]).partition(b"\n")[0]
    if line[:9] != b"%08x " % google_crc32c.value(line[9:]):
        return None
    try:
        header = parse_json(line[9:])
    except ValueError:
        return None
    arrays: Accumulator = {}
    checksum = 0
    offset = len(line) + 1
    for name, dtype, shape in header["arrays"]:
        if np.dtype(dtype).kind not in _NUMBERS or _is_less(path, math.prod(shape)):
            return None
        array = np.empty(shape, dtype=dtype)
        if read_into(path, offset, array.reshape(-1).view(np.uint8).data) != array.nbytes:
            return None
        checksum = crc32c(array, checksum)
        offset += array.nbytes
        arrays[name] = array
    return arrays if checksum == header["crc32c"] else None


def _is_less(path: Location, size: int) -> bool:
    """Whether a file on this machine has fewer bytes: who made it may claim any number."""
    return isinstance(path, Path) and path.stat().st_size < size


def is_covered(node: Node, there: set[Node]) -> bool:
    """Whether a node, or one that it is part of, is among some others."""
    level, index = node
    return any((up, index >> (up - level)) in there for up in range(level, 64))


def sibling_of(node: Node) -> Node:
    """The node with which a node makes their parent."""
    return node[0], node[1] ^ 1


def parent_of(node: Node) -> Node:
    """The node that a node and its sibling become."""
    return node[0] + 1, node[1] >> 1


def spans_of(node: Node) -> range:
    """The spans that a node stands for."""
    level, index = node
    return range(index << level, (index + 1) << level)


def children(node: Node, spans: int) -> tuple[Node, Node]:
    """The two nodes that a node of a tree over some spans is the sum of, the earlier first."""
    level, index = node[0] - 1, 2 * node[1]
    return (level, index), _present((level, index + 1), spans)


def root_of(spans: int) -> Node:
    """The node that stands for all spans."""
    return _present(((spans - 1).bit_length(), 0), spans)


def _present(node: Node, spans: int) -> Node:
    """A node, or the one below it that is the same where the spans end before its second half begins."""
    level, index = node
    while level and (2 * index + 1) << (level - 1) >= spans:
        level, index = level - 1, 2 * index
    return level, index


class NodeFolder:
    """The nodes that are in a folder, one checksummed file each.

    Parameters
    ----------
    folder : where the nodes are; made if it does not exist

    Attributes
    ----------
    written, read : bytes so far
    """

    def __init__(self, folder: Location) -> None:
        with reaching(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.written = self.read = 0

    def nodes(self) -> set[Node]:
        """The nodes that are there."""
        try:
            with reaching(self.folder):
                names = [str(path.name) for path in self.folder.iterdir()]
        except (FileNotFoundError, NotADirectoryError):  # object stores have no empty folders
            return set()
        found = (_NODE.fullmatch(name) for name in names)
        return {(int(one[1]), int(one[2])) for one in found if one}

    def save(self, node: Node, arrays: Accumulator) -> None:
        """Write a node, whole or not at all."""
        self.written += save_arrays(self.path(node), arrays)

    def load(self, node: Node) -> Accumulator | None:
        """Read a node; None where it is not there or damaged, and then it is removed."""
        try:
            arrays = load_arrays(self.path(node))
        except FileNotFoundError:
            return None
        if arrays is None:
            self.remove(node)
        else:
            self.read += sum(array.nbytes for array in arrays.values())
        return arrays

    def remove(self, node: Node) -> None:
        """Remove a node, if it is there."""
        remove_file(self.path(node))

    def path(self, node: Node) -> Location:
        """The file of a node."""
        return self.folder / f"{node[0]}-{node[1]}.node"


class Parts:
    """The nodes that outlast a run, because later rows do not change them.

    Parameters
    ----------
    folder : where they are kept
    full : number of spans that no later row can join
    """

    def __init__(self, folder: Location, full: int) -> None:
        self._folder = folder
        self.nodes = {(level, (full >> level) - 1) for level in range(full.bit_length()) if full >> level & 1}

    def keep(self, node: Node, arrays: Accumulator) -> None:
        """Write a node if it is one of those that last."""
        if node in self.nodes:
            NodeFolder(self._folder).save(node, arrays)

    def take_over(self, files: NodeFolder) -> None:
        """Write the nodes that are not written yet, or damaged, and that another folder has."""
        there = files.nodes()
        if not self.nodes or not there:
            return
        here = NodeFolder(self._folder)
        for node in self.nodes:
            if here.load(node) is None and node in there and (arrays := files.load(node)) is not None:
                self.keep(node, arrays)

    def lost(self) -> int:
        """How many spans the nodes stand for that are gone, where others are there: not all executors keep them."""
        there = NodeFolder(self._folder).nodes()
        return sum(1 << level for level, _ in self.nodes - there) if there else 0


class Tree:
    """The partial results of one pass, of one process.

    Two siblings become their parent as soon as both exist, so there are O(log spans) nodes, and what is added to what
    depends on the span numbers alone.

    Parameters
    ----------
    folder : where the nodes are; made if it does not exist
    spans : number of spans of the pass
    combine : adds the second accumulator, of later rows, to the first
    patience : seconds of work that may be lost; younger nodes stay in memory, and short passes write nothing
    parts : keeps the nodes that outlast the run
    held : how many nodes stay in memory, the newest: one is mostly the next sibling, and in the end the root; with as
        many as there are levels, disks are written to for patience alone
    """

    def __init__(
        self,
        folder: Location,
        spans: int,
        combine: Combine,
        patience: float = 0.0,
        parts: Parts | None = None,
        held: int = 1,
    ) -> None:
        self._files = NodeFolder(folder)
        self._spans = spans
        self._combine = combine
        self._patience = patience
        self._parts = parts
        self._most = held
        self._held: dict[Node, Accumulator] = {}
        self._unsaved: dict[Node, list[Node]] = {}  # held alone, and the nodes on the disk that each is made of
        self._saved_at = time.monotonic()
        self._nodes = self._files.nodes()
        for node in sorted(self._nodes):
            if is_covered(parent_of(node), self._nodes):
                self._remove(node)
        if parts:
            parts.take_over(self._files)
            self._nodes &= self._files.nodes()  # but those that were found damaged

    def has(self, span: int) -> bool:
        """Whether a node holds the result of this span."""
        return is_covered((0, span), self._nodes)

    def push(self, node: Node, result: Accumulator) -> None:
        """Take the result of one span, or of several that were combined, and merge it with finished siblings."""
        made_of = list[Node]()
        self._keep(node, result)
        while (sibling := sibling_of(node)) in self._nodes:
            if sibling not in self._held:
                self._make_place()
            other = self._take(sibling)
            self._nodes.discard(sibling)
            if other is None:
                break
            earlier, later = (other, result) if sibling < node else (result, other)
            self._combine(earlier, later)
            result = earlier
            made_of += self._unsaved.pop(sibling, [sibling])
            node = parent_of(node)
            self._keep(node, result)
        self._make_place()
        self._nodes.add(node)
        self._held[node], self._unsaved[node] = result, made_of
        if time.monotonic() - self._saved_at >= self._patience:
            self.flush()

    def flush(self) -> None:
        """Write the nodes that are in memory alone, and remove those they were made of."""
        for node in list(self._unsaved):
            self._save(node)

    def root(self) -> Accumulator | None:
        """Return the result of all spans, or None while one is missing or was found damaged."""
        if not all(self.has(span) for span in range(self._spans)):
            return None
        if not self._nodes <= self._held.keys():
            self.flush()
        total: Accumulator | None = None
        for node in sorted(self._nodes, key=lambda node: node[1] << node[0], reverse=True):
            part = self._take(node)
            if part is None:
                self._nodes.discard(node)
                return None
            if total is not None:
                self._combine(part, total)
            total = part
        return total

    def _keep(self, node: Node, result: Accumulator) -> None:
        if self._parts:
            self._parts.keep(node, result)

    def _save(self, node: Node) -> None:
        self._files.save(node, self._held[node])
        self._saved_at = time.monotonic()
        for one in self._unsaved.pop(node):
            self._files.remove(one)

    def _make_place(self) -> None:
        """Have no more nodes in memory than beside one that is being made or read."""
        while len(self._held) >= self._most:
            oldest = next(iter(self._held))
            if oldest in self._unsaved:
                self._save(oldest)
            del self._held[oldest]

    def _take(self, node: Node) -> Accumulator | None:
        """Take a node out of memory or read it; the caller may change it."""
        return self._held.pop(node) if node in self._held else self._files.load(node)

    def _remove(self, node: Node) -> None:
        self._files.remove(node)
        self._nodes.discard(node)
