"""The shapes and types of arrays that hold an embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from specscale.embeddings.refusals import array_remedy
from specscale.errors import InputError

__all__ = ["check_floating", "matrix_shape"]

_MOST_DIMENSIONS = 1 << 24


def matrix_shape(path: str, shape: tuple[int, ...]) -> tuple[int, int | None]:
    """
    Read the shape of an array as rows and dimensions.

    Parameters
    ----------
    path
        Where the array comes from.
    shape
        (n, p), or (n, 1, p) as some models return it, or (0,) for an empty array.

    Returns
    -------
    n : int
        Rows.
    p : int or None
        Dimensions; ``None`` for an empty array that does not tell.

    Raises
    ------
    InputError
        Any other shape.
    """
    if len(shape) == 3 and shape[1] == 1:
        shape = (shape[0], shape[2])
    if shape in ((0,), (0, 0)):
        return 0, None
    if len(shape) != 2:
        raise InputError(
            f"{path}: the array has the shape {shape}; expected rows × dimensions: reshape it to two dimensions"
            + (", or make one vector of each row first, as by x.mean(axis=1)" if len(shape) == 3 else "")
        )
    if shape[1] == 0:
        raise InputError(f"{path}: the array has the shape {shape}: its rows have no dimensions; write it again")
    if shape[1] > _MOST_DIMENSIONS:
        raise InputError(
            f"{path}: the array has the shape {shape}; rows of more than {_MOST_DIMENSIONS:,} dimensions are not read: "
            "if its columns are the vectors, write it transposed"
        )
    return shape[0], shape[1]


def check_floating(
    path: str, dtype: np.dtype[Any], shape: tuple[int, ...] | None = None, load: str = "x", save: str = "{}"
) -> None:
    """
    Refuse arrays that do not hold floating-point numbers, and say how to make some of them.

    Parameters
    ----------
    path
        Where the array comes from.
    dtype
        Its type.
    shape
        Its shape, where that helps.
    load
        An expression of Python that gives the array.
    save
        What saves an expression, with ``{}`` for it.

    Raises
    ------
    InputError
        The type is not a floating-point type.
    """
    problem = array_remedy(dtype, shape, load, save)
    if problem is not None:
        raise InputError(f"{path}: {problem}")
