"""Handwritten digits: raw pixels against the directions of their strokes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.demo.place import Demo
from specscale.insight.found import found_groups, own_auc
from specscale.method.result import Result
from specscale.pictures.montage import Section, Strip, montage
from specscale.results.comparison import Mode
from specscale.results.groups import Group

__all__ = ["MONTAGE", "gradient_histograms", "run_digits"]

MONTAGE = "montage.png"
_NAMES = {"A": "pixels", "B": "gradients"}
# A digit has a tenth of the rows: a kernel with a top eigenvalue below that sees groups smaller than a digit.
_SIGMA = "top=0.06"
_IMAGES = 16  # members in a row of the picture
_ROWS = 6  # rows of the picture for each direction
_CONTRAST = 1.5  # how much more alike one embedding must find the members of a tail that is shown


def run_digits(demo: Demo, *, seed: int = 0) -> Result:
    """Compare two embeddings of scikit-learn's 1,797 digits and draw what each groups.

    A holds the 64 grey values of each 8 × 8 image; B the directions of the edges at each height, wherever they lie from
    left to right.

    Parameters
    ----------
    demo : where to write, and how to report
    seed : seed of the comparison

    Returns
    -------
    Result
        In ``OUT/digits.spec``; the stores ``pixels.zarr`` and ``gradients.zarr`` and the picture ``montage.png`` lie
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
    for name, vectors in (("pixels", images.reshape(len(images), -1)), ("gradients", gradient_histograms(images))):
        np.save(demo.out / f"{name}.npy", vectors)
        stores.append(demo.store(demo.out / f"{name}.npy", metadata, name))
    result = demo.compare(stores[0], stores[1], "digits", sigma=(_SIGMA, _SIGMA), n_modes=6, seed=seed)
    what = draw(result, images, labels, demo.out / MONTAGE)
    demo.say(f"{demo.out / MONTAGE}: {what}, drawn")
    return result


