"""The work directory of a run, and how its result appears: whole, under its name, or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from specscale.documents import parse_json
from specscale.errors import ChangedError, ExistsError, OptionError, SpecscaleError
from specscale.files import Location, copy_tree, exists, located, move, reaching, read_whole, remove_tree, write_whole
from specscale.stores.claim import LOCK, claim_folder

__all__ = ["Workplace", "finish_publishing"]

_RUN = "run.json"
_PUBLISHING = "publishing"
_REPLACED = "replaced"
_SUMMARY = "summary.json"
_TOKEN = re.compile("[0-9a-f]{8}")


class Workplace:
    """OUT and OUT.work, on any file system.

    OUT.work says what the run computes and holds everything in progress in a folder named by a token. A run that begins
    afresh draws a new token, so that tasks of a dead run which still end somewhere write into no folder of a newer one.
    The finished result is renamed into place, or copied where nothing can be renamed. What an interrupted run left in
    OUT.work is taken up again by ``resume``, thrown away by ``overwrite``, and otherwise left alone.

    Parameters
    ----------
    out : where the result goes, a path or URL; None for a temporary place of the result's own
    resume : take up an interrupted run, if there is one
    overwrite : replace an existing result, and an interrupted run unless `resume` is given

    Attributes
    ----------
    out, work : OUT and OUT.work
    folder : where everything in progress is, with an absolute path, because other processes use it too
    result : where in it the result is, until it is published
    temporary : whether OUT is a temporary place

    Raises
    ------
    ExistsError
        When OUT exists, or an interrupted run does, and no option says what to do with it; when OUT.work is somebody
        else's, or another process is at work in it.
    OptionError
        When nothing can be put at OUT.
    InputError
        When the object store cannot be reached.
    """

    def __init__(self, out: str | Location | None, *, resume: bool = False, overwrite: bool = False) -> None:
        self.temporary = out is None
        self.out = Path(tempfile.mkdtemp(prefix="specscale-")) / "result.spec" if out is None else located(out)
        if not self.out.name:
            raise OptionError(f"{str(out)!r} is no name for a result: give OUT a name of its own")
        self.work = self.out.with_name(self.out.name + ".work")
        self._overwrite = overwrite
        self._check_target()
        if isinstance(self.out, Path) and not self.out.parent.is_dir():
            raise OptionError(f"{self.out.parent}: no such directory to put the result in")
        interrupted = exists(self.work)
        try:
            self._lock = claim_folder(self.work, _RUN)
        except FileNotFoundError:
            raise OptionError(f"{self.out.parent}: no such bucket to put the result in") from None
        self._held = True
        try:
            self._token = self._taken_up(interrupted, resume)
            work = self.work.absolute() if isinstance(self.work, Path) else self.work
            self.folder: Location = work / self._token
            if isinstance(self.folder, Path):
                self.folder.mkdir(exist_ok=True)
            self.result: Location = self.folder / "result"
        except BaseException:
            self._release()
            raise

    def _check_target(self) -> None:
        if not exists(self.out) or self._half_published():
            return
        if not self._overwrite:
            raise ExistsError(f"{self.out} exists: choose another OUT, or replace it with --overwrite")
        with reaching(self.out):
            if not (self.out / _SUMMARY).is_file():
                raise ExistsError(f"{self.out} exists and is not a result of specscale: it is not overwritten")

    def _half_published(self) -> bool:
        """Whether what is at OUT was copied there by a run that was killed before it was all there."""
        return not isinstance(self.out, Path) and exists(self.work / _PUBLISHING) and not exists(self.out / _SUMMARY)

    def _published(self) -> bool:
        """Whether OUT is the result of the work that is still here, which was being removed."""
        mark = _content(self.work / _PUBLISHING)
        return mark is not None and mark == _digest(self.out)

    def _taken_up(self, interrupted: bool, resume: bool) -> str:
        """The token of the interrupted run, or a new one when there is nothing left of any other run."""
        if interrupted and not resume and not self._overwrite:
            raise ExistsError(
                f"{self.work} holds an interrupted run: continue it with --resume, or discard it with --overwrite"
            )
        run = self._recorded()
        if run is not None and resume and not self._published():
            return str(run["token"])
        if interrupted:
            if self._half_published():
                remove_tree(self.out)
            if isinstance(self.work, Path) and (self.work / _REPLACED).exists() and not exists(self.out):
                move(self.work / _REPLACED, self.out)  # that run was killed between its two renames
            self._clear()
        return secrets.token_hex(4)

    def _recorded(self) -> dict[str, Any] | None:
        """What run.json holds; None where it is not there or cannot be read."""
        try:
            run = parse_json(_content(self.work / _RUN) or b"")
        except ValueError:
            return None
        return run if isinstance(run, dict) and _TOKEN.fullmatch(str(run.get("token"))) else None

    def _clear(self) -> None:
        """Remove everything but the lock; first what says that there is something to resume."""
        remove_tree(self.work / _RUN)
        with reaching(self.work):
            children = [path for path in self.work.iterdir() if path.name != LOCK]
        for path in children:
            remove_tree(path)

    def _remove_work(self) -> None:
        """Remove the work directory; a lock that is an object goes last, as it is given back."""
        self._clear()
        if isinstance(self.work, Path):
            remove_tree(self.work)
        self._release()

    def _release(self) -> None:
        self._held = False
        self._lock.close()

    def interrupted(self) -> dict[str, Any] | None:
        """What the run that is taken up recorded; None where this run begins afresh."""
        return self._recorded()

    def claim(self, configuration: dict[str, Any], late: Sequence[str] = (), later: Sequence[str] = ()) -> None:
        """Record what this run computes; a run that is taken up again must compute the same.

        Parameters
        ----------
        configuration : everything that decides the answer
        late : keys of it that decide only what passes after the first make, which then begin afresh
        later : the folders of these passes

        Raises
        ------
        ChangedError
            When the interrupted run had other options or inputs; the message names the first that differs. When
            another process took the work over.
        """
        self._lock.check()
        text = _text(configuration)
        before = self._recorded()
        if before is not None:
            del before["token"]
            now = json.loads(text)
            # In the order of the configuration, whose options come before what follows from them.
            changed = [key for key in {**configuration, **before} if before.get(key) != now.get(key)]
            for key in changed:
                if key not in late:
                    but = f", but for {', '.join(late)}" if late else ""
                    raise ChangedError(
                        f"{self.work} was begun with {key} {_short(before.get(key))}, now it is "
                        f"{_short(now.get(key))}: --resume needs the options and inputs of the interrupted run{but}; "
                        "to start afresh give --overwrite alone"
                    )
            if changed:
                self._forget(later)
        write_whole(self.work / _RUN, _text({"token": self._token, **configuration}).encode())

    def _forget(self, later: Sequence[str]) -> None:
        """Remove what passes after the first have left, and what is there of a result but the parts that outlast it."""
        for name in later:
            remove_tree(self.folder / name)
        with reaching(self.result):
            children = [path for path in self.result.iterdir() if path.name != "parts"] if exists(self.result) else []
        for path in children:
            remove_tree(path)

    def publish(self, result: Location) -> None:
        """Give the finished `result` the name OUT and remove the work directory.

        In an object store it is copied, with summary.json last, and the work is removed after that: a run that is
        killed on the way can be resumed.

        Raises
        ------
        ExistsError
            When something has appeared at OUT during the work; it stays, and so does the work.
        ChangedError
            When another process took the work over.
        """
        self._lock.check()
        try:
            self._check_target()
        except ExistsError as error:
            raise ExistsError(f"{error}; the work is kept in {self.work}, and --resume finishes it") from None
        write_whole(self.work / _PUBLISHING, _digest(result) or b"")
        if isinstance(self.out, Path):
            if self._overwrite and self.out.exists():
                move(self.out, self.work / _REPLACED)
            move(result, self.out)
        else:
            remove_tree(self.out / _SUMMARY)
            remove_tree(self.out)
            copy_tree(result, self.out, last=(_SUMMARY,))
        self._remove_work()

    def finish(self) -> None:
        """Publish the result that an interrupted run had finished and was putting at OUT, if there is one."""
        mark = _content(self.work / _PUBLISHING)
        if mark is not None and mark == _digest(self.result):
            self.publish(self.result)

    def leave(self) -> None:
        """Remove a work directory that holds nothing to resume."""
        if self.temporary:
            remove_tree(self.out.parent)
        elif self._held:
            with suppress(SpecscaleError):  # of what made the run fail; and what another process took over stays
                self._lock.check()
                if not exists(self.work / _RUN):
                    self._remove_work()
        self._release()


def finish_publishing(out: str | Location) -> None:
    """Put a result at OUT where the run that made it was killed between taking the earlier one away and that.

    Raises
    ------
    ExistsError
        When another process is at work there.
    """
    place = located(out)
    if exists(place / _SUMMARY) or not exists(place.with_name(f"{place.name}.work") / _PUBLISHING):
        return
    workplace = Workplace(place, resume=True)
    try:
        workplace.finish()
    finally:
        workplace.leave()


def _content(place: Location) -> bytes | None:
    """The bytes of a file; None where there is none."""
    try:
        return read_whole(place)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _digest(result: Location) -> bytes | None:
    """A digest of a result's summary; None where it has none."""
    summary = _content(result / _SUMMARY)
    return None if summary is None else hashlib.blake2b(summary, digest_size=16).hexdigest().encode()


def _text(configuration: dict[str, Any]) -> str:
    return json.dumps(configuration, indent=1, sort_keys=True)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
