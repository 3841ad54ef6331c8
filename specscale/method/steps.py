"""What a step of a run is: its cost and its action. The plan prices, and the run follows, one list of them.

The lists stand where the work is: ``preparation`` and ``comparison``, ``matrix``, ``resolve`` and ``update``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

from specscale.cost import Cost
from specscale.features.bandwidth import SAMPLE_ROWS
from specscale.features.base import FeatureMap
from specscale.features.kernel import WIDE_EFFORT
from specscale.kernels.precision import Precision
from specscale.method.options import Options
from specscale.passes.covariance import covariance_cost
from specscale.passes.mapping import feature_cost
from specscale.runtime.combining import held_nodes
from specscale.spectral.lanczos import GUARD
from specscale.spectral.tiles import TiledSymmetric

__all__ = ["ProblemSize", "Step", "Steps", "covariance_of_maps", "held_beside", "tails_held"]

S = TypeVar("S")

_WIDE_MEMORY = 3  # times that of float32: Gram products in float64 beside the kernel in float32


@dataclass(frozen=True)
class Step(Generic[S]):
    """One step of a run.

    Attributes
    ----------
    cost : what it takes, and its name
    action : does it to the state of the run, which it adds to
    """

    cost: Cost
    action: Callable[[S], None]

    @property
    def name(self) -> str:
        """What events, timings and the plan call it."""
        return self.cost.name


@dataclass(frozen=True)
class Steps:
    """The steps of a run, in order.

    Attributes
    ----------
    looking : what is done to the paired rows first
    choosing : what finds the feature maps
    computing : what finds the modes and all that is said of them
    """

    looking: tuple[Step[Any], ...] = ()
    choosing: tuple[Step[Any], ...] = ()
    computing: tuple[Step[Any], ...] = ()

    @property
    def costs(self) -> list[Cost]:
        """What each step takes."""
        return [step.cost for step in (*self.looking, *self.choosing, *self.computing)]

    def with_costs(self, change: Callable[[Cost], Cost]) -> Steps:
        """The same steps, with costs that were changed."""
        groups = (self.looking, self.choosing, self.computing)
        return Steps(*(tuple(replace(step, cost=change(step.cost)) for step in group) for group in groups))


@dataclass(frozen=True)
class ProblemSize:
    """What the costs of the steps follow from.

    Attributes
    ----------
    options : what is computed
    maps : the feature map of each embedding; none where the kernels themselves are used
    wide : whether a kernel is evaluated in float64
    dimensions : p of each embedding
    n, n_kept : rows, and rows that take part
    read : bytes of the embeddings
    spans : number of spans
    span_rows : rows of a span, at most
    threads : threads that compute
    workers : how many workers a cluster has; None where this process does all
    apart : whether the passes run on cards
    """

    options: Options
    maps: tuple[FeatureMap, ...]
    wide: bool
    dimensions: list[int]
    n: int
    n_kept: int
    read: int
    spans: int
    span_rows: int
    threads: int
    workers: int | None
    apart: bool = False

    @cached_property
    def d(self) -> int:
        """Dimension of the concatenated features."""
        return sum(one.dim for one in self.maps)

    @property
    def sample(self) -> int:
        """Rows of the seeded sample."""
        return min(SAMPLE_ROWS, self.n_kept)

    @property
    def precision(self) -> Precision:
        """What products are made in, where they bear it."""
        return cast(Precision, self.options.precision)

    @property
    def top(self) -> int:
        """Members kept of each tail."""
        return min(self.options.top, self.n_kept)

    @property
    def modes(self) -> int:
        """Modes of each direction; there are no more than features, or rows."""
        return min(self.options.n_modes, self.d or self.n_kept)

    @property
    def block(self) -> int:
        """Vectors of one block of the exact operator."""
        return min(2 * (self.modes + GUARD), self.n_kept)

    @property
    def vectors(self) -> int:
        """Bytes of the scores of all modes, where these are in memory."""
        return 8 * self.n_kept * 2 * self.modes if self.options.refine or not self.maps else 0

    @cached_property
    def features(self) -> int:
        """Bytes that mapping takes, which stay from pass to pass."""
        return feature_cost(self.maps, self.threads) if self.maps else 0

    @property
    def tiles(self) -> int:
        """Bytes of the covariance, which stays from pass to pass."""
        return 8 * TiledSymmetric.size(self.d) if self.maps else 0

    def slowed(self, cost: Cost) -> Cost:
        """The cost of a step that evaluates kernels, in float64 where one is wide."""
        if not self.wide:
            return cost
        return replace(cost, speed=cost.speed / WIDE_EFFORT, device_memory=_WIDE_MEMORY * cost.device_memory)


def held_beside(cost: Cost, beside: int = 0) -> Cost:
    """The cost of a pass beside which this process holds some bytes that workers do not need."""
    return replace(cost, memory=cost.memory + beside, worker_memory=cost.memory)


def tails_held(k: int, top: int) -> int:
    """Bytes of the tails of k modes of a few spans at once, while they are merged."""
    return 6 * 2 * k * top * 16


def covariance_of_maps(extent: ProblemSize) -> Cost:
    """What the covariance pass takes."""
    held = held_nodes(extent.spans, apart=extent.apart and extent.workers is None)
    cost = covariance_cost(
        extent.maps, extent.n_kept, extent.read, extent.spans, extent.threads, held, extent.precision
    )
    return held_beside(cost)
