"""Sources of vectors: one registry, one small module for each format.

A new format is a module with a class of arrays (`arrays.ArrayShard`) or of tables (`batches.BatchShard`) and its
`base.Format`, which names its options, and one line here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from specscale.errors import InputError, OptionError
from specscale.sources.base import Batch, Format, Source
from specscale.sources.choosing import Choice
from specscale.sources.conversions import unreadable_file
from specscale.sources.folders import partitions
from specscale.sources.naming import model_name
from specscale.sources.npy import NPY
from specscale.sources.npz import NPZ
from specscale.sources.parquet import PARQUET
from specscale.sources.partitioned import PartitionedShard
from specscale.sources.paths import expand
from specscale.sources.sharded import ShardedSource
from specscale.sources.zarr_array import ZARR
from specscale.wording import some

__all__ = ["FORMATS", "Batch", "Choice", "Source", "open_source"]

_FEW = 8  # kinds of names; shards that are named by letters or hashes have more

FORMATS: tuple[Format, ...] = (NPY, NPZ, PARQUET, ZARR)


def open_source(
    paths: Sequence[str],
    *,
    earlier: Sequence[str] = (),
    choice: Choice | None = None,
    **options: str | None,
) -> Source:
    """Open an embedding in any format that is read.

    Parameters
    ----------
    paths : files, directories of files and globs, local or URLs, all of one format; at least one; files listed one by
        one keep their order, the contents of directories and globs come in natural order
    earlier : columns of the vectors of rows that come before these, which hold where the option ``vector`` is left out
    choice : the columns that ride along
    **options : those of the formats, as the user gave them; None for what was not given

    Returns
    -------
    Source
        The rows of all files, one after the other.

    Raises
    ------
    InputError
        When a file is missing, cannot be used, or does not go with the others.
    OptionError
        When an option does not go with the format.
    """
    suffixes = {one: known.name for known in FORMATS for one in known.suffixes}
    files = expand(paths, suffixes, _is_folder)
    chosen = _format(files[0])
    for file in files[1:]:
        other = _format(file)
        if other is not chosen:
            raise InputError(
                f"{file}: a {other.name} file among {chosen.name} files ({files[0]}); ingest one format at a time, as"
                f" '*{chosen.suffixes[0]}'"
            )
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if option not in chosen.options:
            raise OptionError(f"--{option} does not apply to {files[0]}, a {chosen.name} file; leave it out")
    if earlier and "vector" in chosen.options:
        given.setdefault("vector", ",".join(earlier))
    shards = [chosen.open(file, **given) for file in files]
    keys, values = partitions(paths[0], files) if len(paths) == 1 else ([], [])
    if keys:
        shards = [PartitionedShard(*one) for one in zip(shards, [keys] * len(files), values, strict=True)]
    source = ShardedSource(model_name(paths), shards, choice)
    source.notes += _named_apart(paths, files)
    return source


def _named_apart(paths: Sequence[str], files: Sequence[str]) -> tuple[str, ...]:
    """Say that files of one folder are named apart by more than numbers: they may not be one model's."""
    kinds: dict[str, str] = {}
    for file in files:
        name = file.rpartition("/")[2]
        kinds.setdefault(re.sub(r"[0-9]+", "0", name), name)
    if len(paths) > 1 or not 1 < len(kinds) <= _FEW:
        return ()
    return (f"read as one model's, one after the other, though named apart: {some(list(kinds.values()))}",)


def _is_folder(path: str) -> bool:
    return any(known.is_folder(path) for known in FORMATS if known.is_folder is not None)


def _format(path: str) -> Format:
    for known in FORMATS:
        if known.matches(path):
            return known
    raise InputError(unreadable_file(path, ", ".join(known.name for known in FORMATS)))
