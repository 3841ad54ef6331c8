"""After a power cut: files are on the disk before they get their names, and these before what they replace goes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import structured

from specscale import compare, open_result, rename
from specscale.embeddings.store import EmbeddingStore
from specscale.method.update import compare_grown
from specscale.stores.ingest import ingest

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {"size": 20, "n_modes": 2, "top": 5, "certify": 0, "sigma": (3.0, 3.0), "rounds": 0}
ROWS = structured(400)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def saved(folder: Path, name: str, rows: Any) -> Path:
    np.save(folder / name, rows)
    return folder / name


def ingested(place: Path, sources: Path) -> None:
    ingest(saved(sources, "a.npy", ROWS[0][:300]), place / "a.zarr")


def overwritten(place: Path, sources: Path) -> None:
    ingest(saved(sources, "b.npy", ROWS[0][50:350]), place / "a.zarr", overwrite=True)


def appended(place: Path, sources: Path) -> None:
    ingest(saved(sources, "c.npy", ROWS[0][350:]), place / "a.zarr", append=True)


def renamed(place: Path, sources: Path) -> None:
    rename(place / "a.zarr", "another")


def compared(place: Path, sources: Path) -> None:
    compare(ROWS[0][:300], ROWS[1][:300], out=place / "ab.spec", **SETTINGS)


def compared_anew(place: Path, sources: Path) -> None:
    compare(ROWS[0][:300], ROWS[1][:300], out=place / "ab.spec", overwrite=True, **{**SETTINGS, "n_modes": 1})


def updated(place: Path, sources: Path) -> None:
    compare_grown(open_result(str(place / "ab.spec")), *ROWS, out=place / "ab.spec", overwrite=True)


STEPS = [ingested, overwritten, appended, renamed, compared, compared_anew, updated]
TARGETS = {step: "a.zarr" if step in STEPS[:4] else "ab.spec" for step in STEPS}


# --- the order of the calls

Event = tuple[str, str]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What is synced, renamed to and removed from here on, in order."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("the path of an open file is not known here")
    events: list[Event] = []
    sync, replace, remove = os.fsync, os.replace, shutil.rmtree

    def syncing(descriptor: int) -> None:
        sync(descriptor)
        events.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))

    def replacing(source: Any, target: Any) -> None:
        events.append(("rename", os.fspath(source)))
        replace(source, target)
        events.append(("name", os.fspath(target)))

    def removing(place: Any, *more: Any, **options: Any) -> None:
        events.append(("remove", os.fspath(place)))
        remove(place, *more, **options)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(os, "replace", replacing)
    monkeypatch.setattr(shutil, "rmtree", removing)
    return events


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


@pytest.mark.parametrize("step", [step for step in STEPS if step is not renamed])
def test_everything_is_on_the_disk_before_something_goes(
    tmp_path: Path, step: Callable[[Path, Path], None], recorded: list[Event]
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    for earlier in STEPS[: STEPS.index(step)]:
        earlier(place, tmp_path)
    target = place / TARGETS[step]
    if target.exists():
        (target / "notes.txt").write_text("its owner's")
    recorded.clear()
    step(place, tmp_path)
    named = recorded.index(("name", str(target)))
    draft = recorded[named - 1][1]
    synced = {path for kind, path in recorded[:named] if kind == "sync"}
    ours = [path.relative_to(target) for path in target.rglob("*") if path.name != "notes.txt"]
    assert len(ours) > 5
    assert not {path for path in ours if str(Path(draft) / path) not in synced}
    assert draft in synced
    work = [f"{target}.partial", f"{target}.work"]
    began = min(i for i, (kind, path) in enumerate(recorded) if kind == "rename" and path in (str(target), draft))
    assert any(path in work for kind, path in recorded[:began] if kind == "sync")  # the mark of what is being done
    gone = [i for i, (kind, path) in enumerate(recorded) if kind == "remove" and any(within(path, one) for one in work)]
    after = next(i for i in gone if i > named)
    assert ("sync", str(place)) in recorded[named:after]
    if (target / "notes.txt").exists():
        kept = recorded.index(("name", str(target / "notes.txt")))
        gone_for_good = recorded.index(("remove", f"{work[step not in STEPS[:4]]}/replaced"))
        assert ("sync", str(target)) in recorded[kept:gone_for_good]


def test_a_name_is_on_the_disk_before_it_is_seen(tmp_path: Path, recorded: list[Event]) -> None:
    ingested(tmp_path, tmp_path)
    recorded.clear()
    renamed(tmp_path, tmp_path)
    target = str(tmp_path / "a.zarr" / "zarr.json")
    named = recorded.index(("name", target))
    assert recorded[named - 1][0] == "rename"
    assert [path for kind, path in recorded[:named] if kind == "sync" and path.endswith(".new")]
    assert ("sync", str(tmp_path / "a.zarr")) in recorded[named:]


# --- what cannot be synced


def test_a_file_system_without_it_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unknown)
    for step in STEPS:
        step(tmp_path, tmp_path)
    assert len(open_result(str(tmp_path / "ab.spec")).modes) > 0


@pytest.mark.parametrize("step", [overwritten, appended, compared_anew])
def test_a_disk_that_fails_loses_nothing(
    tmp_path: Path, step: Callable[[Path, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for earlier in (ingested, compared):
        earlier(tmp_path, tmp_path)
    target = tmp_path / TARGETS[step]
    before = tree(target)

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="Input/output error"):
            step(tmp_path, tmp_path)
    assert tree(target) == before


# --- a power cut


def run(*command: object) -> bool:
    try:
        return subprocess.run([*map(str, command)], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A file system in a file, which writes nothing by itself for minutes: where it is, and the file."""
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    if not run("mkfs.ext4", "-q", image) or not run("mount", "-o", "loop,commit=600", image, place):
        pytest.skip("no file system can be mounted here")
    try:
        yield place, image
    finally:
        assert run("umount", place)


def after_a_power_cut(image: Path, folder: Path, name: str) -> dict[str, bytes]:
    """What a machine finds under a name that lost its power now."""
    copy, place = folder / "copy", folder / "found"
    place.mkdir(exist_ok=True)
    shutil.copyfile(image, copy)
    assert run("mount", "-o", "loop", copy, place)
    try:
        return tree(place / name)
    finally:
        assert run("umount", place)


@pytest.mark.process
def test_a_power_cut_at_the_end_of_a_command_finds_all_that_it_wrote(disk: tuple[Path, Path], tmp_path: Path) -> None:
    place, image = disk
    for step in STEPS:
        os.sync()
        step(place, tmp_path)
        found = after_a_power_cut(image, tmp_path, TARGETS[step])
        assert found == tree(place / TARGETS[step]), step.__name__
        assert len(found) > 4
    assert EmbeddingStore(place / "a.zarr").n == 350
