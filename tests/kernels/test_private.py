"""Files that only this user can have written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from specscale.kernels.private import PrivateFolder

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users to tell apart")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
pytestmark = posix


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "above" / "folder"


@pytest.fixture
def folder(place: Path) -> PrivateFolder:
    return PrivateFolder(place, 4)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], capture_output=True)
    except OSError as error:
        pytest.skip(f"cannot mount a small disk: {error}")
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_what_was_kept_is_found_again(folder: PrivateFolder, place: Path) -> None:
    assert folder.read("a") is None
    folder.write("a", b"one")
    assert folder.read("a") == b"one"
    folder.write("a", b"two")
    assert folder.read("a") == b"two"
    assert os.listdir(place) == ["a"]


def test_nobody_else_may_read_or_write(folder: PrivateFolder, place: Path) -> None:
    before = os.umask(0)
    try:
        folder.write("a", b"one")
    finally:
        os.umask(before)
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
def test_a_folder_that_others_may_write_to_is_not_used(folder: PrivateFolder, place: Path, mode: int) -> None:
    folder.write("a", b"one")
    place.chmod(mode)
    folder.write("b", b"two")
    assert folder.read("a") is None
    assert os.listdir(place) == ["a"]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_to_is_not_read_but_replaced(
    folder: PrivateFolder, place: Path, mode: int
) -> None:
    folder.write("a", b"one")
    (place / "a").chmod(mode)
    assert folder.read("a") is None
    folder.write("a", b"two")
    assert folder.read("a") == b"two"


@as_root
def test_what_belongs_to_another_user_is_not_used(folder: PrivateFolder, place: Path) -> None:
    folder.write("a", b"one")
    os.chown(place / "a", 12345, -1)
    assert folder.read("a") is None
    os.chown(place / "a", 0, -1)
    os.chown(place, 12345, -1)
    folder.write("b", b"two")
    assert folder.read("a") is None
    assert os.listdir(place) == ["a"]


def test_links_are_not_followed(folder: PrivateFolder, place: Path, tmp_path: Path) -> None:
    folder.write("a", b"one")
    (place / "b").symlink_to(place / "a")
    assert folder.read("b") is None
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "moved")
    folder.write("c", b"two")
    assert folder.read("a") is None
    assert sorted(os.listdir(place)) == ["a", "b"]


def test_what_is_in_the_way_is_left_there(folder: PrivateFolder, place: Path) -> None:
    folder.write("a", b"one")
    (place / "b").mkdir()
    os.mkfifo(place / "c")
    folder.write("b", b"two")
    assert folder.read("b") is None
    assert folder.read("c") is None
    assert sorted(os.listdir(place)) == ["a", "b", "c"]


def test_a_file_is_in_the_way_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "file" / "folder"):
        folder = PrivateFolder(place, 4)
        folder.write("a", b"one")
        assert folder.read("a") is None


@pytest.mark.process
def test_a_place_that_cannot_be_written_to_holds_nothing(small_disk: Path) -> None:
    kept = PrivateFolder(small_disk / "folder", 4)
    kept.write("a", b"one")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    kept.write("b", b"two")
    PrivateFolder(small_disk / "other", 4).write("a", b"one")
    assert kept.read("a") == b"one"
    assert os.listdir(small_disk) == ["folder"]
    assert os.listdir(small_disk / "folder") == ["a"]


@pytest.mark.process
def test_a_full_disk_holds_what_it_held(small_disk: Path) -> None:
    folder = PrivateFolder(small_disk / "folder", 4)
    folder.write("a", b"one")
    folder.write("b", bytes(1 << 20))
    folder.write("a", bytes(1 << 20))
    assert folder.read("a") == b"one"
    assert os.listdir(small_disk / "folder") == ["a"]


def test_the_oldest_files_and_drafts_go(folder: PrivateFolder, place: Path) -> None:
    for number, name in enumerate(("a", "b.0123456789abcdef", "c", "d")):
        folder.write(name, b"")
        os.utime(place / name, ns=(number, number))
    folder.write("e", b"")
    assert sorted(os.listdir(place)) == ["b.0123456789abcdef", "c", "d", "e"]
    folder.write("f", b"")
    assert sorted(os.listdir(place)) == ["c", "d", "e", "f"]


def test_a_file_too_long_to_be_ours_is_not_read(folder: PrivateFolder, place: Path) -> None:
    folder.write("a", b"one")
    with open(place / "a", "r+b") as file:
        file.truncate(1 << 40)
    assert folder.read("a") is None
