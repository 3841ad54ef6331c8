"""What the attributes of an array say about its numbers: which stand for nothing, and how they are packed.

These are the CF conventions, as xarray writes them: `_FillValue`, `missing_value`, `scale_factor`, `add_offset` and
`_Unsigned`.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from specscale.embeddings.holes import Absent
from specscale.errors import InputError

__all__ = ["Conventions"]

_MISSING = ("_FillValue", "missing_value")
_PACKING = ("scale_factor", "add_offset")
_DIMENSIONS = "_ARRAY_DIMENSIONS"  # xarray's mark on arrays of Zarr v2, whose fill value is the _FillValue


class Conventions:
    """How the numbers of an array are meant.

    Parameters
    ----------
    path : where the array is
    array : the array

    Attributes
    ----------
    dtype : type of the numbers as they are meant
    missing : what is to be said of a row that lacks numbers
    notes : what is done to the numbers, a line each

    Raises
    ------
    InputError
        When an attribute cannot be understood.
    """

    def __init__(self, path: str, array: zarr.Array[Any]) -> None:
        attributes = array.attrs.asdict()
        self._kind = array.dtype
        numeric = self._kind.kind in "fiu"
        packing = {
            name: _one_number(path, name, attributes[name]) for name in _PACKING if name in attributes and numeric
        }
        self._packed = bool(packing)
        self._scale, self._offset = packing.get("scale_factor", 1.0), packing.get("add_offset", 0.0)
        self.dtype = np.dtype(np.float32) if self._packed else self._kind
        self._unsigned = self._kind.kind == "i" and str(attributes.get("_Unsigned", "")).lower() == "true"
        fill = _fill_value(array) if numeric else None
        said = {name: _numbers(path, name, attributes[name]) for name in _MISSING if name in attributes and numeric}
        if fill is not None and array.metadata.zarr_format == 2 and _DIMENSIONS in attributes:
            said["fill_value"] = [fill]
        self._sentinels = self._stored([one for values in said.values() for one in values])
        self._fill = self._stored([fill] if fill is not None else [])
        shown = {name: ", ".join(f"{one:g}" for one in values) for name, values in said.items()}
        shown = {name: text for name, text in shown.items() if text != "nan"}
        meanings = [f"{name} {text}" for name, text in shown.items()]
        self.missing = f"missing, as its {' and its '.join(meanings)} says" if meanings else "never written"
        self.notes: list[str] = []
        if self._packed:
            applied = " and ".join(f"{name} {value:g}" for name, value in packing.items())
            self.notes.append(f"{path}: {applied} applied, as its attributes say")
        if meanings:
            self.notes.append(
                f"{path}: {', '.join(f'{text} ({name})' for name, text in shown.items())} counts as missing"
            )

    def _stored(self, values: list[float]) -> NDArray[Any]:
        """Values as the array holds them, without those that it cannot hold and without NaN, which is bad anyhow."""
        kind = np.dtype(f"u{self._kind.itemsize}") if self._unsigned else self._kind.newbyteorder("=")
        held = []
        for value in values:
            if kind.kind == "f":
                with np.errstate(over="ignore"):
                    one = kind.type(value)
                if np.isfinite(one):
                    held.append(one)
            elif math.isfinite(value) and value == int(value):
                whole = int(value) + (1 << 8 * kind.itemsize if self._unsigned and value < 0 else 0)
                if np.iinfo(kind).min <= whole <= np.iinfo(kind).max:
                    held.append(kind.type(whole))
        return np.unique(np.array(held, kind))

    def apply(
        self, values: NDArray[Any], absent: Absent | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Read numbers as they are meant.

        Parameters
        ----------
        values : b × p, as they are stored
        absent : which of them are not stored at all

        Returns
        -------
        vectors : ndarray
            b × p, NaN where a number is missing.
        null : ndarray or None
            b flags, rows that lack a number; None where none does.
        """
        if self._unsigned:
            values = values.view(f"u{values.dtype.itemsize}")
        missing = np.zeros(values.shape, np.bool_)
        for sentinel in self._sentinels:
            missing |= values == sentinel
        if values.shape[1] > 1:
            for fill in self._fill:  # a row of nothing else was never written, though its chunk was
                unwritten = (values == fill).all(axis=1)
                missing[unwritten if absent is None else unwritten & ~absent.rows] = True
        vectors = values
        if self._packed:
            with np.errstate(over="ignore", invalid="ignore"):
                vectors = (values.astype(np.float64) * self._scale + self._offset).astype(np.float32)
        null: NDArray[np.bool_] = np.asarray(missing.any(axis=1))
        if not null.any():
            return vectors, None
        return np.where(missing, np.asarray(np.nan, vectors.dtype), vectors), null


def _fill_value(array: zarr.Array[Any]) -> float | None:
    """The fill value, where it is a number that no zero row of a vector is made of."""
    fill = array.metadata.fill_value
    value = float(fill) if fill is not None else 0.0
    return value if math.isfinite(value) and value != 0 else None


def _numbers(path: str, name: str, value: Any) -> list[float]:
    values = value if isinstance(value, list | tuple) else [value]
    try:
        return [_decoded(one) if isinstance(one, str) else float(one) for one in values]
    except (ValueError, TypeError, struct.error, binascii.Error):
        raise InputError(f"{path}: its attribute {name} is {value!r}, not a number: correct or remove it") from None


def _decoded(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float(struct.unpack("<d", base64.b64decode(text, validate=True))[0])  # as xarray writes it


def _one_number(path: str, name: str, value: Any) -> float:
    numbers = _numbers(path, name, value)
    if len(numbers) != 1 or not math.isfinite(numbers[0]):
        raise InputError(
            f"{path}: its attribute {name} is {str(value)[:40]}, not one finite number: unpack the array, or correct "
            "the attribute"
        )
    return numbers[0]
