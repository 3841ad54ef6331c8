"""Partial results on disk, combined in a fixed binary tree over span numbers."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from specscale.passes.record import Accumulator

__all__ = ["Tree", "load_arrays", "save_arrays"]

Node = tuple[int, int]
Combine = Callable[[Accumulator, Accumulator], None]


def save_arrays(path: Path, arrays: Accumulator) -> None:
    """Write named arrays to one file, whole or not at all.

    The file is a line with a CRC-32C and JSON (names, dtypes, shapes, CRC-32C of the bytes) and then the arrays' bytes.
    """
    parts = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    checksum = 0
    for part in parts.values():
        checksum = _extend(checksum, part)
    layout = [[name, part.dtype.str, list(part.shape)] for name, part in parts.items()]
    header = json.dumps({"arrays": layout, "crc32c": checksum}).encode()
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(b"%08x %s\n" % (google_crc32c.value(header), header))
        for part in parts.values():
            file.write(part.reshape(-1).view(np.uint8).data)
    os.replace(temporary, path)


def load_arrays(path: Path) -> Accumulator | None:
    """Read what `save_arrays` wrote, or None where the file is truncated or a checksum is wrong."""
    with path.open("rb") as file:
        line = file.readline()
        if line[:9] != b"%08x " % google_crc32c.value(line[9:-1]) or line[-1:] != b"\n":
            return None
        header = json.loads(line[9:])
        arrays: Accumulator = {}
        checksum = 0
        for name, dtype, shape in header["arrays"]:
            array = np.empty(shape, dtype=dtype)
            if file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:
                return None
            checksum = _extend(checksum, array)
            arrays[name] = array
        return arrays if checksum == header["crc32c"] else None


def _extend(checksum: int, array: NDArray[Any]) -> int:
    flat = array.reshape(-1).view(np.uint8)
    flat.flags.writeable = False  # google_crc32c takes read-only buffers alone
    return int(google_crc32c.extend(checksum, flat))


class Tree:
    """The partial results of one pass.

    The node (level, index) is the result of spans index · 2^level up to (index + 1) · 2^level. Two siblings become
    their parent as soon as both exist, so the disk holds O(log spans) nodes, and what is added to what depends on the
    span numbers alone.

    Parameters
    ----------
    folder : where the nodes are; made if it does not exist
    spans : number of spans of the pass
    combine : adds the second accumulator, of later rows, to the first
    patience : seconds of work that may be lost; a younger node stays in memory, and short passes write nothing
    """

    def __init__(self, folder: Path, spans: int, combine: Combine, patience: float = 0.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._spans = spans
        self._combine = combine
        self._patience = patience
        # The newest node stays in memory: it is mostly the next sibling, and in the end the root.
        self._held: tuple[Node, Accumulator] | None = None
        self._held_is_saved = True
        self._saved_at = time.monotonic()
        self._absorbed: list[Node] = []  # in a parent that is not saved yet
        self._nodes: set[Node] = set()
        for path in folder.glob("*-*.node"):
            numbers = path.stem.split("-")
            self._nodes.add((int(numbers[0]), int(numbers[1])))
        for level, index in sorted(self._nodes):
            if any((up, index >> (up - level)) in self._nodes for up in range(level + 1, 64)):
                self._remove((level, index))

    def has(self, span: int) -> bool:
        """Whether a node holds the result of this span."""
        return any(span >> level == index for level, index in self._nodes)

    def push(self, span: int, result: Accumulator) -> None:
        """Take the result of one span and merge it with finished siblings."""
        node = (0, span)
        if self._held is not None and self._held[0] != _sibling(node):
            self.flush()
        while (sibling := _sibling(node)) in self._nodes:
            other = self._load(sibling)
            if other is None:
                self._remove(sibling)
                break
            earlier, later = (other, result) if sibling < node else (result, other)
            self._combine(earlier, later)
            result = earlier
            self._nodes.discard(sibling)
            self._absorbed.append(sibling)
            node = (node[0] + 1, node[1] >> 1)
        self._nodes.add(node)
        self._held, self._held_is_saved = (node, result), False
        if time.monotonic() - self._saved_at >= self._patience:
            self.flush()

    def flush(self) -> None:
        """Write the node that is in memory alone, and remove those it was made of."""
        if self._held is None or self._held_is_saved:
            return
        save_arrays(self._path(self._held[0]), self._held[1])
        self._held_is_saved = True
        self._saved_at = time.monotonic()
        for node in self._absorbed:
            self._path(node).unlink(missing_ok=True)
        self._absorbed.clear()

    def root(self) -> Accumulator | None:
        """Return the result of all spans, or None while one is missing or was found damaged."""
        if not all(self.has(span) for span in range(self._spans)):
            return None
        if len(self._nodes) > 1:
            self.flush()
        total: Accumulator | None = None
        for node in sorted(self._nodes, key=lambda node: node[1] << node[0], reverse=True):
            part = self._load(node)
            if part is None:
                self._remove(node)
                return None
            if total is not None:
                self._combine(part, total)
            total = part
        return total

    def _load(self, node: Node) -> Accumulator | None:
        """Take a node out of memory or read it; the caller may change it."""
        held, self._held = self._held, None
        return held[1] if held is not None and held[0] == node else load_arrays(self._path(node))

    def _path(self, node: Node) -> Path:
        return self._folder / f"{node[0]}-{node[1]}.node"

    def _remove(self, node: Node) -> None:
        self._path(node).unlink(missing_ok=True)
        self._nodes.discard(node)


def _sibling(node: Node) -> Node:
    return node[0], node[1] ^ 1
