"""A matrix gives the groups of its pairs where they are asked for: those of a comparison of the two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import command
from interruptions import Interruption
from numpy.typing import NDArray
from planting import Planted, planted, small_clouds

import specscale as ss
from specscale.errors import InputError, OptionError
from specscale.results.matrix import MatrixResult, open_matrix
from specscale.runtime.cluster.connecting import local_cluster
from specscale.runtime.events import Event, PassStarted
from specscale.runtime.local import LocalExecutor
from specscale.runtime.threads import Threads
from specscale.stores.ingest import ingest

__all__ = ["small_clouds"]

pytestmark = pytest.mark.usefixtures("small_clouds")

SETTINGS: dict[str, Any] = {"size": 80, "n_modes": 3, "threads": 1, "top": 10, "names": ["one", "two", "three"]}
PAIRS = [("one", "two"), ("one", "three"), ("two", "three")]


@pytest.fixture(scope="module")
def some() -> Planted:
    return planted(900, (200, 100), (150,))


@pytest.fixture(scope="module")
def three(some: Planted) -> list[NDArray[Any]]:
    """The second has groups that neither the first nor the third has."""
    return [*some.pair, np.random.default_rng(5).normal(size=some.a.shape).astype(np.float32)]


@pytest.fixture(scope="module")
def matrix(three: list[NDArray[Any]], tmp_path_factory: pytest.TempPathFactory, small_clouds: None) -> MatrixResult:
    out = tmp_path_factory.mktemp("matrix") / "out"
    return ss.compare_many(three, **SETTINGS, sigma=3.0, rounds=1, out=out)


def what(result: Any) -> list[dict[str, Any]]:
    """What is said of groups, but for where they are."""
    return [{name: value for name, value in vars(one).items() if name != "_result"} for one in result.groups]


def test_every_pair_has_its_groups(matrix: MatrixResult, some: Planted) -> None:
    found = {pair: [one for one in matrix.pair(*pair).groups if one.certified] for pair in PAIRS}
    assert [[one.grouped_by for one in found[pair]] for pair in PAIRS] == [["A", "A", "B"], ["A", "A"], ["A"]]
    assert set(found["one", "three"][0].rows()) == set(some.truth[0])
    assert set(found["two", "three"][0].rows()) == set(some.truth[2])
    assert [pair["groups"] for pair in matrix.pairs] == [
        [{**one, "group": number} for number, one in enumerate(what(matrix.pair(*pair)))] for pair in PAIRS
    ]


@pytest.mark.parametrize("pair", PAIRS[:2])
def test_they_are_those_of_a_comparison_of_the_two(
    matrix: MatrixResult, three: list[NDArray[Any]], pair: tuple[str, str]
) -> None:
    two = [three[SETTINGS["names"].index(name)] for name in pair]
    alone = ss.compare(*two, **{**SETTINGS, "names": pair}, sigma=(3.0, 3.0), certify=0)
    of_matrix = matrix.pair(*pair)
    assert [one.core for one in of_matrix.groups] == [one.core for one in alone.groups]
    assert [one.size for one in of_matrix.groups] == [one.size for one in alone.groups]
    for here, there in zip(of_matrix.groups, alone.groups, strict=True):
        np.testing.assert_array_equal(here.rows(), there.rows())
        assert here.top(5).equals(there.top(5))
        assert here.contrast == pytest.approx(there.contrast, abs=1e-9)


def test_a_pair_says_what_it_is(matrix: MatrixResult) -> None:
    pair = matrix.pair("three", "one")
    assert (pair.a, pair.b, pair.looked_for_groups) == ("one", "three", True)
    assert pair.spec_diff == matrix.spec_diff.loc["one", "three"]
    assert [one.mode for one in pair.modes] == list(range(len(pair.modes)))
    assert pair.groups_to_pandas()["size"].tolist() == [one.size for one in pair.groups]
    with pytest.raises(OptionError, match="no pair"):
        matrix.pair("one", "four")


def test_groups_are_not_looked_for_unasked(three: list[NDArray[Any]]) -> None:
    found = ss.compare_many(three[:2], **{**SETTINGS, "names": ["one", "two"]}, sigma=3.0)
    assert [pair["groups"] for pair in found.pairs] == [None]
    assert found.pair("one", "two").groups == []
    assert not found.pair("one", "two").looked_for_groups
    assert "groups" not in {step["name"] for step in found.summary["plan"]["steps"]}


def test_further_rounds_are_of_a_pair_by_itself(three: list[NDArray[Any]]) -> None:
    with pytest.raises(OptionError, match="--rounds 2 does not go with a matrix"):
        ss.compare_many(three, **SETTINGS, rounds=2)


def test_a_matrix_of_before_has_no_groups(matrix: MatrixResult, tmp_path: Path) -> None:
    place = tmp_path / "before"
    place.mkdir()
    for path in Path(str(matrix.path)).iterdir():
        (place / path.name).symlink_to(path)
    summary = json.loads((place / "summary.json").read_text())
    (place / "summary.json").unlink()
    for pair in summary["pairs"]:
        del pair["groups"]
    (place / "summary.json").write_text(json.dumps({**summary, "schema_version": "matrix 1"}))
    assert not open_matrix(place).pair("one", "two").looked_for_groups
    (place / "summary.json").write_text(json.dumps({**summary, "schema_version": "matrix 3"}))
    with pytest.raises(InputError, match="this version reads matrix 1 and matrix 2"):
        open_matrix(place)


def test_damage_is_told(matrix: MatrixResult, tmp_path: Path) -> None:
    place = tmp_path / "damaged"
    place.mkdir()
    for path in Path(str(matrix.path)).iterdir():
        if path.name != "members_0_1.parquet":
            (place / path.name).symlink_to(path)
    (place / "members_0_1.parquet").write_bytes(b"nothing")
    found = open_matrix(place)
    with pytest.raises(InputError, match=r"members_0_1\.parquet"):
        found.pair("one", "two").groups[0].top()
    assert len(found.pair("one", "three").groups[0].top(3)) == 3
    summary = json.loads((place / "summary.json").read_text())
    summary["pairs"][1]["groups"][0]["size"] = 901
    (place / "summary.json").unlink()
    (place / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match=r"pairs\[1\]\.groups\[0\]\.size cannot be"):
        open_matrix(place)


@pytest.mark.slow
def test_an_interrupted_matrix_goes_on(
    three: list[NDArray[Any]], matrix: MatrixResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise Interruption

    settings = {**SETTINGS, "sigma": 3.0, "rounds": 1, "out": tmp_path / "out"}
    with monkeypatch.context() as broken:
        broken.setattr("specscale.method.matrix_writer.MatrixWriter.members", stop)
        with pytest.raises(Interruption):
            ss.compare_many(three, **settings, executor=LocalExecutor(Threads(1), patience=0))
    events: list[Event] = []
    found = ss.compare_many(three, **settings, resume=True, progress=events.append)
    assert {one.done for one in events if isinstance(one, PassStarted)} == {900}
    assert [pair["groups"] for pair in found.pairs] == [pair["groups"] for pair in matrix.pairs]


@pytest.mark.slow
def test_ids_and_columns_of_members_are_those_of_the_first(three: list[NDArray[Any]], tmp_path: Path) -> None:
    names = [str(tmp_path / f"{name}.zarr") for name in SETTINGS["names"]]
    for name, x in zip(names, three, strict=True):
        np.save(f"{name}.npy", x)
        Path(f"{name}.csv").write_text("\n".join(["id", *map(str, range(0, 2700, 3))]))
        ingest(f"{name}.npy", name, metadata=f"{name}.csv", id_column="id")
    found = ss.compare_many(names, **SETTINGS, sigma=3.0, rounds=1, out=tmp_path / "out")
    group = open_matrix(tmp_path / "out").pair("two", "three").groups[0]
    np.testing.assert_array_equal(group.ids(), group.rows() * 3)
    assert (group.top(5)["id"].astype(int) == group.top(5)["row"] * 3).all()
    assert found.pair("two", "three").groups[0].size == group.size


@pytest.mark.cluster
@pytest.mark.slow
def test_workers_find_the_groups_of_one_process(
    three: list[NDArray[Any]], matrix: MatrixResult, tmp_path: Path
) -> None:
    settings = {**SETTINGS, "sigma": 3.0, "rounds": 1, "out": tmp_path / "out"}
    with local_cluster(2) as client:
        found = ss.compare_many(three, **{**settings, "threads": None}, executor=client)
    assert [pair["groups"] for pair in found.pairs] == [pair["groups"] for pair in matrix.pairs]


@pytest.mark.slow
def test_the_command_names_groups(
    three: list[NDArray[Any]], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, x in zip(SETTINGS["names"], three, strict=True):
        np.save(here / f"{name}.npy", x)
    options = ["--size", "80", "--modes", "3", "--sigma", "3.0", "--rounds", "1", "-o", "out"]
    assert command(monkeypatch, "matrix", "one.npy", "two.npy", "three.npy", *options) == 0
    said = capsys.readouterr().out
    sizes = [one.size for one in open_matrix(here / "out").pair("one", "two").groups if one.certified]
    assert f"  A's groups: {sizes[0]}, {sizes[1]} rows\n" in said
    assert f"  B's groups: {sizes[2]} rows\n" in said
