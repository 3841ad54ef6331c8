"""What the scheduler and the workers of a cluster are asked, and how long they are waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from distributed import Client

from specscale.errors import ClusterError, SilenceError
from specscale.places.patience import begun, within

__all__ = ["address_of", "asked", "asked_of_workers", "result_of", "told", "workers_of"]

R = TypeVar("R")

_SCHEDULER_SECONDS = 120.0  # for a scheduler that has answered before
_WORKERS_SECONDS = 120.0  # for all workers, which may have to load the package first
_LOOK_SECONDS = 10.0  # without a result until the scheduler is asked for a sign of life
_FAREWELL_SECONDS = 5.0  # for what need not be heard


def asked(client: Client, what: str, call: Callable[..., R], *arguments: Any, **options: Any) -> R:
    """Ask the scheduler.

    Parameters
    ----------
    client : of the cluster
    what : that it is asked for
    call : asks it, as a method of the client
    *arguments, **options : of the call

    Raises
    ------
    ClusterError
        When the scheduler does not answer.
    """
    try:
        return within(_SCHEDULER_SECONDS, partial(call, *arguments, **options))
    except SilenceError as silence:
        raise ClusterError(
            f"the scheduler {address_of(client)} does not answer ({silence}, asked for {what}): start it anew; "
            "what is done is kept, --resume goes on"
        ) from None


def asked_of_workers(client: Client, call: Callable[..., R], *arguments: Any, **options: Any) -> R:
    """Ask all workers, as :func:`asked` does the scheduler; who does not answer is named."""
    try:
        return within(_WORKERS_SECONDS, partial(call, *arguments, **options))
    except SilenceError as silence:
        last = {name: one["last_seen"] for name, one in workers_of(client).items()}
        silent = [name for name, seen in last.items() if time.time() - seen > _WORKERS_SECONDS / 2]
        who = f"worker {silent[0]} does" if len(silent) == 1 else f"{len(silent) or 'some'} of {len(last)} workers do"
        raise ClusterError(f"{who} not answer ({silence}): end what stands still, and start others") from None


def result_of(client: Client, future: Any) -> Any:
    """Take the result of a task that has ended, however large, while the scheduler is there."""
    answer = begun(future.result)
    while not wait([answer], timeout=_LOOK_SECONDS).done:
        workers_of(client)
    return answer.result()


def told(call: Callable[[], Any]) -> None:
    """Tell the scheduler something that nothing depends on."""
    with suppress(SilenceError):
        within(_FAREWELL_SECONDS, call)


def workers_of(client: Client) -> dict[str, dict[str, Any]]:
    """What the scheduler says of its workers, by their addresses."""
    return dict(asked(client, "its workers", client.scheduler_info, n_workers=-1)["workers"])


def address_of(client: Client) -> str:
    """Where the scheduler of a client is."""
    return str(getattr(client.scheduler, "address", "of the client"))
