"""Many embeddings at once: every pair is what a comparison of the two alone gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interruptions import Interruption
from numpy.typing import NDArray
from oracle import cosine_kernel, difference
from PIL import Image

import specscale as ss
from specscale.cli.app import app
from specscale.errors import (
    ChangedError,
    ExistsError,
    InputError,
    OptionError,
    PairingError,
    PlanError,
    SpecscaleError,
)
from specscale.features.kernel import ExactKernel
from specscale.features.landmarks import LandmarkMap
from specscale.kernels.base import load_kernels
from specscale.method import sizing
from specscale.method.matrix_writer import _clustered
from specscale.method.options import Options
from specscale.pictures.plots import plot_matrix
from specscale.results.matrix import MatrixResult
from specscale.runtime.events import Event, PassStarted, RowsDone, Stage
from specscale.runtime.local import LocalExecutor
from specscale.runtime.machine import Crew
from specscale.runtime.threads import Threads
from specscale.spectral.tiles import TiledSymmetric

pytestmark = pytest.mark.usefixtures("one_blas_thread")

Array = NDArray[Any]
MakePair = Callable[..., tuple[Array, Array]]
MakeStore = Callable[..., Path]

SMALL: dict[str, Any] = {"size": 40, "n_modes": 3, "top": 10}


def embeddings(make_pair: MakePair, n: int) -> list[Array]:
    """Three embeddings of the same samples, of which each sees other groups."""
    a, b = make_pair(n, 7, 5)
    c = np.concatenate([a[:, :2] + b[:, :2], b[:, 2:]], axis=1)
    return [a, b, c]


def many(inputs: list[Any], **options: Any) -> MatrixResult:
    return ss.compare_many(inputs, **{**SMALL, **options})


def check_pairs(result: MatrixResult, inputs: list[Any], **options: Any) -> None:
    """Hold every pair against the comparison of the two alone."""
    sigma = options.pop("sigma", ("auto",) * len(inputs))
    for (i, j), pair in zip(combinations(range(len(inputs)), 2), result.pairs, strict=True):
        alone = ss.compare(inputs[i], inputs[j], certify=0, sigma=(sigma[i], sigma[j]), **{**SMALL, **options})
        assert (pair["a"], pair["b"]) == (result.names[i], result.names[j])
        assert pair["spec_diff"] == pytest.approx(alone.spec_diff, rel=1e-5)
        assert len(pair["modes"]) == len(alone.modes) > 0
        for found, mode in zip(pair["modes"], alone.modes, strict=True):
            assert (found["mode"], found["grouped_by"]) == (mode.mode, mode.grouped_by)
            for name in ("eigenvalue", "a", "b", "se", "effective_size"):
                # Of nearly equal a and b the difference is known to the rounding of float32 alone.
                assert found[name] == pytest.approx(getattr(mode, name), rel=2e-4, abs=2e-8), name
            assert found["eigenvalue"] == pytest.approx(mode.eigenvalue, rel=1e-5, abs=1e-8)
        members, others = result.members(), alone.members()
        members = members[(members["a"] == pair["a"]) & (members["b"] == pair["b"])].reset_index(drop=True)
        assert members[["mode", "tail", "rank", "row"]].equals(others[["mode", "tail", "rank", "row"]])
        np.testing.assert_allclose(members["score"], others["score"], atol=1e-5)


def files_of(result: MatrixResult) -> dict[str, bytes]:
    """What a result says about the samples, file by file."""
    names = [
        *sorted(result.path.glob("spec.zarr/**/*")),
        *(result.path / name for name in ("modes.parquet", "maps.json", "matrix.png")),
    ]
    return {str(name.relative_to(result.path)): name.read_bytes() for name in names if name.is_file()}


# --- every pair


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"features": "orthogonal", "sigma": (2.0, "median", "top=0.2"), "seed": 3},
        {"eta": 0.4, "normalize": "unit", "sample": 500},
        {"kernel": "cosine", "size": None},
    ],
    ids=["landmarks", "orthogonal", "weight and directions", "cosine"],
)
@pytest.mark.slow
def test_every_pair_is_the_comparison_of_the_two(make_pair: MakePair, options: dict[str, Any]) -> None:
    inputs = embeddings(make_pair, 900)
    check_pairs(many(inputs, **options), inputs, **options)


@pytest.mark.slow
def test_two_embeddings_are_their_comparison_to_the_last_bit(make_pair: MakePair) -> None:
    inputs = embeddings(make_pair, 900)[:2]
    result, alone = many(inputs), ss.compare(*inputs, certify=0, **SMALL)
    assert result.pairs[0]["modes"] == alone.summary["modes"]
    assert result.covariance[:].tobytes() == alone.covariance[:].tobytes()
    assert result.coefficients("A", "B")[:].tobytes() == alone.coefficients[:].tobytes()


def test_pairs_are_those_of_the_exact_cosine_matrices(make_pair: MakePair) -> None:
    inputs = embeddings(make_pair, 300)
    result = many(inputs, kernel="cosine", size=None, eta=0.7)
    for (a, b), pair in zip(combinations(inputs, 2), result.pairs, strict=True):
        values = np.linalg.eigvalsh(difference(cosine_kernel(a), cosine_kernel(b), 0.7))
        found = [mode["eigenvalue"] for mode in pair["modes"]]
        np.testing.assert_allclose(found, [*values[::-1][:3], *values[:3]], rtol=1e-4, atol=1e-7)
        assert pair["spec_diff"] == pytest.approx(np.abs(values).max(), rel=1e-4)


@pytest.mark.slow
def test_the_coefficients_of_a_pair_solve_its_part_of_the_covariance(make_pair: MakePair) -> None:
    result = many(embeddings(make_pair, 600))
    C, widths = result.covariance[:], [one["dimension"] for one in json.loads((result.path / "maps.json").read_text())]
    edges = np.cumsum([0, *widths])
    for (i, j), (a, b) in zip(combinations(range(3), 2), combinations("ABC", 2), strict=True):
        z = result.coefficients(b, a)[:]
        chosen = np.r_[edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
        part, signs = C[np.ix_(chosen, chosen)], np.repeat([1.0, -1.0], [widths[i], widths[j]])
        values = [mode.eigenvalue for mode in result._pair(a, b).modes]
        np.testing.assert_allclose(z.T @ part @ z, np.eye(len(values)), atol=1e-6)
        np.testing.assert_allclose(z.T @ part @ (signs[:, None] * (part @ z)), np.diag(values), atol=1e-7)


@pytest.mark.slow
def test_copies_of_one_embedding_do_not_differ(make_pair: MakePair, make_store: MakeStore) -> None:
    a, b, _ = embeddings(make_pair, 600)
    store = make_store("one", a)
    result = many([store, b, store, store], names=None)
    assert result.names == ["one (A)", "B", "one (C)", "one (D)"]
    table = result.spec_diff
    assert (table.to_numpy() == table.to_numpy().T).all()
    assert table.loc["one (A)", "one (C)"] == table.loc["one (C)", "one (D)"] == 0
    assert table.loc["one (A)", "B"] == pytest.approx(table.loc["B", "one (D)"], rel=1e-5)
    assert table.loc["one (A)", "B"] > 0.01
    assert result.top("B", "one (A)", 0, 2).shape[0] == 4


@pytest.mark.slow
def test_embeddings_that_all_agree_have_no_modes(make_pair: MakePair, capsys: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", embeddings(make_pair, 300)[0])
    one = str(tmp_path / "one.npy")
    app(["matrix", one, one, "-o", str(tmp_path / "out"), "--size", "30"], standalone_mode=False)
    assert "no mode" in capsys.readouterr().out
    result = ss.open_matrix(tmp_path / "out")
    assert (len(result.members()), len(result.to_pandas()), result.spec_diff.to_numpy().max()) == (0, 0, 0)


# --- rows


@pytest.mark.slow
def test_rows_are_paired_by_id_across_three_stores(make_pair: MakePair, make_store: MakeStore) -> None:
    n = 700
    arrays = embeddings(make_pair, n)
    generator = np.random.default_rng(0)
    present = [np.arange(50, n), generator.permutation(n - 30), generator.permutation(np.arange(20, n))]
    stores = [
        make_store(f"s{i}", x[rows], ids=[f"x{row}" for row in rows])
        for i, (x, rows) in enumerate(zip(arrays, present, strict=True))
    ]
    result = many(stores)
    aligned = many([x[50 : n - 30] for x in arrays], names=result.names)
    for one, other in zip(result.pairs, aligned.pairs, strict=True):
        assert one["spec_diff"] == pytest.approx(other["spec_diff"], rel=1e-5)
    members = result.members()
    assert members["row"].tolist() == aligned.members()["row"].tolist()
    assert members["id"].tolist() == [f"x{row + 50}" for row in members["row"]]
    rows = result.summary["rows"]
    assert [rows[name] for name in ("total", "compared", "matched", "only_a", "only_b")] == [650, 620, 620, 30, 110]
    assert rows["matched_by"] == "id"


@pytest.mark.slow
def test_members_carry_the_columns_of_the_first_store(make_pair: MakePair, make_store: MakeStore) -> None:
    arrays = embeddings(make_pair, 300)
    store = make_store("first", arrays[0], columns={"text": [f"text {i}" for i in range(300)]})
    result = many([store, *arrays[1:]], names=["x", "y", "z"])
    members = result.top("z", "y", 1, 3, "-")
    assert members["rank"].tolist() == [1, 2, 3]
    assert members["text"].tolist() == [f"text {row}" for row in members["row"]]
    lines = result.to_pandas()
    assert len(lines) == sum(len(pair["modes"]) for pair in result.pairs)
    assert lines.loc[0, ["embedding_a", "embedding_b", "mode"]].tolist() == ["x", "y", 0]


@pytest.mark.slow
def test_rows_without_a_direction_are_left_out_of_all(make_pair: MakePair) -> None:
    arrays = embeddings(make_pair, 400)
    arrays[1][7], arrays[2][11] = 0, 0
    with pytest.raises(InputError, match="row 7 is of zero norm"):
        many(arrays, kernel="cosine", size=None)
    result = many(arrays, kernel="cosine", size=None, on_bad="drop")
    rest = np.delete(np.arange(400), [7, 11])
    aligned = many([x[rest] for x in arrays], kernel="cosine", size=None)
    assert [p["spec_diff"] for p in result.pairs] == pytest.approx([p["spec_diff"] for p in aligned.pairs], rel=1e-5)
    assert result.summary["rows"]["dropped"] == 2


# --- what is refused


def test_rows_that_cannot_be_paired_are_one_line(make_store: MakeStore) -> None:
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    named = {name: make_store(name, x, ids=list(name)) for name in ("abcdef", "efghij", "abxyzw")}
    with pytest.raises(PairingError, match=r"no id is in all of .*abcdef.*efghij.*abxyzw"):
        many(list(named.values()), size=2, min_matched=0.1)
    with pytest.raises(PairingError, match=r"no id of .*efghij.*is among those of .*abxyzw"):
        many([named["efghij"], named["abcdef"], named["abxyzw"]], size=2, min_matched=0.1)
    with pytest.raises(PairingError, match=r"has ids and C has none: ingest C"):
        many([named["abcdef"], named["abcdef"], x], size=2)
    with pytest.raises(PairingError, match=r"6 rows and C has 5"):
        many([x, x, x[:5]], size=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": "exact", "size": None}, "--features exact does not go with a matrix"),
        ({"sigma": ("auto", 2.0)}, "--sigma is one rule or one for each of the 3"),
        ({"sigma": "wide"}, "--sigma is auto"),
        ({"sigma": (1.0, 2.0, -1.0)}, "--sigma -1.0"),
        ({"names": ["x", "y"]}, "names are 3 different ones"),
        ({"names": ["x", "y", "x"]}, "names are 3 different ones"),
        ({"eta": -1}, "--eta"),
        ({"size": 301}, "--size 301: more landmarks than the 300 rows"),
        ({"memory": "20M"}, "--memory"),
    ],
)
def test_illegal_options_are_one_line(
    make_pair: MakePair, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecscaleError, match=message) as caught:
        many(embeddings(make_pair, 300), out=tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, 1])
def test_less_than_two_embeddings_are_refused(make_pair: MakePair, count: int) -> None:
    with pytest.raises(OptionError, match=f"at least two embeddings, not {count}"):
        many(embeddings(make_pair, 20)[:count])
    with pytest.raises(OptionError, match="at least two embeddings, not 1"):
        ss.compare_many("a.zarr")  # type: ignore[arg-type]


def test_a_plan_that_does_not_fit_names_what_would(make_pair: MakePair) -> None:
    inputs = embeddings(make_pair, 3000)
    with pytest.raises(PlanError, match=r"--memory allows.*--(size \d+ brings|memory \d+M)"):
        many(inputs, size=3000, memory="700M")


def test_the_other_kind_of_result_is_one_line(make_pair: MakePair, tmp_path: Path, run_cli: Any) -> None:
    inputs = embeddings(make_pair, 200)
    many(inputs, out=tmp_path / "m")
    ss.compare(*inputs[:2], out=tmp_path / "c", certify=0, **SMALL)
    with pytest.raises(InputError, match="result of `specscale compare`, not of matrix"):
        ss.open_matrix(tmp_path / "c")
    with pytest.raises(InputError, match="matrix"):
        ss.open_result(tmp_path / "m")
    with pytest.raises(InputError, match="no result of `specscale matrix`"):
        ss.open_matrix(tmp_path / "nowhere")
    with pytest.raises(OptionError, match="'A' and 'Z' are no pair"):
        ss.open_matrix(tmp_path / "m").top("A", "Z", 0)
    with pytest.raises(OptionError, match="no mode 99"):
        ss.open_matrix(tmp_path / "m").top("A", "B", 99)
    done = run_cli("modes", tmp_path / "m")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "matrix" in done.stderr


def test_damaged_results_are_named(make_pair: MakePair, tmp_path: Path) -> None:
    many(embeddings(make_pair, 200), out=tmp_path / "m")
    (tmp_path / "m" / "modes.parquet").write_bytes(b"?")
    with pytest.raises(InputError, match=r"modes\.parquet.*again"):
        ss.open_matrix(tmp_path / "m").members()
    summary = json.loads((tmp_path / "m" / "summary.json").read_text())
    for damaged, message in (
        ("[", "damaged"),
        ("[]", "summary.json: damaged: run"),
        (json.dumps({**summary, "schema_version": "matrix 9"}), "matrix 9"),
    ):
        (tmp_path / "m" / "summary.json").write_text(damaged)
        with pytest.raises(InputError, match=message):
            ss.open_matrix(tmp_path / "m")
    del summary["pairs"]
    (tmp_path / "m" / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match="pairs is not there"):
        ss.open_matrix(tmp_path / "m")


# --- a cluster


class Crewed(LocalExecutor):
    """This process, as a cluster whose workers may hold so many bytes."""

    def __init__(self, memory: int) -> None:
        super().__init__(Threads(1))
        self._memory = memory

    @property
    def crew(self) -> Crew:  # type: ignore[override]
        return Crew(2, 1, self._memory)


@pytest.mark.slow
def test_a_matrix_keeps_within_the_memory_of_the_workers(make_pair: MakePair, tmp_path: Path) -> None:
    inputs, options = embeddings(make_pair, 300), {"features": "orthogonal", "size": None, "sigma": 2.0}
    free = many(inputs, **options).summary["plan"]
    allowed = free["memory"]["peak"] - (32 << 20)
    told = many(inputs, executor=Crewed(allowed), **options).summary
    assert told["plan"]["workers"]["count"] == 2
    assert told["plan"]["memory"]["allowed"] == allowed
    assert told["plan"]["memory"]["peak"] <= allowed
    assert told["maps"]["size"] < 1000
    with pytest.raises(PlanError, match=r"--memory allows.*--size \d+ brings it under") as caught:
        many(inputs, executor=Crewed(allowed), **{**options, "size": 1000}, out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    with pytest.raises(PlanError, match="--memory"):
        many(inputs, executor=Crewed(64 << 20), out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_plan_of_a_matrix_says_what_its_workers_take(make_pair: MakePair) -> None:
    result = many(embeddings(make_pair, 300), executor=Crewed(1 << 40))
    for step in result.summary["plan"]["steps"]:
        if step["name"] in ("covariance", "scores"):
            assert 0 < step["partial"] < step["worker_memory"] <= step["memory"]
        else:
            assert step["partial"] == step["worker_memory"] == 0
    [scores] = (step for step in result.summary["plan"]["steps"] if step["name"] == "scores")
    k, top = 2 * 3 * SMALL["n_modes"], SMALL["top"]
    assert scores["partial"] == 8 * (4 * k + 4 * k * top)


# --- runs


def interrupted_after(events: int) -> Callable[[Event], None]:
    countdown = iter(range(events))

    def progress(event: Event) -> None:
        if next(countdown, None) is None:
            raise Interruption

    return progress


def interruptions(inputs: list[Any], out: Path) -> Iterator[int]:
    """Interrupt the run at every third event, as long as there is one to be interrupted at."""
    for events in range(0, 100, 3):
        shutil.rmtree(out.with_name(out.name + ".work"), ignore_errors=True)
        try:
            many(inputs, out=out, progress=interrupted_after(events))
        except Interruption:
            yield events
        else:
            shutil.rmtree(out)
            return


@pytest.mark.slow
def test_a_run_interrupted_anywhere_goes_on_to_the_same_files(make_pair: MakePair, tmp_path: Path) -> None:
    inputs = embeddings(make_pair, 300)
    expected = files_of(many(inputs))
    points = 0
    for _ in interruptions(inputs, tmp_path / "out"):
        points += 1
        assert not (tmp_path / "out").exists()
        assert files_of(many(inputs, out=tmp_path / "out", resume=True)) == expected
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        shutil.rmtree(tmp_path / "out")
    assert points > 3


@pytest.mark.slow
def test_other_inputs_cannot_go_on_and_results_are_replaced_when_asked(make_pair: MakePair, tmp_path: Path) -> None:
    inputs, out = embeddings(make_pair, 300), tmp_path / "out"

    def stop(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "scores":
            raise Interruption

    with pytest.raises(Interruption):
        many(inputs, out=out, progress=stop)
    with pytest.raises(ExistsError, match="--resume"):
        many(inputs, out=out)
    with pytest.raises(ChangedError, match="digest of embedding C"):
        many([*inputs[:2], inputs[2] + 1], out=out, resume=True)
    with pytest.raises(ChangedError, match="names"):
        many(inputs, names=list("XYZ"), out=out, resume=True)
    first = files_of(many(inputs, out=out, resume=True))
    with pytest.raises(ExistsError, match="--overwrite"):
        many(inputs, out=out)
    assert files_of(many(inputs, out=out, seed=1, overwrite=True)) != first
    assert files_of(many(inputs, out=out, overwrite=True)) == first


@pytest.mark.slow
def test_the_number_of_threads_does_not_change_a_bit(make_pair: MakePair) -> None:
    inputs = embeddings(make_pair, 9000)
    one, three = (many(inputs, size=90, sigma=2.0, threads=threads) for threads in (1, 3))
    assert files_of(one) == files_of(three)
    assert one.summary["pairs"] == three.summary["pairs"]


@pytest.mark.slow
def test_every_row_is_read_twice_however_many_pairs_there_are(make_pair: MakePair) -> None:
    events: list[Event] = []
    many([*embeddings(make_pair, 2000), *embeddings(make_pair, 2000)], size=16, progress=events.append)
    assert [event.name for event in events if isinstance(event, PassStarted)] == ["covariance", "scores"]
    assert sum(event.rows for event in events if isinstance(event, RowsDone)) == 2 * 2000


def test_a_temporary_result_goes_with_its_object(make_pair: MakePair) -> None:
    result = many(embeddings(make_pair, 100))
    place = result.path.parent
    assert place.exists()
    del result
    assert not place.exists()


@pytest.mark.slow
def test_the_summary_says_what_was_compared(make_pair: MakePair, tmp_path: Path) -> None:
    result = many(embeddings(make_pair, 300), out=tmp_path / "out", names=["x", "y", "z"], eta=0.5)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary == result.summary
    assert list(summary["inputs"]) == list(summary["bandwidths"]) == ["x", "y", "z"]
    assert summary["options"]["eta"] == 0.5
    assert sorted(summary["order"]) == ["x", "y", "z"]
    assert summary["maps"]["dimension"] == result.covariance.shape[0]
    assert {"pairing", "bandwidth", "covariance", "solve", "scores"} <= set(summary["measured"]["seconds"])
    planned = {step["name"] for step in summary["plan"]["steps"]}
    assert {"covariance", "solve", "scores"} <= planned
    assert "certificate" not in planned
    assert repr(result) == f"<MatrixResult {tmp_path / 'out'}: 3 pairs of x, y, z>"


# --- the command


def test_the_command_prints_the_table_and_each_pair(
    make_pair: MakePair, make_store: MakeStore, run_cli: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    stores = [make_store(name, x) for name, x in zip("xyz", embeddings(make_pair, 300), strict=True)]
    done = run_cli(
        "matrix", *stores, "-o", "out", "--size", "40", "--modes", "2", "--sigma", "2", "--sigma", "2", "--sigma", "1.5"
    )
    assert done.returncode == 0, done.stderr
    result = ss.open_matrix(tmp_path / "out")
    table = result.spec_diff
    for a, b in combinations("xyz", 2):
        assert f"{a} (A) against {b} (B): SPEC-diff {table.loc[a, b]:.4f}" in done.stdout
        mode = result._pair(a, b).modes[0]
        assert f"{mode.eigenvalue:+.5f} ± {mode.se:.5f}" in done.stdout
    assert [one["sigma"] for one in result.summary["bandwidths"].values()] == [2, 2, 1.5]


@pytest.mark.slow
def test_the_command_prints_one_object_or_nothing(make_pair: MakePair, capsys: Any, tmp_path: Path) -> None:
    paths = []
    for name, x in zip("xyz", embeddings(make_pair, 300), strict=True):
        np.save(tmp_path / f"{name}.npy", x)
        paths.append(str(tmp_path / f"{name}.npy"))
    command = ["matrix", *paths, "-o", str(tmp_path / "out"), "--size", "40", "--modes", "2"]
    app([*command, "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == ss.open_matrix(tmp_path / "out").summary
    app([*command, "--quiet", "--overwrite"], standalone_mode=False)
    assert capsys.readouterr().out == ""


# --- the heat map


def test_alike_embeddings_are_neighbours_in_the_heat_map() -> None:
    place = np.array([0.0, 5.0, 0.2, 5.3, 0.4, 5.1])
    order = _clustered(np.abs(place[:, None] - place))
    assert np.array_equal(np.sort(order), np.arange(6))
    along = place[order]
    assert (np.diff(along) > 0).all() or (np.diff(along) < 0).all()


@pytest.mark.slow
def test_the_picture_is_a_square_of_cells_in_the_order_of_the_summary(make_pair: MakePair) -> None:
    result = many([*embeddings(make_pair, 300), embeddings(make_pair, 300)[0]])
    order = result.summary["order"]
    assert abs(order.index("A") - order.index("D")) == 1  # the same embedding twice
    with Image.open(result.path / "matrix.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 400


@pytest.mark.slow
def test_pictures_grow_with_the_embeddings_and_take_any_name(tmp_path: Path) -> None:
    sizes = []
    for count in (2, 12):
        names = [f"${'x' * 50}_{i}^" for i in range(count)]
        with Image.open(plot_matrix(names, np.zeros((count, count)), tmp_path / f"{count}.png")) as picture:
            sizes.append(picture.size[1])
    assert sizes[1] > 2 * sizes[0]


# --- parts


@given(d=st.integers(2, 1500), cuts=st.lists(st.floats(0, 1), min_size=4, max_size=4), seed=st.integers(0, 9))
def test_parts_of_a_tiled_matrix_are_parts_of_the_matrix(d: int, cuts: list[float], seed: int) -> None:
    a, b, c, e = sorted(int(cut * d) for cut in cuts)
    half = np.random.default_rng(seed).standard_normal((d, 1))
    matrix = half * half.T + np.diag(np.arange(d))
    ranges = [slice(c, e), slice(a, b)]
    if b - a + e - c == 0:
        return
    chosen = np.r_[c:e, a:b]
    assert np.array_equal(TiledSymmetric.from_dense(matrix).sub(ranges).dense(), matrix[np.ix_(chosen, chosen)])


@pytest.mark.slow
def test_the_landmarks_of_many_embeddings_are_judged_by_their_pairs(make_pair: MakePair) -> None:
    kernels = load_kernels("cpu")
    arrays = embeddings(make_pair, 500) * 2
    positions, landmarks = np.arange(500), np.arange(0, 500, 20)
    exact = tuple(ExactKernel(np.zeros(x.shape[1]), False, 2.0 + 0.1 * i) for i, x in enumerate(arrays))
    maps = tuple(LandmarkMap.of(one, landmarks, x[landmarks]) for one, x in zip(exact, arrays, strict=True))
    options = Options(n_modes=3)

    def captured(chosen: list[int]) -> float:
        parts = [[of[i] for i in chosen] for of in (exact, maps, arrays)]
        found = sizing._captured(tuple(parts[0]), tuple(parts[1]), options, (positions, tuple(parts[2])), kernels)[0]
        assert found is not None
        return found

    three = [captured(list(pair)) for pair in combinations(range(3), 2)]
    assert len(set(three)) == 3
    assert captured([0, 1, 2]) == np.mean(three)
    assert captured(list(range(6))) == np.mean([captured([i, i + 1]) for i in range(5)])
