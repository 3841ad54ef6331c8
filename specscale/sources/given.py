"""Arrays of this process as a source: NumPy's, memory maps, and what can be read in slices of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from specscale.embeddings.coercion import are_paths, as_array, filled
from specscale.errors import InputError, OptionError
from specscale.sources import open_source
from specscale.sources.arrays import ArrayShard, ReadRows
from specscale.sources.base import Source
from specscale.sources.choosing import Choice
from specscale.sources.sharded import ShardedSource

__all__ = ["GivenArray", "open_given"]


class GivenArray(ArrayShard):
    """An array whose rows are read a few at a time.

    Parameters
    ----------
    array : (n, p) or (n, 1, p), of any floating-point type, order and strides
    name : what to call it in messages

    Raises
    ------
    InputError
        When it is no such array.
    """

    def __init__(self, array: Any, name: str) -> None:
        self._array = as_array(array, name)
        super().__init__(name, tuple(self._array.shape), np.dtype(self._array.dtype), "")
        digest = hashlib.blake2b(digest_size=16)
        for batch in self.batches():
            digest.update(np.ascontiguousarray(batch.vectors).view(np.uint8).data)
        self.fingerprint = digest.hexdigest()

    @contextmanager
    def reading(self) -> Iterator[ReadRows]:
        """Read rows in the type of the array, with NaN for what is masked."""
        yield self._rows

    def _rows(self, low: int, high: int) -> NDArray[Any]:
        rows: NDArray[Any] = np.asanyarray(self._array[low:high])
        return filled(rows).reshape(high - low, self.p or 0)


def open_given(
    given: Any,
    name: str | None,
    *,
    earlier: Sequence[str] = (),
    choice: Choice | None = None,
    **options: str | None,
) -> Source:
    """Open what is to be ingested: files, or an array.

    Parameters
    ----------
    given : a path or several, or an array as `GivenArray` takes it
    name : the name of the model, where it has one
    earlier, choice, **options : as of `open_source`

    Returns
    -------
    Source
        Its rows.

    Raises
    ------
    InputError
        When it cannot be used.
    OptionError
        When an option does not go with the format.
    """
    if hasattr(given, "check_unchanged"):
        raise InputError(f"{given.source}: is already an embedding that can be compared: give a source of vectors")
    if not are_paths(given):
        for option, value in options.items():
            if value is not None:
                raise OptionError(f"{option} does not apply to an array; leave it out")
        called = name or "array"
        return ShardedSource(called, [GivenArray(given, called)], choice)
    paths = [given] if isinstance(given, (str, PathLike, UPath)) else given
    return open_source([str(path) for path in paths], earlier=earlier, choice=choice, **options)
