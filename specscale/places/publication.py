"""From a finished draft to what has its name: whole or not at all, and what a killed process began the next one ends.

Beside what is to be published stands a folder of the work in progress, which one process at a time holds. In it is the
draft, and a mark that says what is being published; who finds the mark goes on from there.

Locally the draft is renamed once the disk holds it and the mark, and what it replaces goes once the disk holds the new
name; what its owner kept in it is moved to the new one.

Where nothing can be renamed the files are copied, what describes them last. What is replaced loses that file first,
then those that the draft lacks; the others are copied over. Who opens it meanwhile finds nothing, and nobody takes a
mixture for either. The draft is whole until all is copied, so whoever comes next can finish.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from specscale.places.belongings import Belongings
from specscale.places.claim import Claim
from specscale.places.durable import sync_above, sync_tree
from specscale.places.files import Location, copy_tree, exists, move, remove_file, remove_tree

__all__ = ["Publication"]


class Publication:
    """A place to be given what is made beside it.

    A store or a result is published by `seal`, its own mark, `withdraw` and `reveal`, in this order; who takes up what
    another process began repeats what comes after the mark. Before each step that cannot be undone the claim is
    checked, which raises ChangedError when another process took the folder over.

    Parameters
    ----------
    target : what is to have the name
    folder : the folder of the work in progress
    ours : what in `target` is written here; all else is its owner's
    last : the files to be copied after all others, in this order; `target` is there when the last of them is
    durable : whether it has to survive a power cut

    Attributes
    ----------
    target, folder : as given
    replaced : what had the name before, where that could be renamed
    """

    def __init__(
        self, target: Location, folder: Location, ours: Belongings, last: tuple[str, ...], *, durable: bool = True
    ) -> None:
        self.target = target
        self.folder = folder
        self.replaced: Location = folder / "replaced"
        self._ours = ours
        self._last = last
        self._durable = durable

    def seal(self, draft: Location) -> None:
        """Have the disk hold a draft that is complete, without what killed processes left in it.

        An object store holds what it has taken, and takes nothing by halves.
        """
        if isinstance(draft, Path):
            self._ours.clear_draft(draft)
            if self._durable:
                sync_tree(draft)

    def withdraw(self, draft: Location, claim: Claim) -> None:
        """Take away what is at the target and not in the draft, where it cannot be renamed."""
        if isinstance(self.target, Path):
            return
        claim.check()
        remove_file(self.target / self._last[-1])
        claim.check()
        self._ours.remove(self.target, but=draft)

    def reveal(self, draft: Location, claim: Claim) -> None:
        """Give the draft its name; where nothing can be renamed, it stays beside its copy."""
        if not isinstance(self.target, Path):
            copy_tree(draft, self.target, self._last, claim.check)
            return
        self._sync_above(self.folder)  # the mark is in it
        if exists(draft):
            if exists(self.target):
                self.put_back()  # of a process that was killed while it replaced another
                move(self.target, self.replaced, check=claim.check)
            move(draft, self.target, check=claim.check)
        self._sync_above(self.target)

    def put_back(self) -> None:
        """Give what the owner of the target kept in what was replaced to what has its name now.

        Raises
        ------
        ExistsError
            When something that its owner kept is in both.
        """
        if isinstance(self.target, Path) and isinstance(self.replaced, Path) and exists(self.replaced):
            if exists(self.target):
                sync_above(self.target)
                self._ours.carry_over(self.replaced, self.target)
            else:
                move(self.replaced, self.target)  # a process was killed between its two renames

    def clear(self, claim: Claim, places: Iterable[Location]) -> None:
        """Remove work in progress, in this order."""
        claim.check()
        self.put_back()
        for place in places:
            remove_tree(place)

    def remove_folder(self) -> None:
        """Remove the folder; in an object store it ends with its last file, the lock, when that is given back."""
        if isinstance(self.folder, Path):
            remove_tree(self.folder)

    def _sync_above(self, place: Location) -> None:
        if self._durable and isinstance(place, Path):
            sync_above(place)
