"""Leases against a file of exact semantics and a clock that the test turns, and lock files on what lies below."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from specscale.errors import ChangedError, ExistsError, InputError
from specscale.places.files import Location, exists, located, read_whole, write_whole
from specscale.places.lease import Lease
from specscale.places.lock_file import LockFile, Seen, lock_file

NEVER = threading.TIMEOUT_MAX  # a lease that is renewed by `check` alone


class Cell:
    """A lock file in memory, and what the network makes of replies."""

    exact = True

    def __init__(self) -> None:
        self.found: Seen | None = None
        self.versions = itertools.count()
        self.lose_reply = False

    def read(self) -> Seen | None:
        return self.found

    def create(self, content: bytes) -> Seen | None:
        return self._written(content) if self.found is None else None

    def replace(self, seen: Seen, content: bytes) -> Seen | None:
        return self._written(content) if self.found is not None and self.found.version == seen.version else None

    def remove(self, seen: Seen) -> None:
        if self.found is not None and self.found.version == seen.version:
            self.found = None

    def _written(self, content: bytes) -> Seen | None:
        self.found = Seen(content, next(self.versions))
        lost, self.lose_reply = self.lose_reply, False
        return None if lost else self.found


class Hands:
    """A clock that goes on when somebody waits, and then does what was to happen meanwhile."""

    def __init__(self, **at: Callable[[], Any]) -> None:
        self.now = 0.0
        self.due = {float(name.removeprefix("s")): action for name, action in at.items()}

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment in [moment for moment in self.due if moment <= self.now]:
            self.due.pop(moment)()


TAKEN: list[Lease] = []


@pytest.fixture(autouse=True)
def given_back() -> Iterator[None]:
    """No lease is renewed when its test is over."""
    yield
    while TAKEN:
        TAKEN.pop().close()


def lease(cell: LockFile, clock: Hands | None = None) -> Lease:
    found = Lease(Path("work"), cell, renewal=NEVER if clock is None else 4, patience=20, clock=clock or Hands())
    TAKEN.append(found)
    return found


def test_an_owner_that_renews_is_left_alone() -> None:
    cell = Cell()
    first = lease(cell)
    with pytest.raises(ExistsError, match="another process is at work here"):
        lease(cell, Hands(s19=first.check))
    first.check()


def test_an_owner_that_stood_still_writes_over_nobody() -> None:
    cell = Cell()
    first = lease(cell)
    clock = Hands()
    second = lease(cell, clock)
    assert clock.now >= 20
    taken = cell.found
    with pytest.raises(ChangedError, match="took the work over"):
        first.check()
    first.close()
    assert cell.found is taken
    second.check()
    second.close()
    assert cell.found is None
    with pytest.raises(ChangedError, match="somebody removed the lock"):
        first.check()
    assert cell.found is None


def test_an_owner_that_wakes_in_the_last_moment_keeps_it() -> None:
    cell = Cell()
    first = lease(cell)
    replace = cell.replace

    def late(seen: Seen, content: bytes) -> Seen | None:
        cell.replace = replace  # type: ignore[method-assign]
        first.check()  # between the last look and the take-over
        return replace(seen, content)

    cell.replace = late  # type: ignore[method-assign]
    with pytest.raises(ExistsError):
        lease(cell, Hands())
    first.check()


def test_a_check_begins_the_patience_of_others_anew() -> None:
    cell = Cell()
    first = lease(cell)
    before = cell.found
    first.check()
    assert cell.found != before


def test_a_lock_of_anybody_is_nobodys_lease() -> None:
    cell = Cell()
    cell.create(b"[" * 100_000)
    clock = Hands()
    lease(cell, clock).check()
    assert clock.now >= 20


def test_a_lock_that_is_given_back_meanwhile_is_taken() -> None:
    cell = Cell()
    first = lease(cell)
    clock = Hands(s5=first.close)
    lease(cell, clock).check()
    assert clock.now < 20


@pytest.mark.parametrize("step", ["create", "renew", "take over"])
def test_a_lost_reply_loses_nothing(step: str) -> None:
    cell = Cell()
    if step == "take over":
        cell.found = Seen(b"dead", None)
    cell.lose_reply = step != "renew"
    claim = lease(cell, Hands())
    cell.lose_reply = True
    claim.check()
    claim.close()
    assert cell.found is None


# ---------------------------------------------------------------------------------------------------------------------
# What lies below


@pytest.fixture(params=["local", "no links", "s3", "s3 without conditions", "s3 that ignores them", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    kind = request.param
    if kind.startswith("s3"):
        url = request.getfixturevalue("s3")
        if kind != "s3":
            request.getfixturevalue("without_conditions")("ignore" if "ignores" in kind else "refuse")
        return located(url) / "lock"
    if kind == "no links":

        def refuse(*_: Any) -> None:
            raise PermissionError("Operation not permitted")

        monkeypatch.setattr("os.link", refuse)
    return tmp_path / "lock" if kind != "memory" else located(f"memory://{tmp_path.name}") / "lock"


@pytest.fixture
def without_conditions(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """An S3 store that refuses conditions, as it may, or does not know them."""

    def install(how: str) -> None:
        from aiobotocore.client import AioBaseClient
        from botocore.exceptions import ClientError

        original = AioBaseClient._make_api_call

        async def call(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
            plain = {name: value for name, value in arguments.items() if name not in ("IfMatch", "IfNoneMatch")}
            if plain != arguments and how == "refuse":
                raise ClientError({"Error": {"Code": "NotImplemented", "Message": "A header …"}}, operation)
            return await original(self, operation, plain)

        monkeypatch.setattr(AioBaseClient, "_make_api_call", call)

    return install


def test_a_lock_file_is_written_over_only_as_it_was_seen(place: Location) -> None:
    mine, other = lock_file(place), lock_file(place)
    assert mine.read() is None
    first = mine.create(b"1")
    assert first is not None
    assert other.create(b"2") is None
    seen = other.read()
    assert seen is not None
    assert seen.content == b"1"
    second = mine.replace(first, b"12")
    assert second is not None
    assert other.replace(seen, b"3") is None
    assert read_whole(place) == b"12"
    seen = other.read()
    assert seen is not None
    taken = other.replace(seen, b"4")
    assert taken is not None
    assert mine.replace(second, b"12345") is None
    mine.remove(second)
    assert read_whole(place) == b"4"
    other.remove(taken)
    assert not exists(place)
    assert not exists(place.parent) or list(place.parent.iterdir()) == []


@pytest.mark.parametrize("how", [None, "refuse", "ignore"])
def test_conditions_are_trusted_where_a_store_keeps_them(
    how: str | None, s3: str, without_conditions: Callable[[str], None]
) -> None:
    if how:
        without_conditions(how)
    assert lock_file(located(s3) / "lock").exact == (how is None)


def test_an_object_that_was_removed_is_not_brought_back(s3: str) -> None:
    place = located(s3) / "lock"
    file = lock_file(place)
    seen = file.create(b"1")
    assert seen is not None
    place.unlink()
    assert file.replace(seen, b"2") is None
    assert not exists(place)


def test_a_store_that_may_not_be_written_is_named(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from aiobotocore.client import AioBaseClient
    from botocore.exceptions import ClientError

    async def refuse(self: Any, operation: str, arguments: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}, operation)

    monkeypatch.setattr(AioBaseClient, "_make_api_call", refuse)
    with pytest.raises(InputError, match="cannot be reached"):
        lock_file(located(s3) / "lock")


def test_a_local_owner_that_renews_while_it_is_taken_over_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "lock"
    mine, other = lock_file(place), lock_file(place)
    first, seen = mine.create(b"1"), other.read()
    assert first is not None
    assert seen is not None

    rename = os.rename

    def late(source: Any, target: Any) -> None:
        monkeypatch.setattr(os, "rename", rename)
        assert mine.replace(first, b"12") is not None
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    assert other.replace(seen, b"2") is None
    assert mine.replace(first, b"123") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_damaged_lease_is_one_that_may_be_dead(tmp_path: Path) -> None:
    write_whole(tmp_path / "lock", b"not JSON")
    claim = lease(lock_file(tmp_path / "lock"), Hands())
    claim.check()
    claim.close()
    assert list(tmp_path.iterdir()) == []
