"""Folders are held by one process at a time, and a dead owner holds none for ever."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Pair

from specscale.errors import ChangedError, ExistsError
from specscale.places.claim import LOCK, Claim, claim_folder
from specscale.places.files import Location, exists, located, read_whole, write_whole
from specscale.places.lease import Lease
from specscale.places.lock_file import Seen

MARK = "journal.json"
RENEWAL, PATIENCE = 0.2, 1.0
FOR_EVER = 3600.0  # patience with an owner that is alive, on a machine that is busy with something else


def take(folder: Location, patience: float = FOR_EVER) -> Claim:
    return claim_folder(folder, MARK, renewal=RENEWAL, patience=patience)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread or another process does; a test that waits in vain is ended by its runner."""
    while not condition():
        time.sleep(0.01)


def ended(claim: Claim) -> bool:
    """Whether a lease is no longer renewed."""
    assert isinstance(claim, Lease)
    return not claim._thread.is_alive()


def holds(claim: Claim) -> bool:
    try:
        claim.check()
    except ChangedError:
        return False
    return True


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system without locks."""

    def refuse(file: Any, operation: int) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=["local", "no locks", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "s3":
        return located(request.getfixturevalue("s3")) / "work"
    if request.param == "no locks":
        request.getfixturevalue("no_flock")
    return tmp_path / "deep" / "work"


@pytest.fixture(params=["no locks", "s3"])
def leased(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "s3":
        return located(request.getfixturevalue("s3")) / "work"
    request.getfixturevalue("no_flock")
    return tmp_path / "work"


def test_one_at_a_time(folder: Location) -> None:
    first = take(folder)
    for _ in range(2):
        with pytest.raises(ExistsError, match="work: another process is at work here"):
            take(folder)
    first.check()
    first.close()
    first.close()
    second = take(folder)
    second.check()
    second.close()


def test_a_folder_of_somebody_else_is_left_alone(folder: Location) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "thesis.txt", b"x")
    with pytest.raises(ExistsError, match=r"work: is in the way.*move it elsewhere"):
        take(folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    write_whole(folder / MARK, b"{}")
    take(folder).close()


@pytest.mark.parametrize("locks", [True, False])
def test_a_lock_is_not_opened_through_a_link(locks: bool, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not locks:
        request.getfixturevalue("no_flock")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ExistsError, match=r"work/lock: is a symbolic link, .*; remove it"):
        take(tmp_path / "work")
    assert not exists(tmp_path / "elsewhere")


def test_new_folders_are_their_owners_alone(tmp_path: Path, no_umask: None) -> None:
    take(tmp_path / "deep" / "work").close()
    assert mode(tmp_path / "deep") == 0o777
    assert mode(tmp_path / "deep" / "work") == 0o700


def test_what_is_published_follows_the_umask(
    make_store: Callable[..., Path], pair: Pair, tmp_path: Path, no_umask: None
) -> None:
    from specscale import compare

    a, b = (make_store(name, array) for name, array in zip("ab", pair, strict=True))
    compare(a, b, sigma=(2.0, 2.0), out=tmp_path / "out", features="fourier", size=20)
    for place in (a, tmp_path / "out"):
        assert {mode(path) for path in [place, *place.rglob("*")] if path.is_dir()} == {0o777}
        assert {mode(path) for path in place.rglob("*") if path.is_file()} == {0o666}


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("x")
    with pytest.raises(ExistsError, match="in the way"):
        take(tmp_path / "work")


def test_a_lock_on_a_removed_folder_keeps_nobody_out(tmp_path: Path) -> None:
    first = take(tmp_path / "work")
    shutil.rmtree(tmp_path / "work")
    second = take(tmp_path / "work")
    with pytest.raises(ExistsError):
        take(tmp_path / "work")
    first.close()
    second.close()


def test_a_refusal_names_the_owner(leased: Location) -> None:
    first = take(leased)
    owner = json.loads((leased / LOCK).read_bytes())
    with pytest.raises(ExistsError) as caught:
        take(leased)
    assert f"process {owner['pid']} on {owner['host']}" in str(caught.value)
    assert "\n" not in str(caught.value)
    first.close()
    assert not exists(leased / LOCK)


def test_a_lease_that_was_taken_away_is_noticed(leased: Location) -> None:
    first = take(leased)
    write_whole(leased / LOCK, json.dumps({"owner": "x", "host": "other", "pid": 7, "count": 1}).encode())
    with pytest.raises(ChangedError, match="process 7 on other took the work over"):
        first.check()
    until(lambda: ended(first))  # it does not write over the new owner's either, nor removes it
    first.close()
    assert json.loads((leased / LOCK).read_bytes())["owner"] == "x"
    (leased / LOCK).unlink()
    second = take(leased)
    (leased / LOCK).unlink()
    with pytest.raises(ChangedError, match="somebody removed the lock"):
        second.check()
    second.close()


@pytest.mark.parametrize("left", [b'{"owner": "x", "host": "h", "pid": 1, "count": 3}', b"not JSON", b"[1]"])
@pytest.mark.slow
def test_a_lease_that_does_not_change_is_dead(leased: Location, left: bytes) -> None:
    leased.mkdir(parents=True, exist_ok=True)
    write_whole(leased / LOCK, left)
    begun = time.monotonic()
    claim = take(leased, PATIENCE)
    assert time.monotonic() - begun >= PATIENCE
    claim.check()
    claim.close()


@pytest.mark.slow
def test_of_many_that_find_a_dead_lease_one_gets_it(leased: Location) -> None:
    leased.mkdir(parents=True, exist_ok=True)
    write_whole(leased / LOCK, b"dead")
    taken: list[Claim] = []
    refused: list[ExistsError] = []

    def attempt() -> None:
        try:
            taken.append(take(leased, PATIENCE))
        except ExistsError as error:
            refused.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) + len(refused) == 5
    held = [claim for claim in taken if holds(claim)]  # what another took over is noticed before anything is done
    assert len(held) == 1
    for claim in taken:
        claim.close()


def test_a_lease_outlives_a_network_that_is_away_for_a_while(leased: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = take(leased)
    assert isinstance(claim, Lease)
    kind, tries = type(claim._file), iter(range(3))
    original = kind.replace

    def replace(self: Any, seen: Seen, content: bytes) -> Seen | None:
        if next(tries, None) is not None:
            raise OSError("away")
        return original(self, seen, content)

    before = read_whole(leased / LOCK)
    monkeypatch.setattr(kind, "replace", replace)
    until(lambda: next(tries, None) is None and read_whole(leased / LOCK) != before)
    claim.check()
    claim.close()


# ---------------------------------------------------------------------------------------------------------------------
# Owners that are killed, or stopped

HOLD = """
import errno, fcntl, sys
def refuse(file, operation):
    raise OSError(errno.ENOTSUP, "Operation not supported")
