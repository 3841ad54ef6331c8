"""Arrays that Dask computes, written down once so that they can be read as often as is needed."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from specscale.embeddings.layout import CHUNK_ROWS
from specscale.embeddings.matrices import check_floating, matrix_shape
from specscale.errors import InputError
from specscale.places.files import Location
from specscale.wording import one_line

__all__ = ["computed"]


@contextmanager
def computed(array: Any, target: Location, name: str) -> Iterator[str]:
    """Compute a Dask array chunk by chunk into a Zarr array, which is removed at the end.

    It is computed once and never held whole, by the scheduler that Dask is set to: a cluster where a client is active,
    whose workers see the folder of `target`, else threads of this process. For a target that is not on a file system
    of this machine it is computed by this process into a temporary folder.

    Parameters
    ----------
    array : (n, p) or (n, 1, p) floating ``dask.array.Array`` of known shape, in any chunks
    target : the store that its rows are for; the array is put beside it
    name : what to call it in messages

    Yields
    ------
    str
        The path of the Zarr array.

    Raises
    ------
    InputError
        When it is no such array, or a chunk cannot be computed.
    """
    import dask

    matrix = _matrix(array, name)
    local = isinstance(target, Path)
    place = target.with_name(f"{target.name}.array") if isinstance(target, Path) else Path(tempfile.mkdtemp()) / "array"
    try:
        with nullcontext() if local else dask.config.set(scheduler="threads"):
            try:
                matrix.to_zarr(str(place.absolute()), overwrite=True, compute=True, config={"write_empty_chunks": True})
            except Exception as error:
                raise InputError(
                    f"{name}: its rows cannot be computed ({type(error).__name__}: {one_line(error)})"
                ) from None
        _check_all_there(place, name)
        yield str(place)
    finally:
        shutil.rmtree(place if local else place.parent, ignore_errors=True)


def _check_all_there(place: Path, name: str) -> None:
    """Refuse an array that whoever wrote it has left chunks out of."""
    array = zarr.open_array(str(place), mode="r")
    written, all_of_them = array.nchunks_initialized, array.nchunks
    if written < all_of_them:
        raise InputError(
            f"{name}: {all_of_them - written:,} of the {all_of_them:,} chunks that were computed are not in {place}: "
            "see that all workers write into this folder"
        )


def _matrix(array: Any, name: str) -> Any:
    """Two-dimensional chunks of whole rows, as many as a store's chunks have, with NaN for what is masked."""
    if not isinstance(getattr(array, "chunks", None), tuple):
        raise InputError(
            f"{name}: a {type(array).__name__} is computed by Dask but no array: give a dask.array, as from "
            ".to_dask_array(lengths=True)"
        )
    if any(math.isnan(length) for length in array.shape):
        raise InputError(f"{name}: the sizes of its chunks are unknown: call .compute_chunk_sizes() first")
    check_floating(name, np.dtype(array.dtype))
    n, p = matrix_shape(name, tuple(array.shape))
    if not n or not p:
        raise InputError(f"{name}: an embedding is an array of shape (n, p), this one is {array.shape}")
    return array.reshape(n, p).map_blocks(np.ma.filled, np.nan, dtype=array.dtype).rechunk((CHUNK_ROWS, p))
