"""What the members of a group say that others do not: terms by contrast of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from scipy.special import ndtri, ndtri_exp

from specscale.insight.enrichment import log_upper_tail
from specscale.insight.words import BREAK, spelled, words_of

__all__ = ["Term", "contrasting_terms", "exact_z"]

ALPHA = 0.05  # chance of a single term too many, over all terms that are looked at
LEAST = 5  # texts that say a term
LEAST_SHARE = 0.01  # of the members' texts
STANDS_FOR = 2 / 3  # of the members that say a phrase: where more of them say a longer one, it takes its place
MOST_WORDS = 4  # of a phrase that shorter ones grow to

_Phrase = tuple[str, ...]


@dataclass(frozen=True)
class Term:
    """A word or a phrase that members say more often than others.

    Attributes
    ----------
    term : the words as they are written, in lower case
    share, other_share : texts that say it, as a share of the members' texts and of the others'
    z : how far apart the two are, as :func:`exact_z`
    """

    term: str
    share: float
    other_share: float
    z: float


def contrasting_terms(members: Sequence[object], others: Sequence[object], count: int = 5) -> list[Term]:
    """Find what members say that others do not.

    Words and pairs of neighbouring words are looked at, each counted once a text, and their shares on both sides are
    held against each other (:func:`exact_z`). A term is a finding when five texts and one in a hundred of the members'
    say it and z is above the normal quantile of 1 − 0.05 / m, where m terms are said by as many texts of both sides
    together (Bonferroni): of comparisons of members and others that were drawn from the same texts, at most one in 20
    finds a term. Shares and not words are compared, so that a long text counts as much as a short one; and words that
    every text has are not left out, since what parts a group may be how its texts are built.

    Findings that repeat one another are told once. Each, strongest first, grows to the phrase of up to four words
    that more than two thirds of the members who say it say, unless half of those words were told before. Findings that
    have a word of a phrase before them are left out: "relating" and "relating to" beside "of or relating to".

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
    found, bound = _findings(*sides)
    terms: list[Term] = []
    told: set[str] = set()
    for phrase in found:
        if len(terms) >= count:
            break
        if told.isdisjoint(phrase):
            longer = _grown(phrase, sides[0])
            term = _term(longer, *sides)
            if term.z < bound or 2 * len(told.intersection(longer)) >= len(longer):
                longer, term = phrase, _term(phrase, *sides)
            terms.append(term)
            told.update(longer)
    return sorted(terms, key=lambda term: (-term.z, term.term))


def exact_z(said: int, texts: int, other_said: int, other_texts: int) -> float:
    """Return the normal quantile of Fisher's exact test of two shares, one-sided.

    Parameters
    ----------
    said, other_said : texts of each side that say a term
    texts, other_texts : texts of each side

    Returns
    -------
    float
        z with as much of the normal law above it as the hypergeometric law has from `said` on; 0 where the share is not
        larger than the other, or a side has no text.
    """
    if said * other_texts <= other_said * texts:
        return 0.0
    return float(-ndtri_exp(log_upper_tail(said, texts, said + other_said, texts + other_texts)))


class _Side:
    """The texts of one side, as their words."""

    def __init__(self, cells: Iterable[object]) -> None:
        self.texts = [words for words in map(words_of, cells) if any(words)]

    def counts(self) -> Counter[_Phrase]:
        """How many texts say each word and each pair of words."""
        return Counter(chain.from_iterable({*zip(words, strict=True), *pairwise(words)} for words in self.texts))

    def saying(self, phrase: _Phrase) -> list[list[str]]:
        """The texts that say a phrase."""
        texts = [words for words in self.texts if phrase[0] in words]
        return texts if len(phrase) == 1 else [words for words in texts if any(True for _ in _places(words, phrase))]


def _findings(members: _Side, others: _Side) -> tuple[list[_Phrase], float]:
    """Words and pairs whose z is above the bound, by descending z, and the bound."""
    ours, theirs = members.counts(), others.counts()
    texts, other_texts = len(members.texts), len(others.texts)
    least = max(LEAST, LEAST_SHARE * texts)
    often = {one for counts in (ours, theirs) for one, said in counts.items() if 2 * said >= least and BREAK not in one}
    said_by = {one: (ours[one], theirs[one]) for one in often if ours[one] + theirs[one] >= least}
    pairs = {(said, other) for said, other in said_by.values() if said >= least}
    z_of = {(said, other): exact_z(said, texts, other, other_texts) for said, other in pairs}
    bound = float(-ndtri(ALPHA / max(len(said_by), 1)))
    found = sorted((-z_of[pair], one) for one, pair in said_by.items() if z_of.get(pair, 0) >= bound)
    return [one for _, one in found], bound


def _term(phrase: _Phrase, members: _Side, others: _Side) -> Term:
    """A phrase with its shares."""
    said, other_said = len(members.saying(phrase)), len(others.saying(phrase))
    texts, other_texts = len(members.texts), len(others.texts)
    return Term(spelled(phrase), said / texts, other_said / other_texts, exact_z(said, texts, other_said, other_texts))


def _grown(phrase: _Phrase, side: _Side) -> _Phrase:
    """The longest phrase around a phrase that stands for it on one side."""
    texts = side.saying(phrase)
    while len(phrase) < MOST_WORDS:
        longer = Counter(chain.from_iterable({*_extended(words, phrase)} for words in texts))
        best = min(longer, key=lambda one: (-longer[one], one), default=phrase)
        if longer[best] <= STANDS_FOR * len(texts):
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
