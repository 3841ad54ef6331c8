"""Results and work directories on any file system: the same bytes, whole or not there, and killed runs that go on."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from conftest import Pair, structured
from numpy.typing import NDArray
from s3server import s3_server

import specscale as ss
import specscale.results.workplace as workplace_module
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.errors import ChangedError, ExistsError, InputError, OptionError
from specscale.places.claim import claim_folder
from specscale.places.files import Location, exists, located, remove_tree, write_whole, zarr_store
from specscale.results.score_array import ScoreArray
from specscale.results.workplace import Workplace
from specscale.results.writing import ResultWriter
from specscale.runtime.checkpoints import save_arrays
from specscale.spectral.lanczos import VectorModes
from specscale.stores.ingest import ingest

Run = Callable[..., subprocess.CompletedProcess[str]]
OPTIONS: dict[str, Any] = {"size": 30, "n_modes": 2, "sigma": (1.5, 1.5), "certify": 50, "top": 20}
FILES = {"spec.zarr/scores/c/0/0": "12", "modes.parquet": "3"}


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """An empty folder."""
    if request.param == "local":
        (tmp_path / "place").mkdir()
        return tmp_path / "place"
    return located(str(request.getfixturevalue("s3")))


def files_in(folder: Location) -> dict[str, bytes]:
    """The bytes of all files in a folder."""
    if isinstance(folder, Path):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = folder.fs.find(folder.path)
    return {path.removeprefix(f"{folder.path}/"): folder.fs.cat_file(path) for path in found}


def put(file: Location, text: str) -> None:
    if isinstance(file, Path):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, text.encode())


def written(run: Workplace, text: str) -> Location:
    """A result of some files, in the work directory."""
    for name, content in {**FILES, "summary.json": text}.items():
        put(run.folder / "result" / name, content)
    return run.folder / "result"


def finished(run: Workplace, text: str = "{}") -> None:
    run.claim({"a": 1})
    run.publish(written(run, text))


def as_files(text: str) -> dict[str, bytes]:
    return {name: content.encode() for name, content in {**FILES, "summary.json": text}.items()}


# --- the work directory


def test_a_result_appears_and_nothing_else_stays(place: Location) -> None:
    run = Workplace(place / "out")
    assert str(run.work) == f"{place / 'out'}.work"
    finished(run)
    assert files_in(place / "out") == as_files("{}")
    assert set(files_in(place)) == {f"out/{name}" for name in as_files("")}
    run.leave()
    assert set(files_in(place)) == {f"out/{name}" for name in as_files("")}


def test_urls_are_taken_as_text(s3: str) -> None:
    finished(Workplace(f"{s3}/out/"))
    assert files_in(located(f"{s3}/out")) == as_files("{}")


def test_an_existing_result_is_only_replaced_when_asked(place: Location) -> None:
    finished(Workplace(place / "out"), "old")
    put(place / "out" / "parts" / "0-0.node", "of the old one")
    with pytest.raises(ExistsError, match="out exists: choose another OUT, or replace it with --overwrite"):
        Workplace(place / "out")
    run = Workplace(place / "out", overwrite=True)
    assert files_in(place / "out")["summary.json"] == b"old"
    finished(run, "new")
    assert files_in(place / "out") == as_files("new")
    assert not exists(place / "out.work")


@pytest.mark.parametrize("name", ["out", "out/thesis.tex"])
def test_what_is_not_a_result_is_never_replaced(place: Location, name: str) -> None:
    put(place / name, "mine")
    for overwrite in (False, True):
        with pytest.raises(ExistsError, match="out exists"):
            Workplace(place / "out", overwrite=overwrite)
    assert files_in(place) == {name: b"mine"}


def test_what_is_in_the_way_of_the_work_stays(place: Location) -> None:
    put(place / "out.work" / "thesis.tex", "mine")
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(ExistsError, match="in the way"):
            Workplace(place / "out", **options)
    assert files_in(place) == {"out.work/thesis.tex": b"mine"}


def test_what_appears_at_out_during_the_work_stays_and_so_does_the_work(place: Location) -> None:
    run = Workplace(place / "out")
    run.claim({"a": 1})
    result = written(run, "mine")
    put(place / "out" / "summary.json", "of another")
    with pytest.raises(ExistsError, match=r"out exists.*the work is kept in .*out\.work, and --resume finishes it"):
        run.publish(result)
    run.leave()
    assert files_in(place / "out") == {"summary.json": b"of another"}
    remove_tree(place / "out")
    again = Workplace(place / "out", resume=True)
    again.publish(again.folder / "result")
    assert files_in(place / "out") == as_files("mine")


def test_a_run_goes_on_in_its_folder_and_a_new_one_has_its_own(place: Location) -> None:
    run = Workplace(place / "out")
    run.claim({"eta": 1.0, "seed": 0})
    put(run.folder / "covariance" / "0-0.node", "partial")
    run.leave()
    with pytest.raises(ExistsError, match="holds an interrupted run: continue it with --resume"):
        Workplace(place / "out")
    again = Workplace(place / "out", resume=True)
    again.claim({"seed": 0, "eta": 1.0})
    assert again.folder == run.folder
    assert files_in(again.folder) == {"covariance/0-0.node": b"partial"}
    again.leave()
    afresh = Workplace(place / "out", overwrite=True)
    assert afresh.folder != run.folder
    put(run.folder / "covariance" / "1-0.node", "of a task of the dead run")
    assert files_in(afresh.folder) == {}
    finished(afresh, "new")
    assert set(files_in(place)) == {f"out/{name}" for name in as_files("")}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"token": "../../out", "eta": 1.0}', "\xff"])
def test_a_run_that_says_nothing_of_itself_is_not_taken_up(place: Location, text: str) -> None:
    run = Workplace(place / "out")
    put(run.work / "run.json", text)
    put(run.folder / "partial", "1")
    run.leave()
    again = Workplace(place / "out", resume=True)
    assert again.folder.parent == run.folder.parent
    assert again.folder != run.folder
    assert set(files_in(again.work)) == {"lock"}
    again.leave()
    assert files_in(place) == {}


def test_other_options_cannot_continue_a_run(place: Location) -> None:
    run = Workplace(place / "out")
    run.claim({"eta": 1.0})
    run.leave()
    before = files_in(place / "out.work")["run.json"]
    again = Workplace(place / "out", resume=True)
    with pytest.raises(ChangedError, match=r"begun with eta 1\.0, now it is 2\.0.*--overwrite alone"):
        again.claim({"eta": 2.0})
    again.leave()
    assert files_in(place / "out.work")["run.json"] == before


def test_a_run_that_failed_before_it_began_leaves_nothing(place: Location) -> None:
    run = Workplace(place / "out")
    put(run.folder / "a.zarr" / "zarr.json", "{}")
    run.leave()
    assert files_in(place) == {}
    assert not exists(place / "out.work")


def test_two_runs_do_not_share_a_place(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workplace_module, "claim_folder", partial(claim_folder, renewal=0.1, patience=5))
    first = Workplace(place / "out")
    first.claim({})
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(ExistsError, match="another process is at work"):
            Workplace(place / "out", **options)
    assert exists(first.work / "run.json")
    first.leave()
    Workplace(place / "out", resume=True).leave()


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_whose_work_was_taken_over_touches_nothing_more(s3: str, begun: bool) -> None:
    run = Workplace(f"{s3}/out")
    if begun:
        run.claim({"a": 1})
    result = written(run, "{}")
    put(run.work / "lock", json.dumps({"owner": "another", "host": "elsewhere", "pid": 1}))
    before = files_in(located(s3))
    with pytest.raises(ChangedError, match="process 1 on elsewhere"):
        run.claim({"a": 1})
    with pytest.raises(ChangedError, match="process 1 on elsewhere"):
        run.publish(result)
    run.leave()
    assert files_in(located(s3)) == before


@pytest.mark.parametrize("out", ["", "/", "/../no-such-bucket/out.spec"])
def test_a_place_that_cannot_be_is_named(s3: str, out: str) -> None:
    bucket = s3.rpartition("/")[0]
    with pytest.raises(OptionError, match="no-such-bucket" if "no-such" in out else "a name of its own"):
        Workplace("s3://no-such-bucket/out.spec" if "no-such" in out else bucket + out)
    assert "no-such-bucket" not in located(s3).fs.ls("")


# --- a run that is killed while its result is copied into place


class Killed(BaseException):
    """What a kill does, here where it can be watched."""


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the process, as it were, before one of the requests that copy or remove a file."""
    fs = located("s3://any/where").fs  # one for all places
    copy, remove = fs.cp_file, fs.rm_file
    steps = count()

    def one_by_one(request: Any, *paths: str) -> None:
        if next(steps) >= step:
            raise Killed
        request(*paths)

    monkeypatch.setattr(fs, "cp_file", partial(one_by_one, copy))
    monkeypatch.setattr(fs, "rm_file", partial(one_by_one, remove))


