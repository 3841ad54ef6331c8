from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import zarr

from specscale.errors import InputError
from specscale.places.files import (
    PIECE,
    exists,
    free_space,
    is_local,
    located,
    move,
    read_into,
    read_whole,
    remove_tree,
    size_of_tree,
    write_whole,
    zarr_store,
)


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "place") if request.param == "local" else str(request.getfixturevalue("s3"))


def test_files_are_written_whole_and_read_in_parts(place: str) -> None:
    folder = located(place)
    folder.mkdir(parents=True, exist_ok=True)
    values = np.arange(3 * PIECE // 8 + 5, dtype=np.int64)
    write_whole(folder / "one", b"head", values.view(np.uint8).data)
    write_whole(folder / "small", b"abc")
    assert sorted(path.name for path in folder.iterdir()) == ["one", "small"]
    back = np.empty_like(values)
    assert read_into(folder / "one", 4, back.view(np.uint8).data) == values.nbytes
    np.testing.assert_array_equal(back, values)
    assert read_whole(folder / "small") == b"abc"
    with pytest.raises(FileNotFoundError):
        read_whole(folder / "none")
    assert size_of_tree(folder) == values.nbytes + 7
    assert exists(folder / "small")
    assert not exists(folder / "none")


@pytest.mark.parametrize("size", [2, 10, 3 * PIECE])
def test_a_short_file_gives_what_it_has(place: str, size: int) -> None:
    folder = located(place)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "small", b"abcdefgh")
    out = bytearray(size)
    assert read_into(folder / "small", 3, memoryview(out)) == min(size, 5)
    assert out[: min(size, 5)] == b"defgh"[:size]
    assert read_into(folder / "small", 50, memoryview(out)) == 0
    with pytest.raises(FileNotFoundError):
        read_into(folder / "none", 0, memoryview(out))


def test_a_failed_write_leaves_what_was_there(place: str) -> None:
    folder = located(place)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "one", b"before")
    with pytest.raises(TypeError):
        write_whole(folder / "one", bytes(2 * PIECE), "no bytes")
    assert (folder / "one").read_bytes() == b"before"
    assert [path.name for path in folder.iterdir()] == ["one"]


def test_folders_are_moved_and_removed(place: str) -> None:
    folder = located(place)
    (folder / "old").mkdir(parents=True, exist_ok=True)
    group = zarr.open_group(zarr_store(folder / "old" / "spec.zarr"), mode="a")
    array = group.create_array("x", shape=(10,), chunks=(3,), dtype="f4")
    pickle.loads(pickle.dumps(array))[...] = np.arange(10)
    write_whole(folder / "old" / "summary.json", b"{}")
    move(folder / "old", folder / "new", last=["summary.json"])
    assert not exists(folder / "old")
    found = zarr.open_group(zarr_store(folder / "new" / "spec.zarr"), mode="r")["x"]
    np.testing.assert_array_equal(np.asarray(found), np.arange(10))
    remove_tree(folder / "new")
    assert not exists(folder / "new")
    remove_tree(folder / "new")


def test_places_know_where_they_are(tmp_path: Path, s3: str) -> None:
    assert is_local(located(tmp_path))
    assert located(f"file://{tmp_path}") == tmp_path
    assert not is_local(located(s3))
    assert located(located(s3)) == located(s3)
    assert str(pickle.loads(pickle.dumps(located(s3)))) == s3
    assert free_space(located(s3)) is None
    assert (free_space(tmp_path / "not" / "there") or 0) > 0


def test_what_cannot_be_reached_is_one_line(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("zzz://a/b", "gs://a/b"):
        with pytest.raises(InputError, match=url):
            located(url)
    for url in ("s3://", "s3:///x", "memory://"):
        with pytest.raises(InputError, match="names no place"):
            located(url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9")
    located(s3).fs.clear_instance_cache()
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL is no URL"):
        exists(located(s3))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    located(s3).fs.clear_instance_cache()
    with pytest.raises(InputError, match=r"s3://.*cannot be reached.*credentials in the environment"):
        exists(located(s3))
    located(s3).fs.clear_instance_cache()
