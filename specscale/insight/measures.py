"""How well each embedding tells the groups of a result apart."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from specscale import seeds
from specscale.features.kernel import ExactKernel
from specscale.insight.tails import Tail, opened, tails_of
from specscale.method.earlier import check_inputs
from specscale.method.inputs import pair_inputs
from specscale.method.options import Options
from specscale.places.files import Location
from specscale.results.comparison import ComparisonResult
from specscale.results.workplace import Workplace

__all__ = ["Agreement", "measures"]

SAMPLE_ROWS = 2000
_STARTS = 10


@dataclass(frozen=True)
class Agreement:
    """How one embedding sees the groups of one direction.

    Attributes
    ----------
    grouped_by : "A" or "B", the embedding whose groups they are
    embedding : "A" or "B", the embedding they are looked at in
    groups, members : how many there are; a row of several groups counts in the one where its |score| is largest
    nmi, ami : normalised and adjusted mutual information of the groups and of K-means with as many clusters
    silhouette : mean silhouette of the members, on a sample
    intra, inter : mean distance of two members of one group, and of two groups, on the same sample
    ratio : intra / inter
    note : why a number is missing, or None
    """

    grouped_by: str
    embedding: str
    groups: int
    members: int
    nmi: float | None = None
    ami: float | None = None
    silhouette: float | None = None
    intra: float | None = None
    inter: float | None = None
    ratio: float | None = None
    note: str | None = None


def measures(result: ComparisonResult | str | Location, top: int | None = None) -> list[Agreement]:
    """Measure how each embedding agrees with A's groups and with B's, as the paper evaluates its clusters.

    K-means NMI in both embeddings is the evaluation of SPEC (Jalali, Dibaei Nia and Farnia, ICML 2025); AMI,
    silhouette and distances go with it. Rows are normalised as they were compared.

    Parameters
    ----------
    result : a result whose embeddings can still be read, or its directory
    top : members of each group, by default all that the result keeps

    Returns
    -------
    list of Agreement
        A's groups in A and in B, then B's groups in A and in B.

    Raises
    ------
    ChangedError
        When the embeddings are no longer those that were compared.
    InputError, OptionError
        When they cannot be read any more; when `top` is less than one or no members were kept.
    """
    result = opened(result)
    options = result.parsed("options", Options.from_json)
    parted = {which: _parted([one for one in tails_of(result, top) if one.grouped_by == which]) for which in "AB"}
    everyone = np.unique(np.concatenate([rows for rows, _ in parted.values()]))
    vectors = _vectors(result, everyone, options) if len(everyone) else (np.empty((0, 1)), np.empty((0, 1)))
    return [
        measure(which, seen, raw[np.searchsorted(everyone, rows)], labels, options.seed)
        for which, (rows, labels) in parted.items()
        for seen, raw in zip("AB", vectors, strict=True)
    ]


def measure(
    grouped_by: str, embedding: str, vectors: NDArray[np.float64], labels: NDArray[np.int64], seed: int
) -> Agreement:
    """Measure how one embedding sees groups.

    Parameters
    ----------
    grouped_by, embedding : "A" or "B", for the answer
    vectors : (s, p), the members as the kernel sees them
    labels : (s,) the group of each
    seed : seed of K-means and of the sample
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score, silhouette_score
    from sklearn.metrics.pairwise import euclidean_distances

    members, groups = len(labels), len(np.unique(labels))
    if groups < 2 or members < 3:
        few = "fewer than two groups" if groups < 2 else "fewer than three members"
        return Agreement(grouped_by, embedding, groups, members, note=few)
    # Distances by products lose digits far from the origin, and no measure sees a shift.
    vectors = vectors - vectors.mean(axis=0)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than groups: the NMI shows it
        means = KMeans(groups, n_init=_STARTS, random_state=seed % (1 << 32)).fit(vectors)
    generator = seeds.clustered_rows(seed)
    drawn = np.sort(generator.choice(members, size=min(members, SAMPLE_ROWS), replace=False, shuffle=False))
    distances = euclidean_distances(vectors[drawn])
    found = labels[drawn]
    silhouette = None
    if 2 <= len(np.unique(found)) < len(found):
        silhouette = float(silhouette_score(distances, found, metric="precomputed"))
    same = found[:, None] == found
    inter = _mean(distances, ~same)
    np.fill_diagonal(same, False)
    intra = _mean(distances, same)
    return Agreement(
        grouped_by,
        embedding,
        groups,
        members,
        nmi=float(normalized_mutual_info_score(labels, means.labels_)),
        ami=float(adjusted_mutual_info_score(labels, means.labels_)),
        silhouette=silhouette,
        intra=intra,
        inter=inter,
        ratio=intra / inter if intra is not None and inter else None,
        note=None if silhouette is not None else "no silhouette: the members are of one group, or each of its own",
    )


def _mean(distances: NDArray[np.float64], chosen: NDArray[np.bool_]) -> float | None:
    return float(distances[chosen].mean()) if chosen.any() else None


def _parted(groups: list[Tail]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of some groups, ascending, and the group of each: of several the one where its |score| is largest."""
    if not groups:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    rows = np.concatenate([one.rows for one in groups])
    strengths = np.abs(np.concatenate([one.scores for one in groups]))
    numbers = np.repeat(np.arange(len(groups)), [len(one.rows) for one in groups])
    order = np.lexsort((numbers, -strengths, rows))
    rows, first = np.unique(rows[order], return_index=True)
    return rows, numbers[order][first]


def _vectors(result: ComparisonResult, numbers: NDArray[np.int64], options: Options) -> tuple[NDArray[np.float64], ...]:
    """Some rows of A and of B, by ascending numbers of A, of unit norm where directions were compared."""
    inputs = result.inputs()
    place = Workplace(None)
    try:
        rows = pair_inputs(inputs, options, place.folder)
        check_inputs(rows, result)
        positions = numbers if rows.kept is None else np.searchsorted(np.flatnonzero(rows.kept), numbers)
        vectors = tuple(raw.astype(np.float64) for raw in rows.take(positions))
        kernels = tuple(ExactKernel.restored(one) for one in result.maps)
    finally:
        place.leave()
    vectors = tuple(
        raw if one.affine is None else (raw - one.affine.shift) * one.affine.factor
        for raw, one in zip(vectors, kernels, strict=True)
    )
    if options.directions:
        vectors = tuple(raw / np.linalg.norm(raw, axis=1, keepdims=True) for raw in vectors)
    return vectors
