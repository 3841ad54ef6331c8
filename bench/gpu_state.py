"""What the parts of the measurement of a card share: sizes, inputs, time and rates."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench.gpu_card import Card, host_facts
from bench.gpu_data import planted_pair
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.embeddings.rows import PairedRows
from specscale.grid import BLOCK_ROWS
from specscale.kernels.base import Kernels
from specscale.method.compare import compare
from specscale.method.inputs import pair_inputs
from specscale.method.options import Options
from specscale.method.result import Result
from specscale.passes.base import LoadedPass, Pass
from specscale.runtime.events import Event, PassFinished, silent
from specscale.runtime.local import LocalExecutor
from specscale.runtime.spans import cut_spans
from specscale.runtime.sweeper import RING, reading_threads
from specscale.runtime.threads import Threads, single_threaded_blas

Row = dict[str, Any]

ROWS = 1_281_167  # of ImageNet's training set


class Skipped(Exception):
    """A part was left out, for the reason that it says."""


@dataclass(frozen=True)
class Shape:
    """Sizes of what is measured.

    Attributes
    ----------
    rows, dimensions : of the two embeddings of ImageNet's shape
    frequencies, landmarks : of each map there
    block, tile, order : rows and columns of a covariance's products, and the order of large square ones
    solved : order of the eigenproblem that solvers are compared on
    exact, refined : rows of the exact operator, and of the refinement
    agreed : rows on which the card is held against the cores
    judged : rows, landmarks and rows of the exact operator with which precisions are judged
    """

    rows: int = ROWS
    dimensions: tuple[int, int] = (768, 1024)
    frequencies: int = 3000
    landmarks: int = 2000
    block: int = 8192
    tile: int = 2000
    order: int = 8192
    solved: int = 4000
    exact: int = 100_000
    refined: int = 1_000_000
    agreed: int = 100_000
    judged: tuple[int, int, int] = (65_536, 1000, 16_384)

    def scaled(self, rows: int | None) -> Shape:
        """The same for a smaller number of rows: all sizes in proportion, but no smaller than something can be."""
        if rows is None or rows >= self.rows:
            return self
        share = rows / self.rows
        less = {
            name: max(round(share * getattr(self, name)), 64)
            for name in ("frequencies", "landmarks", "tile", "order", "solved")
        }
        counts = {name: min(max(round(share * getattr(self, name)), 2048), rows) for name in ("exact", "agreed")}
        judged = min(self.judged[0], rows), less["landmarks"], min(self.judged[2], rows)
        return replace(self, rows=rows, refined=min(self.refined, rows), judged=judged, **less, **counts)


@dataclass
class Compared:
    """A comparison that was made, and what it took.

    Attributes
    ----------
    result : what was found
    summary : its summary.json
    passes : seconds of each pass, without what is written of its result
    """

    result: Result
    summary: dict[str, Any]
    passes: dict[str, float]

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each step, and of the pass that it is named after with all that follows from it."""
        found: dict[str, float] = self.summary["measured"]["seconds"]
        return found

    def planned(self, step: str) -> dict[str, Any]:
        """What the plan says of a step."""
        return next(one for one in self.summary["plan"]["steps"] if one["name"] == step)


