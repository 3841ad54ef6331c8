"""Reads under way ahead of their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["read_ahead"]

T = TypeVar("T")
R = TypeVar("R")


def read_ahead(
    read: Callable[[T], R], items: Iterable[T], ahead: int, threads: int | None = None
) -> Generator[R, None, None]:
    """Yield what `read` makes of each item, in order.

    Parameters
    ----------
    read : safe to call in several threads
    items : taken no earlier than `ahead` before their turn
    ahead : reads asked for at once, the one that is waited for included; 1 reads in the caller's thread
    threads : how many of them are under way at once, by default all
    """
    if ahead == 1:
        yield from map(read, items)
        return
    under_way: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads or ahead, thread_name_prefix="specscale-ahead") as pool:
        try:
            for item in items:
                under_way.append(pool.submit(read, item))
                if len(under_way) == ahead:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
