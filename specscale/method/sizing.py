"""Which rows are landmarks, and how many of them it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale import seeds
from specscale.embeddings.rows import PairedRows
from specscale.errors import OptionError
from specscale.features.base import mapped
from specscale.features.kernel import ExactKernel
from specscale.features.landmarks import LandmarkMap
from specscale.features.pivoting import CANDIDATES, pivoted_rows
from specscale.kernels.base import Kernels, RunTasks
from specscale.method.options import Options
from specscale.spectral.lanczos import GUARD, VectorModes, exact_modes, random_start

__all__ = ["SIZES", "TARGET", "Landmarks", "check_size", "chosen_landmarks"]

SIZES = (500, 1000, 2000)  # that ``auto`` tries, in this order
TARGET = 0.99  # of the leading modes, captured on a sample
_JUDGED_ROWS = 2048
_ALL_PAIRS = 4  # embeddings up to which every pair is judged
_TIE = 2.0  # standard errors between neighbours
_STEPS = 7  # of a block Krylov iteration from a random start: enough for a share to three digits

_Matrix = NDArray[Any]


@dataclass(frozen=True)
class Landmarks:
    """Landmark maps and why there are so many.

    Attributes
    ----------
    maps : the map of each embedding, of the same rows
    captured : share of the exact leading modes of a sample that they capture; None where it was not estimated
    apart : how many of these modes stand out from those that follow, and the share of them that is captured; looked at
        where the target is missed
    """

    maps: tuple[LandmarkMap, ...]
    captured: float | None
    apart: tuple[int, float] = (0, 1.0)

    def __str__(self) -> str:
        count = len(self.maps[0].rows)
        if self.captured is None:
            return f"{count:,} landmarks"
        text = f"{count:,} landmarks capture {self.captured:.3f} of the leading modes of a sample"
        if self.captured >= TARGET:
            return f"{text} (target {TARGET:g})"
        standing, share = self.apart
        if share >= TARGET:
            if not standing:
                return f"{text}, none of which stands out from those that follow"
            those = f"{share:.3f} of the {standing} that stand out (target {TARGET:g})"
            return f"{text}, and {those}: the others all but tie with those that follow"
        return f"{text}, less than the target {TARGET:g}: a larger --size or --refine 1 brings them nearer"


def check_size(options: Options, n: int) -> None:
    """Raise OptionError when more landmarks are asked for than the n rows that are compared."""
    if options.features == "landmarks" and options.size is not None and options.size > n:
        raise OptionError(
            f"--size {options.size}: more landmarks than the {n:,} rows that are compared: take --size {n} or less"
        )


def chosen_landmarks(
    rows: PairedRows,
    exact: tuple[ExactKernel, ...],
    options: Options,
    most: int,
    sample: tuple[NDArray[np.int64], tuple[NDArray[Any], ...]],
    kernels: Kernels,
    run: RunTasks,
    taken: int | None = None,
) -> Landmarks:
    """Draw landmark rows, shared by all embeddings, and make the maps.

    Where their number is left open, the first of SIZES is taken that captures the leading modes of a sample of other
    rows: the mean squared norm of their exact eigenvectors inside the space of the approximate ones.

    Parameters
    ----------
    rows : the paired rows
    exact : the kernel of each embedding
    options : size, way of drawing, seed, and η and the number of modes for which accuracy is judged
    most : the largest size that fits in memory
    sample : positions and rows of a seeded sample
    kernels : a backend of host memory
    run : executes independent tasks
    taken : the number that an interrupted run took, if this one takes it up

    Raises
    ------
    OptionError
        When more landmarks are asked for than there are rows.
    """
    n = rows.n_kept
    check_size(options, n)
    if options.size is not None:
        return Landmarks(_maps(rows, exact, options, options.size, kernels, run), None)
    sizes = [size for size in SIZES if size < min(most, n)] + ([min(most, n)] if min(most, n) <= SIZES[-1] else [])
    if taken is not None and taken <= n:
        sizes = [taken]
    found = None
    for size in sizes:
        maps = _maps(rows, exact, options, size, kernels, run)
        if size == n:
            return Landmarks(maps, None)
        found = Landmarks(maps, *_captured(exact, maps, options, sample, kernels))
        if found.captured is not None and found.captured >= TARGET:
            break
    assert found is not None
    return found


def _maps(
    rows: PairedRows, exact: tuple[ExactKernel, ...], options: Options, size: int, kernels: Kernels, run: RunTasks
) -> tuple[LandmarkMap, ...]:
    if options.landmarks == "pivoted":
        candidates, raw = rows.sample(max(CANDIDATES, size), options.seed, seeds.LANDMARKS)
        chosen = pivoted_rows(exact, raw, size, options.seed, kernels)
        positions, landmarks = candidates[chosen], tuple(one[chosen] for one in raw)
    else:
        positions, landmarks = rows.sample(size, options.seed, seeds.LANDMARKS)
    maps: list[LandmarkMap | None] = [None] * len(exact)

    def make(which: int) -> None:
        maps[which] = LandmarkMap.of(exact[which], positions, landmarks[which])

    run([lambda which=which: make(which) for which in range(len(exact))])  # type: ignore[misc]
    return tuple(one for one in maps if one is not None)


def _captured(
    exact: tuple[ExactKernel, ...],
    maps: tuple[LandmarkMap, ...],
    options: Options,
    sample: tuple[NDArray[np.int64], tuple[NDArray[Any], ...]],
    kernels: Kernels,
) -> tuple[float | None, tuple[int, float]]:
    """Share of the exact leading modes of sampled rows that are no landmarks which lies in the approximate ones.

    With it, as :attr:`Landmarks.apart`, how many of these stand out, and their share. Of more than two embeddings it is
    the mean over their pairs, of many over each with the next.
    """
    positions, raw = sample
    free = np.flatnonzero(~np.isin(positions, maps[0].rows))
    free = free[:: max(1, len(free) // _JUDGED_ROWS)][:_JUDGED_ROWS]
    if len(free) <= 4 * (options.n_modes + GUARD):
        return None, (0, 1.0)
    numbers = range(len(maps))
    held: dict[int, tuple[_Matrix, _Matrix]] = {}
    shares = []
    for i, j in combinations(numbers, 2) if len(maps) <= _ALL_PAIRS else pairwise(numbers):
        for which in (i, j):
            if which not in held:
                held[which] = _kernels_of(exact[which], maps[which], raw[which][free], kernels)
        held = {which: both for which, both in held.items() if which >= i}
        truth, found = (1 / len(free) * a + -options.eta / len(free) * b for a, b in zip(held[i], held[j], strict=True))
        shares.append(_share(truth, found, options.n_modes))
    standing = np.concatenate([apart for _, apart in shares])
    return float(np.mean([share for share, _ in shares])), (
        len(standing),
        float(standing.mean()) if len(standing) else 1.0,
    )


def _kernels_of(exact: ExactKernel, one: LandmarkMap, raw: NDArray[Any], kernels: Kernels) -> tuple[_Matrix, _Matrix]:
    """The exact and the approximate kernel matrix of some rows, (s, s) each."""
    chosen = np.ascontiguousarray(raw)
    standardised, _ = exact.standardised(kernels, chosen)
    values = np.empty((len(chosen), len(chosen)), dtype=kernels.real)
    exact.anchors(kernels, chosen).evaluate(kernels, standardised, slice(None), values)
    features, _ = mapped(one, kernels, chosen)
    return values, features @ features.T


def _share(truth: _Matrix, found: _Matrix, n_modes: int) -> tuple[float, NDArray[np.float64]]:
    """Mean squared norm of the leading eigenvectors of one matrix inside the space of the other's.

    Where the mean misses the target, with it come the squared norms of those eigenvectors that stand out.
    """
    wanted, near = _leading(truth, n_modes), _leading(found, n_modes + GUARD)  # the last wanted may tie with the next
    shares, norms = [], np.zeros(len(wanted.eigenvalues))
    for sign in (1, -1):
        inside = near.vectors[:, sign * near.eigenvalues > 0].T @ wanted.vectors[:, sign * wanted.eigenvalues > 0]
        if inside.shape[1]:
            norms[sign * wanted.eigenvalues > 0] = squares = np.linalg.norm(inside, axis=0) ** 2
            shares.append(float(squares.mean()))
    share = float(np.mean(shares)) if shares else 1.0
    return share, norms[_standing_out(truth, wanted, n_modes)] if share < TARGET else norms[:0]


def _standing_out(matrix: _Matrix, modes: VectorModes, n_modes: int) -> NDArray[np.bool_]:
    """Which leading modes no chain of near ties joins to the last of those that follow.

    Eigenvalues tie where they are nearer to one another than the sampling of rows can have put them.
    """
    values, s = modes.eigenvalues, len(matrix)
    se = np.abs(values) * np.sqrt(np.maximum((modes.vectors**4).sum(axis=0) - 1 / s, 0))
    all_values = _leading(matrix, n_modes + GUARD).eigenvalues
    out = np.zeros(len(values), dtype=np.bool_)
    for sign in (1, -1):
        here = np.flatnonzero(sign * values > 0)
        side = np.zeros(n_modes + GUARD)
        found = sign * all_values[sign * all_values > 0]
        side[: len(found)] = found
        errors = np.resize(se[here], len(side)) if len(here) else np.zeros(len(side))
        errors[len(here) :] = errors[len(here) - 1] if len(here) else 0.0
        jumps = np.flatnonzero(side[:-1] - side[1:] > _TIE * errors[:-1])
        out[here[: int(jumps[-1]) + 1 if len(jumps) else 0]] = True
    return out


def _leading(matrix: _Matrix, n_modes: int) -> VectorModes:
    """The leading eigenvectors at both ends of a symmetric matrix, which may have any rank."""

    def multiply(block: NDArray[np.float64], _: int) -> NDArray[np.float64]:
        product = matrix @ block.astype(matrix.dtype)
        return np.stack([product.astype(np.float64), np.zeros_like(block)])

    def run(tasks: Sequence[Callable[[], None]]) -> None:
        for task in tasks:
            task()

    return exact_modes(multiply, random_start(len(matrix), n_modes), 0.0, n_modes, _STEPS, run)
