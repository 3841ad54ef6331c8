"""What a step of a run takes, stated before it runs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Cost"]


@dataclass(frozen=True)
class Cost:
    """The cost of one step.

    Attributes
    ----------
    name : the step
    memory : bytes held at its peak, above what the process holds before the run
    operations : floating-point operations of its matrix products
    speed : share of the single-precision gemm rate that these products reach
    elementary : elementary functions, in pairs of sine and cosine
    read : bytes read from the embeddings
    disk : bytes on disk when it ends, beyond those of other steps
    partial : bytes of the partial result of one span, of a pass that the workers of a cluster share; 0 of a step that
        one process does alone
    worker_memory : of `memory`, the bytes that the pass itself takes, wherever it runs
    passes : how many passes the step is
    spans : those of all its passes, where they are not the run's
    device_memory : bytes that it holds of a card's memory where its passes run on one; 0 of a step that never does
    """

    name: str
    memory: int
    operations: float = 0.0
    speed: float = 0.85
    elementary: float = 0.0
    read: int = 0
    disk: int = 0
    partial: int = 0
    worker_memory: int = 0
    passes: int = 1
    spans: int | None = None
    device_memory: int = 0
