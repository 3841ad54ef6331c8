"""Groups against what is known: planted ones, pairs that have none, words, digits, and two simpler rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

import specscale as ss
from bench.common import WORDNET, report, workspace
from bench.group_data import KINDS, Match, Planted, Rows, likest, matched, nothing, planted
from bench.group_rules import cut_by_likeness, cut_by_the_mean
from specscale.method.result import Result
from specscale.results.groups import Group

ROWS = 20_000
A_SIZES, B_SIZES = (2000, 1200, 600, 300, 100), (1500, 800, 400, 200)
MAPS: dict[str, dict[str, Any]] = {
    "landmarks": {"features": "landmarks", "size": 500},
    "fourier": {"features": "fourier", "size": 1000},
    "orthogonal": {"features": "orthogonal", "size": 1000},
    "linear": {"features": "linear", "kernel": "cosine"},
    "refined": {"features": "landmarks", "size": 200, "refine": 1},
    "exact": {"features": "exact"},
}
MNIST = WORDNET.parent / "mnist" / "mnist.npz"
TEXTS = {"normalize": "unit", "on_bad": "drop"}
_BAND = 1000
_SIGMA = "top=0.02"  # a kernel that tells digits apart


def run(seeds: int = 20, kind_seeds: int = 3, null_seeds: int = 50, null_rows: int = 5000) -> None:
    """Print the tables."""
    planted_groups(range(seeds))
    kinds(range(kind_seeds))
    rules()
    nulls(range(null_seeds), null_rows)
    if WORDNET.exists():
        words()
    if MNIST.exists():
        digits()


def planted_groups(seeds: Sequence[int], n: int = ROWS) -> None:
    """Groups of 100 to 2,000 rows, of A's and of B's."""
    found: dict[tuple[str, int], list[Match]] = {}
    invented = 0
    for seed in seeds:
        pair = planted(n, seed, A_SIZES, B_SIZES)
        matches, others = matched(compared(pair, seed).groups, pair.truth)
        invented += len(others)
        for one in matches:
            found.setdefault((one.which, one.size), []).append(one)
    table = [
        {
            "group of": which,
            "rows": size,
            "found": sum(one.jaccard >= 0.9 for one in matches),
            "of": len(matches),
            "Jaccard, least": min(one.jaccard for one in matches),
            "Jaccard, median": float(np.median([one.jaccard for one in matches])),
            "size, least": min(one.found for one in matches) / size,
            "size, most": max(one.found for one in matches) / size,
        }
        for (which, size), matches in found.items()
    ]
    report(
        "groups_planted",
        table,
        f"{n:,} rows, nine groups that one embedding holds together and the other scatters, {len(seeds)} seeds; "
        "found: a certified group with Jaccard ≥ 0.9; size: rows found over the true ones; groups certified beside: "
        f"{invented}",
    )


def kinds(seeds: Sequence[int], n: int = ROWS) -> None:
    """Groups of many kinds."""
    table = []
    for name, make in KINDS.items():
        matches, invented = [], 0
        for seed in seeds:
            pair = make(n, seed)
            here, others = matched(compared(pair, seed).groups, pair.truth)
            matches += here
            invented += len(others)
        table.append({"kind": name, **_line(matches), "certified beside": invented})
    report(
        "groups_kinds",
        table,
        f"{n:,} rows, {len(seeds)} seeds; of 30 rows to n/5, tight and wide (in each dimension 0.05 and 0.7 of the "
        "spread of all rows, else 0.35), near-duplicates (0.001), overlapping (rows half-way between two of "
        "A's; rows of a group of A's and of one of B's), nested, and all rows in one of eight groups of "
        "A's and of B's; found: a certified group with Jaccard ≥ 0.8",
    )


def rules(n: int = ROWS, seed: int = 0) -> None:
    """What two simpler rules make of the same modes."""
    table = []
    worlds = {"planted": lambda n, seed: planted(n, seed, A_SIZES, B_SIZES), **KINDS}
    for name, make in worlds.items():
        pair = make(n, seed)
        result = compared(pair, seed)
        ours = [(one.grouped_by, one.rows()) for one in result.groups if one.certified]
        for rule, candidates in (
            ("groups", ours),
            ("cut by the mean within", cut_by_the_mean(result, pair.a, pair.b)),
            ("likeness to drifting cores", cut_by_likeness(result, pair.a, pair.b)),
        ):
            matches = [likest(which, rows, candidates) for which, rows in pair.truth]
            beside = [one for one in candidates if likest(*one, pair.truth).jaccard < 0.5]
            table.append({"kind": name, "rule": rule, **_line(matches), "sets beside": len(beside)})
    report(
        "groups_rules",
        table,
        f"{n:,} rows, seed {seed}; cut by the mean within: the first rows of a rotated tail, as long as the mean "
        "similarity within is half of its best; likeness to drifting cores: the 50 first rows, twice replaced by the "
        "better half of the members, and half of the core's median likeness from zero; neither has evidence, and each "
        "tail gives a set: beside are those with Jaccard below 0.5",
    )


def nulls(seeds: Sequence[int], n: int) -> None:
    """Pairs that differ in nothing but noise."""
    table = []
    for name, options in MAPS.items():
        rows = min(n, 2000) if name in ("exact", "refined") else n
        certified, candidates, edges, margins = 0, 0, [], []
        for seed in seeds:
            _, pair = nothing(rows, seed)
            for one in ss.compare(*pair, certify=0, top=1, seed=seed, **options).groups:
                candidates += 1
                certified += one.certified
                edges.append(1.0 if one.edge is None else one.edge)
                if one.held_out_contrast is not None:
                    margins.append(one.held_out_contrast / max(one.null_contrast, 1e-9))
        table.append(
            {
                "map": name,
                "rows": rows,
                "pairs": len(seeds),
                "candidates": candidates,
                "certified": certified,
                "edge, least": min(edges, default=None),
                "contrast / null, most": max(margins, default=None),
            }
        )
    report(
        "groups_nulls",
        table,
        "an embedding against its rotation, or twice with noise of its own (0.02 to 2 times its spread): planted "
        "groups, clusters in 1 to 100 dimensions, heavy tails, a spectrum that falls; contrast on the half held out, "
        "over what clouds without groups show",
    )


def words() -> None:
    """The WordNet pair: what groups are, their similarities over all pairs, and the groups of two halves."""
    x, y = (np.load(WORDNET / name, mmap_mode="r") for name in ("lsa.npy", "minilm.npy"))
    labels = np.array(pq.read_table(WORDNET / "rows.parquet", columns=["label"])["label"].to_pylist())
    with workspace() as folder:
        result = ss.compare(x, y, out=folder / "all.spec", certify=0, **TEXTS)
        table = [described(one, labels) | exact_within(one, (x, y), result) for one in result.groups if one.certified]
        report(
            "groups_wordnet",
            table,
            "LSA (A) and MiniLM (B) of WordNet's definitions, 107,510 rows; the label that is most frequent among a "
            "group's members beyond its share of all rows; s: similarity as reported, and over all pairs of members in "
            "float64; off: their difference in estimate errors",
        )
        stability(x, y)


def stability(x: NDArray[Any], y: NDArray[Any], seed: int = 0) -> None:
    """Groups of two halves of the rows, matched by the likeness of all rows to their cores."""
    usable = np.flatnonzero(np.all([np.abs(one).max(axis=1) > 0 for one in (x, y)], axis=0))
    order = np.random.default_rng(seed).permutation(usable)
    halves = [np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])]
    found = [members_of_all(x, y, half, usable, seed) for half in halves]
    sets = [[(which, rows) for which, _, rows in half] for half in found]
    best = [
        [(likest(which, rows, theirs).jaccard, verdict) for which, verdict, rows in half]
        for half, theirs in zip(found, sets[::-1], strict=True)
    ]
    table = [
        {
            "half": number + 1,
            "verdict": kind,
            "certified": len(values),
            "Jaccard ≥ 0.5": sum(one >= 0.5 for one in values),
            "Jaccard, median": float(np.median(values)) if values else None,
        }
        for number, half in enumerate(best)
        for kind in ("group", "theme")
        for values in [[one for one, verdict in half if verdict == kind]]
    ]
    report(
        "groups_stability",
        table,
        "WordNet, two halves of the rows compared apart: the certified groups of each, and of these those for which "
        "the other half has one whose members, among all rows, agree",
    )


def members_of_all(
    x: NDArray[Any], y: NDArray[Any], half: Rows, everything: Rows, seed: int
) -> list[tuple[str, str, Rows]]:
    """The certified groups of some rows: their direction, verdict, and members among all rows."""
    result = ss.compare(x[half], y[half], certify=0, seed=seed, **TEXTS)
    exact = kernels_of(result)
    found = []
    for one in result.groups:
        if one.certified:
            core = half[np.array(one.core)]
            means = [kernel_means(exact[which], raw, everything, core) for which, raw in enumerate((x, y))]
            likeness = means[0] - means[1] if one.grouped_by == "A" else means[1] - means[0]
            found.append((one.grouped_by, one.verdict, everything[likeness >= one.threshold]))
    return found


def digits() -> None:
    """70,000 images of digits: their pixels, and histograms of the directions of their gradients."""
    with np.load(MNIST) as stored:
        images = np.concatenate([stored["x_train"], stored["x_test"]])
        labels = np.concatenate([stored["y_train"], stored["y_test"]])
    pixels = (images.reshape(len(images), -1) / 255).astype(np.float32)
    result = ss.compare(pixels, gradients(images), certify=0, n_modes=12, size=500, sigma=(_SIGMA, _SIGMA))
    table = [described(one, labels) for one in result.groups if one.certified]
    report(
        "groups_digits",
        table,
        "70,000 MNIST images, pixels (A) against histograms of gradient directions (B; 8 directions in 7 × 7 cells, "
        "unit norm), σ by top=0.02; the digit that is most frequent among a group's members beyond its share of all",
    )


def gradients(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Histograms of the directions of gradients, 8 in each of 7 × 7 cells of 4 × 4 pixels, at unit length."""
    out = np.empty((len(images), 7 * 7 * 8), dtype=np.float32)
    for low in range(0, len(images), 5000):
        down, along = np.gradient(images[low : low + 5000].astype(np.float32), axis=(1, 2))
        strength = np.hypot(down, along)
        direction = ((np.arctan2(down, along) + np.pi) * (8 / (2 * np.pi))).astype(np.int64) % 8
        cells = [np.where(direction == one, strength, 0).reshape(-1, 7, 4, 7, 4).sum(axis=(2, 4)) for one in range(8)]
        out[low : low + 5000] = np.sqrt(np.stack(cells, axis=-1)).reshape(len(strength), -1)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def compared(pair: Planted, seed: int) -> Result:
    """A comparison of planted rows."""
    return ss.compare(pair.a, pair.b, certify=0, top=1, seed=seed)


