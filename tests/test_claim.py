"""Folders are held by one process at a time, and a dead owner holds none for ever."""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from specscale.errors import ChangedError, ExistsError
from specscale.files import Location, exists, located, read_whole, write_whole
from specscale.stores.claim import LOCK, Claim, claim_folder

MARK = "journal.json"
RENEWAL, PATIENCE = 0.2, 1.0


def take(folder: Location) -> Claim:
    return claim_folder(folder, MARK, renewal=RENEWAL, patience=PATIENCE)


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system without locks."""

    def refuse(file: Any, operation: int) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)


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
    time.sleep(2 * RENEWAL)  # it does not write over the new owner's either, nor removes it
    first.close()
    assert json.loads((leased / LOCK).read_bytes())["owner"] == "x"
    (leased / LOCK).unlink()
    second = take(leased)
    (leased / LOCK).unlink()
    with pytest.raises(ChangedError, match="somebody removed the lock"):
        second.check()
    second.close()


@pytest.mark.parametrize("left", [b'{"owner": "x", "host": "h", "pid": 1, "count": 3}', b"not JSON", b"[1]"])
def test_a_lease_that_does_not_change_is_dead(leased: Location, left: bytes) -> None:
    leased.mkdir(parents=True, exist_ok=True)
    write_whole(leased / LOCK, left)
    begun = time.monotonic()
    claim = take(leased)
    assert time.monotonic() - begun >= PATIENCE
    claim.check()
    claim.close()


def test_of_many_that_find_a_dead_lease_one_gets_it(leased: Location) -> None:
    leased.mkdir(parents=True, exist_ok=True)
    write_whole(leased / LOCK, b"dead")
    taken: list[Claim] = []
    refused: list[ExistsError] = []

    def attempt() -> None:
        try:
            taken.append(take(leased))
        except ExistsError as error:
            refused.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), len(refused)) == (1, 4)
    taken[0].check()
    taken[0].close()


def test_a_lease_outlives_a_network_that_is_away_for_a_while(leased: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = take(leased)
    original = type(claim)._read
    monkeypatch.setattr(type(claim), "_read", lambda self: (_ for _ in ()).throw(OSError("away")))
    time.sleep(2 * RENEWAL)
    monkeypatch.setattr(type(claim), "_read", original)
    before = read_whole(leased / LOCK)
    time.sleep(3 * RENEWAL)
    assert read_whole(leased / LOCK) != before
    claim.check()
    claim.close()


# ---------------------------------------------------------------------------------------------------------------------
# Owners that are killed, or stopped

HOLD = """
import sys
from specscale.errors import ChangedError
from specscale.files import located
from specscale.stores.claim import claim_folder
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
def hold() -> Iterator[Callable[[Location], subprocess.Popen[str]]]:
    children: list[subprocess.Popen[str]] = []

    def start(folder: Location) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()


@pytest.mark.parametrize("place", ["local", "s3"])
def test_a_killed_owner_holds_nothing(
    place: str, request: pytest.FixtureRequest, tmp_path: Path, hold: Callable[[Location], subprocess.Popen[str]]
) -> None:
    folder = tmp_path / "work" if place == "local" else located(request.getfixturevalue("s3")) / "work"
    child = hold(folder)
    with pytest.raises(ExistsError, match="another process is at work here"):
        take(folder)
    child.kill()
    child.wait()
    claim = take(folder)
    claim.check()
    claim.close()


def test_an_owner_that_slept_notices(s3: str, hold: Callable[[Location], subprocess.Popen[str]]) -> None:
    folder = located(s3) / "work"
    child = hold(folder)
    child.send_signal(signal.SIGSTOP)
    claim = take(folder)
    child.send_signal(signal.SIGCONT)
    out, _ = child.communicate("\n", timeout=20)
    assert "this process stood still or was cut off" in out
    claim.check()
    claim.close()
    assert not exists(folder / LOCK)
