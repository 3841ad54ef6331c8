"""Another name for the model of a store."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

from upath import UPath

from specscale.embeddings.layout import ATTRIBUTE
from specscale.embeddings.store import EmbeddingStore
from specscale.places.claim import claim_folder
from specscale.places.documents import read_json
from specscale.places.durable import sync_folder
from specscale.places.files import exists, followed, located, move, unchained, write_whole
from specscale.sources.naming import check_name
from specscale.stores.publishing import MARK, Partial, finish_earlier

__all__ = ["rename"]


def rename(store: str | PathLike[str] | UPath, name: str) -> str:
    """Give the model of a store another name, by which later comparisons call it.

    The store's rows, columns and digest stay, and earlier results keep the name that they have.

    Parameters
    ----------
    store : str or path
        The embedding store, local or a URL.
    name : str
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
    place = followed(located(unchained(store)))
    finish_earlier(place)
    before = EmbeddingStore(place).name
    partial = Partial(place)
    claim = claim_folder(partial.folder, MARK)  # rows that are being appended would bring the old name back
    try:
        document = read_json(place / "zarr.json")
        document["attributes"][ATTRIBUTE]["name"] = name
        content = json.dumps(document, indent=2).encode()
        claim.check()
        if isinstance(place, Path):  # who is killed leaves nothing half written in the store
            write_whole(partial.folder / "zarr.json", content, durable=True)
            move(partial.folder / "zarr.json", place / "zarr.json")
            sync_folder(place)
        else:
            write_whole(place / "zarr.json", content)
    finally:
        if isinstance(partial.folder, Path) and not exists(partial.journal):
            partial.remove_folder()
        claim.close()
    return before
