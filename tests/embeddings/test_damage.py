"""Damage is noticed: in a store wherever its rows are read from first to last, in the scores of a run that goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import command, structured
from numpy.typing import NDArray

import specscale as ss
import specscale.method.preparation as preparation_module
import specscale.runtime.spans as spans_module
from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.duplicates import find_duplicates
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import InputError, PairingError
from specscale.method.result import Result
from specscale.method.update import compare_grown
from specscale.places.files import located
from specscale.results.score_array import ScoreArray
from specscale.runtime.checkpoints import load_arrays, save_arrays
from specscale.runtime.cluster.connecting import local_cluster
from specscale.runtime.events import Event, PassFinished, PassStarted
from specscale.runtime.local import LocalExecutor
from specscale.runtime.threads import Threads

P = 4
N = 2 * CHUNK_ROWS + 300
SETTINGS: dict[str, Any] = {"size": 20, "n_modes": 2, "top": 5, "certify": 20, "rounds": 0}
LINE = r"^{0}: rows \d+ to \d+ are damaged, .*: ingest the embedding again with --overwrite$"

Spoil = Callable[[Path], object]


@pytest.fixture(autouse=True, scope="module")
def short_spans() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans_module, "_MOST_CHUNKS", 1)
        yield


@pytest.fixture(scope="module")
def arrays() -> tuple[NDArray[Any], NDArray[Any]]:
    return structured(N + 500, P, P)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, arrays: tuple[NDArray[Any], NDArray[Any]]) -> Path:
    """Two stores, a small one of each type, and the result of comparing the first two."""
    folder = tmp_path_factory.mktemp("made")
    for name, array in zip("ab", arrays, strict=True):
        ss.ingest(array[:N], folder / f"{name}.zarr")
    for dtype in ("float16", "float32"):
        ss.ingest(arrays[0][:N], folder / f"{dtype}.zarr", dtype=dtype)
    ss.compare(str(folder / "a.zarr"), str(folder / "b.zarr"), out=folder / "earlier", **SETTINGS)
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `made` to damage, in which the test is."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    summary = json.loads(Path("earlier/summary.json").read_text())
    for which in "ab":
        summary["inputs"][which]["source"] = str(Path(f"{which}.zarr").absolute())
    Path("earlier/summary.json").write_text(json.dumps(summary))
    return tmp_path / "here"


# --- stores


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_flipped_bit_is_noticed(here: Path, dtype: str) -> None:
    generator = np.random.default_rng(0)
    row = P * np.dtype(dtype).itemsize
    for _ in range(40):
        number = int(generator.integers(N * row))
        path = here / f"{dtype}.zarr/features/c/{number // (CHUNK_ROWS * row)}/0"
        whole = path.read_bytes()
        content = bytearray(whole)
        content[number % (CHUNK_ROWS * row)] ^= 1 << int(generator.integers(8))
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"rows {number // row // CHUNK_ROWS * CHUNK_ROWS} to"):
            find_duplicates(EmbeddingStore(here / f"{dtype}.zarr"))
        path.write_bytes(whole)
    find_duplicates(EmbeddingStore(here / f"{dtype}.zarr"))


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def zeroed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4000:8000] = bytes(4000)
    path.write_bytes(content)


def cut_and_extended(path: Path) -> None:
    size = path.stat().st_size
    os.truncate(path, size - 1000)
    os.truncate(path, size)


def shifted(path: Path) -> None:
    """By one row, but for the first, whose norm tells."""
    row = 4 * P
    content = path.read_bytes()
    path.write_bytes(content[:row] + content[:-row])


def swapped(path: Path) -> None:
    other = path.parents[1] / "1" / "0"
    whole = other.read_bytes()
    # With the first rows where they were, whose norms tell.
    other.write_bytes(whole[: 4 * P] + path.read_bytes()[4 * P :])
    path.write_bytes(path.read_bytes()[: 4 * P] + whole[4 * P :])


def grown(arrays: tuple[NDArray[Any], NDArray[Any]]) -> Result:
    """Rows are appended, as by somebody before the damage, and the result is brought up to date."""
    chunk = Path("a.zarr/features/c/0/0")
    damaged = chunk.read_bytes()
    chunk.write_bytes(Path("whole").read_bytes())
    second = Path("a.zarr/features/c/1/0")
    also = second.read_bytes()
    second.write_bytes(Path("second").read_bytes())
    for name, array in zip("ab", arrays, strict=True):
        ss.ingest(array[N:], f"{name}.zarr", append=True)
    chunk.write_bytes(damaged)
    second.write_bytes(also)
    return compare_grown(ss.open_result("earlier"), "a.zarr", "b.zarr", out="new")


COMMANDS: dict[str, Callable[[tuple[NDArray[Any], NDArray[Any]]], object]] = {
    "compare": lambda _: ss.compare("a.zarr", "b.zarr", out="new", **SETTINGS),
    "compare, the other way round": lambda _: ss.compare("b.zarr", "a.zarr", out="new", **SETTINGS),
    "a sample": lambda _: ss.compare("a.zarr", "b.zarr", sample=500, out="new", **SETTINGS),
    "matrix": lambda _: ss.compare_many(["b.zarr", "a.zarr"], out="new", size=20, n_modes=2),
    "append": lambda arrays: ss.ingest(arrays[0][:10], "a.zarr", append=True),
    "update": grown,
    "another eta": lambda _: ss.open_result("earlier").with_eta(2.0, out="new"),
}
DAMAGE: dict[str, Spoil] = {one.__name__: one for one in (flipped, zeroed, cut_and_extended, shifted, swapped)}
CASES = [("compare", one) for one in DAMAGE] + [
    (name, one) for name in list(COMMANDS)[1:] for one in ("flipped", "swapped")
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "damage"), CASES)
def test_no_mode_is_found_in_damaged_rows(
    here: Path, arrays: tuple[NDArray[Any], NDArray[Any]], name: str, damage: str
) -> None:
    shutil.copy("a.zarr/features/c/0/0", "whole")
    shutil.copy("a.zarr/features/c/1/0", "second")
    DAMAGE[damage](here / "a.zarr/features/c/0/0")
    ss.open_embedding("a.zarr").check()  # type: ignore[union-attr]
    with pytest.raises(InputError, match=LINE.format(r".*a\.zarr")):
        COMMANDS[name](arrays)
    assert not (here / "new").exists()
    assert not list(here.glob("*.partial"))


def test_rows_that_are_written_in_another_order_are_verified(
    here: Path, arrays: tuple[NDArray[Any], NDArray[Any]]
) -> None:
    order = np.random.default_rng(0).permutation(N)
    for name, rows, ids in (("c", arrays[0][:N], np.arange(N)), ("keyed", arrays[1][:N][order], order)):
        pq.write_table(pa.table({"id": ids}), f"{name}.parquet")
        ss.ingest(rows, f"{name}.zarr", metadata=f"{name}.parquet", id_column="id")
    zeroed(here / "keyed.zarr/features/c/1/0")
    with pytest.raises(InputError, match=LINE.format(r"keyed\.zarr")):
        ss.compare("c.zarr", "keyed.zarr", out="new", **SETTINGS)


@pytest.mark.slow
def test_the_passes_verify_where_nobody_looks_for_repeated_rows(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation_module, "MOST_ROWS", 100)
    chunk = here / "b.zarr/features/c/1/0"
    whole = chunk.read_bytes()
    flipped(chunk)
    for resume in (False, True):
        with pytest.raises(InputError, match=LINE.format(r".*b\.zarr")):
            ss.compare("a.zarr", "b.zarr", out="new", resume=resume, **SETTINGS)
        assert not Path("new").exists()
    chunk.write_bytes(whole)  # no checkpoint was made of the damaged span
    found = ss.compare("a.zarr", "b.zarr", out="new", resume=True, **SETTINGS)
    np.testing.assert_array_equal(found.scores[:], ss.open_result("earlier").scores[:])


@pytest.mark.parametrize("file", ["features/c/1/0", "features/c/2/0"])
def test_rows_are_appended_to_whole_stores_alone(
    here: Path, arrays: tuple[NDArray[Any], NDArray[Any]], file: str
) -> None:
    path = here / "a.zarr" / file
    content = bytearray(path.read_bytes())
    content[300 * P * 4 - 1] ^= 64  # in the last row of the chunk that is not full
    path.write_bytes(content)
    before = {one: one.read_bytes() for one in Path("a.zarr").rglob("*") if one.is_file()}
    with pytest.raises(InputError, match=LINE.format(r"a\.zarr")):
        ss.ingest(arrays[0][:10], "a.zarr", append=True)
    assert {one: one.read_bytes() for one in Path("a.zarr").rglob("*") if one.is_file()} == before


@pytest.mark.slow
def test_norms_are_verified(here: Path) -> None:
    path = here / "a.zarr/norms/c/1"
    norms = np.frombuffer(path.read_bytes(), "<f4").copy()
    for wrong in (np.nan, 0, 1.01 * norms[77]):
        spoilt = norms.copy()
        spoilt[77] = wrong
        path.write_bytes(spoilt.tobytes())
        for on_bad in ("error", "drop"):
            with pytest.raises(InputError, match="norm"):
                ss.compare("a.zarr", "b.zarr", out="new", on_bad=on_bad, **SETTINGS)


def attributes(change: Callable[[dict[str, Any]], object]) -> Spoil:
    def spoil(path: Path) -> None:
        metadata = json.loads((path / "zarr.json").read_text())
        change(metadata["attributes"]["specscale"])
        (path / "zarr.json").write_text(json.dumps(metadata))

    return spoil


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["chunk_digests"].reverse(),
        lambda one: one["chunk_digests"].pop(),
        lambda one: one["chunk_digests"].clear(),
        lambda one: one["chunk_digests"].append(one["chunk_digests"][0]),
        lambda one: one.update(chunk_digests=7),
        lambda one: one.update(chunk_digests=["x", None, {}]),
        lambda one: one.update(digest=one["chunk_digests"][0]),
    ],
)
def test_digests_must_go_together(here: Path, change: Callable[[dict[str, Any]], object]) -> None:
    attributes(change)(here / "a.zarr")
    with pytest.raises(
        InputError, match=r"a\.zarr/zarr\.json: damaged, (its digests contradict one another|chunk_digests cannot be)"
    ):
        ss.open_embedding("a.zarr")


@pytest.mark.slow
def test_a_store_of_an_earlier_version_is_compared_as_ever(here: Path) -> None:
    attributes(lambda one: one.pop("chunk_digests"))(here / "a.zarr")
    found = ss.compare("a.zarr", "b.zarr", **SETTINGS)
    np.testing.assert_array_equal(found.scores[:], ss.open_result("earlier").scores[:])


def test_the_samples_columns_have_checksums(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    table = pa.table({"id": [f"x{i:05}" for i in range(3000)], "text": [f"{i * i} of {i}" for i in range(3000)]})
    pq.write_table(table, tmp_path / "m.parquet")
    ss.ingest(structured(3000, P)[0], tmp_path / "s.zarr", metadata=tmp_path / "m.parquet", id_column="id")
    path = tmp_path / "s.zarr/rows.parquet"
    whole = path.read_bytes()
    pages = pq.read_metadata(path).row_group(0).column(1)
    end = pages.dictionary_page_offset + pages.total_compressed_size
    noticed = 0
    for _ in range(60):
        content = bytearray(whole)
        content[int(generator.integers(4, end))] ^= 1 << int(generator.integers(8))
        path.write_bytes(content)
        try:
            found = EmbeddingStore(tmp_path / "s.zarr").rows(range(3000))
        except InputError:
            noticed += 1
            continue
        assert found is not None
        assert found.equals(table)  # in a header, a field that nobody reads
    assert noticed > 50


def test_dropped_rows_have_a_digest(tmp_path: Path) -> None:
    a, b = structured(4000, P, P)
    a[np.arange(0, 4000, 9)] = np.nan
    ss.ingest(a, tmp_path / "a.zarr", on_bad="drop")
    path = tmp_path / "a.zarr/dropped_rows/c/0"
    numbers = np.frombuffer(path.read_bytes(), "<i8").copy()
    numbers[200] += 1  # still ascending: the rows in between would be paired with their neighbours
    path.write_bytes(numbers.tobytes())
    with pytest.raises(InputError, match=r"a\.zarr/dropped_rows: damaged"):
        ss.compare(tmp_path / "a.zarr", b, **SETTINGS)


def test_a_store_is_checked_on_demand(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "info", "a.zarr", "--check", "--json") == 0
    assert json.loads(capsys.readouterr().out)["checked"] is True
    flipped(here / "a.zarr/features/c/1/0")
    assert command(monkeypatch, "info", "a.zarr") == 0
    assert command(monkeypatch, "info", "a.zarr", "--check") == 1
    assert "a.zarr: rows 32768 to 65535 are damaged" in capsys.readouterr().err
    attributes(lambda one: one.pop("chunk_digests"))(here / "a.zarr")
    assert command(monkeypatch, "info", "a.zarr", "--check") == 0
    assert "a store of an earlier version" in capsys.readouterr().out


@pytest.mark.parametrize("array", ["covariance", "landmarks_a", "whitening_b"])
@pytest.mark.slow
def test_the_arrays_of_a_result_have_checksums(here: Path, array: str) -> None:
    (chunk,) = (here / "earlier/spec.zarr" / array / "c").glob("*/*")
    content = bytearray(chunk.read_bytes())
    content[8 * (len(content) // 24) + 3] ^= 1
    chunk.write_bytes(content)
    result = ss.open_result("earlier")
    with pytest.raises(InputError, match=r"earlier: the array .* is damaged or gone: run the comparison again"):
        result.with_eta(2.0)
    result.members()


def test_eigenvalues_are_verified_when_they_are_read(here: Path) -> None:
    flipped(here / "earlier/spec.zarr/eigenvalues/c/0")
    with pytest.raises(InputError, match="earlier: the array eigenvalues is damaged or gone: run the comparison again"):
        _ = ss.open_result("earlier").eigenvalues


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.slow
def test_a_flipped_bandwidth_is_noticed(here: Path, old: bool) -> None:
    """One bit makes another digit; without a checksum the summary tells."""
    path = here / "earlier/maps.json"
    content = path.read_bytes()
    digit = content.index(b'"sigma": ') + len(b'"sigma": ')
    path.write_bytes(content[:digit] + bytes([content[digit] ^ 1]) + content[digit + 1 :])
    if old:
        summary = json.loads(Path("earlier/summary.json").read_text())
        del summary["checksums"]
        Path("earlier/summary.json").write_text(json.dumps(summary))
    what = r"\[0\]\.sigma cannot be" if old else r"maps\.json is damaged or gone"
    result = ss.open_result("earlier")
    with pytest.raises(InputError, match=f"{what}: run the comparison again"):
        result.with_eta(2.0)
    with pytest.raises(InputError, match=f"{what}: run the comparison again"):
        compare_grown(result, "a.zarr", "b.zarr", out="grown")
    assert not Path("grown").exists()
    path.write_bytes(content)
    result.with_eta(2.0)


# --- scores


OPTIONS: dict[str, dict[str, Any]] = {
    "no certificate": {**SETTINGS, "certify": 0},
    "certified": SETTINGS,
    "known scores": {**SETTINGS, "refine": 1, "certify": 0},
}
LOSSES: dict[str, Spoil] = {
    "removed": Path.unlink,
    "cut": lambda path: os.truncate(path, 100),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "flipped": flipped,
}


def started(events: list[Event]) -> list[int]:
    """The rows that were done when the scores pass began, each time."""
    return [event.done for event in events if isinstance(event, PassStarted) and event.name == "scores"]


def stopped_after(name: str, options: dict[str, Any], *inputs: Any, out: Any = "out") -> None:
    """A run that is killed as soon as a pass has ended."""

    def stop(event: Event) -> None:
        if isinstance(event, PassFinished) and event.name == name:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ss.compare(*inputs, out=out, progress=stop, executor=LocalExecutor(Threads(1), patience=0), **options)


@pytest.fixture(scope="module")
def few() -> tuple[ArrayEmbedding, ArrayEmbedding]:
    """Arrays of several chunks, of which a sample is compared."""
    a, b = structured(2 * CHUNK_ROWS + 300, P, P)
    return ArrayEmbedding(a), ArrayEmbedding(b)


@pytest.fixture(scope="module")
def expected(few: tuple[ArrayEmbedding, ArrayEmbedding]) -> dict[str, Result]:
    return {name: ss.compare(*few, sample=2000, **options) for name, options in OPTIONS.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "loss"),
    [*(("no certificate", one) for one in LOSSES), ("certified", "zeroed"), ("known scores", "removed")],
)
def test_scores_that_are_gone_are_made_anew(
    here: Path, few: tuple[ArrayEmbedding, ArrayEmbedding], expected: dict[str, Result], name: str, loss: str
) -> None:
    options = {**OPTIONS[name], "sample": 2000}
    stopped_after("certificate" if options["certify"] else "scores", options, *few)
    (chunk,) = here.glob("out.work/*/result/spec.zarr/scores/c/1/0")
    LOSSES[loss](chunk)
    events: list[Event] = []
    found = ss.compare(*few, out="out", resume=True, progress=events.append, **options)
    assert started(events) == [N, 0]
    np.testing.assert_array_equal(found.scores[:], expected[name].scores[:])
    assert [vars(one) | {"_result": None} for one in found.modes] == [
        vars(one) | {"_result": None} for one in expected[name].modes
    ]


@pytest.mark.slow
def test_scores_that_are_whole_are_taken_up(
    here: Path, few: tuple[ArrayEmbedding, ArrayEmbedding], expected: dict[str, Result]
) -> None:
    options = {**OPTIONS["no certificate"], "sample": 2000}
    stopped_after("scores", options, *few)
    events: list[Event] = []
    found = ss.compare(*few, out="out", resume=True, progress=events.append, **options)
    assert started(events) == [N]
    np.testing.assert_array_equal(found.scores[:], expected["no certificate"].scores[:])


@pytest.mark.slow
def test_checkpoints_without_checksums_vouch_for_nothing(
    here: Path, few: tuple[ArrayEmbedding, ArrayEmbedding], expected: dict[str, Result]
) -> None:
    options = {**OPTIONS["no certificate"], "sample": 2000}
    stopped_after("scores", options, *few)
    for node in here.glob("out.work/*/scores/*.node"):
        arrays = load_arrays(located(node))
        assert arrays is not None
        del arrays["checksums"]
        save_arrays(located(node), arrays)
    events: list[Event] = []
    found = ss.compare(*few, out="out", resume=True, progress=events.append, **options)
    assert started(events) == [N, 0]
    np.testing.assert_array_equal(found.scores[:], expected["no certificate"].scores[:])


@pytest.mark.slow
def test_scores_that_a_disk_does_not_keep_are_an_error(
    here: Path, few: tuple[ArrayEmbedding, ArrayEmbedding], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ScoreArray.write
    monkeypatch.setattr(ScoreArray, "write", lambda self, start, scores: write(self, start, 0 * scores))
    with pytest.raises(InputError, match="the scores cannot be read back as they were written"):
        ss.compare(*few, out="out", sample=2000, **OPTIONS["no certificate"])
    assert not Path("out").exists()


@pytest.mark.cluster
def test_workers_say_what_they_wrote(here: Path) -> None:
    events: list[Event] = []
    with local_cluster(1) as client:
        found = ss.compare("a.zarr", "b.zarr", out="out", executor=client, progress=events.append, **SETTINGS)
    assert started(events) == [0]
    np.testing.assert_array_equal(found.scores[:], ss.open_result("earlier").scores[:])


def test_scores_in_an_object_store(s3: str, few: tuple[ArrayEmbedding, ArrayEmbedding]) -> None:
    options = {**OPTIONS["no certificate"], "sample": 2000}
    out = f"{s3}/out"
    stopped_after("scores", options, *few, out=out)
    work = located(f"{s3}/out.work")
    chunks = [path for path in work.fs.find(work.path) if path.endswith("/result/spec.zarr/scores/c/1/0")]  # type: ignore[union-attr]
    assert len(chunks) == 1
    work.fs.rm_file(chunks[0])  # type: ignore[union-attr]
    events: list[Event] = []
    found = ss.compare(*few, out=out, resume=True, progress=events.append, **options)
    assert started(events) == [N, 0]
    assert np.isfinite(found.scores[:]).all(axis=1).sum() == 2000


def test_pairs_by_dropped_rows_are_refused_where_these_are_not_known(tmp_path: Path) -> None:
    a, b = structured(4000, P, P)
    a[np.arange(0, 4000, 9)] = np.nan
    ss.ingest(a, tmp_path / "a.zarr", on_bad="drop")
    shutil.rmtree(tmp_path / "a.zarr/dropped_rows")
    with pytest.raises((InputError, PairingError), match="dropped"):
        ss.compare(tmp_path / "a.zarr", b, **SETTINGS)
