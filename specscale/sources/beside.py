"""Arrays that lie beside the vectors in their file, as ids do in an archive or as a coordinate."""

from __future__ import annotations

import os
import zipfile

import zarr

__all__ = ["conversion"]


def conversion(path: str, name: str) -> str | None:
    """Say how an array beside the vectors becomes a column.

    Parameters
    ----------
    path : the file of the vectors: an ``.npz`` archive, or an array of a Zarr group or the group
    name : what the user calls the column

    Returns
    -------
    str or None
        One sentence; None where there is no such array.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if f"{name}.npy" not in archive.namelist():
                return None
        return _advice(path, name, f'numpy.load("{path}", allow_pickle=True)["{name}"].tolist()')
    group = next((one for one in (path, os.path.dirname(path)) if os.path.isdir(os.path.join(one, name))), None)
    if group is None:
        return None
    try:
        zarr.open_array(os.path.join(group, name), mode="r")
    except (ValueError, KeyError, TypeError, OSError, RuntimeError):
        return None
    return _advice(group, name, f'zarr.open_array("{os.path.join(group, name)}")[:].tolist()')


def _advice(path: str, name: str, read: str) -> str:
    return (
        f"{path} has an array {name}, which is no column: convert it with pyarrow.parquet.write_table(pyarrow.table("
        f'{{"{name}": {read}}}), "{name}.parquet") and give it with --metadata {name}.parquet --id {name}'
    )
