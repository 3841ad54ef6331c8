"""What in a store or a result we wrote, and what its owner keeps there, which outlasts what is put in its place."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from specscale.errors import ExistsError
from specscale.places.durable import sync_folder
from specscale.places.files import Location, move, names_in, remove_named, remove_tree

__all__ = ["Belongings"]


@dataclass(frozen=True)
class Belongings:
    """What is ours in a folder; everything else is its owner's.

    Attributes
    ----------
    files : matches the paths of our files in it
    folders : matches the paths of the folders that hold such files
    """

    files: re.Pattern[str]
    folders: re.Pattern[str]

    @classmethod
    def of(cls, files: str, arrays: str, folders: str = "") -> Belongings:
        """Name what is ours.

        Parameters
        ----------
        files, arrays, folders : patterns of the paths of our files, Zarr arrays, and folders of these
        """
        return cls(
            re.compile(rf"{files}|(?:{arrays})/(?:zarr\.json|c(?:/\d+)+)", re.ASCII),
            re.compile(rf"{folders}|(?:{arrays})(?:/c(?:/\d+)*)?", re.ASCII),
        )

    def clear_draft(self, folder: Path) -> None:
        """Remove what killed processes left in a folder that is to be published: files that were half written."""
        for path in list(self._others(folder)):
            remove_tree(folder / path)

    def carry_over(self, old: Path, new: Path) -> None:
        """Move what its owner keeps in a folder that was replaced into the one of its name now, and remove the rest.

        Who is killed on the way does it again: everything is in one of the two, and the old goes once the disk holds
        what was moved.

        Raises
        ------
        ExistsError
            When something is in both.
        """
        into = set()
        for path in list(self._others(old)):
            target = new / path
            if os.path.lexists(target):
                raise ExistsError(
                    f"{old / path} was kept in what is replaced, and {target} is there as well: move one of them "
                    "elsewhere and run the same command again"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            move(old / path, target)
            into.add(target.parent)
        for folder in sorted(into, reverse=True):
            sync_folder(folder)
        shutil.rmtree(old)

    def remove(self, place: Location, but: Location | None = None) -> None:
        """Remove what is ours from an object store.

        Parameters
        ----------
        place : what it is in
        but : a folder: what is in it by the same name stays
        """
        kept = set() if but is None else names_in(but)
        remove_named(place, [name for name in names_in(place) - kept if self.files.fullmatch(name)])

    def _others(self, folder: Path) -> Iterator[str]:
        """The paths of what is not ours; of a folder in which nothing can be, that of the folder."""
        for above, folders, files in os.walk(folder, onerror=_raise):
            inside = os.path.relpath(above, folder)
            paths = {name: os.path.normpath(os.path.join(inside, name)).replace(os.sep, "/") for name in folders}
            yield from (path for path in paths.values() if not self.folders.fullmatch(path))
            folders[:] = [name for name, path in paths.items() if self.folders.fullmatch(path)]
            for name in files:
                path = os.path.normpath(os.path.join(inside, name)).replace(os.sep, "/")
                if not self.files.fullmatch(path):
                    yield path


def _raise(error: OSError) -> None:
    raise error