def gradient_histograms(images: NDArray[np.float32], bands: int = 4, bins: int = 8) -> NDArray[np.float32]:
    """How much edge of each direction an image has at each height: a histogram of oriented gradients.

    Source: Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005, with cells as wide as
    the image, signed directions, each gradient shared between the two nearest, and the square root of the shares.

    Parameters
    ----------
    images : (n, height, width) grey values
    bands : horizontal cells
    bins : directions

    Returns
    -------
    (n, bands * bins) float32, rows of unit norm
    """
    n, height, _ = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    gx = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    gy = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    strength = np.hypot(gx, gy)
    position = np.arctan2(gy, gx) / (2 * np.pi) * bins
    below = np.floor(position)
    image = np.arange(n)[:, None, None]
    band = (np.arange(height) * bands // height)[None, :, None]
    histogram = np.zeros((n, bands, bins))
    for direction, share in ((below, below + 1 - position), (below + 1, position - below)):
        np.add.at(histogram, (image, band, direction.astype(int) % bins), strength * share)
    rows = histogram.reshape(n, -1)
    return np.asarray(np.sqrt(rows / rows.sum(axis=1, keepdims=True)), dtype=np.float32)


def draw(result: Result, images: NDArray[np.float32], labels: NDArray[np.int64], path: Path) -> str:
    """Draw the groups of each direction, and what the two embeddings say of them; without any the leading modes.

    Parameters
    ----------
    result : a comparison of the digits
    images : (n, 8, 8) grey values from 0 to 1, ink is 1
    labels : (n,) the digits
    path : PNG file to write

    Returns
    -------
    str
        What was drawn.
    """
    ink = (255 * (1 - images)).astype(np.uint8)
    found, footer = found_groups(result), _OF_GROUPS
    if found:
        strips = {which: _groups([one for one in found if one.grouped_by == which], ink, labels) for which in "AB"}
    else:
        strips, footer = {which: _tails(result, which, ink) for which in "AB"}, _OF_MODES
    sections = [
        Section(
            f"Grouped by {_NAMES[which]}, not by {_NAMES[other]}", _NOTES[which], _NAMES[which], strips[which][:_ROWS]
        )
        for which, other in (("A", "B"), ("B", "A"))
    ]
    picture = montage(
        "1,797 handwritten digits, two embeddings",
        "Pixels: the grey value at each of the 8 x 8 places.   Gradients: the directions of the edges at each height, "
        "wherever they lie from left to right.",
        sections,
        footer,
    )
    picture.save(path, optimize=True)
    return "the groups" if found else "the strongest members of the leading modes"


def _groups(groups: Sequence[Group], ink: NDArray[np.uint8], labels: NDArray[np.int64]) -> list[Strip]:
    """A strip for each group: its members from the core outwards, and the digits of all of them."""
    strips = []
    for group in groups:
        rows = group.top(_IMAGES)["row"].to_numpy()
        auc = own_auc(group)
        told = "" if auc is None else f"   AUC {auc:.2f}"
        lines = (f"{group.size:,} rows, {group.share:.1%}{told}", _shares(labels[group.rows()]))
        bars = {_NAMES["A"]: group.similarity_a, _NAMES["B"]: group.similarity_b}
        strips.append(Strip(f"{group.verdict} {group.group}", lines, ink[rows], bars))
    return strips


def _tails(result: Result, which: str, ink: NDArray[np.uint8]) -> list[Strip]:
    """A strip for each tail of a mode that its embedding holds together, as the kernels of its members say."""
    embeddings = {one: np.load(str(result.path.parent / f"{name}.npy")) for one, name in _NAMES.items()}
    sigmas = {one.upper(): bandwidth.sigma for one, bandwidth in result.record.bandwidths.items() if bandwidth}
    strips = []
    for mode in (mode for mode in result.modes if mode.grouped_by == which):
        tails = []
        for tail in "+-":
            members = mode.top(_IMAGES, tail)
            rows = members["row"].to_numpy()
            bars = {_NAMES[one]: _mean_kernel(embeddings[one][rows], sigmas[one]) for one in _NAMES}
            # The weaker tail of a mode may be no group at all.
            if bars[_NAMES[which]] > _CONTRAST * bars[_NAMES["B" if which == "A" else "A"]]:
                tails.append((tail, ink[rows], _shares(members["label"].to_numpy()), bars))
        for tail, drawn, shares, bars in tails:
            strips.append(Strip(*_caption(mode, tail if len(tails) > 1 else "", shares), drawn, bars))
    return strips


_OF_GROUPS = (
    "A row is one group that specscale found without knowing the digits: the members that are most like its core, and "
    "how alike the two embeddings find all its members (mean kernel value).\n"
    "A group has an edge, a theme has none and its size is a convention. AUC: how well the embedding that holds it "
    "together tells its members from all other rows."
)
_OF_MODES = (
    "A row is one tail of a mode that specscale found without knowing the digits: its strongest members, and how alike "
    "the two embeddings find them (mean kernel value).\n"
    "Eigenvalue = a - b: the mode's weight in pixels less its weight in gradients, "
    "with its standard error. Two opposite groups may share a mode: its tails + and -."
)
_NOTES = {
    "A": "Ink in the same places, even where the digits differ.",
    "B": "The same strokes from top to bottom, drawn wider, thinner or further to one side.",
}


def _caption(mode: Mode, tail: str, shares: str) -> tuple[str, tuple[str, ...]]:
    title = f"mode {mode.mode}" + (f", tail {tail}" if tail else "")
    return title, (f"eigenvalue {mode.eigenvalue:+.4f} ± {mode.se:.4f}   a {mode.a:.3f}   b {mode.b:.3f}", shares)


def _shares(labels: NDArray[Any]) -> str:
    values, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:4]
    shares = ",  ".join(f"{values[i]}: {counts[i] / len(labels):.0%}" for i in order)
    return f"digits  {shares}" + (", …" if len(values) > len(order) else "")


def _mean_kernel(x: NDArray[np.float32], sigma: float) -> float:
    """Mean of the Gaussian kernel over pairs of distinct rows."""
    squares = ((x[:, None].astype(np.float64) - x[None]) ** 2).sum(axis=2)
    return float(np.exp(-squares[np.triu_indices(len(x), 1)] / (2 * sigma**2)).mean())