@pytest.mark.parametrize("replacing", [False, True])
def test_a_publication_killed_anywhere_shows_nothing_or_all_and_goes_on(
    s3: str, replacing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workplace_module, "claim_folder", partial(claim_folder, renewal=0.02, patience=0.1))
    out = located(f"{s3}/out")
    seen = set()
    for step in count():
        if replacing:
            finished(Workplace(out), "old")
        run = Workplace(out, overwrite=replacing)
        run.claim({"a": 1})
        put(run.folder / "scores" / "0-0.node", "partial")
        result = written(run, "new")
        with pytest.MonkeyPatch.context() as patch:
            killed_at(step, patch)
            try:
                run.publish(result)
            except Killed:
                pass
            else:
                break
        run._release()
        put(run.work / "lock", "of a dead process")
        there = files_in(out)
        summary = there.get("summary.json")
        seen.add((summary, bool(there)))
        if summary == b"new":
            assert there == as_files("new")
            # Its passes may be gone in part: nothing of it is used again.
            again = Workplace(out, resume=True, overwrite=True)
            assert set(files_in(again.work)) <= {"lock", "publishing"}
            marked = "publishing" in files_in(again.work)
            again.claim({"a": 1})
            assert again.done == marked
            if again.done:
                again.leave()
            else:
                again.publish(written(again, "newer"))
        else:
            assert summary is None or there == as_files("old")
            again = Workplace(out, resume=True, overwrite=summary is not None)
            again.claim({"a": 1})
            assert files_in(again.folder) == {
                "scores/0-0.node": b"partial",
                **{f"result/{name}": content for name, content in as_files("new").items()},
            }
            again.publish(again.folder / "result")
            assert files_in(out) == as_files("new")
        assert set(files_in(located(s3))) == {f"out/{name}" for name in as_files("")}
        remove_tree(out)
    assert seen == {(None, True), (b"new", True), (b"old", True) if replacing else (None, False)}


