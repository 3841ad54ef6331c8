"""How far an interrupted ingest has come."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

NAMED_ROWS = 100


@dataclass
class Journal:
    """
    State after the last chunk that is on disk.

    Attributes
    ----------
    identity
        Everything the result depends on: options and fingerprints. Work continues only under the same identity.
    next_row
        The first source row that is in no chunk yet.
    zero_norm, dropped
        Rows counted so far.
    dropped_rows
        The first of the dropped rows, at most ``NAMED_ROWS``.
    chunk_digests
        Of the chunks on disk.
    """

    identity: dict[str, Any]
    next_row: int = 0
    zero_norm: int = 0
    dropped: int = 0
    dropped_rows: list[int] = field(default_factory=list)
    chunk_digests: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """
        Write the journal; a reader sees the old one or the new one, never half of either.

        Parameters
        ----------
        path
            The file.
        """
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(asdict(self)), encoding="utf-8")
        os.replace(draft, path)

    @classmethod
    def load(cls, path: Path) -> Journal | None:
        """
        Read a journal.

        Parameters
        ----------
        path
            The file.

        Returns
        -------
        Journal or None
            ``None`` where there is no journal that can be read.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
