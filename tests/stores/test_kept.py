"""What the owner of a store or result keeps in it stays, and so do links; a kill leaves nothing half done behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from conftest import structured

from specscale import compare, compare_many, open_result, rename
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import SpecscaleError
from specscale.method.update import compare_grown
from specscale.places import durable, publication
from specscale.places.files import located, write_whole
from specscale.results import workplace as workplace_module
from specscale.stores import publishing
from specscale.stores.ingest import ingest

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {"size": 20, "n_modes": 2, "top": 5, "certify": 0, "sigma": (3.0, 3.0), "rounds": 0}
ROWS = structured(400)


def saved(folder: Path, name: str, rows: Any) -> Path:
    if not (folder / name).exists():  # the same file, as its time says
        np.save(folder / name, rows)
    return folder / name


def first(folder: Path, out: Any) -> None:
    """A store or a result of the first rows."""
    if "zarr" in str(out):
        ingest(saved(folder, "a.npy", ROWS[0][:300]), out)
    else:
        compare(ROWS[0][:300], ROWS[1][:300], out=out, **SETTINGS)


def append(folder: Path, out: Any) -> None:
    ingest(saved(folder, "b.npy", ROWS[0][300:]), out, append=True)


def replace(folder: Path, out: Any) -> None:
    ingest(saved(folder, "b.npy", ROWS[0][300:]), out, overwrite=True)


def compare_anew(folder: Path, out: Any) -> None:
    compare(ROWS[0][:300], ROWS[1][:300], out=out, overwrite=True, **{**SETTINGS, "n_modes": 1})


def update(folder: Path, out: Any) -> None:
    compare_grown(open_result(str(out)), *ROWS, out=out, overwrite=True)


CHANGES = [(append, "a.zarr"), (replace, "a.zarr"), (compare_anew, "ab.spec"), (update, "ab.spec")]
Change = Callable[[Path, Any], None]


def tree(folder: Path) -> dict[str, bytes | str]:
    """Files by their bytes and links by where they lead."""
    found: dict[str, bytes | str] = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = os.readlink(path)
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def keep_things_in(place: Path) -> dict[str, bytes | str]:
    """What an owner may keep in a store or result: files, folders, links, and arrays in its Zarr group."""
    before = tree(place)
    (place / "notes.txt").write_text("mine")
    (place / "figures" / "old").mkdir(parents=True)
    (place / "figures" / "old" / "one.png").write_bytes(b"mine")
    (place / "link").symlink_to("figures/old")
    (place / "dangling").symlink_to("nowhere")
    group = place if (place / "features").exists() else place / "spec.zarr"
    array = zarr.open_group(str(group), mode="a").create_array("own", shape=(5,), chunks=(2,), dtype="f4")
    array[...] = 1
    inside = group / ("features" if group == place else "scores")
    (inside / "notes.txt").write_text("mine as well")
    os.link(place / "notes.txt", place.parent / "same.txt")
    return {path: content for path, content in tree(place).items() if path not in before}


@pytest.mark.parametrize(("change", "name"), CHANGES)
def test_what_an_owner_keeps_stays(tmp_path: Path, change: Change, name: str) -> None:
    place, clean = tmp_path / name, tmp_path / f"clean-{name}"
    first(tmp_path, place)
    first(tmp_path, clean)
    theirs = keep_things_in(place)
    assert len(theirs) > 8
    change(tmp_path, place)
    change(tmp_path, clean)
    found = tree(place)
    assert theirs.items() <= found.items()
    assert found.keys() - theirs.keys() == tree(clean).keys()
    assert (place / "notes.txt").samefile(tmp_path / "same.txt")
    assert sorted(path.name for path in tmp_path.iterdir() if name in path.name) == [name, f"clean-{name}"]


@pytest.mark.parametrize(("change", "name"), CHANGES)
def test_in_an_object_store_too(s3: str, tmp_path: Path, change: Change, name: str) -> None:
    place: Any = located(f"{s3}/{name}")
    first(tmp_path, place)
    theirs = ["notes.txt", "figures/old/one.png", "spec.zarr/own/c/0", "own/zarr.json", "features/notes.txt"]
    for path in theirs:
        write_whole(place / path, b"mine")
    change(tmp_path, place)
    assert [(place / path).read_bytes() for path in theirs] == [b"mine"] * len(theirs)


@pytest.mark.parametrize("change", [append, replace])
def test_attributes_that_an_owner_gave_a_store_stay(tmp_path: Path, change: Change) -> None:
    first(tmp_path, tmp_path / "a.zarr")
    zarr.open_group(str(tmp_path / "a.zarr"), mode="r+").attrs["licence"] = "CC0"
    change(tmp_path, tmp_path / "a.zarr")
    assert zarr.open_group(str(tmp_path / "a.zarr"), mode="r").attrs["licence"] == "CC0"


class Stop(BaseException):
    """What a kill does, here where it can be watched."""


@pytest.mark.parametrize(("change", "name"), CHANGES)
def test_killed_at_any_of_the_last_steps(
    tmp_path: Path, change: Change, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop before each rename and removal that gives a result its name; the same command again, and all is well."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    first(tmp_path, before / name)
    theirs = keep_things_in(before / name)
    (before / "same.txt").unlink()
    shutil.copytree(before, after, symlinks=True)
    change(tmp_path, after / name)
    expected = tree(after / name)
    for step in range(40):
        place = tmp_path / str(step)
        shutil.copytree(before, place, symlinks=True)
        with monkeypatch.context() as patch:
            kill_at(step, patch)
            try:
                change(tmp_path, place / name)
            except Stop:
                pass
            else:
                break
        found = tree(place)
        places = [f"{name}/", f"{name}.partial/replaced/", f"{name}.work/replaced/"]
        assert all(content in [found.get(f"{one}{path}") for one in places] for path, content in theirs.items())
        with suppress(SpecscaleError):  # where all was done and nothing is left that tells so
            again(change, tmp_path, place / name)
        assert [path.name for path in place.iterdir()] == [name], step
        assert tree(place / name).keys() == expected.keys()
        assert name != "a.zarr" or tree(place / name) == expected
    assert step > 4


def kill_at(step: int, patch: pytest.MonkeyPatch) -> None:
    """Stop before one of the renames and removals that come once the draft is on the disk."""
    counter = count()
    began: list[Path] = []

    def counted(call: Callable[..., None]) -> Callable[..., None]:
        def one(*arguments: Any, **options: Any) -> None:
            if began and next(counter) >= step:
                raise Stop
            call(*arguments, **options)

        return one

    def beginning(folder: Path) -> None:
        durable.sync_tree(folder)
        began.append(folder)

    patch.setattr(os, "replace", counted(os.replace))
    patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
    patch.setattr(publication, "sync_tree", beginning)


def again(change: Change, folder: Path, place: Path) -> None:
    """The same command; a comparison says that the earlier run is to be gone on with."""
    if change is compare_anew:
        compare(ROWS[0][:300], ROWS[1][:300], out=place, overwrite=True, resume=True, **{**SETTINGS, "n_modes": 1})
    elif change is update:
        workplace_module.finish_publishing(place)
        compare_grown(open_result(str(place)), *ROWS, out=place, overwrite=True, resume=True)
    else:
        change(folder, place)


def test_a_finished_run_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "ab.spec"
    with monkeypatch.context() as patch:
        patch.setattr(workplace_module.Workplace, "_remove_work", lambda self: self._release())
        first(tmp_path, out)
    made = (out / "summary.json").stat().st_mtime_ns
    compare(ROWS[0][:300], ROWS[1][:300], out=out, resume=True, **SETTINGS)
    assert (out / "summary.json").stat().st_mtime_ns == made
    assert not (tmp_path / "ab.spec.work").exists()


def test_half_written_files_of_a_killed_run_are_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, out = tmp_path / "a.zarr", tmp_path / "ab.spec"
    with monkeypatch.context() as patch:
        patch.setattr("specscale.stores.writer.publish", stop)
        patch.setattr("specscale.results.writing.ResultWriter.summary", stop)
        for place in (store, out):
            with pytest.raises(Stop):
                first(tmp_path, place)
    (work,) = tmp_path.glob("ab.spec.work/*/result")
    for folder in (tmp_path / "a.zarr.partial" / "store", work / "spec.zarr", work):
        (folder / "zarr.json.0123abcd.new").write_bytes(b"{")
    (tmp_path / "a.zarr.partial" / "store" / "features" / "c" / "0" / f"0.{'ab' * 16}.partial").write_bytes(b"half")
    first(tmp_path, store)
    compare(ROWS[0][:300], ROWS[1][:300], out=out, resume=True, **SETTINGS)
    assert not [path for path in (*tree(store), *tree(out)) if "new" in path or "partial" in path]


def stop(*_: Any, **__: Any) -> None:
    raise Stop


@pytest.mark.parametrize(
    "settings",
    [
        {"features": "exact", "size": None},
        {"features": "orthogonal"},
        {"refine": 1},
        {"kernel": "cosine", "normalize": "centre", "size": None},
    ],
)
def test_all_that_a_result_holds_is_known_as_ours(tmp_path: Path, settings: dict[str, Any]) -> None:
    compare(*ROWS, out=tmp_path / "ab.spec", **{**SETTINGS, **settings})
    names = list(tree(tmp_path / "ab.spec"))
    assert [path for path in names if not workplace_module.OURS.files.fullmatch(path)] == []
    assert len(names) > 5


def test_so_is_all_of_a_matrix_and_of_stores(tmp_path: Path) -> None:
    ids = np.arange(400).astype(str)
    for name, rows, order in zip("ab", ROWS, (slice(None), slice(None, None, -1)), strict=True):
        Path(tmp_path / f"{name}.csv").write_text("key,word\n" + "".join(f"{i},w{i}\n" for i in ids[order]))
        where = saved(tmp_path, f"{name}.npy", np.where(np.arange(400)[:, None] % 7 == 3, np.nan, rows[order]))
        ingest(where, tmp_path / f"{name}.zarr", metadata=tmp_path / f"{name}.csv", id_column="key", on_bad="drop")
        stored = tree(tmp_path / f"{name}.zarr")
        assert [path for path in stored if not publishing.OURS.files.fullmatch(path)] == []
    stores = [str(tmp_path / f"{name}.zarr") for name in "ab"]
    plain = {key: SETTINGS[key] for key in ("size", "n_modes", "top")}
    compare_many(stores, out=tmp_path / "all", match="id", **plain)
    compare(*stores, out=tmp_path / "ab.spec", match="id", **SETTINGS)
    for out in ("all", "ab.spec"):
        names = list(tree(tmp_path / out))
        assert [path for path in names if not workplace_module.OURS.files.fullmatch(path)] == []


# --- links


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(("change", "name"), CHANGES)
def test_links_are_followed(tmp_path: Path, change: Change, name: str, there: bool) -> None:
    elsewhere, link = tmp_path / "disk" / "real", tmp_path / name
    elsewhere.parent.mkdir()
    link.symlink_to(elsewhere)
    if there:
        os.mkdir(elsewhere.parent / "other")
    first(tmp_path, link)
    change(tmp_path, link)
    assert link.is_symlink()
    assert elsewhere.is_dir()
    assert [path.name for path in elsewhere.parent.iterdir() if path.name != "other"] == ["real"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(f"{name}.")]


def test_a_store_behind_a_link_is_renamed_where_it_is(tmp_path: Path) -> None:
    first(tmp_path, tmp_path / "real.zarr")
    (tmp_path / "link.zarr").symlink_to("real.zarr")
    rename(tmp_path / "link.zarr", "another")
    assert EmbeddingStore(tmp_path / "real.zarr").name == "another"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "link.zarr", "real.zarr"]