def test_a_half_published_result_goes_with_the_run_that_is_discarded(s3: str) -> None:
    run = Workplace(f"{s3}/out")
    with pytest.MonkeyPatch.context() as patch:
        killed_at(2, patch)
        with pytest.raises(Killed):
            finished(run, "first")
    run._release()
    with pytest.raises(ExistsError, match="interrupted run"):
        Workplace(f"{s3}/out")
    assert files_in(located(f"{s3}/out"))
    again = Workplace(f"{s3}/out", overwrite=True)
    assert files_in(located(f"{s3}/out")) == {}
    again.leave()
    assert files_in(located(s3)) == {}


KILLED = f"""
import os, signal, sys, threading
import numpy as np
import specscale as ss
from specscale.places.files import located

out, files = sys.argv[1], int(sys.argv[2])
fs = located(out).fs
copy = fs.cp_file

one_at_a_time, copied = threading.Lock(), []

def some(old, new):
    with one_at_a_time:
        if len(copied) == files:
            os.kill(os.getpid(), signal.SIGKILL)
        copied.append(copy(old, new))

fs.cp_file = some
ss.compare(np.load("a.npy"), np.load("b.npy"), out=out, **{OPTIONS!r})
"""


def test_a_comparison_killed_while_its_result_is_copied_is_resumed(
    s3: str, pair: Pair, tmp_path: Path, run_python: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, array in zip("ab", pair, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    done = run_python(KILLED, f"{s3}/out", "5")
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(files_in(located(f"{s3}/out"))) == 5
    with pytest.raises(InputError, match="no result of `specscale compare` here"):
        ss.open_result(f"{s3}/out")
    monkeypatch.setattr(workplace_module, "claim_folder", partial(claim_folder, renewal=0.2, patience=0.5))
    found = ss.compare(*pair, out=f"{s3}/out", resume=True, **OPTIONS)
    same(found, ss.compare(*pair, out=tmp_path / "out", **OPTIONS))
    assert not exists(located(f"{s3}/out.work"))


# --- scores that are written by tasks of any process


@pytest.fixture
def modes() -> VectorModes:
    """Modes that are large to send."""
    k = 3
    values = np.linspace(1, 0.5, k)
    return VectorModes(values, values, np.zeros(k), np.ones((10_000, k)), np.zeros(k), 1.0, np.diag(values), 1.0)


def scores_of(rows: slice) -> NDArray[np.float32]:
    return (np.arange(rows.start, rows.stop)[:, None] + np.array([0.0, 0.25, 0.5])).astype(np.float32)


WRITING = """
import pickle, sys
from pathlib import Path
import numpy as np
write, read = pickle.loads(Path(sys.argv[1]).read_bytes())
scores = np.load(sys.argv[2])
write(32768, scores[32768:65536])
write(65536, scores[65536:])
np.save(sys.argv[3], read(32760, len(scores)))
"""


def test_another_process_writes_chunks_of_scores(
    place: Location, tmp_path: Path, modes: VectorModes, run_python: Run
) -> None:
    n = 2 * CHUNK_ROWS + 100
    expected = scores_of(slice(0, n))
    writer = ResultWriter(place, n, modes)
    writer.scores(0, expected[:CHUNK_ROWS])
    functions = pickle.dumps((writer.scores, writer.read_scores))
    assert len(functions) < 1000
    (tmp_path / "functions").write_bytes(functions)
    np.save(tmp_path / "scores.npy", expected)
    done = run_python(WRITING, "functions", "scores.npy", "back.npy")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), expected[32760:])
    np.testing.assert_array_equal(writer.read_scores(0, n), expected)
    chunks = {name for name in files_in(place / "spec.zarr" / "scores") if name.startswith("c/")}
    assert chunks == {"c/0/0", "c/1/0", "c/2/0"}


