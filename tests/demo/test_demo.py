"""The demonstrations, from the command line and as functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import command
from PIL import Image
from sklearn.datasets import load_digits

from specscale.cli.findings import sentence_of
from specscale.demo import planted
from specscale.demo.digits import gradient_histograms, tone_histograms
from specscale.demo.place import Demo
from specscale.demo.planted import GROUPS, Batch, check, draw_batches, run_planted
from specscale.demo.text import collect_docstrings, run_text
from specscale.errors import InputError, OptionError, SpecscaleError
from specscale.insight.found import found_groups
from specscale.method.result import open_result
from specscale.pictures.montage import Section, Strip, montage
from specscale.results.groups import Group


def demo(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """The exit status of ``specscale demo``."""
    return command(monkeypatch, "demo", *words)


@pytest.mark.slow
def test_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "digits"
    assert demo(monkeypatch, "-o", out) == 0
    printed = capsys.readouterr().out
    result = open_result(out / "digits.spec")
    digits = load_digits()
    found = found_groups(result, "A")
    counts = [counts_of(digits.target, one) for one in found]
    pure = {int(one.argmax()) for one in counts if one.max() > 0.8 * one.sum()}
    assert len(pure) >= 7, "groups are digits, which the edges tell and the shades do not"
    assert not found_groups(result, "B")
    assert any(one.verdict == "group" for one in found)
    assert "held together by gradients (A), not by tones (B)" in printed
    assert sentence_of(result) in " ".join(printed.split())
    assert str(out / "montage.png") in printed

    with Image.open(out / "montage.png") as opened:
        picture = np.asarray(opened.convert("L"))
    assert picture.shape[1] == 1424
    for near in (False, True):
        image = digits.images[found[0].top(1, near=near)["row"].item()]
        tile = (255 * (1 - image / 16)).astype(np.uint8).repeat(6, axis=0).repeat(6, axis=1)
        assert occurs(tile, picture), "the likest member, or near miss, of the first group is not in the picture"

    before = (out / "montage.png").stat().st_mtime_ns
    assert demo(monkeypatch, "-o", out) == 1
    assert capsys.readouterr().err == f"specscale: {out}: exists already: add --overwrite or choose another -o\n"
    assert (out / "montage.png").stat().st_mtime_ns == before


def counts_of(labels: np.ndarray, group: Group) -> np.ndarray:
    return np.bincount(labels[group.rows()], minlength=10)


def occurs(tile: np.ndarray, picture: np.ndarray) -> bool:
    height, width = tile.shape
    # Two rows and a corner leave few places at which to look at the whole.
    places = np.argwhere(picture[: 1 - height, : 1 - width] == tile[0, 0])
    return any((picture[y : y + height, x : x + width] == tile).all() for y, x in places if y < 300)


@pytest.mark.parametrize("words", [["--rows", 100], ["--seed", -1], ["--kind", "planted", "--seed", -1]])
def test_refused_before_anything_is_written(
    words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo(monkeypatch, "-o", tmp_path / "out", *words) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_gradients_see_where_a_stroke_is_and_tones_do_not() -> None:
    images = np.zeros((3, 8, 8), dtype=np.float32)
    images[0, 1:7, 2] = images[1, 1:7, 5] = 1  # the same stroke, moved
    images[2, 1:7, 2:6] = 1  # four times as much ink
    for histograms, moved, thicker in ((gradient_histograms, 0.8, 0.95), (tone_histograms, 1.0, 0.98)):
        rows = histograms(images)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
        assert rows[0] @ rows[1] <= moved + 1e-6
        assert rows[0] @ rows[2] < thicker
    np.testing.assert_array_equal(*tone_histograms(images[:2]))
    faint = gradient_histograms(0.3 * images) - gradient_histograms(images)
    assert np.abs(faint).max() < 1e-6, "contrast must not matter"


def test_montage_draws_images_and_bars() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    beside = np.random.default_rng(1).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    strips = [Strip(f"group {i}", ("a line", "another"), images, {"one": 1.0, "two": 0.0}, beside) for i in range(3)]
    sections = [Section("By one", "of a kind", "one", strips[:2]), Section("By two", "of another", "two", strips[2:])]
    empty = [sections[0], Section("By two", "nothing", "two", [])]
    words = (("members", "near misses"), "the end\nindeed")
    picture, fewer = (np.asarray(montage("Title", "and more", some, *words)) for some in (sections, empty))
    assert len(picture) > len(fewer)
    for image in (images[0], beside[1]):
        assert occurs(image.repeat(6, axis=0).repeat(6, axis=1), picture[..., 0])
    blue, orange = ((picture == np.array(colour)).all(axis=2).sum() for colour in ((33, 102, 172), (209, 102, 14)))
    assert blue > 3 * 100 * 10 > orange, "full bars of the first colour, empty ones of the second"
    nothing = montage("Title", "and more", [Section("By one", "nothing", "one", [])], *words)
    assert nothing.height < len(fewer)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    root = tmp_path / "library"
    (root / "package" / "test").mkdir(parents=True)
    (root / "site-packages").mkdir()
    (root / "package" / "__init__.py").write_text('"""All of the things in here."""\nraise SystemExit("imported")\n')
    (root / "package" / "things.py").write_text(
        'class Thing:\n    """A thing that can be done.\n\n    With more to say.\n    """\n\n'
        '    async def do(self):\n        """Do the thing,\n        at long last.\n        """\n\n'
        '    def undo(self):\n        """Do the thing,\n        at long last."""\n\n'
        '    def short(self):\n        """Too short."""\n'
    )
    (root / "package" / "test" / "case.py").write_text('"""Tests are no documentation at all."""\n')
    (root / "site-packages" / "other.py").write_text('"""Not of the standard library itself."""\n')
    (root / "broken.py").write_text('"""This file cannot be read"""\ndef (:\n')
    return root


def test_docstrings_are_collected_without_importing(library: Path) -> None:
    found = [(one.name, one.module, one.text) for one in collect_docstrings(library)]
    assert found == [
        ("package", "package", "All of the things in here."),
        ("package.things.Thing", "package.things", "A thing that can be done."),
        ("package.things.Thing.do", "package.things", "Do the thing, at long last."),
    ]


@pytest.mark.slow
def test_text(tmp_path: Path) -> None:
    lines: list[str] = []
    result = run_text(Demo(tmp_path / "text", say=lines.append), rows=600)
    assert lines[0].startswith("600 docstrings of ")
    assert {mode.grouped_by for mode in result.modes} == {"A", "B"}
    texts = {one.name: one.text for one, _ in zip(collect_docstrings(), range(600), strict=False)}
    members = result.modes[0].top(5)
    assert len(members) == 10
    assert all(texts[name] == text for name, text in zip(members["id"], members["text"], strict=True))


def test_too_few_docstrings(tmp_path: Path, library: Path) -> None:
    with pytest.raises(InputError, match=r"library: 3 docstrings in sources"):
        run_text(Demo(tmp_path / "text"), root=library)
    with pytest.raises(OptionError, match="--rows 10"):
        run_text(Demo(tmp_path / "other"), rows=10)


def test_the_truth_is_planted() -> None:
    (batch,) = draw_batches(20_000, seed=5)
    for number, name in enumerate(GROUPS):
        own, other = (batch.a, batch.b) if name.startswith("A") else (batch.b, batch.a)
        members = batch.group == number
        assert abs(members.mean() - GROUPS[name]) < 0.01
        assert own[members].astype(float).std(axis=0).max() < 0.3, "one cluster in its own embedding"
        assert other[members].astype(float).std(axis=0).min() > 0.4, "spread in the other"
        of_one = other[members & (batch.cluster == 0)].astype(float)
        assert of_one.std(axis=0).max() < 0.5, "over the common clusters"


def test_batches_do_not_depend_on_the_number_of_rows() -> None:
    few, many = (list(draw_batches(rows, seed=1)) for rows in (65_536 + 10, 2 * 65_536))
    np.testing.assert_array_equal(few[0].a, many[0].a)
    assert [len(batch.b) for batch in few] == [65_536, 10]
    assert not np.array_equal(many[0].a, many[1].a)
    assert not np.array_equal(few[0].a, next(draw_batches(65_536, seed=2)).a)


@pytest.mark.slow
def test_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "planted"
    assert demo(monkeypatch, "--kind", "planted", "--rows", 20_000, "-o", out, "--threads", 2) == 0
    printed = capsys.readouterr().out
    assert printed.count("   found\n") == len(GROUPS)
    truth = pq.read_table(out / "planted.parquet").column("planted").to_numpy()
    findings = check(open_result(out / "planted.spec"), truth)
    assert [one.planted for one in findings] == list(GROUPS)
    for one in findings:
        assert one.jaccard > 0.95
        assert one.size == pytest.approx(GROUPS[one.planted] * 20_000, rel=0.1)
    assert len({one.group for one in findings}) == len(GROUPS)


@pytest.mark.slow
def test_planted_fails_where_the_groups_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mislabelled(rows: int, seed: int) -> Iterator[Batch]:
        for batch in draw_batches(rows, seed):
            yield replace(batch, group=np.where(batch.group == 1, -1, batch.group))

    out = tmp_path / "planted"
    monkeypatch.setattr(planted, "draw_batches", mislabelled)
    assert demo(monkeypatch, "--kind", "planted", "--rows", 8_000, "-o", out) == 1
    error = capsys.readouterr().err
    assert "1 of 5 planted groups not found (A2)" in error
    assert error.count("\n") == 1

    # What a failed demonstration left is replaced, other files are kept.
    (out / "notes.txt").write_text("mine")
    monkeypatch.setattr(planted, "draw_batches", draw_batches)
    result = run_planted(Demo(out, overwrite=True), rows=6_000)
    assert result.summary["rows"]["total"] == 6_000
    assert (out / "notes.txt").read_text() == "mine"


def test_planted_needs_rows(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--rows 100"):
        run_planted(Demo(tmp_path / "out"), rows=100)
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecscaleError, match="it is a file"):
        run_planted(Demo(tmp_path / "file", overwrite=True), rows=6_000)
