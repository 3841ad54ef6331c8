"""Arrays that hold no embedding, and the conversion that makes one of them: the words of refusals."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from specscale.places.listing import is_remote
from specscale.wording import _LISTED, _LONGEST, shown, some

__all__ = ["FLOAT", "array_remedy", "converted", "copied_here", "several_arrays", "sparse_matrix", "to_copy"]

_DENSE = 4096  # columns up to which a sparse matrix is written out
FLOAT = 'astype("float32")'


def array_remedy(dtype: np.dtype[Any], shape: tuple[int, ...] | None, load: str, save: str) -> str | None:
    """
    Say why an array holds no vectors of real numbers, and how to make them.

    Parameters
    ----------
    dtype
        Its type.
    shape
        Its shape, where it is known.
    load
        An expression that gives the array.
    save
        What saves an expression, with ``{}`` for it.

    Returns
    -------
    str or None
        ``None`` where the type is a floating-point type of NumPy's.
    """
    p = shape[-1] if shape else 0
    if dtype.names is not None:
        return _structured(dtype, load, save)
    if dtype.kind == "O":
        pickled = "numpy.load(" in load
        loaded = load.replace('")', '", allow_pickle=True)', 1) if pickled else load
        loaded = loaded if shape is None or len(shape) == 2 else f"numpy.stack({loaded})"
        what = "holds pickled Python objects, which are never loaded; if you trust them" if pickled else "holds objects"
        return f"{what}: {save.format(f'{loaded}.{FLOAT}')}"
    if type(dtype).__module__.partition(".")[0] == "ml_dtypes" or (dtype.isbuiltin == 2 and dtype.kind in "Vfiu"):
        return f"holds {dtype.name} numbers, which are not NumPy's own: {save.format(f'{load}.{FLOAT}')}"
    if dtype.kind == "f":
        return None
    if dtype == np.dtype("V2"):
        wide = f'({load}.view("uint16").astype("uint32") << 16).view("float32")'
        return f"holds {dtype.str} values, as numpy.save writes bfloat16, not float32: {save.format(wide)}"
    if dtype == np.dtype("V1"):
        wide = f"{load}.view(ml_dtypes.float8_e4m3fn).{FLOAT}"
        return (
            f"holds {dtype.str} values, as numpy.save writes float8: {save.format(wide)}, or with the type of float8 "
            "that was written"
        )
    if dtype.kind == "V":
        return f"holds {dtype}, not floating-point numbers; convert the array to float32 and save it anew"
    if dtype == np.uint8:
        bits = save.format(f"numpy.unpackbits({load}, axis=1).{FLOAT}")
        return (
            f"holds integers (uint8), not vectors of real numbers; packed bits ({8 * p:,} dimensions) are unpacked by "
            f"{bits}, codes of a quantising encoder by {load}.{FLOAT}, times the scale of each dimension"
        )
    if dtype == np.int8:
        bits = f'numpy.unpackbits(({load}.astype("int16") + 128).astype("uint8"), axis=1).{FLOAT}'
        return (
            f"holds integers (int8), not vectors of real numbers; codes of a quantising encoder: "
            f"{save.format(f'{load}.{FLOAT}')}, times the scale of each dimension if it has one; packed bits: {bits}"
        )
    if dtype.kind in "iub":
        return (
            f"holds integers ({dtype}), not vectors of real numbers; if it is vectors, convert the array to float32: "
            f"{save.format(f'{load}.{FLOAT}')}"
        )
    if dtype.kind == "c":
        both = f"numpy.concatenate([{load}.real, {load}.imag], axis=1).{FLOAT}"
        return f"holds {dtype}, not real numbers; convert the array to float32: {save.format(both)}"
    if dtype.kind in "US":
        return (
            f"holds text ({dtype}), not floating-point numbers; if it is numbers, convert the array to float32: "
            f"{save.format(f'{load}.{FLOAT}')}"
        )
    return f"holds {dtype}, not floating-point numbers; convert the array to float32"


def _structured(dtype: np.dtype[Any], load: str, save: str) -> str:
    assert dtype.names is not None
    kinds = {name: dtype[name] for name in dtype.names}
    what = f"holds records of the fields {some([shown(name, 20) for name in kinds])}, not vectors of one type"
    vectors = [name for name, kind in kinds.items() if kind.shape and kind.base.kind == "f" and len(name) <= _LONGEST]
    if vectors:
        return f"{what}; take one field: {save.format(f'{load}[{vectors[0]!r}].{FLOAT}')}"
    numbers = [name for name, kind in kinds.items() if kind.kind == "f"]
    names = "x.dtype.names" if len(numbers) == len(kinds) else "NAMES_OF_DIMENSIONS"
    side_by_side = save.format(f"numpy.stack([x[name] for name in {names}], axis=1).{FLOAT}")
    return f"{what}; put them side by side: x = {load}; {side_by_side}"


def sparse_matrix(path: str, names: Mapping[str, object], shape: tuple[int, int] | None) -> str | None:
    """
    Say that an archive is a sparse matrix of SciPy's, and what to make of it.

    Parameters
    ----------
    path
        The archive.
    names
        The arrays that it holds.
    shape
        The shape of the matrix, where it could be read.

    Returns
    -------
    str or None
        ``None`` where it is none.
    """
    if not {"format", "shape", "data"} <= names.keys() or not names.keys() & {"indices", "row", "offsets", "coords"}:
        return None
    new = converted(path, ".npy")
    size = f" of {shape[0]:,} × {shape[1]:,}" if shape else ""
    loaded, path = f'scipy.sparse.load_npz("{copied_here(path)}")', to_copy(path)
    if shape is None or shape[1] <= _DENSE:
        return f'{path}: a sparse matrix{size}, as SciPy saves it: numpy.save("{new}", {loaded}.toarray().{FLOAT})'
    return (
        f"{path}: a sparse matrix{size}, too wide to be written out; reduce it to its leading directions: "
        f'u, s, _ = scipy.sparse.linalg.svds({loaded}.{FLOAT}, k=256); numpy.save("{new}", u * s)'
    )


def several_arrays(path: str, arrays: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], problem: str) -> str:
    """
    Say what an archive of several arrays holds, and how one of them is taken.

    Parameters
    ----------
    path
        The archive.
    arrays
        The shape and type of each array.
    problem
        What is wrong, as in ``"holds several arrays"``.

    Returns
    -------
    str
        A line of bounded length.
    """
    shapes = {shape for shape, _ in arrays.values()}
    new, here = converted(path, ".npy"), copied_here(path)
    shape = next(iter(shapes))
    if len(arrays) > _LISTED and len(shapes) == 1 and (len(shape) == 1 or shape[:-1] == (1,)):
        return (
            f"{path}: {problem}: {len(arrays):,} of {shape[-1]:,} numbers each, one vector for each name; put "
            f'them into one, z = numpy.load("{here}"); numpy.save("{new}", numpy.stack([z[k] for k in z.files])), and '
            f'their names: pandas.DataFrame({{"id": z.files}}).to_csv("{converted(path, ".csv")}", index=False), for '
            "--metadata and --id id"
        )
    listing = some([f"{shown(name)} {shape}" for name, (shape, _) in arrays.items()])
    matrices = {shape[0] for shape, kind in arrays.values() if len(shape) == 2 and kind.kind == "f"}
    ids = [
        (name, kind)
        for name, (shape, kind) in arrays.items()
        if len(shape) == 1 and shape[0] in matrices and shape[0] and kind.kind in "iuUSO"
    ]
    line = f"{path}: {problem}: {listing}; choose one of these with --key"
    if not ids or len(ids[0][0]) > _LONGEST:
        return line
    name, kind = ids[0]
    pickled = ", allow_pickle=True" if kind.kind == "O" else ""
    column = f'numpy.load("{here}"{pickled})["{name}"]'
    table = f'pandas.DataFrame({{"{name}": {column}}}).to_parquet("{converted(path, ".parquet")}")'
    return f"{line}; {name} comes along with --metadata: {table}"


def to_copy(path: str) -> str:
    """A file in the words of a refusal whose remedy reads it from this machine's disk."""
    return f"{path} (copy it here first)" if is_remote(path) else path


def converted(path: str, ending: str, *, keep: bool = False) -> str:
    """The name of the file that a conversion writes: beside the one that is there, or here if that is elsewhere."""
    name = copied_here(path)
    return (name if keep else os.path.splitext(name)[0]) + ending


def copied_here(path: str) -> str:
    """Return the path of a file on this machine, once a remote one is copied here."""
    return path.partition("?")[0].rpartition("/")[2] if is_remote(path) else path