def test_a_chunk_of_rows_that_take_no_part_is_written_too(place: Location, modes: VectorModes) -> None:
    writer = ResultWriter(place, CHUNK_ROWS + 10, modes)
    writer.scores(0, np.full((CHUNK_ROWS, 3), np.nan, dtype=np.float32))
    assert np.isnan(writer.read_scores(0, CHUNK_ROWS)).all()
    with pytest.raises(InputError, match="missing"):
        writer.read_scores(CHUNK_ROWS, CHUNK_ROWS + 10)


def test_scores_that_were_written_stay(place: Location, modes: VectorModes) -> None:
    ResultWriter(place, 100, modes).scores(0, scores_of(slice(0, 100)))
    again = ResultWriter(place, 100, modes)
    np.testing.assert_array_equal(again.read_scores(0, 100), scores_of(slice(0, 100)))


def test_an_array_is_opened_when_it_is_used(place: Location) -> None:
    array = ScoreArray(place / "spec.zarr")
    group = zarr.open_group(zarr_store(place / "spec.zarr"), mode="a")
    group.create_array("scores", shape=(10, 2), chunks=(10, 2), dtype="f4", compressors=None)
    array.write(0, np.ones((10, 2), dtype=np.float32))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)).read(2, 4), np.ones((2, 2)))


@pytest.mark.slow
def test_a_chunk_of_dropped_rows_is_certified_as_any_other() -> None:
    a, b = structured(2 * CHUNK_ROWS + 100, 6, 5)
    a[CHUNK_ROWS : 2 * CHUNK_ROWS] = np.nan
    found = ss.compare(a, b, on_bad="drop", **OPTIONS)
    assert found.summary["rows"]["compared"] == CHUNK_ROWS + 100
    assert all(mode.certified is not None for mode in found.modes)


# --- whole comparisons