@dataclass
class Bench:
    """A measurement under way.

    Attributes
    ----------
    card : the card
    shape : sizes
    folder : for all files
    threads : of the host
    ends : when the time is over, as time.monotonic tells it
    device : what comparisons are told to run on
    modes : of each direction that comparisons are asked for
    peer_options : further arguments of the peer's script
    found : the rows of the parts that ended
    fourier : the comparison with Fourier features, where it was made
    """

    card: Card
    shape: Shape
    folder: Path
    threads: Threads
    ends: float
    device: str = "cuda"
    modes: int = 10
    peer_options: tuple[str, ...] = ()
    found: dict[str, list[Row]] = field(default_factory=dict)
    fourier: Compared | None = None
    _pairs: dict[int, tuple[Path, Path]] = field(default_factory=dict)
    _readings: dict[tuple[int, bool], float] = field(default_factory=dict)
    _count: int = 0

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.ends - time.monotonic()

    def needs(self, seconds: float) -> None:
        """Leave a part out for which too little time is left."""
        if self.left < seconds:
            raise Skipped(f"{max(self.left, 0):.0f} s are left, it takes {seconds:.0f} s")

    def facts(self) -> dict[str, str | int]:
        """What is measured, and with what."""
        return {**self.card.libraries.facts(), **host_facts()}

    @cached_property
    def rate(self) -> float:
        """Operations a second of a large float32 product on the card."""
        kernels, order = self.card.kernels(), self.shape.order
        left = kernels.put(np.random.default_rng(0).standard_normal((order, order), dtype=np.float32))
        out = kernels.empty((order, order), np.float32)
        return 2 * order**3 / self.card.seconds(kernels, lambda: kernels.device.multiply(left, left, out))

    def pair(self, rows: int) -> tuple[Path, Path]:
        """A planted pair of so many rows."""
        if rows not in self._pairs:
            folder = self.folder / f"{rows}"
            folder.mkdir()
            self._pairs[rows] = planted_pair(folder, rows, self.shape.dimensions, self.threads)
        return self._pairs[rows]

    def paired(self, rows: int) -> PairedRows:
        """The rows of a planted pair, taken as verified, as the passes of a comparison take them."""
        return replace(pair_inputs(self.pair(rows), Options(certify=0), self.folder), verified=True)

    def reading(self, rows: int, *, fed: bool = False) -> float:
        """Seconds in which the readers of the passes read a planted pair that the system has in memory.

        With `fed` the rows are brought to the card too.
        """
        if (rows, fed) not in self._readings:
            paired, read = self.paired(rows), self.feed_once if fed else self.read_once
            self._readings[rows, fed] = min(read(paired) for _ in range(2))
        return self._readings[rows, fed]

    def read_once(self, paired: PairedRows) -> float:
        """Seconds in which the readers of the passes bring paired rows into pinned memory."""
        kernels = self.card.kernels()
        pinned, readers = kernels.pinned, reading_threads(kernels, self.threads.count)
        began = time.perf_counter()
        for _ in paired.blocks([(0, paired.n)], BLOCK_ROWS, RING, empty=pinned, readers=readers):
            pass
        return time.perf_counter() - began

    def feed_once(self, paired: PairedRows) -> float:
        """Seconds of a pass over paired rows that does nothing with them."""
        return self.timed(_nothing(), paired, self.card.kernels())

    def timed(self, work: Pass[Any], paired: PairedRows, kernels: Kernels) -> float:
        """Seconds of a pass."""
        began = time.perf_counter()
        self.sweep(work, paired, kernels)
        return time.perf_counter() - began

    def sweep(self, work: Pass[Any], paired: PairedRows, kernels: Kernels, d: int = 4000) -> Any:
        """The result of a pass, whose spans are those of d features."""
        with single_threaded_blas():
            executor = LocalExecutor(self.threads, kernels=kernels)
            return executor.run(work, paired, cut_spans(paired.n, d, CHUNK_ROWS), self.fresh("pass"), silent)

    def compared(self, rows: int, device: str | None = None, **options: Any) -> Compared:
        """Compare a planted pair, by the public function."""
        out, passes = self.fresh("result"), dict[str, float]()

        def listen(event: Event) -> None:
            if isinstance(event, PassFinished):
                passes[event.name] = event.seconds

        given = {"out": out, "device": device or self.device, "n_modes": self.modes, **options}
        result = compare(*self.pair(rows), progress=listen, **given)
        return Compared(result, json.loads((out / "summary.json").read_text(encoding="utf-8")), passes)

    def fresh(self, name: str) -> Path:
        """A path in the folder that is not taken."""
        self._count += 1
        return self.folder / f"{name}-{self._count}"


def _nothing() -> Pass[None]:
    """A pass that reads rows alone."""

    def load(kernels: Kernels) -> LoadedPass:
        return LoadedPass(lambda block, room: [], lambda total, block, room: [])

    return Pass(
        "reading",
        lambda kernels: {},
        lambda kernels: {"spans": np.zeros(1, dtype=np.int64)},
        load,
        lambda first, second: None,
        lambda total: None,
    )
