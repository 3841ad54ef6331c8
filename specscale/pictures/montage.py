"""A picture of groups: a row of small images for each, a caption before it and bars after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Section", "Strip", "montage"]

_PAPER, _INK, _GREY, _RULE, _TRACK = (255, 255, 255), (25, 25, 30), (105, 105, 112), (222, 222, 226), (238, 238, 241)
_COLOURS = ((33, 102, 172), (209, 102, 14))
_MARGIN, _CAPTION, _BARS = 32, 360, 238
_TILE, _GAP, _ROW = 48, 3, 74


@dataclass(frozen=True)
class Strip:
    """One group.

    Attributes
    ----------
    title : what it is called
    lines : two lines about it
    images : (count, height, width) uint8, the same count in every strip
    bars : label and value between 0 and 1 of each bar, the same labels in every strip
    """

    title: str
    lines: tuple[str, ...]
    images: NDArray[np.uint8]
    bars: dict[str, float]


@dataclass(frozen=True)
class Section:
    """Groups of one kind.

    Attributes
    ----------
    heading, note : what they have in common
    bar : label of the bar whose colour is the section's
    strips : the groups
    """

    heading: str
    note: str
    bar: str
    strips: list[Strip]


def montage(title: str, subtitle: str, sections: list[Section], footer: str) -> Image.Image:
    """Draw the sections, one below the other, on white.

    Parameters
    ----------
    title, subtitle : stand above the sections
    sections : at least one with a strip
    footer : lines below the sections

    Returns
    -------
    Image
        RGB; its size depends on the number of sections, strips and images alone.
    """
    strips = [strip for section in sections for strip in section.strips]
    labels = list(strips[0].bars)
    colours = dict(zip(labels, _COLOURS, strict=True))
    images = max(len(strip.images) for strip in strips)
    width = 2 * _MARGIN + _CAPTION + images * (_TILE + _GAP) + _BARS
    notes = footer.split("\n")
    height = 128 + sum(90 + _ROW * len(section.strips) for section in sections) + 26 * len(notes) + 36
    picture = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(picture)

    pen.text((_MARGIN, 28), title, _INK, _font(32))
    pen.text((_MARGIN, 76), subtitle, _GREY, _font(18))
    y = 128
    for section in sections:
        pen.line((_MARGIN, y, width - _MARGIN, y), _RULE, 2)
        pen.rectangle((_MARGIN, y + 19, _MARGIN + 7, y + 43), colours[section.bar])
        pen.text((_MARGIN + 20, y + 16), section.heading, colours[section.bar], _font(25))
        after = _MARGIN + 20 + pen.textlength(section.heading, _font(25)) + 24
        pen.text((after, y + 22), section.note, _GREY, _font(18))
        y += 68
        for strip in section.strips:
            _draw_strip(picture, pen, strip, y, colours)
            y += _ROW
        y += 22
    pen.line((_MARGIN, y, width - _MARGIN, y), _RULE, 2)
    for number, line in enumerate(notes):
        pen.text((_MARGIN, y + 16 + 26 * number), line, _GREY, _font(16))
    return picture


def _draw_strip(
    picture: Image.Image, pen: ImageDraw.ImageDraw, strip: Strip, y: int, colours: dict[str, tuple[int, int, int]]
) -> None:
    pen.text((_MARGIN, y - 2), strip.title, _INK, _font(18))
    for number, line in enumerate(strip.lines):
        pen.text((_MARGIN, y + 21 + 20 * number), line, _GREY, _font(15))
    x = _MARGIN + _CAPTION
    for image in strip.images:
        picture.paste(Image.fromarray(image).resize((_TILE, _TILE), Image.Resampling.NEAREST), (x, y + 5))
        pen.rectangle((x - 1, y + 4, x + _TILE, y + 5 + _TILE), outline=_RULE)
        x += _TILE + _GAP
    x += 20
    for number, (label, value) in enumerate(strip.bars.items()):
        top = y + 10 + 22 * number
        pen.text((x, top - 2), label, colours[label], _font(15))
        left, right = x + 76, x + 76 + 100
        pen.rectangle((left, top + 2, right, top + 14), _TRACK)
        pen.rectangle((left, top + 2, left + round(100 * value), top + 14), colours[label])
        pen.text((right + 8, top - 2), f"{value:.2f}", _INK, _font(15))


def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)
