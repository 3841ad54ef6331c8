"""The bandwidth σ of a Gaussian kernel, chosen on a sample of the rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.errors import OptionError

__all__ = [
    "AUTO_TOP",
    "LARGEST_SIGMA",
    "LEAST_SIGMA",
    "SAMPLE_ROWS",
    "Bandwidth",
    "Rule",
    "bandwidth_cost",
    "choose_bandwidth",
    "parse_rule",
    "top_eigenvalue",
]

SAMPLE_ROWS = 4096
AUTO_TOP = 0.15
LEAST_SIGMA, LARGEST_SIGMA = 1e-30, 1e30  # float32 holds the frequencies, which are near 1/σ
_TILE = 512
_TRIALS = 4000  # multiplications a pair that a dozen trial bandwidths take as long as
_ROUNDING = 1e-6  # of the squared lengths: squared distances below it are what rounding leaves of equal rows


@dataclass(frozen=True)
class Rule:
    """How σ is to be found.

    Attributes
    ----------
    kind : "number", "median" (a multiple of the median distance) or "top" (a top eigenvalue of K/n)
    value : σ itself, the multiple, or the eigenvalue
    """

    kind: str
    value: float

    def __str__(self) -> str:
        form = {"number": "{:g}", "median": "{:g}*median", "top": "top={:g}"}[self.kind]
        return form.format(self.value)


@dataclass(frozen=True)
class Bandwidth:
    """A bandwidth and where it came from.

    Attributes
    ----------
    sigma : the bandwidth
    rule : the rule it was chosen by
    top_eigenvalue : largest eigenvalue of the exact K/n on the sample at σ; None when σ was given as a number
    warning : what the user should know, or None
    """

    sigma: float
    rule: str
    top_eigenvalue: float | None = None
    warning: str | None = None


def parse_rule(text: str | float, option: str = "--sigma-a") -> Rule:
    """Read a rule: ``auto``, ``median``, ``0.5*median``, ``top=0.14`` or a number.

    Raises
    ------
    OptionError
        When the rule is none of these, or its number is out of range.
    """
    text = str(text).strip()
    if text == "auto":
        return Rule("top", AUTO_TOP)
    scaled = re.fullmatch(r"(?:(?P<factor>[^*=]+)\*)?median|top=(?P<top>.+)|(?P<number>[^*=]+)", text)
    try:
        if scaled is None:
            raise ValueError
        kind = "top" if scaled["top"] else "number" if scaled["number"] else "median"
        value = float(scaled["factor"] or scaled["top"] or scaled["number"] or 1.0)
    except ValueError:
        raise OptionError(f"{option} is auto, median, 0.5*median, top=0.14 or a number, not {text!r}") from None
    if not 0 < value < np.inf:
        raise OptionError(f"{option} {text}: the bandwidth σ must be positive")
    if not LEAST_SIGMA <= value <= LARGEST_SIGMA:
        raise OptionError(f"{option} {text}: out of range, which is {LEAST_SIGMA:g} to {LARGEST_SIGMA:g}")
    if kind == "top" and value >= 1:
        raise OptionError(f"{option} {text}: a top eigenvalue of K/n lies between 0 and 1")
    return Rule(kind, value)


def choose_bandwidth(rule: Rule, sample: NDArray[np.float32] | None, name: str) -> Bandwidth:
    """Choose σ for one embedding.

    For a top eigenvalue the equation λ₁(K_σ / s) = value is solved for log σ; λ₁ grows with σ from the share of the
    largest group of duplicates to 1.

    Parameters
    ----------
    rule : how σ is to be found
    sample : (s, p) float32, rows drawn from the embedding, normalised and centred as the map will see them; None is
        enough for a number
    name : the embedding's name, for the warning

    Returns
    -------
    Bandwidth
    """
    if rule.kind == "number":
        return Bandwidth(rule.value, str(rule))
    assert sample is not None
    # A power of two brings the rows near 1 and changes no digit: squares of tiny rows would vanish, of huge overflow.
    exponent = int(np.frexp(np.abs(sample).max())[1])
    unit = 2.0**exponent
    squares = _square_distances(np.ldexp(sample, -exponent))
    median = _median_distance(squares)
    if median == 0:
        warning = f"{name}: all sampled rows are equal, so any bandwidth is the same: took 1"
        return Bandwidth(1.0, str(rule), 1.0, warning)
    start = np.full(len(sample), 1 / np.sqrt(len(sample)))
    if rule.kind == "median":
        sigma = rule.value * median
        return Bandwidth(unit * sigma, str(rule), top_eigenvalue(squares, sigma, start))
    duplicates = 1 - len(np.unique(sample, axis=0)) / len(sample)
    low, high = 1e-3 * median, 1e3 * median
    floor = top_eigenvalue(squares, low, start)
    if floor >= rule.value:
        return Bandwidth(
            unit * median,
            "median",
            top_eigenvalue(squares, median, start),
            f"{name}: no bandwidth brings the top eigenvalue down to {rule.value:g} ({len(sample):,} rows sampled, "
            f"{duplicates:.0%} of them duplicates): took the median distance {unit * median:.4g}",
        )
    # Regula falsi with the Illinois modification on log σ: a dozen evaluations, and the start vector is kept.
    a, b = np.log(low), np.log(high)
    fa, fb = floor - rule.value, top_eigenvalue(squares, high, start) - rule.value
    x, fx = a, fa
    for _ in range(60):
        x = b - fb * (b - a) / (fb - fa)
        if not min(a, b) < x < max(a, b) or abs(b - a) > 1.5:
            x = (a + b) / 2
        fx = top_eigenvalue(squares, float(np.exp(x)), start) - rule.value
        if abs(fx) < 1e-5 * rule.value or abs(b - a) < 1e-9:
            break
        if fx * fb < 0:
            a, fa = b, fb
        else:
            fa /= 2
        b, fb = x, fx
    return Bandwidth(unit * float(np.exp(x)), str(rule), fx + rule.value)


def top_eigenvalue(squares: NDArray[np.float32], sigma: float, start: NDArray[np.float64]) -> float:
    """Largest eigenvalue of K/s at a bandwidth, by the power method on a matrix with positive entries.

    Parameters
    ----------
    squares : (s, s) float32, squared distances
    sigma : bandwidth
    start : (s,) unit vector to start from; overwritten with the eigenvector
    """
    kernel = np.empty_like(squares)
    rate = np.float32(max(-0.5 / sigma**2, float(np.finfo(np.float32).min)))
    for low in range(0, len(squares), _TILE):
        tile = squares[low : low + _TILE] * rate
        np.exp(tile, out=kernel[low : low + _TILE])
    value = 0.0
    for _ in range(300):
        product = (kernel @ start.astype(np.float32)).astype(np.float64)
        norm = float(np.linalg.norm(product))
        converged = abs(norm - value) <= 1e-6 * norm
        value = norm
        start[:] = product / norm
        if converged:
            break
    return value / len(squares)


def bandwidth_cost(dimensions: Sequence[int], rows: int) -> Cost:
    """State what choosing bandwidths takes, one after another, on `rows` rows of embeddings of some dimensions."""
    return Cost(
        "bandwidth",
        memory=8 * rows**2 + 24 * rows * max(dimensions),
        operations=2.0 * rows**2 * sum(p + _TRIALS for p in dimensions),
    )


def _square_distances(sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distances of all pairs; those of equal rows are zero, not the rounding of the products."""
    # Not the mean, which one wild row carries away from all others.
    x = sample - np.median(sample, axis=0).astype(np.float32)
    lengths = np.einsum("ij,ij->i", x, x, dtype=np.float64).astype(np.float32)
    squares = np.asarray(x @ x.T)
    for low in range(0, len(squares), _TILE):
        tile = squares[low : low + _TILE]
        both = lengths[low : low + _TILE, None] + lengths
        tile *= -2
        tile += both
        tile[tile <= _ROUNDING * both] = 0
    np.fill_diagonal(squares, 0)
    return squares


def _median_distance(squares: NDArray[np.float32]) -> float:
    """Median distance of two rows of the sample; of those apart when most coincide; 0 when all do."""
    step = max(1, len(squares) // 1024)
    thin = np.sqrt(squares[::step])
    others = np.ones(thin.shape, dtype=np.bool_)
    others[np.arange(len(thin)), step * np.arange(len(thin))] = False
    distances = thin[others]
    apart = distances[distances > 0]
    if not apart.size:
        return 0.0
    return float(np.median(distances)) or float(np.median(apart))
