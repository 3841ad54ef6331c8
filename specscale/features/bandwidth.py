"""The bandwidth σ of a Gaussian kernel, chosen on a sample of the rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    "degenerate_state",
    "degenerate_warning",
    "parse_rule",
    "top_eigenvalue",
]

SAMPLE_ROWS = 4096
AUTO_TOP = 0.15
LEAST_SIGMA, LARGEST_SIGMA = 1e-30, 1e30  # float32 holds the frequencies, which are near 1/σ
_TILE = 512
_TRIALS = 4000  # multiplications a pair that a dozen trial bandwidths take as long as
_ROUNDING = 1e-11  # of the squared lengths: squared distances below it are what float32 leaves of equal rows
_FINE_ROUNDING = 2.0**-49  # the same in float64
_LARGEST = float(np.finfo(np.float32).max)
_MOST_STEPS = 300  # of the Lanczos method, which takes 3 to 40 of them
_LEAST_STEPS = 3
_RESIDUAL = 1e-5  # of the eigenvalue; the products in float32 leave about 1e-6
_TELLING = 0.25  # of a distance, a bandwidth at which the kernel is all but zero there
_CONSTANT = 0.995  # a top eigenvalue above which the kernel tells next to nothing apart


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
        if self == Rule("median", 1.0):
            return "median"
        form = {"number": "{:g}", "median": "{:g}*median", "top": "top={:g}"}[self.kind]
        return form.format(self.value)


@dataclass(frozen=True)
class Bandwidth:
    """A bandwidth and where it came from.

    Attributes
    ----------
    sigma : the bandwidth
    rule : the rule it was chosen by
    top_eigenvalue : largest eigenvalue of the exact K/n on the sample at σ; None when there was no sample
    warning : what the user should know, or None
    """

    sigma: float
    rule: str
    top_eigenvalue: float | None = None
    warning: str | None = None

    def describe(self) -> str:
        """The bandwidth and why it is that, for people: ``0.683 (top eigenvalue 0.15)``."""
        factor, times, _ = self.rule.rpartition("*median")
        if times:
            reasons = [f"{factor} times the median distance"]
        elif self.rule == "median":
            reasons = ["the median distance"]
        else:
            reasons = [] if self.rule.startswith("top=") else ["as given"]
        if self.top_eigenvalue is not None:
            reasons.append(f"top eigenvalue {self.top_eigenvalue:.2g}")
        return f"{self.sigma:.4g} ({', '.join(reasons)})"


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


def choose_bandwidth(rule: Rule, sample: NDArray[np.floating[Any]] | None, name: str) -> Bandwidth:
    """Choose σ for one embedding.

    Parameters
    ----------
    rule : how σ is to be found
    sample : (s, p) rows drawn from the embedding, normalised and centred as the map will see them, in float64 where the
        kernel is evaluated in it; None is enough for a number, of which then nothing is known
    name : the embedding's name, for the warning

    Returns
    -------
    Bandwidth
    """
    if rule.kind == "number":
        return _given(rule, sample, name)
    assert sample is not None
    # A power of two brings the rows near 1 and changes no digit: squares of tiny rows would vanish, of huge overflow.
    exponent = int(np.frexp(np.abs(sample).max())[1])
    unit = 2.0**exponent
    squares = _square_distances(sample, exponent)
    median = _median_distance(squares)
    if median == 0:
        warning = f"{name}: all sampled rows are equal, so any bandwidth is the same: took 1"
        return Bandwidth(1.0, str(rule), 1.0, warning)
    if rule.kind == "median":
        sigma = rule.value * median
        top = top_eigenvalue(squares, sigma)
    else:
        low, high = 1e-3 * median, 1e3 * median
        floor = top_eigenvalue(squares, low)
        if floor >= rule.value:
            # Groups may be that far apart: what is left is to tell the nearest rows from one another.
            squares = _square_distances(sample, exponent, _FINE_ROUNDING)
            high = low
            low = min(low, _TELLING * float(np.sqrt(squares[squares > 0].min())))
            floor = top_eigenvalue(squares, low)
        if floor >= rule.value:
            duplicates = 1 - len(np.unique(sample, axis=0)) / len(sample)
            warning = (
                f"{name}: no bandwidth brings the top eigenvalue down to {rule.value:g} ({len(sample):,} rows sampled, "
                f"{duplicates:.0%} of them duplicates): took the median distance {unit * median:.4g}"
            )
            return Bandwidth(unit * median, "median", top_eigenvalue(squares, median), warning)
        sigma, top = _sigma_of_top(squares, rule.value, low, high, floor)
    sigma *= unit
    return Bandwidth(sigma, str(rule), top, degenerate_warning(sigma, top, len(sample), name))


def degenerate_warning(sigma: float, top_eigenvalue: float, rows: int, name: str) -> str | None:
    """Say what to do about a bandwidth at which the kernel tells nothing, or None where it does.

    Parameters
    ----------
    sigma : the bandwidth
    top_eigenvalue : largest eigenvalue of K/s
    rows : s, the rows of the sample
    name : the embedding's name
    """
    state = degenerate_state(top_eigenvalue, rows)
    if state is None:
        return None
    what, remedy = {
        "identity": ("the identity, every row a group of its own", "larger"),
        "constant": ("constant, all rows one group", "smaller"),
    }[state]
    return (
        f"{name}: at σ = {sigma:.4g} the kernel of {rows:,} sampled rows is all but {what} (top eigenvalue "
        f"{top_eigenvalue:.3g}): take a {remedy} --sigma for it, or leave it to auto"
    )


def degenerate_state(top_eigenvalue: float, rows: int) -> str | None:
    """Whether a kernel K/s with this top eigenvalue is all but the "identity" or "constant"; None where it is neither.

    Parameters
    ----------
    top_eigenvalue : largest eigenvalue of K/s; 1/s where every row stands alone, 1 where all rows are one
    rows : s, the rows of the sample
    """
    # The strongest group holds less than two rows; of a small sample, where a group of two is much, less still.
    if rows > 1 and rows * top_eigenvalue - 1 < min(1.0, rows / 200):
        return "identity"
    return "constant" if top_eigenvalue > _CONSTANT else None


def top_eigenvalue(squares: NDArray[np.float32], sigma: float) -> float:
    """Largest eigenvalue of K/s at a bandwidth, to 1e-5 of it, by the Lanczos method with full orthogonalisation.

    It starts from equal weights. The leading eigenvector of a matrix of positive numbers is positive, so at least
    1/√s of it is in the start, whatever the bandwidth; the eigenvector of another bandwidth may have nothing of it.

    Parameters
    ----------
    squares : (s, s) float32, squared distances
    sigma : bandwidth
    """
    s = len(squares)
    kernel = _kernel(squares, sigma)
    basis = np.empty((min(_MOST_STEPS, s), s))
    basis[0] = 1 / np.sqrt(s)
    diagonal: list[float] = []
    beside: list[float] = []
    value = 1.0
    for step in range(len(basis)):
        product = (kernel @ basis[step].astype(np.float32)).astype(np.float64)
        diagonal.append(float(basis[step] @ product))
        for _ in range(2):  # once leaves too much of what was there before
            product -= (basis[: step + 1] @ product) @ basis[: step + 1]
        rest = float(np.linalg.norm(product))
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
        value = float(values[-1])
        settled = step + 1 >= _LEAST_STEPS and rest * abs(vectors[-1, -1]) <= _RESIDUAL * value
        # Nothing is left but rounding: the basis holds all of the kernel that the start has a part in.
        if settled or rest <= 1e-7 * value or step + 1 == len(basis):
            break
        beside.append(rest)
        basis[step + 1] = product / rest
    return value / s


def bandwidth_cost(dimensions: Sequence[int], rows: int) -> Cost:
    """State what choosing bandwidths takes, one after another, on `rows` rows of embeddings of some dimensions."""
    return Cost(
        "bandwidth",
        memory=8 * rows**2 + rows * (24 * max(dimensions) + 8 * _MOST_STEPS),
        operations=2.0 * rows**2 * sum(2 * p + _TRIALS for p in dimensions),
    )


def _given(rule: Rule, sample: NDArray[np.floating[Any]] | None, name: str) -> Bandwidth:
    """A bandwidth that is a number, and what the sample says of it."""
    if sample is None:
        return Bandwidth(rule.value, str(rule))
    exponent = int(np.frexp(rule.value)[1])  # in units of σ whatever vanishes is far below it
    top = top_eigenvalue(_square_distances(sample, exponent), rule.value / 2.0**exponent)
    if top > _CONSTANT and (sample == sample[0]).all():
        return Bandwidth(
            rule.value, str(rule), top, f"{name}: all sampled rows are equal, so any bandwidth is the same"
        )
    return Bandwidth(rule.value, str(rule), top, degenerate_warning(rule.value, top, len(sample), name))


def _sigma_of_top(
    squares: NDArray[np.float32], value: float, low: float, high: float, floor: float
) -> tuple[float, float]:
    """Solve λ₁(K_σ / s) = value for log σ between `low`, where λ₁ is `floor`, and `high`: σ, and λ₁ there.

    λ₁ grows with σ from the share of the largest group of duplicates to 1; where it is below the value at `high` still,
    that is the answer. Regula falsi with the Illinois modification takes a dozen evaluations.
    """
    a, b = np.log(low), np.log(high)
    fa, fb = floor - value, top_eigenvalue(squares, high) - value
    if fb <= 0:
        return high, fb + value
    x, fx = a, fa
    for _ in range(60):
        x = b - fb * (b - a) / (fb - fa)
        if not min(a, b) < x < max(a, b) or abs(b - a) > 1.5:
            x = (a + b) / 2
        fx = top_eigenvalue(squares, float(np.exp(x))) - value
        if abs(fx) < 1e-5 * value or abs(b - a) < 1e-9:
            break
        if fx * fb < 0:
            a, fa = b, fb
        else:
            fa /= 2
        b, fb = x, fx
    return float(np.exp(x)), fx + value


def _kernel(squares: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """The Gaussian kernel of squared distances."""
    kernel = np.empty_like(squares)
    rate = np.float32(max(-0.5 / sigma**2, -_LARGEST))
    for low in range(0, len(squares), _TILE):
        with np.errstate(over="ignore"):  # to −∞, whose exponential is 0 as it should be
            tile = squares[low : low + _TILE] * rate
        np.exp(tile, out=kernel[low : low + _TILE])
    return kernel


def _square_distances(
    sample: NDArray[np.floating[Any]], exponent: int, rounding: float | None = None
) -> NDArray[np.float32]:
    """Squared distances of all pairs in units of 2^exponent; zero for equal rows, not the rounding of the products.

    They are computed in float64: small bandwidths look at distances that float32 products do not resolve. What counts
    as equal is a matter of how the rows were normalised and centred, unless `rounding` says otherwise.
    """
    if rounding is None:
        rounding = _FINE_ROUNDING if sample.dtype == np.float64 else _ROUNDING
    x = np.ldexp(sample.astype(np.float64), -exponent)
    x -= np.median(x, axis=0)  # not the mean, which one wild row carries away from all others
    lengths = np.einsum("ij,ij->i", x, x)
    squares = np.empty((len(x), len(x)), dtype=np.float32)
    for low in range(0, len(x), _TILE):
        tile = x[low : low + _TILE] @ x.T
        both = lengths[low : low + _TILE, None] + lengths
        tile *= -2
        tile += both
        both *= rounding
        tile[tile <= both] = 0
        squares[low : low + _TILE] = np.minimum(tile, _LARGEST, out=tile)
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
