"""Another name for the model of a store."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

from upath import UPath

from specscale.documents import read_json
from specscale.files import exists, located, remove_tree, write_whole
from specscale.stores.claim import claim_folder
from specscale.stores.embedding import EmbeddingStore
from specscale.stores.layout import ATTRIBUTE
from specscale.stores.publishing import MARK, Partial, finish_earlier
from specscale.stores.sources.naming import check_name

__all__ = ["rename"]


def rename(store: str | PathLike[str] | UPath, name: str) -> str:
    """
    Give the model of a store another name, by which later comparisons call it.

    The store's rows, columns and digest stay, and earlier results keep the name that they have.

    Parameters
    ----------
    store
        The embedding store, local or a URL.
    name
        The new name.

    Returns
    -------
    str
        The name that it had.

    Raises
    ------
    InputError
        There is no such store, or it cannot be reached.
    OptionError
        The name is empty, or has signs that cannot be printed.
    ExistsError
        Another process is adding rows to the store.
    """
    check_name(name)
    place = located(store)
    finish_earlier(place)
    before = EmbeddingStore(place).name
    folder = Partial(place).folder
    was_there = exists(folder)
    claim = claim_folder(folder, MARK)  # rows that are being appended would bring the old name back
    try:
        document = read_json(place / "zarr.json")
        document["attributes"][ATTRIBUTE]["name"] = name
        write_whole(place / "zarr.json", json.dumps(document, indent=2).encode())
    finally:
        if isinstance(folder, Path) and not was_there:
            remove_tree(folder)
        claim.close()
    return before
