"""Pictures of results, drawn by matplotlib into PNG files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from specscale.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from specscale.features.ranges import StoreBandwidths

__all__ = ["check_picture", "plot_matrix", "plot_spectra"]

_INK, _FAINT, _MARK = "#333333", "#dddddd", "#c8501e"
_LONGEST_NAME = 32
_LEAST_SHARE = 1e-2  # of the eigenvalue 1/s of a row alone: smaller ones are not drawn


def plot_spectra(stores: Sequence[StoreBandwidths], path: str | Path) -> Path:
    """Draw what a range of bandwidths tells, a row of panels for each embedding.

    The panels are the spectra, a curve for each bandwidth; the leading eigenvalues over the bandwidth; and the
    effective numbers of groups over it. What auto takes is marked in each.

    Parameters
    ----------
    stores : the range of each embedding
    path : the PNG file

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    OptionError
        When no such file can be written.
    """
    path = check_picture(path)
    figure, panels = _figure(len(stores), 3)
    for store, (spectra, leading, groups) in zip(stores, panels, strict=True):
        _draw_spectra(spectra, store)
        _draw_leading(leading, store)
        _draw_groups(groups, store)
    return _save(figure, path)


def plot_matrix(names: Sequence[str], values: NDArray[np.float64], path: str | Path) -> Path:
    """Draw SPEC-diff of every pair as a heat map with its numbers in the cells.

    Parameters
    ----------
    names : the embeddings, in the order of the rows and columns
    values : (m, m) symmetric
    path : the PNG file

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    OptionError
        When no such file can be written.
    """
    path = check_picture(path)
    figure, panels = _figure(1, 1)
    axes = panels[0, 0]
    count = len(names)
    figure.set_size_inches(3.5 + 0.65 * count, 2.5 + 0.65 * count)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    image = axes.imshow(values, cmap="viridis", vmin=0, vmax=values.max() or 1.0)
    labels = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in names]
    axes.set_xticks(range(count), labels, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(count), labels, parse_math=False)
    axes.tick_params(length=0)
    for (i, j), value in np.ndenumerate(values):
        bright = value > 0.6 * image.norm.vmax
        axes.text(j, i, f"{value:.4f}", ha="center", va="center", fontsize=7, color=_INK if bright else "white")
    axes.set_title("SPEC-diff", loc="left")
    figure.colorbar(image, ax=axes, shrink=0.8)
    return _save(figure, path)


def check_picture(path: str | Path) -> Path:
    """Return the path of a picture that can be written there.

    Raises
    ------
    OptionError
        When its name does not end in .png, its folder is not there, or it is a folder itself.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise OptionError(f"{path}: pictures are PNG files: give it a name that ends in .png")
    if not path.parent.is_dir():
        raise OptionError(f"{path.parent}: no such directory to put the picture in")
    if path.is_dir():
        raise OptionError(f"{path} is a directory: give the picture another name")
    return path


def _draw_spectra(axes: Axes, store: StoreBandwidths) -> None:
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(store.lines)))
    least = _LEAST_SHARE / store.sampled
    for line, colour in zip(store.lines, colours, strict=True):
        values = line.spectrum.eigenvalues
        shown = values[: max(2, int((values > least).sum()))]
        wide = 2.5 if line.rule == "auto" else 1.2
        axes.plot(
            np.arange(1, len(shown) + 1), shown, color=colour, linewidth=wide, label=_label(line.sigma, line.rule)
        )
    axes.set(xscale="log", yscale="log", ylim=(least, 1.5), xlabel="rank", ylabel="eigenvalue of K/n")
    axes.set_title(f"{store.name}: spectra, {store.sampled:,} rows", loc="left", parse_math=False)
    axes.legend(
        title="σ", fontsize="x-small", title_fontsize="small", frameon=False, loc="upper left", bbox_to_anchor=(1, 1)
    )


def _draw_leading(axes: Axes, store: StoreBandwidths) -> None:
    sigmas = [line.sigma for line in store.lines]
    for rank in range(min(5, store.sampled)):
        values = [line.spectrum.eigenvalues[rank] for line in store.lines]
        wide, opaque = (2.0, 1.0) if rank == 0 else (1.0, 0.4)
        axes.plot(sigmas, values, marker="o", markersize=3, color=_INK, linewidth=wide, alpha=opaque)
    axes.set(xscale="log", yscale="log", ylim=(0.5 / store.sampled, 1.5), xlabel="σ", ylabel="eigenvalue of K/n")
    axes.set_title("the five largest eigenvalues", loc="left")
    _mark_auto(axes, store)


def _draw_groups(axes: Axes, store: StoreBandwidths) -> None:
    sigmas = [line.sigma for line in store.lines]
    axes.plot(sigmas, [line.spectrum.groups for line in store.lines], marker="o", color=_INK, label="exp(entropy)")
    axes.plot(
        sigmas,
        [line.spectrum.rke for line in store.lines],
        marker="s",
        color=_INK,
        linestyle="--",
        label="RKE (order 2)",
    )
    axes.set(xscale="log", yscale="log", ylim=(0.8, 1.3 * store.sampled), xlabel="σ", ylabel="effective groups")
    axes.set_title("effective number of groups", loc="left")
    _mark_auto(axes, store)
    axes.legend(fontsize="small", frameon=False)


def _mark_auto(axes: Axes, store: StoreBandwidths) -> None:
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(store.auto.sigma, color=_MARK, linewidth=1)
    axes.annotate(
        f"auto {store.auto.sigma:.4g}",
        (store.auto.sigma, 0.98),
        xycoords=axes.get_xaxis_transform(),
        xytext=(4, 0),
        textcoords="offset points",
        va="top",
        color=_MARK,
        fontsize="small",
    )


def _label(sigma: float, rule: str) -> str:
    return f"{sigma:.4g} {rule}" if rule in ("auto", "median") else f"{sigma:.4g}"


def _figure(rows: int, columns: int) -> tuple[Figure, Any]:
    """A figure of its own, outside matplotlib's state, and its axes (rows, columns)."""
    figure = Figure(figsize=(4.6 * columns, 3.8 * rows), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.grid(visible=True, color=_FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _save(figure: Figure, path: Path) -> Path:
    """Write the picture under a temporary name and rename it: a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # names in a script that the font lacks are drawn as boxes
            figure.savefig(temporary, format="png")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
