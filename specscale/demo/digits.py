"""Handwritten digits: the directions of their edges, place by place, against their shades of grey."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.demo.place import Demo
from specscale.insight.found import found_groups
from specscale.method.result import Result
from specscale.pictures.montage import Section, Strip, montage
from specscale.results.groups import Group

__all__ = ["MONTAGE", "gradient_histograms", "run_digits", "tone_histograms"]

MONTAGE = "montage.png"
_NAMES = {"A": "gradients", "B": "tones"}
# A digit has a tenth of the rows: a kernel with a top eigenvalue below that sees groups smaller than a digit.
_SIGMA = "top=0.05"
_MEMBERS, _NEAR = 11, 5  # images in a row of the picture
_ROWS = 10  # rows of the picture for each direction


def run_digits(demo: Demo, *, seed: int = 0) -> Result:
    """Compare two embeddings of scikit-learn's 1,797 digits and draw what each groups.

    A holds the directions of the edges in each of 4 × 4 places of an 8 × 8 image; B how much of the image has each
    shade of grey, wherever it is.

    Parameters
    ----------
    demo : where to write, and how to report
    seed : seed of the comparison

    Returns
    -------
    Result
        In ``OUT/digits.spec``; the stores ``gradients.zarr`` and ``tones.zarr`` and the picture ``montage.png`` lie
        beside it.

    Raises
    ------
    SpecscaleError
        As :func:`specscale.ingest` and :func:`specscale.compare`.
    """
    from sklearn.datasets import load_digits

    demo.begin()
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)
    labels = digits.target
    metadata = demo.out / "digits.csv"
    with metadata.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["label"])
        table.writerows([int(label)] for label in labels)
    stores = []
    for name, vectors in zip(_NAMES.values(), (gradient_histograms(images), tone_histograms(images)), strict=True):
        np.save(demo.out / f"{name}.npy", vectors)
        stores.append(demo.store(demo.out / f"{name}.npy", metadata, name))
    result = demo.compare(stores[0], stores[1], "digits", sigma=(_SIGMA, _SIGMA), seed=seed)
    draw(result, images, labels, demo.out / MONTAGE)
    demo.say(f"{demo.out / MONTAGE}: the groups, drawn")
    return result


def gradient_histograms(images: NDArray[np.float32], cells: int = 4, bins: int = 8) -> NDArray[np.float32]:
    """How much edge of each direction an image has at each place: a histogram of oriented gradients.

    Source: Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005, with signed
    directions, each gradient shared between the two nearest, and the square root of the shares.

    Parameters
    ----------
    images : (n, height, width) grey values
    cells : places from top to bottom, and as many from left to right
    bins : directions

    Returns
    -------
    (n, cells * cells * bins) float32, rows of unit norm
    """
    n, height, width = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    gx = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    gy = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    strength = np.hypot(gx, gy)
    position = np.arctan2(gy, gx) / (2 * np.pi) * bins
    below = np.floor(position)
    image = np.arange(n)[:, None, None]
    row = (np.arange(height) * cells // height)[None, :, None]
    column = (np.arange(width) * cells // width)[None, None, :]
    histogram = np.zeros((n, cells, cells, bins))
    for direction, share in ((below, below + 1 - position), (below + 1, position - below)):
        np.add.at(histogram, (image, row, column, direction.astype(int) % bins), strength * share)
    return _shares_of(histogram.reshape(n, -1))


def tone_histograms(images: NDArray[np.float32], tones: int = 17) -> NDArray[np.float32]:
    """How much of an image has each shade of grey.

    Parameters
    ----------
    images : (n, height, width) grey values from 0 to 1
    tones : shades

    Returns
    -------
    (n, tones) float32, rows of unit norm
    """
    shade = np.rint(images * (tones - 1)).astype(int)
    histogram = np.zeros((len(images), tones))
    np.add.at(histogram, (np.arange(len(images))[:, None, None], shade), 1.0)
    return _shares_of(histogram)


def draw(result: Result, images: NDArray[np.float32], labels: NDArray[np.int64], path: Path) -> None:
    """Draw the groups of each direction, from their cores outwards, the near misses, and what both embeddings say.

    Parameters
    ----------
    result : a comparison of the digits
    images : (n, 8, 8) grey values from 0 to 1, ink is 1
    labels : (n,) the digits
    path : PNG file to write
    """
    ink = (255 * (1 - images)).astype(np.uint8)
    sections = []
    for which, other in (("A", "B"), ("B", "A")):
        found = found_groups(result, which)
        note = _NOTES[which] if found else "Nothing: no candidate passed its test."
        heading = f"Held together by {_NAMES[which]}, not by {_NAMES[other]}"
        sections.append(Section(heading, note, _NAMES[which], _strips(result, found[:_ROWS], ink, labels)))
    picture = montage(
        "1,797 handwritten digits, two embeddings",
        "Gradients: the directions of the edges in each of 4 x 4 places.   Tones: how much of the image has each shade "
        "of grey, wherever it is.",
        sections,
        ("members, from the core outwards", "near misses"),
        "A row is one group or theme that specscale found without knowing the digits. The bars: how alike the two "
        "embeddings find two\nof its members (mean kernel value). A group has an edge; a theme has none, and its size "
        "is a convention.",
    )
    picture.save(path, optimize=True)


_NOTES = {
    "A": "The same strokes in the same places, thick or thin, dark or pale.",
    "B": "As much ink, and as dark, whatever is drawn.",
}


def _strips(result: Result, groups: Sequence[Group], ink: NDArray[np.uint8], labels: NDArray[np.int64]) -> list[Strip]:
    """A strip for each group: its members from the core outwards, near misses, and the digits of all members."""
    strips = []
    for group in groups:
        rows = group.rows()
        outwards = rows[np.argsort(-np.asarray(result.likeness[:, group.group])[rows], kind="stable")]
        drawn = outwards[np.linspace(0, len(rows) - 1, min(_MEMBERS, len(rows))).astype(np.int64)]
        near = group.top(_NEAR, near=True)["row"].to_numpy()
        lines = (f"{group.size:,} rows, {group.share:.1%}", _digits(labels[rows]))
        bars = {_NAMES["A"]: group.similarity_a, _NAMES["B"]: group.similarity_b}
        strips.append(Strip(f"{group.verdict} {group.group}", lines, ink[drawn], bars, ink[near]))
    return strips


def _digits(labels: NDArray[Any]) -> str:
    values, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:3]
    shares = ",  ".join(f"{values[i]}: {counts[i] / len(labels):.0%}" for i in order)
    return f"digits  {shares}" + (", …" if len(values) > len(order) else "")


def _shares_of(histogram: NDArray[np.float64]) -> NDArray[np.float32]:
    """Square roots of the shares of each row's sum, whose distances do not belittle small shares."""
    return np.asarray(np.sqrt(histogram / histogram.sum(axis=1, keepdims=True)), dtype=np.float32)
