"""The work directory of a run, and how its result appears: whole, under its name, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from specscale.errors import ChangedError, ExistsError, OptionError
from specscale.stores.claim import LOCK, claim_folder

__all__ = ["Workplace"]


class Workplace:
    """OUT and OUT.work.

    Everything in progress lives in OUT.work; the finished result is renamed into place. What an interrupted run left in
    OUT.work is taken up again by ``resume``, thrown away by ``overwrite``, and otherwise left alone.

    Parameters
    ----------
    out : where the result goes; None for a temporary place of the result's own
    resume : take up an interrupted run, if there is one
    overwrite : replace an existing result, and an interrupted run unless `resume` is given

    Raises
    ------
    ExistsError
        When OUT exists, or an interrupted run does, and no option says what to do with it; when OUT.work is somebody
        else's, or another process is at work in it.
    OptionError
        When nothing can be put at OUT.
    """

    def __init__(self, out: str | Path | None, *, resume: bool = False, overwrite: bool = False) -> None:
        self.temporary = out is None
        self.out = Path(tempfile.mkdtemp(prefix="specscale-")) / "result.spec" if out is None else Path(out)
        if not self.out.name:
            raise OptionError(f"{str(out)!r} is no name for a result: give OUT a name of its own")
        self.work = self.out.with_name(self.out.name + ".work")
        self._overwrite = overwrite
        self._check_target()
        if not self.out.parent.is_dir():
            raise OptionError(f"{self.out.parent}: no such directory to put the result in")
        interrupted = os.path.lexists(self.work)
        self._lock = claim_folder(self.work, "run.json")
        if interrupted and not resume:
            if not overwrite:
                self._lock.close()
                raise ExistsError(
                    f"{self.work} holds an interrupted run: continue it with --resume, or discard it with --overwrite"
                )
            if (self.work / "replaced").exists() and not os.path.lexists(self.out):
                os.replace(self.work / "replaced", self.out)  # that run was killed between its two renames
            self._clear()

    @property
    def folder(self) -> Path:
        """Where everything in progress is."""
        return self.work

    def _check_target(self) -> None:
        if os.path.lexists(self.out):
            if not self._overwrite:
                raise ExistsError(f"{self.out} exists: choose another OUT, or replace it with --overwrite")
            if not (self.out / "summary.json").is_file():
                raise ExistsError(f"{self.out} exists and is not a result of specscale: it is not overwritten")

    def _clear(self) -> None:
        for path in self.work.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()

    def claim(self, configuration: dict[str, Any]) -> None:
        """Record what this run computes; a run that is taken up again must compute the same.

        Raises
        ------
        ChangedError
            When the interrupted run had other options or inputs; the message names the first that differs.
        """
        path = self.work / "run.json"
        text = json.dumps(configuration, indent=1, sort_keys=True)
        if path.exists() and path.read_text(encoding="utf-8") != text:
            before = json.loads(path.read_text(encoding="utf-8"))
            now = json.loads(text)
            # In the order of the configuration, whose options come before what follows from them.
            key = next(key for key in {**configuration, **before} if before.get(key) != now.get(key))
            raise ChangedError(
                f"{self.work} was begun with {key} {_short(before.get(key))}, now it is {_short(now.get(key))}: "
                "--resume needs the options and inputs of the interrupted run; to start afresh give --overwrite alone"
            )
        temporary = path.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)

    def publish(self, result: Path) -> None:
        """Rename the finished `result` to OUT and remove the work directory.

        Raises
        ------
        ExistsError
            When something has appeared at OUT during the work; it stays, and so does the work.
        """
        try:
            self._check_target()
        except ExistsError as error:
            raise ExistsError(f"{error}; the work is kept in {self.work}, and --resume finishes it") from None
        if self._overwrite and self.out.exists():
            old = self.work / "replaced"
            os.replace(self.out, old)
        os.replace(result, self.out)
        shutil.rmtree(self.work, ignore_errors=True)
        self._lock.close()

    def leave(self) -> None:
        """Remove a work directory that holds nothing to resume."""
        if self.temporary:
            shutil.rmtree(self.out.parent, ignore_errors=True)
        elif not (self.work / "run.json").exists():
            shutil.rmtree(self.work, ignore_errors=True)
        self._lock.close()


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
