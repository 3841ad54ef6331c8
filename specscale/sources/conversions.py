"""Files and folders that hold no vectors as they are, and the conversion that makes vectors of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from specscale.embeddings.matrices import FLOAT
from specscale.places.listing import entries, is_remote, joined, suffix
from specscale.places.sequential import open_binary
from specscale.wording import LISTED, LONGEST, shown, some

__all__ = ["no_vectors_in", "several_arrays", "sparse_matrix", "unreadable_file"]

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
_DENSE = 4096  # columns up to which a sparse matrix is written out
_PACKED = (".gz", ".bz2", ".xz", ".zst")
_UNPACK = {".gz": "gunzip -k", ".bz2": "bunzip2 -k", ".xz": "unxz -k", ".zst": "unzstd"}


def unreadable_file(path: str, readable: str) -> str:
    """Say that a file is of no kind that is read, and how to make one of it.

    Parameters
    ----------
    path : the file
    readable : the kinds of file that are read

    Returns
    -------
    str
        A line that names the file.
    """
    ending, here = suffix(path), _copied_here(path)
    npy, parquet = _converted(path, ".npy"), _converted(path, ".parquet")
    save, table = f'numpy.save("{npy}", {{}})', f'.to_parquet("{parquet}")'
    start = _start(path)
    if ending in _PACKED and not path.endswith((".tar.gz", ".tar.xz", ".tar.bz2")):
        return f"{path}: a compressed file is not read; unpack it first: {_UNPACK[ending]} {here}"
    if ending in (".tar", ".tgz") or ".tar." in path:
        return f"{path}: an archive is not read; unpack it first: tar -xf {here}"
    if start.startswith(b"\x93NUMPY"):
        return f"{path}: a NumPy array by its content; call it {_converted(path, '.npy', keep=True)}"
    if start.startswith(b"PAR1"):
        return f"{path}: a Parquet file by its content; call it {_converted(path, '.parquet', keep=True)}"
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
    return f"{_to_copy(path)}: {ending} files are not read as vectors; convert it: {how}"


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
    here = _copied_here(path)
    if len(start) >= 8:
        n, p = (int(value) for value in np.frombuffer(start[:8], "<i4"))
        if n > 0 and p > 0 and _size(path) == 8 + 4 * n * p:
            return save.format(f'numpy.fromfile("{here}", "float32", offset=8).reshape({n}, {p})')
    return save.format(f'numpy.fromfile("{here}", "float32").reshape(-1, P)') + ", with the dimensions P"


def no_vectors_in(directory: str, suffixes: Mapping[str, str]) -> str:
    """Say that a directory holds nothing that can be read, and what it is instead.

    Parameters
    ----------
    directory : a directory
    suffixes : the suffixes of files that could be taken from it

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
    if others and ".csv" not in suffixes:  # where tables of text are looked for, vectors are not
        return unreadable_file(joined(directory, others[0]), ", ".join(sorted(suffixes)))
    return line


def sparse_matrix(path: str, names: Mapping[str, object], shape: tuple[int, int] | None) -> str | None:
    """Say that an archive is a sparse matrix of SciPy's, and what to make of it.

    Parameters
    ----------
    path : the archive
    names : the arrays that it holds
    shape : the shape of the matrix, where it could be read

    Returns
    -------
    str or None
        None where it is none.
    """
    if not {"format", "shape", "data"} <= names.keys() or not names.keys() & {"indices", "row", "offsets", "coords"}:
        return None
    new = _converted(path, ".npy")
    size = f" of {shape[0]:,} × {shape[1]:,}" if shape else ""
    loaded, path = f'scipy.sparse.load_npz("{_copied_here(path)}")', _to_copy(path)
    if shape is None or shape[1] <= _DENSE:
        return f'{path}: a sparse matrix{size}, as SciPy saves it: numpy.save("{new}", {loaded}.toarray().{FLOAT})'
    return (
        f"{path}: a sparse matrix{size}, too wide to be written out; reduce it to its leading directions: "
        f'u, s, _ = scipy.sparse.linalg.svds({loaded}.{FLOAT}, k=256); numpy.save("{new}", u * s)'
    )


def several_arrays(path: str, arrays: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], problem: str) -> str:
    """Say what an archive of several arrays holds, and how one of them is taken.

    Parameters
    ----------
    path : the archive
    arrays : the shape and type of each array
    problem : what is wrong, as in ``"holds several arrays"``

    Returns
    -------
    str
        A line of bounded length.
    """
    shapes = {shape for shape, _ in arrays.values()}
    new, here = _converted(path, ".npy"), _copied_here(path)
    shape = next(iter(shapes))
    if len(arrays) > LISTED and len(shapes) == 1 and (len(shape) == 1 or shape[:-1] == (1,)):
        return (
            f"{path}: {problem}: {len(arrays):,} of {shape[-1]:,} numbers each, one vector for each name; put "
            f'them into one, z = numpy.load("{here}"); numpy.save("{new}", numpy.stack([z[k] for k in z.files])), and '
            f'their names: pandas.DataFrame({{"id": z.files}}).to_csv("{_converted(path, ".csv")}", index=False), for '
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
    if not ids or len(ids[0][0]) > LONGEST:
        return line
    name, kind = ids[0]
    pickled = ", allow_pickle=True" if kind.kind == "O" else ""
    column = f'numpy.load("{here}"{pickled})["{name}"]'
    table = f'pandas.DataFrame({{"{name}": {column}}}).to_parquet("{_converted(path, ".parquet")}")'
    return f"{line}; {name} comes along with --metadata: {table}"


def _to_copy(path: str) -> str:
    """A file in the words of a refusal whose remedy reads it from this machine's disk."""
    return f"{path} (copy it here first)" if is_remote(path) else path


def _converted(path: str, ending: str, *, keep: bool = False) -> str:
    """The name of the file that a conversion writes: beside the one that is there, or here if that is elsewhere."""
    name = _copied_here(path)
    return (name if keep else os.path.splitext(name)[0]) + ending


def _copied_here(path: str) -> str:
    """Return the path of a file on this machine, once a remote one is copied here."""
    return path.partition("?")[0].rpartition("/")[2] if is_remote(path) else path


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
