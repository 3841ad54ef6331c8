"""The scheduler and workers of Dask without the web server that each of them starts, with pages or without."""

from __future__ import annotations

from typing import Any

import distributed

__all__ = ["Scheduler", "Worker"]


class Scheduler(distributed.Scheduler):
    """A scheduler that listens for its clients and workers alone."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Start none."""


class Worker(distributed.Worker):
    """A worker that listens for its scheduler and other workers alone."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Start none."""
