"""A folder held by a file in it that its owner writes anew every few seconds: for where no lock of a system is.

Who finds such a file watches it, and takes it over once it has stayed the same for some time; no clock of another
machine is trusted. An owner that stood still meanwhile finds the file of another, and never writes over it.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

from specscale.errors import ChangedError, ExistsError
from specscale.places.documents import parse_json
from specscale.places.files import Location
from specscale.places.lock_file import LockFile, Seen

__all__ = ["Clock", "Lease"]


class Clock(Protocol):
    """What the watch over another process's lease goes by; the module ``time`` is one."""

    def monotonic(self) -> float:
        """Seconds, from any moment on."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
        ...


class Lease:
    """A folder held by a file in it.

    Parameters
    ----------
    folder : the folder, for messages
    file : the file
    renewal : seconds between two renewals
    patience : seconds for which the lease of another process must stay the same until it counts as dead
    clock : what these seconds are counted by while another's lease is watched

    Raises
    ------
    ExistsError
        When another process holds the folder.
    InputError
        When the object store cannot be reached.
    """

    def __init__(
        self, folder: Location, file: LockFile, *, renewal: float, patience: float, clock: Clock = time
    ) -> None:
        self._folder = folder
        self._file = file
        self._renewal = renewal
        self._clock = clock
        self._state: dict[str, Any] = {
            "owner": uuid.uuid4().hex, "host": platform.node(), "pid": os.getpid(), "count": 0,
        }  # fmt: skip
        self._seen = self._file.create(self._content()) or self._taken_over(patience)
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="specscale-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that the folder is held, and will be for as long as others watch a lease before they take it.

        Raises
        ------
        ChangedError
            When this process stood still for so long that another one took the folder over, or the lock was removed.
        InputError
            When the object store cannot be reached.
        """
        if not self._renewed():
            found = self._file.read()
            who = "somebody removed the lock" if found is None else f"{_holder(found)} took the work over"
            raise ChangedError(
                f"{self._folder}: this process stood still or was cut off, and {who}; run the same command again when "
                "no other process is at work here"
            )

    def close(self) -> None:
        """Let other processes in."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        try:
            self._renewed()  # so that nobody takes it just now
            self._file.remove(self._seen)
        except Exception:  # what could not be removed counts as dead a little later
            return

    def _taken_over(self, patience: float) -> Seen:
        """Watch the lease of another process, and take it when it is dead."""
        seen, since = self._file.read(), self._clock.monotonic()
        while not self._may_be_taken(seen) and self._clock.monotonic() - since < patience:
            self._clock.sleep(min(self._renewal, patience) / 4)
            found = self._file.read()
            if found is None and (own := self._file.create(self._content())):
                return own
            if found != seen:
                self._refuse(found or self._file.read())
        own = self._file.replace(seen, self._content()) if seen else self._file.create(self._content())
        if own is not None and not self._file.exact:
            # Of several that found it dead at once the last to write holds it.
            self._clock.sleep(min(self._renewal, 1))
            own = self._file.read()
        elif own is None:
            own = self._file.read()  # a reply may have been lost
        if own is None or not self._is_own(own):
            self._refuse(own)
        return own

    def _refuse(self, found: Seen | None) -> NoReturn:
        raise ExistsError(f"{self._folder}: another process is at work here ({_holder(found)}); wait for it to end")

    def _renew(self) -> None:
        while not self._ended.wait(self._renewal):
            try:
                if not self._renewed():
                    return
            except Exception:  # the network may come back in time; `check` tells when it did not
                continue

    def _renewed(self) -> bool:
        """Write the lease anew; whether it is still this process's."""
        with self._writing:
            while True:
                self._state["count"] += 1
                if (written := self._file.replace(self._seen, self._content())) is not None:
                    self._seen = written
                    return True
                found = self._file.read()
                if found is None or not self._is_own(found):
                    return False
                self._seen = found  # it was written, and the reply was lost

    def _is_own(self, seen: Seen | None) -> bool:
        return bool(_parsed(seen).get("owner") == self._state["owner"])

    def _may_be_taken(self, seen: Seen | None) -> bool:
        # An empty file is what a lock of the operating system leaves behind, and no lease.
        return (seen is not None and seen.content == b"") or self._is_own(seen)

    def _content(self) -> bytes:
        return json.dumps(self._state).encode()


def _parsed(seen: Seen | None) -> Mapping[str, Any]:
    try:
        found = parse_json(seen.content if seen else b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _holder(seen: Seen | None) -> str:
    found = _parsed(seen)
    return f"process {found.get('pid', 'unknown')} on {found.get('host', 'an unknown machine')}"