def same(found: ss.Result, expected: ss.Result) -> None:
    """Two results are equal to the byte, but for what was measured."""
    one, other = files_in(found.path), files_in(expected.path)
    one_summary, other_summary = (json.loads(files.pop("summary.json")) for files in (one, other))
    assert one == other
    measured = {"plan", "measured"}
    assert {name: one_summary[name] for name in one_summary.keys() - measured} == {
        name: other_summary[name] for name in other_summary.keys() - measured
    }
    assert one_summary["measured"]["disk"] > 0


@pytest.mark.parametrize(
    "options",
    [{}, {"refine": 1}, {"features": "exact", "size": None}, {"kernel": "cosine", "size": None, "certify": 0}],
    ids=["landmarks", "refined", "exact", "cosine"],
)
def test_a_result_in_an_object_store_is_the_local_one(
    s3: str, tmp_path: Path, pair: Pair, options: dict[str, Any]
) -> None:
    options = {**OPTIONS, **options}
    there = ss.compare(*pair, out=f"{s3}/out", **options)
    here = ss.compare(*pair, out=tmp_path / "out", **options)
    same(there, here)
    again = ss.open_result(f"{s3}/out")
    assert str(again.path) == f"{s3}/out"
    assert f"{s3}/out" in repr(again)
    np.testing.assert_array_equal(again.eigenvalues, here.eigenvalues)
    np.testing.assert_array_equal(again.scores[:], here.scores[:])
    assert again.members().equals(here.members())
    assert again.maps == here.maps
    assert set(files_in(located(s3))) == {f"out/{name}" for name in files_in(here.path)}


def test_a_run_interrupted_anywhere_goes_on_to_the_same_bytes(s3: str, tmp_path: Path, pair: Pair) -> None:
    expected = ss.compare(*pair, out=tmp_path / "out", **OPTIONS)

    def stop_at(last: int) -> Callable[[Any], None]:
        events = count()

        def stop(event: Any) -> None:
            if next(events) == last:
                raise Killed

        return stop

    interrupted = 0
    for last in count(0, 4):
        out = f"{s3}/{last}"
        try:
            ss.compare(*pair, out=out, progress=stop_at(last), **OPTIONS)
        except Killed:
            interrupted += 1
            with pytest.raises(InputError, match="no result"):
                ss.open_result(out)
            same(ss.compare(*pair, out=out, resume=True, **OPTIONS), expected)
        else:
            break
    assert interrupted > 3


def test_a_matrix_in_an_object_store_is_the_local_one(s3: str, tmp_path: Path, pair: Pair) -> None:
    arrays = [*pair, structured(700, 7, 5, seed=1)[0]]
    there = ss.compare_many(arrays, out=f"{s3}/all", size=20, sigma=1.5)
    here = ss.compare_many(arrays, out=tmp_path / "all", size=20, sigma=1.5)
    found, expected = files_in(there.path), files_in(here.path)
    assert {name: found[name] for name in found if name not in ("summary.json", "matrix.png")} == {
        name: expected[name] for name in expected if name not in ("summary.json", "matrix.png")
    }
    assert found["matrix.png"].startswith(b"\x89PNG")
    again = ss.open_matrix(f"{s3}/all")
    assert again.spec_diff.equals(here.spec_diff)
    assert again.top("A", "B", 0, 3).equals(here.top("A", "B", 0, 3))


