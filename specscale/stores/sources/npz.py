"""NumPy archives: ``.npz``."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, cast

import pyarrow as pa

from specscale.errors import InputError
from specscale.stores.sources.base import Batch, Format, batch_rows, check_floating, matrix_shape
from specscale.stores.sources.npy import ArrayHeader, check_size, read_header, read_rows
from specscale.stores.sources.paths import fingerprint, suffix


class NpzShard:
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

    schema: pa.Schema | None = None

    def __init__(self, path: str, key: str | None) -> None:
        self.path = path
        with _damage_named(path), zipfile.ZipFile(path) as archive:
            headers = _headers(path, archive)
            self._member = f"{_choose(path, headers, key)}.npy"
            self._header = headers[self._member.removesuffix(".npy")]
            size = archive.getinfo(self._member).file_size
        label = f"{path}, array {self._member.removesuffix('.npy')}"
        self.dtype = self._header.dtype
        check_floating(label, self.dtype)
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
            zipfile.ZipFile(self.path) as archive,
            archive.open(self._member) as member,
            _seekable(member, self._header) as file,
        ):
            step = batch_rows(self.p, self.dtype)
            for low in range(start, self.n, step):
                high = min(low + step, self.n)
                vectors = read_rows(self.path, file, self._header, (self.n, self.p), low, high)
                yield Batch(low, vectors, None, self.path)

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield nothing: an array has no columns of other kinds."""
        return iter(())

    def dimension(self, index: int) -> str:
        """Name a dimension."""
        return f"column {index}"


def _headers(path: str, archive: zipfile.ZipFile) -> dict[str, ArrayHeader]:
    headers: dict[str, ArrayHeader] = {}
    for member in archive.namelist():
        if member.endswith(".npy"):
            with archive.open(member) as file:
                headers[member.removesuffix(".npy")] = read_header(f"{path}, {member}", file)
    if not headers:
        raise InputError(f"{path}: this archive holds no arrays")
    return headers


def _choose(path: str, headers: dict[str, ArrayHeader], key: str | None) -> str:
    listing = ", ".join(f"{name} {header.shape}" for name, header in headers.items())
    if key is None:
        if len(headers) > 1:
            raise InputError(f"{path}: holds several arrays: {listing}; choose one with --key")
        return next(iter(headers))
    if key not in headers:
        raise InputError(f"{path}: holds no array named {key}, only {listing}; choose one of these with --key")
    return key


@contextmanager
def _seekable(member: IO[bytes], header: ArrayHeader) -> Iterator[IO[bytes]]:
    if not header.fortran:
        yield member
        return
    # Rows of a Fortran-order array lie all over it, and seeking backwards would inflate the member from its start.
    with tempfile.TemporaryFile(prefix="specscale-") as spill:
        shutil.copyfileobj(member, spill, 1 << 20)
        yield cast("IO[bytes]", spill)


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
