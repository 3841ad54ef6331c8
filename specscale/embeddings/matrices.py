"""The shapes and types of arrays that hold an embedding, and the conversion that makes one of another."""

from __future__ import annotations

from typing import Any

import numpy as np

from specscale.errors import InputError
from specscale.wording import LONGEST, shown, some

__all__ = ["FLOAT", "check_floating", "matrix_shape"]

FLOAT = 'astype("float32")'
_MOST_DIMENSIONS = 1 << 24


def matrix_shape(path: str, shape: tuple[int, ...]) -> tuple[int, int | None]:
    """Read the shape of an array as rows and dimensions.

    Parameters
    ----------
    path : where the array comes from
    shape : (n, p), or (n, 1, p) as some models return it, or (0,) for an empty array

    Returns
    -------
    n : int
        Rows.
    p : int or None
        Dimensions; None for an empty array that does not tell.

    Raises
    ------
    InputError
        When the array has any other shape.
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
    """Refuse arrays that do not hold floating-point numbers, and say how to make some of them.

    Parameters
    ----------
    path : where the array comes from
    dtype : its type
    shape : its shape, where that helps
    load : an expression of Python that gives the array
    save : what saves an expression, with ``{}`` for it

    Raises
    ------
    InputError
        When the type is not a floating-point type.
    """
    problem = _remedy(dtype, shape, load, save)
    if problem is not None:
        raise InputError(f"{path}: {problem}")


def _remedy(dtype: np.dtype[Any], shape: tuple[int, ...] | None, load: str, save: str) -> str | None:
    """Why an array holds no vectors of real numbers, and how to make them; None where it holds some."""
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
    vectors = [name for name, kind in kinds.items() if kind.shape and kind.base.kind == "f" and len(name) <= LONGEST]
    if vectors:
        return f"{what}; take one field: {save.format(f'{load}[{vectors[0]!r}].{FLOAT}')}"
    numbers = [name for name, kind in kinds.items() if kind.kind == "f"]
    names = "x.dtype.names" if len(numbers) == len(kinds) else "NAMES_OF_DIMENSIONS"
    side_by_side = save.format(f"numpy.stack([x[name] for name in {names}], axis=1).{FLOAT}")
    return f"{what}; put them side by side: x = {load}; {side_by_side}"
