"""The work directory of a run, and how its result appears: whole, under its name, or not at all.

What is only to be gone on with is not written through: partial results have checksums, and what is lost of them is made
again. Whose result was open while it was replaced in an object store misses the summary when it is opened again; the
work goes after that, so that a run killed on the way can be resumed.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from specscale.errors import ChangedError, ExistsError, OptionError, SpecscaleError
from specscale.places.belongings import Belongings
from specscale.places.claim import LOCK, claim_folder
from specscale.places.documents import parse_json
from specscale.places.files import (
    Location,
    absolute,
    children,
    exists,
    followed,
    located,
    make_folder,
    reaching,
    read_whole,
    remove_file,
    remove_tree,
    unchained,
    write_whole,
)
from specscale.places.publication import Publication

__all__ = ["Workplace", "finish_publishing"]

_RUN = "run.json"
_PUBLISHING = "publishing"
_SUMMARY = "summary.json"
_TOKEN = re.compile("[0-9a-f]{8}")
_KEY = r"(?:[ab]|\d+)"  # of an embedding: of two, or of many
OURS = Belongings.of(
    rf"summary\.json|(?:modes|(?:groups|members)(?:_\d+_\d+)?)\.parquet|maps\.json|matrix\.png|columns_{_KEY}\.parquet|parts/\d+-\d+\.node|spec\.zarr/zarr\.json",
    r"spec\.zarr/(?:eigenvalues|scores|covariance|(?:members|likeness|coefficients)(?:_\d+_\d+)?"
    rf"|(?:landmarks|whitening)_{_KEY}|{_KEY}_rows)",
    r"parts|spec\.zarr",
)


class Workplace:
    """OUT and OUT.work, on any file system.

    OUT.work says what the run computes and holds everything in progress in a folder named by a token. A run that begins
    afresh draws a new token, so that tasks of a dead run which still end somewhere write into no folder of a newer one.
    The finished result is renamed into place, or copied where nothing can be renamed. What an interrupted run left in
    OUT.work is taken up again by ``resume``, thrown away by ``overwrite``, and otherwise left alone. Where OUT is a
    symbolic link the place that it leads to is meant.

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
    done : whether a run that computes the same had put its result at OUT when it was killed; known after `claim`

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
        self.done = False
        place = Path(tempfile.mkdtemp(prefix="specscale-")) / "result.spec" if out is None else unchained(out)
        self.out = followed(located(place))
        if not self.out.name:
            raise OptionError(f"{str(out)!r} is no name for a result: give OUT a name of its own")
        self.work = self.out.with_name(self.out.name + ".work")
        self._publication = Publication(self.out, self.work, OURS, (_SUMMARY,), durable=not self.temporary)
        self._overwrite = overwrite
        if not exists(self.work):
            self._check_target()
        if isinstance(self.out, Path) and not self.out.parent.is_dir():
            raise OptionError(f"{self.out.parent}: no such directory to put the result in")
        try:
            self._lock = claim_folder(self.work, _RUN)
        except FileNotFoundError:
            raise OptionError(f"{self.out.parent}: no such bucket to put the result in") from None
        self._held = True
        self._finished = _content(self.work / _PUBLISHING) if resume and self._published() else None
        try:
            self._token = self._taken_up(resume)
            self.folder: Location = absolute(self.work) / self._token
            make_folder(self.folder)
            self.result: Location = self.folder / "result"
        except BaseException:
            self.leave()
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
        return mark is not None and mark.partition(b" ")[0] == _digest(self.out)

    def _taken_up(self, resume: bool) -> str:
        """The token of the interrupted run, or a new one when there is nothing left of any other run."""
        if not self._published():
            self._check_target()
            if exists(self.work / _RUN) and not resume and not self._overwrite:
                raise ExistsError(
                    f"{self.work} holds an interrupted run: continue it with --resume, or discard it with --overwrite"
                )
            run = self._recorded()
            if run is not None and resume:
                return str(run["token"])
        half = self._half_published()
        self._clear()
        if half:
            OURS.remove(self.out)
        elif self._finished is None:
            remove_file(self.work / _PUBLISHING)
            self._check_target()
        return secrets.token_hex(4)

    def _recorded(self) -> dict[str, Any] | None:
        """What run.json holds; None where it is not there or cannot be read."""
        try:
            run = parse_json(_content(self.work / _RUN) or b"")
        except ValueError:
            return None
        return run if isinstance(run, dict) and _TOKEN.fullmatch(str(run.get("token"))) else None

    def _clear(self) -> None:
        """Remove all but the lock and the mark of what is at OUT; what says that it can be resumed goes first."""
        self._publication.clear(self._lock, [self.work / _RUN])
        for path in children(self.work):
            if path.name not in (LOCK, _PUBLISHING):
                remove_tree(path)

    def _remove_work(self) -> None:
        """Remove the work directory; a lock that is an object goes last, as it is given back."""
        self._clear()
        remove_file(self.work / _PUBLISHING)
        self._publication.remove_folder()
        self._release()

    def _release(self) -> None:
        self._held = False
        self._lock.close()

    def interrupted(self) -> dict[str, Any] | None:
        """What the run that is taken up recorded; None where this run begins afresh."""
        return self._recorded()

    def claim(
        self,
        configuration: dict[str, Any],
        late: Sequence[str] = (),
        later: Sequence[str] = (),
        usual: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Record what this run computes; a run that is taken up again must compute the same.

        Parameters
        ----------
        configuration : everything that decides the answer
        late : keys of it that decide only what passes after the first make, which then begin afresh
        later : the folders of these passes
        usual : what is recorded only where it is otherwise, as versions that knew no other recorded nothing

        Raises
        ------
        ChangedError
            When the interrupted run had other options or inputs; the message names the first that differs. When
            another process took the work over.
        """
        self._lock.check()
        recorded = {key: value for key, value in configuration.items() if key not in usual or value != usual[key]}
        text = _text(recorded)
        if self._finished is not None:
            self.done = self._finished.endswith(_hash(text.encode()))
            if not self.done:
                self._finished = None
                remove_file(self.work / _PUBLISHING)
                self._check_target()
        before = self._recorded()
        if before is not None:
            del before["token"]
            before, now = {**usual, **before}, {**usual, **json.loads(text)}
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
        if not self.done:
            write_whole(self.work / _RUN, _text({"token": self._token, **recorded}).encode(), durable=True)

    def _forget(self, later: Sequence[str]) -> None:
        """Remove what passes after the first have left, and what is there of a result but the parts that outlast it."""
        for name in later:
            remove_tree(self.folder / name)
        for path in children(self.result) if exists(self.result) else []:
            if path.name != "parts":
                remove_tree(path)

    def publish(self, result: Location) -> None:
        """Give the finished `result` the name OUT and remove the work directory.

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
        self._publication.seal(result)
        computed = _text({key: value for key, value in (self._recorded() or {}).items() if key != "token"})
        mark = (_digest(result) or b"") + b" " + _hash(computed.encode())
        write_whole(self.work / _PUBLISHING, mark, durable=not self.temporary)
        self._publication.withdraw(result, self._lock)
        self._publication.reveal(result, self._lock)
        self._remove_work()

    def finish(self) -> None:
        """Publish the result that an interrupted run had finished and was putting at OUT, if there is one."""
        mark = _content(self.work / _PUBLISHING)
        if mark is not None and mark.partition(b" ")[0] == _digest(self.result):
            self.publish(self.result)

    def leave(self) -> None:
        """Remove a work directory that holds nothing to resume."""
        try:
            if self.temporary:
                remove_tree(self.out.parent)
            elif self._held:
                with suppress(SpecscaleError):  # of what made the run fail; and what another process took over stays
                    self._lock.check()
                    if not exists(self.work / _RUN):
                        self._remove_work()
        finally:
            self._release()


def finish_publishing(out: str | Location) -> None:
    """Put a result at OUT where the run that made it was killed between taking the earlier one away and that.

    Raises
    ------
    ExistsError
        When another process is at work there.
    """
    place = followed(located(unchained(out)))
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
    return None if summary is None else _hash(summary)


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).hexdigest().encode()


def _text(configuration: dict[str, Any]) -> str:
    return json.dumps(configuration, indent=1, sort_keys=True)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