@pytest.fixture
def compared(s3: str, tmp_path: Path, pair: Pair) -> str:
    """The URL of a comparison of two stores that are in the object store too, A's with texts and labels."""
    columns = {"key": [f"s{i}" for i in range(700)], "text": [f"text {i}" for i in range(700)]}
    labels = ["dog" if x > 0 else "cat" for x in pair[0][:, 0]]
    pq.write_table(pa.table({**columns, "label": labels}), tmp_path / "rows.parquet")
    for name, array in zip("ab", pair, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
        ingest(
            str(tmp_path / f"{name}.npy"),
            str(tmp_path / f"{name}.zarr"),
            metadata=str(tmp_path / "rows.parquet"),
            id_column="key",
        )
        located(s3).fs.put(str(tmp_path / f"{name}.zarr"), f"{s3}/{name}.zarr", recursive=True)
    return str(ss.compare(f"{s3}/a.zarr", f"{s3}/b.zarr", out=f"{s3}/a-b.spec", **OPTIONS).path)


def test_the_commands_read_a_result_by_its_url(s3: str, compared: str, tmp_path: Path, run_cli: Run) -> None:
    local = ss.compare(tmp_path / "a.zarr", tmp_path / "b.zarr", out=tmp_path / "out", **OPTIONS)
    for arguments in (["modes", "--json"], ["modes", "--overlap", "--measures", "--json"]):
        found, expected = (run_cli(arguments[0], out, *arguments[1:]) for out in (compared, local.path))
        assert found.returncode == 0, found.stderr
        assert without_sources(found.stdout) == without_sources(expected.stdout)
    shown = run_cli("modes", compared, "--top", "3")
    assert shown.returncode == 0, shown.stderr
    assert "text " in shown.stdout
    explained = run_cli("explain", compared, "--labels", "label")
    assert explained.returncode == 0, explained.stderr
    assert "cat" in explained.stdout
    wrong = run_cli("explain", compared, "--labels", "colour")
    one_line(wrong, f"{s3}/a.zarr: there is no column 'colour'")


def without_sources(text: str) -> Any:
    """What a command says as JSON, but for where things are."""
    return json.loads(text, object_hook=lambda one: {key: one[key] for key in one if key not in ("source", "path")})


def test_another_weight_and_constrained_groups_are_found_from_a_result_in_an_object_store(
    s3: str, compared: str, tmp_path: Path
) -> None:
    there = ss.open_result(compared)
    here = ss.compare(tmp_path / "a.zarr", tmp_path / "b.zarr", out=tmp_path / "out", **OPTIONS)
    np.testing.assert_array_equal(
        there.with_eta(4.0, out=f"{s3}/eta4.spec").scores[:], here.with_eta(4.0, out=tmp_path / "eta4").scores[:]
    )
    np.testing.assert_array_equal(there.constrained(0.05, 2).eigenvalues, here.constrained(0.05, 2).eigenvalues)
    assert not exists(located(f"{s3}/eta4.spec.work"))


def test_the_parts_of_a_result_are_in_a_folder_of_it(place: Location) -> None:
    run = Workplace(place / "out")
    summary = ss.compare(*structured(300), sigma=(1.5, 1.5), size=20, n_modes=1, certify=0).summary
    result = written(run, json.dumps(summary))
    zarr.open_group(zarr_store(result / "spec.zarr"), mode="w")
    if isinstance(result, Path):
        (result / "parts").mkdir()
    save_arrays(result / "parts" / "3-0.node", {"sum": np.arange(3.0)})
    run.claim({})
    run.publish(result)
    parts = ss.open_result(str(place / "out")).parts()
    assert parts == place / "out" / "parts"
    assert [path.name for path in parts.iterdir()] == ["3-0.node"]


# --- what is not there, or not to be seen


def one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert all(word in lines[0] for word in words), lines[0]


@pytest.mark.parametrize("command", [["modes"], ["explain", "--labels", "label"], ["modes", "--overlap"]])
def test_what_is_no_result_is_one_line(s3: str, run_cli: Run, command: list[str]) -> None:
    one_line(run_cli(command[0], f"{s3}/out", *command[1:]), f"{s3}/out", "no result of `specscale compare` here")


@pytest.mark.parametrize("gone", ["summary.json", "modes.parquet", "maps.json", "spec.zarr"])
def test_a_damaged_result_is_named(s3: str, compared: str, gone: str) -> None:
    remove_tree(located(compared) / gone)
    with pytest.raises(InputError, match=f"{compared}.*({'no result' if 'summary' in gone else gone})"):
        _ = ss.open_result(compared).members(), ss.open_result(compared).maps


def test_without_credentials_one_line_names_them(s3: str, run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    one_line(run_cli("modes", f"{s3}/out"), f"{s3}/out", "credentials in the environment (AWS_ACCESS_KEY_ID")


def test_with_credentials_that_are_not_good_enough_one_line_says_so(
    run_cli: Run, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    monkeypatch.setenv("INITIAL_NO_AUTH_ACTION_COUNT", "1")  # after the bucket is made
    for name, array in zip("ab", pair, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        out = "s3://specscale-test/out"
        for arguments in (["modes", out], ["compare", "a.npy", "b.npy", "-o", out]):
            one_line(run_cli(*arguments), out, "cannot be reached", "credentials in the environment")
