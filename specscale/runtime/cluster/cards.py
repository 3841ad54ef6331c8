"""A worker process for each of some cards of this machine, as dask-cuda starts them."""

from __future__ import annotations

from typing import Any

from specscale.errors import ClusterError, OptionError
from specscale.runtime.cluster import pageless

__all__ = ["cluster_of_cards"]


def cluster_of_cards(workers: int, own: dict[str, Any]) -> Any:
    """Start worker processes of which each sees a card of its own first, on the cores that are near it.

    Parameters
    ----------
    workers : number of processes, and of cards
    own : options of the scheduler and of the workers alike

    Raises
    ------
    ClusterError
        When dask-cuda is not installed.
    OptionError
        When there are fewer cards.
    """
    try:
        from dask_cuda import LocalCUDACluster
        from dask_cuda.utils import get_n_gpus
    except ImportError as error:
        raise ClusterError(
            f"--workers with --device cuda needs dask-cuda ({error}): pip install 'dask-cuda[cu12]', or [cu13]"
        ) from None
    cards = get_n_gpus()
    if workers > cards:
        raise OptionError(f"--workers {workers}: each has a card of its own, of which {cards} can be seen here")

    class Pageless(LocalCUDACluster):  # type: ignore[misc]
        """The cluster with a scheduler that serves no pages."""

        async def _start(self) -> None:
            self.scheduler_spec["cls"] = pageless.Scheduler
            await super()._start()

    return Pageless(
        n_workers=workers,
        threads_per_worker=1,
        # Nothing is moved out of memory, or ended, by a share of it that knows less than the plan.
        memory_limit=None,
        device_memory_limit=None,
        worker_class=pageless.Worker,
        dashboard_address=None,
        silence_logs=50,
        **own,
    )
