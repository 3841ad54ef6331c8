"""A picture of groups: members and near misses of each in a row, a caption before them and bars after them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Section", "Strip", "montage"]

_PAPER, _INK, _GREY, _RULE, _TRACK = (255, 255, 255), (25, 25, 30), (105, 105, 112), (222, 222, 226), (238, 238, 241)
_COLOURS = ((33, 102, 172), (209, 102, 14))
_MARGIN, _CAPTION, _BARS = 32, 260, 238
_TILE, _GAP, _ROW, _BESIDE = 48, 3, 74, 26


@dataclass(frozen=True)
class Strip:
    """One group.

    Attributes
    ----------
    title : what it is called
    lines : two lines about it
    images : (count, height, width) uint8
    bars : label and value between 0 and 1 of each bar, the same labels in every strip, at most two
    beside : (count, height, width) uint8, what is set apart behind the images
    """

    title: str
    lines: tuple[str, ...]
    images: NDArray[np.uint8]
    bars: dict[str, float]
    beside: NDArray[np.uint8]


@dataclass(frozen=True)
class Section:
    """Groups of one kind.

    Attributes
    ----------
    heading, note : what they have in common
    bar : label of the bar whose colour is the section's, each section's its own
    strips : the groups; without any the note stands alone
    """

    heading: str
    note: str
    bar: str
    strips: list[Strip]


def montage(title: str, subtitle: str, sections: list[Section], captions: tuple[str, str], footer: str) -> Image.Image:
    """Draw the sections, one below the other, on white.

    Parameters
    ----------
    title, subtitle : stand above the sections
    sections : two at most
    captions : what the images of all strips are, and what is beside them
    footer : lines below the sections

    Returns
    -------
    Image
        RGB; its size depends on the number of sections, strips and images alone.
    """
    strips = [strip for section in sections for strip in section.strips]
    colours = dict(zip((section.bar for section in sections), _COLOURS, strict=False))
    columns = _Columns.of(strips)
    width = columns.bars + _BARS + _MARGIN
    notes = footer.split("\n")
    height = 128 + sum(94 + _ROW * len(section.strips) for section in sections) + 26 * len(notes) + 36
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
        if section.strips:
            for caption, x in zip(captions, columns, strict=False):
                pen.text((x, y + 52), caption, _GREY, _font(15))
        y += 72
        for strip in section.strips:
            _draw_strip(picture, pen, strip, y, columns, colours)
            y += _ROW
        y += 22
    pen.line((_MARGIN, y, width - _MARGIN, y), _RULE, 2)
    for number, line in enumerate(notes):
        pen.text((_MARGIN, y + 16 + 26 * number), line, _GREY, _font(16))
    return picture


class _Columns(NamedTuple):
    """Where the parts of all strips begin.

    Attributes
    ----------
    images, beside, bars : pixels from the left
    """

    images: int
    beside: int
    bars: int

    @classmethod
    def of(cls, strips: list[Strip]) -> _Columns:
        images = _MARGIN + _CAPTION
        beside = images + (_TILE + _GAP) * max((len(strip.images) for strip in strips), default=0) + _BESIDE
        return cls(images, beside, beside + (_TILE + _GAP) * max((len(one.beside) for one in strips), default=0) + 20)


def _draw_strip(
    picture: Image.Image,
    pen: ImageDraw.ImageDraw,
    strip: Strip,
    y: int,
    columns: _Columns,
    colours: dict[str, tuple[int, int, int]],
) -> None:
    pen.text((_MARGIN, y - 2), strip.title, _INK, _font(18))
    for number, line in enumerate(strip.lines):
        pen.text((_MARGIN, y + 21 + 20 * number), line, _GREY, _font(15))
    for images, x in ((strip.images, columns.images), (strip.beside, columns.beside)):
        for place, image in enumerate(images):
            left = x + place * (_TILE + _GAP)
            picture.paste(Image.fromarray(image).resize((_TILE, _TILE), Image.Resampling.NEAREST), (left, y + 5))
            pen.rectangle((left - 1, y + 4, left + _TILE, y + 5 + _TILE), outline=_RULE)
    x = columns.bars
    for number, (label, value) in enumerate(strip.bars.items()):
        top = y + 10 + 22 * number
        pen.text((x, top - 2), label, colours[label], _font(15))
        left, right = x + 76, x + 76 + 100
        pen.rectangle((left, top + 2, right, top + 14), _TRACK)
        pen.rectangle((left, top + 2, left + round(100 * value), top + 14), colours[label])
        pen.text((right + 8, top - 2), f"{value:.2f}", _INK, _font(15))


def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)
