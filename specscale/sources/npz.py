"""NumPy archives: ``.npz``."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from specscale.errors import InputError
from specscale.places.listing import fingerprint, is_remote
from specscale.places.sequential import open_binary
from specscale.sources.archives import check_directory, check_members
from specscale.sources.arrays import Extent, ExtentShard
from specscale.sources.base import Format
from specscale.sources.conversions import several_arrays, sparse_matrix
from specscale.sources.npy import read_header
from specscale.wording import shown

_MOST_HEADERS = 16 << 20  # bytes of all arrays


class NpzShard(ExtentShard):
    """One array of an ``.npz`` archive.

    Parameters
    ----------
    path : the archive
    key : name of the array; may be left out where the archive holds a single one

    Raises
    ------
    InputError
        When the archive or the array cannot be used.
    """

    def __init__(self, path: str, key: str | None = None) -> None:
        with _damage_named(path), open_binary(path) as file:
            check_directory(file)
            with zipfile.ZipFile(file) as archive:
                check_members(archive.infolist())
                headers = _headers(path, archive)
                name = _choose(path, headers, key)
                self._member = f"{name}.npy"
                size = archive.getinfo(self._member).file_size
        here = os.path.basename(path) if is_remote(path) else path
        super().__init__(
            path,
            headers[name],
            size,
            f"{fingerprint(path)} {self._member}",
            label=f"{path}, array {shown(name)}",
            load=f'numpy.load("{here}")["{name if len(name) < 60 else "NAME"}"]',
            save=f'numpy.save("{os.path.splitext(here)[0]}.npy", {{}})',
        )

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        with (
            _damage_named(self.path),
            open_binary(self.path) as file,
            zipfile.ZipFile(file) as archive,
            archive.open(self._member) as member,
        ):
            yield member

    def _is_slow(self) -> bool:
        return True  # it is unpacked from its beginning


def _headers(path: str, archive: zipfile.ZipFile) -> dict[str, Extent]:
    headers: dict[str, Extent] = {}
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


def _saved_shape(archive: zipfile.ZipFile, header: Extent) -> tuple[int, int] | None:
    if header.shape != (2,) or header.dtype.kind not in "iu":
        return None
    with archive.open("shape.npy") as file:
        file.read(header.offset)
        rows, columns = np.frombuffer(file.read(2 * header.dtype.itemsize), header.dtype)
    return int(rows), int(columns)


def _choose(path: str, headers: dict[str, Extent], key: str | None) -> str:
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


NPZ = Format("NumPy .npz", (".npz",), NpzShard, frozenset({"key"}))
