"""What models are called: after their paths, apart from one another, as the user says, and another name for a store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import command, structured
from hypothesis import given
from hypothesis import strategies as st

import specscale as ss
from specscale.errors import ExistsError, InputError, OptionError
from specscale.method.update import compare_grown
from specscale.places.claim import claim_folder
from specscale.sources.naming import distinct_names, model_name
from specscale.stores.ingest import ingest

SETTINGS: dict[str, Any] = {"sigma": (1.5, 1.5), "size": 20, "certify": 0, "n_modes": 2, "rounds": 0}
X = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("minilm.npy", "minilm"),
        ("bge-small-en-v1.5", "bge-small-en-v1.5"),
        ("minilm/data", "minilm"),
        ("minilm/data/train-00000-of-00001.parquet", "minilm"),
        ("minilm/img_emb/img_emb_0.npy", "minilm"),
        ("clip/embeddings/image.npy", "image"),
        ("minilm/default/train/0000.parquet", "minilm"),
        ("e5/year=2024/lang=de/part-0.parquet", "e5"),
        ("minilm/img_emb/*.npy", "minilm"),
        ("minilm/**/*.npy", "minilm"),
        ("../bge/vectors.npy", "bge"),
        ("hub/datasets--me--minilm-emb/snapshots/0123456789abcdef0123/data/train.parquet", "minilm-emb"),
        ("s3://bucket/minilm/img_emb/", "minilm"),
        ("s3://bucket/data/0.npy", "bucket"),
        ("https://host.org/dino/img_emb/0.npy?token=clip", "dino"),
        ("https://huggingface.co/datasets/me/mine/resolve/main/data/train-00000-of-00001.parquet", "mine"),
        ("hf://datasets/me/mine@refs%2Fconvert%2Fparquet/default/train/0000.parquet", "mine"),
        ("s3://bucket/run@3/emb.npy", "run@3"),
        ("/home/alice/data/emb.npy", "emb"),
        ("/data/0.npy", "0"),
    ],
)
def test_the_telling_part_of_a_path(path: str, name: str) -> None:
    assert model_name([path]) == name


def test_the_folder_above_tells_where_the_path_does_not(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "minilm" / "data").mkdir(parents=True)
    monkeypatch.chdir(here / "minilm")
    assert model_name(["data"]) == model_name(["."]) == model_name(["data/0.npy", "data/1.npy"]) == "minilm"


@pytest.mark.parametrize(
    ("names", "sources", "expected"),
    [
        (["a", "b"], ["x", "y"], ["a", "b"]),
        (["data", "data"], ["minilm.zarr", "bge.zarr"], ["data (minilm)", "data (bge)"]),
        (["clip", "clip"], ["s3://b/old/clip.zarr", "new/clip.zarr"], ["clip (old)", "clip (new)"]),
        (["clip", "clip"], ["clip.zarr", "clip.zarr"], ["clip (A)", "clip (B)"]),
        (["clip", "dino", "clip"], ["c", "d", "c"], ["clip (A)", "dino", "clip (C)"]),
        (["x", "x", "x (p)"], ["p", "q", "r"], ["x (A)", "x (B)", "x (p)"]),
    ],
)
def test_names_that_collide_get_what_differs(names: list[str], sources: list[str], expected: list[str]) -> None:
    assert distinct_names(names, sources) == expected


NAMES = st.sampled_from(["x", "y", "x (A)", "x (B)", "x (p)", "x (A) (A)"])


@given(st.lists(st.tuples(NAMES, st.sampled_from(["p", "q", "p/q", ""])), max_size=7))
def test_names_always_differ(both: list[tuple[str, str]]) -> None:
    names = distinct_names([name for name, _ in both], [source for _, source in both])
    assert len(set(names)) == len(both)
    assert all(new.startswith(old) for new, (old, _) in zip(names, both, strict=True))


def called_data(store: Path) -> Path:
    ss.rename(store, "data")
    return store


@pytest.mark.slow
def test_two_models_of_one_name_are_told_apart(here: Path, make_store: Callable[..., Path]) -> None:
    a, b = structured(300)
    stores = [called_data(make_store("minilm", a)), called_data(make_store("bge", b))]
    found = ss.compare(*stores, out="o", **SETTINGS)
    assert [one["name"] for one in found.summary["inputs"].values()] == ["data (minilm)", "data (bge)"]
    assert "σ of data (bge)" in found.summary["choice"]
    store = ss.open_embedding(str(stores[0]))
    again = ss.compare(store, store, **SETTINGS)
    assert [one["name"] for one in again.summary["inputs"].values()] == ["data (A)", "data (B)"]
    assert store.name == "data"
    many = ss.compare_many([*stores, a], sigma=1.5, size=20, n_modes=2)
    assert many.names == ["data (minilm)", "data (bge)", "C"]


@pytest.mark.slow
def test_names_are_given(here: Path, make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = structured(300)
    stores = [called_data(make_store("minilm", a)), called_data(make_store("bge", b))]
    options = ["--size", 20, "--certify", 0, "--sigma-a", 1.5, "--sigma-b", 1.5, "--quiet"]
    assert command(monkeypatch, "compare", *stores, "-o", "o", "--name-a", "MiniLM", "--name-b", "BGE", *options) == 0
    assert names_of("o") == ["MiniLM", "BGE"]
    assert ss.open_result("o").with_eta(0.5).summary["inputs"]["a"]["name"] == "MiniLM"
    assert command(monkeypatch, "compare", *stores, "-o", "p", "--name-b", "data", *options) == 0
    assert names_of("p") == ["data (minilm)", "data"]
    plain = ss.compare(*stores, **SETTINGS)
    named = ss.compare(*stores, names=("x", None), **SETTINGS)
    assert np.array_equal(plain.scores[:], named.scores[:])
    for names in (("", "x"), ("x", "x"), ("x",), "xy", ("a\nb", "c")):
        with pytest.raises(OptionError, match="name"):
            ss.compare(*stores, names=names, **SETTINGS)


def names_of(result: str) -> list[str]:
    return [one["name"] for one in json.loads(Path(result, "summary.json").read_text())["inputs"].values()]


@pytest.mark.slow
def test_an_update_keeps_the_names(here: Path, make_store: Callable[..., Path]) -> None:
    a, b = structured(300)
    stores = [str(called_data(make_store(name, x))) for name, x in (("minilm", a), ("bge", b))]
    ss.compare(*stores, out="o", names=("MiniLM", "BGE"), **SETTINGS)
    for store, x in zip(stores, structured(50, seed=1), strict=True):
        np.save("more.npy", x)
        ingest("more.npy", store, append=True)
    grown = compare_grown(ss.open_result("o"), *stores, out="p")
    assert [one["name"] for one in grown.summary["inputs"].values()] == ["MiniLM", "BGE"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_store_is_renamed_and_nothing_else_changes(
    here: Path, make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = called_data(make_store("a", X, ids=range(40)))
    before, digest = contents(store), ss.EmbeddingStore(store).digest
    assert command(monkeypatch, "rename", store, "MiniLM ü") == 0
    assert capsys.readouterr().out == f"{store}: data is called MiniLM ü now\n"
    opened = ss.EmbeddingStore(store)
    assert (opened.name, opened.digest) == ("MiniLM ü", digest)
    assert {name for name, content in contents(store).items() if content != before[name]} == {"zarr.json"}
    assert ss.rename(store, "data") == "MiniLM ü"
    assert contents(store) == before
    assert sorted(path.name for path in here.iterdir()) == ["a.npy", "a.parquet", "a.zarr"]


def test_rows_are_appended_to_a_renamed_store(here: Path, make_store: Callable[..., Path]) -> None:
    store = make_store("a", X)
    ss.rename(store, "new")
    np.save("more.npy", X + 1)
    assert ingest("more.npy", store, append=True).name == "new"
    assert ss.EmbeddingStore(store).n == 80


def test_what_is_not_renamed(here: Path, make_store: Callable[..., Path]) -> None:
    store = make_store("a", X)
    for name in ("", "  ", "two\nlines", "\x1b[31m"):
        with pytest.raises(OptionError, match="is no name for a model"):
            ss.rename(store, name)
    with pytest.raises(InputError, match="no such embedding store"):
        ss.rename("nothing.zarr", "x")
    with pytest.raises(InputError, match="not an embedding store"):
        ss.rename("a.npy", "x")
    claim = claim_folder(here / "a.zarr.partial", "journal.json")
    with pytest.raises(ExistsError, match="another process"):
        ss.rename(store, "x")
    claim.close()
    assert ss.EmbeddingStore(store).name == "a"


def test_a_remote_store_is_renamed(s3: str) -> None:
    ingest(X, f"{s3}/a.zarr", name="old")
    assert ss.rename(f"{s3}/a.zarr", "new") == "old"
    store = ss.EmbeddingStore(f"{s3}/a.zarr")
    assert store.name == "new"
    assert np.array_equal(store.read(0, 40), X)


def test_files_that_are_named_apart_are_told(here: Path) -> None:
    Path("flat").mkdir()
    for name in ("img_emb_0", "img_emb_1", "text_emb_0"):
        np.save(f"flat/{name}.npy", np.ones((3, 2), np.float32))
    (note,) = ingest("flat", "s.zarr").notes
    assert note == "read as one model's, one after the other, though named apart: img_emb_0.npy, text_emb_0.npy"
    assert ingest("flat/img_emb_*.npy", "t.zarr").notes == ()
