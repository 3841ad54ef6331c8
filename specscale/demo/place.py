"""Where a demonstration writes, and the comparison that all of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specscale.errors import ExistsError
from specscale.method.compare import compare
from specscale.method.result import Result
from specscale.runtime.events import Notify
from specscale.stores.ingest import ingest

__all__ = ["Demo", "Say", "quiet"]

Say = Callable[[str], None]


def quiet(line: str) -> None:
    """Take a line and say nothing."""


@dataclass(frozen=True)
class Demo:
    """A directory for a demonstration's vectors, stores and result.

    Attributes
    ----------
    out : the directory
    say : takes a line for each step
    threads : threads that compute; None for all cores
    overwrite : replace what an earlier demonstration left in `out`
    progress : takes the events of the comparison
    """

    out: Path
    say: Say = quiet
    threads: int | None = None
    overwrite: bool = False
    progress: Notify | None = None

    def begin(self) -> None:
        """Make the directory.

        Raises
        ------
        ExistsError
            When it exists and is not to be overwritten.
        """
        # Only files that the demonstration writes are replaced: a directory named by mistake keeps all others.
        if self.out.exists() and not (self.overwrite and self.out.is_dir()):
            remedy = "it is a file, choose another -o" if self.out.is_file() else "add --overwrite or choose another -o"
            raise ExistsError(f"{self.out}: exists already: {remedy}")
        self.out.mkdir(parents=True, exist_ok=True)

    def store(self, vectors: Path, metadata: Path, name: str, id_column: str | None = None) -> Path:
        """Ingest one embedding.

        Parameters
        ----------
        vectors : an .npy file
        metadata : a table with a row for each vector
        name : name of the embedding and of its store
        id_column : the column of `metadata` that identifies rows

        Returns
        -------
        Path
            The store.
        """
        store = self.out / f"{name}.zarr"
        report = ingest(vectors, store, name=name, metadata=metadata, id_column=id_column, overwrite=self.overwrite)
        self.say(f"{store}: {report.n:,} rows × {report.p:,} dimensions, {report.dtype}")
        return store

    def compare(self, a: Path, b: Path, name: str, **options: Any) -> Result:
        """Compare two stores into ``OUT/NAME.spec`` with the options of :func:`specscale.compare`."""
        self.say(f"comparing {a.stem} with {b.stem}")
        return compare(
            str(a),
            str(b),
            out=self.out / f"{name}.spec",
            threads=self.threads,
            overwrite=self.overwrite,
            progress=self.progress,
            **options,
        )
