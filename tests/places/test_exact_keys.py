"""Names that hold ``[``, ``?`` or ``*``: the objects of others that they match as patterns stay as they are."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import structured

from specscale import compare, open_result
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import SpecscaleError
from specscale.places.files import copy_tree, exists, located, remove_file, remove_tree, write_whole
from specscale.stores.ingest import ingest

SETTINGS: dict[str, Any] = {"size": 20, "n_modes": 2, "top": 5, "certify": 0, "rounds": 0, "sigma": (3.0, 3.0)}
NAMES = [("e[ab]", "ea"), ("[!x]?*", "eab")]


@pytest.fixture(params=["memory", "s3"])
def root(request: pytest.FixtureRequest) -> Iterator[str]:
    place = f"memory://{uuid.uuid4().hex}" if request.param == "memory" else str(request.getfixturevalue("s3"))
    yield place
    remove_tree(located(place))


def contents(place: str) -> dict[str, bytes]:
    """What is at every key below a place."""
    there: Any = located(place)
    return {path: there.fs.cat_file(path) for path in there.fs.find(there.path)}


def neighbour(root: str, own: str, other: str) -> dict[str, bytes]:
    """Objects of somebody else at every key below a place that another name would have, and in what is beside it."""
    there: Any = located(root)
    for path in there.fs.find(there.path):
        name = path.removeprefix(there.path).lstrip("/")
        if name.startswith(own):
            write_whole(there / name.replace(own, other, 1), b"of somebody else")
    for name in (f"{other}.zarr2/zarr.json", f"{own}.zarr2/zarr.json", f"{own}.spec2/summary.json"):
        write_whole(there / name, b"of somebody else")
    return {path: content for path, content in contents(root).items() if content == b"of somebody else"}


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("own", "other"), NAMES)
def test_a_store_of_an_odd_name(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, other: str
) -> None:
    monkeypatch.setattr("specscale.stores.writer.CHUNK_ROWS", 64)
    monkeypatch.setattr("specscale.stores.beginning.CHUNK_ROWS", 64)
    monkeypatch.setattr("specscale.embeddings.layout.CHUNK_ROWS", 64)
    rows = structured(200)[0]
    rows[50:150] = np.nan  # so many that chunks that were begun go again
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "more.npy", rows[150:])
    np.save(tmp_path / "yet_more.npy", rows[:50])
    store = f"{root}/{own}.zarr"
    with monkeypatch.context() as patch:
        patch.setattr("specscale.stores.writer.publish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ingest(tmp_path / "rows.npy", store, on_bad="drop")
    theirs = neighbour(root, own, other)
    assert len(theirs) > 6
    ingest(tmp_path / "rows.npy", store, on_bad="drop")
    theirs |= neighbour(root, own, other)
    ingest(tmp_path / "more.npy", store, overwrite=True)
    ingest(tmp_path / "yet_more.npy", store, append=True)
    assert EmbeddingStore(located(store)).n == 100
    found = contents(root)
    assert theirs.items() <= found.items()
    prefix = located(store).path
    assert not [path for path in found.keys() - theirs.keys() if not path.startswith(f"{prefix}/")]


@pytest.mark.parametrize(("own", "other"), NAMES)
@pytest.mark.slow
def test_a_result_of_an_odd_name(root: str, monkeypatch: pytest.MonkeyPatch, own: str, other: str) -> None:
    a, b = structured(300)
    out = f"{root}/{own}.spec"
    with monkeypatch.context() as patch:
        patch.setattr("specscale.results.writing.ResultWriter.summary", interrupt)
        with pytest.raises(KeyboardInterrupt):
            compare(a, b, out=out, **SETTINGS)
    theirs = neighbour(root, own, other)
    assert len(theirs) > 6
    compare(a, b, out=out, resume=True, **SETTINGS)
    theirs |= neighbour(root, own, other)
    compare(a, b, out=out, overwrite=True, **SETTINGS)
    with pytest.raises(SpecscaleError, match="exists"):
        compare(a, b, out=out, **SETTINGS)
    assert len(open_result(out).modes) == 4
    found = contents(root)
    assert theirs.items() <= found.items()
    prefix = located(out).path
    assert not [path for path in found.keys() - theirs.keys() if not path.startswith(f"{prefix}/")]


def test_files_and_folders_are_taken_by_their_names(root: str) -> None:
    place = located(root)
    for name in ("n[ab]/one", "na/one", "n[ab]2/one", "n?", "nx", "n*", "nxyz"):
        write_whole(place / name, name.encode())
    remove_file(place / "n?")
    remove_file(place / "n*")
    remove_file(place / "n*")
    copy_tree(place / "n[ab]", place / "m[ab]")
    remove_tree(place / "n[ab]")
    assert {path.removeprefix(place.path): content for path, content in contents(root).items()} == {
        "/na/one": b"na/one", "/n[ab]2/one": b"n[ab]2/one", "/nx": b"nx", "/nxyz": b"nxyz", "/m[ab]/one": b"n[ab]/one",
    }  # fmt: skip
    assert not exists(place / "n[ab]")
