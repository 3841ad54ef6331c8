"""Folders of folders: the layouts of Spark, of data sets on Hugging Face and of embedding pipelines.

Files in folders below one are one collection where nothing but numbers, or the value of a partition, tells the folders
apart. Else somebody has to say which are meant: rows of two models, or of two splits, would be put one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from specscale.errors import InputError
from specscale.places.listing import entries, has_magic, joined, suffix
from specscale.wording import some

__all__ = ["files_below", "partitions"]

_MOST_FOLDERS = 10_000
_ZARR = {"zarr.json", ".zarray", ".zgroup"}
_OURS = (".partial", ".work", ".array")  # of work in progress
_SPLITS = ("train", "training", "test", "testing", "validation", "valid", "val", "dev")


def files_below(folder: str, suffixes: Mapping[str, str]) -> list[str]:
    """Find the files in the folders of a folder that has none itself.

    Parameters
    ----------
    folder : a folder, local or remote
    suffixes : the lower-case suffixes of the files to take, and the kind of file of each

    Returns
    -------
    list of str
        Paths in no order; none where there are no such files.

    Raises
    ------
    InputError
        When the files do not make one collection, or there are too many folders.
    """
    found = [tuple(path.split("/")) for path in _walk(folder, suffixes)]
    if found:
        _check_one_kind(folder, found, suffixes)
        _check_one_collection(folder, found)
    return [joined(folder, "/".join(parts)) for parts in found]


def partitions(given: str, files: Sequence[str]) -> tuple[list[str], list[list[str | None]]]:
    """Read the columns that the names of folders hold, as in ``year=2024/part-0.parquet``.

    Parameters
    ----------
    given : the folder or pattern; what it says itself is no column
    files : the files that were found

    Returns
    -------
    keys : list of str
        Names of the columns; none where not all files have the same ones.
    values : list of lists of str or None
        The values of each file.
    """
    given = given.removeprefix("file://")
    fixed = given.rstrip("/").split("/")
    if has_magic(given):
        fixed = fixed[: next((i for i, part in enumerate(fixed) if has_magic(part)), 0)]
    pairs = []
    for file in files:
        parts = [part.partition("=") for part in file.split("/")[len(fixed) : -1] if "=" in part.strip("=")]
        pairs.append(
            [(key, None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value)) for key, _, value in parts]
        )
    keys = [key for key, _ in pairs[0]] if pairs else []
    if len(set(keys)) < len(keys) or any([key for key, _ in one] != keys for one in pairs):
        return [], [[] for _ in files]
    return keys, [[value for _, value in one] for one in pairs]


def _walk(folder: str, suffixes: Mapping[str, str]) -> list[str]:
    """Paths of files under a folder, relative to it; not of those inside arrays and results."""
    found, visited, waiting = [], 0, [""]
    while waiting:
        here = waiting.pop()
        files, folders = entries(joined(folder, here) if here else folder)
        visited += 1
        if visited > _MOST_FOLDERS:
            raise InputError(
                f"{folder}: holds more than {_MOST_FOLDERS:,} folders: give a pattern, as {folder}/*/*.npy"
            )
        if here and (_ZARR.intersection(files) or {"summary.json", "modes.parquet"} <= set(files)):
            continue
        found += [f"{here}{name}" for name in files if suffix(name) in suffixes and not name.startswith((".", "_"))]
        waiting += [
            f"{here}{name}/" for name in folders if not name.startswith((".", "_")) and not name.endswith(_OURS)
        ]
    return found


def _check_one_kind(folder: str, found: Sequence[tuple[str, ...]], suffixes: Mapping[str, str]) -> None:
    kinds: dict[str, list[tuple[str, ...]]] = {}
    for parts in sorted(found):
        kinds.setdefault(suffixes[suffix(parts[-1])], []).append(parts)
    if len(kinds) == 1:
        return
    holds = "; ".join(f"{len(files):,} {kind} in {some(_folders(files), width=60)}" for kind, files in kinds.items())
    beside = [_folders(files) for kind, files in kinds.items() if kind == "Parquet"]
    vectors = next((_folders(files)[0] for kind, files in kinds.items() if kind != "Parquet"), _folders(found)[0])
    also = f" --metadata {joined(folder, beside[0][0])}" if beside and beside[0] == ["metadata"] else ""
    raise InputError(
        f"{folder}: its folders hold files of several kinds: {holds}; give {joined(folder, vectors)}{also}"
    )


def _check_one_collection(folder: str, found: Sequence[tuple[str, ...]]) -> None:
    files = sorted(found)
    everything = f"{joined(folder, '**/*')}{suffix(files[0][-1])}"
    levels = {len(parts): "/".join(parts) for parts in reversed(files)}
    if len(levels) > 1:
        found_at = some([levels[depth] for depth in sorted(levels)], width=60)
        raise InputError(
            f"{folder}: holds files at several levels ({found_at}); give the folder that is meant, or '{everything}' "
            "for all"
        )
    for level in range(len(files[0]) - 1):
        names = sorted({parts[level] for parts in files})
        if len({_alike(name) for name in names}) > 1:
            first = joined(folder, "/".join(files[0][: level + 1]))
            raise InputError(
                f"{folder}: holds several folders of files: {some(names, width=60)}; give one of them, as {first}, or "
                f"'{everything}' for all, one after the other"
            )
    splits = sorted({split for parts in files if (split := re.split(r"[^a-z]", parts[-1].lower())[0]) in _SPLITS})
    if len(splits) > 1:
        within = joined(folder, "/".join(files[0][:-1]))
        raise InputError(
            f"{folder}: holds several splits: {some(splits, width=60)}; give one of them, as "
            f"'{within}/{splits[0]}*{suffix(files[0][-1])}', or {within} for all, one after the other"
        )


def _folders(files: Sequence[tuple[str, ...]]) -> list[str]:
    return sorted({"/".join(parts[:-1]) for parts in files})


def _alike(name: str) -> str:
    """A name without what may differ between the folders of one collection."""
    key, equals, _ = name.partition("=")
    return f"{key}=" if equals and key else re.sub(r"[0-9]+", "0", name)
