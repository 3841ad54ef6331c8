"""How a store is published: what belongs to it, and what its journal says of work that a killed process left.

Rows that follow those of a store are put beside its chunks, which stay: nothing is withdrawn before them. Who has a
store open that is replaced finds at the end of a pass that it has changed.
"""

from __future__ import annotations

import re
from typing import Any

from specscale.embeddings.dropped import DROPPED
from specscale.embeddings.layout import FEATURES, NORMS, ROWS, store_attributes
from specscale.errors import ExistsError
from specscale.places.belongings import Belongings
from specscale.places.claim import Claim, claim_folder
from specscale.places.files import Location, exists, is_local
from specscale.places.publication import Publication
from specscale.stores.journal import Journal

__all__ = ["OURS", "Partial", "finish_earlier", "finish_publishing", "is_finished", "publish", "was_published"]

OURS = Belongings.of(rf"zarr\.json|{re.escape(ROWS)}", f"{FEATURES}|{NORMS}|{DROPPED}")
MARK = "journal.json"
_LAST = (ROWS, f"{FEATURES}/zarr.json", f"{NORMS}/zarr.json", "zarr.json")


class Partial(Publication):
    """The places of the work in progress beside a store.

    Parameters
    ----------
    target : the store to be

    Attributes
    ----------
    folder : ``STORE.partial``, which holds all others
    draft : the store as far as it has come
    columns : the samples' own columns, a Parquet file for each chunk
    replaced : the local store that had the name before
    journal : the file of the journal
    """

    def __init__(self, target: Location) -> None:
        super().__init__(target, target.with_name(f"{target.name}.partial"), OURS, _LAST)
        self.draft: Location = self.folder / "store"
        self.columns: Location = self.folder / "columns"
        self.journal: Location = self.folder / MARK

    def remove(self, claim: Claim) -> None:
        """Remove everything but a lock that is an object; what says whose the folder is goes last."""
        self.clear(claim, (self.draft, self.columns, self.journal))
        self.remove_folder()


def publish(partial: Partial, journal: Journal, result: str, claim: Claim) -> None:
    """Give a finished draft its name.

    Parameters
    ----------
    partial : where the draft is
    journal : its journal
    result : digest of the draft
    claim : what holds the folder
    """
    journal.result = result
    partial.seal(partial.draft)
    journal.replacing = not is_local(partial.target) and journal.base is None and exists(partial.target)
    journal.save(partial.journal)
    finish_publishing(partial, journal, claim)


def finish_publishing(partial: Partial, journal: Journal, claim: Claim) -> None:
    """Do what is left to do to give a finished draft its name; nothing where that is done.

    Parameters
    ----------
    partial : where the draft is
    journal : its journal, with a result
    claim : what holds the folder; it is checked before every step

    Raises
    ------
    ExistsError
        When a store appeared under the name of one that was about to be replaced.
    ChangedError
        When another process took the folder over.
    """
    if journal.base is not None:
        before = partial.target if exists(partial.target) else partial.replaced
        if _digest(before) not in (journal.base, journal.result):
            return  # the store that the rows were to follow is gone: there is nothing to finish
    if all(map(exists, (partial.replaced, partial.draft, partial.target))):
        raise ExistsError(
            f"{partial.target}: appeared while the store of this name was being replaced; move it elsewhere and "
            "run the same command again"
        )
    if journal.replacing:
        partial.withdraw(partial.draft, claim)
        journal.replacing = False
        journal.save(partial.journal)
    # Copied again where it had been: a file that is missing in the draft by now is in the store.
    partial.reveal(partial.draft, claim)
    partial.clear(claim, (partial.draft,))


def finish_earlier(target: Location) -> None:
    """Finish giving a store its name where an earlier process was killed while it did that, or while it tidied up.

    Parameters
    ----------
    target : the store

    Raises
    ------
    ExistsError
        When another process is at it.
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
        elif journal.result is not None:
            finish_publishing(partial, journal, claim)
    finally:
        claim.close()


def is_finished(partial: Partial, identity: dict[str, Any]) -> bool:
    """Whether an earlier process did all this work and was killed just before its end.

    Parameters
    ----------
    partial : where it worked
    identity : everything the result depends on
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


def _digest(store: Location) -> str | None:
    digest = (store_attributes(store) or {}).get("digest")
    return digest if isinstance(digest, str) else None
