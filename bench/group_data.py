"""Pairs of embeddings of which the groups are known: planted ones of many kinds, and pairs that have none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.results.groups import Group

Rows = NDArray[np.int64]
Embedding = NDArray[np.float32]

P_A, P_B = 32, 24  # dimensions of what is planted
SPREAD = 0.35  # of a group in each dimension; all other rows have 1


@dataclass(frozen=True)
class Planted:
    """A pair of embeddings.

    Attributes
    ----------
    a, b : (n, 32) and (n, 24) float32
    truth : of each group the embedding that holds it together, "A" or "B", and its rows, ascending
    """

    a: Embedding
    b: Embedding
    truth: list[tuple[str, Rows]]


class Field:
    """Normal rows, of which B has a part of what A has, and groups that are moved out of them.

    A group has a place of its own in one embedding; in the other its rows are drawn anew, from all of it.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.generator = np.random.default_rng([seed, n])
        self.a = self.generator.standard_normal((n, P_A))
        self.b = self.a @ np.linalg.qr(self.generator.standard_normal((P_A, P_A)))[0][:, :P_B]
        self._free = self.generator.permutation(n)
        self.truth: list[tuple[str, Rows]] = []

    def take(self, size: int) -> Rows:
        """Some rows that no group has yet."""
        taken, self._free = self._free[:size], self._free[size:]
        return np.sort(taken)

    def place(self, which: str) -> NDArray[np.float64]:
        """A place at random."""
        return self.generator.standard_normal(P_A if which == "A" else P_B)

    def move(self, which: str, rows: Rows, centre: NDArray[np.float64], spread: float) -> None:
        """Gather rows around a place in one embedding, and leave the other as it is."""
        where = self.a if which == "A" else self.b
        where[rows] = centre + spread * self.generator.standard_normal((len(rows), where.shape[1]))

    def scatter(self, which: str, rows: Rows) -> None:
        """Draw rows anew from all of an embedding."""
        where = self.a if which == "A" else self.b
        where[rows] = self.generator.standard_normal((len(rows), where.shape[1]))

    def plant(self, which: str, size: int, spread: float = SPREAD) -> Rows:
        """A group."""
        rows = self.take(size)
        self.move(which, rows, self.place(which), spread)
        self.scatter("B" if which == "A" else "A", rows)
        self.truth.append((which, rows))
        return rows

    def planted(self) -> Planted:
        """What has come of it."""
        return Planted(self.a.astype(np.float32), self.b.astype(np.float32), self.truth)


def planted(n: int, seed: int, a: Sequence[int], b: Sequence[int], spread: float = SPREAD) -> Planted:
    """Groups of some sizes that A holds together, and some that B does."""
    field = Field(n, seed)
    for which, sizes in (("A", a), ("B", b)):
        for size in sizes:
            field.plant(which, size, spread)
    return field.planted()


