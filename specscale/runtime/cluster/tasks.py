"""Tasks under way on a Dask cluster."""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, cast

from distributed import Client, KilledWorker
from distributed import Future as _Future

from specscale.errors import ClusterError
from specscale.runtime.cluster.asking import address_of, asked, told, workers_of
from specscale.stopping import check_signals

__all__ = ["Future", "StuckError", "Tasks", "workers_by_status"]

_RETRIES = 3  # of a task that raised
_LOOK_SECONDS = 5.0  # without a finished task until the workers are looked at


Future = _Future[Any]


class StuckError(Exception):
    """Tasks wait for workers that are paused; they are to be given up and submitted again."""


class Tasks:
    """The tasks of one pass.

    Parameters
    ----------
    client : a client of the cluster
    name : what their keys begin with, which no other tasks on the cluster share
    """

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name
        self._open: dict[str, Future] = {}
        self._ended: queue.Queue[Future] = queue.Queue()

    def submit(self, function: Callable[..., Any], *arguments: Any, key: str, priority: int = 0) -> Future:
        """Submit a task; the higher its priority, the sooner it runs."""
        future = self._client.submit(
            function, *arguments, key=f"{self._name}-{key}", retries=_RETRIES, priority=priority
        )
        self._open[str(future.key)] = future
        return future

    def ended(self, quiet: float, tell: Callable[[str], None]) -> Iterator[Future]:
        """Yield the tasks as they end.

        Parameters
        ----------
        quiet : seconds without one until the user is told what the workers are doing
        tell : takes that line

        Raises
        ------
        StuckError
            When all that is left waits for workers that are paused, while others have nothing to do.
        ClusterError
            When the scheduler is gone, or a task ended its workers one after another.
        """
        for future in list(self._open.values()):
            cast(Any, future).add_done_callback(self._ended.put)
        told, since = "", time.monotonic()
        while self._open:
            check_signals()
            try:
                future = self._ended.get(timeout=min(quiet, _LOOK_SECONDS))
            except queue.Empty:
                line = self._what_is_going_on()
                if self._stuck():
                    raise StuckError from None
                if line != told and time.monotonic() - since >= quiet:
                    tell(line)
                    told = line
                continue
            since = time.monotonic()
            self._open.pop(str(future.key), None)
            if future.status != "finished":
                self._raise(future)
            yield future

    def close(self) -> None:
        """Give up what is still under way."""
        if self._open and self._client.status == "running":
            told(partial(cast(Any, self._client).cancel, list(self._open.values()), force=True))
        self._open.clear()

    def _stuck(self) -> bool:
        """Whether workers that are paused hold every task that could run, and another worker could run it."""
        running = {name for name, one in workers_of(self._client).items() if one["status"] == "running"}
        under_way = asked(self._client, "what they are doing", cast(Any, self._client).processing)
        held = {name: set(map(str, keys)) & self._open.keys() for name, keys in under_way.items()}
        return bool(running) and any(held.values()) and not any(keys for name, keys in held.items() if name in running)

    def _what_is_going_on(self) -> str:
        if self._client.status != "running":
            raise ClusterError(f"the scheduler {address_of(self._client)} went away: start it and --resume")
        found = workers_by_status(self._client)
        workers = ", ".join(f"{count} {status}" for status, count in sorted(found.items())) or "none"
        return f"waiting for the cluster {address_of(self._client)}: no task has ended for a while; workers: {workers}"

    def _raise(self, future: Future) -> None:
        if future.status in ("cancelled", "lost"):
            raise ClusterError(
                f"the scheduler {address_of(self._client)} went away or gave up the work: what is done is kept, "
                "--resume goes on"
            )
        try:
            future.result()
        except KilledWorker as error:
            raise ClusterError(
                f"a task ended {error.allowed_failures + 1} workers one after another, most likely for want of memory: "
                "give the workers more, or compare with a smaller --size; what is done is kept, --resume goes on"
            ) from None
        except CancelledError:
            raise ClusterError(f"the scheduler {address_of(self._client)} gave up the work: --resume goes on") from None


def workers_by_status(client: Client) -> Counter[str]:
    """How many workers are running, paused for memory, and so on."""
    return Counter(one["status"] for one in workers_of(client).values())
