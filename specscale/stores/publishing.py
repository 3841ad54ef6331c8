"""From a finished draft to a store under its name, so that what a killed process began the next one finishes.

Locally the draft is renamed. Where nothing can be renamed its files are copied, what describes them last: who opens the
store before that sees the old one, or none. Rows that follow those of a store are put beside its chunks, which stay.
"""

from __future__ import annotations

from typing import Any

from specscale.errors import ExistsError
from specscale.files import Location, exists, is_local, move, remove_tree
from specscale.stores.claim import claim_folder
from specscale.stores.journal import Journal
from specscale.stores.layout import FEATURES, NORMS, ROWS, store_attributes

__all__ = ["Partial", "finish_earlier", "finish_publishing", "is_finished", "publish", "was_published"]

_LAST = (ROWS, f"{FEATURES}/zarr.json", f"{NORMS}/zarr.json", "zarr.json")
MARK = "journal.json"


class Partial:
    """
    The places of the work in progress beside a store.

    Parameters
    ----------
    target
        The store to be.

    Attributes
    ----------
    folder
        ``STORE.partial``, which holds all others.
    draft
        The store as far as it has come.
    columns
        The samples' own columns, a Parquet file for each chunk.
    replaced
        The local store that had the name before.
    journal
        The file of the journal.
    """

    def __init__(self, target: Location) -> None:
        self.target = target
        self.folder: Location = target.with_name(f"{target.name}.partial")
        self.draft: Location = self.folder / "store"
        self.columns: Location = self.folder / "columns"
        self.replaced: Location = self.folder / "replaced"
        self.journal: Location = self.folder / MARK

    def remove(self) -> None:
        """Remove everything but the lock; what says whose the folder is goes last."""
        for place in (self.draft, self.columns, self.replaced, self.journal):
            remove_tree(place)


def publish(partial: Partial, journal: Journal, result: str) -> None:
    """
    Give a finished draft its name.

    Parameters
    ----------
    partial
        Where the draft is.
    journal
        Its journal.
    result
        Digest of the draft.
    """
    journal.result = result
    journal.replacing = journal.base is None and not is_local(partial.target) and exists(partial.target)
    journal.save(partial.journal)
    finish_publishing(partial, journal)


def finish_publishing(partial: Partial, journal: Journal) -> None:
    """
    Do what is left to do to give a finished draft its name; nothing where that is done.

    Parameters
    ----------
    partial
        Where the draft is.
    journal
        Its journal, with a result.

    Raises
    ------
    ExistsError
        A store appeared under the name of one that was about to be replaced.
    """
    if journal.base is not None:
        before = partial.target if exists(partial.target) else partial.replaced
        if _digest(before) not in (journal.base, journal.result):
            return  # the store that the rows were to follow is gone: there is nothing to finish
    if is_local(partial.target):
        _rename(partial)
        return
    if journal.replacing:
        remove_tree(partial.target / "zarr.json")
        remove_tree(partial.target)
        journal.replacing = False
        journal.save(partial.journal)
    # Copied again where it had been: a file that is missing in the draft by now is in the store.
    move(partial.draft, partial.target, last=_LAST)


def finish_earlier(target: Location) -> None:
    """
    Finish giving a store its name where an earlier process was killed while it did that.

    Parameters
    ----------
    target
        The store.

    Raises
    ------
    ExistsError
        Another process is at it.
    """
    partial = Partial(target)
    if _pending(partial) is None:
        return
    claim = claim_folder(partial.folder, MARK)
    try:
        journal = _pending(partial)
        if journal is not None:
            finish_publishing(partial, journal)
    finally:
        claim.close()


def is_finished(partial: Partial, identity: dict[str, Any]) -> bool:
    """
    Whether an earlier process did all this work and was killed just before its end.

    Parameters
    ----------
    partial
        Where it worked.
    identity
        Everything the result depends on.
    """
    journal = _pending(partial)
    return journal is not None and journal.identity == identity and _digest(partial.target) == journal.result


def was_published(target: Location) -> bool:
    """Whether the store at `target` is the work of a process that was killed just before its end."""
    journal = _pending(Partial(target))
    return journal is not None and _digest(target) == journal.result


def _pending(partial: Partial) -> Journal | None:
    journal = Journal.load(partial.journal)
    return journal if journal is not None and journal.result is not None else None


def _rename(partial: Partial) -> None:
    if not exists(partial.draft):
        return
    if exists(partial.target):
        if exists(partial.replaced):
            raise ExistsError(
                f"{partial.target}: appeared while the store of this name was being replaced; move it elsewhere and "
                "run the same command again"
            )
        move(partial.target, partial.replaced)
    move(partial.draft, partial.target)


def _digest(store: Location) -> str | None:
    digest = (store_attributes(store) or {}).get("digest")
    return digest if isinstance(digest, str) else None
