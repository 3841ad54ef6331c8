"""Comparisons that go on from an earlier result after rows were appended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from clusters import assert_same
from conftest import structured
from numpy.typing import NDArray

import specscale as ss
import specscale.runtime.spans as spans_module
from specscale.errors import ChangedError, InputError, OptionError
from specscale.method.result import Result
from specscale.method.update import compare_grown
from specscale.places import publication
from specscale.places.files import Location, exists, located, move
from specscale.runtime.checkpoints import NodeFolder
from specscale.runtime.cluster.connecting import local_cluster
from specscale.runtime.events import Event, PassStarted
from specscale.stores.ingest import ingest

CHUNK = 32_768
SETTINGS: dict[str, Any] = {"size": 30, "certify": 40, "top": 20}


@pytest.fixture(autouse=True)
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans_module, "_MOST_CHUNKS", 1)


@pytest.fixture(scope="module")
def arrays() -> tuple[NDArray[Any], NDArray[Any]]:
    return structured(6 * CHUNK + 77, 6, 5)


def first(arrays: tuple[NDArray[Any], NDArray[Any]], n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    return arrays[0][:n], arrays[1][:n]


def without_parts(result: Result, path: Path) -> Result:
    """The same result, from which a comparison of more rows has to start afresh, with its maps alone."""
    shutil.copytree(str(result.path), path)
    shutil.rmtree(path / "parts", ignore_errors=True)
    return ss.open_result(path)


def computed(events: list[Event]) -> int:
    """Rows that the covariance pass computed."""
    (begun,) = (event for event in events if isinstance(event, PassStarted) and event.name == "covariance")
    return begun.rows - begun.done


@pytest.mark.parametrize(
    ("settings", "before", "after"),
    [
        ({}, CHUNK - 5, 2 * CHUNK),
        ({}, 3 * CHUNK, 5 * CHUNK + 9),
        ({"features": "orthogonal"}, 3 * CHUNK + 1, 4 * CHUNK),
        ({"kernel": "cosine", "size": None}, 2 * CHUNK, 3 * CHUNK + 1),
        ({"rotate": "varimax"}, CHUNK + 1, 2 * CHUNK - 1),
    ],
)
@pytest.mark.slow
def test_an_update_is_the_comparison_of_all_rows_with_the_same_maps(
    arrays: tuple[NDArray[Any], NDArray[Any]], tmp_path: Path, settings: dict[str, Any], before: int, after: int
) -> None:
    earlier = ss.compare(*first(arrays, before), out=tmp_path / "earlier", **{**SETTINGS, **settings})
    events: list[Event] = []
    grown = compare_grown(earlier, *first(arrays, after), out=tmp_path / "grown", progress=events.append)
    assert computed(events) == after - before // CHUNK * CHUNK
    full = compare_grown(without_parts(earlier, tmp_path / "bare"), *first(arrays, after), out=tmp_path / "full")
    assert_same(grown, full)
    assert grown.summary["maps"] == earlier.summary["maps"]
    assert grown.summary["bandwidths"] == earlier.summary["bandwidths"]
    assert grown.maps == earlier.maps
    assert NodeFolder(grown.parts()).nodes() == NodeFolder(full.parts()).nodes()


@pytest.mark.cluster
def test_updates_follow_one_another(arrays: tuple[NDArray[Any], NDArray[Any]], tmp_path: Path) -> None:
    """Also where the middle one has no new full span, and where they run on a cluster."""
    result = ss.compare(*first(arrays, CHUNK + 10), out=tmp_path / "0", **SETTINGS)
    bare = without_parts(result, tmp_path / "bare")
    with local_cluster(1) as client:
        for step, n in enumerate((CHUNK + 90, 4 * CHUNK + 1, 6 * CHUNK)):
            result = compare_grown(
                result, *first(arrays, n), out=tmp_path / f"{step + 1}", executor=client if step else None
            )
    assert_same(result, compare_grown(bare, *first(arrays, 6 * CHUNK), out=tmp_path / "full"))


@pytest.mark.slow
def test_an_update_may_replace_its_result(arrays: tuple[NDArray[Any], NDArray[Any]], tmp_path: Path) -> None:
    earlier = ss.compare(*first(arrays, CHUNK), out=tmp_path / "out", **SETTINGS)
    bare = without_parts(earlier, tmp_path / "bare")
    grown = compare_grown(earlier, *first(arrays, 2 * CHUNK), out=tmp_path / "out", overwrite=True)
    assert_same(grown, compare_grown(bare, *first(arrays, 2 * CHUNK), out=tmp_path / "full"))
    assert ss.open_result(tmp_path / "out").summary["rows"]["total"] == 2 * CHUNK


@pytest.mark.slow
def test_an_interrupted_update_is_resumed(arrays: tuple[NDArray[Any], NDArray[Any]], tmp_path: Path) -> None:
    earlier = ss.compare(*first(arrays, 2 * CHUNK), out=tmp_path / "out", **SETTINGS)

    class Enough(Exception):
        pass

    def stop(event: Event) -> None:
        if isinstance(event, PassStarted) and event.name == "scores":
            raise Enough

    with pytest.raises(Enough):
        compare_grown(earlier, *first(arrays, 5 * CHUNK), out=tmp_path / "grown", progress=stop)
    grown = compare_grown(earlier, *first(arrays, 5 * CHUNK), out=tmp_path / "grown", resume=True)
    assert_same(
        grown,
        compare_grown(without_parts(earlier, tmp_path / "bare"), *first(arrays, 5 * CHUNK), out=tmp_path / "full"),
    )


@pytest.mark.slow
def test_rows_that_are_left_out_stay_out(arrays: tuple[NDArray[Any], NDArray[Any]], tmp_path: Path) -> None:
    a, b = (array.copy() for array in arrays)
    a[[5, CHUNK + 3, 4 * CHUNK]] = np.nan
    b[[70, 3 * CHUNK + 1]] = 0
    options = {**SETTINGS, "on_bad": "drop", "normalize": "unit"}
    earlier = ss.compare(*first((a, b), 3 * CHUNK + 5), out=tmp_path / "earlier", **options)
    events: list[Event] = []
    grown = compare_grown(earlier, a, b, out=tmp_path / "grown", progress=events.append)
    assert computed(events) == len(a) - 3 * CHUNK
    assert grown.summary["rows"]["dropped"] == 5
    assert_same(grown, compare_grown(without_parts(earlier, tmp_path / "bare"), a, b, out=tmp_path / "full"))


@pytest.mark.slow
def test_rows_that_are_not_the_same_are_refused(arrays: tuple[NDArray[Any], NDArray[Any]], tmp_path: Path) -> None:
    a, b = first(arrays, 2 * CHUNK)
    earlier = ss.compare(*first(arrays, CHUNK + 4), out=tmp_path / "earlier", **SETTINGS)
    changed = a.copy()
    changed[CHUNK + 3] += 1
    for pair in ((changed, b), (a, b[:, :4]), (a[: CHUNK + 3], b[: CHUNK + 3]), (b, a)):
        with pytest.raises(ChangedError, match="does not begin with the 32,772 rows that were compared"):
            compare_grown(earlier, *pair, out=tmp_path / "grown")
    changed = a.copy()
    changed[CHUNK + 4] += 1  # the first new one
    compare_grown(earlier, changed, b, out=tmp_path / "grown")
    sampled = ss.compare(a, b, sample=5000, out=tmp_path / "sampled", **SETTINGS)
    with pytest.raises(OptionError, match="compares a sample of its rows"):
        compare_grown(sampled, a, b)
    exact = ss.compare(a[:300], b[:300], features="exact", certify=0, out=tmp_path / "exact")
    with pytest.raises(OptionError, match="no covariance to go on from"):
        compare_grown(exact, a, b)
    (part,) = (earlier.path / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"the partial sum 0-0\.node is damaged or gone"):
        compare_grown(earlier, a, b)


def test_appending_and_updating_on_the_command_line(
    arrays: tuple[NDArray[Any], NDArray[Any]], tmp_path: Path, run_cli: Callable[..., CompletedProcess[str]]
) -> None:
    n = CHUNK + 1000
    for name, array in zip("ab", arrays, strict=True):
        np.save(tmp_path / f"{name}-old.npy", array[:n])
        np.save(tmp_path / f"{name}-new.npy", array[n : 2 * CHUNK])
        ingest(tmp_path / f"{name}-old.npy", tmp_path / f"{name}.zarr")
    stores = [str(tmp_path / f"{name}.zarr") for name in "ab"]
    out = str(tmp_path / "out.spec")
    done = run_cli("compare", *stores, "-o", out, "--size", "30", "--certify", "40", "--quiet")
    assert done.returncode == 0, done.stderr
    for name in "ab":
        done = run_cli("ingest", str(tmp_path / f"{name}-new.npy"), str(tmp_path / f"{name}.zarr"), "--append")
        assert done.returncode == 0, done.stderr
    refused = run_cli("compare", *stores, "--update", out, "--size", "31")
    assert refused.returncode == 1
    assert "keeps the options of that result, whose --size is 30" in refused.stderr
    done = run_cli("compare", *stores, "--update", out, "--size", "30", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"]["total"] == 2 * CHUNK
    refused = run_cli("compare", *stores, "--update", str(tmp_path / "none"))
    assert refused.returncode == 1
    assert "no result of" in refused.stderr


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else str(request.getfixturevalue("s3"))


def test_an_update_that_is_killed_while_it_replaces_its_result_is_finished_by_the_same_command(
    arrays: tuple[NDArray[Any], NDArray[Any]],
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_cli: Callable[..., CompletedProcess[str]],
) -> None:
    monkeypatch.setattr(spans_module, "_MOST_CHUNKS", 8)  # as in the process of the command
    stores = [tmp_path / f"{name}.zarr" for name in "ab"]
    for store, array in zip(stores, first(arrays, 2 * CHUNK), strict=True):
        np.save(tmp_path / "rows.npy", array)
        ingest(tmp_path / "rows.npy", store)
    out = f"{place}/out.spec"
    earlier = ss.compare(*first(arrays, CHUNK + 9), out=out, **SETTINGS)
    expected = compare_grown(earlier, *map(str, stores), out=tmp_path / "expected")
    with monkeypatch.context() as patch:

        def stop(*arguments: Any, **options: Any) -> None:
            raise KeyboardInterrupt

        def stop_at_the_second(source: Location, target: Location, **options: Any) -> None:
            patch.setattr(publication, "move", stop)
            move(source, target, **options)

        patch.setattr(publication, "move", stop_at_the_second)
        patch.setattr(publication, "copy_tree", stop)
        with pytest.raises(KeyboardInterrupt):
            compare_grown(earlier, *map(str, stores), out=out, overwrite=True)
    with pytest.raises(InputError, match="no result"):
        ss.open_result(out)
    done = run_cli("compare", *map(str, stores), "--update", out, "--resume", "--quiet")
    assert done.returncode == 0, done.stderr
    assert_same(ss.open_result(out), expected)
    assert not exists(located(f"{out}.work"))


@pytest.mark.slow
def test_the_earlier_result_is_only_read(arrays: tuple[NDArray[Any], NDArray[Any]], tmp_path: Path) -> None:
    earlier = ss.compare(*first(arrays, 500), out=tmp_path / "earlier", **SETTINGS)
    before = sorted(Path(earlier.path).rglob("*"))
    compare_grown(earlier, *first(arrays, 600), out=tmp_path / "grown")
    assert sorted(Path(earlier.path).rglob("*")) == before