def described(one: Group, labels: NDArray[Any]) -> dict[str, Any]:
    """What is said of a group, and the label that its members have more often than others."""
    rows = one.rows()
    values, counts = np.unique(labels[rows], return_counts=True)
    most = int(np.argmax(counts * np.log(counts / len(rows) / [np.mean(labels == value) for value in values])))
    share = counts[most] / len(rows)
    return {
        "group of": one.grouped_by,
        "verdict": one.verdict,
        "rows": one.size,
        "s A": one.similarity_a,
        "s B": one.similarity_b,
        "contrast": one.contrast,
        "null": one.null_contrast,
        "edge": one.edge,
        "AUC A": one.auc_a,
        "AUC B": one.auc_b,
        "distinct": one.distinct,
        "label": str(values[most]),
        "share of members": float(share),
        "times its share": float(share / np.mean(labels == values[most])),
    }


def exact_within(one: Group, raw: Sequence[NDArray[Any]], result: Result) -> dict[str, Any]:
    """The similarities of a group over all pairs of its members, and how far those reported are from them."""
    rows = one.rows()
    found: dict[str, Any] = {}
    for name, kernel, x, said in zip("AB", kernels_of(result), raw, (one.similarity_a, one.similarity_b), strict=True):
        total = kernel_means(kernel, x, rows, rows).sum() * len(rows) - len(rows)
        dense = float(total / (len(rows) * (len(rows) - 1)))
        found[f"s {name}, all pairs"] = dense
        found[f"off {name}"] = abs(dense - said) / max(one.estimate_error, 1e-6)
    return found


def kernels_of(result: Result) -> list[float]:
    """The bandwidths of a comparison of rows of unit norm."""
    return [one["sigma"] for one in result.summary["bandwidths"].values()]


def kernel_means(sigma: float, raw: NDArray[Any], rows: Rows, anchors: Rows) -> NDArray[np.float64]:
    """The mean Gaussian kernel of each of some rows with others, at unit length, in float64: exp((u · v − 1) / σ²)."""
    z = _unit(raw[anchors])
    out = np.empty(len(rows))
    for low in range(0, len(rows), _BAND):
        x = _unit(raw[rows[low : low + _BAND]])
        out[low : low + _BAND] = np.exp((x @ z.T - 1) / sigma**2).sum(axis=1)
    return out / len(anchors)


def _unit(x: NDArray[Any]) -> NDArray[np.float64]:
    wide = np.asarray(x, dtype=np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def _line(matches: Sequence[Match]) -> dict[str, Any]:
    """How many planted groups came out, and how well."""
    return {
        "groups": len(matches),
        "found": sum(one.jaccard >= 0.8 for one in matches),
        "Jaccard, least": min(one.jaccard for one in matches),
        "Jaccard, median": float(np.median([one.jaccard for one in matches])),
    }
