"""From a finished draft to a store under its name, so that what a killed process began the next one finishes.

Locally the draft is renamed once the disk holds it, and the old store goes once the disk holds the new name; what its
owner kept in it is moved to the new one.

Where nothing can be renamed the files are copied, what describes them last. A store that is replaced loses its
zarr.json first, then its files that the new one lacks; the others are copied over. Who opens it meanwhile finds no
store, and who had opened it before finds at the end of a pass that it has changed: nobody takes a mixture for a store.
The draft is whole until all is copied, so whoever comes next can finish. Rows that follow those of a store are put
beside its chunks, which stay.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from specscale.embeddings.dropped import DROPPED
from specscale.embeddings.layout import FEATURES, NORMS, ROWS, store_attributes
from specscale.errors import ExistsError
from specscale.places.belongings import Belongings
from specscale.places.claim import Claim, claim_folder
from specscale.places.durable import sync_above, sync_tree
from specscale.places.files import Location, exists, move, remove_file, remove_tree
from specscale.stores.journal import Journal

__all__ = ["OURS", "Partial", "finish_earlier", "finish_publishing", "is_finished", "publish", "was_published"]

OURS = Belongings.of(rf"zarr\.json|{re.escape(ROWS)}", f"{FEATURES}|{NORMS}|{DROPPED}")
MARK = "journal.json"
_LAST = (ROWS, f"{FEATURES}/zarr.json", f"{NORMS}/zarr.json", "zarr.json")


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

    def put_back(self) -> None:
        """Give what the owner of the store kept in the one that was replaced to the one that has its name now."""
        if isinstance(self.target, Path) and isinstance(self.replaced, Path) and exists(self.replaced):
            if exists(self.target):
                sync_above(self.target)
                OURS.carry_over(self.replaced, self.target)
            else:
                move(self.replaced, self.target)

    def remove(self, claim: Claim) -> None:
        """Remove everything but the lock; what says whose the folder is goes last."""
        claim.check()
        self.put_back()
        for place in (self.draft, self.columns, self.journal):
            remove_tree(place)


def publish(partial: Partial, journal: Journal, result: str, claim: Claim) -> None:
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
    claim
        What holds the folder.
    """
    journal.result = result
    if isinstance(partial.draft, Path):
        OURS.clear_draft(partial.draft)
        sync_tree(partial.draft)
    else:
        journal.replacing = journal.base is None and exists(partial.target)
    journal.save(partial.journal)
    if isinstance(partial.folder, Path):
        sync_above(partial.folder)
    finish_publishing(partial, journal, claim)


def finish_publishing(partial: Partial, journal: Journal, claim: Claim) -> None:
    """
    Do what is left to do to give a finished draft its name; nothing where that is done.

    Parameters
    ----------
    partial
        Where the draft is.
    journal
        Its journal, with a result.
    claim
        What holds the folder; it is checked before every step.

    Raises
    ------
    ExistsError
        A store appeared under the name of one that was about to be replaced.
    ChangedError
        Another process took the folder over.
    """
    if journal.base is not None:
        before = partial.target if exists(partial.target) else partial.replaced
        if _digest(before) not in (journal.base, journal.result):
            return  # the store that the rows were to follow is gone: there is nothing to finish
    if isinstance(partial.target, Path):
        _rename(partial, claim)
        sync_above(partial.target)
        partial.put_back()
        return
    if journal.replacing:
        claim.check()
        remove_file(partial.target / "zarr.json")
        claim.check()
        OURS.remove(partial.target, but=partial.draft)
        journal.replacing = False
        journal.save(partial.journal)
    # Copied again where it had been: a file that is missing in the draft by now is in the store.
    move(partial.draft, partial.target, last=_LAST, check=claim.check)


def finish_earlier(target: Location) -> None:
    """
    Finish giving a store its name where an earlier process was killed while it did that, or while it tidied up.

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
    journal = Journal.load(partial.journal)
    if (journal is not None and journal.result is None) or not exists(partial.folder):
        return  # work that can be gone on with, or none
    claim = claim_folder(partial.folder, MARK)
    try:
        journal = Journal.load(partial.journal)
        if journal is None:
            partial.remove(claim)
            if isinstance(partial.folder, Path):
                remove_tree(partial.folder)
        elif journal.result is not None:
            finish_publishing(partial, journal, claim)
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


def _rename(partial: Partial, claim: Claim) -> None:
    if not exists(partial.draft):
        return
    if exists(partial.target):
        if exists(partial.replaced):
            raise ExistsError(
                f"{partial.target}: appeared while the store of this name was being replaced; move it elsewhere and "
                "run the same command again"
            )
        move(partial.target, partial.replaced, check=claim.check)
    move(partial.draft, partial.target, check=claim.check)


def _digest(store: Location) -> str | None:
    digest = (store_attributes(store) or {}).get("digest")
    return digest if isinstance(digest, str) else None