if sys.argv[2:]:
    fcntl.flock = refuse
from specscale.errors import ChangedError
from specscale.places.files import located
from specscale.places.claim import claim_folder
claim = claim_folder(located(sys.argv[1]), "journal.json", renewal=0.2, patience=1.0)
print("held", flush=True)
sys.stdin.readline()
try:
    claim.check()
    print("mine")
except ChangedError as error:
    print(error)
claim.close()
"""


@pytest.fixture
def hold() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    children: list[subprocess.Popen[str]] = []

    def start(folder: Location, *without: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder), *without],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()


@pytest.mark.process
@pytest.mark.parametrize("place", ["local", "s3"])
def test_a_killed_owner_holds_nothing(
    place: str, request: pytest.FixtureRequest, tmp_path: Path, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    folder = tmp_path / "work" if place == "local" else located(request.getfixturevalue("s3")) / "work"
    child = hold(folder)
    with pytest.raises(ExistsError, match="another process is at work here"):
        take(folder)
    child.kill()
    child.wait()
    claim = take(folder, PATIENCE)
    claim.check()
    claim.close()


@pytest.mark.process
@pytest.mark.parametrize("place", ["s3", "no locks"])
def test_an_owner_that_slept_notices(
    place: str, request: pytest.FixtureRequest, tmp_path: Path, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    folder = tmp_path / "work" if place == "no locks" else located(request.getfixturevalue("s3")) / "work"
    child = hold(folder, "no locks")
    request.getfixturevalue("no_flock")
    child.send_signal(signal.SIGSTOP)
    claim = take(folder, PATIENCE)
    child.send_signal(signal.SIGCONT)
    out, _ = child.communicate("\n", timeout=300)
    assert "this process stood still or was cut off" in out
    claim.check()
    claim.close()
    assert not exists(folder / LOCK)
