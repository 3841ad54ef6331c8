"""Arrays of other libraries, as NumPy or Dask has them; whatever is none is refused with what to give instead."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from specscale.embeddings.matrices import check_floating
from specscale.errors import InputError
from specscale.wording import one_line, shown, some

__all__ = ["are_paths", "as_array", "in_memory", "is_lazy", "taken"]


def is_lazy(candidate: object) -> bool:
    """Whether Dask computes something; its library is not loaded to find that out."""
    graph = getattr(type(candidate), "__dask_graph__", None)
    return bool(
        graph is not None and graph(candidate) is not None
    )  # objects of xarray have one only where they are lazy


def are_paths(given: object) -> bool:
    """Whether something names files: a path or a URL, or several of them."""
    if isinstance(given, (str, os.PathLike, UPath)):
        return True
    if isinstance(given, np.ndarray):
        return bool(given.dtype.kind == "U")
    if isinstance(given, (list, tuple)):
        return all(isinstance(one, (str, os.PathLike, UPath)) for one in given)
    return not (hasattr(given, "__array__") or hasattr(given, "shape") or hasattr(given, "columns"))


def taken(given: Any, name: str) -> Any:
    """Unwrap what holds an array.

    Parameters
    ----------
    given : anything; a path is returned as it is
    name : what to call it in messages

    Returns
    -------
    array
        Of NumPy or Dask where it is one, as the ``.data`` of an ``xarray.DataArray``; else what was given.

    Raises
    ------
    InputError
        When it is of a kind that has to be converted, and how.
    """
    kind = type(given)
    if hasattr(kind, "data_vars"):
        names = [str(one) for one in given.data_vars]
        first = f"[{shown(names[0])!r}]" if names else "[NAME]"
        raise InputError(
            f"{name}: a {kind.__name__} of the arrays {some(names) or 'none'}: give one of them, as x{first}"
        )
    if hasattr(kind, "__dask_graph__") and (hasattr(kind, "data") or "data" in getattr(given, "__dict__", {})):
        return taken(given.data, name)
    if is_lazy(given) or isinstance(given, (str, os.PathLike, UPath, np.ndarray)) or hasattr(given, "check_unchanged"):
        return given
    if hasattr(kind, "__cuda_array_interface__") and hasattr(kind, "get"):
        raise InputError(f"{name}: an array in the memory of a GPU: give x.get(), a NumPy array")
    if hasattr(kind, "toarray") and hasattr(kind, "nnz"):
        raise InputError(
            f'{name}: a sparse matrix of shape {tuple(given.shape)}: give x.toarray().astype("float32"), or its '
            "leading directions, u * s of u, s, _ = scipy.sparse.linalg.svds(x, k=256)"
        )
    if hasattr(kind, "columns") and (hasattr(kind, "to_numpy") or hasattr(kind, "to_pandas")):
        return _of_table(given, name)
    return given


def in_memory(given: Any, name: str) -> NDArray[Any]:
    """Take an array of floating-point numbers whole, with NaN for what is masked.

    Parameters
    ----------
    given : an array, a tensor, a table of numbers, or lists of them
    name : what to call it in messages

    Returns
    -------
    ndarray
        Not copied where it is one of NumPy's.

    Raises
    ------
    InputError
        When it is no array of floating-point numbers.
    """
    values = filled(_numpy(taken(given, name), name))
    check_floating(name, values.dtype, values.shape)
    return values


def as_array(given: Any, name: str) -> Any:
    """Take something whose rows can be read in slices, without reading all of them.

    Parameters
    ----------
    given : as for `in_memory`, or an array on a disk, as of Zarr or HDF5
    name : what to call it in messages

    Returns
    -------
    array
        With ``shape``, ``dtype`` and slices that NumPy reads.

    Raises
    ------
    InputError
        When it is no array of numbers.
    """
    given = taken(given, name)
    if isinstance(given, np.ndarray):
        return given
    on_disk = all(hasattr(given, one) for one in ("shape", "dtype", "chunks")) and hasattr(type(given), "__getitem__")
    return given if on_disk else _numpy(given, name)


def filled(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array with NaN for what is masked: rows with a missing number are bad rows."""
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind == "f":
        values = values.filled(np.nan)
    return np.asarray(values)


def _numpy(given: Any, name: str) -> NDArray[Any]:
    if isinstance(given, np.ndarray):
        return given
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors that NumPy does not know
        remedy = ": give x.detach().cpu().float().numpy()" if hasattr(given, "detach") else ""
        raise InputError(f"{name}: not an array of numbers ({one_line(error)}){remedy}") from None


def _of_table(table: Any, name: str) -> NDArray[Any]:
    kinds = dict(table.dtypes) if hasattr(table, "iloc") else {one: _field(table, one) for one in _names(table)}
    strangers = [str(one) for one, kind in kinds.items() if not _is_floating(kind)]
    if strangers:
        raise InputError(
            f"{name}: a {type(table).__name__} whose columns {some(strangers)} are no floating-point numbers: give "
            "the columns of the vectors alone, or write it to a Parquet file and ingest that"
        )
    if hasattr(table, "to_pandas") and not hasattr(table, "to_numpy"):
        table = table.to_pandas()
    values: NDArray[Any] = table.to_numpy()
    return table.to_numpy(dtype="float64", na_value=np.nan) if values.dtype.kind == "O" else values


def _names(table: Any) -> list[str]:
    return list(getattr(table, "column_names", None) or table.columns)


def _field(table: Any, name: str) -> Any:
    field = table.schema.field(name) if hasattr(table.schema, "field") else table.schema[name]
    return getattr(field, "type", field)


def _is_floating(kind: Any) -> bool:
    """Whether a type is one of floating-point numbers: a type of NumPy, pandas, Arrow or Polars."""
    return getattr(kind, "kind", None) == "f" or str(kind).lower() in ("float", "double", "halffloat", *_FLOATS)


_FLOATS = ("float16", "float32", "float64")
