"""NumPy archives: ``.npz``."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from specscale.embeddings.matrices import check_floating, matrix_shape
from specscale.embeddings.refusals import several_arrays, sparse_matrix
from specscale.errors import InputError
from specscale.places.listing import fingerprint, is_remote, suffix
from specscale.places.sequential import open_binary
from specscale.sources.archives import check_directory, check_members
from specscale.sources.base import ArrayShard, Batch, Format
from specscale.sources.npy import ArrayHeader, check_size, read_header, read_rows, seekable
from specscale.wording import shown

_MOST_HEADERS = 16 << 20  # bytes of all arrays


class NpzShard(ArrayShard):
    """
    One array of an ``.npz`` archive.

    Parameters
    ----------
    path
        The archive.
    key
        Name of the array; may be left out where the archive holds a single one.

    Raises
    ------
    InputError
        The archive or the array cannot be used.
    """

    def __init__(self, path: str, key: str | None) -> None:
        self.path = path
        with _damage_named(path), open_binary(path) as file:
            check_directory(file)
            with zipfile.ZipFile(file) as archive:
                check_members(archive.infolist())
                headers = _headers(path, archive)
                self._member = f"{_choose(path, headers, key)}.npy"
                self._header = headers[self._member.removesuffix(".npy")]
                size = archive.getinfo(self._member).file_size
        name = self._member.removesuffix(".npy")
        label = f"{path}, array {shown(name)}"
        self.dtype = self._header.dtype
        here = os.path.basename(path) if is_remote(path) else path
        load = f'numpy.load("{here}")["{name if len(name) < 60 else "NAME"}"]'
        save = f'numpy.save("{os.path.splitext(here)[0]}.npy", {{}})'
        check_floating(label, self.dtype, self._header.shape, load, save)
        self.n, self.p = matrix_shape(label, self._header.shape)
        check_size(label, self._header, size)
        self.fingerprint = f"{fingerprint(path)} {self._member}"

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """
        Yield the rows in order.

        Parameters
        ----------
        start
            The first row.

        Yields
        ------
        Batch
            Rows in the type of the array.

        Raises
        ------
        InputError
            The archive is damaged.
        """
        if self.p is None:
            return
        with (
            _damage_named(self.path),
            open_binary(self.path) as source,
            zipfile.ZipFile(source) as archive,
            archive.open(self._member) as member,
            seekable(member, self._header, True) as file,
        ):
            shape = (self.n, self.p)
            yield from self._in_batches(
                start, lambda low, high: read_rows(self.path, file, self._header, shape, low, high)
            )


def _headers(path: str, archive: zipfile.ZipFile) -> dict[str, ArrayHeader]:
    headers: dict[str, ArrayHeader] = {}
    read = 0
    for member in archive.namelist():
        if member.endswith(".npy"):
            with archive.open(member) as file:
                headers[member.removesuffix(".npy")] = header = read_header(f"{path}, {member}", file)
            read += header.offset
            if read > _MOST_HEADERS:
                raise zipfile.BadZipFile("the headers of its arrays are too long")
    if not headers:
        raise InputError(f"{path}: this archive holds no arrays")
    if "shape" in headers:
        sparse = sparse_matrix(path, headers, _saved_shape(archive, headers["shape"]))
        if sparse is not None:
            raise InputError(sparse)
    return headers


def _saved_shape(archive: zipfile.ZipFile, header: ArrayHeader) -> tuple[int, int] | None:
    if header.shape != (2,) or header.dtype.kind not in "iu":
        return None
    with archive.open("shape.npy") as file:
        file.read(header.offset)
        rows, columns = np.frombuffer(file.read(2 * header.dtype.itemsize), header.dtype)
    return int(rows), int(columns)


def _choose(path: str, headers: dict[str, ArrayHeader], key: str | None) -> str:
    arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
    arrays = {name: (header.shape, header.dtype) for name, header in headers.items()}
    if key is None:
        if len(headers) > 1:
            raise InputError(several_arrays(path, arrays, "holds several arrays"))
        return next(iter(headers))
    if key not in headers:
        raise InputError(several_arrays(path, arrays, f"holds no array named {shown(key)}, only several arrays"))
    return key


@contextmanager
def _damage_named(path: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: not a readable .npz archive ({error}); copy or write it again") from error


NPZ = Format(
    name="NumPy .npz",
    suffixes=(".npz",),
    options=frozenset({"key"}),
    matches=lambda path: suffix(path) == ".npz",
    open=NpzShard,
)
