"""The plan: what a run will take, known before its passes."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import Any

from specscale.cost import Cost
from specscale.errors import OptionError, PlanError
from specscale.method.steps import Steps
from specscale.places.files import Location, exists, free_space, size_of_tree
from specscale.runtime.machine import Card, Machine
from specscale.runtime.spans import Span
from specscale.units import _parse_rate, format_bytes

__all__ = ["DEVICE_SLACK", "SLACK", "Plan", "Workers"]

ELEMENTARY_SECONDS = 0.5e-9  # of one pair on one core, by the compiled kernel
SLACK = 96 << 20  # the allocator's own, and the buffers of BLAS
DEVICE_SLACK = 256 << 20  # the same on a card


@dataclass(frozen=True)
class Workers:
    """The workers of a cluster, processes like this one that share the spans of a pass.

    Attributes
    ----------
    count : how many
    rate : single-precision operations a second of one of them; None for what this machine, or its card, was measured
        to do
    """

    count: int
    rate: float | None = None

    @classmethod
    def of(cls, count: int | None, rate: str | float | None) -> Workers | None:
        """Read what the user asks for; None without a cluster.

        Parameters
        ----------
        count : how many workers
        rate : the rate of one, a number or as ``"30T"``

        Raises
        ------
        OptionError
            When there is no such cluster.
        """
        if count is None:
            if rate is not None:
                raise OptionError("--rate is the rate of one worker: give --workers as well")
            return None
        try:
            number = index(count)
        except TypeError:
            raise OptionError(f"--workers is a whole number, not {count!r}") from None
        if number < 1:
            raise OptionError(f"--workers must be at least 1, not {number}")
        return cls(number, None if rate is None else _parse_rate(rate))


@dataclass(frozen=True)
class Plan:
    """Spans and costs of a run.

    The workers of a cluster share the spans of the passes. Every span's partial result is written to the work
    directory once; a merge reads two and writes one; the client, which does all other steps, reads the last.

    Attributes
    ----------
    n, n_kept, d : rows, rows that take part, dimension of the concatenated features
    block_rows : rows computed on at once
    spans : the runs of rows that are checkpointed
    sequence : the steps, of which each knows what it takes and what is done
    base : bytes the process holds before the run
    memory : bytes it may hold; None where nothing is known of the machine that is planned for
    solve_threads : threads of BLAS in each task of the solve; one, so that the bits do not depend on the machine's
    workers : the workers of a cluster; None where this process does all
    rows_given : rows of the embeddings that the plan was made from, where it is for another number; else None
    card : what the passes run on; None where that is this machine's cores
    """

    n: int
    n_kept: int
    d: int
    block_rows: int
    spans: list[Span]
    sequence: Steps
    base: int
    memory: int | None
    solve_threads: int = 1
    workers: Workers | None = None
    rows_given: int | None = None
    card: Card | None = None

    @property
    def steps(self) -> list[Cost]:
        """What each step takes."""
        return self.sequence.costs

    @property
    def peak(self) -> int:
        """Projected peak of resident memory of any process, in bytes."""
        return self.base + SLACK + max(self._memory_of(step) for step in self.steps)

    @property
    def device_peak(self) -> int:
        """Projected peak of a card's memory, in bytes; 0 where the passes run on this machine's cores."""
        return DEVICE_SLACK + max(step.device_memory for step in self.steps) if self.card else 0

    @property
    def fits(self) -> bool:
        """Whether it keeps within the memory that is allowed, and that of the card."""
        within = self.memory is None or self.peak <= self.memory
        return within and (self.card is None or self.device_peak <= self.card.memory)

    def shared(self, step: Cost) -> bool:
        """Whether the workers of a cluster share a step."""
        return self.workers is not None and step.partial > 0

    def client_memory(self, step: Cost) -> int:
        """Bytes that this process holds in a step, above what it holds before the run."""
        return step.memory - step.worker_memory + step.partial if self.shared(step) else step.memory

    @property
    def client_peak(self) -> int:
        """Projected peak memory of this process."""
        return self.base + SLACK + max(self.client_memory(step) for step in self.steps)

    def worker_memory(self, step: Cost) -> int:
        """Bytes that each worker of a cluster holds in a step, above what it holds before the run."""
        return step.worker_memory if self.shared(step) else 0

    def _memory_of(self, step: Cost) -> int:
        return max(self.client_memory(step), self.worker_memory(step))

    def moved(self, step: Cost) -> int:
        """Bytes of partial results that a step writes to and reads from the work directory of a cluster."""
        return step.partial * (4 * self._spans_of(step) - 2 * step.passes) if self.shared(step) else 0

    def _spans_of(self, step: Cost) -> int:
        return step.spans or len(self.spans)

    @property
    def disk(self) -> int:
        """Projected disk, in bytes, of the work directory and the result."""
        return sum(step.disk + step.partial * self._more_nodes(step) for step in self.steps)

    def _more_nodes(self, step: Cost) -> int:
        """Partial results on the disk beyond those of one process: two of each other worker."""
        return min(2 * (self.workers.count - 1), self._spans_of(step)) if self.workers else 0

    @property
    def operations(self) -> float:
        """Floating-point operations of all matrix products."""
        return sum(step.operations for step in self.steps)

    def seconds(self, machine: Machine) -> dict[str, float]:
        """Projected seconds of each step: computing or reading, whichever is longer.

        A step that workers share takes as long as the worker with most rows, and then its partial results move. Of a
        step on a card the products count, and what is copied there; all else takes as long as memory does.
        """
        out = {}
        for step in self.steps:
            card = machine.card if step.device_memory else None
            rate = card.gemm_rate if card else machine.gemm_rate
            compute, read = step.operations / (step.speed * rate), step.read / machine.read_rate
            if card:
                read = max(read, step.read / card.copy_rate)
            else:
                compute += ELEMENTARY_SECONDS * step.elementary / machine.threads
            if self.workers is not None and step.partial:
                faster = self.workers.rate / rate if self.workers.rate else 1.0
                seconds = self._largest_share(step, self.workers.count) * max(compute / faster, read)
                moved = self._partials_in_a_row(step, self.workers.count) * step.partial
                out[step.name] = seconds + moved / machine.read_rate
            else:
                out[step.name] = max(compute, read)
        return out

    def _largest_share(self, step: Cost, workers: int) -> float:
        """The share of the rows that the worker with most of them has; no span is divided."""
        if step.spans:
            return -(-step.spans // workers) / step.spans
        length, last = (span.stop - span.start for span in (self.spans[0], self.spans[-1]))
        rounds, rest = divmod(len(self.spans), workers)
        rows = (rounds + (rest > 1)) * length + (last if rest == 1 else 0)
        return min(rows, self.n) / self.n

    def _partials_in_a_row(self, step: Cost, workers: int) -> int:
        """Partial results that are moved one after another.

        Each worker writes those of its spans; merges, which move three each, follow one another along the depth of the
        tree and in each worker; the client reads the last of each pass. A single worker moves them while it computes,
        as a process without a cluster does.
        """
        if workers == 1:
            return 0
        spans, passes = self._spans_of(step), step.passes
        merges = max((-(-spans // passes) - 1).bit_length(), -(-(spans - passes) // workers))
        return -(-spans // workers) + 3 * merges + passes

    def check_memory(self, remedy: str, remedy_on_card: str = "compare with --device cpu") -> None:
        """Raise PlanError when the projected peak exceeds the memory allowed, or that of the card.

        Parameters
        ----------
        remedy, remedy_on_card : what to do about it
        """
        if self.memory is not None and self.peak > self.memory:
            heaviest = max(self.steps, key=self._memory_of).name
            raise PlanError(
                f"the plan needs {format_bytes(self.peak)} of memory (in the {heaviest} step), --memory allows "
                f"{format_bytes(self.memory)}: {remedy}"
            )
        if self.card is not None and self.device_peak > self.card.memory:
            heaviest = max(self.steps, key=lambda step: step.device_memory).name
            raise PlanError(
                f"the plan needs {format_bytes(self.device_peak)} of device memory (in the {heaviest} step), "
                f"{format_bytes(self.card.memory)} of {self.card.name} are free: {remedy_on_card}"
            )

    def check_disk(self, folder: Location) -> None:
        """Raise PlanError when the disk has no room for the work and the result beside what `folder` holds of them."""
        free = free_space(folder)
        if free is None:
            return
        held = size_of_tree(folder) if exists(folder) else 0
        if self.disk > free + held:
            there = f" and {format_bytes(held)} hold work already" if held else ""
            raise PlanError(
                f"the plan needs {format_bytes(self.disk)} of disk at {folder}, {format_bytes(free)} are free{there}: "
                "choose another place with -o, or a smaller --size or --modes"
            )

    def to_json(self, machine: Machine) -> dict[str, Any]:
        """Return the plan as plain values, with the time it will take on a machine."""
        hidden = ("passes", "spans") if self.card else ("passes", "spans", "device_memory")
        return {
            "rows": self.n,
            "rows_compared": self.n_kept,
            "dimension": self.d,
            "spans": len(self.spans),
            "span_rows": self.spans[0].stop - self.spans[0].start,
            "block_rows": self.block_rows,
            "memory": {"base": self.base, "peak": self.peak, "allowed": self.memory},
            "disk": self.disk,
            "operations": self.operations,
            "solve_threads": self.solve_threads,
            "steps": [
                {
                    **{name: value for name, value in vars(step).items() if name not in hidden},
                    "moved": self.moved(step),
                }
                for step in self.steps
            ],
            "machine": {name: value for name, value in vars(machine).items() if name != "card"},
            "seconds": self.seconds(machine),
            "rows_given": self.rows_given,
            "workers": None if self.workers is None else self._workers_json(self.workers, machine),
            **({"card": {**vars(self.card), "peak": self.device_peak}} if self.card else {}),
        }

    def _workers_json(self, workers: Workers, machine: Machine) -> dict[str, Any]:
        return {
            "count": workers.count,
            "rate": workers.rate or (machine.card or machine).gemm_rate,
            "rate_measured": workers.rate is None,
            "moved": sum(self.moved(step) for step in self.steps),
            "peak": self.base + SLACK + max(self.worker_memory(step) for step in self.steps),
            "client_peak": self.client_peak,
        }
