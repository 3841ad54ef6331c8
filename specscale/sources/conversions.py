"""Files and folders of kinds that are not read, and the conversion that makes vectors of them."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from specscale.embeddings.refusals import FLOAT, converted, copied_here, to_copy
from specscale.places.listing import entries, joined, suffix
from specscale.places.sequential import open_binary
from specscale.wording import shown, some

__all__ = ["no_vectors_in", "unreadable_file"]

_CONVERTED = (
    ".pt",
    ".pth",
    ".safetensors",
    ".h5",
    ".hdf5",
    ".arrow",
    ".feather",
    ".csv",
    ".tsv",
    ".gz",
    ".zip",
    ".fvecs",
)
_PACKED = (".gz", ".bz2", ".xz", ".zst")
_UNPACK = {".gz": "gunzip -k", ".bz2": "bunzip2 -k", ".xz": "unxz -k", ".zst": "unzstd"}


def unreadable_file(path: str, readable: str) -> str:
    """
    Say that a file is of no kind that is read, and how to make one of it.

    Parameters
    ----------
    path
        The file.
    readable
        The kinds of file that are read.

    Returns
    -------
    str
        A line that names the file.
    """
    ending, here = suffix(path), copied_here(path)
    npy, parquet = converted(path, ".npy"), converted(path, ".parquet")
    save, table = f'numpy.save("{npy}", {{}})', f'.to_parquet("{parquet}")'
    start = _start(path)
    if ending in _PACKED and not path.endswith((".tar.gz", ".tar.xz", ".tar.bz2")):
        return f"{path}: a compressed file is not read; unpack it first: {_UNPACK[ending]} {here}"
    if ending in (".tar", ".tgz") or ".tar." in path:
        return f"{path}: an archive is not read; unpack it first: tar -xf {here}"
    if start.startswith(b"\x93NUMPY"):
        return f"{path}: a NumPy array by its content; call it {converted(path, '.npy', keep=True)}"
    if start.startswith(b"PAR1"):
        return f"{path}: a Parquet file by its content; call it {converted(path, '.parquet', keep=True)}"
    how = None
    if ending in (".pt", ".pth", ".ckpt") or (ending == ".bin" and start.startswith(b"PK")):
        how = save.format(f'torch.load("{here}", map_location="cpu").float().numpy()')
    elif ending == ".zip" or start.startswith(b"PK\x03\x04"):
        return f"{path}: an archive is not read; unpack it first: unzip {here}"
    elif ending == ".safetensors":
        how = save.format(f'safetensors.numpy.load_file("{here}")["NAME"].{FLOAT}')
    elif ending in (".h5", ".hdf5", ".hdf"):
        how = save.format(f'h5py.File("{here}")["NAME"][:]')
    elif ending in (".arrow", ".feather", ".ipc"):
        whole = f'pyarrow.feather.read_table("{here}")'
        stream = f'pyarrow.ipc.open_stream("{here}").read_all()'
        how = f'pyarrow.parquet.write_table({whole if start.startswith(b"ARROW1") else stream}, "{parquet}")'
    elif ending in (".csv", ".tsv", ".txt", ".dat", ".vec"):
        how = _from_text(here, start, save, table)
    elif ending in (".jsonl", ".ndjson", ".json"):
        how = f'pandas.read_json("{here}"{"" if ending == ".json" else ", lines=True"}){table}'
    elif ending == ".fvecs":
        vectors = "x.reshape(-1, x[0] + 1)[:, 1:].view(numpy.float32)"
        how = f'x = numpy.fromfile("{here}", "int32"); {save.format(vectors)}'
    elif ending in (".bin", ".fbin", ".raw", ".dat", ".mmap", ".memmap"):
        how = _from_raw(path, start, save)
    elif ending in (".pkl", ".pickle", ".joblib"):
        how = save.format(f'numpy.asarray(pandas.read_pickle("{here}"), "float32")') + ", if you trust it"
    elif ending == ".mat":
        how = save.format(f'scipy.io.loadmat("{here}")["NAME"].{FLOAT}')
    if how is None:
        return f"{path}: not a file of vectors that can be read; these can: {readable}"
    return f"{to_copy(path)}: {ending} files are not read as vectors; convert it: {how}"


def _from_text(path: str, start: bytes, save: str, table: str) -> str | None:
    line = start.decode("utf-8", "replace").partition("\n")[0]
    sign = "\t" if "\t" in line else "," if "," in line else " "
    fields = line.split(sign) if sign != " " else line.split()
    if all(map(_is_number, fields)):
        between = {"\t": ', delimiter="\\t"', ",": ', delimiter=","'}.get(sign, "")
        return save.format(f'numpy.loadtxt("{path}", "float32"{between}, ndmin=2)')
    if len(fields) > 2 and all(map(_is_number, fields[1:])):  # a word and its vector
        return f'pandas.read_csv("{path}", sep={sign!r}, header=None, quoting=3).rename(columns=str){table}'
    if len(fields) == 1:
        return None
    return f'pandas.read_csv("{path}"{", sep=chr(9)" if sign == chr(9) else ""}){table}'


def _from_raw(path: str, start: bytes, save: str) -> str:
    here = copied_here(path)
    if len(start) >= 8:
        n, p = (int(value) for value in np.frombuffer(start[:8], "<i4"))
        if n > 0 and p > 0 and _size(path) == 8 + 4 * n * p:
            return save.format(f'numpy.fromfile("{here}", "float32", offset=8).reshape({n}, {p})')
    return save.format(f'numpy.fromfile("{here}", "float32").reshape(-1, P)') + ", with the dimensions P"


def no_vectors_in(directory: str, suffixes: Mapping[str, str]) -> str:
    """
    Say that a directory holds nothing that can be read, and what it is instead.

    Parameters
    ----------
    directory
        A directory.
    suffixes
        The suffixes of files that could be taken from it.

    Returns
    -------
    str
        A line that names the directory.
    """
    files, folders = entries(directory)
    new = f"{directory.rstrip('/')}.parquet"
    if "dataset_dict.json" in files:
        splits = sorted(name for name in folders if not name.startswith("."))
        loaded = f'datasets.load_from_disk("{directory}")["{shown(splits[0]) if splits else "train"}"]'
        return f'{directory}: a dictionary of data sets on disk; take one: {loaded}.to_parquet("{new}")'
    if "state.json" in files and any(suffix(name) == ".arrow" for name in files):
        loaded = f'datasets.load_from_disk("{directory}")'
        return f'{directory}: a data set as save_to_disk writes it; convert it: {loaded}.to_parquet("{new}")'
    line = f"{directory}: this directory holds no {' or '.join(sorted(suffixes))} file, and neither do folders in it"
    arrays = [name for name in sorted(folders) if suffix(name) == ".zarr"]
    if arrays:
        return f"{line}; it holds the Zarr arrays {some(arrays)}: name one, as {joined(directory, arrays[0])}"
    others = [name for name in sorted(files) if suffix(name) in _CONVERTED and not name.startswith(".")]
    if others and not set(_CONVERTED) & set(suffixes):
        return unreadable_file(joined(directory, others[0]), ", ".join(sorted(suffixes)))
    return line


def _start(path: str) -> bytes:
    with open_binary(path) as file:
        return file.read(4096)


def _size(path: str) -> int:
    with open_binary(path) as file:
        return file.seek(0, os.SEEK_END)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
