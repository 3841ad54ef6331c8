"""A pool of threads for tasks that touch disjoint memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

from specscale.errors import OptionError
from specscale.stopping import check_signals

__all__ = ["Threads", "available_cores", "single_threaded_blas"]

_MOST_THREADS = 4096  # more than a machine has cores


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep BLAS to one thread: its products have other last bits on two of its own threads than on one."""
    with threadpool_limits(1, user_api="blas"):
        yield


class Threads:
    """Runs lists of independent tasks.

    Parameters
    ----------
    count : threads, all available cores by default

    Raises
    ------
    OptionError
        When `count` is less than one, or more than a machine would have cores.
    """

    def __init__(self, count: int | None = None) -> None:
        if count is not None and count < 1:
            raise OptionError(f"--threads must be at least 1, not {count}")
        if count is not None and count > _MOST_THREADS:
            raise OptionError(f"--threads must be at most {_MOST_THREADS:,}, not {count}")
        self.count = count or available_cores()
        self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="specscale") if self.count > 1 else None

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run the tasks in any order and return when all are done; the first error in their order is raised."""
        check_signals()
        self.finish(tasks)

    def finish(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run tasks as `run` does, though a signal has asked the process to end: what was begun is kept whole."""
        if self._pool is None:
            for task in tasks:
                task()
            return
        futures = [self._pool.submit(task) for task in tasks]
        try:
            wait(futures)
        except BaseException:
            for future in futures:
                future.cancel()
            wait(futures)  # those that have begun still use what the caller holds
            raise
        for future in futures:
            future.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
