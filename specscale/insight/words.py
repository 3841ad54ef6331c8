"""The words of a text, in any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

__all__ = ["BREAK", "SPACELESS", "spelled", "words_of"]

BREAK = ""
"""Stands among the words of a text where a sign parts them."""
SPACELESS = (
    "\u0e01-\u0e33\u0e40-\u0e46"  # Thai
    "\u0e81-\u0eb3\u0ec0-\u0ec6\u0edc-\u0edf"  # Lao
    "\u1000-\u102a\u103f\u1050-\u1055\u1780-\u17b3"  # Burmese, Khmer
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # Han
)
"""Letters of scripts that put no blanks between words, as part of a regular expression's class."""

_LONGEST = 1000
_MARKS = "\u200c\u200d" + "".join(
    chr(code) for code in (*range(0x300, 0x2100), *range(0xA600, 0xAC00)) if unicodedata.category(chr(code))[0] == "M"
)  # vowel signs, accents and joiners: parts of words that are no letters by themselves
_WORD = re.compile(rf"(\w[\w{_MARKS}]*(?:['-]\w[\w{_MARKS}]*)*)|[^\w\s]")
_CHARACTER = re.compile(rf"[{SPACELESS}][{_MARKS}]*")
_BETWEEN_CHARACTERS = re.compile(rf"(?<=[{SPACELESS}{_MARKS}]) (?=[{SPACELESS}])")
_SAME_SIGN = str.maketrans({"’": "'", "‐": "-", "\u00ad": None})  # the apostrophe, the hyphen, the soft hyphen


def words_of(cell: object) -> list[str]:
    """Return the words of a text, in order, as letters and digits with apostrophes and hyphens inside.

    Case and the forms of equal characters make no difference. Where a script puts no blanks between words, each
    character counts as one, so that pairs of them are what is often called character bigrams.

    Parameters
    ----------
    cell : a cell of a column; what is not text has no words, and of a text the first 1,000 characters are read

    Returns
    -------
    list of str
        The words, and BREAK for each sign that parts them.
    """
    if not isinstance(cell, str):
        return []
    text = cell[:_LONGEST]
    if text.isascii():
        text = text.lower()
    else:
        text = unicodedata.normalize("NFKC", text).casefold().translate(_SAME_SIGN)
        text = _CHARACTER.sub(r" \g<0> ", text)
    return _WORD.findall(text.replace("_", " "))


def spelled(words: Sequence[str]) -> str:
    """Return words in a row as they are written."""
    return _BETWEEN_CHARACTERS.sub("", " ".join(words))
