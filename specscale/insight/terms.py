"""What the members of a group say that others do not: terms by contrast of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from specscale.insight.words import BREAK, spelled, words_of

__all__ = ["Term", "contrasting_terms", "log_odds_z"]

ALPHA = 0.05  # chance of a single term too many, over all terms that are looked at
LEAST = 5  # texts that say a term
LEAST_SHARE = 0.01  # of the members' texts
PRIOR = 0.5  # weight of what both sides say together, in texts of the smaller side
STANDS_FOR = 2 / 3  # of the members that say a phrase, those that say a longer one, which then takes its place
MOST_WORDS = 4  # of a phrase that shorter ones grow to

_Phrase = tuple[str, ...]


@dataclass(frozen=True)
class Term:
    """A word or a phrase that members say more often than others.

    Attributes
    ----------
    term : the words as they are written, in lower case
    share, other_share : texts that say it, as a share of the members' texts and of the others'
    z : log-odds ratio of the two shares over its standard error, under the prior of :func:`log_odds_z`
    """

    term: str
    share: float
    other_share: float
    z: float


def contrasting_terms(members: Sequence[object], others: Sequence[object], count: int = 5) -> list[Term]:
    """Find what members say that others do not.

    Words and pairs of neighbouring words are looked at, each counted once a text. A term is a finding when five texts
    and one in a hundred of the members' say it and its z exceeds the normal quantile of 1 − 0.05 / m, where m terms
    are said by as many texts of both sides together (Bonferroni): where members and others are drawn from the same
    texts, a term is found in at most about one comparison of 20.

    Words that are frequent in every text are terms like others: what parts a group may be how its texts are built.

    Findings that repeat one another are told once. Each, strongest first, grows to the phrase of up to four words
    that two thirds of the members who say it say. None is told whose words are all among those of a phrase before it,
    or the other way round, and one that shares some of them only if it is a finding still among the texts that do not
    say that phrase.

    Parameters
    ----------
    members, others : cells of a column; those without a word, or that are not text, count as no text. Time and memory
        grow with their number, and some thousands of each tell what there is to tell
    count : terms that are returned at most

    Returns
    -------
    list of Term
        By descending z, none where either side has no text.
    """
    sides = _Side(members), _Side(others)
    sizes = len(sides[0].texts), len(sides[1].texts)
    least = max(LEAST, LEAST_SHARE * sizes[0])
    ours, theirs = (Counter(chain.from_iterable(side.phrases)) for side in sides)
    often = {one for counts in (ours, theirs) for one, said in counts.items() if 2 * said >= least and BREAK not in one}
    looked_at = sorted(one for one in often if ours[one] + theirs[one] >= least)
    if not looked_at:
        return []
    said, other_said = (np.array([counts[one] for one in looked_at]) for counts in (ours, theirs))
    z = log_odds_z(said, sizes[0], other_said, sizes[1])
    bound = float(-ndtri(ALPHA / len(looked_at)))
    found = np.flatnonzero((said >= least) & (z >= bound))
    told = _Told(sides, bound)
    for place in found[np.argsort(-z[found], kind="stable")]:
        if len(told.phrases) >= count:
            break
        phrase = looked_at[place]
        if told.lacks(phrase):
            longer = _grown(phrase, sides[0])
            told.add(longer if told.lacks(longer) else phrase)
    return sorted(map(told.term, told.phrases), key=lambda term: (-term.z, term.term))


def log_odds_z(said: ArrayLike, texts: int, other_said: ArrayLike, other_texts: int) -> NDArray[np.float64]:
    """Return z of the log-odds ratio of two shares, with an informative Dirichlet prior (Monroe et al. 2008).

    A text says a term or does not, so each term has a prior of its own over these two: what both sides together say,
    with the weight of half as many texts as the smaller side has. It draws rare terms, whose ratio is large by chance,
    to no difference. Where both sides are alike the spread of z is below 1.

    Parameters
    ----------
    said, other_said : texts of each side that say a term
    texts, other_texts : texts of each side

    Returns
    -------
    ndarray
        Positive where the first side says it more often; 0 where all texts do, none, or a side has none.
    """
    first, second = np.asarray(said, dtype=np.float64), np.asarray(other_said, dtype=np.float64)
    shared = (first + second) / max(texts + other_texts, 1)
    tells = (shared > 0) & (shared < 1) & (min(texts, other_texts) > 0)
    weight = PRIOR * min(texts, other_texts)
    with_it, without = weight * shared, weight * (1 - shared)
    cells = np.array([first + with_it, texts - first + without, second + with_it, other_texts - second + without])
    cells = np.where(tells, cells, 1.0)
    logs = np.log(cells)
    return np.asarray((logs[0] - logs[1] - logs[2] + logs[3]) / np.sqrt((1 / cells).sum(axis=0)))


class _Side:
    """The texts of one side: their words, and the words and pairs of words that each says."""

    def __init__(self, cells: Iterable[object]) -> None:
        self.texts = [words for words in map(words_of, cells) if any(words)]
        self.phrases: list[set[_Phrase]] = [{*zip(words, strict=True), *pairwise(words)} for words in self.texts]

    def saying(self, phrase: _Phrase) -> set[int]:
        """Numbers of the texts that say a phrase."""
        here = {number for number, phrases in enumerate(self.phrases) if phrase[:2] in phrases}
        return {number for number in here if len(phrase) < 3 or any(True for _ in _places(self.texts[number], phrase))}


class _Told:
    """The phrases that are told, with the texts that say each."""

    def __init__(self, sides: tuple[_Side, _Side], bound: float) -> None:
        self.phrases: dict[_Phrase, tuple[set[int], set[int]]] = {}
        self._sides, self._bound = sides, bound

    def add(self, phrase: _Phrase) -> None:
        """Tell a phrase."""
        self.phrases[phrase] = self._saying(phrase)

    def lacks(self, phrase: _Phrase) -> bool:
        """Whether a phrase repeats none that was told, and is a finding without the texts of those that share words."""
        words = set(phrase)
        if any(2 * len(words.intersection(one)) > min(len(words), len({*one})) for one in self.phrases):
            return False
        related = [saying for one, saying in self.phrases.items() if not words.isdisjoint(one)]
        counts = []
        for side, saying, *explained in zip(self._sides, self._saying(phrase), *related, strict=True):
            left_out = set().union(*explained)
            counts += [len(saying - left_out), len(side.texts) - len(left_out)]
        return float(log_odds_z(*counts)) >= self._bound

    def term(self, phrase: _Phrase) -> Term:
        """A phrase that was told, with its shares."""
        said, other_said = map(len, self.phrases[phrase])
        texts, other_texts = (len(side.texts) for side in self._sides)
        z = float(log_odds_z(said, texts, other_said, other_texts))
        return Term(spelled(phrase), said / texts, other_said / other_texts, z)

    def _saying(self, phrase: _Phrase) -> tuple[set[int], set[int]]:
        return self._sides[0].saying(phrase), self._sides[1].saying(phrase)


def _grown(phrase: _Phrase, side: _Side) -> _Phrase:
    """The longest phrase around a phrase that stands for it on one side."""
    texts = [side.texts[number] for number in sorted(side.saying(phrase))]
    while len(phrase) < MOST_WORDS:
        longer = Counter(chain.from_iterable({*_extended(words, phrase)} for words in texts))
        best = min(longer, key=lambda one: (-longer[one], one), default=phrase)
        if longer[best] < STANDS_FOR * len(texts):
            break
        phrase = best
    return phrase


def _places(words: list[str], phrase: _Phrase) -> Iterator[int]:
    """Where a text says a phrase."""
    length = len(phrase)
    return (at for at, word in enumerate(words) if word == phrase[0] and tuple(words[at : at + length]) == phrase)


def _extended(words: list[str], phrase: _Phrase) -> Iterator[_Phrase]:
    """The phrase with the word before it, and with the one after it, wherever a text says it."""
    for start in _places(words, phrase):
        stop = start + len(phrase)
        if start and words[start - 1] != BREAK:
            yield (words[start - 1], *phrase)
        if stop < len(words) and words[stop] != BREAK:
            yield (*phrase, words[stop])