def of_all_sizes(n: int, seed: int) -> Planted:
    """From 30 rows to a fifth of all."""
    return planted(n, seed, (30, 100, n // 40, n // 5), (60, n // 80, n // 10))


def tight(n: int, seed: int) -> Planted:
    return planted(n, seed, (n // 20, n // 60), (n // 30,), spread=0.05)


def wide(n: int, seed: int) -> Planted:
    """Rows a group of which spreads over seven tenths of what all rows do."""
    return planted(n, seed, (n // 10, n // 25), (n // 15,), spread=0.7)


def near_duplicates(n: int, seed: int) -> Planted:
    """Rows that all but repeat one another."""
    return planted(n, seed, (n // 50, n // 100), (n // 70,), spread=1e-3)


def overlapping(n: int, seed: int) -> Planted:
    """Two groups of A with rows half-way between them, that are of both; one of A and one of B that share rows."""
    field, size = Field(n, seed), n // 25
    left, right, both = field.take(size), field.take(size), field.take(size // 3)
    centre, apart = field.place("A"), field.place("A")
    apart *= 2.2 / np.linalg.norm(apart)
    for rows, place in ((left, centre + apart), (right, centre - apart), (both, centre)):
        field.move("A", rows, place, 0.2)
        field.scatter("B", rows)
    field.truth += [("A", np.sort(np.concatenate([one, both]))) for one in (left, right)]
    ours, theirs, shared = (field.take(size // 2) for _ in range(3))
    field.scatter("A", theirs)
    field.scatter("B", ours)
    for which, rows in (("A", ours), ("B", theirs)):
        own = np.sort(np.concatenate([rows, shared]))
        field.move(which, own, field.place(which), SPREAD)
        field.truth.append((which, own))
    return field.planted()


def nested(n: int, seed: int) -> Planted:
    """A wide group of A that has a tight one within it, off its middle.

    Its other rows are less than half as like the rows of the tight one as these are, so that there are two groups.
    """
    field = Field(n, seed)
    outer = field.plant("A", n // 12, 0.55)
    centre = field.a[outer].mean(axis=0)
    inner = np.sort(field.generator.permutation(outer)[: n // 50])
    off = field.place("A")
    field.move("A", inner, centre + 4.5 * off / np.linalg.norm(off), 0.1)
    field.truth.append(("A", inner))
    return field.planted()


def crossed(n: int, seed: int) -> Planted:
    """All rows are of a group of A's and of one of B's, which know nothing of one another."""
    field, truth = Field(n, seed), []
    for which in "AB":
        labels = field.generator.integers(0, 8, n)
        for label in range(8):
            rows = np.flatnonzero(labels == label)
            field.move(which, rows, field.place(which), SPREAD)
            truth.append((which, rows))
    field.truth = truth
    return field.planted()


KINDS: dict[str, Callable[[int, int], Planted]] = {
    "of all sizes": of_all_sizes,
    "tight": tight,
    "wide": wide,
    "near-duplicates": near_duplicates,
    "overlapping": overlapping,
    "nested": nested,
    "both cluster, differently": crossed,
}


def rotated(x: NDArray[Any], generator: np.random.Generator) -> tuple[Embedding, Embedding]:
    """An embedding and its rotation, which have the same kernel."""
    turn = np.linalg.qr(generator.standard_normal((x.shape[1], x.shape[1])))[0]
    return x.astype(np.float32), (x @ turn).astype(np.float32)


def noisy(x: NDArray[Any], noise: float, generator: np.random.Generator) -> tuple[Embedding, Embedding]:
    """An embedding twice, with noise of its own each time, of so many times its own spread."""
    spread = noise * x.std(axis=0).mean()
    first, second = (x + spread * generator.standard_normal(x.shape) for _ in range(2))
    return first.astype(np.float32), second.astype(np.float32)


def clusters(n: int, p: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Rows of six clusters that lie over one another."""
    return 2 * generator.standard_normal((6, p))[generator.integers(6, size=n)] + generator.standard_normal((n, p))


def nothing(n: int, seed: int) -> tuple[str, tuple[Embedding, Embedding]]:
    """One of the pairs that differ in nothing but noise, by the seed."""
    generator = np.random.default_rng([seed, n, 1])
    noise = float(generator.choice([0.02, 0.1, 0.3, 0.6, 1.0, 2.0]))
    kind = seed % 5
    if kind < 2:
        x = np.asarray(planted(n, seed, (n // 10, n // 20, n // 50), ()).a, dtype=np.float64)
    elif kind == 2:
        x = clusters(n, int(generator.choice([1, 2, 3, 16, 100])), generator)
    elif kind == 3:
        x = generator.standard_normal((n, 16)) * np.exp(0.5 * generator.standard_normal((n, 1)))
    else:
        x = generator.standard_normal((n, 40)) * np.arange(1, 41) ** -0.7
    name = ("planted", "planted", "clusters", "heavy tails", "a spectrum that falls")[kind]
    if kind == 0:
        return f"{name}, rotated", rotated(x, generator)
    return f"{name}, noise {noise:g}", noisy(x, noise, generator)


def jaccard(one: Rows, other: Rows) -> float:
    """The share that two sets of rows have in common of what either has."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(len(one) + len(other) - shared, 1)


@dataclass(frozen=True)
class Match:
    """How a planted group came out.

    Attributes
    ----------
    which : the embedding that holds it together
    size : its rows
    jaccard : with what is most like it, of the certified groups of its direction
    found : rows of that
    """

    which: str
    size: int
    jaccard: float
    found: int


def likest(which: str, rows: Rows, sets: Sequence[tuple[str, Rows]]) -> Match:
    """How some rows of an embedding's came out: the set of its own that is most like them."""
    found = [(jaccard(rows, members), len(members)) for kind, members in sets if kind == which]
    return Match(which, len(rows), *max(found, default=(0.0, 0)))


def matched(groups: Sequence[Group], truth: Sequence[tuple[str, Rows]]) -> tuple[list[Match], list[Group]]:
    """What became of the planted groups, and the certified groups that are none of them."""
    certified = [one for one in groups if one.certified]
    sets = [(one.grouped_by, one.rows()) for one in certified]
    beside = [one for one, own in zip(certified, sets, strict=True) if likest(*own, truth).jaccard < 0.5]
    return [likest(which, rows, sets) for which, rows in truth], beside
