"""The largest feature maps that fit in memory and are of use."""

from __future__ import annotations

from specscale.errors import OptionError, PlanError
from specscale.method.planner import Planner
from specscale.method.sizing import SIZES, check_size

__all__ = ["MOST_EXACT_ROWS", "largest_size"]

FOURIER_SIZE = 1000
MOST_EXACT_ROWS = 100_000
_LEAST_SIZE = 8


def largest_size(planner: Planner) -> int:
    """The size of the maps that was asked for, or else the largest that fits and is of use; 0 of maps without one.

    Raises
    ------
    PlanError
        When what was asked for does not fit in memory; the message names the option that brings it under.
    OptionError
        When exact modes are asked of more rows than can be done, or more landmarks than there are rows.
    """
    options, n_kept = planner.options, planner.n_kept
    features, size = options.features, options.size
    check_size(options, n_kept)
    if features == "exact" and n_kept > MOST_EXACT_ROWS:
        raise OptionError(
            f"--features exact takes time in the square of the rows, and {n_kept:,} are more than "
            f"{MOST_EXACT_ROWS:,}: take landmarks with --refine 1, or --sample {MOST_EXACT_ROWS}"
        )
    if features in ("linear", "exact"):
        plan = planner.of_size(0)
        plan.check_memory(f"allow at least --memory {_megabytes(plan.peak)}, or take a sample with --sample")
        return 0
    wanted = size or (min(SIZES[-1], n_kept) if features == "landmarks" else FOURIER_SIZE)
    if planner.fits(wanted):
        return wanted
    fitting = _largest_fitting(planner, wanted)
    if size is None and fitting:
        return fitting
    least = min(_LEAST_SIZE, wanted) if size is None else size
    plan, smaller = planner.of_size(wanted), f"--size {fitting} brings it under"
    if fitting:
        plan.check_memory(smaller, smaller)
    plan.check_memory(f"allow at least --memory {_megabytes(planner.of_size(least).peak)}")
    raise PlanError("no size fits")  # check_memory raises: the peak is above what is allowed


def _largest_fitting(planner: Planner, most: int) -> int:
    """The largest size whose plan fits, 0 where none does."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if planner.fits(middle) else (low, middle)
    return low if low >= _LEAST_SIZE else 0


def _megabytes(count: int) -> str:
    """A size that is enough in the next run too, whose process may hold a little more before it begins."""
    step = 16 << 20
    return f"{16 * (1 + -(-count // step))}M"
