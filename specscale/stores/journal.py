"""How far an interrupted ingest has come."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from specscale.places.documents import read_json
from specscale.places.files import Location, write_whole

NAMED_ROWS = 100


@dataclass
class Journal:
    """State after the last chunk that is on disk.

    Attributes
    ----------
    identity : everything the result depends on: options and fingerprints; work continues only under the same identity
    base : digest of the store that the rows follow; None for a store of its own
    next_row : the first source row that is in no chunk yet
    zero_norm, dropped : rows counted so far; of a store that the rows follow only those of its last, ragged chunk
    dropped_rows : the first of the dropped rows, at most ``NAMED_ROWS``
    chunk_digests : of the chunks on disk, without the full ones of a store that the rows follow
    result : digest of the store, once it is complete and only has to get its name
    replacing : whether the store of this name has to be removed before that
    """

    identity: dict[str, Any]
    base: str | None = None
    next_row: int = 0
    zero_norm: int = 0
    dropped: int = 0
    dropped_rows: list[int] = field(default_factory=list)
    chunk_digests: list[str] = field(default_factory=list)
    result: str | None = None
    replacing: bool = False

    def save(self, path: Location) -> None:
        """Write the journal; a reader sees the old one or the new one, never half of either.

        What it says of chunks is compared with them when the work is taken up, so that it may be on the disk before
        they are, or not at all. That a draft is complete is relied on, and written through.

        Parameters
        ----------
        path : the file
        """
        write_whole(path, json.dumps(asdict(self)).encode(), durable=self.result is not None)

    @classmethod
    def load(cls, path: Location) -> Journal | None:
        """Read a journal.

        Parameters
        ----------
        path : the file

        Returns
        -------
        Journal or None
            None where there is no journal that can be read.

        Raises
        ------
        InputError
            When the object store cannot be reached.
        """
        try:
            return cls(**read_json(path))
        except (OSError, ValueError, TypeError):
            return None
